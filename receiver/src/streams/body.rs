//! A message's body while it arrives: content decoding, what is kept of it, and when which part of it came.

use std::collections::VecDeque;

use bytes::Bytes;
use pipeline::{
    Timestamp,
    observation::{Body, Headers, Loss, LossReason, Mark, Part},
    sse,
};

use super::{
    content::{Decoder, Undecodable},
    jsonrpc::http::Tap,
};

/// Content types whose parts are told apart by their time of arrival.
const TIMED: &[&str] = &[
    "text/event-stream",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/stream+json",
    "application/vnd.amazon.eventstream",
];

/// What is allocated at once for a body of known length.
const AT_ONCE: u64 = 1 << 20;

/// The kept bytes: all, or head and tail.
#[derive(Debug, Default)]
struct Kept {
    /// Head, then the tail as a ring.
    bytes: Vec<u8>,
    /// Most bytes that are kept.
    limit: usize,
    /// Where the next byte goes in the ring, from its beginning.
    ring: usize,
    /// All bytes so far.
    total: u64,
}

impl Kept {
    /// Bytes that are kept of the head for good.
    fn head(&self) -> usize {
        self.limit / 2
    }

    fn omitted(&self) -> u64 {
        self.total.saturating_sub(self.bytes.len() as u64)
    }

    fn push(&mut self, mut bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let room = self.limit.saturating_sub(self.bytes.len());
        let (now, rest) = bytes.split_at(room.min(bytes.len()));
        self.bytes.extend_from_slice(now);
        if rest.is_empty() {
            return;
        }
        let head = self.head();
        let size = self.limit - head;
        if size == 0 {
            return;
        }
        // Of more than a ring, only the last part stays; the places are those of the whole.
        let skipped = rest.len().saturating_sub(size);
        self.ring = (self.ring + skipped % size) % size;
        bytes = rest.get(skipped..).unwrap_or_default();
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at((size - self.ring).min(bytes.len()));
            if let Some(place) = self.bytes.get_mut(head + self.ring..head + self.ring + now.len()) {
                place.copy_from_slice(now);
            }
            self.ring = (self.ring + now.len()) % size;
            bytes = rest;
        }
    }

    fn clear(&mut self) {
        (self.bytes, self.ring, self.total) = (Vec::new(), 0, 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let head = self.head();
        if self.omitted() > 0
            && let Some(tail) = self.bytes.get_mut(head..)
        {
            tail.rotate_left(self.ring.min(tail.len()));
        }
        if self.bytes.capacity() - self.bytes.len() > self.bytes.len() / 4 {
            self.bytes.shrink_to_fit();
        }
        self.bytes
    }
}

/// A body while it arrives.
#[derive(Debug)]
pub(super) struct Incoming {
    kept: Kept,
    decoder: Option<Decoder>,
    /// The codings are not known, or the bytes are not in them.
    undecodable: bool,
    /// Nothing more can be decoded: bytes are missing.
    holed: bool,
    wire: u64,
    marks: VecDeque<Mark>,
    timed: bool,
    events: bool,
    /// What was thrown away for want of memory.
    forgotten: Option<u64>,
    /// Follows an event stream of JSON-RPC, of which nothing is kept here.
    tap: Option<Box<Tap>>,
}

impl Incoming {
    /// Of a message with these fields. `limit` as `max_body_size`; `length` if it was declared.
    pub(super) fn new(headers: &Headers, codings: &[String], limit: u64, length: Option<u64>) -> Self {
        let kind = headers.get("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let (decoder, undecodable) = match Decoder::new(codings.iter().map(String::as_str)) {
            Ok(decoder) => (decoder, false),
            Err(Undecodable) => (None, true),
        };
        let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        let at_once = usize::try_from(length.unwrap_or(0).min(AT_ONCE)).unwrap_or(0).min(limit);
        Self {
            kept: Kept { bytes: Vec::with_capacity(at_once), limit, ..Kept::default() },
            decoder,
            undecodable,
            holed: false,
            wire: 0,
            marks: VecDeque::new(),
            timed: TIMED.iter().any(|timed| kind.eq_ignore_ascii_case(timed)),
            events: kind.eq_ignore_ascii_case("text/event-stream"),
            forgotten: None,
            tap: None,
        }
    }

    /// The decoded bytes so far; `None` if not all of them are held.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        let whole = !self.holed && !self.undecodable && self.forgotten.is_none() && self.kept.omitted() == 0;
        whole.then_some(&*self.kept.bytes)
    }

    /// Follows it as an event stream of JSON-RPC, which it is if `proven`, else if its first event says so. False if this
    /// is no event stream or it is too late.
    pub(super) fn listen(&mut self, proven: bool) -> bool {
        if !self.events || self.tap.is_some() || self.whole().is_none() {
            return false;
        }
        let mut tap = Tap::new(proven);
        let marks: Vec<(u64, Timestamp)> = self.marks.iter().map(|mark| (mark.offset, mark.time)).collect();
        for (at, (offset, time)) in marks.iter().enumerate() {
            let end = marks.get(at + 1).map_or(self.kept.bytes.len() as u64, |next| next.0);
            let place = usize::try_from(*offset).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
            if !tap.push(self.kept.bytes.get(place).unwrap_or_default(), *time) {
                return false;
            }
        }
        if tap.proven() {
            self.kept.clear();
            self.marks = VecDeque::new();
        }
        self.tap = Some(Box::new(tap));
        true
    }

    /// What follows it.
    pub(super) fn tap(&mut self) -> Option<&mut Tap> {
        self.tap.as_deref_mut()
    }

    /// Bytes held.
    pub(super) fn size(&self) -> u64 {
        let marks = self.marks.capacity() * size_of::<Mark>();
        let tap = self.tap.as_ref().map_or(0, |tap| tap.held());
        (self.kept.bytes.capacity() + marks) as u64 + self.decoder.as_ref().map_or(0, Decoder::size) + tap
    }

    /// Takes a piece of the body as it was on the wire, without the transfer's framing.
    pub(super) fn push(&mut self, bytes: &[u8], time: Timestamp) {
        self.wire = self.wire.saturating_add(bytes.len() as u64);
        if let Some(forgotten) = &mut self.forgotten {
            *forgotten = forgotten.saturating_add(bytes.len() as u64);
            return;
        }
        if self.undecodable || bytes.is_empty() {
            return;
        }
        let (kept, marks, timed, tap) = (&mut self.kept, &mut self.marks, self.timed, &mut self.tap);
        let mut sink = |bytes: &[u8]| {
            if let Some(following) = tap {
                let follows = following.push(bytes, time);
                if follows && following.proven() {
                    kept.clear();
                    *marks = VecDeque::new();
                    return;
                }
                if !follows {
                    *tap = None;
                }
            }
            if marks.is_empty() || (timed && marks.back().is_some_and(|mark| mark.time != time)) {
                mark(marks, kept, time);
            }
            kept.push(bytes);
        };
        match &mut self.decoder {
            None => sink(bytes),
            Some(_) if self.holed => {}
            Some(decoder) => {
                if decoder.feed(bytes, &mut sink) == Err(Undecodable) {
                    self.undecodable = true;
                    self.decoder = None;
                }
            }
        }
    }

    /// So many bytes are missing here.
    pub(super) fn hole(&mut self, bytes: u64) {
        self.wire = self.wire.saturating_add(bytes);
        self.holed = true;
        if let Some(tap) = &mut self.tap {
            tap.hole();
        }
    }

    /// Throws away what is held, and all that comes.
    pub(super) fn forget(&mut self) {
        let before = self.forgotten.unwrap_or(0);
        self.forgotten = Some(before.saturating_add(self.kept.bytes.len() as u64));
        self.kept.bytes = Vec::new();
        self.kept.total = 0;
        self.marks = VecDeque::new();
        self.decoder = None;
        self.tap = None;
    }

    /// The body, and what is missing of it. `whole` if the message came to its end by its own framing; otherwise it may
    /// still turn out to be whole by its content ([`Ending::Terminated`]).
    pub(super) fn finish(self, part: Part, whole: bool, losses: &mut Vec<Loss>) -> (Body, bool) {
        let decoded = self.decoder.as_ref().is_none_or(Decoder::ended);
        let omitted = self.kept.omitted();
        let head = self.kept.head() as u64;
        let bytes = Bytes::from(self.kept.finish());
        let terminated = !whole && self.events && !self.undecodable && ends_by_event(&bytes);
        let mut loss = |reason, bytes| losses.push(Loss { part, reason, bytes });
        if self.undecodable && self.wire > 0 || (!decoded && whole && !self.holed && self.forgotten.is_none()) {
            loss(LossReason::Undecodable, 0);
        }
        if omitted > 0 {
            loss(LossReason::TooLarge, omitted);
        }
        if let Some(forgotten) = self.forgotten {
            loss(LossReason::Memory, forgotten);
        }
        let mut marks: Vec<Mark> = Vec::with_capacity(self.marks.len());
        for mark in self.marks {
            let offset = if mark.offset < head.max(1) || omitted == 0 {
                mark.offset
            } else {
                mark.offset.saturating_sub(omitted).max(head)
            };
            match marks.last_mut() {
                // Of the parts that were left out, the last one may reach into the tail.
                Some(last) if last.offset == offset => *last = Mark { offset, ..mark },
                _ => marks.push(Mark { offset, ..mark }),
            }
        }
        (Body { bytes, wire_size: self.wire, omitted, marks }, terminated)
    }
}

/// Notes that what comes next came at this time.
fn mark(marks: &mut VecDeque<Mark>, kept: &Kept, time: Timestamp) {
    marks.push_back(Mark { offset: kept.total, time });
    // Marks of what was left out go when they are half of all.
    if kept.omitted() > 0 && marks.len().is_power_of_two() && marks.len() >= 1024 {
        let (head, tail) = (kept.head() as u64, kept.head() as u64 + kept.omitted());
        let mut sorted: Vec<Mark> = Vec::with_capacity(marks.len());
        for mark in marks.drain(..) {
            match sorted.last_mut() {
                Some(last) if last.offset >= head && mark.offset <= tail => *last = mark,
                _ => sorted.push(mark),
            }
        }
        *marks = sorted.into();
    }
}

/// True if an event stream has the event that ends an answer: the API is done, whatever the connection did.
fn ends_by_event(body: &[u8]) -> bool {
    sse::events(body).filter(|event| event.complete).any(|event| {
        matches!(&*event.event, "message_stop" | "response.completed" | "response.failed" | "response.incomplete")
            || event.data == "[DONE]"
            || (event.event.is_empty() && event.data.starts_with("{\"type\":\"response.completed\""))
    })
}
