//! Overwrites credentials in HTTP/2 (RFC 9113) without changing a length: the frames stay as they are; header blocks are
//! masked by [`super::fields`], bodies as those of HTTP/1. What is not known to be frames is overwritten entirely.

use std::collections::BTreeMap;

use super::{State, fields::Fields, step};
use crate::streams::http2_coding::{
    CONTINUATION, Chain, DATA, END_HEADERS, END_STREAM, HEAD, HEADERS, Head, PADDED, PREFACE, PRIORITIZED, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, USUAL_LENGTH, WINDOW_UPDATE,
};

/// Bodies that are followed at once; of more, the oldest begins anew.
const MOST_BODIES: usize = 1024;

/// Text is no head: it would be that of a longer frame.
const LONGEST: u32 = 0x20_00_00;

/// Where in the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the preface, after so many bytes.
    Preface(usize),
    /// In a head.
    Head,
    /// In a payload.
    Payload,
    /// Not known.
    Skip,
}

/// The present payload: what is left of each part, in their order.
#[derive(Clone, Copy, Debug, Default)]
struct Payload {
    /// The length of the padding is still to come.
    padded: bool,
    /// Priority or promised stream.
    before: u32,
    /// Header block, body, or what else there is.
    left: u32,
    padding: u32,
}

/// One direction.
pub(super) struct Frames {
    at: At,
    head: [u8; HEAD],
    have: usize,
    frame: Option<Head>,
    payload: Payload,
    fields: Fields,
    bodies: BTreeMap<u32, State>,
}

impl Frames {
    /// One whose place is not known.
    pub(super) fn new() -> Self {
        Self {
            at: At::Skip,
            head: [0; HEAD],
            have: 0,
            frame: None,
            payload: Payload::default(),
            fields: Fields::new(),
            bodies: BTreeMap::new(),
        }
    }

    /// After so many bytes of the preface.
    pub(super) fn in_preface(at: usize) -> Self {
        Self { at: At::Preface(at), ..Self::new() }
    }

    /// At its first frame.
    pub(super) fn at_first() -> Self {
        Self { at: At::Head, ..Self::new() }
    }

    /// True between frames.
    pub(super) fn at_rest(&self) -> bool {
        self.at == At::Skip || (self.at == At::Head && self.have == 0)
    }

    /// So many bytes are missing here; `None`: that is not known.
    pub(super) fn hole(&mut self, bytes: Option<u64>) {
        let within = bytes.and_then(|bytes| u32::try_from(bytes).ok());
        match (within, self.frame) {
            (Some(bytes), Some(frame))
                if self.at == At::Payload
                    && frame.kind == DATA
                    && !self.payload.padded
                    && bytes <= self.payload.left =>
            {
                self.payload.left -= bytes;
                // The rest of a line may be secret.
                self.bodies.insert(frame.stream, State::Secret);
                self.ended();
            }
            _ => {
                self.at = At::Skip;
                self.have = 0;
                self.fields = Fields::new();
                self.bodies.values_mut().for_each(|state| *state = State::Secret);
            }
        }
    }

    /// Overwrites the credentials of a piece; `border`: it begins a call.
    pub(super) fn mask(&mut self, mut piece: &mut [u8], border: bool) {
        if border && self.at == At::Skip {
            if piece.starts_with(PREFACE) {
                *self = Self::in_preface(0);
            } else if Chain::of(piece, USUAL_LENGTH).is_some() {
                (self.at, self.have) = (At::Head, 0);
            }
        }
        while !piece.is_empty() {
            let taken = match self.at {
                At::Skip => return piece.fill(b'*'),
                At::Preface(at) => {
                    let want = PREFACE.get(at..).unwrap_or_default();
                    let now = want.len().min(piece.len());
                    if piece.get(..now) == want.get(..now) {
                        self.at = if now == want.len() { At::Head } else { At::Preface(at + now) };
                        now
                    } else {
                        self.at = At::Skip;
                        0
                    }
                }
                At::Head => {
                    let now = (HEAD - self.have).min(piece.len());
                    for (to, from) in self.head.iter_mut().skip(self.have).zip(piece.iter()) {
                        *to = *from;
                    }
                    self.have += now;
                    if self.have == HEAD && !self.begin() {
                        piece.get_mut(..now).unwrap_or_default().fill(b'*');
                        self.at = At::Skip;
                    }
                    now
                }
                At::Payload => self.payload(piece),
            };
            piece = piece.get_mut(taken..).unwrap_or_default();
        }
    }

    /// A head is whole. False: it is none.
    fn begin(&mut self) -> bool {
        self.have = 0;
        let Some(frame) = Head::read(&self.head).filter(|frame| frame.allowed() && frame.length < LONGEST) else {
            return false;
        };
        self.frame = Some(frame);
        let padded = frame.has(PADDED) && matches!(frame.kind, DATA | HEADERS | PUSH_PROMISE);
        let before = match frame.kind {
            HEADERS if frame.has(PRIORITIZED) => 5,
            PUSH_PROMISE => 4,
            _ => 0,
        };
        let Some(left) = frame.length.checked_sub(before + u32::from(padded)) else { return frame.length == 0 };
        self.payload = Payload { padded, before, left, padding: 0 };
        self.at = At::Payload;
        self.ended();
        true
    }

    /// The front of a payload. Gives how many bytes were taken.
    fn payload(&mut self, piece: &mut [u8]) -> usize {
        let Some(frame) = self.frame else { return piece.len() };
        let payload = &mut self.payload;
        let part = |left: u32, piece: &[u8]| piece.len().min(left as usize);
        let taken = if payload.padded {
            payload.padded = false;
            payload.padding = piece.first().map_or(0, |length| u32::from(*length)).min(payload.left);
            payload.left -= payload.padding;
            1
        } else if payload.before > 0 {
            let now = part(payload.before, piece);
            payload.before -= now as u32;
            now
        } else if payload.left > 0 {
            let now = part(payload.left, piece);
            payload.left -= now as u32;
            let bytes = piece.get_mut(..now).unwrap_or_default();
            match frame.kind {
                DATA => {
                    while self.bodies.len() >= MOST_BODIES && !self.bodies.contains_key(&frame.stream) {
                        self.bodies.pop_first();
                    }
                    let state = self.bodies.entry(frame.stream).or_insert(State::Start(false));
                    bytes.iter_mut().for_each(|byte| *byte = step(state, *byte));
                }
                HEADERS | PUSH_PROMISE | CONTINUATION => self.fields.mask(bytes),
                PRIORITY | RST_STREAM | SETTINGS | WINDOW_UPDATE => {}
                _ => bytes.fill(b'*'),
            }
            now
        } else {
            let now = part(payload.padding, piece);
            payload.padding -= now as u32;
            piece.get_mut(..now).unwrap_or_default().fill(0);
            now
        };
        self.ended();
        taken
    }

    /// Ends the frame if it is whole.
    fn ended(&mut self) {
        let Payload { padded, before, left, padding } = self.payload;
        let Some(frame) = self.frame.filter(|_| !padded && before == 0 && left == 0 && padding == 0) else { return };
        self.at = At::Head;
        match frame.kind {
            HEADERS | PUSH_PROMISE | CONTINUATION if frame.has(END_HEADERS) => self.fields.ended(),
            RST_STREAM => {
                self.bodies.remove(&frame.stream);
            }
            _ => {}
        }
        if matches!(frame.kind, DATA | HEADERS) && frame.has(END_STREAM) {
            self.bodies.remove(&frame.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn masked(bytes: &[u8], cut: usize) -> Vec<u8> {
        let (mut frames, mut bytes) = (Frames::new(), bytes.to_vec());
        let cut = cut.min(bytes.len());
        let (head, tail) = bytes.split_at_mut(cut);
        frames.mask(head, true);
        frames.mask(tail, false);
        bytes
    }

    #[test]
    fn credentials_go_and_all_else_stays() {
        let block = [
            &b"\x83\x87\x0f\x08\x08SECRET-A\x40\x09x-api-key\x06SECRET"[..],
            b"\x04\x0e/a?key=SECRETQ\x40\x01a\x01b\xbf\x7f\x00\x06SECRET\x83",
        ]
        .concat();
        let body = b"{\"refresh_token\":\"SECRET\",\"text\":\"words\"}";
        let wire = [PREFACE, &frame(HEADERS, END_HEADERS, 1, &block), &frame(DATA, 1, 1, body)].concat();
        let out = masked(&wire, wire.len());
        let text = String::from_utf8_lossy(&out);
        assert_eq!(out.len(), wire.len());
        assert!(!text.contains("SECRET") && text.contains("/a?key=*******") && text.contains("words"), "{text}");
        for cut in PREFACE.len()..wire.len() {
            let out = masked(&wire, cut);
            assert_eq!(out.len(), wire.len());
            assert!(!String::from_utf8_lossy(&out).contains("SECRET"), "{cut}");
        }
    }

    #[test]
    fn what_is_no_frame_goes() {
        assert_eq!(masked(b"SECRET words", 3), b"************");
        let wire = [PREFACE, b"SECRET words that are no frame"].concat();
        assert_eq!(
            masked(&wire, wire.len()).iter().filter(|byte| **byte == b'*').count(),
            wire.len() - PREFACE.len() + 1
        );
    }
}
