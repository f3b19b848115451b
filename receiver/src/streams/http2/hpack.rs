//! Header compression (RFC 7541).
//!
//! Entries that the decoder never saw, because the connection was joined in its middle or bytes were lost, are unknown,
//! not wrong: an index counts from the newest entry, so those that came since are found whatever was before them. For
//! the same reason the size of the table matters for memory only: an encoder does not refer to what it evicted.

use std::collections::VecDeque;

use super::huffman;

/// Appendix A.
#[rustfmt::skip]
pub(crate) const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

/// So many of them, the first, are pseudo-headers.
pub(crate) const PSEUDO: usize = 14;

/// What an entry counts beside its bytes (section 4.1).
const OVERHEAD: usize = 32;

/// Size of a table before anything else was agreed (RFC 9113, section 6.5.2).
const USUAL_SIZE: usize = 4096;

/// Biggest table that is kept; of a bigger one the oldest entries are unknown.
const BIGGEST: usize = 64 * 1024;

/// Biggest integer that means anything here.
const BIGGEST_NUMBER: usize = 1 << 28;

/// A name or value that is not known is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: Option<Box<[u8]>>,
    value: Box<[u8]>,
}

impl Entry {
    fn size(&self) -> usize {
        self.name.as_ref().map_or(0, |name| name.len()) + self.value.len() + OVERHEAD
    }
}

/// A field of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// Name and value.
    Known(&'a [u8], &'a [u8]),
    /// A value whose name was not seen.
    Nameless(&'a [u8]),
    /// Neither was seen.
    Unknown,
}

/// The block is not as RFC 7541 wants it; what came before was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad;

/// The decoder of one direction.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Newest first.
    table: VecDeque<Entry>,
    size: usize,
    limit: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// At the beginning of a connection.
    pub(super) fn new() -> Self {
        Self { table: VecDeque::new(), size: 0, limit: USUAL_SIZE, name: Vec::new(), value: Vec::new() }
    }

    #[cfg(test)]
    pub(super) fn with_limit(limit: usize) -> Self {
        Self { limit, ..Self::new() }
    }

    #[cfg(test)]
    pub(super) fn entries_size(&self) -> usize {
        self.size
    }

    /// Blocks were not seen: all entries are unknown.
    pub(super) fn forget(&mut self) {
        self.table.clear();
        self.size = 0;
        self.limit = BIGGEST;
    }

    /// Bytes held.
    pub(super) fn size(&self) -> usize {
        self.size + self.table.capacity() * size_of::<Entry>() + self.name.capacity() + self.value.capacity()
    }

    /// Decodes a whole block.
    pub(super) fn decode(&mut self, mut block: &[u8], mut sink: impl FnMut(Field<'_>)) -> Result<(), Bad> {
        while let Some(first) = block.first().copied() {
            match first {
                0x80.. => {
                    let index = number(&mut block, 7)?;
                    match self.entry(index)? {
                        Some((Some(name), value)) => sink(Field::Known(name, value)),
                        Some((None, value)) => sink(Field::Nameless(value)),
                        None => sink(Field::Unknown),
                    }
                }
                0x20..0x40 => {
                    let limit = number(&mut block, 5)?;
                    self.limit = limit.min(BIGGEST);
                    self.evict();
                }
                _ => {
                    let kept = first >= 0x40;
                    let index = number(&mut block, if kept { 6 } else { 4 })?;
                    let (mut name, mut value) = (std::mem::take(&mut self.name), std::mem::take(&mut self.value));
                    name.clear();
                    value.clear();
                    let known = if index == 0 {
                        string(&mut block, &mut name)?;
                        true
                    } else {
                        let entry = self.entry(index)?;
                        if let Some((Some(of_entry), _)) = entry {
                            name.extend_from_slice(of_entry);
                        }
                        matches!(entry, Some((Some(_), _)))
                    };
                    string(&mut block, &mut value)?;
                    sink(if known { Field::Known(&name, &value) } else { Field::Nameless(&value) });
                    if kept {
                        let name = known.then(|| name.as_slice().into());
                        self.insert(Entry { name, value: value.as_slice().into() });
                    }
                    (self.name, self.value) = (name, value);
                }
            }
        }
        Ok(())
    }

    /// An entry of either table; `Ok(None)`: it is unknown.
    #[allow(clippy::type_complexity, reason = "a name that may be unknown, and a value")]
    fn entry(&self, index: usize) -> Result<Option<(Option<&[u8]>, &[u8])>, Bad> {
        let place = index.checked_sub(1).ok_or(Bad)?;
        if let Some((name, value)) = STATIC.get(place) {
            return Ok(Some((Some(name.as_bytes()), value.as_bytes())));
        }
        let entry = self.table.get(place - STATIC.len());
        Ok(entry.map(|entry| (entry.name.as_deref(), &*entry.value)))
    }

    fn insert(&mut self, entry: Entry) {
        self.size += entry.size();
        self.table.push_front(entry);
        self.evict();
    }

    /// Section 4.4: an entry bigger than the table empties it.
    fn evict(&mut self) {
        while self.size > self.limit
            && let Some(entry) = self.table.pop_back()
        {
            self.size -= entry.size();
        }
    }
}

/// An integer (section 5.1) whose first bits are in the low `bits` of the first byte.
fn number(block: &mut &[u8], bits: u32) -> Result<usize, Bad> {
    let (first, mut rest) = block.split_first().ok_or(Bad)?;
    let most = (1usize << bits) - 1;
    let mut number = usize::from(*first) & most;
    if number == most {
        let mut shift = 0;
        loop {
            let (byte, after) = rest.split_first().ok_or(Bad)?;
            rest = after;
            if shift > 21 {
                return Err(Bad);
            }
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
    }
    *block = rest;
    if number < BIGGEST_NUMBER { Ok(number) } else { Err(Bad) }
}

/// A string (section 5.2).
fn string(block: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Bad> {
    let coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = number(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Bad)?;
    *block = rest;
    if coded {
        huffman::decode(text, out).map_err(|huffman::Bad| Bad)
    } else {
        out.extend_from_slice(text);
        Ok(())
    }
}

/// True if a header block begins with a pseudo-header of the static table, as nearly all do.
pub(super) fn begins_block(block: &[u8]) -> bool {
    // A size update may come first.
    match block.first() {
        Some(0x81..=0x8e) => true,
        Some(0x20..0x40) => {
            matches!(block.get(1..), Some([0x81..=0x8e, ..]))
                || block.get(3..).is_some_and(|rest| matches!(rest, [0x81..=0x8e, ..]))
        }
        _ => false,
    }
}
