//! What the probes tell, decoded. These are the raw events of a run: `--record` keeps them and `replay` reads them
//! back, so everything downstream of here is a function of them.
//!
//! Times are nanoseconds since boot (`bpf_ktime_get_boot_ns`); [`crate::event::Clock`] turns them into wall time.

use bytes::Bytes;
use pipeline::{ProcessKey, Timestamp};

/// Difference between wall time and time since boot, measured once at start and kept in the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Clock {
    /// Wall time (Unix, ns) at boot.
    pub boot: u64,
}

impl Clock {
    /// Wall time of a kernel time.
    pub fn wall(self, since_boot: u64) -> Timestamp {
        Timestamp(self.boot.saturating_add(since_boot))
    }
}

/// Direction of plaintext as the observed process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It was received (`SSL_read`).
    Read,
    /// It was sent (`SSL_write`).
    Write,
}

/// A process event or a piece of plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds since boot.
    pub time: u64,
    /// The process it happened in (for a fork: the parent).
    pub process: ProcessKey,
    /// The thread it happened in.
    pub tid: u32,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// `sched_process_exec`: a program was executed successfully.
    Exec(Exec),
    /// `sched_process_fork` of a process (not of a thread).
    Fork {
        /// The new process.
        child: ProcessKey,
    },
    /// The last thread of a process ended: once per process.
    Exit {
        /// Exit code, 0 to 255.
        code: i32,
        /// Signal that killed it; 0 if none.
        signal: i32,
    },
    /// A file was mapped executable for the first time: its code may hold a TLS library.
    Map {
        /// Device of the file, as `stat` gives it (`major << 8 | minor` in the kernel's own encoding is converted by the decoder).
        dev: u64,
        /// Inode.
        inode: u64,
    },
    /// A piece of one TLS read or write, captured at return.
    Data(Chunk),
    /// The TLS object was freed.
    Close {
        /// Its address.
        object: u64,
    },
}

/// A successful exec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    /// The parent process.
    pub parent: ProcessKey,
    /// File name given to exec (may be relative, or a script's name).
    pub filename: String,
    /// Arguments, NUL-separated, at most 4 KiB, as the kernel copied them; lossy UTF-8. Masked before it is recorded.
    pub args: Vec<String>,
    /// True if there was more.
    pub args_truncated: bool,
    /// Working directory, absolute; empty if it could not be told.
    pub cwd: String,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Cgroup id (v2).
    pub cgroup_id: u64,
}

/// Part of the plaintext of one TLS call. The chunks of a call come in order of `offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Address of the TLS object.
    pub object: u64,
    /// Which way.
    pub direction: Direction,
    /// Bytes that the whole call moved.
    pub total: u64,
    /// Where this piece begins in them.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}
