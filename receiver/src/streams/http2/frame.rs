//! Heads of frames (RFC 9113, sections 4 and 6), and how a frame is known where the place in the stream is not.

/// First bytes of a client (section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head.
pub(crate) const HEAD: usize = 9;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const PRIORITIZED: u8 = 0x20;

/// Longest frame before anything else was agreed (section 4.2).
pub(crate) const USUAL_LENGTH: u32 = 16 * 1024;

/// Most settings of a frame where the place in the stream is not known.
const MOST_SETTINGS: u32 = 32;

/// Streams of a connection where the place in the stream is not known.
const MOST_STREAMS: u32 = 1 << 24;

/// Head of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of payload.
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    /// The bit before the stream, which is always 0.
    reserved: bool,
}

impl Head {
    /// From at least [`HEAD`] bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, d, e, f, g] = *bytes.first_chunk::<HEAD>()?;
        Some(Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([d & 0x7f, e, f, g]),
            reserved: d & 0x80 != 0,
        })
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether a frame may have this head at all (section 6). Kinds that nobody defined may (section 4.1).
    pub(crate) fn allowed(self) -> bool {
        match self.kind {
            DATA | HEADERS | PUSH_PROMISE | CONTINUATION => self.stream != 0,
            PRIORITY => self.stream != 0 && self.length == 5,
            RST_STREAM => self.stream != 0 && self.length == 4,
            SETTINGS => self.stream == 0 && self.length.is_multiple_of(6) && (!self.has(ACK) || self.length == 0),
            PING => self.stream == 0 && self.length == 8,
            GOAWAY => self.stream == 0 && self.length >= 8,
            WINDOW_UPDATE => self.length == 4,
            _ => true,
        }
    }

    /// Whether bytes with this head are a frame although nothing else says so: all that is usual holds.
    pub(crate) fn plausible(self, longest: u32) -> bool {
        let flags = match self.kind {
            DATA => END_STREAM | PADDED,
            HEADERS => END_STREAM | END_HEADERS | PADDED | PRIORITIZED,
            SETTINGS | PING => ACK,
            PUSH_PROMISE => END_HEADERS | PADDED,
            CONTINUATION => END_HEADERS,
            PRIORITY | RST_STREAM | GOAWAY | WINDOW_UPDATE => 0,
            _ => return false,
        };
        self.flags & !flags == 0
            && !self.reserved
            && self.length <= longest
            && self.stream < MOST_STREAMS
            && (self.kind != DATA || self.length > 0 || self.has(END_STREAM))
            && (self.kind != SETTINGS || self.length <= 6 * MOST_SETTINGS)
            && self.allowed()
    }
}

/// The frames that bytes seem to be, from their beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Whole heads.
    pub(crate) heads: usize,
    /// The last frame ends with the bytes.
    pub(crate) exact: bool,
}

impl Chain {
    /// `None`: they are no frames, or it cannot be told.
    pub(crate) fn of(mut bytes: &[u8], longest: u32) -> Option<Self> {
        let mut heads = 0;
        while let Some(head) = Head::read(bytes) {
            if !head.plausible(longest) {
                return None;
            }
            heads += 1;
            match bytes.get(HEAD + usize::try_from(head.length).ok()?..) {
                // Many are as good as all.
                Some(_) if heads == 16 => return Some(Self { heads, exact: false }),
                Some([]) => return Some(Self { heads, exact: true }),
                Some(rest) => bytes = rest,
                None => return Some(Self { heads, exact: false }),
            }
        }
        (heads > 0).then_some(Self { heads, exact: false })
    }

    /// True if chance is out of the question.
    pub(crate) fn is_certain(self) -> bool {
        self.heads > 1 || self.exact
    }
}

/// True if a call with these bytes, of a connection of which nothing else is known, begins with frames.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    let Some(chain) = Chain::of(bytes, USUAL_LENGTH) else { return false };
    let block = |head: Head| head.kind == HEADERS && bytes.get(HEAD..).is_some_and(super::hpack::begins_block);
    chain.is_certain() || Head::read(bytes).is_some_and(block)
}
