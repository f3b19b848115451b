//! The seam between assembly and [`crate::streams`].

use pipeline::{ConnectionKey, ProcessKey, Timestamp, observation::Exchange};

use crate::{event::Chunk, record::Settings};

/// What the streams made of plaintext.
pub enum Seen {
    /// A request's head is complete.
    Head {
        /// On which connection.
        connection: ConnectionKey,
        /// When.
        time: Timestamp,
        /// Value of `Host`.
        host: String,
        /// Request target.
        target: String,
    },
    /// An exchange is over.
    Exchange(Box<Exchange>),
    /// The connection does not speak what the streams understand.
    Foreign(ConnectionKey),
}

/// All streams of all connections.
pub struct Plaintext {}

impl Plaintext {
    /// No connection yet.
    pub fn new(_settings: &Settings) -> Self {
        Self {}
    }

    /// A piece of plaintext.
    pub fn data(&mut self, _process: ProcessKey, _time: Timestamp, _chunk: &Chunk, _out: &mut Vec<Seen>) {}

    /// A TLS object was freed.
    pub fn close(&mut self, _process: ProcessKey, _object: u64, _time: Timestamp, _out: &mut Vec<Seen>) {}

    /// A process ended.
    pub fn exit(&mut self, _process: ProcessKey, _time: Timestamp, _out: &mut Vec<Seen>) {}

    /// Nothing more comes.
    pub fn finish(&mut self, _time: Timestamp, _out: &mut Vec<Seen>) {}
}
