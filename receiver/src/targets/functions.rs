//! Where functions begin: from `.eh_frame_hdr` where the file has one, else from the targets of its direct calls.
//!
//! Exception tables survive stripping, but some programs are built without them (bun, deno). Then an address that is
//! called begins a function. Bytes that only look like a call give wrong targets, about one in a few kilobytes; so a
//! target counts if it is called twice, or if what stands before it ends a function or fills the room between two.

use std::sync::OnceLock;

use super::image::{Image, Segment};

/// Exception tables of more entries are not believed.
const MOST: usize = 1 << 24;

/// Bytes of a function at most: what is called further before an address is another one.
const LONGEST: usize = 1 << 20;

/// The functions of an image.
pub struct Functions<'image> {
    image: &'image Image,
    /// (start, end) by `.eh_frame_hdr`, in order. An end may be its start, if it could not be told.
    spans: Vec<(u64, u64)>,
    /// Found when the first address is asked for that the exception tables do not cover.
    called: OnceLock<Vec<Called>>,
}

/// Targets of calls in a segment, a bit a byte of it.
struct Called {
    address: u64,
    size: u64,
    bits: Vec<u64>,
}

impl<'image> Functions<'image> {
    /// The functions of an image. Reads the exception tables only; the code is scanned when that is not enough.
    pub fn of(image: &'image Image) -> Self {
        Self { image, spans: exception_table(image).unwrap_or_default(), called: OnceLock::new() }
    }

    /// Functions in the exception tables; 0 if there are none.
    pub fn described(&self) -> usize {
        self.spans.len()
    }

    /// Where the function begins that this address is in. None if nothing is known around it.
    pub fn start_of(&self, address: u64) -> Option<u64> {
        let before = self.before(address);
        if let Some((start, end)) = before
            && (address < end || address == start)
        {
            return Some(start);
        }
        // What a call's target and the address have between them must not be another function.
        let lowest = before.map_or(0, |(_, end)| end);
        self.segment(address)?.before(address).filter(|start| *start >= lowest)
    }

    /// True if a function begins here.
    pub fn is_start(&self, address: u64) -> bool {
        match self.before(address) {
            Some((start, _)) if start == address => true,
            Some((_, end)) if address < end => false,
            _ => self.segment(address).is_some_and(|segment| segment.holds(address)),
        }
    }

    /// Where the function that begins here ends at the latest: its end by the exception tables, else the beginning of
    /// the next function, or of nothing.
    pub fn end_of(&self, start: u64) -> Option<u64> {
        if let Some((from, end)) = self.before(start)
            && from == start
            && end > start
        {
            return Some(end);
        }
        let next = self.spans.get(self.spans.partition_point(|span| span.0 <= start)).map(|span| span.0);
        let segment = self.segment(start)?;
        let limit = segment.address.saturating_add(segment.size);
        let called = segment.after(start).unwrap_or(limit);
        Some(next.filter(|next| *next < called).unwrap_or(called))
    }

    fn before(&self, address: u64) -> Option<(u64, u64)> {
        let at = self.spans.partition_point(|span| span.0 <= address).checked_sub(1)?;
        self.spans.get(at).copied()
    }

    fn segment(&self, address: u64) -> Option<&Called> {
        let called = self.called.get_or_init(|| call_targets(self.image));
        called.iter().find(|segment| address.checked_sub(segment.address).is_some_and(|at| at < segment.size))
    }
}

impl Called {
    fn holds(&self, address: u64) -> bool {
        let at = address.wrapping_sub(self.address);
        let word = usize::try_from(at / 64).ok().and_then(|word| self.bits.get(word));
        word.is_some_and(|bits| bits >> (at % 64) & 1 == 1)
    }

    fn before(&self, address: u64) -> Option<u64> {
        let at = address.checked_sub(self.address)?;
        let mut word = usize::try_from(at / 64).ok()?;
        let lowest = word.saturating_sub(LONGEST / 64);
        let mut bits = self.bits.get(word)? & (u64::MAX >> (63 - at % 64));
        while bits == 0 {
            word = word.checked_sub(1).filter(|word| *word >= lowest)?;
            bits = *self.bits.get(word)?;
        }
        let at = word as u64 * 64 + 63 - u64::from(bits.leading_zeros());
        self.address.checked_add(at)
    }

    fn after(&self, address: u64) -> Option<u64> {
        let at = address.checked_sub(self.address)?.checked_add(1)?;
        let mut word = usize::try_from(at / 64).ok()?;
        let mut bits = self.bits.get(word)? & (u64::MAX << (at % 64));
        while bits == 0 {
            word += 1;
            bits = *self.bits.get(word)?;
        }
        self.address.checked_add(word as u64 * 64 + u64::from(bits.trailing_zeros()))
    }
}

/// Targets of `call rel32` in all code.
fn call_targets(image: &Image) -> Vec<Called> {
    image.code().map(scan).collect()
}

fn scan(segment: &Segment) -> Called {
    let code = segment.bytes.as_slice();
    let words = code.len().div_ceil(64);
    let (mut once, mut bits) = (vec![0u64; words], vec![0u64; words]);
    for at in memchr::memchr_iter(0xe8, code) {
        let Some(distance) = code.get(at + 1..).and_then(|rest| rest.first_chunk::<4>()) else { break };
        let distance = i64::from(i32::from_le_bytes(*distance));
        // Both are far below 2^62: a segment is at most 1 GiB.
        let target = (at as i64 + 5).wrapping_add(distance);
        let Some(target) = usize::try_from(target).ok().filter(|target| *target < code.len() && *target != at + 5)
        else {
            continue;
        };
        let (word, bit) = (target / 64, 1u64 << (target % 64));
        let (Some(seen), Some(kept)) = (once.get_mut(word), bits.get_mut(word)) else { continue };
        if *seen & bit != 0 || plausible(code, target) {
            *kept |= bit;
        }
        *seen |= bit;
    }
    Called { address: segment.address, size: code.len() as u64, bits }
}

/// True if a function may begin here: after the end of another, or after room between them.
fn plausible(code: &[u8], target: usize) -> bool {
    let before = |distance: usize| target.checked_sub(distance).and_then(|at| code.get(at)).copied();
    match before(1) {
        // Nothing; ret; int3; nop.
        None | Some(0xc3 | 0xcc | 0x90) => true,
        // ud2; the end of a long nop.
        Some(0x0b) => before(2) == Some(0x0f),
        Some(0x00) if target.is_multiple_of(16) => true,
        // jmp rel8, jmp rel32.
        _ => before(2) == Some(0xeb) || before(5) == Some(0xe9),
    }
}

/// The binary search table of `.eh_frame_hdr` (Linux Standard Base, "Exception Frames"), if it is whole: relative to
/// itself in 32 bits, sorted, and of code.
fn exception_table(image: &Image) -> Option<Vec<(u64, u64)>> {
    const PC_RELATIVE_4: u8 = 0x1b;
    const UNSIGNED_4: u8 = 0x03;
    const TABLE_RELATIVE_4: u8 = 0x3b;
    let at = image.eh_frame_header?;
    let header = image.bytes(at, 12)?;
    if header.get(..4)? != [1, PC_RELATIVE_4, UNSIGNED_4, TABLE_RELATIVE_4] {
        return None;
    }
    let count = usize::try_from(u32::from_le_bytes(*header.get(8..)?.first_chunk()?)).ok()?;
    let size = count.checked_mul(8).filter(|_| count <= MOST)?;
    let table = image.bytes(at.checked_add(12)?, size).filter(|table| table.len() == size)?;
    let mut spans: Vec<(u64, u64)> = Vec::with_capacity(count);
    let mut code: Option<&Segment> = None;
    let mut frames: Option<&Segment> = None;
    let holds = |segment: &Segment, address: u64| {
        address.checked_sub(segment.address).is_some_and(|at| at < segment.bytes.len() as u64)
    };
    for entry in table.chunks_exact(8) {
        let (start, frame) = entry.split_first_chunk::<4>()?;
        let start = at.wrapping_add_signed(i64::from(i32::from_le_bytes(*start)));
        let frame = at.wrapping_add_signed(i64::from(i32::from_le_bytes(*frame.first_chunk()?)));
        if spans.last().is_some_and(|last| last.0 > start) {
            return None;
        }
        code = code.filter(|segment| holds(segment, start)).or_else(|| image.segment(start));
        frames = frames.filter(|segment| holds(segment, frame)).or_else(|| image.segment(frame));
        // Tables describe functions of other sections at times (discarded ones, at 0).
        if !code.is_some_and(|segment| segment.executable) {
            continue;
        }
        let length = frames.and_then(|segment| function_size(segment, frame, start)).unwrap_or(0);
        spans.push((start, start.saturating_add(length)));
    }
    // Where ends could not be read, or overlap, the next beginning is the end.
    let next: Vec<u64> = spans.iter().skip(1).map(|span| span.0).collect();
    for (span, next) in spans.iter_mut().zip(next) {
        if span.1 > next || span.1 == span.0 {
            span.1 = next;
        }
    }
    Some(spans).filter(|spans| !spans.is_empty())
}

/// The size of the function that a frame description is of: `pc_range` behind a `pc_begin` that is relative to itself
/// in four or eight bytes, which is told by its value.
fn function_size(segment: &Segment, frame: u64, start: u64) -> Option<u64> {
    let at = usize::try_from(frame.checked_sub(segment.address)?).ok()?;
    let bytes = segment.bytes.get(at.checked_add(8)?..)?;
    let field = frame.checked_add(8)?;
    let (short, rest) = bytes.split_first_chunk::<4>()?;
    if field.wrapping_add_signed(i64::from(i32::from_le_bytes(*short))) == start {
        return Some(u64::from(u32::from_le_bytes(*rest.first_chunk()?)));
    }
    let (long, rest) = bytes.split_first_chunk::<8>()?;
    if field.wrapping_add_signed(i64::from_le_bytes(*long)) == start {
        return Some(u64::from_le_bytes(*rest.first_chunk()?)).filter(|size| *size < 1 << 30);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(segments: Vec<Segment>, eh_frame_header: Option<u64>) -> Image {
        Image { segments, sections: Vec::new(), build_id: None, eh_frame_header, dynamic: None }
    }

    fn code(bytes: Vec<u8>) -> Segment {
        Segment { address: 0x1000, offset: 0, executable: true, bytes }
    }

    /// Code in which `from` calls `to`.
    fn calls(size: usize, fill: u8, pairs: &[(usize, usize)]) -> Vec<u8> {
        let mut bytes = vec![fill; size];
        for (from, to) in pairs {
            bytes[*from] = 0xe8;
            bytes[from + 1..from + 5].copy_from_slice(&(*to as i32 - *from as i32 - 5).to_le_bytes());
        }
        bytes
    }

    /// An exception table of these functions (start, size), at 0x8000.
    fn table(functions: &[(u64, u32)]) -> Segment {
        let mut header = vec![1, 0x1b, 3, 0x3b];
        header.extend([0; 4]);
        header.extend(u32::try_from(functions.len()).unwrap().to_le_bytes());
        let frames = 12 + functions.len() * 8;
        for (at, (start, _)) in functions.iter().enumerate() {
            header.extend((*start as i32 - 0x8000).to_le_bytes());
            header.extend(i32::try_from(frames + at * 16).unwrap().to_le_bytes());
        }
        for (start, size) in functions {
            header.extend([0; 8]);
            header.extend((*start as i32 - 0x8000 - header.len() as i32).to_le_bytes());
            header.extend(size.to_le_bytes());
        }
        Segment { address: 0x8000, offset: 0x8000, executable: false, bytes: header }
    }

    #[test]
    fn targets_of_calls_begin_functions() {
        // 0x10 and 0x200 follow a nop; 0x80 is called once and stands in the middle of something.
        let mut bytes = calls(0x400, 0x90, &[(0x100, 0x10), (0x110, 0x200), (0x120, 0x80)]);
        bytes[0x7f] = 0x48;
        let image = image(vec![code(bytes)], None);
        let functions = Functions::of(&image);
        assert_eq!(functions.described(), 0);
        assert_eq!(functions.start_of(0x1000), None);
        assert_eq!(functions.start_of(0x1010), Some(0x1010));
        assert_eq!(functions.start_of(0x10ff), Some(0x1010));
        assert_eq!(functions.start_of(0x13ff), Some(0x1200));
        assert_eq!(functions.start_of(0x1400), None);
        assert_eq!(functions.end_of(0x1010), Some(0x1200));
        assert_eq!(functions.end_of(0x1200), Some(0x1400));
        assert!(functions.is_start(0x1200) && !functions.is_start(0x1080));
    }

    #[test]
    fn what_is_called_twice_needs_nothing_before_it() {
        let bytes = calls(0x400, 0x48, &[(0x100, 0x80), (0x120, 0x80), (0x130, 0x90)]);
        let image = image(vec![code(bytes)], None);
        let functions = Functions::of(&image);
        assert_eq!(functions.start_of(0x1099), Some(0x1080));
    }

    #[test]
    fn exception_tables_come_first_and_calls_fill_their_gaps() {
        let bytes = calls(0x400, 0x90, &[(0x100, 0x10), (0x110, 0x200)]);
        let image = image(vec![code(bytes), table(&[(0x1040, 0x40), (0x1300, 0x100)])], Some(0x8000));
        let functions = Functions::of(&image);
        assert_eq!(functions.described(), 2);
        assert_eq!(functions.start_of(0x1050), Some(0x1040));
        assert_eq!(functions.end_of(0x1040), Some(0x1080));
        assert_eq!(functions.start_of(0x1020), Some(0x1010));
        // Behind the described one, and before the next one that is called: not known.
        assert_eq!(functions.start_of(0x1090), None);
        assert_eq!(functions.start_of(0x1210), Some(0x1200));
        assert_eq!(functions.end_of(0x1200), Some(0x1300));
    }

    proptest! {
        #[test]
        fn damaged_tables_never_panic(
            header in any::<Option<u64>>(),
            near in 0u64..0x9000,
            bytes in proptest::collection::vec(any::<u8>(), 0..256),
            changes in proptest::collection::vec((0usize..64, any::<u8>()), 0..8),
            asked in any::<u64>(),
        ) {
            let mut frames = table(&[(0x1010, 5), (0x1020, 6)]);
            for (at, byte) in changes {
                if let Some(slot) = frames.bytes.get_mut(at) {
                    *slot = byte;
                }
            }
            let image = image(vec![code(bytes), frames], header.or(Some(0x8000)));
            let functions = Functions::of(&image);
            for address in [asked, near, 0x1000, 0x1012] {
                let start = functions.start_of(address);
                prop_assert!(start.is_none_or(|start| start <= address));
                let _ = functions.end_of(address);
            }
        }
    }
}
