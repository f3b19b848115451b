//! Which build of a program runs: its ids, remembered by file.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use pipeline::{ids::hex, observation::Build};
use sha2::{Digest, Sha256};

use super::image;

/// Most files that are remembered.
const CAPACITY: usize = 4096;
/// Bytes of each end of a file in its htlhash.
const END: u64 = 4096;

/// Ids by device, inode, size and time of change: a file that is overwritten has new ones.
#[derive(Debug, Default)]
pub struct Builds(HashMap<(u64, u64, u64, i64, i64), Option<Build>>);

impl Builds {
    /// The ids of the file at a path; `None` if it cannot be read or is no ELF file.
    pub fn of(&mut self, path: &Path) -> Option<Build> {
        let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        let key = (meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec());
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        let found = read(path, meta.size());
        if self.0.len() >= CAPACITY {
            self.0.clear();
        }
        self.0.insert(key, found.clone());
        found
    }
}

fn read(path: &Path, size: u64) -> Option<Build> {
    let file = File::open(path).ok()?;
    let ends = |from: u64, to: u64| {
        let mut bytes = vec![0; usize::try_from(to - from).ok()?];
        file.read_exact_at(&mut bytes, from).ok()?;
        Some(bytes)
    };
    let head = ends(0, END.min(size))?;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    // process.executable.build_id.htlhash (semantic conventions, process.md, "Algorithm for htlhash").
    let mut hash = Sha256::new();
    hash.update(&head);
    hash.update(ends(size.saturating_sub(END), size)?);
    hash.update(size.to_be_bytes());
    let digest = hash.finalize();
    Some(Build { gnu: image::build_id_of(&file).map(|id| hex(&id)), hash: hex(digest.get(..16).unwrap_or_default()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_ids_and_a_script_none() {
        let mut builds = Builds::default();
        let own = std::env::current_exe().unwrap();
        let build = builds.of(&own).unwrap();
        assert_eq!(build.hash.len(), 32);
        assert!(build.gnu.as_ref().is_none_or(|id| id.len() == 40));
        assert_eq!(builds.of(&own), Some(build));
        assert_eq!(builds.of(Path::new("/nonexistent")), None);
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("x.sh");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        assert_eq!(builds.of(&script), None);
        assert_eq!(builds.of(folder.path()), None);
    }

    #[test]
    fn the_hash_is_that_of_the_conventions() {
        // Both ends of a short file are the whole file.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short");
        std::fs::write(&path, b"\x7fELF").unwrap();
        let expected = Sha256::digest(b"\x7fELF\x7fELF\0\0\0\0\0\0\0\x04");
        assert_eq!(Builds::default().of(&path).unwrap().hash, hex(&expected[..16]));
    }
}
