//! The streams of a connection: each is an exchange.

use std::collections::BTreeMap;

use pipeline::{
    Timestamp,
    observation::{Headers, LossReason, Part, Role},
};

use super::{
    fields::Fields,
    lane::{Block, Told},
};
use crate::{
    event::Direction,
    streams::{
        Notice,
        body::Incoming,
        connection::Context,
        fields,
        head::{self, RequestHead, ResponseHead},
        jsonrpc::http::{self, Watch},
        pending::{Carrier, Message, Pending},
    },
};

/// Streams that are open at once; with more, the first is given up.
const MOST_STREAMS: usize = 1024;

/// What an answer may hold, decoders included, while its request was not told of.
const MOST_EARLY: u64 = 256 * 1024;

/// A stream that lost bytes and was silent for so long when another begins has ended: its end was among them.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// One stream.
#[derive(Debug)]
struct Stream {
    pending: Pending,
    /// Its request was seen. Otherwise the kernel may yet tell of it.
    opened: bool,
    /// The codings and the type of the answer's body are not known.
    unknown_body: bool,
    /// Request, response: the length of the body that was declared, and what came of it, holes included.
    declared: [Option<u64>; 2],
    came: [u64; 2],
}

impl Stream {
    /// Of a direction: is the body there as declared, and how many bytes of it are not?
    fn rest(&self, part: Part) -> (bool, u64) {
        let at = usize::from(part == Part::Response);
        let left = self.declared[at].and_then(|declared| declared.checked_sub(self.came[at]));
        (left == Some(0), left.unwrap_or(0))
    }
}

/// All streams.
#[derive(Debug)]
pub(super) struct Streams {
    on: Carrier,
    role_known: bool,
    open: BTreeMap<u32, Stream>,
    pub(super) next_index: u32,
    /// Bytes held by messages.
    pub(super) held: u64,
    /// The last stream that was asked on.
    last: u32,
    /// Requests may have been lost: a direction lost its place, and no request was seen since.
    asks_lost: bool,
    /// Frames were lost at some time: read, write.
    holed: [bool; 2],
    /// How often a place was lost since a message began.
    pub(super) losses: u32,
}

fn at(direction: Direction) -> usize {
    usize::from(direction == Direction::Write)
}

impl Streams {
    pub(super) fn new(on: Carrier, role_known: bool, next_index: u32) -> Self {
        Self {
            on,
            role_known,
            open: BTreeMap::new(),
            next_index,
            held: 0,
            last: 0,
            asks_lost: false,
            holed: [false; 2],
            losses: 0,
        }
    }

    pub(super) fn role_is_unknown(&self) -> bool {
        !self.role_known
    }

    /// Requests go this way.
    pub(super) fn learn(&mut self, asking: Direction) {
        self.on.role = if asking == Direction::Write { Role::Client } else { Role::Server };
        self.role_known = true;
    }

    /// A request was seen.
    pub(super) fn began(&self) -> bool {
        self.last > 0
    }

    fn part(&self, direction: Direction) -> Part {
        if (direction == Direction::Write) == (self.on.role == Role::Client) { Part::Request } else { Part::Response }
    }

    /// Why something of a direction is not known.
    fn why(&self, direction: Direction) -> LossReason {
        if self.holed[at(direction)] { LossReason::Dropped } else { LossReason::Unobserved }
    }

    /// Takes what a direction tells.
    pub(super) fn take(&mut self, direction: Direction, told: Told<'_>, context: &mut Context<'_>) {
        match told {
            Told::Block(block) => self.block(direction, block, context),
            Told::Data { stream, bytes } => self.data(direction, stream, bytes, context),
            Told::Ended { stream } => self.ended(self.part(direction), stream, context),
            Told::Hole { stream, bytes } => {
                let part = self.part(direction);
                if let Some(stream) = self.open.get_mut(&stream) {
                    stream.came[usize::from(part == Part::Response)] += bytes;
                    stream.pending.lose(part, LossReason::Dropped, bytes);
                    if let Some(message) = message(&mut stream.pending, part) {
                        message.body.hole(bytes);
                    }
                }
            }
            Told::Reset { stream } => {
                // An answer is done with its last event, whatever became of the stream.
                if self.open.get(&stream).is_some_and(|stream| stream.opened) {
                    self.give_up(stream, LossReason::Closed, context);
                } else {
                    self.drop_stream(stream);
                }
            }
            Told::Lost { bytes } => {
                self.holed[at(direction)] = true;
                self.lost(self.part(direction), bytes);
            }
            Told::Longest(_) => {}
        }
    }

    /// Frames of a direction are missing: those of any stream that is open in it.
    fn lost(&mut self, part: Part, bytes: u64) {
        self.losses = self.losses.saturating_add(1);
        if !self.role_known {
            return;
        }
        self.asks_lost |= part == Part::Request;
        let concerned = |stream: &Stream| match part {
            Part::Request => !stream.pending.asked,
            Part::Response => !stream.pending.answered,
        };
        let several = self.open.values().filter(|stream| concerned(stream)).count() > 1;
        for stream in self.open.values_mut().filter(|stream| concerned(stream)) {
            stream.pending.break_off(part, LossReason::Dropped, if several { 0 } else { bytes });
            if let Some(message) = message(&mut stream.pending, part) {
                message.body.hole(0);
            }
        }
    }

    fn block(&mut self, direction: Direction, mut block: Block<'_>, context: &mut Context<'_>) {
        let fields = Fields::of(&mut block);
        if !self.role_known && !block.promise {
            if fields.asks() {
                self.learn(direction);
            } else if fields.status.is_some() {
                self.learn(if direction == Direction::Write { Direction::Read } else { Direction::Write });
            } else {
                return;
            }
        }
        // Streams of even numbers are the server's own (section 5.1.1).
        if block.promise || block.stream.is_multiple_of(2) {
            return;
        }
        self.losses = 0;
        let (stream, ends) = (block.stream, block.ends);
        let part = self.part(direction);
        match part {
            Part::Request => self.asked(direction, &block, fields, context),
            Part::Response => self.answered(direction, &block, fields, context),
        }
        if ends {
            self.ended(part, stream, context);
        }
    }

    /// The header block of a request, or its trailers.
    fn asked(&mut self, direction: Direction, block: &Block<'_>, fields: Fields, context: &mut Context<'_>) {
        let number = block.stream;
        let trailers = !fields.asks() && !fields.unknown_first && !fields.bad && !fields.too_long;
        // Numbers only grow (section 5.1.1).
        let ended = number <= self.last && !self.open.contains_key(&number);
        if trailers || ended || self.open.get(&number).is_some_and(|stream| stream.opened) {
            return;
        }
        self.tidy(number, context);
        let why = self.why(direction);
        let index = self.index();
        let headers = match fields.authority {
            Some(authority) => {
                let mut headers = vec![("host".to_owned(), authority)];
                headers.extend(fields.headers.0);
                Headers(headers)
            }
            None => fields.headers,
        };
        let head =
            RequestHead { method: fields.method.unwrap_or_default(), target: fields.path.unwrap_or_default(), headers };
        if !head.method.is_empty() {
            context.notices.push_back(Notice::Request {
                connection: self.on.key,
                index,
                role: self.on.role,
                time: context.time,
                method: head.method.clone(),
                target: head.target.clone(),
                host: head.host().map(str::to_owned),
            });
        }
        let length = if block.ends { None } else { declared(&head.headers) };
        let body = Incoming::new(&head.headers, &head::codings(&head.headers), context.max_body_size, length);
        let size = fields::size(&head.headers) + (head.target.len() + head.method.len()) as u64;
        let request = Message { body, started: block.started, ended: context.time, fields: size };
        self.held += request.size();
        let stream = self.open.entry(number).or_insert_with(|| early(context.time));
        stream.opened = true;
        stream.declared[0] = length;
        stream.pending.index = index;
        stream.pending.head = head;
        stream.pending.request = request;
        note(&mut stream.pending, Part::Request, fields.unknown, fields.bad, fields.too_long, why);
        self.last = self.last.max(number);
        self.emit(number, context);
    }

    /// A request begins: what can have no request any more goes.
    fn tidy(&mut self, number: u32, context: &mut Context<'_>) {
        // Requests are written in the order of their numbers, so those before this one are never told.
        let orphans: Vec<u32> =
            self.open.range(..number).filter(|(_, stream)| !stream.opened).map(|(number, _)| *number).collect();
        for orphan in orphans {
            if !self.asks_lost {
                self.drop_stream(orphan);
            } else if self.open.get(&orphan).is_some_and(|stream| stream.pending.answered) {
                self.give_up(orphan, LossReason::Dropped, context);
            }
        }
        let silent: Vec<u32> = self
            .open
            .iter()
            .filter(|(_, stream)| {
                let pending = &stream.pending;
                let last = pending.response.as_ref().map_or(pending.request.ended, |(_, message)| message.ended);
                stream.opened && pending.broken != [false; 2] && last.plus(SILENCE) < context.time
            })
            .map(|(number, _)| *number)
            .collect();
        for silent in silent {
            self.give_up(silent, LossReason::Dropped, context);
        }
        while self.open.len() >= MOST_STREAMS
            && let Some((first, stream)) = self.open.first_key_value()
        {
            let (first, opened) = (*first, stream.opened);
            if opened {
                self.give_up(first, LossReason::Unobserved, context);
            } else {
                self.drop_stream(first);
            }
        }
    }

    fn index(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index = index.saturating_add(1);
        index
    }

    /// The header block of a response, or its trailers.
    fn answered(&mut self, direction: Direction, block: &Block<'_>, fields: Fields, context: &mut Context<'_>) {
        let why = self.why(direction);
        // It ended before, or its request was not seen.
        let late = (block.stream <= self.last && !self.asks_lost) || self.open.len() >= MOST_STREAMS;
        if late && !self.open.contains_key(&block.stream) {
            return;
        }
        let stream = self.open.entry(block.stream).or_insert_with(|| early(context.time));
        if stream.pending.response.as_ref().is_some_and(|(head, _)| head.status != 0 || fields.status.is_none()) {
            return;
        }
        if fields.status.is_some_and(|status| (100..200).contains(&status)) {
            return;
        }
        if fields.status.is_none() && !fields.unknown_first && !fields.bad && !fields.too_long {
            // Trailers of an answer of which nothing else was seen.
            return;
        }
        let none = block.ends || stream.pending.head.method == "HEAD";
        let codings = if none { Vec::new() } else { head::codings(&fields.headers) };
        let length = if none { None } else { declared(&fields.headers) };
        stream.unknown_body = fields.unknown && fields.headers.get("content-type").is_none() && codings.is_empty();
        stream.declared[1] = length;
        let body = Incoming::new(&fields.headers, &codings, context.max_body_size, length);
        let size = fields::size(&fields.headers);
        let message = Message { body, started: block.started, ended: context.time, fields: size };
        self.held += message.size();
        if let Some((_, before)) = stream.pending.response.take() {
            self.held = self.held.saturating_sub(before.size());
        }
        let head = ResponseHead { status: fields.status.unwrap_or_default(), headers: fields.headers };
        stream.pending.response = Some((head, message));
        note(&mut stream.pending, Part::Response, fields.unknown, fields.bad, fields.too_long, why);
        http::answers(&mut stream.pending, &self.on, context.notices, &mut self.held);
    }

    fn data(&mut self, direction: Direction, number: u32, bytes: &[u8], context: &mut Context<'_>) {
        let part = self.part(direction);
        let why = self.why(direction);
        let Some(stream) = self.open.get_mut(&number).filter(|_| self.role_known) else { return };
        let before = stream.pending.size();
        let came = &mut stream.came[usize::from(part == Part::Response)];
        *came = came.saturating_add(bytes.len() as u64);
        if part == Part::Response {
            if stream.pending.response.is_none() {
                // The head of the answer was not seen, but its body can be.
                let body = Incoming::new(&Headers::default(), &[], context.max_body_size, None);
                let message = Message { body, started: context.time, ended: context.time, fields: 0 };
                stream.pending.response = Some((ResponseHead::default(), message));
                stream.unknown_body = true;
                stream.pending.lose(part, why, 0);
            }
            if std::mem::take(&mut stream.unknown_body)
                && let Some((_, message)) = &mut stream.pending.response
            {
                let (kind, coding) = guess(bytes);
                let headers = Headers(vec![("content-type".into(), kind.into())]);
                let codings: Vec<String> = coding.map(str::to_owned).into_iter().collect();
                message.body = Incoming::new(&headers, &codings, context.max_body_size, None);
            }
        }
        let (mut own, time) = (0, context.time);
        if let Some(message) = message(&mut stream.pending, part) {
            message.push(bytes, time, &mut own);
        }
        if part == Part::Response {
            http::said(&mut stream.pending, &self.on, context.notices);
        }
        let (after, opened) = (stream.pending.size(), stream.opened);
        self.held = (self.held + after).saturating_sub(before);
        if !opened && after > MOST_EARLY && !self.asks_lost {
            self.drop_stream(number);
        }
    }

    /// A direction of a stream ended.
    fn ended(&mut self, part: Part, number: u32, context: &mut Context<'_>) {
        let Some(stream) = self.open.get_mut(&number) else { return };
        match part {
            Part::Request => stream.pending.asked = true,
            Part::Response => stream.pending.answered = true,
        }
        if let Some(message) = message(&mut stream.pending, part) {
            message.ended = message.ended.max(context.time);
        }
        if stream.opened && stream.pending.asked {
            http::asked(&mut stream.pending, &self.on, context.notices, &mut self.held);
        }
        self.emit(number, context);
    }

    /// Gives a stream out if it is complete.
    fn emit(&mut self, number: u32, context: &mut Context<'_>) {
        let complete = |stream: &Stream| stream.opened && stream.pending.asked && stream.pending.answered;
        if self.open.get(&number).is_some_and(complete) {
            self.give_up(number, LossReason::Closed, context);
        }
    }

    /// Gives a stream out as it is. What is not whole is so for this reason.
    fn give_up(&mut self, number: u32, reason: LossReason, context: &mut Context<'_>) {
        let Some(mut stream) = self.open.remove(&number) else { return };
        self.held = self.held.saturating_sub(stream.pending.size());
        if !stream.opened {
            stream.pending.index = self.index();
            stream.pending.break_off(Part::Request, LossReason::Dropped, 0);
        }
        let ([(asked, asks), (answered, answers)], pending) =
            ([stream.rest(Part::Request), stream.rest(Part::Response)], &mut stream.pending);
        // Clients close when they have the declared length, without waiting for the empty frame that ends the stream.
        pending.asked |= asked;
        pending.answered |= answered;
        context.out.push(stream.pending.finish(self.on, reason, [asks, answers]));
    }

    fn drop_stream(&mut self, number: u32) {
        if let Some(stream) = self.open.remove(&number) {
            self.held = self.held.saturating_sub(stream.pending.size());
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, reason: LossReason, context: &mut Context<'_>) {
        for number in self.open.keys().copied().collect::<Vec<_>>() {
            match self.open.get(&number) {
                Some(stream) if stream.opened || (self.asks_lost && stream.pending.answered) => {
                    self.give_up(number, reason, context);
                }
                _ => self.drop_stream(number),
            }
        }
    }

    /// Sizes of the bodies: (bytes, which stream, response).
    pub(super) fn bodies(&self) -> impl Iterator<Item = (u64, usize, bool)> {
        self.open.iter().flat_map(|(number, stream)| {
            let number = *number as usize;
            let answer = stream.pending.response.as_ref();
            let answer = answer.map(|(_, message)| (message.body.size(), number, true));
            std::iter::once((stream.pending.request.body.size(), number, false)).chain(answer)
        })
    }

    /// Throws a body away. Gives the bytes that it held.
    pub(super) fn forget(&mut self, number: usize, response: bool) -> u64 {
        let part = if response { Part::Response } else { Part::Request };
        let stream = u32::try_from(number).ok().and_then(|number| self.open.get_mut(&number));
        let Some(message) = stream.and_then(|stream| message(&mut stream.pending, part)) else { return 0 };
        let before = message.body.size();
        message.body.forget();
        let freed = before.saturating_sub(message.body.size());
        self.held = self.held.saturating_sub(freed);
        freed
    }
}

/// A stream whose request was not told of yet.
fn early(time: Timestamp) -> Stream {
    let body = Incoming::new(&Headers::default(), &[], 0, None);
    let request = Message { body, started: time, ended: time, fields: 0 };
    let pending = Pending {
        index: 0,
        head: RequestHead::default(),
        request,
        asked: false,
        response: None,
        answered: false,
        broken: [false; 2],
        losses: Vec::new(),
        rpc: Watch::Unknown,
    };
    Stream { pending, opened: false, unknown_body: false, declared: [None; 2], came: [0; 2] }
}

fn message(pending: &mut Pending, part: Part) -> Option<&mut Message> {
    match part {
        Part::Request => Some(&mut pending.request),
        Part::Response => pending.response.as_mut().map(|(_, message)| message),
    }
}

/// Says what is wrong with a head.
fn note(pending: &mut Pending, part: Part, unknown: bool, bad: bool, too_long: bool, why: LossReason) {
    if unknown {
        pending.lose(part, why, 0);
    }
    if bad {
        pending.lose(part, LossReason::Undecodable, 0);
    }
    if too_long {
        pending.lose(part, LossReason::TooLarge, 0);
    }
}

/// The length that a message says its body has.
fn declared(headers: &Headers) -> Option<u64> {
    headers.get("content-length")?.trim().parse().ok()
}

/// Type and coding of a body of which nothing is known but its beginning.
fn guess(bytes: &[u8]) -> (&'static str, Option<&'static str>) {
    const EVENTS: &str = "text/event-stream";
    match bytes {
        [0x1f, 0x8b, 8, ..] => (EVENTS, Some("gzip")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => (EVENTS, Some("zstd")),
        _ if [&b"data:"[..], b"event:", b"id:", b":"].iter().any(|start| bytes.starts_with(start)) => (EVENTS, None),
        _ => ("", None),
    }
}
