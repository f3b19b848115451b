//! Questions to name servers and their answers, from what goes through the sockets of a resolver.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Duration,
};

use pipeline::{
    ProcessKey,
    observation::{Dns, Transport},
};

use crate::{
    event::{Chunk, Clock, Direction, Socket, SocketKind},
    streams::dns,
};

/// How long an answer is waited for, ns: resolvers give up sooner.
const PATIENCE: u64 = 30_000_000_000;

/// Questions that are waited for.
const MOST: usize = 4_096;

/// Sockets whose bytes are put together, and the longest message (RFC 1035, section 4.2.2: its length has two bytes).
const MOST_STREAMS: usize = 1_024;
const LONGEST: usize = 2 + 65_535;

/// One question: by socket, id, name and type.
type Key = (ProcessKey, u64, u16, String, u16);

#[derive(Debug)]
struct Asked {
    /// ns since boot
    first: u64,
    attempts: u32,
    server: Option<SocketAddr>,
    transport: Transport,
}

/// What is under way.
#[derive(Debug, Default)]
pub struct Lookups {
    asked: BTreeMap<Key, Asked>,
    /// Bytes of messages that are not whole yet, by socket and whether they are sent.
    streams: HashMap<(ProcessKey, u64, bool), Vec<u8>>,
}

/// What a piece told.
#[derive(Debug, Default)]
pub struct Told {
    /// Look-ups that are over, with the time of their ends (ns since boot).
    pub over: Vec<(u64, ProcessKey, Dns)>,
    /// Whole messages that were received.
    pub answers: Vec<Vec<u8>>,
}

impl Lookups {
    /// A piece of what a process sent to a name server, or received from it.
    pub fn data(
        &mut self,
        process: ProcessKey,
        time: u64,
        chunk: &Chunk,
        socket: Option<&Socket>,
        clock: Clock,
    ) -> Told {
        let sent = chunk.direction == Direction::Write;
        let transport = match socket.map(|socket| socket.kind) {
            Some(SocketKind::Tcp) => Transport::Tcp,
            _ => Transport::Udp,
        };
        let server = socket.and_then(|socket| socket.peer);
        let mut told = Told::default();
        for message in self.messages((process, chunk.object, sent), chunk, transport) {
            if let Some(read) = dns::message(&message) {
                let key = (process, chunk.object, read.id, read.name.clone(), read.kind);
                if sent && !read.response {
                    self.question(key, Asked { first: time, attempts: 1, server, transport }, time, clock, &mut told);
                } else if !sent
                    && read.response
                    && let Some(asked) = self.asked.remove(&key)
                {
                    told.over.push((time, process, over(key, asked, Some((time, read)), clock)));
                }
            }
            if !sent {
                told.answers.push(message);
            }
        }
        told
    }

    fn question(&mut self, key: Key, new: Asked, time: u64, clock: Clock, told: &mut Told) {
        if let Some(asked) = self.asked.get_mut(&key) {
            asked.attempts = asked.attempts.saturating_add(1);
            return;
        }
        if self.asked.len() >= MOST
            && let Some((key, asked)) = self.asked.pop_first()
        {
            told.over.push((time, key.0, over(key, asked, None, clock)));
        }
        self.asked.insert(key, new);
    }

    /// The messages that a piece completes.
    fn messages(&mut self, key: (ProcessKey, u64, bool), chunk: &Chunk, transport: Transport) -> Vec<Vec<u8>> {
        let whole = chunk.offset == 0 && chunk.bytes.len() as u64 == chunk.total;
        if transport == Transport::Udp {
            if whole {
                return vec![chunk.bytes.to_vec()];
            }
            if chunk.offset == 0 {
                self.streams.remove(&key);
            }
        }
        if self.streams.len() >= MOST_STREAMS && !self.streams.contains_key(&key) {
            self.streams.clear();
        }
        let buffer = self.streams.entry(key).or_default();
        buffer.extend_from_slice(&chunk.bytes);
        let mut messages = Vec::new();
        if transport == Transport::Udp {
            if buffer.len() as u64 == chunk.total {
                messages.push(std::mem::take(buffer));
            }
        } else {
            while let Some((length, rest)) = buffer.split_first_chunk::<2>() {
                let length = usize::from(u16::from_be_bytes(*length));
                let Some(message) = rest.get(..length) else { break };
                messages.push(message.to_vec());
                buffer.drain(..2 + length);
            }
        }
        if buffer.is_empty() || buffer.len() > LONGEST {
            self.streams.remove(&key);
        }
        messages
    }

    /// A process closed a socket: nobody waits for its answers any more.
    pub fn close(&mut self, process: ProcessKey, socket: u64, time: u64, clock: Clock) -> Vec<(u64, ProcessKey, Dns)> {
        self.streams.remove(&(process, socket, true));
        self.streams.remove(&(process, socket, false));
        self.unanswered(time, clock, |key, _| (key.0, key.1) == (process, socket))
    }

    /// A process ended.
    pub fn exit(&mut self, process: ProcessKey, time: u64, clock: Clock) -> Vec<(u64, ProcessKey, Dns)> {
        self.streams.retain(|key, _| key.0 != process);
        self.unanswered(time, clock, |key, _| key.0 == process)
    }

    /// What was waited for long enough.
    pub fn expire(&mut self, now: u64, clock: Clock) -> Vec<(u64, ProcessKey, Dns)> {
        self.unanswered(now, clock, |_, asked| now.saturating_sub(asked.first) > PATIENCE)
    }

    /// Nothing more comes.
    pub fn finish(&mut self, time: u64, clock: Clock) -> Vec<(u64, ProcessKey, Dns)> {
        self.unanswered(time, clock, |_, _| true)
    }

    fn unanswered(
        &mut self,
        time: u64,
        clock: Clock,
        which: impl Fn(&Key, &Asked) -> bool,
    ) -> Vec<(u64, ProcessKey, Dns)> {
        if self.asked.is_empty() {
            return Vec::new();
        }
        let (gone, kept) = std::mem::take(&mut self.asked).into_iter().partition(|(key, asked)| which(key, asked));
        self.asked = kept;
        let gone: BTreeMap<Key, Asked> = gone;
        gone.into_iter().map(|(key, asked)| (time, key.0, over(key, asked, None, clock))).collect()
    }
}

fn over(key: Key, asked: Asked, answer: Option<(u64, dns::Message)>, clock: Clock) -> Dns {
    let (.., name, kind) = key;
    let mut dns = Dns {
        name,
        kind: dns::type_name(kind),
        code: None,
        addresses: Vec::new(),
        aliases: Vec::new(),
        truncated: false,
        server: asked.server,
        transport: asked.transport,
        attempts: asked.attempts,
        started: clock.wall(asked.first),
        duration: None,
    };
    if let Some((time, answer)) = answer {
        dns.code = Some(dns::code_name(answer.code));
        dns.addresses = answer.addresses.iter().map(ToString::to_string).collect();
        dns.aliases = answer.aliases;
        dns.truncated = answer.truncated;
        dns.duration = Some(Duration::from_nanos(time.saturating_sub(asked.first)));
    }
    dns
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{event::Source, streams::dns::tests::answer};

    const PROCESS: ProcessKey = ProcessKey { tgid: 7, start: 1 };
    const CLOCK: Clock = Clock { boot: 0 };

    fn socket(kind: SocketKind) -> Socket {
        let peer = Some(([127, 0, 0, 53], 53).into());
        Socket { id: 5, kind, local: None, peer, other: None, received: false }
    }

    fn chunk(direction: Direction, total: usize, offset: usize, bytes: &[u8]) -> Chunk {
        let bytes = bytes.to_vec().into();
        Chunk {
            source: Source::Dns,
            object: 5,
            socket: 5,
            direction,
            total: total as u64,
            offset: offset as u64,
            bytes,
        }
    }

    fn question(name: &str) -> Vec<u8> {
        let mut bytes = answer(name, [0, 0, 0, 0]);
        bytes[2..8].copy_from_slice(&[1, 0, 0, 1, 0, 0]);
        bytes.truncate(bytes.len() - 16);
        bytes
    }

    fn give(lookups: &mut Lookups, time: u64, kind: SocketKind, direction: Direction, bytes: &[u8]) -> Told {
        lookups.data(PROCESS, time, &chunk(direction, bytes.len(), 0, bytes), Some(&socket(kind)), CLOCK)
    }

    #[test]
    fn an_answer_ends_its_own_question() {
        let mut lookups = Lookups::default();
        let udp = SocketKind::Udp;
        assert!(give(&mut lookups, 1, udp, Direction::Write, &question("a.b")).over.is_empty());
        give(&mut lookups, 2, udp, Direction::Write, &question("c.d"));
        give(&mut lookups, 3, udp, Direction::Write, &question("a.b"));
        let told = give(&mut lookups, 9, udp, Direction::Read, &answer("A.b", [1, 2, 3, 4]));
        let [(9, PROCESS, dns)] = &told.over[..] else { panic!("{told:?}") };
        assert_eq!((dns.name.as_str(), dns.kind.as_str(), dns.attempts), ("a.b", "A", 2));
        assert_eq!((dns.code.as_deref(), &dns.addresses[..]), (Some("NOERROR"), &["1.2.3.4".to_owned()][..]));
        assert_eq!(dns.duration, Some(Duration::from_nanos(8)));
        assert_eq!((dns.server, dns.error()), (Some(([127, 0, 0, 53], 53).into()), None));
        assert_eq!(told.answers.len(), 1);
        // The answer of nobody's question, and one that comes twice.
        assert!(give(&mut lookups, 10, udp, Direction::Read, &answer("a.b", [1, 2, 3, 4])).over.is_empty());
        let left = lookups.close(PROCESS, 5, 11, CLOCK);
        assert_eq!((left.len(), left[0].2.error().as_deref()), (1, Some("no_answer")));
        assert!(lookups.finish(12, CLOCK).is_empty());
    }

    #[test]
    fn patience_ends() {
        let mut lookups = Lookups::default();
        give(&mut lookups, 1, SocketKind::Udp, Direction::Write, &question("a.b"));
        assert!(lookups.expire(1 + PATIENCE, CLOCK).is_empty());
        assert_eq!(lookups.expire(2 + PATIENCE, CLOCK).len(), 1);
        give(&mut lookups, 1, SocketKind::Udp, Direction::Write, &question("a.b"));
        assert_eq!(lookups.exit(PROCESS, 2, CLOCK).len(), 1);
    }

    #[test]
    fn a_datagram_may_come_in_pieces() {
        let mut lookups = Lookups::default();
        let bytes = question("a.b");
        let socket = socket(SocketKind::Udp);
        lookups.data(PROCESS, 1, &chunk(Direction::Write, bytes.len(), 0, &bytes[..4]), Some(&socket), CLOCK);
        lookups.data(PROCESS, 1, &chunk(Direction::Write, bytes.len(), 4, &bytes[4..]), Some(&socket), CLOCK);
        assert_eq!(lookups.finish(2, CLOCK).len(), 1);
    }

    proptest! {
        #[test]
        fn any_split_of_a_stream_is_the_same(cuts in prop::collection::vec(1usize..60, 0..8)) {
            let mut lookups = Lookups::default();
            let mut stream = Vec::new();
            for name in ["a.b", "c.d", "e.f"] {
                let message = question(name);
                stream.extend((message.len() as u16).to_be_bytes());
                stream.extend(message);
            }
            let mut rest = &stream[..];
            for cut in cuts {
                let (piece, more) = rest.split_at(cut.min(rest.len()));
                give(&mut lookups, 1, SocketKind::Tcp, Direction::Write, piece);
                rest = more;
            }
            give(&mut lookups, 1, SocketKind::Tcp, Direction::Write, rest);
            prop_assert_eq!(lookups.finish(2, CLOCK).len(), 3);
            prop_assert!(lookups.streams.is_empty());
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), tcp: bool, sent: bool, total in 0usize..400) {
            let mut lookups = Lookups::default();
            let kind = if tcp { SocketKind::Tcp } else { SocketKind::Udp };
            let direction = if sent { Direction::Write } else { Direction::Read };
            lookups.data(PROCESS, 1, &chunk(direction, total, total / 2, &bytes), Some(&socket(kind)), CLOCK);
        }
    }
}
