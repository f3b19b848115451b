//! OpenSSL and everything that exports its names (libssl 1.1 and 3, BoringSSL and node built with exports).
//!
//! Functions are found by name in `.dynsym`, else in `.symtab`.

use object::ReadRef;

use super::{
    names::{self, Table},
    plan::{Plan, Probe, Site, Stack},
};

/// File offsets of the functions through which plaintext passes. `None`: the file does not define it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Functions {
    /// `int SSL_read(SSL *, void *, int)`
    pub read: Option<u64>,
    /// `int SSL_write(SSL *, const void *, int)`
    pub write: Option<u64>,
    /// `int SSL_read_ex(SSL *, void *, size_t, size_t *readbytes)`
    pub read_ex: Option<u64>,
    /// `int SSL_write_ex(SSL *, const void *, size_t, size_t *written)`
    pub write_ex: Option<u64>,
    /// `void SSL_free(SSL *)`
    pub free: Option<u64>,
}

impl Functions {
    /// True if bytes can be seen in at least one direction.
    pub fn is_useful(&self) -> bool {
        self.read.or(self.write).or(self.read_ex).or(self.write_ex).is_some()
    }

    /// Names of the functions that were found.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            (self.read, "SSL_read"),
            (self.write, "SSL_write"),
            (self.read_ex, "SSL_read_ex"),
            (self.write_ex, "SSL_write_ex"),
            (self.free, "SSL_free"),
        ];
        all.into_iter().filter_map(|(offset, name)| offset.map(|_| name)).collect()
    }

    /// The plan for these functions; none if nothing would be seen.
    pub fn plan(&self) -> Option<Plan> {
        let all = [
            // Writing first: the request of a process that just starts is the most urgent.
            (self.write, Probe::Write, "SSL_write"),
            (self.write_ex, Probe::WriteEx, "SSL_write_ex"),
            (self.read, Probe::Read, "SSL_read"),
            (self.read_ex, Probe::ReadEx, "SSL_read_ex"),
            (self.free, Probe::Free, "SSL_free"),
        ];
        let sites = all.into_iter().filter_map(|(offset, probe, name)| Some(Site::new(probe, name, offset?)));
        self.is_useful().then(|| Plan {
            stack: Stack::OpenSsl,
            method: "names of functions".to_owned(),
            sites: sites.collect(),
        })
    }

    /// Takes a function, if it is one of these; of several with one name the first.
    pub fn take(&mut self, name: &[u8], offset: u64) {
        if let Some(slot) = self.slot(name) {
            slot.get_or_insert(offset);
        }
    }

    fn slot(&mut self, name: &[u8]) -> Option<&mut Option<u64>> {
        match name {
            b"SSL_read" => Some(&mut self.read),
            b"SSL_write" => Some(&mut self.write),
            b"SSL_read_ex" => Some(&mut self.read_ex),
            b"SSL_write_ex" => Some(&mut self.write_ex),
            b"SSL_free" => Some(&mut self.free),
            _ => None,
        }
    }
}

/// Why a file cannot be looked into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// Not an ELF file of this machine's word size and architecture.
    #[error("not an executable or library of this machine")]
    Foreign,
    /// Its tables contradict each other or point outside of the file.
    #[error("damaged ELF file: {0}")]
    Damaged(&'static str),
}

/// Finds the functions in an ELF file. A file that is fine but has none of them gives the default (all `None`).
pub fn find<'data, R: ReadRef<'data>>(data: R) -> Result<Functions, ElfError> {
    let mut found = Functions::default();
    for table in [Table::Exported, Table::All] {
        names::each(data, table, &[b"SSL_"], &mut |name, offset| found.take(name, offset))?;
        if found.is_useful() {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::targets::testing;

    #[test]
    fn functions_are_found_and_translated_to_file_offsets() {
        let file = testing::elf(&[("SSL_read", 0x40_1010), ("SSL_write_ex", 0x40_1020), ("SSL_free", 0x40_1030)]);
        let found = find(file.as_slice()).unwrap();
        assert_eq!(found.read, Some(0x1010));
        assert_eq!(found.write_ex, Some(0x1020));
        assert_eq!(found.free, Some(0x1030));
        assert_eq!(found.write, None);
        assert_eq!(found.names(), ["SSL_read", "SSL_write_ex", "SSL_free"]);
    }

    #[test]
    fn other_names_and_addresses_outside_of_code_are_left_out() {
        let file = testing::elf(&[("SSL_reader", 0x40_1010), ("XSSL_read", 0x40_1010), ("SSL_write", 0x90_0000)]);
        assert_eq!(find(file.as_slice()).unwrap(), Functions::default());
    }

    #[test]
    fn what_is_not_elf_is_an_error() {
        assert_eq!(find(b"#!/bin/sh\n".as_slice()), Err(ElfError::Foreign));
        assert_eq!(find(b"".as_slice()), Err(ElfError::Foreign));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(
            cut in 0usize..9000,
            changes in proptest::collection::vec((0usize..9000, any::<u8>()), 0..24),
        ) {
            let mut file = testing::elf(&[("SSL_read", 0x40_1010), ("SSL_write", 0x40_1020)]);
            for (at, byte) in changes {
                if let Some(slot) = file.get_mut(at) {
                    *slot = byte;
                }
            }
            file.truncate(cut.max(1));
            let _ = find(file.as_slice());
        }

        #[test]
        fn damaged_headers_never_panic(changes in proptest::collection::vec((0usize..1600, any::<u8>()), 1..16)) {
            let mut file = testing::elf(&[("SSL_read", 0x40_1010), ("SSL_write", 0x40_1020)]);
            let tail = file.len().saturating_sub(1600);
            for (at, byte) in changes {
                // Half of the changes hit the header, half the tables at the end.
                let at = if at % 2 == 0 { at % 128 } else { tail + at };
                if let Some(slot) = file.get_mut(at) {
                    *slot = byte;
                }
            }
            let _ = find(file.as_slice());
        }
    }
}
