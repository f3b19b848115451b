//! Pointers in a file's data. In a position-independent file they are relocations: the loader adds the base address
//! to each (`R_X86_64_RELATIVE`), and the bytes in the file may be zero. Elsewhere they stand in place.
//!
//! Tables: ELF gABI, "Relocation" and "Dynamic Section"; the packed form is DT_RELR, ELF gABI of 2022.

use super::image::Image;

/// Tags of the dynamic section.
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;

/// `R_X86_64_RELATIVE`, System V ABI for AMD64.
const RELATIVE: u64 = 8;

/// The pointers of a file.
pub struct Pointers {
    /// Where a pointer is, and where it points to; in order, each place once.
    all: Vec<(u64, u64)>,
    /// Of those, the ones to code.
    code: Vec<(u64, u64)>,
    /// They are not relocated.
    absolute: bool,
}

impl Pointers {
    /// Collects them. In a file that is not relocatable only pointers to code are told from numbers.
    pub fn of(image: &Image) -> Self {
        let mut all = relative(image);
        let absolute = all.is_empty();
        if absolute {
            all = in_place(image);
        }
        all.sort_unstable();
        all.dedup_by_key(|pointer| pointer.0);
        let code = all.iter().filter(|(_, target)| is_code(image, *target)).copied().collect();
        Self { all, code, absolute }
    }

    /// True if the file is not relocatable: jump tables are pointers to code, too.
    pub fn are_absolute(&self) -> bool {
        self.absolute
    }

    /// The pointer at this address.
    pub fn at(&self, address: u64) -> Option<u64> {
        look(&self.all, address)
    }

    /// The pointer to code at this address.
    pub fn code_at(&self, address: u64) -> Option<u64> {
        look(&self.code, address)
    }

    /// All pointers to code, as (address, target), by address.
    pub fn to_code(&self) -> &[(u64, u64)] {
        &self.code
    }
}

fn look(list: &[(u64, u64)], address: u64) -> Option<u64> {
    let at = list.binary_search_by_key(&address, |pointer| pointer.0).ok()?;
    list.get(at).map(|pointer| pointer.1)
}

fn is_code(image: &Image, address: u64) -> bool {
    image.code().any(|segment| address.checked_sub(segment.address).is_some_and(|at| at < segment.bytes.len() as u64))
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map(u64::from_le_bytes).unwrap_or_default()
}

/// The pointers that the loader relocates.
fn relative(image: &Image) -> Vec<(u64, u64)> {
    let entry = |tag: u64| {
        let table = image.bytes(image.dynamic?, 1 << 16)?;
        let mut entries =
            table.chunks_exact(16).map(|entry| entry.split_at(8)).map(|(tag, value)| (word(tag), word(value)));
        entries.by_ref().take_while(|(tag, _)| *tag != 0).find(|(found, _)| *found == tag).map(|(_, value)| value)
    };
    let table = |address: u64, size: u64| {
        let size = entry(size).and_then(|size| usize::try_from(size).ok())?;
        image.bytes(entry(address)?, size)
    };
    let mut found = Vec::new();
    for relocation in table(DT_RELA, DT_RELASZ).unwrap_or_default().chunks_exact(24) {
        let (place, rest) = relocation.split_at(8);
        let (info, addend) = rest.split_at(8);
        if word(info) & 0xffff_ffff == RELATIVE {
            found.push((word(place), word(addend)));
        }
    }
    let mut next = 0u64;
    let mut push = |place: u64| {
        if let Some(target) = image.bytes(place, 8) {
            found.push((place, word(target)));
        }
    };
    for entry in table(DT_RELR, DT_RELRSZ).unwrap_or_default().chunks_exact(8).map(word) {
        // An even entry is an address; an odd one is a bitmap of the 63 words that follow.
        if entry & 1 == 0 {
            push(entry);
            next = entry.wrapping_add(8);
            continue;
        }
        for bit in (0..63u64).filter(|bit| entry >> (bit + 1) & 1 == 1) {
            push(next.wrapping_add(bit * 8));
        }
        next = next.wrapping_add(63 * 8);
    }
    found
}

/// Words outside of code that are addresses of code.
fn in_place(image: &Image) -> Vec<(u64, u64)> {
    let code: Vec<_> =
        image.code().map(|code| (code.address, code.address.saturating_add(code.bytes.len() as u64))).collect();
    let mut found = Vec::new();
    for segment in image.segments.iter().filter(|segment| !segment.executable) {
        // Pointers are aligned in memory.
        let skip = segment.address.wrapping_neg() & 7;
        let start = segment.address.wrapping_add(skip);
        let bytes = usize::try_from(skip).ok().and_then(|skip| segment.bytes.get(skip..)).unwrap_or_default();
        for (index, target) in bytes.chunks_exact(8).map(word).enumerate() {
            if code.iter().any(|(from, to)| (*from..*to).contains(&target)) {
                found.push((start.wrapping_add(index as u64 * 8), target));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::image::Segment;

    fn image(dynamic: &[(u64, u64)], data: Vec<u8>) -> Image {
        let mut table: Vec<u8> =
            dynamic.iter().flat_map(|(tag, value)| [*tag, *value]).flat_map(u64::to_le_bytes).collect();
        table.extend([0; 16]);
        let segment = |address, executable, bytes| Segment { address, offset: address, executable, bytes };
        Image {
            segments: vec![
                segment(0x1000, true, vec![0xc3; 0x100]),
                segment(0x2000, false, data),
                segment(0x9000, false, table),
            ],
            sections: Vec::new(),
            build_id: None,
            eh_frame_header: None,
            dynamic: Some(0x9000),
        }
    }

    #[test]
    fn relative_relocations_are_read() {
        let rela = [0x2100u64, 8, 0x1010, 0x2108, 6, 0x1020, 0x2110, 8, 0x5000];
        let data = rela.iter().flat_map(|word| word.to_le_bytes()).collect();
        let pointers = Pointers::of(&image(&[(DT_RELA, 0x2000), (DT_RELASZ, 72)], data));
        assert_eq!((pointers.at(0x2100), pointers.at(0x2108), pointers.at(0x2110)), (Some(0x1010), None, Some(0x5000)));
        assert_eq!(pointers.to_code(), [(0x2100, 0x1010)]);
    }

    #[test]
    fn packed_relocations_are_read() {
        // One address, then a bitmap: the second and the third word after it.
        let words = [0x2020u64, 0b1101, 0, 0, 0x1001, 0, 0x1002, 0x1003];
        let data = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let pointers = Pointers::of(&image(&[(DT_RELR, 0x2000), (DT_RELRSZ, 16)], data));
        assert_eq!(pointers.to_code(), [(0x2020, 0x1001), (0x2030, 0x1002), (0x2038, 0x1003)]);
    }

    #[test]
    fn pointers_in_place_are_read() {
        let words = [7u64, 0x1050, 0x1100, 0x10ff];
        let data = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(Pointers::of(&image(&[], data)).to_code(), [(0x2008, 0x1050), (0x2018, 0x10ff)]);
    }

    #[test]
    fn tables_that_lie_are_no_trouble() {
        let lies = [(DT_RELA, u64::MAX), (DT_RELASZ, u64::MAX), (DT_RELR, 0x20f8), (DT_RELRSZ, u64::MAX)];
        assert!(Pointers::of(&image(&lies, vec![0xff; 0x100])).to_code().is_empty());
    }
}
