//! An executable file as the searches see it: the bytes of its loadable segments by address, and its tables.
//!
//! Everything in it is untrusted: headers may lie, sections may be missing (stripped) or point anywhere. The file is
//! read, not mapped: one that is cut short meanwhile must not end this process (SIGBUS).

use std::{fs::File, os::unix::fs::FileExt};

use super::openssl::ElfError;

/// `p_flags` of a segment (ELF gABI).
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;

/// Bytes of segments that are read at most; code has been seen up to 250 MB (codex).
const MOST: u64 = 512 << 20;

/// Bytes of a segment of data that are read at most. What searches look for in it, addresses of functions, is at its
/// beginning (`.data.rel.ro`); programs that carry others have a hundred megabytes behind that (bun).
const DATA: u64 = 32 << 20;

/// Loadable segments of a file at most: real ones have ten.
const SEGMENTS: usize = 64;

/// A loadable segment.
pub struct Segment {
    /// Address of its first byte.
    pub address: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// True if it is mapped executable.
    pub executable: bool,
    /// Its bytes, as far as they are in the file.
    pub bytes: Vec<u8>,
}

impl Segment {
    fn contains(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|at| at < self.bytes.len() as u64)
    }
}

/// A section's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// `sh_type` (ELF gABI).
    pub kind: u32,
    /// Name; empty where the names are missing.
    pub name: String,
    /// Address, 0 if it is not loaded.
    pub address: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// `sh_link`
    pub link: u32,
    /// `sh_entsize`
    pub entry_size: u64,
}

/// A file.
pub struct Image {
    /// Segments in the order of the program headers.
    pub segments: Vec<Segment>,
    /// Sections; none if there are none, or if their table is damaged.
    pub sections: Vec<Section>,
    /// NT_GNU_BUILD_ID, if there is one.
    pub build_id: Option<Vec<u8>>,
    /// Address of the program header PT_GNU_EH_FRAME, if there is one: `.eh_frame_hdr`.
    pub eh_frame_header: Option<u64>,
    /// Address of PT_DYNAMIC, if there is one.
    pub dynamic: Option<u64>,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

/// Where bytes come from.
pub trait Source {
    /// All bytes of this range that there are.
    fn read(&self, offset: u64, size: u64) -> Vec<u8>;
}

impl Source for File {
    fn read(&self, offset: u64, size: u64) -> Vec<u8> {
        let length = self.metadata().map(|stat| stat.len()).unwrap_or(0);
        let size = size.min(length.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        bytes.truncate(filled);
        bytes
    }
}

impl Source for &[u8] {
    fn read(&self, offset: u64, size: u64) -> Vec<u8> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let to = usize::try_from(offset.saturating_add(size)).unwrap_or(usize::MAX).min(self.len());
        self.get(from..to).unwrap_or_default().to_vec()
    }
}

impl Image {
    /// Reads a file for x86-64.
    pub fn read(source: &impl Source) -> Result<Self, ElfError> {
        // ELF gABI, "ELF Header": class 64, little endian; e_machine EM_X86_64 = 62.
        let header = source.read(0, 64);
        let ours = header.starts_with(b"\x7fELF\x02\x01") && u16_at(&header, 18) == Some(62);
        let kind = u16_at(&header, 16);
        if !ours || !matches!(kind, Some(2 | 3)) {
            return Err(ElfError::Foreign);
        }
        let damaged = || ElfError::Damaged("program headers");
        let (table, size, count) = (
            u64_at(&header, 32).ok_or_else(damaged)?,
            u16_at(&header, 54).ok_or_else(damaged)?,
            u16_at(&header, 56).ok_or_else(damaged)?,
        );
        if size != 56 || count == 0 {
            return Err(damaged());
        }
        let bytes = source.read(table, u64::from(count) * 56);
        let mut image =
            Self { segments: Vec::new(), sections: Vec::new(), build_id: None, eh_frame_header: None, dynamic: None };
        let mut total = 0u64;
        for entry in bytes.chunks_exact(56) {
            let field = |at| u64_at(entry, at).unwrap_or_default();
            let (offset, address, size) = (field(8), field(16), field(32));
            match u32_at(entry, 0) {
                // PT_LOAD
                Some(1) => {
                    let flags = u32_at(entry, 4).unwrap_or_default();
                    let executable = flags & EXECUTE != 0;
                    let size = if flags & WRITE != 0 && !executable { size.min(DATA) } else { size };
                    total = total.saturating_add(size);
                    if total > MOST || image.segments.len() >= SEGMENTS {
                        return Err(ElfError::Damaged("more than 512 MiB, or 64 segments"));
                    }
                    let bytes = source.read(offset, size);
                    image.segments.push(Segment { address, offset, executable, bytes });
                }
                Some(2) => image.dynamic = Some(address),
                // PT_NOTE
                Some(4) if size < 1 << 16 => {
                    image.build_id = image.build_id.take().or_else(|| build_id(&source.read(offset, size)));
                }
                Some(0x6474_e550) => image.eh_frame_header = Some(address),
                _ => {}
            }
        }
        image.sections = sections(source, &header).unwrap_or_default();
        Ok(image)
    }

    /// Up to `size` bytes from an address on; fewer where the segment ends.
    pub fn bytes(&self, address: u64, size: usize) -> Option<&[u8]> {
        let segment = self.segment(address)?;
        let at = usize::try_from(address - segment.address).ok()?;
        let rest = segment.bytes.get(at..)?;
        rest.get(..size.min(rest.len()))
    }

    /// The segment that holds an address.
    pub fn segment(&self, address: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.contains(address))
    }

    /// The file offset of code at an address; none if there is none.
    pub fn code_offset(&self, address: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| segment.executable && segment.contains(address))?;
        segment.offset.checked_add(address - segment.address)
    }

    /// Segments with code.
    pub fn code(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.executable)
    }

    /// Addresses at which these bytes stand, in all segments.
    pub fn find(&self, needle: &[u8]) -> Vec<u64> {
        let finder = memchr::memmem::Finder::new(needle);
        let within = |segment: &Segment| {
            let address = segment.address;
            finder.find_iter(&segment.bytes).map(move |at| address.wrapping_add(at as u64)).collect::<Vec<_>>()
        };
        self.segments.iter().flat_map(within).collect()
    }

    /// A section by its name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// The build id of a file, without reading more of it than the headers.
pub fn build_id_of(source: &impl Source) -> Option<Vec<u8>> {
    let header = source.read(0, 64);
    if !header.starts_with(b"\x7fELF\x02\x01") || u16_at(&header, 54)? != 56 {
        return None;
    }
    let table = source.read(u64_at(&header, 32)?, u64::from(u16_at(&header, 56)?.min(4096)) * 56);
    table.chunks_exact(56).find_map(|entry| {
        let size = u64_at(entry, 32).filter(|size| *size < 1 << 16)?;
        let offset = u64_at(entry, 8).filter(|_| u32_at(entry, 0) == Some(4))?;
        build_id(&source.read(offset, size))
    })
}

/// What is wrong with a file of this length, in a few words: it is no program of this machine, its headers contradict each
/// other, or it is cut short. `None`: nothing.
pub fn fault(source: &impl Source, length: u64) -> Option<String> {
    let header = source.read(0, 64);
    if !header.starts_with(b"\x7fELF") {
        return Some("not an ELF file".into());
    }
    if let Err(error) = Image::read(source) {
        return Some(error.to_string());
    }
    let (table, count) = (u64_at(&header, 32)?, usize::from(u16_at(&header, 56)?));
    let bytes = source.read(table, count as u64 * 56);
    if bytes.len() < count * 56 {
        return Some("damaged ELF file: its program headers are not in it".into());
    }
    // PT_LOAD: p_offset and p_filesz
    let cut = bytes.chunks_exact(56).filter(|entry| u32_at(entry, 0) == Some(1)).any(|entry| {
        let (offset, size) = (u64_at(entry, 8).unwrap_or_default(), u64_at(entry, 32).unwrap_or_default());
        offset.checked_add(size).is_none_or(|end| end > length)
    });
    cut.then(|| "damaged ELF file: it is cut short, or its segments are not in it".into())
}

/// NT_GNU_BUILD_ID (type 3, name "GNU") in a note segment.
fn build_id(notes: &[u8]) -> Option<Vec<u8>> {
    let mut at = 0usize;
    while let (Some(name), Some(size), Some(kind)) = (u32_at(notes, at), u32_at(notes, at + 4), u32_at(notes, at + 8)) {
        let (name, size) = (usize::try_from(name).ok()?, usize::try_from(size).ok()?);
        let content = (at + 12).checked_add(name.checked_next_multiple_of(4)?)?;
        let end = content.checked_add(size)?;
        if kind == 3 && notes.get(at + 12..at + 16) == Some(b"GNU\0") {
            return notes.get(content..end).filter(|id| !id.is_empty()).map(<[u8]>::to_vec);
        }
        at = content.checked_add(size.checked_next_multiple_of(4)?)?;
    }
    None
}

/// The section table. Stripped files may have none.
fn sections(source: &impl Source, header: &[u8]) -> Option<Vec<Section>> {
    let (table, size, count, names) =
        (u64_at(header, 40)?, u16_at(header, 58)?, u16_at(header, 60)?, u16_at(header, 62)?);
    if size != 64 || table == 0 {
        return None;
    }
    let bytes = source.read(table, u64::from(count) * 64);
    let field = |entry: &[u8], at| u64_at(entry, at).unwrap_or_default();
    let names = bytes.chunks_exact(64).nth(usize::from(names)).map(|entry| (field(entry, 24), field(entry, 32)));
    let names = names.filter(|(_, size)| *size < 1 << 20).map(|(offset, size)| source.read(offset, size));
    let names = names.unwrap_or_default();
    let name = |at: u32| {
        let rest = names.get(usize::try_from(at).ok()?..)?;
        let end = memchr::memchr(0, rest)?;
        Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
    };
    let sections = bytes.chunks_exact(64).map(|entry| Section {
        kind: u32_at(entry, 4).unwrap_or_default(),
        name: u32_at(entry, 0).and_then(name).unwrap_or_default(),
        address: field(entry, 16),
        offset: field(entry, 24),
        size: field(entry, 32),
        link: u32_at(entry, 40).unwrap_or_default(),
        entry_size: field(entry, 56),
    });
    Some(sections.collect())
}
