//! What a process did with sockets: connections that it made or accepted, places where it listens.

use std::{fmt, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{ids::Timestamp, observation::opaque::NameSource};

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Endpoint {
    /// Address and port.
    Ip(SocketAddr),
    /// A local socket: its path as it was given, or `@` and its abstract name (unix(7)).
    Unix(String),
}

impl Endpoint {
    /// `network.peer.address`, `network.local.address`.
    pub fn address(&self) -> String {
        match self {
            Endpoint::Ip(address) => address.ip().to_string(),
            Endpoint::Unix(name) => name.clone(),
        }
    }

    /// The port, where there are ports.
    pub fn port(&self) -> Option<u16> {
        match self {
            Endpoint::Ip(address) => Some(address.port()),
            Endpoint::Unix(_) => None,
        }
    }

    /// `network.type`
    pub fn network(&self) -> Option<&'static str> {
        match self {
            Endpoint::Ip(SocketAddr::V4(_)) => Some("ipv4"),
            Endpoint::Ip(SocketAddr::V6(_)) => Some("ipv6"),
            Endpoint::Unix(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Ip(address) => address.fmt(out),
            Endpoint::Unix(name) => out.write_str(name),
        }
    }
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// A local socket.
    Unix,
    /// Another protocol over IP, by its number (MPTCP 262, ICMP 1…).
    Other(u32),
}

impl Transport {
    /// The value of `network.transport`; the conventions have no word for the others.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Transport::Tcp => Some("tcp"),
            Transport::Udp => Some("udp"),
            Transport::Unix => Some("unix"),
            Transport::Other(_) => None,
        }
    }
}

/// Why there is no connection, or none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// The kernel's error.
    Errno(u32),
    /// The process gave up: it closed the socket before there was an outcome. What programs do at a timeout of their own.
    Aborted,
}

impl Failure {
    /// The value of `error.type`.
    pub fn name(self) -> String {
        match self {
            Failure::Errno(errno) => crate::errno::name(errno),
            Failure::Aborted => "aborted".into(),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionPhase {
    /// The process connected, or tried to. With an end, if the connection is over already: then it is told once.
    Connect,
    /// A connection is over that was told as open before, or was there when the watch began.
    Close,
    /// The process waits for connections.
    Listen,
    /// The process accepted connections: one, or so many on the same place in a short time.
    Accept {
        /// How many this stands for.
        count: u64,
    },
}

/// A connection, or a place where some are accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// What happened.
    pub phase: ConnectionPhase,
    /// What carries the bytes.
    pub transport: Transport,
    /// True if the process is the server: it accepted the connection, or listens.
    pub served: bool,
    /// This process's end.
    pub local: Option<Endpoint>,
    /// The other end; of several, absent.
    pub peer: Option<Endpoint>,
    /// The name by which the peer is known.
    pub name: Option<String>,
    /// Where that name is from.
    pub name_source: Option<NameSource>,
    /// When it was asked for or accepted; of a connection that was there before, when it was first seen.
    pub started: Timestamp,
    /// How long the process or the kernel waited for the outcome (connect). Absent where nothing is waited for.
    pub connect: Option<Duration>,
    /// Why it failed, or was broken off.
    pub error: Option<Failure>,
    /// When it was over; absent while it is open, or if that was not seen.
    pub ended: Option<Timestamp>,
    /// Bytes that this side sent, without those of TCP and IP.
    pub sent: Option<u64>,
    /// Bytes that it received.
    pub received: Option<u64>,
    /// Most connections that may wait to be accepted (listen(2)).
    pub backlog: Option<u32>,
}

impl Connection {
    /// Nothing but what happened and when.
    pub fn new(phase: ConnectionPhase, transport: Transport, started: Timestamp) -> Self {
        Self {
            phase,
            transport,
            served: matches!(phase, ConnectionPhase::Listen | ConnectionPhase::Accept { .. }),
            local: None,
            peer: None,
            name: None,
            name_source: None,
            started,
            connect: None,
            error: None,
            ended: None,
            sent: None,
            received: None,
            backlog: None,
        }
    }

    /// From its beginning to its end.
    pub fn duration(&self) -> Option<Duration> {
        self.ended.map(|ended| ended.since(self.started))
    }
}
