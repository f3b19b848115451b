//! Conversations in HTTP/2: whole, joined, with losses, and over any split of them.

mod hpack;
mod loss;
mod property;
mod rules;

use pipeline::observation::{Exchange, LossReason, Part, Protocol, Role};

use super::{frame, huffman::tests::encode as huffman};
use crate::{
    event::Direction::{Read, Write as Wrote},
    streams::{
        Config, Notice, Verdict,
        tests::{Bench, gzip, loss, summary, whole},
    },
};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) fn frame_of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(super) fn settings() -> Vec<u8> {
    frame_of(frame::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 5, 0, 1, 0, 0])
}

/// A client's first bytes.
pub(super) fn hello() -> Vec<u8> {
    [PREFACE, &settings(), &frame_of(8, 0, 0, &[0, 1, 0, 0])].concat()
}

pub(super) fn data(stream: u32, ends: bool, bytes: &[u8]) -> Vec<u8> {
    frame_of(frame::DATA, u8::from(ends), stream, bytes)
}

/// One side's encoder: it indexes everything, as most do.
#[derive(Default)]
pub(super) struct Encoder {
    table: Vec<(String, String)>,
    /// Strings go in Huffman's code.
    pub(super) coded: bool,
}

impl Encoder {
    fn integer(out: &mut Vec<u8>, first: u8, bits: u32, mut number: usize) {
        let most = (1 << bits) - 1;
        if number < most {
            return out.push(first | number as u8);
        }
        out.push(first | most as u8);
        number -= most;
        while number >= 128 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }

    fn string(&self, out: &mut Vec<u8>, text: &str) {
        let (bytes, first) = if self.coded { (huffman(text.as_bytes()), 0x80) } else { (text.into(), 0) };
        Self::integer(out, first, 7, bytes.len());
        out.extend(bytes);
    }

    pub(super) fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in fields {
            let field = ((*name).to_owned(), (*value).to_owned());
            let fixed = |whole: bool| {
                super::hpack::STATIC
                    .iter()
                    .position(|row| row.0 == *name && (!whole || row.1 == *value))
                    .map(|at| at + 1)
            };
            if let Some(index) = fixed(true) {
                Self::integer(&mut out, 0x80, 7, index);
            } else if let Some(place) = self.table.iter().position(|entry| *entry == field) {
                Self::integer(&mut out, 0x80, 7, 62 + place);
            } else {
                let known =
                    fixed(false).or_else(|| self.table.iter().position(|entry| entry.0 == *name).map(|at| 62 + at));
                Self::integer(&mut out, 0x40, 6, known.unwrap_or(0));
                if known.is_none() {
                    self.string(&mut out, name);
                }
                self.string(&mut out, value);
                self.table.insert(0, field);
            }
        }
        out
    }

    pub(super) fn head(&mut self, stream: u32, ends: bool, fields: &[(&str, &str)]) -> Vec<u8> {
        frame_of(frame::HEADERS, 4 | u8::from(ends), stream, &self.block(fields))
    }

    pub(super) fn post(&mut self, stream: u32, path: &str) -> Vec<u8> {
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "api.openai.com"),
            (":path", path),
            ("authorization", "Bearer SECRET"),
            ("content-type", "application/json"),
        ];
        self.head(stream, false, &fields)
    }

    pub(super) fn ok(&mut self, stream: u32, kind: &str) -> Vec<u8> {
        self.head(stream, false, &[(":status", "200"), ("content-type", kind), ("server", "x")])
    }
}

/// Both sides of one connection.
#[derive(Default)]
pub(super) struct Sides {
    pub(super) client: Encoder,
    pub(super) server: Encoder,
}

/// A server's answer in two frames.
pub(super) fn answer(sides: &mut Sides, stream: u32, text: &str) -> Vec<u8> {
    [sides.server.ok(stream, "application/json"), data(stream, true, text.as_bytes())].concat()
}

pub(super) fn ask(sides: &mut Sides, stream: u32, path: &str, text: &str) -> Vec<u8> {
    [sides.client.post(stream, path), data(stream, true, text.as_bytes())].concat()
}
