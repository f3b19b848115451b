//! One connection: calls put in order, requests and responses cut out of the bytes, each response given to its request.
//!
//! A direction ("lane") whose framing is lost, or that was never in step, waits for a call that begins a message: TLS
//! libraries are called with whole heads, so messages begin at the border of a call.

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::memchr;
use pipeline::{
    ConnectionKey, Timestamp,
    observation::{Exchange, Loss, LossReason, Part, Request, Response, Role},
};

use super::{
    Notice, Verdict,
    body::Incoming,
    chunked::{Chunked, Progress},
    fields,
    head::{self, Begins, Framing, RequestHead, ResponseHead},
};
use crate::event::{Chunk, Direction};

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

/// Where in the messages of a direction.
#[derive(Debug)]
enum State {
    /// Between messages, or in a first line that may be one. In step if it must be; else it must begin with a call.
    Start { in_step: bool },
    /// After a first line.
    Head,
    /// In a body of which so many bytes are left.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunked),
    /// In a body that ends with the connection.
    Close,
    /// Not known; to the end of this call.
    Skip,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    /// Bytes of the present call, and how many of them came.
    call: (u64, u64),
    /// When the first of them came.
    began: Timestamp,
    state: State,
    /// What there is of a head.
    head: Vec<u8>,
    /// When its first byte came.
    started: Timestamp,
}

impl Lane {
    fn new() -> Self {
        Self { call: (0, 0), began: Timestamp(0), state: State::Skip, head: Vec::new(), started: Timestamp(0) }
    }

    fn lose(&mut self) {
        self.state = State::Skip;
        self.head.clear();
    }

    /// Bytes that the present body is known to be short of.
    fn left(&self) -> u64 {
        match &self.state {
            State::Length(left) => *left,
            State::Chunked(chunked) => chunked.left(),
            _ => 0,
        }
    }

    /// Collects a first line from the front of `bytes`. `Yes`: it is in `head`. `No`: it begins no message.
    fn first_line(
        &mut self,
        bytes: &mut &[u8],
        border: bool,
        time: Timestamp,
        look: fn(&[u8], usize) -> Begins,
    ) -> Begins {
        loop {
            if self.head.is_empty() {
                // RFC 9112, section 2.2: a line end before a message is passed over.
                let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                *bytes = bytes.get(blank..).unwrap_or_default();
                self.started = time;
            }
            let had = self.head.len();
            let take = memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            // Almost all that is no message shows it at once: do not collect it.
            if had == 0 && take > 16 && look(bytes.get(..16).unwrap_or_default(), 16) == Begins::No {
                return Begins::No;
            }
            let (now, rest) = bytes.split_at(take.min(bytes.len()));
            self.head.extend_from_slice(now);
            match look(&self.head, now.len()) {
                Begins::No => {
                    self.head.clear();
                    if had > 0 && border {
                        // What an earlier call began was nothing; this call may be.
                        continue;
                    }
                    return Begins::No;
                }
                found => {
                    *bytes = rest;
                    return found;
                }
            }
        }
    }

    /// Collects the rest of a head. `None`: more must come; false: it is too long.
    fn rest_of_head(&mut self, bytes: &mut &[u8]) -> Option<bool> {
        while !bytes.is_empty() {
            let end = memchr(b'\n', bytes);
            let (now, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1).min(bytes.len()));
            self.head.extend_from_slice(now);
            *bytes = rest;
            if end.is_some() && (self.head.ends_with(b"\n\r\n") || self.head.ends_with(b"\n\n")) {
                return Some(true);
            }
            if self.head.len() > head::LONGEST {
                return Some(false);
            }
        }
        None
    }
}

/// A message while it arrives.
#[derive(Debug)]
struct Message {
    body: Incoming,
    started: Timestamp,
    ended: Timestamp,
    /// Bytes of its head.
    fields: u64,
}

impl Message {
    fn size(&self) -> u64 {
        self.fields + self.body.size()
    }

    fn push(&mut self, bytes: &[u8], time: Timestamp, held: &mut u64) {
        let before = self.body.size();
        self.body.push(bytes, time);
        *held = (*held + self.body.size()).saturating_sub(before);
        self.ended = time;
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
struct Pending {
    index: u32,
    head: RequestHead,
    request: Message,
    /// The request came to its end, or nothing more can be known of it.
    asked: bool,
    response: Option<(ResponseHead, Message)>,
    /// The response came to its end.
    answered: bool,
    /// Request, response: broken for a reason that is told already.
    broken: [bool; 2],
    losses: Vec<Loss>,
}

impl Pending {
    fn size(&self) -> u64 {
        self.request.size() + self.response.as_ref().map_or(0, |(_, message)| message.size())
    }

    fn lose(&mut self, part: Part, reason: LossReason, bytes: u64) {
        match self.losses.iter_mut().find(|loss| (loss.part, loss.reason) == (part, reason)) {
            Some(loss) => loss.bytes = loss.bytes.saturating_add(bytes),
            None => self.losses.push(Loss { part, reason, bytes }),
        }
    }

    fn break_off(&mut self, part: Part, reason: LossReason, bytes: u64) {
        self.lose(part, reason, bytes);
        self.broken[usize::from(part == Part::Response)] = true;
    }

    /// The exchange. What is not whole is so for this reason; so many bytes of request and response are known to lack.
    fn finish(mut self, connection: ConnectionKey, role: Role, reason: LossReason, left: [u64; 2]) -> Exchange {
        let [asked, answered] = self.broken;
        let mut losses = std::mem::take(&mut self.losses);
        let (body, _) = self.request.body.finish(Part::Request, self.asked && !asked, &mut losses);
        if !self.asked && !asked {
            losses.push(Loss { part: Part::Request, reason, bytes: left[0] });
        }
        let request = Request {
            method: self.head.method,
            target: self.head.target,
            headers: self.head.headers,
            body,
            started: self.request.started,
            ended: self.request.ended,
        };
        let mut terminated = false;
        let response = self.response.map(|(head, message)| {
            let (body, ended) = message.body.finish(Part::Response, self.answered && !answered, &mut losses);
            terminated = ended;
            Response {
                status: head.status,
                headers: head.headers,
                body,
                started: message.started,
                ended: message.ended,
            }
        });
        if !self.answered && !answered && !terminated {
            losses.push(Loss { part: Part::Response, reason, bytes: left[1] });
        }
        losses.sort_by_key(|loss| loss.part == Part::Response);
        Exchange { connection, index: self.index, role, tls: true, request, response, losses }
    }
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

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    key: ConnectionKey,
    role: Option<Role>,
    verdict: Verdict,
    read: Lane,
    write: Lane,
    pending: VecDeque<Pending>,
    next_index: u32,
    /// Pieces of answers to requests that were not seen yet: begins a call, when, what.
    early: Vec<(bool, Timestamp, Bytes)>,
    early_size: usize,
    last: Option<Direction>,
    turns: u32,
    strange: u64,
    /// When it was last used, in ns since boot.
    pub(super) used: u64,
}

impl Connection {
    pub(super) fn new(key: ConnectionKey) -> Self {
        Self {
            key,
            role: None,
            verdict: Verdict::Undecided,
            read: Lane::new(),
            write: Lane::new(),
            pending: VecDeque::new(),
            next_index: 0,
            early: Vec::new(),
            early_size: 0,
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
        (self.read.head.capacity() + self.write.head.capacity() + self.early_size) as u64
    }

    /// Sizes of the bodies that are held: (bytes, which exchange, response).
    pub(super) fn bodies(&self) -> impl Iterator<Item = (u64, usize, bool)> {
        self.pending.iter().enumerate().flat_map(|(at, pending)| {
            let response = pending.response.as_ref().map(|(_, message)| (message.body.size(), at, true));
            std::iter::once((pending.request.body.size(), at, false)).chain(response)
        })
    }

    /// Throws a body away. Gives the bytes that it held.
    pub(super) fn forget(&mut self, at: usize, response: bool) -> u64 {
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
        if matches!(self.verdict, Verdict::NotHttp | Verdict::Http2) {
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
            self.hole(chunk.direction, hole, since, context);
        }
        if !bytes.is_empty() {
            self.feed(chunk.direction, bytes, chunk.offset == 0, context);
        }
    }

    fn feed(&mut self, direction: Direction, bytes: Bytes, border: bool, context: &mut Context<'_>) {
        if self.role.is_none() {
            self.detect(direction, bytes, border, context);
        } else if direction == self.asking() {
            self.ask(&bytes, border, context);
        } else {
            self.answer(bytes, border, context);
        }
    }

    /// Looks for the first request, in both directions.
    fn detect(&mut self, direction: Direction, bytes: Bytes, border: bool, context: &mut Context<'_>) {
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
                Begins::Http2 => return self.foreign(Verdict::Http2, context),
                Begins::No => lane.lose(),
                Begins::Maybe => {}
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

    /// A message began: the connection does speak HTTP.
    fn began(&mut self) {
        self.turns = 0;
        self.strange = 0;
    }

    /// Nothing more will come of this connection.
    fn foreign(&mut self, verdict: Verdict, context: &mut Context<'_>) {
        self.end(End::Closed, context);
        self.verdict = verdict;
        context.notices.push_back(Notice::Foreign { connection: self.key, verdict });
    }

    /// Takes a piece of requests.
    fn ask(&mut self, mut bytes: &[u8], mut border: bool, context: &mut Context<'_>) {
        let (asking, time) = (self.asking(), context.time);
        while !bytes.is_empty() {
            if border && self.asks_anew(bytes) {
                // Bytes of the body were lost without a trace: its answer is there, and here is the next request.
                let left = self.lane(asking).left();
                if let Some(pending) = self.pending.back_mut() {
                    pending.break_off(Part::Request, LossReason::Dropped, left);
                }
                self.asked(context);
            }
            let lane = match asking {
                Direction::Read => &mut self.read,
                Direction::Write => &mut self.write,
            };
            match &mut lane.state {
                State::Skip if border => lane.state = State::Start { in_step: false },
                State::Skip => {
                    self.strange = self.strange.saturating_add(bytes.len() as u64);
                    if self.turns > MOST_TURNS * 4 || self.strange > MOST_STRANGE {
                        self.foreign(Verdict::NotHttp, context);
                    }
                    return;
                }
                State::Start { .. } => match lane.first_line(&mut bytes, border, time, head::request) {
                    Begins::Yes => {
                        lane.state = State::Head;
                        let started = lane.started;
                        self.began();
                        self.before_next(started, border, context);
                    }
                    Begins::Maybe => return,
                    Begins::No | Begins::Http2 => {
                        lane.lose();
                        border = false;
                        continue;
                    }
                },
                State::Head => match lane.rest_of_head(&mut bytes) {
                    None => return,
                    Some(true) => self.request_head(context),
                    Some(false) => self.lost_request(LossReason::TooLarge, 0, context),
                },
                State::Length(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, rest) = bytes.split_at(take);
                    *left -= take as u64;
                    bytes = rest;
                    let done = *left == 0;
                    if let Some(pending) = self.pending.back_mut() {
                        pending.request.push(now, time, context.held);
                    }
                    if done {
                        self.asked(context);
                    }
                }
                State::Chunked(chunked) => {
                    let Some(pending) = self.pending.back_mut() else { return lane.lose() };
                    pending.request.ended = time;
                    match chunked.feed(bytes, |data| pending.request.push(data, time, context.held)) {
                        Progress::More => return,
                        Progress::Done(taken) => {
                            bytes = bytes.get(taken..).unwrap_or_default();
                            self.asked(context);
                        }
                        Progress::Bad => {
                            pending.break_off(Part::Request, LossReason::Undecodable, 0);
                            self.asked(context);
                            self.lane(asking).lose();
                        }
                    }
                }
                // Requests have no such body.
                State::Close => lane.lose(),
            }
            // A border is the beginning of the piece; a state that takes nothing leaves it.
            border = border
                && matches!(self.lane(asking).state, State::Start { in_step: false })
                && self.lane(asking).head.is_empty();
        }
    }

    /// True if this call begins the next request although the present one has not ended.
    fn asks_anew(&mut self, bytes: &[u8]) -> bool {
        let asking = self.asking();
        matches!(self.lane(asking).state, State::Length(_) | State::Chunked(_))
            && self.pending.back().is_some_and(|pending| pending.answered)
            && head::begins_with(bytes, head::request)
    }

    /// The first line of a request came: is what is still open really before it on the same connection?
    fn before_next(&mut self, started: Timestamp, border: bool, context: &mut Context<'_>) {
        let answering = self.answering();
        let Some(front) = self.pending.front() else { return };
        let lane = self.lane_ref(answering);
        let idle = matches!(lane.state, State::Start { .. } | State::Skip) && lane.head.is_empty();
        let reused = match lane.state {
            // The connection ended with this body, so this is another one.
            State::Close => front.asked && front.response.is_some(),
            _ => {
                border
                    && idle
                    && front.asked
                    && front.response.is_none()
                    && matches!(front.head.method.as_str(), "POST" | "PATCH")
                    && started > front.request.ended.plus(REUSE)
            }
        };
        if reused {
            self.end(End::Closed, context);
            self.key.generation = self.key.generation.saturating_add(1);
            self.next_index = 0;
            let lane = self.lane(answering);
            lane.lose();
            lane.call = (0, 0);
        } else if matches!(lane.state, State::Skip) && self.pending.len() == 1 && front.asked && front.broken[1] {
            // Nobody asks again before he has his answer, but it could not be followed.
            self.give_up(LossReason::Dropped, context);
        }
    }

    fn lane_ref(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }

    /// The head of a request is complete.
    fn request_head(&mut self, context: &mut Context<'_>) {
        let asking = self.asking();
        let lane = self.lane(asking);
        let Some(head) = RequestHead::parse(&lane.head) else {
            return self.lost_request(LossReason::Undecodable, 0, context);
        };
        let size = lane.head.len() as u64;
        let framing = head::request_framing(&head);
        self.open(head, size, framing, context);
        match framing {
            Framing::Length(left) if left > 0 => self.lane(asking).state = State::Length(left),
            Framing::Chunked => self.lane(asking).state = State::Chunked(Chunked::new()),
            Framing::Bad => {
                if let Some(pending) = self.pending.back_mut() {
                    pending.break_off(Part::Request, LossReason::Undecodable, 0);
                }
                self.asked(context);
                self.lane(asking).lose();
            }
            _ => self.asked(context),
        }
        self.replay(context);
    }

    /// A request whose head is not whole: what can be known of it waits for its answer.
    fn lost_request(&mut self, reason: LossReason, bytes: u64, context: &mut Context<'_>) {
        let asking = self.asking();
        let lane = self.lane(asking);
        if lane.head.is_empty() {
            lane.started = context.time;
        }
        let head = RequestHead::parse_part(&lane.head).unwrap_or_default();
        let size = lane.head.len() as u64;
        self.open(head, size, Framing::Bad, context);
        if let Some(pending) = self.pending.back_mut() {
            pending.break_off(Part::Request, reason, bytes);
        }
        self.asked(context);
        self.lane(asking).lose();
        self.replay(context);
    }

    /// A new request.
    fn open(&mut self, head: RequestHead, size: u64, framing: Framing, context: &mut Context<'_>) {
        if self.pending.len() >= MOST_PENDING {
            self.give_up(LossReason::Unobserved, context);
        }
        let index = self.next_index;
        self.next_index = self.next_index.saturating_add(1);
        if !head.method.is_empty() {
            context.notices.push_back(Notice::Request {
                connection: self.key,
                index,
                role: self.role.unwrap_or(Role::Client),
                time: context.time,
                method: head.method.clone(),
                target: head.target.clone(),
                host: head.host().map(str::to_owned),
            });
        }
        let length = if let Framing::Length(length) = framing { Some(length) } else { None };
        let body = Incoming::new(&head.headers, &head::codings(&head.headers), context.max_body_size, length);
        let asking = self.asking();
        let lane = self.lane(asking);
        lane.head.clear();
        let fields = size + fields::size(&head.headers);
        let request = Message { body, started: lane.started, ended: context.time, fields };
        *context.held += request.size();
        self.pending.push_back(Pending {
            index,
            head,
            request,
            asked: false,
            response: None,
            answered: false,
            broken: [false; 2],
            losses: Vec::new(),
        });
    }

    /// The last request ended.
    fn asked(&mut self, context: &mut Context<'_>) {
        let asking = self.asking();
        self.lane(asking).state = State::Start { in_step: true };
        if let Some(pending) = self.pending.back_mut() {
            pending.asked = true;
        }
        self.emit(context);
    }

    /// Takes the answers that came before their requests were told of.
    fn replay(&mut self, context: &mut Context<'_>) {
        self.early_size = 0;
        let now = context.time;
        for (border, time, bytes) in std::mem::take(&mut self.early) {
            context.time = time;
            self.answer(bytes, border, context);
        }
        context.time = now;
    }

    /// Takes a piece of responses.
    fn answer(&mut self, piece: Bytes, mut border: bool, context: &mut Context<'_>) {
        let (answering, time) = (self.answering(), context.time);
        let mut bytes: &[u8] = &piece;
        while !bytes.is_empty() {
            if self.role.is_none() || matches!(self.verdict, Verdict::NotHttp | Verdict::Http2) {
                // The answer before ended HTTP here.
                if self.role.is_none() {
                    let rest = piece.slice_ref(bytes);
                    self.detect(answering, rest, false, context);
                }
                return;
            }
            let several = self.pending.len() > 1;
            let Some(pending) = self.pending.front_mut().filter(|pending| !pending.answered) else {
                let rest = piece.slice_ref(bytes);
                self.early_size += rest.len();
                if self.early_size > MOST_EARLY {
                    self.early_size = 0;
                    self.early.clear();
                    self.lane(answering).lose();
                } else if !matches!(self.lane(answering).state, State::Skip) || border {
                    self.early.push((border, time, rest));
                } else {
                    self.early_size -= rest.len();
                }
                return;
            };
            let lane = match answering {
                Direction::Read => &mut self.read,
                Direction::Write => &mut self.write,
            };
            if border
                && several
                && pending.asked
                && matches!(lane.state, State::Length(_) | State::Chunked(_) | State::Close)
                && head::begins_with(bytes, head::response)
            {
                // Part of the answer was lost without a trace, and this is the next one.
                let left = lane.left();
                if !matches!(lane.state, State::Close) {
                    pending.break_off(Part::Response, LossReason::Dropped, left);
                }
                lane.lose();
                self.give_up(LossReason::Dropped, context);
                continue;
            }
            match &mut lane.state {
                State::Skip if border => lane.state = State::Start { in_step: false },
                State::Skip => return,
                State::Start { in_step } => {
                    let in_step = *in_step;
                    match lane.first_line(&mut bytes, border, time, head::response) {
                        Begins::Yes if pending.response.is_none() => lane.state = State::Head,
                        Begins::Yes if several && pending.asked => {
                            // The answer before could not be followed to its end.
                            lane.state = State::Head;
                            self.give_up(LossReason::Dropped, context);
                        }
                        Begins::Maybe => return,
                        _ => {
                            if in_step && pending.response.is_none() {
                                pending.break_off(Part::Response, LossReason::Undecodable, 0);
                            }
                            lane.lose();
                            border = false;
                        }
                    }
                }
                State::Head => match lane.rest_of_head(&mut bytes) {
                    None => return,
                    Some(true) => self.response_head(context),
                    Some(false) => {
                        pending.break_off(Part::Response, LossReason::TooLarge, 0);
                        lane.lose();
                    }
                },
                State::Length(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, rest) = bytes.split_at(take);
                    *left -= take as u64;
                    bytes = rest;
                    let done = *left == 0;
                    if let Some((_, message)) = &mut pending.response {
                        message.push(now, time, context.held);
                    }
                    if done {
                        self.answered(context);
                    }
                }
                State::Chunked(chunked) => {
                    let Some((_, message)) = &mut pending.response else { return lane.lose() };
                    message.ended = time;
                    match chunked.feed(bytes, |data| message.push(data, time, context.held)) {
                        Progress::More => return,
                        Progress::Done(taken) => {
                            bytes = bytes.get(taken..).unwrap_or_default();
                            self.answered(context);
                        }
                        Progress::Bad => {
                            pending.break_off(Part::Response, LossReason::Undecodable, 0);
                            lane.lose();
                        }
                    }
                }
                State::Close => {
                    if let Some((_, message)) = &mut pending.response {
                        message.push(bytes, time, context.held);
                    }
                    return;
                }
            }
            let lane = self.lane_ref(answering);
            border = border && matches!(lane.state, State::Start { in_step: false }) && lane.head.is_empty();
        }
    }

    /// The head of a response is complete.
    fn response_head(&mut self, context: &mut Context<'_>) {
        let answering = self.answering();
        let lane = match answering {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        };
        let Some(pending) = self.pending.front_mut() else { return lane.lose() };
        let Some(head) = ResponseHead::parse(&lane.head) else {
            pending.break_off(Part::Response, LossReason::Undecodable, 0);
            return lane.lose();
        };
        let size = lane.head.len() as u64 + fields::size(&head.headers);
        lane.head.clear();
        if (100..200).contains(&head.status) && head.status != 101 {
            lane.state = State::Start { in_step: true };
            return;
        }
        let mut framing = head::response_framing(&pending.head.method, &head);
        if framing == Framing::Bad {
            // RFC 9112, section 6.3: such an answer cannot be followed by another.
            pending.lose(Part::Response, LossReason::Undecodable, 0);
            framing = Framing::Close;
        }
        let status = head.status;
        let tunnel = pending.head.method == "CONNECT" && (200..300).contains(&status);
        let codings = if framing == Framing::None { Vec::new() } else { head::codings(&head.headers) };
        let length = if let Framing::Length(length) = framing { Some(length) } else { None };
        let body = Incoming::new(&head.headers, &codings, context.max_body_size, length);
        let message = Message { body, started: lane.started, ended: context.time, fields: size };
        *context.held += message.size();
        pending.response = Some((head, message));
        pending.broken[1] = false;
        match framing {
            Framing::Length(left) if left > 0 => lane.state = State::Length(left),
            Framing::Chunked => lane.state = State::Chunked(Chunked::new()),
            Framing::Close => lane.state = State::Close,
            _ => {
                if status == 101 || tunnel {
                    pending.asked = true;
                }
                self.answered(context);
                if status == 101 {
                    self.foreign(Verdict::NotHttp, context);
                } else if tunnel {
                    // What comes now is another conversation; if that is HTTP again, it is seen.
                    self.end(End::Closed, context);
                    self.role = None;
                    self.verdict = Verdict::Undecided;
                    self.read.lose();
                    self.write.lose();
                    self.began();
                }
            }
        }
    }

    /// The first response ended.
    fn answered(&mut self, context: &mut Context<'_>) {
        let answering = self.answering();
        self.lane(answering).state = State::Start { in_step: true };
        if let Some(pending) = self.pending.front_mut() {
            pending.answered = true;
        }
        self.emit(context);
    }

    /// So many bytes of a direction are missing here, of a call that began at `since`.
    fn hole(&mut self, direction: Direction, bytes: u64, since: Timestamp, context: &mut Context<'_>) {
        self.pass_hole(direction, bytes, since, context);
        // Who asked again after that call had his answer: it is in the hole.
        if self.role.is_some()
            && direction == self.answering()
            && matches!(self.lane_ref(direction).state, State::Skip)
            && self.pending.front().is_some_and(|pending| pending.asked && pending.broken[1])
            && self.pending.get(1).is_some_and(|pending| pending.request.started > since)
        {
            self.give_up(LossReason::Dropped, context);
        }
    }

    fn pass_hole(&mut self, direction: Direction, bytes: u64, since: Timestamp, context: &mut Context<'_>) {
        if self.role.is_none() {
            return self.lane(direction).lose();
        }
        let asking = direction == self.asking();
        let part = if asking { Part::Request } else { Part::Response };
        let lane = match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        };
        if !asking && self.pending.front().is_none_or(|pending| pending.answered) {
            self.early.clear();
            self.early_size = 0;
            return lane.lose();
        }
        // Bytes that were read before a request was written are no answer to it.
        let answers = |pending: &Pending| asking || pending.request.started <= since;
        let more = asking || self.pending.get(1).is_some_and(answers);
        let pending = if asking { self.pending.back_mut() } else { self.pending.front_mut() };
        if !matches!(lane.state, State::Length(_) | State::Chunked(_) | State::Close)
            && !pending.as_deref().is_none_or(answers)
        {
            return lane.lose();
        }
        match &mut lane.state {
            State::Skip | State::Start { in_step: false } => {
                lane.lose();
                if let (false, Some(pending)) = (asking, pending) {
                    pending.break_off(part, LossReason::Dropped, bytes);
                }
            }
            State::Start { in_step: true } | State::Head if asking => {
                self.lost_request(LossReason::Dropped, bytes, context);
            }
            State::Start { in_step: true } | State::Head => {
                let Some(pending) = pending else { return };
                if let Some(head) = ResponseHead::parse_part(&lane.head).filter(|head| head.status >= 200) {
                    let body = Incoming::new(&head.headers, &[], context.max_body_size, None);
                    let fields = lane.head.len() as u64 + fields::size(&head.headers);
                    let message = Message { body, started: lane.started, ended: context.time, fields };
                    *context.held += message.size();
                    pending.response = Some((head, message));
                }
                pending.break_off(part, LossReason::Dropped, bytes);
                lane.lose();
            }
            state @ (State::Length(_) | State::Chunked(_) | State::Close) => {
                let Some(pending) = pending else { return };
                let (within, framed, done) = match state {
                    State::Length(left) => {
                        let within = bytes.min(*left);
                        *left -= within;
                        (within, true, *left == 0)
                    }
                    State::Chunked(chunked) => (bytes, chunked.hole(bytes), false),
                    _ => (bytes, true, false),
                };
                pending.lose(part, LossReason::Dropped, if more { within } else { bytes });
                let message = match &mut pending.response {
                    Some((_, message)) if !asking => &mut message.body,
                    _ => &mut pending.request.body,
                };
                message.hole(within);
                if !framed {
                    pending.broken[usize::from(!asking)] = true;
                    if asking {
                        self.asked(context);
                    }
                    self.lane(direction).lose();
                } else if done {
                    if asking {
                        self.asked(context);
                    } else {
                        self.answered(context);
                    }
                    if bytes > within {
                        if more {
                            self.hole(direction, bytes - within, since, context);
                        } else {
                            self.lane(direction).lose();
                        }
                    }
                }
            }
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
        context.out.push(pending.finish(self.key, self.role.unwrap_or(Role::Client), reason, [asks, answers]));
    }

    /// The connection ended: gives out all that is open.
    pub(super) fn end(&mut self, end: End, context: &mut Context<'_>) {
        let answering = self.answering();
        if self.role.is_some() {
            for direction in [self.asking(), answering] {
                let lane = self.lane(direction);
                let (missing, began) = (lane.call.0.saturating_sub(lane.call.1), lane.began);
                lane.call = (0, 0);
                if missing > 0 {
                    self.hole(direction, missing, began, context);
                }
            }
        }
        if end == End::Closed
            && matches!(self.lane_ref(answering).state, State::Close)
            && let Some(pending) = self.pending.front_mut()
        {
            pending.answered = true;
        }
        let reason = match end {
            End::Closed => LossReason::Closed,
            End::Unobserved => LossReason::Unobserved,
            End::Memory => LossReason::Memory,
        };
        while !self.pending.is_empty() {
            self.give_up(reason, context);
            // The rest of a body was that of the first exchange.
            self.lane(answering).lose();
        }
        self.early.clear();
        self.early_size = 0;
    }
}
