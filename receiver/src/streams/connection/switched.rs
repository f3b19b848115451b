//! What a connection speaks that is not HTTP/1: HTTP/2 from its preface on, or what an upgrade led to. It is given the same
//! ordered bytes with the same holes.

use bytes::Bytes;
use pipeline::observation::{Headers, Role};

use super::{Connection, Context, End, MOST_EARLY};
use crate::{
    event::Direction,
    streams::{
        Verdict, head,
        http2::{self, Http2},
        pending::Pending,
        websocket::{self, Of, Upgrade, WebSocket},
    },
};

/// What to do with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::streams) enum Next {
    /// Go on.
    More,
    /// Nothing more will come of it.
    Foreign,
}

/// The protocol at hand.
#[derive(Debug)]
pub(super) enum Switched {
    /// RFC 9113.
    Http2(Box<Http2>),
    /// RFC 6455.
    WebSocket(Box<WebSocket>),
}

impl Switched {
    /// Takes a piece of a direction. `border`: it begins a call.
    pub(super) fn feed(&mut self, direction: Direction, bytes: &[u8], border: bool, context: &mut Context<'_>) -> Next {
        match self {
            Switched::Http2(http2) => http2.feed(direction, bytes, border, context),
            Switched::WebSocket(socket) => socket.feed(direction, bytes, border, context.time, context.out),
        }
    }

    /// So many bytes of a direction are missing here.
    pub(super) fn hole(&mut self, direction: Direction, bytes: u64, context: &mut Context<'_>) -> Next {
        match self {
            Switched::Http2(http2) => http2.hole(direction, bytes, context),
            Switched::WebSocket(socket) => socket.hole(direction, bytes, context.time, context.out),
        }
    }

    /// True if a call with these bytes begins another connection: the object's address is used again.
    pub(super) fn is_followed_by(&self, direction: Direction, bytes: &[u8]) -> bool {
        match self {
            Switched::Http2(http2) => {
                http2.may_end(direction)
                    && (bytes.starts_with(http2::PREFACE) || head::begins_with(bytes, head::request))
            }
            Switched::WebSocket(_) => false,
        }
    }

    /// The connection ended: gives out all that is open.
    pub(super) fn end(&mut self, end: End, context: &mut Context<'_>) {
        match self {
            Switched::Http2(http2) => http2.end(end.reason(), context),
            Switched::WebSocket(socket) => socket.end(end.reason(), context.out),
        }
    }

    /// Bytes held: all of them, none is in [`Context::held`].
    pub(super) fn size(&self) -> u64 {
        match self {
            Switched::Http2(http2) => http2.size(),
            Switched::WebSocket(socket) => socket.size(),
        }
    }

    /// Sizes of the bodies that are held: (bytes, which exchange, response).
    pub(super) fn bodies(&self) -> Vec<(u64, usize, bool)> {
        match self {
            Switched::Http2(http2) => http2.bodies().collect(),
            Switched::WebSocket(socket) => socket.bodies().collect(),
        }
    }

    /// Throws a body away. Gives the bytes that it held.
    pub(super) fn forget(&mut self, at: usize, response: bool) -> u64 {
        match self {
            Switched::Http2(http2) => http2.forget(at, response),
            Switched::WebSocket(socket) => socket.forget(at, response),
        }
    }
}

/// A request to switch protocols, and the answer that does (RFC 9110, section 7.8).
#[derive(Debug)]
pub(super) struct Upgraded {
    pub(super) method: String,
    /// Secrets masked.
    pub(super) target: String,
    pub(super) request: Headers,
    pub(super) answer: Headers,
}

impl Upgraded {
    /// Nothing, if that is known to be of no use.
    pub(super) fn of(pending: &Pending) -> Option<Self> {
        let (answer, _) = pending.response.as_ref()?;
        answer.headers.get("upgrade")?;
        let head = &pending.head;
        Some(Self {
            method: head.method.clone(),
            target: head.target.clone(),
            request: head.headers.clone(),
            answer: answer.headers.clone(),
        })
    }
}

impl Connection {
    /// The connection speaks HTTP/2; `bytes` are the first that are known to.
    pub(super) fn switch_to_http2(
        &mut self,
        seen: http2::Seen,
        direction: Direction,
        bytes: Bytes,
        border: bool,
        context: &mut Context<'_>,
    ) {
        let http2 = Http2::new(self.key, seen, self.tls, self.next_index);
        self.switch(Switched::Http2(Box::new(http2)), Verdict::Http2);
        self.feed(direction, bytes, border, context);
    }

    /// A 101 answer to this request was seen; the exchange itself is given out already. What was sent since waits in
    /// `eager`, and what came after the answer will be fed next.
    pub(super) fn upgraded(&mut self, upgrade: Upgraded, context: &mut Context<'_>) {
        if !websocket::is_websocket(&upgrade.answer) {
            return self.foreign(Verdict::NotHttp, context);
        }
        let Upgraded { method, target, request, answer } = upgrade;
        let socket = WebSocket::upgraded(&self.as_socket(context), Upgrade { method, target, request, answer });
        self.switch(Switched::WebSocket(Box::new(socket)), Verdict::WebSocket);
    }

    /// Messages of a client's to a model's API, on a WebSocket whose upgrade was not seen; `bytes` begin a call with one.
    pub(super) fn join_websocket(&mut self, direction: Direction, bytes: Bytes, context: &mut Context<'_>) {
        self.role = Some(if direction == Direction::Write { Role::Client } else { Role::Server });
        let socket = WebSocket::joined(&self.as_socket(context));
        self.switch(Switched::WebSocket(Box::new(socket)), Verdict::WebSocket);
        self.feed(direction, bytes, true, context);
    }

    fn as_socket(&self, context: &Context<'_>) -> Of {
        let role = self.role.unwrap_or(Role::Client);
        Of { key: self.key, role, tls: self.tls, first_index: self.next_index, limit: context.max_body_size }
    }

    /// From now on the connection speaks this.
    fn switch(&mut self, to: Switched, verdict: Verdict) {
        self.switched = Some(to);
        self.verdict = verdict;
        self.read.lose();
        self.write.lose();
    }

    pub(super) fn follow(&mut self, next: Next, context: &mut Context<'_>) {
        if next == Next::Foreign {
            self.foreign(Verdict::NotHttp, context);
        }
    }

    /// Keeps what is sent after a request to switch protocols until that is answered: the kernel may tell of the writes
    /// before the read that they follow. False: it is to be read as HTTP/1.
    pub(super) fn hold(&mut self, bytes: &Bytes, border: bool, context: &mut Context<'_>) -> bool {
        let waits = self.pending.len() == 1
            && self.pending.front().is_some_and(|pending| {
                pending.asked && pending.response.is_none() && pending.head.headers.get("upgrade").is_some()
            });
        if !waits || self.eager_size + bytes.len() > MOST_EARLY {
            return false;
        }
        self.eager_size += bytes.len();
        self.eager.push((border, context.time, bytes.clone()));
        true
    }

    /// Takes what was held.
    pub(super) fn release(&mut self, context: &mut Context<'_>) {
        if self.eager.is_empty() {
            return;
        }
        self.eager_size = 0;
        let (asking, now) = (self.asking(), context.time);
        for (border, time, bytes) in std::mem::take(&mut self.eager) {
            context.time = time;
            self.feed(asking, bytes, border, context);
        }
        context.time = now;
    }
}
