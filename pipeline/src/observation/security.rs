//! What a process did that changes rights, reaches into other processes or into the kernel.

use std::net::SocketAddr;

use crate::ids::ProcessKey;

/// Real, effective and saved user or group id (credentials(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Real.
    pub real: u32,
    /// Effective.
    pub effective: u32,
    /// Saved.
    pub saved: u32,
}

/// Another process that was reached for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its id as it was given: negative for process groups (kill(2)).
    pub pid: i64,
    /// True if that id counts in a PID namespace of the caller's own, and the host's is not known.
    pub inner: bool,
    /// Which process that is, if it was known.
    pub process: Option<ProcessKey>,
}

/// What was done, or tried.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// User ids were set.
    SetUser {
        /// Before.
        old: Ids,
        /// After; of a failed call, what they stayed.
        new: Ids,
    },
    /// Group ids were set.
    SetGroup {
        /// Before.
        old: Ids,
        /// After; of a failed call, what they stayed.
        new: Ids,
    },
    /// The id that counts for files was set (setfsuid(2), setfsgid(2)).
    SetFileSystemId {
        /// True: the group's.
        group: bool,
        /// Before.
        old: u32,
        /// After.
        new: u32,
    },
    /// Supplementary groups were set (setgroups(2)).
    SetGroups {
        /// The first of them.
        groups: Vec<u32>,
        /// How many there are.
        count: u64,
    },
    /// Effective capabilities were set: bits as in include/uapi/linux/capability.h.
    Capabilities {
        /// Before.
        old: u64,
        /// After.
        new: u64,
    },
    /// Another process was attached to, or asked to be traced (ptrace(2)).
    Trace {
        /// `PTRACE_…`
        request: u64,
        /// Whom.
        target: Target,
    },
    /// Another process's memory was read or written (process_vm_readv(2)).
    Memory {
        /// True: written.
        write: bool,
        /// Whose.
        target: Target,
        /// Bytes moved.
        bytes: u64,
    },
    /// A descriptor of another process was taken (pidfd_getfd(2)).
    Descriptor {
        /// Whose.
        target: Target,
    },
    /// A file system was mounted, remounted or moved.
    Mount {
        /// What.
        source: Option<String>,
        /// Where.
        target: Option<String>,
        /// Type of file system.
        kind: Option<String>,
        /// `MS_…`
        flags: u64,
    },
    /// A file system was unmounted.
    Unmount {
        /// Where.
        target: Option<String>,
        /// `MNT_…`
        flags: u64,
    },
    /// The root directory was changed (chroot(2), pivot_root(2)).
    Root {
        /// To what.
        target: Option<String>,
    },
    /// New namespaces were made, or others entered (unshare(2), setns(2), clone(2)).
    Namespaces {
        /// `CLONE_NEW…`
        flags: u64,
    },
    /// A kernel module was loaded or removed.
    Module {
        /// Name or path, where it is known.
        name: Option<String>,
        /// True: removed.
        removed: bool,
    },
    /// The kernel was given or asked about a BPF program or map (bpf(2)).
    Bpf {
        /// `BPF_…`, a number of `enum bpf_cmd`.
        command: u64,
    },
    /// A file without a place in any directory was made (memfd_create(2)).
    Memfd {
        /// The name it was given.
        name: Option<String>,
    },
    /// Such a file was executed.
    MemfdExec {
        /// The name it was given.
        name: Option<String>,
    },
    /// A port was bound on an address that others can reach.
    Bind {
        /// The address.
        address: SocketAddr,
    },
    /// A process outside its own tree was sent a signal.
    Signal {
        /// Which.
        signal: u32,
        /// Whom.
        target: Target,
    },
    /// Something that is the whole host's was changed or asked for: its name, its clock, its keys, a restart.
    System {
        /// A name or path that goes with the call.
        name: Option<String>,
        /// What exactly was asked for.
        request: Option<String>,
        /// The process that it is about.
        target: Option<Target>,
    },
    /// The process works through an io_uring (io_uring(7)): what it does there is not among its files and connections.
    IoUring {
        /// Which operation (`IORING_OP_…`); absent: the ring was made.
        operation: Option<u32>,
    },
    /// A file on which the security of the host or of an account rests was changed.
    SensitiveFile {
        /// Its path.
        path: String,
        /// Which kind of file it is, as `ssh`.
        category: String,
    },
}

/// Something that changes rights or reaches beyond the process.
#[derive(Clone, Debug, PartialEq)]
pub struct Security {
    /// What.
    pub action: Action,
    /// By which system call, as `setresuid`.
    pub call: &'static str,
    /// Why it failed (errno(3)); absent if it did not.
    pub error: Option<u32>,
    /// How many equal ones this stands for.
    pub operations: u64,
}
