//! The seam between assembly and [`crate::streams`].

use pipeline::{
    ConnectionKey, ProcessKey, Timestamp,
    observation::{Exchange, Role},
};

use crate::{
    event::{Chunk, Clock},
    record::Settings,
    streams::{Config, Notice, Streams, jsonrpc::http::Rpc},
};

/// What the streams made of plaintext.
pub enum Seen {
    /// The head of a request that the process sent is complete.
    Head {
        /// On which connection.
        connection: ConnectionKey,
        /// When.
        time: Timestamp,
        /// Whom it is for.
        host: String,
        /// Request target.
        target: String,
    },
    /// The head of a request that was sent to the process is complete.
    Served {
        /// Which process.
        process: ProcessKey,
        /// The host that it was asked for.
        host: String,
        /// Request target.
        target: String,
    },
    /// Something of an exchange that carries JSON-RPC.
    Rpc(Box<Rpc>),
    /// An exchange is over.
    Exchange(Box<Exchange>),
    /// The connection does not speak what the streams understand.
    Foreign(ConnectionKey),
}

/// All streams of all connections.
pub struct Plaintext {
    streams: Streams,
    exchanges: Vec<Exchange>,
}

impl Plaintext {
    /// No connection yet.
    pub fn new(settings: &Settings, clock: Clock) -> Self {
        let config = Config { max_body_size: settings.max_body_size, memory_limit: settings.memory_limit };
        Self { streams: Streams::new(config, clock), exchanges: Vec::new() }
    }

    /// A piece of plaintext at a time (ns since boot).
    pub fn data(&mut self, process: ProcessKey, time: u64, chunk: &Chunk, out: &mut Vec<Seen>) {
        self.streams.chunk(process, time, chunk, &mut self.exchanges);
        self.take(out);
    }

    /// A TLS object was freed.
    pub fn close(&mut self, process: ProcessKey, object: u64, time: u64, out: &mut Vec<Seen>) {
        self.streams.close(process, object, time, &mut self.exchanges);
        self.take(out);
    }

    /// A process ended.
    pub fn exit(&mut self, process: ProcessKey, time: u64, out: &mut Vec<Seen>) {
        self.streams.process_exit(process, time, &mut self.exchanges);
        self.take(out);
    }

    /// Nothing more comes.
    pub fn finish(&mut self, time: u64, out: &mut Vec<Seen>) {
        self.streams.finish(time, &mut self.exchanges);
        self.take(out);
    }

    fn take(&mut self, out: &mut Vec<Seen>) {
        for notice in self.streams.notices() {
            match notice {
                Notice::Request { connection, role: Role::Client, time, target, host, .. } => {
                    out.push(Seen::Head { connection, time, host: host.unwrap_or_default(), target });
                }
                Notice::Request { connection, role: Role::Server, target, host, .. } => {
                    out.push(Seen::Served { process: connection.process, host: host.unwrap_or_default(), target });
                }
                Notice::Rpc(rpc) => out.push(Seen::Rpc(rpc)),
                Notice::Foreign { connection, .. } => out.push(Seen::Foreign(connection)),
            }
        }
        out.extend(self.exchanges.drain(..).map(|exchange| Seen::Exchange(Box::new(exchange))));
    }
}
