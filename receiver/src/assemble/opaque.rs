//! TLS connections whose plaintext is not seen: what their handshakes and the headers of their records tell.
//!
//! The time to the first byte is judged so. The client's Finished is, in TLS 1.3, its first protected record of the size
//! that a Finished has (RFC 8446, section 4.4.4, with SHA-256 or SHA-384), in TLS 1.2 its last handshake record; what it
//! protects after that is its request. Servers send session tickets and the like at once after the Finished, in records
//! that look like any other: what comes within two round trips of it in a small record is taken for that, and so are
//! records of the same length that follow soon (Nagle's algorithm holds back all but the first ticket); a lone alert is no
//! answer. The next record is the first byte. A round trip is the time from the ClientHello to the ServerHello.
//! Where a record's header was not seen, nothing is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pipeline::ProcessKey;

use crate::{
    event::{Chunk, Direction},
    streams::{
        client_hello::{Found, Hello, Offer},
        tls_records::{APPLICATION_DATA, HANDSHAKE, Record, Records},
    },
};

/// Connections that are followed.
const MOST: usize = 16_384;

/// Lengths of the record of a Finished in TLS 1.3: header of the message, hash, type, tag.
const FINISHED: [u64; 2] = [4 + 32 + 1 + 16, 4 + 48 + 1 + 16];

/// Length of a record of TLS 1.3 that holds an alert.
const ALERT: u64 = 2 + 1 + 16;

/// Longest record that may be a ticket, or the settings of HTTP/2.
const TICKET: u64 = 1_024;

/// How long tickets after the first may be held back, ns: the longest delay of an acknowledgement that is common.
const HELD_BACK: u64 = 250_000_000;

/// What a round trip may take longer than the first, ns.
const SLACK: u64 = 1_000_000;

/// What a piece of a handshake told.
#[derive(Debug, PartialEq, Eq)]
pub enum Learned {
    /// Nothing new.
    Nothing,
    /// The ClientHello.
    Offer(Offer),
    /// The connection is joined in its middle.
    Joined,
    /// The process is the server.
    Server,
}

/// A connection that is over.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed {
    /// Whose it was.
    pub process: ProcessKey,
    /// `Socket::id`
    pub socket: u64,
    /// First bytes seen, ns since boot.
    pub started: u64,
    /// Its end.
    pub ended: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// See `OpaqueCall::first_byte`.
    pub first_byte: Option<Duration>,
}

#[derive(Debug)]
struct Connection {
    started: u64,
    hello: Hello,
    /// The ClientHello was judged.
    judged: bool,
    client: Records,
    server: Records,
    sent: u64,
    received: u64,
    /// The present call that the client sends: its size, and how much of it came.
    sending: (u64, u64),
    times: Times,
}

#[derive(Debug, Default)]
struct Times {
    hello: Option<u64>,
    answered: Option<u64>,
    finished: Option<u64>,
    asked: Option<u64>,
    first: Option<u64>,
    /// Length of the last record that may have been a ticket.
    ticket: Option<u64>,
    /// When the last call received something.
    read: u64,
    doubtful: bool,
}

/// All connections that may be told.
#[derive(Debug, Default)]
pub struct Opaque {
    open: BTreeMap<(ProcessKey, u64), Connection>,
    /// Connections of no interest: plaintext is seen, or it is nobody's that matters.
    ruled_out: BTreeSet<(ProcessKey, u64)>,
    /// Hosts whose plaintext a process's TLS library gave, without it being known through which socket.
    read: BTreeSet<(ProcessKey, String)>,
}

impl Opaque {
    /// A piece of what is on the wire.
    pub fn data(&mut self, process: ProcessKey, time: u64, chunk: &Chunk) -> Learned {
        let key = (process, chunk.object);
        if self.ruled_out.contains(&key) || (self.open.len() >= MOST && !self.open.contains_key(&key)) {
            return Learned::Nothing;
        }
        let connection = self.open.entry(key).or_insert_with(|| Connection {
            started: time,
            hello: Hello::default(),
            judged: false,
            client: Records::default(),
            server: Records::default(),
            sent: 0,
            received: 0,
            sending: (0, 0),
            times: Times::default(),
        });
        connection.chunk(time, chunk)
    }

    /// This connection's plaintext is seen, or it is of no interest.
    pub fn rule_out(&mut self, process: ProcessKey, socket: u64) {
        self.open.remove(&(process, socket));
        if self.ruled_out.len() >= MOST {
            self.ruled_out.clear();
        }
        self.ruled_out.insert((process, socket));
    }

    /// A process's plaintext for this host was seen, on a connection that has no known socket.
    pub fn read(&mut self, process: ProcessKey, host: String) {
        if self.read.len() < MOST {
            self.read.insert((process, host));
        }
    }

    /// Whether plaintext for this host was seen.
    pub fn is_read(&self, process: ProcessKey, host: &str) -> bool {
        self.read.contains(&(process, host.to_owned()))
    }

    /// A process closed a socket, after so many bytes.
    pub fn close(&mut self, process: ProcessKey, socket: u64, time: u64, sent: u64, received: u64) -> Option<Closed> {
        self.ruled_out.remove(&(process, socket));
        let connection = self.open.remove(&(process, socket))?;
        let mut closed = connection.closed(process, socket, time);
        closed.sent = closed.sent.max(sent);
        closed.received = closed.received.max(received);
        Some(closed)
    }

    /// A process ended.
    pub fn exit(&mut self, process: ProcessKey, time: u64) -> Vec<Closed> {
        let all = (process, 0)..=(process, u64::MAX);
        let open: Vec<u64> = self.open.range(all).map(|((_, socket), _)| *socket).collect();
        let closed = open.into_iter().filter_map(|socket| self.close(process, socket, time, 0, 0)).collect();
        self.ruled_out.retain(|(owner, _)| *owner != process);
        closed
    }

    /// Forgets what was read of a process that ended.
    pub fn exited(&mut self, process: ProcessKey) {
        self.read.retain(|(owner, _)| *owner != process);
    }

    /// Nothing more comes.
    pub fn finish(&mut self, time: u64) -> Vec<Closed> {
        let open = std::mem::take(&mut self.open).into_iter();
        open.map(|((process, socket), connection)| connection.closed(process, socket, time)).collect()
    }
}

impl Connection {
    fn chunk(&mut self, time: u64, chunk: &Chunk) -> Learned {
        let mut records = Vec::new();
        let new = if chunk.offset == 0 { chunk.total } else { 0 };
        match chunk.direction {
            Direction::Write => {
                self.sent += new;
                let learned = self.offer(chunk);
                let (missed, asked) = (self.client.missed(), self.times.asked);
                self.client.chunk(chunk.total, chunk.offset, &chunk.bytes, &mut records);
                records.iter().for_each(|record| self.asks(*record, time));
                self.times.doubtful |= self.client.missed() > missed && asked.is_none();
                learned
            }
            Direction::Read => {
                self.received += new;
                // What is missing is of the call before.
                let missed = self.server.missed();
                let waiting =
                    self.times.first.is_none() && self.times.asked.is_some_and(|asked| self.times.read >= asked);
                self.server.chunk(chunk.total, chunk.offset, &chunk.bytes, &mut records);
                records.iter().for_each(|record| self.answers(*record, time));
                self.times.doubtful |= waiting && self.server.missed() > missed;
                self.times.read = time;
                // A ClientHello that is received.
                let server = !self.judged && self.server.opening().first() == Some(&1);
                if server { Learned::Server } else { Learned::Nothing }
            }
        }
    }

    fn offer(&mut self, chunk: &Chunk) -> Learned {
        if self.judged {
            return Learned::Nothing;
        }
        let (size, came) = self.sending;
        let whole = if chunk.offset == 0 { came == size } else { (chunk.total, chunk.offset) == (size, came) };
        self.sending = (chunk.total, chunk.offset.saturating_add(chunk.bytes.len() as u64));
        let found = if whole { self.hello.push(&chunk.bytes) } else { self.hello.cut() };
        self.judged = found != Found::More;
        match found {
            Found::More => Learned::Nothing,
            Found::Offer(offer) => Learned::Offer(offer),
            Found::No => Learned::Joined,
        }
    }

    fn asks(&mut self, record: Record, time: u64) {
        let times = &mut self.times;
        if times.hello.is_none() {
            times.hello = Some(time);
        }
        if times.answered.is_none() {
            return;
        }
        match (record.kind, is_tls13(self.server.opening())) {
            (APPLICATION_DATA, Some(true)) if times.finished.is_none() => {
                times.finished = FINISHED.contains(&record.length).then_some(time);
            }
            (HANDSHAKE, Some(false)) if times.asked.is_none() => times.finished = Some(time),
            (APPLICATION_DATA, Some(_))
                if times.asked.is_none() && times.finished.is_some() && record.length != ALERT =>
            {
                times.asked = Some(time);
            }
            _ => {}
        }
    }

    fn answers(&mut self, record: Record, time: u64) {
        let times = &mut self.times;
        if times.hello.is_some() && times.answered.is_none() && record.kind == HANDSHAKE {
            times.answered = Some(time);
        }
        let (Some(hello), Some(answered), Some(finished), Some(_), None) =
            (times.hello, times.answered, times.finished, times.asked, times.first)
        else {
            return;
        };
        let trip = answered.saturating_sub(hello);
        let since = time.saturating_sub(finished);
        let again = times.ticket == Some(record.length) && since <= HELD_BACK;
        if record.kind != APPLICATION_DATA || record.length == ALERT {
            return;
        }
        if record.length <= TICKET && (again || since <= 2 * trip + SLACK) {
            times.ticket = Some(record.length);
        } else {
            times.first = Some(time);
        }
    }

    fn closed(self, process: ProcessKey, socket: u64, ended: u64) -> Closed {
        let first_byte = match (self.times.asked, self.times.first, self.times.doubtful) {
            (Some(asked), Some(first), false) => Some(Duration::from_nanos(first.saturating_sub(asked))),
            _ => None,
        };
        let (started, sent, received) = (self.started, self.sent, self.received);
        Closed { process, socket, started, ended: ended.max(started), sent, received, first_byte }
    }
}

/// Whether a ServerHello chose TLS 1.3: by its extension `supported_versions` (RFC 8446, section 4.2.1). `None`: it is not
/// whole, or none.
fn is_tls13(opening: &[u8]) -> Option<bool> {
    let be = |at: usize| Some(usize::from(u16::from_be_bytes(opening.get(at..at + 2)?.try_into().ok()?)));
    if opening.first() != Some(&2) {
        return None;
    }
    // Header of the message, version, random; the session; suite and compression.
    let length = usize::from(*opening.get(2)?) << 8 | usize::from(*opening.get(3)?);
    let mut at = 4 + 2 + 32 + 1 + usize::from(*opening.get(4 + 2 + 32)?) + 3;
    if at >= 4 + length {
        return Some(false); // no extensions at all
    }
    let end = at + 2 + be(at)?;
    at += 2;
    while at < end {
        let (kind, size) = (be(at)?, be(at + 2)?);
        if kind == 43 {
            return Some(be(at + 4)? == 0x0304);
        }
        at += 4 + size;
    }
    Some(false)
}

#[cfg(test)]
mod tests;
