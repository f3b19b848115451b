//! An HTTP request and its response, as reassembled from a connection.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;

use crate::ids::{ConnectionKey, Timestamp};

/// Which end of the connection the observed process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sent the request.
    Client,
    /// It answered the request. A process that serves a model's API is not an agent.
    Server,
}

impl Role {
    /// `client` or `server`.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Client => "client",
            Role::Server => "server",
        }
    }
}

/// What carried an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1 (RFC 9112).
    #[default]
    Http1,
    /// HTTP/2 (RFC 9113): an exchange is a stream.
    Http2,
    /// WebSocket (RFC 6455): method, target and header fields are those of the upgrade; the request's body is the message
    /// that asked, the response's body the messages that answered, each as one event of `text/event-stream`.
    WebSocket,
}

/// What is known of the connection under an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The other end: `network.peer.address` and `network.peer.port`.
    pub peer: Option<SocketAddr>,
    /// The observed process's own end: `network.local.address` and `network.local.port`.
    pub local: Option<SocketAddr>,
    /// Server name of the ClientHello (RFC 6066, section 3), lower case.
    pub server_name: Option<String>,
    /// Protocols that the ClientHello offers (RFC 7301), in its order.
    pub alpn: Vec<String>,
    /// Name that a DNS answer to this process gave to the peer's address.
    pub resolved_name: Option<String>,
}

/// A request and its response.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The connection it was on.
    pub connection: ConnectionKey,
    /// Counts the exchanges of a connection from 0.
    pub index: u32,
    /// Which end was observed.
    pub role: Role,
    /// True if it went over TLS.
    pub tls: bool,
    /// What carried it.
    pub protocol: Protocol,
    /// The connection under it, as far as it is known.
    pub facts: Option<Arc<ConnectionFacts>>,
    /// The request.
    pub request: Request,
    /// The final response (never a 1xx); absent if the connection ended before it.
    pub response: Option<Response>,
    /// What is missing, if anything. A whole exchange has none.
    pub losses: Vec<Loss>,
}

/// Header fields. Names are lower case. Fields that carry credentials (Authorization, cookies, API keys…) are
/// dropped by the parser and never get here; that one was there is told by `<redacted>` as its value.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of the first field of this (lower-case) name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Method, as `POST`.
    pub method: String,
    /// Request target as sent: path and query, or an absolute URL. Values of secret query keys are masked.
    pub target: String,
    /// Header fields.
    pub headers: Headers,
    /// Body after transfer and content decoding.
    pub body: Body,
    /// First byte.
    pub started: Timestamp,
    /// Last byte.
    pub ended: Timestamp,
}

/// A response.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Status code, 200 and up (101 for an upgrade).
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// Body after transfer and content decoding.
    pub body: Body,
    /// First byte of the status line.
    pub started: Timestamp,
    /// Last byte seen.
    pub ended: Timestamp,
}

/// A message body.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The decoded bytes; beyond `max_body_size` only head and tail (see `omitted`).
    pub bytes: Bytes,
    /// Bytes on the wire, before decoding.
    pub wire_size: u64,
    /// Decoded bytes left out between head and tail because of `max_body_size`.
    pub omitted: u64,
    /// When which part of `bytes` arrived: ascending offsets, the first at 0. Kept for event streams and NDJSON only;
    /// a body of another type has at most one.
    pub marks: Vec<Mark>,
}

impl Body {
    /// When the byte at `offset` of `bytes` arrived, if that is known.
    pub fn arrived(&self, offset: u64) -> Option<Timestamp> {
        let after = self.marks.partition_point(|mark| mark.offset <= offset);
        after.checked_sub(1).and_then(|at| self.marks.get(at)).map(|mark| mark.time)
    }
}

/// From this offset of a body's decoded bytes on, they arrived at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Offset into `Body::bytes`.
    pub offset: u64,
    /// When that byte became readable to the process.
    pub time: Timestamp,
}

/// Which part of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The request.
    Request,
    /// The response.
    Response,
}

impl Part {
    /// `request` or `response`.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Request => "request",
            Part::Response => "response",
        }
    }
}

/// Why something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// The connection or the process ended before the message did.
    Closed,
    /// The kernel side dropped bytes.
    Dropped,
    /// The body was longer than `max_body_size`.
    TooLarge,
    /// The content encoding could not be decoded.
    Undecodable,
    /// All buffered streams together were over `memory_limit`.
    Memory,
    /// onlooker stopped, or its watch began, in the middle.
    Unobserved,
}

impl LossReason {
    /// The value of `onlooker.capture.loss.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            LossReason::Closed => "closed",
            LossReason::Dropped => "dropped",
            LossReason::TooLarge => "too_large",
            LossReason::Undecodable => "undecodable",
            LossReason::Memory => "memory",
            LossReason::Unobserved => "unobserved",
        }
    }
}

/// Something that is missing from an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where.
    pub part: Part,
    /// Why.
    pub reason: LossReason,
    /// Bytes known to be missing; 0 if it cannot be known.
    pub bytes: u64,
}
