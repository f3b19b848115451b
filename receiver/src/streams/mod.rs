//! Streams: chunks of plaintext → ordered bytes → HTTP/1 → exchanges.
//!
//! [`Streams`] is a function of what it is given: it reads no clock and holds nothing global. It copes with any split of
//! the bytes into calls and chunks, with holes (the kernel side dropped bytes), with connections joined in the middle,
//! and with anything that is not HTTP. Credentials in header fields do not leave it ([`is_sensitive_header`]).

mod fields;

use pipeline::{ConnectionKey, ProcessKey, Timestamp, observation::Exchange};

use crate::event::{Chunk, Clock};

pub use fields::is_sensitive_header;

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
    /// It speaks HTTP/2: the client's preface was seen (RFC 9113, section 3.4).
    Http2,
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
        /// Value of `Host`, else the authority of an absolute target.
        host: Option<String>,
    },
    /// The verdict became [`Verdict::NotHttp`] or [`Verdict::Http2`]. Told once a connection.
    Foreign {
        /// Which connection.
        connection: ConnectionKey,
        /// The verdict.
        verdict: Verdict,
    },
}

/// All streams of all processes.
#[derive(Debug)]
pub struct Streams {
    config: Config,
    clock: Clock,
}

impl Streams {
    /// No stream yet. `clock` turns the times given below into those of the exchanges.
    pub fn new(config: Config, clock: Clock) -> Self {
        Self { config, clock }
    }

    /// Takes a piece of plaintext that `process` read or wrote at `time` (ns since boot). Pieces of one connection come in
    /// the order in which they were read and written. Exchanges that it completes are pushed to `out`, in their order.
    pub fn chunk(&mut self, process: ProcessKey, time: u64, chunk: &Chunk, out: &mut Vec<Exchange>) {
        let _ = (process, time, chunk, out, self.config, self.clock);
    }

    /// The TLS object was freed at `time`: ends bodies that end with the connection, breaks off the rest. What comes from
    /// this address from now on is another connection.
    pub fn close(&mut self, process: ProcessKey, object: u64, time: u64, out: &mut Vec<Exchange>) {
        let _ = (process, object, time, out);
    }

    /// The process ended at `time`: its connections did.
    pub fn process_exit(&mut self, process: ProcessKey, time: u64, out: &mut Vec<Exchange>) {
        let _ = (process, time, out);
    }

    /// onlooker stops: gives out what is not complete, with `LossReason::Unobserved`, ordered by connection.
    pub fn finish(&mut self, time: u64, out: &mut Vec<Exchange>) {
        let _ = (time, out);
    }

    /// What the present connection of this TLS object turned out to be.
    pub fn verdict(&self, process: ProcessKey, object: u64) -> Verdict {
        let _ = (process, object);
        Verdict::Undecided
    }

    /// Takes what became known since the last call. Call it after each [`Streams::chunk`]; without it only the last few
    /// thousand are kept.
    pub fn notices(&mut self) -> impl Iterator<Item = Notice> {
        std::iter::empty()
    }

    /// Bytes held at present.
    pub fn buffered(&self) -> u64 {
        0
    }
}
