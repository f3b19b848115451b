//! Messages → exchanges: each answer of a model is one.
//!
//! Two APIs are known (OpenAI's API reference, "Responses: WebSocket mode" and "Realtime: client events, server events"):
//! - **responses**: the client sends `{"type":"response.create", …}` with the fields of a request beside the type; the
//!   server sends the events of the stream. One answer at a time: most events do not name theirs. A message with
//!   `"generate": false` warms the connection up and asks for nothing; it may be answered (created, completed) or not.
//! - **realtime**: the client hands in items and audio, then sends `{"type":"response.create", "response": {…}}`; where the
//!   server detects voice, it begins an answer unasked. Events name their answer (`response_id`); several may be open.
//!
//! The exchange of an answer has the method, target and header fields of the upgrade and its status 101: nothing else was
//! said. Its request's body is the message that asked; in realtime after the `conversation.item.create` that came since
//! the last one, one a line. Its response's body is each event as `data: {…}` and a blank line, and its header fields say
//! so (`content-type: text/event-stream`). JSON's line ends are given as blanks.

use std::collections::VecDeque;

use pipeline::{
    ConnectionKey, Timestamp,
    observation::{Api, Body, Exchange, Headers, Loss, LossReason, Part, Protocol, Request, Response, Role},
    providers,
};

use super::{
    super::body::Incoming,
    Of,
    frame::Message,
    peek::{Peek, peek},
};

/// Answers that may be open at once; with more, the first is given up.
const MOST_OPEN: usize = 64;

/// So many messages with nothing of a model may pass before the connection is of no interest.
const MOST_STRANGE: u32 = 64;

/// Their bytes.
const MOST_STRANGE_BYTES: u64 = 4 << 20;

/// Items that are kept for the next answer: number, and bytes of one.
const MOST_ITEMS: usize = 64;
const LONGEST_ITEM: usize = 32 * 1024;

/// A message that is told so shortly after the answer to it began was sent before: the kernel may tell of a read before the
/// write that it answers.
const EARLY: std::time::Duration = std::time::Duration::from_millis(100);

/// The upgrade that began a connection.
#[derive(Clone, Debug, Default)]
pub(in crate::streams) struct Upgrade {
    /// Method of its request.
    pub(in crate::streams) method: String,
    /// Target of its request, secrets masked.
    pub(in crate::streams) target: String,
    /// Header fields of its request.
    pub(in crate::streams) request: Headers,
    /// Header fields of its answer.
    pub(in crate::streams) answer: Headers,
}

/// What answers a call.
#[derive(Debug)]
struct Answer {
    body: Incoming,
    wire: u64,
    started: Timestamp,
    ended: Timestamp,
}

/// An answer that is waited for, or open.
#[derive(Debug)]
struct Call {
    index: u32,
    /// Asks for nothing.
    silent: bool,
    /// A request of the responses API.
    flat: bool,
    /// Answered without having been asked for, as far as was seen.
    unasked: bool,
    /// The answer to what was spoken.
    voice: bool,
    /// The response's.
    id: Option<String>,
    /// The asking message's own.
    event_id: Option<String>,
    request: Body,
    started: Timestamp,
    ended: Timestamp,
    answer: Option<Answer>,
    /// Its last event may be among what is missing.
    broken: bool,
    losses: Vec<Loss>,
}

impl Call {
    fn lose(&mut self, part: Part, reason: LossReason, bytes: u64) {
        match self.losses.iter_mut().find(|loss| (loss.part, loss.reason) == (part, reason)) {
            Some(loss) => loss.bytes = loss.bytes.saturating_add(bytes),
            None => self.losses.push(Loss { part, reason, bytes }),
        }
    }

    fn size(&self) -> u64 {
        self.request.bytes.len() as u64 + self.answer.as_ref().map_or(0, |answer| answer.body.size())
    }
}

/// The calls of a connection.
#[derive(Debug)]
pub(super) struct Calls {
    key: ConnectionKey,
    role: Role,
    tls: bool,
    upgrade: Upgrade,
    /// None if the target does not tell.
    realtime: Option<bool>,
    next_index: u32,
    limit: u64,
    open: VecDeque<Call>,
    /// Items that were handed in since the last message that asked.
    items: Vec<u8>,
    item_count: usize,
    /// Since when the next unasked answer was waited for.
    committed: Option<(Timestamp, Timestamp)>,
    strange: u32,
    strange_bytes: u64,
    /// Why messages of the asking direction may be missing.
    unheard: Option<LossReason>,
    /// A close frame came: whatever follows is no answer.
    closed: bool,
}

impl Calls {
    pub(super) fn new(of: &Of, mut upgrade: Upgrade) -> Self {
        let realtime = match providers::api_of(&upgrade.target) {
            Some(Api::Realtime) => Some(true),
            Some(Api::Responses) => Some(false),
            _ => None,
        };
        upgrade.answer.0.retain(|(name, _)| name != "content-type");
        upgrade.answer.0.push(("content-type".into(), "text/event-stream".into()));
        Self {
            key: of.key,
            role: of.role,
            tls: of.tls,
            upgrade,
            realtime,
            next_index: of.first_index,
            limit: of.limit,
            open: VecDeque::new(),
            items: Vec::new(),
            item_count: 0,
            committed: None,
            strange: 0,
            strange_bytes: 0,
            unheard: None,
            closed: false,
        }
    }

    /// Bytes held.
    pub(super) fn size(&self) -> u64 {
        self.items.capacity() as u64 + self.open.iter().map(Call::size).sum::<u64>()
    }

    /// Sizes of the bodies that are held: (bytes, which call, response).
    pub(super) fn bodies(&self) -> impl Iterator<Item = (u64, usize, bool)> {
        self.open.iter().enumerate().flat_map(|(at, call)| {
            let answer = call.answer.as_ref().map(|answer| (answer.body.size(), at, true));
            std::iter::once((call.request.bytes.len() as u64, at, false)).chain(answer)
        })
    }

    /// Throws a body away. Gives the bytes that it held.
    pub(super) fn forget(&mut self, at: usize, response: bool) -> u64 {
        let Some(call) = self.open.get_mut(at) else { return 0 };
        let before = call.size();
        match &mut call.answer {
            Some(answer) if response => answer.body.forget(),
            _ => {
                let bytes = std::mem::take(&mut call.request).bytes.len() as u64;
                if bytes > 0 {
                    call.lose(Part::Request, LossReason::Memory, bytes);
                }
            }
        }
        before.saturating_sub(call.size())
    }

    /// True if nothing of a model came for so long that nothing will.
    pub(super) fn foreign(&self) -> bool {
        self.open.is_empty() && (self.strange >= MOST_STRANGE || self.strange_bytes >= MOST_STRANGE_BYTES)
    }

    /// A message of the client's.
    pub(super) fn sent(&mut self, message: &Message, out: &mut Vec<Exchange>) {
        let Some(said) = self.look(message) else {
            if message.loss.is_some() && self.unheard.is_none() {
                self.unheard = message.loss.map(|(reason, _)| reason);
            }
            return;
        };
        match said.kind.as_ref() {
            // The latter of an earlier draft, where it carried only the new items.
            "response.create" | "response.append" => self.asked(message, &said, out),
            "conversation.item.create" => self.item(message),
            "input_audio_buffer.commit" => self.committed = Some((message.started, message.ended)),
            _ => {}
        }
    }

    /// A message of the server's.
    pub(super) fn received(&mut self, message: &Message, blind: bool, out: &mut Vec<Exchange>) {
        let Some(said) = self.look(message) else {
            if let Some((reason, bytes)) = message.loss {
                self.unread(message, reason, bytes, blind);
            }
            return;
        };
        let kind = said.kind.as_ref();
        let at = match kind {
            "input_audio_buffer.committed" => {
                self.committed = Some((message.started, message.ended));
                return;
            }
            "error" => self.failed(&said),
            "response.created" => self.created(message, &said, out),
            _ if kind.starts_with("response.") => self.place(&said),
            _ => return,
        };
        let Some(at) = at else { return };
        let terminal = is_terminal(kind) || kind == "error";
        let at = self.moved(at, &said);
        let limit = self.limit;
        let Some(call) = self.open.get_mut(at) else { return };
        if call.id.is_none() {
            call.id = said.response_id;
        }
        let headers = &self.upgrade.answer;
        let answer = call.answer.get_or_insert_with(|| Answer {
            body: Incoming::new(headers, &[], limit, None),
            wire: 0,
            started: message.started,
            ended: message.ended,
        });
        answer.wire = answer.wire.saturating_add(message.wire);
        answer.ended = message.ended;
        answer.body.push(b"data: ", message.ended);
        if memchr::memchr2(b'\n', b'\r', &message.bytes).is_some() {
            answer.body.push(&one_line(&message.bytes), message.ended);
        } else {
            answer.body.push(&message.bytes, message.ended);
        }
        answer.body.push(b"\n\n", message.ended);
        if let Some((reason, bytes)) = message.loss {
            call.lose(Part::Response, reason, bytes);
        }
        if terminal {
            self.finish(at, None, out);
        }
    }

    /// Messages of a direction are missing.
    pub(super) fn lost(&mut self, part: Part, bytes: u64) {
        match part {
            Part::Request => self.unheard = Some(LossReason::Dropped),
            Part::Response => {
                if let Some(call) = self.open.iter_mut().find(|call| !call.broken) {
                    call.lose(Part::Response, LossReason::Dropped, bytes);
                }
                self.open.iter_mut().for_each(|call| call.broken = true);
            }
        }
    }

    /// A close frame of either side: what is open will not be answered.
    pub(super) fn close(&mut self, out: &mut Vec<Exchange>) {
        self.closed = true;
        self.end(LossReason::Closed, out);
    }

    /// Gives out all that is open.
    pub(super) fn end(&mut self, reason: LossReason, out: &mut Vec<Exchange>) {
        while !self.open.is_empty() {
            self.finish(0, Some(reason), out);
        }
        self.items = Vec::new();
        self.item_count = 0;
    }

    /// What a message says, if it is one of ours.
    fn look<'a>(&mut self, message: &'a Message) -> Option<Peek<'a>> {
        let cut = message.omitted > 0 || message.loss.is_some();
        let said = if message.text && !self.closed { peek(&message.bytes, cut) } else { None };
        if said.as_ref().is_some_and(|said| is_known(&said.kind)) {
            (self.strange, self.strange_bytes) = (0, 0);
        } else {
            self.strange = self.strange.saturating_add(1);
            self.strange_bytes = self.strange_bytes.saturating_add(message.wire);
        }
        said
    }

    fn item(&mut self, message: &Message) {
        if message.bytes.len() <= LONGEST_ITEM && self.item_count < MOST_ITEMS && message.loss.is_none() {
            self.items.extend_from_slice(&one_line(&message.bytes));
            self.items.push(b'\n');
            self.item_count += 1;
        }
    }

    /// A message asks for an answer.
    fn asked(&mut self, message: &Message, said: &Peek<'_>, out: &mut Vec<Exchange>) {
        let flat = self.realtime.map_or(said.flat, |realtime| !realtime);
        // Nobody asks again before he has his answer, where they come one by one.
        while let Some(at) = self.open.iter().position(|call| call.broken) {
            self.finish(at, Some(LossReason::Dropped), out);
        }
        let mut bytes = std::mem::take(&mut self.items);
        self.item_count = 0;
        self.committed = None;
        let bytes = if flat || bytes.is_empty() {
            message.bytes.clone()
        } else {
            bytes.extend_from_slice(&one_line(&message.bytes));
            bytes.into()
        };
        let request = Body { bytes, wire_size: message.wire, omitted: message.omitted, marks: Vec::new() };
        let near = |call: &Call| {
            let (first, second) = (call.started.min(message.started), call.started.max(message.started));
            call.unasked && !call.voice && second.since(first) <= EARLY
        };
        let early = self.open.iter().position(near);
        let silent = !said.generate && flat;
        let at = early.unwrap_or_else(|| self.open(message.started, message.ended, silent, out));
        let Some(call) = self.open.get_mut(at) else { return };
        (call.flat, call.unasked, call.silent) = (flat, false, silent);
        (call.started, call.ended) = (message.started, message.ended);
        call.event_id.clone_from(&said.event_id);
        call.request = request;
        call.losses.retain(|loss| loss.part != Part::Request);
        if let Some((reason, bytes)) = message.loss {
            call.lose(Part::Request, reason, bytes);
        }
    }

    /// A new call; gives its place.
    fn open(&mut self, started: Timestamp, ended: Timestamp, silent: bool, out: &mut Vec<Exchange>) -> usize {
        if self.open.len() >= MOST_OPEN {
            self.finish(0, Some(LossReason::Unobserved), out);
        }
        let index = self.next_index;
        if !silent {
            self.next_index = self.next_index.saturating_add(1);
        }
        self.open.push_back(Call {
            index,
            silent,
            flat: false,
            unasked: true,
            voice: false,
            id: None,
            event_id: None,
            request: Body::default(),
            started,
            ended,
            answer: None,
            broken: false,
            losses: Vec::new(),
        });
        self.open.len() - 1
    }

    /// An answer began: of the first that was asked for and has none, else of none that was seen.
    fn created(&mut self, message: &Message, said: &Peek<'_>, out: &mut Vec<Exchange>) -> Option<usize> {
        let known = |call: &Call| call.id.is_some() && call.id == said.response_id;
        if let Some(at) = self.open.iter().position(known) {
            return Some(at);
        }
        if let Some(at) = self.open.iter().position(|call| call.id.is_none()) {
            // What was missing before is none of it.
            self.open.iter_mut().skip(at).take(1).for_each(|call| call.broken = false);
            return Some(at);
        }
        while let Some(at) = self.open.iter().position(|call| call.broken) {
            self.finish(at, Some(LossReason::Dropped), out);
        }
        let spoken = self.committed.take();
        let (started, ended) = spoken.unwrap_or((message.started, message.started));
        let at = self.open(started, ended, false, out);
        let unheard = self.unheard.or((self.realtime != Some(true)).then_some(LossReason::Unobserved));
        if let Some(call) = self.open.get_mut(at) {
            call.voice = spoken.is_some();
            if let Some(reason) = unheard {
                call.lose(Part::Request, reason, 0);
            }
        }
        Some(at)
    }

    /// To which call an event belongs.
    fn place(&self, said: &Peek<'_>) -> Option<usize> {
        let waiting = || self.open.iter().position(|call| call.id.is_none());
        match &said.response_id {
            Some(id) => self.open.iter().position(|call| call.id.as_ref() == Some(id)).or_else(waiting),
            // The latest that began; where its beginning is missing, the first that waits.
            None => self.open.iter().rposition(|call| call.id.is_some()).or_else(waiting),
        }
    }

    /// Which call an error ends, if any.
    fn failed(&self, said: &Peek<'_>) -> Option<usize> {
        if said.event_id.is_some() {
            let named = self.open.iter().position(|call| call.event_id == said.event_id);
            if named.is_some() || self.realtime == Some(true) {
                return named;
            }
        }
        let waiting = || self.open.iter().position(|call| call.id.is_none());
        // In realtime an answer that began ends with `response.done`, come what may.
        let begun = || self.open.iter().position(|call| call.id.is_some() && call.flat);
        begun().or_else(waiting)
    }

    /// A message that asks for nothing may stay without an answer: what then seems to be its answer, but has content, is the
    /// next one's.
    fn moved(&mut self, at: usize, said: &Peek<'_>) -> usize {
        let content = said.output || said.kind.starts_with("response.output_item.") || said.kind.ends_with(".delta");
        let next = self.open.iter().position(|call| !call.silent && call.id.is_none() && !call.unasked);
        match (self.open.get(at), next) {
            (Some(call), Some(next)) if call.silent && content => {
                let Some(silent) = self.open.remove(at) else { return at };
                let next = if next > at { next - 1 } else { next };
                if let Some(call) = self.open.get_mut(next) {
                    call.id = silent.id;
                    call.answer = silent.answer;
                }
                next
            }
            _ => at,
        }
    }

    /// A message of the server's that cannot be read.
    fn unread(&mut self, message: &Message, reason: LossReason, bytes: u64, blind: bool) {
        let at =
            self.open.iter().rposition(|call| call.id.is_some()).or(if self.open.is_empty() { None } else { Some(0) });
        let limit = self.limit;
        let Some(call) = at.and_then(|at| self.open.get_mut(at)) else { return };
        let headers = &self.upgrade.answer;
        let answer = call.answer.get_or_insert_with(|| Answer {
            body: Incoming::new(headers, &[], limit, None),
            wire: 0,
            started: message.started,
            ended: message.ended,
        });
        answer.wire = answer.wire.saturating_add(message.wire);
        answer.ended = message.ended;
        call.broken = true;
        // Where nothing can be read any more, the bytes that lack are all that come.
        call.lose(Part::Response, reason, if blind { bytes.max(message.wire) } else { bytes });
    }

    /// A call is over; not whole, if there is a reason.
    fn finish(&mut self, at: usize, reason: Option<LossReason>, out: &mut Vec<Exchange>) {
        let Some(mut call) = self.open.remove(at) else { return };
        if call.silent {
            return;
        }
        let (mut response, mut terminated) = (None, false);
        let mut losses = std::mem::take(&mut call.losses);
        if let Some(answer) = call.answer {
            let (mut body, ended) = answer.body.finish(Part::Response, reason.is_none(), &mut losses);
            body.wire_size = answer.wire;
            terminated = ended;
            response = Some(Response {
                status: 101,
                headers: self.upgrade.answer.clone(),
                body,
                started: answer.started,
                ended: answer.ended,
            });
        }
        if let Some(reason) = reason
            && !terminated
            && !losses.iter().any(|loss| loss.part == Part::Response)
        {
            losses.push(Loss { part: Part::Response, reason, bytes: 0 });
        }
        losses.sort_by_key(|loss| loss.part == Part::Response);
        out.push(Exchange {
            connection: self.key,
            index: call.index,
            role: self.role,
            tls: self.tls,
            protocol: Protocol::WebSocket,
            facts: None,
            request: Request {
                method: self.upgrade.method.clone(),
                target: self.upgrade.target.clone(),
                headers: self.upgrade.request.clone(),
                body: call.request,
                started: call.started,
                ended: call.ended,
            },
            response,
            losses,
        });
    }
}

/// True for messages of a model's API.
pub(super) fn is_known(kind: &str) -> bool {
    const FAMILIES: &[&str] = &[
        "response.",
        "session.",
        "conversation.",
        "input_audio_buffer.",
        "output_audio_buffer.",
        "transcription_session.",
        "rate_limits.",
        "codex.",
    ];
    FAMILIES.iter().any(|family| kind.starts_with(family))
}

/// True for the last event of an answer.
fn is_terminal(kind: &str) -> bool {
    matches!(
        kind,
        "response.completed" | "response.failed" | "response.incomplete" | "response.cancelled" | "response.done"
    )
}

/// JSON in one line: its line ends are blanks that mean nothing.
fn one_line(json: &[u8]) -> Vec<u8> {
    json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}
