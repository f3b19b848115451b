//! Streams: chunks of plaintext → ordered bytes → HTTP/1, HTTP/2 or WebSocket → exchanges.
//!
//! [`Streams`] is a function of what it is given: it reads no clock and holds nothing global. It copes with any split of
//! the bytes into calls and chunks, with holes (the kernel side dropped bytes), with connections joined in the middle,
//! and with anything that is not HTTP. Credentials in header fields do not leave it ([`is_sensitive_header`]).

mod body;
mod chunked;
pub mod client_hello;
mod connection;
mod content;
pub mod dns;
mod fields;
mod head;
mod http2;
pub mod jsonrpc;
mod pending;
#[cfg(test)]
mod tests;
pub mod tls_records;
mod websocket;

use std::collections::{BTreeMap, VecDeque};

use pipeline::{ConnectionKey, ProcessKey, Timestamp, observation::Exchange};

use crate::event::{Chunk, Clock};

use connection::{Connection, Context, End};

pub use fields::is_sensitive_header;
pub(crate) use http2::coding as http2_coding;

/// Limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Decoded bytes of a body that are kept, half of them from its head and half from its tail; 0 = all.
    pub max_body_size: u64,
    /// Bytes that all buffered streams together may hold; 0 = no limit.
    pub memory_limit: u64,
}

/// What a connection turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is known yet.
    Undecided,
    /// It speaks HTTP/1.
    Http,
    /// It speaks HTTP/2: by the client's preface (RFC 9113, section 3.4), or by its frames.
    Http2,
    /// It speaks WebSocket (RFC 6455), after an upgrade or joined in the middle.
    WebSocket,
    /// It does not speak HTTP, or does so no longer (101, a CONNECT tunnel with something else in it). Nothing more will
    /// come of it: the kernel may stop copying it.
    NotHttp,
}

/// What became known before an exchange was complete. See [`Streams::notices`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The head of a request is complete.
    Request {
        /// On which connection.
        connection: ConnectionKey,
        /// Which exchange: `Exchange::index`.
        index: u32,
        /// Which end is observed.
        role: pipeline::observation::Role,
        /// When its last byte came.
        time: Timestamp,
        /// Method.
        method: String,
        /// Request target, secrets masked.
        target: String,
        /// Value of `Host` or `:authority`, else the authority of an absolute target.
        host: Option<String>,
    },
    /// Something of an exchange that carries JSON-RPC.
    Rpc(Box<jsonrpc::http::Rpc>),
    /// The verdict became [`Verdict::NotHttp`]. Told once a connection.
    Foreign {
        /// Which connection.
        connection: ConnectionKey,
        /// The verdict.
        verdict: Verdict,
    },
}

/// Notices that are kept when nobody takes them.
const MOST_NOTICES: usize = 4096;

/// Connections that are kept at once; with more, those unused for longest are given up.
const MOST_CONNECTIONS: usize = 65_536;

/// What is known of the address of a TLS object.
#[derive(Debug, Default)]
struct Slot {
    /// Connections that it served and that ended.
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// All streams of all processes.
#[derive(Debug)]
pub struct Streams {
    config: Config,
    clock: Clock,
    /// Ordered, so that what ends together is given out in the same order each time.
    slots: BTreeMap<(ProcessKey, u64), Slot>,
    connections: usize,
    held: u64,
    notices: VecDeque<Notice>,
}

impl Streams {
    /// No stream yet. `clock` turns the times given below into those of the exchanges.
    pub fn new(config: Config, clock: Clock) -> Self {
        Self { config, clock, slots: BTreeMap::new(), connections: 0, held: 0, notices: VecDeque::new() }
    }

    /// Takes a piece of plaintext that `process` read or wrote at `time` (ns since boot). Pieces of one connection come in
    /// the order in which they were read and written. Exchanges that it completes are pushed to `out`, in their order.
    pub fn chunk(&mut self, process: ProcessKey, time: u64, chunk: &Chunk, out: &mut Vec<Exchange>) {
        let slot = self.slots.entry((process, chunk.object)).or_default();
        let connection = slot.connection.get_or_insert_with(|| {
            self.connections += 1;
            let generation = slot.generation;
            let key = ConnectionKey { process, object: chunk.object, generation };
            Box::new(Connection::new(key, chunk.source))
        });
        connection.used = time;
        let before = connection.loose();
        connection.chunk(
            chunk,
            &mut Context {
                time: self.clock.wall(time),
                max_body_size: self.config.max_body_size,
                held: &mut self.held,
                notices: &mut self.notices,
                out,
            },
        );
        self.held = (self.held + connection.loose()).saturating_sub(before);
        while self.notices.len() > MOST_NOTICES {
            self.notices.pop_front();
        }
        if self.config.memory_limit > 0 && self.held > self.config.memory_limit {
            self.make_room(time, out);
        }
        if self.connections > MOST_CONNECTIONS {
            self.evict(MOST_CONNECTIONS / 4, time, out);
        }
    }

    /// The TLS object was freed at `time`: ends bodies that end with the connection, breaks off the rest. What comes from
    /// this address from now on is another connection.
    pub fn close(&mut self, process: ProcessKey, object: u64, time: u64, out: &mut Vec<Exchange>) {
        self.end((process, object), End::Closed, time, out);
    }

    /// The process ended at `time`: its connections did.
    pub fn process_exit(&mut self, process: ProcessKey, time: u64, out: &mut Vec<Exchange>) {
        let objects: Vec<_> = self.slots.range((process, 0)..=(process, u64::MAX)).map(|(key, _)| *key).collect();
        for key in objects {
            self.end(key, End::Closed, time, out);
            self.slots.remove(&key);
        }
    }

    /// onlooker stops: gives out what is not complete, with `LossReason::Unobserved`, ordered by connection.
    pub fn finish(&mut self, time: u64, out: &mut Vec<Exchange>) {
        let objects: Vec<_> = self.slots.keys().copied().collect();
        for key in objects {
            self.end(key, End::Unobserved, time, out);
        }
        self.slots.clear();
    }

    /// What the present connection of this TLS object turned out to be.
    pub fn verdict(&self, process: ProcessKey, object: u64) -> Verdict {
        let slot = self.slots.get(&(process, object));
        slot.and_then(|slot| slot.connection.as_ref()).map_or(Verdict::Undecided, |connection| connection.verdict())
    }

    /// Takes what became known since the last call. Call it after each [`Streams::chunk`]; without it only the last few
    /// thousand are kept.
    pub fn notices(&mut self) -> impl Iterator<Item = Notice> {
        self.notices.drain(..)
    }

    /// Bytes held at present, in buffers and in what decoders are taken to need.
    pub fn buffered(&self) -> u64 {
        self.held
    }

    /// Ends the connection of a TLS object, if it has one.
    fn end(&mut self, key: (ProcessKey, u64), end: End, time: u64, out: &mut Vec<Exchange>) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let Some(mut connection) = slot.connection.take() else { return };
        let before = connection.loose();
        connection.end(
            end,
            &mut Context {
                time: self.clock.wall(time),
                max_body_size: self.config.max_body_size,
                held: &mut self.held,
                notices: &mut self.notices,
                out,
            },
        );
        self.held = self.held.saturating_sub(before);
        self.connections = self.connections.saturating_sub(1);
        slot.generation = connection.generation().saturating_add(1);
    }

    /// Throws away the biggest bodies until an eighth of the limit is free; their messages are followed on. If that is not
    /// enough, gives up connections. Freeing more than is needed keeps this from being done for each chunk.
    fn make_room(&mut self, time: u64, out: &mut Vec<Exchange>) {
        let goal = self.config.memory_limit - self.config.memory_limit / 8;
        let mut bodies: Vec<_> = self
            .slots
            .iter()
            .filter_map(|(key, slot)| Some((key, slot.connection.as_ref()?)))
            .flat_map(|(key, connection)| {
                connection.bodies().map(|(size, at, response)| (std::cmp::Reverse(size), *key, at, response))
            })
            .filter(|(size, ..)| size.0 > 0)
            .collect();
        bodies.sort_unstable();
        for (_, key, at, response) in bodies {
            if self.held <= goal {
                return;
            }
            if let Some(connection) = self.slots.get_mut(&key).and_then(|slot| slot.connection.as_mut()) {
                self.held = self.held.saturating_sub(connection.forget(at, response));
            }
        }
        while self.held > goal && self.connections > 0 {
            self.evict(self.connections.div_ceil(4), time, out);
        }
    }

    /// Gives up so many connections, those unused for longest first.
    fn evict(&mut self, number: usize, time: u64, out: &mut Vec<Exchange>) {
        let mut used: Vec<_> =
            self.slots.iter().filter_map(|(key, slot)| Some((slot.connection.as_ref()?.used, *key))).collect();
        used.sort_unstable();
        for (_, key) in used.into_iter().take(number) {
            self.end(key, End::Memory, time, out);
        }
    }
}
