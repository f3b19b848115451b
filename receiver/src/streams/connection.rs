//! One connection: calls put in order, requests and responses cut out of the bytes, each response given to its request.
//!
//! A direction ("lane") whose framing is lost, or that was never in step, waits for a call that begins a message: TLS
//! libraries are called with whole heads, so messages begin at the border of a call.

mod holes;
mod lane;
mod requests;
mod responses;
mod switched;

use std::collections::VecDeque;

use bytes::Bytes;
use pipeline::{
    ConnectionKey, Timestamp,
    observation::{Exchange, LossReason, Protocol, Role},
};

use super::{
    Notice, Verdict,
    head::{self, Begins},
    http2,
    pending::{Carrier, Pending},
    websocket::begins_client_message,
};
use crate::event::{Chunk, Direction, Source};
use lane::{Lane, State};
pub(super) use switched::Next;
use switched::Switched;

/// Requests without an answer; with more, the first is given up.
const MOST_PENDING: usize = 256;

/// Bytes of answers that are held because their request was not seen yet (the kernel may tell of a read before the write
/// that it answers).
const MOST_EARLY: usize = 64 * 1024;

/// So often the direction may turn without any request before the connection is not HTTP.
const MOST_TURNS: u32 = 16;

/// So many bytes may pass without any request: the rest of an upload whose beginning was not seen is HTTP.
const MOST_STRANGE: u64 = 256 << 20;

/// A request that may not be repeated is not followed by another on the same connection before its answer (RFC 9112,
/// section 9.3.2). One that comes so much later came on another connection whose object has the same address.
const REUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// What a connection works with, given to each of its calls.
pub(super) struct Context<'a> {
    pub(super) time: Timestamp,
    pub(super) max_body_size: u64,
    /// Bytes held by all messages.
    pub(super) held: &'a mut u64,
    pub(super) notices: &'a mut VecDeque<Notice>,
    pub(super) out: &'a mut Vec<Exchange>,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its object was freed, or its process ended.
    Closed,
    /// onlooker stops.
    Unobserved,
    /// There is no room for it.
    Memory,
}

impl End {
    /// Why what is open is not whole.
    pub(super) fn reason(self) -> LossReason {
        match self {
            End::Closed => LossReason::Closed,
            End::Unobserved => LossReason::Unobserved,
            End::Memory => LossReason::Memory,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    key: ConnectionKey,
    /// It goes over TLS.
    tls: bool,
    /// What it speaks, if that is not HTTP/1.
    switched: Option<Switched>,
    role: Option<Role>,
    verdict: Verdict,
    read: Lane,
    write: Lane,
    pending: VecDeque<Pending>,
    next_index: u32,
    /// Pieces of answers to requests that were not seen yet: begins a call, when, what.
    early: Vec<(bool, Timestamp, Bytes)>,
    early_size: usize,
    /// What was sent before the answer to a request to switch protocols was told of: begins a call, when, what.
    eager: Vec<(bool, Timestamp, Bytes)>,
    eager_size: usize,
    last: Option<Direction>,
    turns: u32,
    strange: u64,
    /// When it was last used, in ns since boot.
    pub(super) used: u64,
}

impl Connection {
    /// One of which this is the first piece.
    pub(super) fn new(key: ConnectionKey, source: Source) -> Self {
        Self {
            key,
            tls: source != Source::Socket,
            switched: None,
            role: None,
            verdict: Verdict::Undecided,
            read: Lane::new(),
            write: Lane::new(),
            pending: VecDeque::new(),
            next_index: 0,
            early: Vec::new(),
            early_size: 0,
            eager: Vec::new(),
            eager_size: 0,
            last: None,
            turns: 0,
            strange: 0,
            used: 0,
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// How often the address was used for a connection before this one.
    pub(super) fn generation(&self) -> u32 {
        self.key.generation
    }

    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// The direction of requests.
    fn asking(&self) -> Direction {
        if self.role == Some(Role::Server) { Direction::Read } else { Direction::Write }
    }

    /// The direction of responses.
    fn answering(&self) -> Direction {
        if self.role == Some(Role::Server) { Direction::Write } else { Direction::Read }
    }

    /// Bytes held outside of messages.
    pub(super) fn loose(&self) -> u64 {
        let switched = self.switched.as_ref().map_or(0, Switched::size);
        (self.read.head.capacity() + self.write.head.capacity() + self.early_size + self.eager_size) as u64 + switched
    }

    /// Sizes of the bodies that are held: (bytes, which exchange, response).
    pub(super) fn bodies(&self) -> impl Iterator<Item = (u64, usize, bool)> {
        let of_http1 = self.pending.iter().enumerate().flat_map(|(at, pending)| {
            let response = pending.response.as_ref().map(|(_, message)| (message.body.size(), at, true));
            std::iter::once((pending.request.body.size(), at, false)).chain(response)
        });
        // What switched has no exchanges of HTTP/1 left.
        of_http1.chain(self.switched.iter().flat_map(Switched::bodies))
    }

    /// Throws a body away. Gives the bytes that it held.
    pub(super) fn forget(&mut self, at: usize, response: bool) -> u64 {
        if let Some(switched) = &mut self.switched {
            return switched.forget(at, response);
        }
        let Some(pending) = self.pending.get_mut(at) else { return 0 };
        let body = match &mut pending.response {
            Some((_, message)) if response => &mut message.body,
            _ => &mut pending.request.body,
        };
        let before = body.size();
        body.forget();
        before.saturating_sub(body.size())
    }

    /// Takes a piece of a call.
    pub(super) fn chunk(&mut self, chunk: &Chunk, context: &mut Context<'_>) {
        if self.verdict == Verdict::NotHttp {
            return;
        }
        if self.last != Some(chunk.direction) {
            self.last = Some(chunk.direction);
            self.turns = self.turns.saturating_add(1);
        }
        let lane = self.lane(chunk.direction);
        let (total, came) = lane.call;
        let length = chunk.bytes.len() as u64;
        let mut bytes = chunk.bytes.clone();
        let since = if came < total { lane.began } else { context.time };
        let hole = if chunk.offset == 0 {
            lane.began = context.time;
            lane.call = (chunk.total, length);
            total.saturating_sub(came)
        } else if chunk.total == total && chunk.offset < came {
            // Told twice.
            let known = usize::try_from(came - chunk.offset).unwrap_or(usize::MAX).min(bytes.len());
            bytes = bytes.slice(known..);
            lane.call.1 = came.max(chunk.offset.saturating_add(length));
            0
        } else {
            let before = if chunk.total == total && came < total {
                chunk.offset - came
            } else {
                total.saturating_sub(came).saturating_add(chunk.offset)
            };
            lane.began = since;
            lane.call = (chunk.total, chunk.offset.saturating_add(length));
            before
        };
        if hole > 0 {
            self.missing(chunk.direction, hole, since, context);
        }
        if !bytes.is_empty() {
            self.feed(chunk.direction, bytes, chunk.offset == 0, context);
        }
    }

    /// So many bytes of a direction are missing here, of a call that began at `since`.
    fn missing(&mut self, direction: Direction, bytes: u64, since: Timestamp, context: &mut Context<'_>) {
        match &mut self.switched {
            Some(switched) => {
                let next = switched.hole(direction, bytes, context);
                self.follow(next, context);
            }
            None => self.hole(direction, bytes, since, context),
        }
    }

    fn feed(&mut self, direction: Direction, bytes: Bytes, border: bool, context: &mut Context<'_>) {
        if border && self.switched.as_ref().is_some_and(|switched| switched.is_followed_by(direction, &bytes)) {
            self.begin_another(direction, context);
        }
        if let Some(switched) = &mut self.switched {
            let next = switched.feed(direction, &bytes, border, context);
            self.follow(next, context);
        } else if self.role.is_none() {
            self.detect(direction, bytes, border, context);
        } else if direction == self.asking() {
            if !self.hold(&bytes, border, context) {
                self.ask(&bytes, border, context);
            }
        } else {
            self.answer(bytes, border, context);
        }
    }

    /// Looks for the first request, in both directions.
    fn detect(&mut self, direction: Direction, bytes: Bytes, border: bool, context: &mut Context<'_>) {
        if border && begins_client_message(&bytes) {
            return self.join_websocket(direction, bytes, context);
        }
        let lane = self.lane(direction);
        if border && matches!(lane.state, State::Skip) {
            lane.state = State::Start { in_step: false };
        }
        if matches!(lane.state, State::Start { .. }) {
            let mut rest: &[u8] = &bytes;
            match lane.first_line(&mut rest, border, context.time, head::request) {
                Begins::Yes => {
                    lane.state = State::Head;
                    self.role = Some(if direction == Direction::Write { Role::Client } else { Role::Server });
                    self.verdict = Verdict::Http;
                    let answering = self.answering();
                    self.lane(answering).lose();
                    self.began();
                    self.ask(rest, false, context);
                    return;
                }
                Begins::Http2 => {
                    let mut preface = std::mem::take(&mut lane.head);
                    preface.extend_from_slice(rest);
                    let (role, other) = match direction {
                        Direction::Write => (Role::Client, self.read.call),
                        Direction::Read => (Role::Server, self.write.call),
                    };
                    let seen = http2::Seen::Preface { role, fresh: other == (0, 0) };
                    return self.switch_to_http2(seen, direction, preface.into(), border, context);
                }
                Begins::No => lane.lose(),
                Begins::Maybe => {}
            }
            if border && http2::begins(&bytes) {
                return self.switch_to_http2(http2::Seen::Frames, direction, bytes, border, context);
            }
            // A TLS record: TLS within a tunnel.
            if border && bytes.starts_with(b"\x16\x03") {
                return self.foreign(Verdict::NotHttp, context);
            }
        }
        self.strange = self.strange.saturating_add(bytes.len() as u64);
        if self.turns > MOST_TURNS || self.strange > MOST_STRANGE {
            self.foreign(Verdict::NotHttp, context);
        }
    }

    /// The object's address serves another connection, which begins with the present call of this direction.
    fn begin_another(&mut self, direction: Direction, context: &mut Context<'_>) {
        let call = std::mem::take(&mut self.lane(direction).call);
        self.end(End::Closed, context);
        self.key.generation = self.key.generation.saturating_add(1);
        (self.next_index, self.role, self.verdict) = (0, None, Verdict::Undecided);
        for lane in [&mut self.read, &mut self.write] {
            lane.lose();
            lane.call = (0, 0);
        }
        self.lane(direction).call = call;
        self.began();
    }

    /// A message began: the connection does speak HTTP.
    fn began(&mut self) {
        self.turns = 0;
        self.strange = 0;
    }

    /// Nothing more will come of this connection.
    fn foreign(&mut self, verdict: Verdict, context: &mut Context<'_>) {
        if self.verdict == Verdict::NotHttp {
            return;
        }
        self.end(End::Closed, context);
        self.verdict = verdict;
        context.notices.push_back(Notice::Foreign { connection: self.key, verdict });
    }

    fn lane_ref(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }

    /// Gives out what is complete, in order.
    fn emit(&mut self, context: &mut Context<'_>) {
        while self.pending.front().is_some_and(|pending| pending.asked && pending.answered) {
            self.give_up(LossReason::Closed, context);
        }
    }

    /// Gives out the first exchange as it is. What is not whole is so for this reason.
    fn give_up(&mut self, reason: LossReason, context: &mut Context<'_>) {
        let asks = self.lane_ref(self.asking()).left();
        let answers = self.lane_ref(self.answering()).left();
        let Some(pending) = self.pending.pop_front() else { return };
        *context.held = context.held.saturating_sub(pending.size());
        let asks = if self.pending.is_empty() { asks } else { 0 };
        let answers = if pending.response.is_some() { answers } else { 0 };
        context.out.push(pending.finish(self.carrier(), reason, [asks, answers]));
    }

    fn carrier(&self) -> Carrier {
        let role = self.role.unwrap_or(Role::Client);
        Carrier { key: self.key, role, tls: self.tls, protocol: Protocol::Http1 }
    }

    /// The connection ended: gives out all that is open.
    pub(super) fn end(&mut self, end: End, context: &mut Context<'_>) {
        let answering = self.answering();
        if self.role.is_some() || self.switched.is_some() {
            for direction in [self.asking(), answering] {
                let lane = self.lane(direction);
                let (missing, began) = (lane.call.0.saturating_sub(lane.call.1), lane.began);
                lane.call = (0, 0);
                if missing > 0 {
                    self.missing(direction, missing, began, context);
                }
            }
        }
        if let Some(mut switched) = self.switched.take() {
            switched.end(end, context);
        }
        if end == End::Closed
            && matches!(self.lane_ref(answering).state, State::Close)
            && let Some(pending) = self.pending.front_mut()
        {
            pending.answered = true;
        }
        while !self.pending.is_empty() {
            self.give_up(end.reason(), context);
            // The rest of a body was that of the first exchange.
            self.lane(answering).lose();
        }
        self.early.clear();
        self.eager.clear();
        (self.early_size, self.eager_size) = (0, 0);
    }
}
