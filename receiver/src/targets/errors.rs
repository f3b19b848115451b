//! Functions of BoringSSL and its kin, known by the errors that they report.
//!
//! `OPENSSL_PUT_ERROR` (include/openssl/err.h) calls `ERR_put_error(library, 0, reason, __FILE__, __LINE__)`: the name of the
//! source file stays in a stripped file, and the reasons stay the same from version to version.

#[cfg(test)]
pub mod assembly;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use iced_x86::Register;

use super::{
    functions::Functions,
    image::Image,
    xrefs::{self, Body},
};

/// Bytes of a path.
const PATH: u64 = 512;

/// Copies of a file's name that are looked at.
const COPIES: usize = 64;

/// References that are followed; ssl_lib.cc has about 70.
const MOST: usize = 1024;

/// Addresses at which a file name with this end may begin: anywhere in the path before it, as far as it looks like one.
pub fn files(image: &Image, end: &[u8]) -> Vec<Range<u64>> {
    let range = |at: u64| {
        let segment = image.segment(at)?;
        let index = usize::try_from(at - segment.address).ok()?;
        let before = segment.bytes.get(..index)?;
        let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@=~".contains(byte);
        let path = before.iter().rev().take_while(|byte| letter(byte)).count() as u64;
        Some(at - path.min(PATH)..at + 1)
    };
    image.find(end).into_iter().take(COPIES).filter_map(range).collect()
}

/// A function that reports errors of the file.
pub struct Speaker {
    /// Its code.
    pub body: Body,
    /// The reasons.
    pub reasons: BTreeSet<i64>,
}

/// The functions that name one of these files in an error, by their addresses.
pub fn speakers(image: &Image, functions: &Functions, files: &[Range<u64>], library: i64) -> BTreeMap<u64, Speaker> {
    let references = xrefs::references(image, files);
    let starts: BTreeSet<u64> =
        references.iter().take(MOST).filter_map(|reference| functions.start_of(reference.at)).collect();
    let speak = |start: u64| {
        let body = Body::of(image, functions, start);
        let reasons = reasons(&body, files, library);
        Some((start, Speaker { body, reasons })).filter(|(_, speaker)| !speaker.reasons.is_empty())
    };
    starts.into_iter().filter_map(speak).collect()
}

/// The reasons with which a function calls `ERR_put_error(library, unused, reason, file, line)`; link-time optimisation
/// may have removed the argument that is not used.
fn reasons(body: &Body, files: &[Range<u64>], library: i64) -> BTreeSet<i64> {
    let names = |register, at| {
        let values = body.values(at, register).known;
        values.iter().any(|value| files.iter().any(|file| file.contains(&value.cast_unsigned())))
    };
    let mut reasons = BTreeSet::new();
    for call in body.instructions().iter().filter(|instruction| xrefs::called(instruction).is_some()) {
        let at = call.ip();
        let ours = || body.values(at, Register::RDI).known.contains(&library);
        if names(Register::RCX, at) && ours() {
            reasons.extend(body.values(at, Register::RDX).known);
        } else if names(Register::RDX, at) && ours() {
            reasons.extend(body.values(at, Register::RSI).known);
        }
    }
    reasons
}

/// Why a function could not be told, by how many look like it.
pub fn count(candidates: usize, name: &str) -> String {
    match candidates {
        0 => format!("no function looks like {name}"),
        1 => format!("what looks like {name} does not fit the functions around it"),
        more => format!("{more} functions look like {name}"),
    }
}
