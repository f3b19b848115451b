//! JSON-RPC in HTTP: what is told of an exchange before it is over.
//!
//! MCP answers on event streams that stay open for hours, so the messages of such a stream are told as they arrive. The
//! bytes of a stream that turned out to carry them are not kept any longer.

use std::collections::VecDeque;

use bytes::Bytes;
use pipeline::{
    ConnectionKey, Timestamp,
    observation::{Headers, Protocol, Role},
};

use super::{
    Framed, LONGEST,
    events::{Cutter, Event},
    message,
};
use crate::streams::{
    Notice,
    pending::{Carrier, Pending},
};

/// What is told of an exchange that may carry JSON-RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rpc {
    /// On which connection.
    pub connection: ConnectionKey,
    /// Which exchange: `Exchange::index`.
    pub index: u32,
    /// Which end is observed.
    pub role: Role,
    /// It goes over TLS, as far as the stream knows.
    pub tls: bool,
    /// What carries it.
    pub protocol: Protocol,
    /// What is told.
    pub said: Said,
}

/// What is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The request is complete. Its body is JSON-RPC, or it asked for an event stream without a body.
    Asked {
        /// Method, as `POST`.
        method: String,
        /// Request target, secrets masked.
        target: String,
        /// Header fields, without credentials.
        headers: Vec<(String, String)>,
        /// The decoded body.
        body: Bytes,
        /// First byte.
        started: Timestamp,
        /// Last byte.
        ended: Timestamp,
    },
    /// The head of an answer that is an event stream is complete.
    Answers {
        /// Status code.
        status: u16,
        /// Header fields, without credentials.
        headers: Vec<(String, String)>,
    },
    /// An event of such an answer.
    Event(Event),
}

/// Follows an event stream.
#[derive(Debug)]
pub(in crate::streams) struct Tap {
    cutter: Cutter,
    ready: Vec<Event>,
    /// It carries JSON-RPC; `None` while that is not known.
    proof: Option<bool>,
}

impl Tap {
    /// One that carries JSON-RPC for sure, or whose first event decides.
    pub(in crate::streams) fn new(proven: bool) -> Self {
        Self { cutter: Cutter::new(LONGEST), ready: Vec::new(), proof: proven.then_some(true) }
    }

    /// Takes the next decoded bytes. False: this is something else, and nothing was told of it.
    pub(in crate::streams) fn push(&mut self, bytes: &[u8], time: Timestamp) -> bool {
        self.cutter.push(bytes, time, &mut self.ready);
        if self.proof.is_none()
            && let Some(event) = self.ready.first()
        {
            self.proof = Some(event.kind == "endpoint" || is_rpc(&event.data));
        }
        self.proof != Some(false)
    }

    pub(in crate::streams) fn proven(&self) -> bool {
        self.proof == Some(true)
    }

    pub(in crate::streams) fn hole(&mut self) {
        self.cutter.hole();
    }

    /// Bytes held; what is ready is taken at once.
    pub(in crate::streams) fn held(&self) -> u64 {
        self.cutter.held() as u64
    }

    fn take(&mut self) -> Vec<Event> {
        if self.proven() { std::mem::take(&mut self.ready) } else { Vec::new() }
    }
}

/// Whether a body is a JSON-RPC message or a batch.
pub fn is_rpc(body: &[u8]) -> bool {
    let begins = body.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(begins, Some(b'{' | b'['))
        && memchr::memmem::find(body, b"\"jsonrpc\"").is_some()
        && !message::read(&framed(body.to_vec(), Timestamp(0), Timestamp(0))).is_empty()
}

/// A body as a message of its size.
pub fn framed(bytes: Vec<u8>, started: Timestamp, ended: Timestamp) -> Framed {
    let size = bytes.len() as u64;
    Framed { bytes, tail: None, size, started: started.nanos(), ended: ended.nanos() }
}

fn tell(on: &Carrier, index: u32, said: Said, notices: &mut VecDeque<Notice>) {
    let (connection, role, tls, protocol) = (on.key, on.role, on.tls, on.protocol);
    notices.push_back(Notice::Rpc(Box::new(Rpc { connection, index, role, tls, protocol, said })));
}

fn tell_request(pending: &Pending, on: &Carrier, body: Bytes, notices: &mut VecDeque<Notice>) {
    let said = Said::Asked {
        method: pending.head.method.clone(),
        target: pending.head.target.clone(),
        headers: pending.head.headers.0.clone(),
        body,
        started: pending.request.started,
        ended: pending.request.ended,
    };
    tell(on, pending.index, said, notices);
}

/// A request came to its end. `held`: bytes held by all messages.
pub(in crate::streams) fn asked(pending: &mut Pending, on: &Carrier, notices: &mut VecDeque<Notice>, held: &mut u64) {
    if pending.rpc != Watch::Unknown {
        return;
    }
    let accepts = |headers: &Headers| headers.get("accept").is_some_and(|accept| accept.contains("text/event-stream"));
    match pending.head.method.as_str() {
        "POST" => {
            let body = pending.request.body.whole().filter(|body| is_rpc(body));
            if let Some(body) = body.map(Bytes::copy_from_slice) {
                pending.rpc = Watch::Rpc;
                tell_request(pending, on, body, notices);
            }
        }
        "GET" if accepts(&pending.head.headers) => pending.rpc = Watch::Stream,
        _ => {}
    }
    // The answer may have been told before its question.
    answers(pending, on, notices, held);
}

/// The head of the answer is complete. `held`: bytes held by all messages.
pub(in crate::streams) fn answers(pending: &mut Pending, on: &Carrier, notices: &mut VecDeque<Notice>, held: &mut u64) {
    if pending.rpc == Watch::Unknown {
        return;
    }
    let Some((head, message)) = &mut pending.response else { return };
    let before = message.body.size();
    let listens = message.body.listen(pending.rpc == Watch::Rpc);
    *held = (*held + message.body.size()).saturating_sub(before);
    if !listens {
        return;
    }
    if pending.rpc == Watch::Rpc {
        let said = Said::Answers { status: head.status, headers: head.headers.0.clone() };
        tell(on, pending.index, said, notices);
    }
    said(pending, on, notices);
}

/// More of the answer came.
pub(in crate::streams) fn said(pending: &mut Pending, on: &Carrier, notices: &mut VecDeque<Notice>) {
    let Some((head, message)) = &mut pending.response else { return };
    let Some(tap) = message.body.tap() else { return };
    let events = tap.take();
    if events.is_empty() {
        return;
    }
    if pending.rpc == Watch::Stream {
        // The first event said what this is.
        pending.rpc = Watch::Rpc;
        let answers = Said::Answers { status: head.status, headers: head.headers.0.clone() };
        tell_request(pending, on, Bytes::new(), notices);
        tell(on, pending.index, answers, notices);
    }
    for event in events {
        tell(on, pending.index, Said::Event(event), notices);
    }
}

/// What an exchange may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::streams) enum Watch {
    /// Nothing speaks for JSON-RPC.
    #[default]
    Unknown,
    /// It asks for an event stream; what that carries is not known.
    Stream,
    /// It carries JSON-RPC.
    Rpc,
}
