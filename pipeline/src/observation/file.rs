//! What a process did to files.

use std::time::Duration;

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Deed {
    /// It was opened for reading, and perhaps read.
    Read,
    /// It was opened for writing, and perhaps written; it may have been created by that.
    Write,
    /// A file that is no directory was created by other means than `open` (`mknod`).
    Create,
    /// A name was removed.
    Delete,
    /// It got another name.
    Rename,
    /// It got one more name.
    Link,
    /// A symbolic link was made.
    Symlink,
    /// Its length was set.
    Truncate,
    /// Its permissions were changed.
    Chmod,
    /// Its owner was changed.
    Chown,
    /// A directory was made.
    Mkdir,
    /// A directory was removed.
    Rmdir,
    /// An extended attribute that gives rights was set: capabilities, a label, an access list.
    Setxattr,
    /// One was removed.
    Removexattr,
}

/// One or more equal deeds of one process on one path.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// What was done.
    pub deed: Deed,
    /// Absolute path in the process's view (its root directory and mount namespace).
    pub path: String,
    /// False if the path was put together from what the process named and where it stood: symbolic links on the way
    /// were not followed. True if it is the kernel's own.
    pub resolved: bool,
    /// The other path: the new name (rename, link), or what a symbolic link points to, as it was given; of an extended
    /// attribute its name.
    pub other: Option<String>,
    /// Why it failed (errno(3)); absent if it did not.
    pub error: Option<u32>,
    /// The file's type and permissions as `st_mode` has them: after the deed; for `Chmod` the permissions asked for.
    pub mode: Option<u32>,
    /// `O_…` of the first open; of a rename `RENAME_…`.
    pub flags: Option<u32>,
    /// True if an open created the file.
    pub created: bool,
    /// The new owner (chown).
    pub owner: Option<u32>,
    /// The new group (chown).
    pub group: Option<u32>,
    /// The new length (truncate).
    pub length: Option<u64>,
    /// Bytes read.
    pub read: Option<u64>,
    /// Bytes written.
    pub written: Option<u64>,
    /// True if it was mapped to memory for writing: what is written there is not among the bytes.
    pub mapped: bool,
    /// True if it stands for deeds on several files of one folder, too many to be told each: `path` is then the folder's,
    /// with `/*` at its end.
    pub folded: bool,
    /// System calls that this stands for: opens, reads and writes are each one.
    pub operations: u64,
    /// From the first of them to the last.
    pub duration: Duration,
    /// Which kind of sensitive file it is, as `ssh`, `shell`; absent for others.
    pub sensitive: Option<String>,
}

impl File {
    /// A deed of one system call.
    pub fn new(deed: Deed, path: impl Into<String>) -> Self {
        Self {
            deed,
            path: path.into(),
            resolved: false,
            other: None,
            error: None,
            mode: None,
            flags: None,
            created: false,
            owner: None,
            group: None,
            length: None,
            read: None,
            written: None,
            mapped: false,
            folded: false,
            operations: 1,
            duration: Duration::ZERO,
            sensitive: None,
        }
    }

    /// `file.name`: the last part of the path.
    pub fn name(&self) -> &str {
        self.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// `file.directory`: the path without its last part.
    pub fn directory(&self) -> &str {
        match self.path.trim_end_matches('/').rsplit_once('/') {
            Some(("", _)) => "/",
            Some((directory, _)) => directory,
            None => "",
        }
    }
}

/// Names of the flags of a rename (renameat2(2)).
pub fn rename_flags(flags: u32) -> Vec<String> {
    const NAMES: [(u32, &str); 3] = [(1, "RENAME_NOREPLACE"), (2, "RENAME_EXCHANGE"), (4, "RENAME_WHITEOUT")];
    NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned()).collect()
}

/// Names of the flags of an open (open(2); the numbers of x86, include/uapi/asm-generic/fcntl.h).
pub fn open_flags(flags: u32) -> Vec<String> {
    const NAMES: [(u32, &str); 15] = [
        (0o100, "O_CREAT"),
        (0o200, "O_EXCL"),
        (0o400, "O_NOCTTY"),
        (0o1000, "O_TRUNC"),
        (0o2000, "O_APPEND"),
        (0o4000, "O_NONBLOCK"),
        (0o10000, "O_DSYNC"),
        (0o40000, "O_DIRECT"),
        (0o100_000, "O_LARGEFILE"),
        (0o200_000, "O_DIRECTORY"),
        (0o400_000, "O_NOFOLLOW"),
        (0o1_000_000, "O_NOATIME"),
        (0o2_000_000, "O_CLOEXEC"),
        (0o10_000_000, "O_PATH"),
        (0o20_000_000, "O_TMPFILE"),
    ];
    let access = match flags & 3 {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        _ => "O_RDWR",
    };
    let others = NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
    std::iter::once(access).chain(others).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_name_and_a_directory() {
        for (path, directory, name) in [("/a/b.c", "/a", "b.c"), ("/b", "/", "b"), ("/a/d/", "/a", "d"), ("b", "", "b")]
        {
            let file = File::new(Deed::Write, path);
            assert_eq!((file.directory(), file.name()), (directory, name));
        }
    }

    #[test]
    fn flags_are_named() {
        assert_eq!(open_flags(0o101), ["O_WRONLY", "O_CREAT"]);
        assert_eq!(open_flags(0), ["O_RDONLY"]);
        assert_eq!(open_flags(0o20_200_002), ["O_RDWR", "O_DIRECTORY", "O_TMPFILE"]);
    }
}
