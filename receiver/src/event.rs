//! What the probes tell, decoded. These are the raw events of a run: `--record` keeps them and `replay` reads them
//! back, so everything downstream of here is a function of them.
//!
//! Times are nanoseconds since boot (`bpf_ktime_get_boot_ns`); [`crate::event::Clock`] turns them into wall time.

pub mod deeds;

use std::net::SocketAddr;

use bytes::Bytes;
use pipeline::{
    ProcessKey, Timestamp,
    observation::{Endpoint, Failure, Transport},
};

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
    /// A watched process used a socket or pipe for the first time.
    Socket(Socket),
    /// A TLS object's records go through this socket: the thread that wrote plaintext sent on it next, or the one that
    /// read plaintext received from it just before. Told when it becomes known, and again when it changes.
    Pair {
        /// The TLS object (`Chunk::object`).
        object: u64,
        /// `Socket::id`
        socket: u64,
        /// The direction that it is known for; both, where the object has both (`Source::Tls`).
        direction: Direction,
    },
    /// A connection's outcome or end, or a place where connections are accepted.
    Network(Box<Network>),
    /// Something was done with a file.
    File(Box<deeds::FileEvent>),
    /// A system call that changes rights or reaches beyond the process.
    Security(Box<deeds::SecurityEvent>),
    /// A process closed a socket or pipe that it had used, or ended with it open.
    SocketClose {
        /// `Socket::id`
        socket: u64,
        /// Bytes that this process sent through it.
        sent: u64,
        /// Bytes that it received.
        received: u64,
    },
}

/// What kind of thing a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// A TCP connection.
    Tcp,
    /// A UDP socket.
    Udp,
    /// A local socket (AF_UNIX), as Node uses for a child's standard streams.
    Unix,
    /// A pipe.
    Pipe,
}

/// A socket or pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Inode of the socket or pipe: the same in every process that holds it, unique while it lives. Two ends of a socket
    /// pair have two, the ends of a pipe one.
    pub id: u64,
    /// Kind.
    pub kind: SocketKind,
    /// Own address (TCP, UDP).
    pub local: Option<SocketAddr>,
    /// The other end's address (TCP, connected UDP).
    pub peer: Option<SocketAddr>,
    /// The id of the other end of a local socket pair, where it is known.
    pub other: Option<u64>,
    /// True if the first bytes that moved were received.
    pub received: bool,
}

/// What was done with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Action {
    /// The outcome of a connect is known.
    Connect,
    /// A TCP connection is over that was told before, whoever held it last.
    Close {
        /// Bytes that this side sent.
        sent: u64,
        /// Bytes that it received.
        received: u64,
    },
    /// It waits for connections.
    Listen {
        /// How many may wait.
        backlog: u32,
    },
    /// A connection was accepted.
    Accept,
}

/// A connection's outcome or end, or a place where connections are accepted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Network {
    /// What was done.
    pub action: Action,
    /// `Socket::id`
    pub socket: u64,
    /// When it was asked for, or accepted: ns since boot.
    pub began: u64,
    /// What carries the bytes.
    pub transport: Transport,
    /// Own end.
    pub local: Option<Endpoint>,
    /// The other end.
    pub peer: Option<Endpoint>,
    /// Why it failed, or was broken off.
    pub error: Option<Failure>,
}

/// Where bytes were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// At a TLS library: the object has both directions (`SSL *`, a Go `*tls.Conn`).
    #[default]
    Tls,
    /// At one direction's record protection (rustls, an AEAD): the objects of the two directions differ, and only the
    /// socket ties them.
    Record,
    /// On a socket, as they are on the wire: what began as HTTP. `object` is the socket's id.
    Socket,
    /// On a pipe or local socket: what began as JSON-RPC. `object` is its id.
    Pipe,
    /// On a socket that carries TLS, as they are on the wire: the beginning of a call only, much of the first ones (the
    /// ClientHello), little of later ones. `object` is the socket's id; the rest of the call never comes.
    Handshake,
    /// A DNS message over UDP. `object` is the socket's id.
    Dns,
}

/// The file of a program, as the kernel names it: not on all file systems as `stat` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Program {
    /// Inode.
    pub inode: u64,
    /// Device: `major << 20 | minor`.
    pub dev: u32,
}

impl Program {
    /// Device, as `stat` writes it, and inode.
    pub fn file(self) -> (u64, u64) {
        (user_dev(self.dev), self.inode)
    }
}

/// The kernel's `dev_t` (12 bits major, 20 bits minor: include/linux/kdev_t.h) as `stat` gives it.
pub(crate) fn user_dev(dev: u32) -> u64 {
    libc::makedev(dev >> 20, dev & 0xf_ffff)
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
    /// The file that is executed: of a script, its interpreter. Not recorded.
    pub program: Option<Program>,
}

/// Part of the plaintext of one TLS call. The chunks of a call come in order of `offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where the bytes were seen.
    pub source: Source,
    /// Address of the TLS object, or the socket's id (see [`Source`]).
    pub object: u64,
    /// The socket (`Socket::id`) that the thread received from before this was read; 0: not known. What was written is
    /// told by [`EventKind::Pair`].
    pub socket: u64,
    /// Which way.
    pub direction: Direction,
    /// Bytes that the whole call moved.
    pub total: u64,
    /// Where this piece begins in them.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}
