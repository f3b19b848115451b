//! Functions by their names: in `.dynsym`, which every library keeps, or in `.symtab`, which stripping removes.
//!
//! The tables are read where they are in the file (ELF gABI, "Symbol Table"); a uprobe wants *file* offsets, so an
//! address is translated through the executable segment that holds it (ELF gABI, "Program Header").

use object::{
    Endianness, ReadRef, StringTable,
    elf::{self, FileHeader64},
    read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym},
};

use super::openssl::ElfError;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// `.dynsym`
    Exported,
    /// `.symtab`
    All,
}

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;

/// The longest name of interest, with its end.
const LONGEST: usize = 32;

/// Calls back with name and file offset of each function that the file defines in code, and whose name begins with one
/// of these.
pub fn each<'data, R: ReadRef<'data>>(
    data: R,
    table: Table,
    beginnings: &[&[u8]],
    callback: &mut dyn FnMut(&[u8], u64),
) -> Result<(), ElfError> {
    let header = FileHeader64::<Endianness>::parse(data).map_err(|_| ElfError::Foreign)?;
    let endian = header.endian().map_err(|_| ElfError::Foreign)?;
    if header.e_machine(endian) != MACHINE {
        return Err(ElfError::Foreign);
    }
    let segments = header.program_headers(endian, data).map_err(|_| ElfError::Damaged("program headers"))?;
    // Names of sections are not needed.
    let sections = header
        .section_headers(endian, data)
        .map(|headers| SectionTable::<FileHeader64<Endianness>, R>::new(headers, StringTable::default()))
        .map_err(|_| ElfError::Damaged("section headers"))?;
    let to_offset = |address: u64| {
        segments.iter().find_map(|segment| {
            let start: u64 = segment.p_vaddr(endian);
            let inside = address.checked_sub(start).filter(|at| *at < segment.p_filesz(endian))?;
            let executable = segment.p_type(endian) == elf::PT_LOAD && segment.p_flags(endian).contains(elf::PF_X);
            segment.p_offset(endian).checked_add(inside).filter(|_| executable)
        })
    };
    let kind = match table {
        Table::Exported => elf::SHT_DYNSYM,
        Table::All => elf::SHT_SYMTAB,
    };
    let symbols = sections.symbols(endian, data, kind).map_err(|_| ElfError::Damaged("symbol table"))?;
    if symbols.is_empty() {
        return Ok(());
    }
    // The strings as one slice: a look-up per symbol would be a read per symbol on a file that is not in memory.
    let strings = sections
        .section(symbols.string_section())
        .and_then(|section| section.data(endian, data))
        .map_err(|_| ElfError::Damaged("symbol names"))?;
    for symbol in symbols.iter() {
        let Some(name) = usize::try_from(symbol.st_name(endian)).ok().and_then(|at| strings.get(at..)) else {
            continue;
        };
        if !beginnings.iter().any(|beginning| name.starts_with(beginning)) {
            continue;
        }
        let Some(end) = name.iter().take(LONGEST).position(|byte| *byte == 0) else { continue };
        if symbol.is_undefined(endian) {
            continue;
        }
        if let (Some(name), Some(offset)) = (name.get(..end), to_offset(symbol.st_value(endian))) {
            callback(name, offset);
        }
    }
    Ok(())
}
