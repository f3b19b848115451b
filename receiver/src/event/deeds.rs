//! What processes do to files and to the machine, as the probes tell it.

use std::net::SocketAddr;

use pipeline::observation::Ids;
use serde::{Deserialize, Serialize};

/// A path in the process's view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The path: absolute, unless its beginning is not known (then it begins with `…`), or it is a file in memory.
    pub path: String,
    /// True if the kernel's own path of the file; false if put together from what the process named.
    pub resolved: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileDeed {
    /// It was opened for writing, or could not be opened.
    Open,
    /// What was done with an open file since it was last told.
    Use,
    /// `mknod`
    Create,
    /// `unlink`
    Delete,
    /// `rename`
    Rename,
    /// `link`
    Link,
    /// `symlink`; the other path is what it points to.
    Symlink,
    /// `truncate`
    Truncate,
    /// `chmod`
    Chmod,
    /// `chown`
    Chown,
    /// `mkdir`
    Mkdir,
    /// `rmdir`
    Rmdir,
    /// `setxattr`; the other path is the attribute's name.
    Setxattr,
    /// `removexattr`; the other path is the attribute's name.
    Removexattr,
}

/// Something was done with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEvent {
    /// What.
    pub deed: FileDeed,
    /// Where.
    pub place: Place,
    /// New name (rename, link), what a symbolic link points to, or an attribute's name.
    pub other: Option<Place>,
    /// errno; 0: it succeeded.
    pub error: u32,
    /// `O_…`; of a rename `RENAME_…`.
    pub flags: u32,
    /// `st_mode`, or the mode that was asked for.
    pub mode: u32,
    /// New owner (chown); `u32::MAX`: as it was.
    pub uid: u32,
    /// New group (chown); `u32::MAX`: as it was.
    pub gid: u32,
    /// New length (truncate).
    pub length: u64,
    /// Reads.
    pub reads: u32,
    /// Writes.
    pub writes: u32,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Since when `reads` and `writes` are counted: ns since boot.
    pub began: u64,
    /// The open made the file.
    pub created: bool,
    /// The open itself is among what is told.
    pub opened: bool,
    /// A descriptor of it was closed.
    pub closed: bool,
    /// It was mapped so that memory is written to it.
    #[serde(default)]
    pub mapped: bool,
}

/// Ids and capabilities of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// User ids: real, effective, saved.
    pub user: [u32; 3],
    /// Group ids: real, effective, saved.
    pub group: [u32; 3],
    /// Effective capabilities.
    pub capabilities: u64,
}

impl Rights {
    /// The user ids.
    pub fn users(self) -> Ids {
        let [real, effective, saved] = self.user;
        Ids { real, effective, saved }
    }

    /// The group ids.
    pub fn groups(self) -> Ids {
        let [real, effective, saved] = self.group;
        Ids { real, effective, saved }
    }
}

/// A system call that changes rights or reaches beyond the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityEvent {
    /// Its name; `memfd_exec` for the execution of a file in memory, `io_uring_enter` for operations of a ring.
    pub call: String,
    /// errno; 0: it succeeded.
    pub error: u32,
    /// What it answered.
    pub result: i64,
    /// Its first arguments.
    pub arguments: [u64; 4],
    /// How deep the PID namespace is in which the arguments count processes; 0: the host's.
    pub level: u32,
    /// Rights before.
    pub old: Rights,
    /// Rights after.
    pub new: Rights,
    /// A path or name.
    pub place: Option<Place>,
    /// Another one.
    pub other: Option<Place>,
    /// A short text; of `setgroups` the first groups, with commas.
    pub text: String,
    /// An address.
    pub address: Option<SocketAddr>,
}
