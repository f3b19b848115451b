//! One direction: bytes → frames → header blocks and data.

use pipeline::Timestamp;

use super::{
    frame::{
        CONTINUATION, Chain, DATA, END_HEADERS, END_STREAM, HEAD, HEADERS, Head, PADDED, PREFACE, PRIORITIZED,
        PUSH_PROMISE, RST_STREAM, SETTINGS, USUAL_LENGTH,
    },
    hpack::{Decoder, Field},
};
use crate::streams::head::LONGEST;

/// Bytes of a header block that a lane keeps room for.
const USUAL_BLOCK: usize = 4 * 1024;

/// `SETTINGS_MAX_FRAME_SIZE` (RFC 9113, section 6.5.2).
const MAX_FRAME_SIZE: u16 = 5;

/// What a direction tells.
#[derive(Debug)]
pub(super) enum Told<'a> {
    /// A whole header block.
    Block(Block<'a>),
    /// A piece of a body.
    Data { stream: u32, bytes: &'a [u8] },
    /// So many bytes of a body are missing.
    Hole { stream: u32, bytes: u64 },
    /// The direction of this stream ended.
    Ended { stream: u32 },
    /// The stream was broken off.
    Reset { stream: u32 },
    /// Frames are missing, so many bytes of them (0: that is not known). Any stream may be concerned.
    Lost { bytes: u64 },
    /// The sender takes frames up to this length.
    Longest(u32),
}

/// A header block.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) stream: u32,
    /// The frame that began it ends the direction of the stream.
    pub(super) ends: bool,
    /// A server's promise (section 6.6): of no interest but for the table.
    pub(super) promise: bool,
    /// When its first byte came.
    pub(super) started: Timestamp,
    /// It was too long to be kept.
    pub(super) too_long: bool,
    bytes: &'a [u8],
    table: &'a mut Decoder,
}

impl Block<'_> {
    /// Tells its fields. False: it could not be read to its end.
    pub(super) fn fields(&mut self, sink: impl FnMut(Field<'_>)) -> bool {
        if self.too_long || self.table.decode(self.bytes, sink).is_err() {
            self.table.forget();
            return false;
        }
        true
    }
}

/// Where in the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the preface, after so many bytes.
    Preface(usize),
    /// In the head of a frame.
    Head,
    /// At the length of the padding of a DATA frame.
    Padding,
    /// In a body: bytes of it that are left, then padding.
    Data(u32, u32),
    /// In a payload that is collected, of which so many bytes are left.
    Payload(u32),
    /// In a payload of no interest.
    Pass(u32),
    /// Not known; to the end of this call.
    Skip,
}

/// A block that is not whole yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    stream: u32,
    ends: bool,
    promise: bool,
    started: Timestamp,
    too_long: bool,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    state: State,
    /// What there is of a head.
    head: [u8; HEAD],
    have: usize,
    /// The present frame.
    frame: Head,
    /// When its first byte came.
    started: Timestamp,
    /// Its payload, where it is collected.
    payload: Vec<u8>,
    open: Option<Open>,
    /// The bytes of the open block.
    block: Vec<u8>,
    table: Decoder,
    /// Longest frame that the other side takes.
    pub(super) longest: u32,
    /// Bytes of frames were lost at some time.
    pub(super) holed: bool,
    /// It was followed from its beginning on.
    pub(super) from_start: bool,
}

impl Lane {
    /// One whose place in the frames is not known.
    pub(super) fn new() -> Self {
        let mut table = Decoder::new();
        table.forget();
        Self {
            state: State::Skip,
            head: [0; HEAD],
            have: 0,
            frame: Head::default(),
            started: Timestamp(0),
            payload: Vec::new(),
            open: None,
            block: Vec::new(),
            table,
            longest: USUAL_LENGTH,
            holed: false,
            from_start: false,
        }
    }

    /// What comes next is its first byte; `preface`: a client's.
    pub(super) fn begin(&mut self, preface: bool) {
        self.state = if preface { State::Preface(0) } else { State::Head };
        self.have = 0;
        self.table = Decoder::new();
        self.from_start = true;
    }

    /// Bytes held.
    pub(super) fn size(&self) -> u64 {
        (self.payload.capacity() + self.block.capacity() + self.table.size()) as u64
    }

    /// True between frames, and where the place is not known.
    pub(super) fn at_rest(&self) -> bool {
        self.state == State::Skip || (self.state == State::Head && self.have == 0)
    }

    /// So many bytes are missing here.
    pub(super) fn hole(&mut self, bytes: u64, mut told: impl FnMut(Told<'_>)) {
        let within = |left: u32| u32::try_from(bytes).is_ok_and(|bytes| bytes <= left);
        let gone = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.state {
            State::Data(left, padding) if within(left.saturating_add(padding)) => {
                let of_data = gone.min(left);
                told(Told::Hole { stream: self.frame.stream, bytes: u64::from(of_data) });
                self.state = State::Data(left - of_data, padding - (gone - of_data));
                self.data_ended(&mut told);
            }
            State::Pass(left) if within(left) => {
                self.state = if left == gone { State::Head } else { State::Pass(left - gone) };
            }
            _ => self.lose(bytes, &mut told),
        }
    }

    /// The place is lost, with so many bytes.
    fn lose(&mut self, bytes: u64, told: &mut impl FnMut(Told<'_>)) {
        self.state = State::Skip;
        self.have = 0;
        self.open = None;
        self.payload = Vec::new();
        self.block = Vec::new();
        self.table.forget();
        self.holed = true;
        told(Told::Lost { bytes });
    }

    /// Takes a piece. `border`: it begins a call.
    pub(super) fn feed(&mut self, mut bytes: &[u8], border: bool, time: Timestamp, mut told: impl FnMut(Told<'_>)) {
        if border {
            if self.state == State::Skip {
                if bytes.starts_with(PREFACE) || PREFACE.starts_with(bytes) {
                    self.begin(true);
                } else if Chain::of(bytes, self.longest).is_some() {
                    (self.state, self.have) = (State::Head, 0);
                }
            } else if !self.at_rest() && self.begins_anew(bytes) {
                self.lose(0, &mut told);
                self.state = State::Head;
            }
        }
        while !bytes.is_empty() {
            match self.state {
                State::Skip => return,
                State::Preface(at) => {
                    let want = PREFACE.get(at..).unwrap_or_default();
                    let (now, rest) = bytes.split_at(want.len().min(bytes.len()));
                    if !want.starts_with(now) {
                        return self.lose(0, &mut told);
                    }
                    let at = at + now.len();
                    self.state = if at == PREFACE.len() { State::Head } else { State::Preface(at) };
                    bytes = rest;
                }
                State::Head => {
                    if self.have == 0 {
                        self.started = time;
                    }
                    let (now, rest) = bytes.split_at((HEAD - self.have).min(bytes.len()));
                    if let Some(place) = self.head.get_mut(self.have..self.have + now.len()) {
                        place.copy_from_slice(now);
                    }
                    self.have += now.len();
                    bytes = rest;
                    if self.have == HEAD {
                        self.have = 0;
                        self.begin_frame(&mut told);
                    }
                }
                State::Padding => {
                    let (padding, rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
                    bytes = rest;
                    match (self.frame.length - 1).checked_sub(u32::from(padding)) {
                        Some(left) => self.state = State::Data(left, u32::from(padding)),
                        None => return self.lose(0, &mut told),
                    }
                    self.data_ended(&mut told);
                }
                State::Data(0, padding) => {
                    let take = bytes.len().min(padding as usize);
                    bytes = bytes.get(take..).unwrap_or_default();
                    self.state = State::Data(0, padding - take as u32);
                    self.data_ended(&mut told);
                }
                State::Data(left, padding) => {
                    let (now, rest) = bytes.split_at(bytes.len().min(left as usize));
                    bytes = rest;
                    self.state = State::Data(left - now.len() as u32, padding);
                    told(Told::Data { stream: self.frame.stream, bytes: now });
                    self.data_ended(&mut told);
                }
                State::Payload(left) => {
                    let (now, rest) = bytes.split_at(bytes.len().min(left as usize));
                    bytes = rest;
                    let room = LONGEST.saturating_sub(self.payload.len());
                    self.payload.extend_from_slice(now.get(..room.min(now.len())).unwrap_or_default());
                    self.state = State::Payload(left - now.len() as u32);
                    if left as usize == now.len() {
                        self.payload_ended(&mut told);
                    }
                }
                State::Pass(left) => {
                    let take = bytes.len().min(left as usize);
                    bytes = bytes.get(take..).unwrap_or_default();
                    self.state = if take == left as usize { State::Head } else { State::Pass(left - take as u32) };
                }
            }
        }
    }

    /// True if a call that should go on in a frame begins with frames instead: some calls were lost without a trace.
    fn begins_anew(&self, bytes: &[u8]) -> bool {
        if !Chain::of(bytes, self.longest).is_some_and(Chain::is_certain) {
            return false;
        }
        let left = match self.state {
            State::Data(left, padding) => left.saturating_add(padding),
            State::Payload(left) | State::Pass(left) => left,
            State::Padding => self.frame.length,
            _ => return false,
        };
        // If it is right that it goes on, frames follow its end.
        let after = bytes.get(left as usize..).unwrap_or_default();
        Head::read(after).is_none() || Chain::of(after, self.longest).is_none()
    }

    /// A head is whole.
    fn begin_frame(&mut self, told: &mut impl FnMut(Told<'_>)) {
        let Some(frame) = Head::read(&self.head) else { return };
        self.frame = frame;
        let continues = self.open.as_ref().map(|open| open.stream);
        let in_order = match continues {
            Some(stream) => frame.kind == CONTINUATION && frame.stream == stream,
            None => frame.kind != CONTINUATION || !self.from_start || self.holed,
        };
        let strange = frame.kind > CONTINUATION && frame.length > self.longest;
        if !frame.allowed() || !in_order || strange {
            return self.lose(0, told);
        }
        match frame.kind {
            DATA if frame.has(PADDED) && frame.length > 0 => self.state = State::Padding,
            DATA => {
                self.state = State::Data(frame.length, 0);
                self.data_ended(told);
            }
            HEADERS | PUSH_PROMISE | CONTINUATION | RST_STREAM | SETTINGS => {
                self.payload.clear();
                self.state = State::Payload(frame.length);
                if frame.length == 0 {
                    self.payload_ended(told);
                }
            }
            _ if frame.length > 0 => self.state = State::Pass(frame.length),
            _ => self.state = State::Head,
        }
    }

    fn data_ended(&mut self, told: &mut impl FnMut(Told<'_>)) {
        if self.state == State::Data(0, 0) {
            self.state = State::Head;
            if self.frame.has(END_STREAM) {
                told(Told::Ended { stream: self.frame.stream });
            }
        }
    }

    fn payload_ended(&mut self, told: &mut impl FnMut(Told<'_>)) {
        self.state = State::Head;
        let frame = self.frame;
        let whole = frame.length as usize == self.payload.len();
        match frame.kind {
            RST_STREAM => told(Told::Reset { stream: frame.stream }),
            SETTINGS => {
                for setting in self.payload.chunks_exact(6) {
                    if let [a, b, c, d, e, f] = *setting
                        && u16::from_be_bytes([a, b]) == MAX_FRAME_SIZE
                    {
                        told(Told::Longest(u32::from_be_bytes([c, d, e, f])));
                    }
                }
            }
            HEADERS | PUSH_PROMISE => {
                let promise = frame.kind == PUSH_PROMISE;
                let mut fragment = self.payload.as_slice();
                let mut padding = 0;
                if frame.has(PADDED) {
                    padding = fragment.split_off_first().map_or(usize::MAX, |padding| usize::from(*padding));
                }
                let before = if promise { 4 } else { 5 * usize::from(frame.has(PRIORITIZED)) };
                let end = fragment.len().checked_sub(if whole { padding } else { 0 });
                let Some(fragment) = end.and_then(|end| fragment.get(before..end)) else {
                    return self.lose(0, told);
                };
                self.block.clear();
                self.block.extend_from_slice(fragment);
                self.open = Some(Open {
                    stream: frame.stream,
                    ends: !promise && frame.has(END_STREAM),
                    promise,
                    started: self.started,
                    too_long: !whole,
                });
                self.block_ended(told);
            }
            _ => {
                let Some(open) = &mut self.open else {
                    // The rest of a block whose beginning was not seen.
                    self.table.forget();
                    return;
                };
                open.too_long |= !whole || self.block.len() + self.payload.len() > LONGEST;
                if !open.too_long {
                    self.block.extend_from_slice(&self.payload);
                }
                self.block_ended(told);
            }
        }
        self.payload.clear();
        self.payload.shrink_to(USUAL_BLOCK);
    }

    fn block_ended(&mut self, told: &mut impl FnMut(Told<'_>)) {
        if !self.frame.has(END_HEADERS) {
            return;
        }
        let Some(open) = self.open.take() else { return };
        told(Told::Block(Block {
            stream: open.stream,
            ends: open.ends,
            promise: open.promise,
            started: open.started,
            too_long: open.too_long,
            bytes: &self.block,
            table: &mut self.table,
        }));
        self.block.clear();
        self.block.shrink_to(USUAL_BLOCK);
    }
}
