//! Go's table of functions, `runtime.pclntab`: names and beginnings of all functions. Programs need it to unwind their
//! stacks, so that it is there however a file was stripped.
//!
//! The layout is that of Go 1.18 and later: `pcHeader`, `functab` and `_func` of Go's `runtime/symtab.go` and
//! `runtime/runtime2.go`, written by `cmd/link/internal/ld/pcln.go`.

use std::ops::Range;

use memchr::memmem;

use crate::targets::{image::Image, relocations::Pointers};

/// Go 1.2 to 1.15, 1.16 and 1.17, 1.18 and 1.19, 1.20 and later (`internal/abi/symtab.go`).
const MAGICS: [u32; 4] = [0xffff_fffb, 0xffff_fffa, 0xffff_fff0, 0xffff_fff1];

/// What follows the first byte of all of them on x86-64: two zeros, instructions of one byte, pointers of eight.
const REST: [u8; 7] = [0xff, 0xff, 0xff, 0, 0, 1, 8];

/// `pcHeader`
const HEADER: usize = 72;

/// Functions of a file at most.
const MOST: u64 = 1 << 23;

/// Places that look like a table's beginning.
const CANDIDATES: usize = 1024;

/// Words of `moduledata` that are looked at.
const MODULE_WORDS: u64 = 64;

/// Places that point to the table, of which one is in `moduledata`.
const REFERRERS: usize = 64;

/// A table.
pub struct Table<'image> {
    image: &'image Image,
    /// Address of its `pcHeader`.
    pub address: u64,
    /// The header's `textStart`. 0 from Go 1.26 on, and where the loader fills it in.
    text_start: u64,
    /// `funcnametab`: names, each ended by a zero.
    names: &'image [u8],
    /// `pclntable`: `functab`, then what is known of each function.
    functions: &'image [u8],
    /// Functions in it.
    count: usize,
}

/// What was found of tables in a file.
#[derive(Default)]
pub struct Tables<'image> {
    /// Those that can be read.
    pub readable: Vec<Table<'image>>,
    /// True if there is one of Go 1.17 or older.
    pub old: bool,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

/// Finds the tables of an image, wherever they are: sections may be missing or have other names.
pub fn tables(image: &Image) -> Tables<'_> {
    let mut tables = Tables::default();
    let finder = memmem::Finder::new(&REST);
    for segment in &image.segments {
        for at in finder.find_iter(&segment.bytes).take(CANDIDATES) {
            let Some(address) = at.checked_sub(1).map(|at| segment.address.wrapping_add(at as u64)) else { continue };
            let magic = at.checked_sub(1).and_then(|at| u32_at(&segment.bytes, at)).unwrap_or_default();
            if !MAGICS.contains(&magic) || address % 8 != 0 {
                continue;
            }
            if magic == MAGICS[0] || magic == MAGICS[1] {
                tables.old |= plausible_old(&segment.bytes, at - 1);
            } else if let Some(table) = Table::read(image, address) {
                tables.readable.push(table);
            }
        }
    }
    tables
}

/// Whether an older table begins here. Go 1.2 to 1.15 have the number of functions and a function's address next, as
/// have 1.16 and 1.17 the numbers of functions and of files.
fn plausible_old(bytes: &[u8], at: usize) -> bool {
    u64_at(bytes, at + 8).is_some_and(|count| (1..MOST).contains(&count))
        && u64_at(bytes, at + 16).is_some_and(|next| next != 0)
}

impl<'image> Table<'image> {
    /// The table at this address, if it is whole and in order.
    fn read(image: &'image Image, address: u64) -> Option<Self> {
        let header = image.bytes(address, HEADER).filter(|header| header.len() == HEADER)?;
        let word = |index: usize| u64_at(header, index * 8);
        let (count, text_start) = (word(1)?, word(3)?);
        let (names, units, files, pcs, functions) = (word(4)?, word(5)?, word(6)?, word(7)?, word(8)?);
        // They lie in this order, one behind the other.
        let ordered = HEADER as u64 <= names && names < units && units <= files && files <= pcs && pcs < functions;
        if !ordered || count == 0 || count > MOST {
            return None;
        }
        let names = image.bytes(address.checked_add(names)?, usize::try_from(units - names).ok()?)?;
        let functions = image.bytes(address.checked_add(functions)?, usize::MAX)?;
        let count = usize::try_from(count).ok()?;
        let table = Self { image, address, text_start, names, functions, count };
        // The first two and the end, as a sample; a function is looked at again when it is used.
        let (first, second) = (table.entry(0)?, table.entry(count.min(2) - 1)?);
        (first <= second && second <= table.end()? && table.end()? > first && table.name(0).is_some()).then_some(table)
    }

    /// `functab[index].entryoff`: where a function begins, counted from the beginning of the code.
    fn entry(&self, index: usize) -> Option<u64> {
        u32_at(self.functions, index.checked_mul(8)?).map(u64::from)
    }

    /// Where the last function ends.
    fn end(&self) -> Option<u64> {
        self.entry(self.count)
    }

    /// `_func` of a function: its beginning again, and where in the names its own begins.
    fn name_offset(&self, index: usize) -> Option<u32> {
        let at = usize::try_from(u32_at(self.functions, index.checked_mul(8)?.checked_add(4)?)?).ok()?;
        let entry = u32_at(self.functions, at)?;
        let name = u32_at(self.functions, at.checked_add(4)?)?;
        (u64::from(entry) == self.entry(index)?).then_some(name)
    }

    fn name(&self, index: usize) -> Option<&'image [u8]> {
        let rest = self.names.get(usize::try_from(self.name_offset(index)?).ok()?..)?;
        rest.get(..memchr::memchr(0, rest)?)
    }

    /// Where in the names this one stands. None if it is not there, or there twice: the linker writes each name once.
    pub fn named(&self, name: &str) -> Option<u32> {
        let whole = [name.as_bytes(), b"\0"].concat();
        // The one before ends where it begins.
        let begins = |at: &usize| at.checked_sub(1).and_then(|before| self.names.get(before)) == Some(&0);
        let mut found = memmem::find_iter(self.names, &whole).filter(begins);
        let at = found.next().filter(|_| found.next().is_none())?;
        u32::try_from(at).ok()
    }

    /// The functions with these names ([`Self::named`]), in the same order: from where to where each goes, counted from
    /// the beginning of the code. None for one that is not there, or there twice.
    pub fn spans<const COUNT: usize>(&self, names: [Option<u32>; COUNT]) -> [Option<Range<u64>>; COUNT] {
        let mut found: [Vec<usize>; COUNT] = std::array::from_fn(|_| Vec::new());
        for index in 0..self.count {
            let Some(name) = self.name_offset(index) else { continue };
            for (found, wanted) in found.iter_mut().zip(&names) {
                if *wanted == Some(name) {
                    found.push(index);
                }
            }
        }
        found.map(|indices| {
            let [index] = indices.as_slice() else { return None };
            let span = self.entry(*index)?..self.entry(index.checked_add(1)?)?;
            (span.start < span.end).then_some(span)
        })
    }

    /// Addresses at which the code may begin. The header told it until Go 1.25; `moduledata` tells it in all versions,
    /// beside the first and the last function's address, by which it is known.
    pub fn texts(&self) -> Vec<u64> {
        let mut found = Vec::new();
        let mut add = |text: Option<u64>| {
            let text = text.filter(|text| self.fits(*text) && !found.contains(text));
            found.extend(text);
        };
        add(Some(self.text_start));
        let (mut places, relocated) = self.referrers();
        // What the loader fills in is read from its own table, and only where nothing stands in place.
        let pointers = relocated.then(|| Pointers::of(self.image));
        if let Some(pointers) = &pointers {
            add(self.address.checked_add(24).and_then(|place| pointers.at(place)));
        }
        places.truncate(REFERRERS);
        for place in places {
            let value = |index: u64| {
                let at = place.checked_add(index * 8)?;
                let relocated = pointers.as_ref().and_then(|pointers| pointers.at(at));
                relocated.or_else(|| u64_at(self.image.bytes(at, 8)?, 0))
            };
            for index in 1..MODULE_WORDS {
                let (Some(least), Some(most), Some(text)) = (value(index), value(index + 1), value(index + 2)) else {
                    break;
                };
                if text != 0 && self.first() == least.checked_sub(text) && self.end() == most.checked_sub(text) {
                    add(Some(text));
                }
            }
        }
        found
    }

    fn first(&self) -> Option<u64> {
        self.entry(0)
    }

    /// True if all functions are in code when it begins at this address.
    fn fits(&self, text: u64) -> bool {
        let (Some(first), Some(end)) = (self.first(), self.end()) else { return false };
        let (Some(first), Some(last)) =
            (text.checked_add(first), text.checked_add(end).and_then(|end| end.checked_sub(1)))
        else {
            return false;
        };
        text != 0 && self.image.code_offset(first).is_some() && self.image.code_offset(last).is_some()
    }

    /// Places that hold this table's address, as the first word of `moduledata` does, and whether some of them are known
    /// from the loader's table of relocations only.
    fn referrers(&self) -> (Vec<u64>, bool) {
        let address = self.address.to_le_bytes();
        let places = self.image.find(&address);
        // Elf64_Rela: place, R_X86_64_RELATIVE, addend.
        let relocation = [8u64.to_le_bytes(), address].concat();
        let relative: Vec<u64> = self
            .image
            .find(&relocation)
            .into_iter()
            .filter_map(|at| u64_at(self.image.bytes(at.checked_sub(8)?, 8)?, 0))
            .collect();
        let empty = |place: &u64| self.image.bytes(*place, 8).and_then(|bytes| u64_at(bytes, 0)) != Some(self.address);
        let relocated = relative.iter().any(empty);
        let mut all: Vec<u64> = relative.into_iter().chain(places).filter(|place| place % 8 == 0).collect();
        let mut seen = std::collections::HashSet::new();
        all.retain(|place| seen.insert(*place));
        (all, relocated)
    }
}
