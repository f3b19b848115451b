//! Names of functions in files that were not stripped of them: `.symtab`, else `.dynsym` (ELF gABI, "Symbol Table").

use super::image::{Image, Source};

/// `sh_type`
const SYMTAB: u32 = 2;
const DYNSYM: u32 = 11;

/// `STT_FUNC`
const FUNCTION: u8 = 2;

/// Bytes of a table that are read at most.
const MOST: u64 = 1 << 29;

/// Calls back with the raw name and address of every function that a file defines.
pub fn each(image: &Image, file: &impl Source, callback: &mut dyn FnMut(&[u8], u64)) {
    for kind in [SYMTAB, DYNSYM] {
        for section in image.sections.iter().filter(|section| section.kind == kind) {
            let names = usize::try_from(section.link).ok().and_then(|link| image.sections.get(link));
            let Some(names) = names.filter(|names| names.size <= MOST && section.size <= MOST) else { continue };
            let (table, names) = (file.read(section.offset, section.size), file.read(names.offset, names.size));
            // st_name, st_info, st_other, st_shndx, st_value, st_size
            for symbol in table.chunks_exact(24) {
                let word = |at: usize, size: usize| {
                    let bytes = symbol.get(at..at + size).unwrap_or_default();
                    bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
                };
                let defined = word(6, 2) != 0 && word(8, 8) != 0;
                if word(4, 1) as u8 & 15 != FUNCTION || !defined {
                    continue;
                }
                let Some(name) = usize::try_from(word(0, 4)).ok().and_then(|at| names.get(at..)) else { continue };
                let Some(end) = memchr::memchr(0, name.get(..name.len().min(4096)).unwrap_or_default()) else {
                    continue;
                };
                callback(name.get(..end).unwrap_or_default(), word(8, 8));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::testing;

    #[test]
    fn names_and_addresses_are_told() {
        let file = testing::elf(&[("SSL_read", 0x40_1010), ("other", 0x40_1020)]);
        let image = Image::read(&file.as_slice()).unwrap();
        let mut found = Vec::new();
        each(&image, &file.as_slice(), &mut |name, address| found.push((name.to_vec(), address)));
        assert_eq!(found, [(b"SSL_read".to_vec(), 0x40_1010), (b"other".to_vec(), 0x40_1020)]);
    }
}
