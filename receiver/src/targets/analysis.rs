//! Asks every TLS stack's search about a file.
//!
//! First what is cheap: the names that a file exports. A process that is about to send waits for no more than that.
//! The rest reads the whole file: names of functions that it does not export, then what stripping leaves of each stack.

use std::{fs::File, io, os::unix::fs::FileExt};

use memchr::memmem::Finder;
use object::{ReadCache, ReadRef};

use super::{
    awslc, boringssl, cheap, gnutls, go,
    image::{Image, Source},
    names::{self, Table},
    openssl::{self, ElfError},
    openssl_internal,
    plan::{Found, Stack},
    rustls,
};

/// How plans are found that need no proof.
pub const BY_NAME: &str = "names of functions";

/// The version of the searches, a digest of their source: what another one answered is asked again.
pub const VERSION: u32 = parse(env!("ONLOOKER_SEARCHES"));

const fn parse(digits: &str) -> u32 {
    let (bytes, mut number, mut at) = (digits.as_bytes(), 0u32, 0);
    while at < bytes.len() {
        number = number.wrapping_mul(10).wrapping_add((bytes[at] - b'0') as u32);
        at += 1;
    }
    number
}

/// Files below this are not searched for what has no name: a TLS stack with all that goes with it is larger.
pub const SMALLEST: u64 = 512 << 10;

/// Bytes that are read at once while a file is looked through.
const PIECE: usize = 1 << 20;

/// What the name of each search's stack is told by: without any of these strings, no search is begun. Each must be in
/// every file in which its search can succeed.
const TELLING: &[&[u8]] = &[boringssl::FILE, rustls::TELLING, openssl_internal::WRITE, go::TELLING];

/// Looks for names that the file exports: of any stack. Reads the tables of the names only.
pub fn exported<'data, R: ReadRef<'data>>(data: R) -> Result<Found, ElfError> {
    named(data, Table::Exported)
}

fn named<'data, R: ReadRef<'data>>(data: R, table: Table) -> Result<Found, ElfError> {
    let (mut openssl, mut gnutls) = (openssl::Functions::default(), gnutls::Functions::default());
    names::each(data, table, &[b"SSL_", gnutls::BEGINNING], &mut |name, offset| {
        openssl.take(name, offset);
        gnutls.take(name, offset);
    })?;
    Ok(Found { plans: openssl.plan().into_iter().chain(gnutls.plan()).collect(), doubts: Vec::new() })
}

/// Looks for names of all functions, exported or not, of any stack.
pub fn names<'data, R: ReadRef<'data>>(data: R) -> Result<Found, ElfError> {
    let found = named(data, Table::Exported)?;
    if found.plans.is_empty() { named(data, Table::All) } else { Ok(found) }
}

/// The same, by functions that cost less to watch, where that is quickly told.
pub fn cheaper(mut found: Found, file: &File) -> Found {
    if file.metadata().is_ok_and(|stat| stat.len() <= cheap::LARGEST) {
        cheap::choose(&mut found, file);
    }
    found
}

/// Looks for everything that is in a file. Takes up to a second or two for the largest.
pub fn file(file: &File) -> Found {
    // Damaged tables of names do not hide the code.
    let (exported, found) = {
        let data = ReadCache::new(file);
        let exported = exported(&data).unwrap_or_default();
        let all =
            if exported.plans.is_empty() { named(&data, Table::All).unwrap_or_default() } else { Found::default() };
        (exported, all)
    };
    if !exported.plans.is_empty() {
        return cheaper(exported, file);
    }
    if file.metadata().map_or(true, |stat| stat.len() < SMALLEST) || !tells(file).unwrap_or(false) {
        return found;
    }
    match Image::read(file) {
        Ok(image) => structural(&image, file, found),
        Err(ElfError::Foreign) => found,
        Err(error) => {
            let doubts = vec![format!("a TLS stack is in it, but it is a {error}")];
            Found { plans: found.plans, doubts }
        }
    }
}

/// Adds what is found without names to what was found with them.
fn structural<S: Source>(image: &Image, file: &S, mut found: Found) -> Found {
    let has = |found: &Found, stack: Stack| found.plans.iter().any(|plan| plan.stack == stack);
    let add = |found: &mut Found, more: Found| {
        found.plans.extend(more.plans);
        found.doubts.extend(more.doubts);
    };
    // Whoever names a stack's functions has no nameless ones of it.
    if !has(&found, Stack::OpenSsl) {
        add(&mut found, boringssl::find(image));
        add(&mut found, openssl_internal::find(image));
    }
    add(&mut found, go::find(image));
    // rustls above AWS-LC's AEAD functions: of the two only the upper one, or all would be seen twice.
    let upper = rustls::find(image, file);
    if upper.plans.is_empty() {
        let lower = awslc::find(image);
        // Seen all the same: no reason to doubt.
        if lower.plans.is_empty() {
            add(&mut found, upper);
        }
        add(&mut found, lower);
    } else {
        add(&mut found, upper);
    }
    found
}

/// True if a file has a string without which no search can succeed. Keeps no more than a piece of it in memory.
fn tells(file: &File) -> io::Result<bool> {
    let finders: Vec<Finder<'_>> = TELLING.iter().map(Finder::new).collect();
    let longest = TELLING.iter().map(|telling| telling.len()).max().unwrap_or(0);
    let mut buffer = vec![0; PIECE + longest];
    let (mut at, mut kept) = (0u64, 0usize);
    loop {
        let Some(room) = buffer.get_mut(kept..) else { return Ok(false) };
        let read = match file.read_at(room, at) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        at += read as u64;
        let filled = kept + read;
        let piece = buffer.get(..filled).unwrap_or_default();
        if finders.iter().any(|finder| finder.find(piece).is_some()) {
            return Ok(true);
        }
        // One may stand across the border.
        let from = filled.saturating_sub(longest);
        buffer.copy_within(from..filled, 0);
        kept = filled - from;
    }
}

#[cfg(test)]
mod tests;
