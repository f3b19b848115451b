//! An HTTP request and its response, as reassembled from a connection.

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
