//! Overwrites credentials in header blocks (RFC 7541) without changing a length: what is decoded later has the same fields,
//! tables and places. Of the table only what a name means is kept.

use std::collections::VecDeque;

use super::{State, step};
use crate::streams::{http2_coding as coding, is_sensitive_header};

/// Longest name that is looked at; a longer one is taken for that of a credential.
const LONGEST_NAME: usize = 256;

/// Most entries that are kept: those of the biggest table that the streams keep.
const MOST_ENTRIES: usize = 2048;

/// Names whose values need no look.
const HARMLESS: &[&[u8]] = &[b":method", b":scheme", b":status", b":authority", b":protocol"];

/// What is done with the value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// It stays.
    Plain,
    /// It may be an address with a secret in its query.
    Address,
    /// It goes.
    Secret,
}

impl Class {
    fn of(name: &[u8]) -> Self {
        if HARMLESS.contains(&name) || name.starts_with(b"content-") || name.starts_with(b"accept") {
            return Class::Plain;
        }
        match std::str::from_utf8(name) {
            Ok(name) if !is_sensitive_header(name) => Class::Address,
            _ => Class::Secret,
        }
    }
}

/// An integer that is not whole.
#[derive(Clone, Copy, Debug)]
struct Number {
    value: usize,
    shift: u32,
}

/// Where in a block.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Before a field.
    Field,
    /// In a number after which a field ends.
    Passed(Number),
    /// In the index of a literal's name. `kept`: it becomes an entry; `never`: it may not.
    Index { kept: bool, never: bool, number: Number },
    /// Before the length of a string, or in it.
    Length { what: What, coded: bool, number: Option<Number> },
    /// In a string that has so many bytes left.
    Text { what: What, coded: bool, left: usize },
    /// The block makes no sense: the rest of it goes.
    Bad,
}

/// Which string of a field.
#[derive(Clone, Copy, Debug)]
enum What {
    Name { kept: bool, never: bool },
    Value { kept: bool, class: Class },
}

/// One direction's header blocks.
#[derive(Debug)]
pub(super) struct Fields {
    at: At,
    /// Newest first.
    entries: VecDeque<Class>,
    name: Vec<u8>,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self { at: At::Field, entries: VecDeque::new(), name: Vec::new() }
    }

    /// A block ended.
    pub(super) fn ended(&mut self) {
        if !matches!(self.at, At::Field) {
            self.entries.clear();
        }
        self.at = At::Field;
    }

    /// Takes a piece of a block.
    pub(super) fn mask(&mut self, mut piece: &mut [u8]) {
        while !piece.is_empty() {
            let taken = match self.at {
                At::Text { what: What::Value { class: Class::Address, kept }, coded, left } => {
                    if let Some(value) = piece.get_mut(..left) {
                        address(value, coded);
                        self.value_ended(kept, Class::Address);
                        left
                    } else {
                        // It cannot be looked at as a whole.
                        self.at = At::Text { what: What::Value { class: Class::Secret, kept }, coded, left };
                        0
                    }
                }
                At::Text { what, coded, left } => {
                    let now = left.min(piece.len());
                    let bytes = piece.get_mut(..now).unwrap_or_default();
                    match what {
                        What::Value { class: Class::Secret, .. } => bytes.fill(if coded { coding::STAR } else { b'*' }),
                        What::Value { .. } => {}
                        What::Name { .. } => {
                            let room = LONGEST_NAME.saturating_sub(self.name.len());
                            self.name.extend_from_slice(bytes.get(..room.min(now)).unwrap_or_default());
                        }
                    }
                    self.at = At::Text { what, coded, left: left - now };
                    if left == now {
                        self.text_ended(what, coded);
                    }
                    now
                }
                At::Bad => {
                    piece.fill(b'*');
                    return;
                }
                _ => {
                    if let Some(byte) = piece.first() {
                        self.byte(*byte);
                    }
                    1
                }
            };
            piece = piece.get_mut(taken..).unwrap_or_default();
        }
    }

    /// A byte that is not of a string.
    fn byte(&mut self, byte: u8) {
        match self.at {
            At::Field => {
                let (bits, literal) = match byte {
                    0x80.. => (7, None),
                    0x40..0x80 => (6, Some((true, false))),
                    0x20..0x40 => (5, None),
                    _ => (4, Some((false, byte & 0x10 != 0))),
                };
                let most = (1usize << bits) - 1;
                let number = Number { value: usize::from(byte) & most, shift: 0 };
                let whole = number.value < most;
                match literal {
                    None if whole => {}
                    None => self.at = At::Passed(number),
                    Some((kept, never)) if whole => self.indexed(kept, never, number.value),
                    Some((kept, never)) => self.at = At::Index { kept, never, number },
                }
            }
            At::Passed(number) => match more(number, byte) {
                Some((number, false)) => self.at = At::Passed(number),
                Some((_, true)) => self.at = At::Field,
                None => self.at = At::Bad,
            },
            At::Index { kept, never, number } => match more(number, byte) {
                Some((number, false)) => self.at = At::Index { kept, never, number },
                Some((number, true)) => self.indexed(kept, never, number.value),
                None => self.at = At::Bad,
            },
            At::Length { what, number: None, .. } => {
                let (coded, value) = (byte & 0x80 != 0, usize::from(byte & 0x7f));
                if value == 0x7f {
                    self.at = At::Length { what, coded, number: Some(Number { value, shift: 0 }) };
                } else {
                    self.text(what, coded, value);
                }
            }
            At::Length { what, coded, number: Some(number) } => match more(number, byte) {
                Some((number, false)) => self.at = At::Length { what, coded, number: Some(number) },
                Some((number, true)) => self.text(what, coded, number.value),
                None => self.at = At::Bad,
            },
            At::Text { .. } | At::Bad => {}
        }
    }

    /// The index of a literal's name is whole.
    fn indexed(&mut self, kept: bool, never: bool, index: usize) {
        let what = match index.checked_sub(1) {
            None => {
                self.name.clear();
                What::Name { kept, never }
            }
            Some(place) => {
                let class = match coding::STATIC.get(place) {
                    Some((name, _)) => Class::of(name.as_bytes()),
                    None => self.entries.get(place - coding::STATIC.len()).copied().unwrap_or(Class::Secret),
                };
                // Of the fields of the fixed table only pseudo-headers are kept although the encoder keeps them out of all tables.
                let secret = never && place >= coding::PSEUDO;
                What::Value { kept, class: if secret { Class::Secret } else { class } }
            }
        };
        self.at = At::Length { what, coded: false, number: None };
    }

    fn text(&mut self, what: What, coded: bool, left: usize) {
        self.at = At::Text { what, coded, left };
        if left == 0 {
            self.text_ended(what, coded);
        }
    }

    fn text_ended(&mut self, what: What, coded: bool) {
        match what {
            What::Name { kept, never } => {
                let mut class = if self.name.len() >= LONGEST_NAME { Class::Secret } else { Class::Plain };
                if class == Class::Plain && coded {
                    let mut name = Vec::new();
                    class = if coding::decode(&self.name, &mut name) { Class::of(&name) } else { Class::Secret };
                } else if class == Class::Plain {
                    class = Class::of(&self.name);
                }
                let class = if never { Class::Secret } else { class };
                self.at = At::Length { what: What::Value { kept, class }, coded: false, number: None };
            }
            What::Value { kept, class } => self.value_ended(kept, class),
        }
    }

    fn value_ended(&mut self, kept: bool, class: Class) {
        if kept {
            self.entries.push_front(class);
            self.entries.truncate(MOST_ENTRIES);
        }
        self.at = At::Field;
    }
}

/// A further byte of a number; true if it is the last.
fn more(number: Number, byte: u8) -> Option<(Number, bool)> {
    if number.shift > 21 {
        return None;
    }
    let value = number.value + (usize::from(byte & 0x7f) << number.shift);
    Some((Number { value, shift: number.shift + 7 }, byte & 0x80 == 0))
}

/// Overwrites the values of secret query keys.
fn address(value: &mut [u8], coded: bool) {
    let masked = |text: &[u8]| {
        let mut state = State::Plain;
        text.iter().map(|byte| step(&mut state, *byte)).collect::<Vec<u8>>()
    };
    if !coded {
        let text = masked(value);
        return value.copy_from_slice(&text);
    }
    let mut text = Vec::new();
    if !coding::decode(value, &mut text) {
        return value.fill(coding::STAR);
    }
    let masked = masked(&text);
    if masked != text {
        let same = text.iter().zip(&masked).map(|(before, after)| (*before, before != after));
        coding::overwrite(value, same);
    }
}
