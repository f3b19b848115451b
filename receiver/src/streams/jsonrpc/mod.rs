//! JSON-RPC 2.0 on pipes and local sockets: bytes of one direction → messages.
//!
//! A message is a line, as MCP has it on standard streams, or follows a `Content-Length` header, as language servers have
//! it; what is neither (a server's log lines) is passed over. [`message`] reads what a message says.

pub mod events;
pub mod http;
pub mod message;
#[cfg(test)]
mod tests;

use memchr::memchr;

/// Longest message that is kept whole.
pub const LONGEST: usize = 16 << 20;

/// Of a longer one, so much of its beginning and of its end is kept.
const ENDS: usize = 4 << 10;

/// Longest header line.
const LONGEST_HEADER: usize = 1 << 10;

const LENGTH: &[u8] = b"content-length:";
const TYPE: &[u8] = b"content-type:";

/// A message, with the times of its first and last byte in whatever unit they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    /// The message; of one that was too long, its beginning.
    pub bytes: Vec<u8>,
    /// The end of one that was too long.
    pub tail: Option<Vec<u8>>,
    /// Bytes on the wire, without framing.
    pub size: u64,
    /// Time of its first byte.
    pub started: u64,
    /// Time of its last byte.
    pub ended: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a line, or before one.
    Line,
    /// In a line that is no message.
    Skip,
    /// Bytes are missing: at the next line, or at a call that begins a message.
    Lost,
    /// After the first header line, with the length if it was told.
    Header(Option<u64>),
    /// In a message of which so many bytes are left.
    Body(u64),
}

/// One direction of a pipe or local socket.
#[derive(Debug)]
pub struct Framer {
    state: State,
    held: Vec<u8>,
    tail: Vec<u8>,
    /// Bytes of the present message so far.
    size: u64,
    started: u64,
    /// Bytes that are kept of a message.
    limit: usize,
    /// The present call: its size, and how much of it came.
    call: (u64, u64),
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(LONGEST)
    }
}

impl Framer {
    /// A framer that keeps messages up to so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            state: State::Line,
            held: Vec::new(),
            tail: Vec::new(),
            size: 0,
            started: 0,
            limit: limit.max(ENDS),
            call: (0, 0),
        }
    }

    /// Bytes that wait for the rest of their message.
    pub fn held(&self) -> usize {
        self.held.len() + self.tail.len()
    }

    /// Takes a piece of a call that moved `total` bytes, from `offset` on.
    pub fn chunk(&mut self, total: u64, offset: u64, bytes: &[u8], time: u64, out: &mut Vec<Framed>) {
        let (size, came) = self.call;
        let missing = if size == total && offset >= came && offset > 0 {
            offset - came
        } else {
            // The rest of the call before, and the beginning of this one.
            size.saturating_sub(came).saturating_add(offset)
        };
        if missing > 0 {
            self.clear();
            self.state = State::Lost;
        }
        if offset == 0 && self.state == State::Lost && bytes.first().is_some_and(|first| matches!(first, b'{' | b'[')) {
            self.state = State::Line;
        }
        self.call = (total, offset.saturating_add(bytes.len() as u64));
        self.push(bytes, time, out);
    }

    fn clear(&mut self) {
        self.held = Vec::new();
        self.tail = Vec::new();
        self.size = 0;
    }

    fn push(&mut self, mut bytes: &[u8], time: u64, out: &mut Vec<Framed>) {
        while let Some(first) = bytes.first() {
            match self.state {
                State::Skip | State::Lost => {
                    let Some(end) = memchr(b'\n', bytes) else { return };
                    bytes = bytes.get(end + 1..).unwrap_or_default();
                    self.state = State::Line;
                }
                State::Line => {
                    if self.size == 0 {
                        if first.is_ascii_whitespace() {
                            bytes = bytes.get(1..).unwrap_or_default();
                            continue;
                        }
                        self.started = time;
                    }
                    let end = memchr(b'\n', bytes);
                    let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    self.add(line);
                    bytes = rest;
                    if !self.may_begin() {
                        self.clear();
                        self.state = if end.is_some() { State::Line } else { State::Skip };
                    } else if end.is_some() {
                        match header(&self.held) {
                            Some(length) => {
                                self.clear();
                                self.state = State::Header(length);
                            }
                            None => self.message(time, out),
                        }
                    }
                }
                State::Header(length) => {
                    let end = memchr(b'\n', bytes);
                    let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
                    self.add(line);
                    bytes = rest;
                    if end.is_none() {
                        if self.held.len() > LONGEST_HEADER {
                            self.clear();
                            self.state = State::Skip;
                        }
                        continue;
                    }
                    let blank = self.held.iter().all(u8::is_ascii_whitespace);
                    let told = header(&self.held);
                    self.clear();
                    self.state = match (blank, told) {
                        (true, _) => length.map_or(State::Line, State::Body),
                        (false, Some(told)) => State::Header(told.or(length)),
                        (false, None) => State::Line,
                    };
                }
                State::Body(left) => {
                    if self.size == 0 {
                        self.started = time;
                    }
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (body, rest) = bytes.split_at(take);
                    self.add(body);
                    bytes = rest;
                    let left = left.saturating_sub(take as u64);
                    self.state = State::Body(left);
                    if left == 0 {
                        self.state = State::Line;
                        self.message(time, out);
                    }
                }
            }
        }
    }

    /// Whether what is held may be a message or a header.
    fn may_begin(&self) -> bool {
        let like = |name: &[u8]| {
            let (held, name) = (self.held.get(..name.len()).unwrap_or(&self.held), name);
            name.get(..held.len()).is_some_and(|name| held.eq_ignore_ascii_case(name))
        };
        self.held.first().is_some_and(|first| matches!(first, b'{' | b'['))
            || (self.held.len() <= LONGEST_HEADER && (like(LENGTH) || like(TYPE)))
    }

    fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if self.tail.is_empty() && self.held.len() + bytes.len() <= self.limit {
            self.held.extend_from_slice(bytes);
            return;
        }
        if self.tail.is_empty() {
            let from = self.held.len().saturating_sub(ENDS);
            self.tail.extend_from_slice(self.held.get(from..).unwrap_or_default());
            if self.held.len() < ENDS {
                let more = bytes.get(..(ENDS - self.held.len()).min(bytes.len())).unwrap_or_default();
                self.held.extend_from_slice(more);
            }
            self.held.truncate(ENDS);
            self.held.shrink_to_fit();
        }
        let from = bytes.len().saturating_sub(ENDS);
        self.tail.extend_from_slice(bytes.get(from..).unwrap_or_default());
        let over = self.tail.len().saturating_sub(ENDS);
        self.tail.drain(..over);
    }

    fn message(&mut self, time: u64, out: &mut Vec<Framed>) {
        let last = if self.tail.is_empty() { &mut self.held } else { &mut self.tail };
        while last.pop_if(|byte| matches!(byte, b'\n' | b'\r')).is_some() {
            self.size -= 1;
        }
        let tail = (!self.tail.is_empty()).then(|| std::mem::take(&mut self.tail));
        out.push(Framed {
            bytes: std::mem::take(&mut self.held),
            tail,
            size: std::mem::take(&mut self.size),
            started: self.started,
            ended: time,
        });
    }
}

/// A header line; the length, if it tells it.
fn header(line: &[u8]) -> Option<Option<u64>> {
    let starts = |name: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    if starts(TYPE) {
        return Some(None);
    }
    if !starts(LENGTH) {
        return None;
    }
    let value = std::str::from_utf8(line.get(LENGTH.len()..)?).ok();
    Some(value.and_then(|value| value.trim().parse().ok()))
}
