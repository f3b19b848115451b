//! Frames of one direction (RFC 6455, section 5) → messages.

use bytes::Bytes;
use pipeline::{
    Timestamp,
    observation::{Headers, LossReason, Part},
};

use super::{
    super::body::Incoming,
    deflate::{Inflate, Undecodable},
};

/// Longest header: 2 bytes, 8 of length, 4 of mask.
const LONGEST_HEADER: usize = 14;

/// A frame that would be longer is not taken for one where the place in the stream is not known.
const LONGEST_PLAUSIBLE: u64 = 64 << 20;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    /// RSV1: the message is compressed (RFC 7692, section 6).
    pub(super) compressed: bool,
    pub(super) opcode: u8,
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub(super) length: u64,
    /// Bytes of this header.
    pub(super) size: usize,
}

/// What bytes are at the place of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// So far they may be one.
    More,
    /// They are not (RFC 6455, section 5.2).
    Bad,
    /// They are.
    Header(Header),
}

impl Header {
    fn is_control(self) -> bool {
        self.opcode & 8 != 0
    }
}

/// Reads a header.
pub(super) fn header(bytes: &[u8]) -> Parsed {
    let Some(first) = bytes.first().copied() else { return Parsed::More };
    let (fin, compressed, opcode) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x0f);
    let control = opcode & 8 != 0;
    if first & 0x30 != 0 || !matches!(opcode, 0..=2 | 8..=10) || (control && !fin) {
        return Parsed::Bad;
    }
    // Section 6 of RFC 7692: RSV1 stands on the first frame of a message.
    if compressed && (control || opcode == CONTINUATION) {
        return Parsed::Bad;
    }
    let Some(second) = bytes.get(1).copied() else { return Parsed::More };
    let wide = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if control && wide > 0 {
        return Parsed::Bad;
    }
    let length = if wide == 0 {
        u64::from(second & 0x7f)
    } else {
        let Some(bytes) = bytes.get(2..2 + wide) else { return Parsed::More };
        bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
    };
    // The shortest form must be used, and the highest bit is 0.
    if (wide == 2 && length < 126) || (wide == 8 && (length <= u64::from(u16::MAX) || length >> 63 != 0)) {
        return Parsed::Bad;
    }
    let mut size = 2 + wide;
    let mask = if second & 0x80 != 0 {
        let Some(mask) = bytes.get(size..size + 4).and_then(|mask| mask.try_into().ok()) else { return Parsed::More };
        size += 4;
        Some(mask)
    } else {
        None
    };
    Parsed::Header(Header { fin, compressed, opcode, mask, length, size })
}

/// Takes the mask off a piece of a payload that begins at this offset of it (section 5.3).
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: u64) {
    let turn = usize::try_from(offset % 4).unwrap_or(0);
    let mut mask = mask;
    mask.rotate_left(turn);
    let mut quads = bytes.chunks_exact_mut(4);
    for quad in &mut quads {
        for (byte, key) in quad.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    for (byte, key) in quads.into_remainder().iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// A message, or what there is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Text, not binary.
    pub(super) text: bool,
    /// The payload, decoded; beyond the limit only head and tail.
    pub(super) bytes: Bytes,
    /// Bytes left out between head and tail.
    pub(super) omitted: u64,
    /// Bytes of its frames' payloads.
    pub(super) wire: u64,
    /// First byte of its first frame.
    pub(super) started: Timestamp,
    /// Last byte.
    pub(super) ended: Timestamp,
    /// What is missing: why, and how many bytes, if that is known.
    pub(super) loss: Option<(LossReason, u64)>,
}

/// What a direction told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A message ended.
    Message(Message),
    /// The place in the stream is lost: messages may be missing. Bytes that are.
    Lost(u64),
    /// A close frame: nothing but its answer comes after it.
    Close,
}

/// A message while it arrives.
#[derive(Debug)]
struct Arriving {
    text: bool,
    compressed: bool,
    body: Incoming,
    wire: u64,
    started: Timestamp,
    loss: Option<(LossReason, u64)>,
}

impl Arriving {
    fn lose(&mut self, reason: LossReason, bytes: u64) {
        let before = self.loss.map_or(0, |(_, bytes)| bytes);
        self.loss = Some((reason, before.saturating_add(bytes)));
    }
}

/// Where in the frames.
#[derive(Debug)]
enum State {
    /// In a header: what there is of it.
    Header([u8; LONGEST_HEADER], usize),
    /// In a payload: how much of it came.
    Payload(Header, u64),
    /// Not known: a call may begin with a frame.
    Lost,
    /// After a close frame.
    Closed,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    /// Clients mask, servers do not (section 5.1).
    masked: bool,
    /// None: compression was not agreed on.
    inflate: Option<Inflate>,
    state: State,
    /// When the first byte of the present header came.
    began: Timestamp,
    message: Option<Arriving>,
    /// For taking masks off.
    scratch: Vec<u8>,
}

impl Lane {
    /// A direction from its beginning. `takeover`: whether compressed messages refer to earlier ones; none if there is no
    /// compression.
    pub(super) fn new(masked: bool, takeover: Option<bool>) -> Self {
        Self {
            masked,
            inflate: takeover.map(Inflate::new),
            state: State::Header([0; LONGEST_HEADER], 0),
            began: Timestamp(0),
            message: None,
            scratch: Vec::new(),
        }
    }

    /// A direction from somewhere in its middle. Compressed messages cannot be read.
    pub(super) fn joined(masked: bool) -> Self {
        let mut inflate = Inflate::new(true);
        inflate.lose();
        Self { inflate: Some(inflate), state: State::Lost, ..Self::new(masked, None) }
    }

    /// Bytes held.
    pub(super) fn size(&self) -> u64 {
        self.arriving() + self.scratch.capacity() as u64 + self.inflate.as_ref().map_or(0, Inflate::size)
    }

    /// True if compressed messages cannot be read.
    pub(super) fn blind(&self) -> bool {
        self.inflate.as_ref().is_some_and(Inflate::dead)
    }

    /// Bytes of a message that is not whole.
    pub(super) fn arriving(&self) -> u64 {
        self.message.as_ref().map_or(0, |message| message.body.size())
    }

    /// Throws away what there is of such a message; it is followed on. Gives the bytes that it held.
    pub(super) fn forget(&mut self) -> u64 {
        let before = self.arriving();
        if let Some(message) = &mut self.message {
            message.body.forget();
        }
        before.saturating_sub(self.arriving())
    }

    /// So many bytes are missing here.
    pub(super) fn hole(&mut self, mut bytes: u64, time: Timestamp, told: &mut Vec<Told>) {
        if let State::Payload(header, came) = &mut self.state {
            let within = bytes.min(header.length.saturating_sub(*came));
            *came += within;
            bytes -= within;
            let (header, done) = (*header, *came >= header.length);
            if !header.is_control()
                && within > 0
                && let Some(message) = &mut self.message
            {
                message.lose(LossReason::Dropped, within);
                message.body.hole(within);
                message.wire = message.wire.saturating_add(within);
                if message.compressed
                    && let Some(inflate) = &mut self.inflate
                {
                    inflate.lose();
                }
            }
            if done {
                self.end_frame(time, told);
            }
        }
        if bytes > 0 && !matches!(self.state, State::Closed) {
            self.lose(bytes, told);
        }
    }

    /// The place is lost. A compressed message may be among what is missing.
    fn lose(&mut self, bytes: u64, told: &mut Vec<Told>) {
        let within = self.message.take().map_or(0, |message| message.loss.map_or(0, |(_, bytes)| bytes));
        if let Some(inflate) = &mut self.inflate {
            inflate.lose();
        }
        self.state = State::Lost;
        told.push(Told::Lost(bytes.saturating_add(within)));
    }

    /// Takes a piece. `border`: it begins a call. Messages keep so many bytes (0: all).
    pub(super) fn feed(&mut self, mut bytes: &[u8], border: bool, time: Timestamp, limit: u64, told: &mut Vec<Told>) {
        if border && matches!(self.state, State::Lost) && self.plausible(bytes) {
            self.state = State::Header([0; LONGEST_HEADER], 0);
        }
        while !bytes.is_empty() {
            match &mut self.state {
                State::Lost | State::Closed => return,
                State::Header(head, had) => {
                    if *had == 0 {
                        self.began = time;
                    }
                    let new = head.get_mut(*had..).unwrap_or_default();
                    let room = new.len().min(bytes.len());
                    for (place, byte) in new.iter_mut().zip(bytes) {
                        *place = *byte;
                    }
                    match header(head.get(..*had + room).unwrap_or_default()) {
                        Parsed::More => {
                            *had += room;
                            return;
                        }
                        Parsed::Header(header) if header.mask.is_some() == self.masked => {
                            bytes = bytes.get(header.size.saturating_sub(*had)..).unwrap_or_default();
                            if !self.begin(header, limit) {
                                return self.lose(0, told);
                            }
                        }
                        _ => return self.lose(0, told),
                    }
                }
                State::Payload(header, came) => {
                    let left = header.length.saturating_sub(*came);
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, rest) = bytes.split_at(take);
                    let (header, offset) = (*header, *came);
                    *came += take as u64;
                    bytes = rest;
                    self.payload(header, offset, now, time);
                }
            }
            if matches!(self.state, State::Payload(header, came) if came >= header.length) {
                self.end_frame(time, told);
            }
        }
    }

    /// A header is complete. False if no such frame may stand here.
    fn begin(&mut self, header: Header, limit: u64) -> bool {
        self.state = State::Payload(header, 0);
        match header.opcode {
            TEXT | BINARY => {
                if self.message.is_some() {
                    return false;
                }
                let mut message = Arriving {
                    text: header.opcode == TEXT,
                    compressed: header.compressed,
                    body: Incoming::new(&Headers::default(), &[], limit, Some(header.length)),
                    wire: 0,
                    started: self.began,
                    loss: None,
                };
                if header.compressed && self.inflate.as_ref().is_none_or(Inflate::dead) {
                    message.lose(LossReason::Undecodable, 0);
                }
                self.message = Some(message);
                true
            }
            // One whose message began before the place was found is passed over.
            _ => true,
        }
    }

    fn payload(&mut self, header: Header, offset: u64, bytes: &[u8], time: Timestamp) {
        if header.is_control() {
            return;
        }
        let Some(message) = &mut self.message else { return };
        message.wire = message.wire.saturating_add(bytes.len() as u64);
        if message.compressed && message.loss.is_some() {
            return;
        }
        let plain: &[u8] = match header.mask {
            Some(mask) => {
                self.scratch.clear();
                self.scratch.extend_from_slice(bytes);
                unmask(&mut self.scratch, mask, offset);
                &self.scratch
            }
            None => bytes,
        };
        match &mut self.inflate {
            Some(inflate) if message.compressed => {
                let body = &mut message.body;
                if inflate.feed(plain, &mut |bytes| body.push(bytes, time)) == Err(Undecodable) {
                    message.lose(LossReason::Undecodable, 0);
                }
            }
            _ => message.body.push(plain, time),
        }
        self.scratch.clear();
        self.scratch.shrink_to(64 * 1024);
    }

    /// A payload is complete.
    fn end_frame(&mut self, time: Timestamp, told: &mut Vec<Told>) {
        let State::Payload(header, _) = self.state else { return };
        self.state = State::Header([0; LONGEST_HEADER], 0);
        if header.opcode == CLOSE {
            self.state = State::Closed;
            self.message = None;
            self.inflate = None;
            told.push(Told::Close);
            return;
        }
        if header.is_control() || !header.fin {
            return;
        }
        let Some(mut message) = self.message.take() else { return };
        if message.compressed
            && message.loss.is_none()
            && let Some(inflate) = &mut self.inflate
        {
            let body = &mut message.body;
            if inflate.finish(&mut |bytes| body.push(bytes, time)) == Err(Undecodable) {
                message.lose(LossReason::Undecodable, 0);
            }
        }
        let mut losses = Vec::new();
        let (body, _) = message.body.finish(Part::Request, true, &mut losses);
        let loss = losses.first().map(|loss| (loss.reason, loss.bytes));
        told.push(Told::Message(Message {
            text: message.text,
            bytes: body.bytes,
            omitted: body.omitted,
            wire: message.wire,
            started: message.started,
            ended: time,
            loss: message.loss.or(loss),
        }));
    }

    /// True if a call that begins so probably begins with a frame.
    fn plausible(&self, bytes: &[u8]) -> bool {
        let Parsed::Header(header) = header(bytes) else { return false };
        if header.mask.is_some() != self.masked || header.length > LONGEST_PLAUSIBLE {
            return false;
        }
        if header.compressed {
            return self.inflate.is_some();
        }
        let mut start = [0; 8];
        let payload = bytes.get(header.size..).unwrap_or_default();
        let there = payload.len().min(start.len()).min(usize::try_from(header.length).unwrap_or(usize::MAX));
        for (place, byte) in start.iter_mut().zip(payload) {
            *place = *byte;
        }
        let start = start.get_mut(..there).unwrap_or_default();
        unmask(start, header.mask.unwrap_or_default(), 0);
        match header.opcode {
            // What is looked for is JSON.
            TEXT => start.trim_ascii_start().first().is_none_or(|byte| matches!(byte, b'{' | b'[')),
            BINARY | CONTINUATION => bytes.len() as u64 <= header.size as u64 + header.length,
            _ => true,
        }
    }
}
