//! `socket.bpf.c`: sockets and pipes of watched processes, at the returns of system calls.

use super::calls::{Group, Program};

/// What is taken from sockets and pipes (`enum capture`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// HTTP.
    pub http: bool,
    /// JSON-RPC on pipes and local sockets.
    pub mcp: bool,
    /// Connections, and the beginnings of those with TLS.
    pub network: bool,
    /// Look-ups of names.
    pub dns: bool,
    /// The sockets under TLS connections: without, the directions of a rustls connection cannot be brought together.
    pub sockets: bool,
}

impl Default for Capture {
    fn default() -> Self {
        Self { http: true, mcp: true, network: true, dns: true, sockets: true }
    }
}

impl Capture {
    /// Whether there is anything to attach for.
    pub fn any(self) -> bool {
        self.http || self.mcp || self.network || self.dns || self.sockets
    }

    /// As the kernel side reads it.
    pub(super) fn bits(self) -> u32 {
        u32::from(self.http) | u32::from(self.mcp) << 1 | u32::from(self.network) << 2 | u32::from(self.dns) << 3
    }
}

const USE: &str = "plain HTTP, MCP over pipes, the connections under TLS";

const fn group(name: &'static str, purpose: &'static str, programs: &'static [Program]) -> Group {
    Group { name, purpose, programs, tracepoints: &[], first: &[] }
}

const fn at(name: &'static str, calls: &'static [(i64, &'static str)]) -> Program {
    Program { name, entry: false, calls }
}

/// What is attached for sockets. Before those of files, to which they go on.
pub(super) const GROUPS: &[Group] = &[
    group("socket/read", USE, &[at("socket_read", &[(libc::SYS_read, "read")])]),
    group("socket/write", USE, &[at("socket_write", &[(libc::SYS_write, "write")])]),
    group("socket/recvfrom", USE, &[at("socket_recvfrom", &[(libc::SYS_recvfrom, "recvfrom")])]),
    group("socket/sendto", USE, &[at("socket_sendto", &[(libc::SYS_sendto, "sendto")])]),
    group("socket/readv", USE, &[at("socket_readv", &[(libc::SYS_readv, "readv")])]),
    group("socket/writev", USE, &[at("socket_writev", &[(libc::SYS_writev, "writev")])]),
    group("socket/recvmsg", USE, &[at("socket_recvmsg", &[(libc::SYS_recvmsg, "recvmsg")])]),
    group("socket/sendmsg", USE, &[at("socket_sendmsg", &[(libc::SYS_sendmsg, "sendmsg")])]),
    group("socket/sendmmsg", "names that are looked up", &[at("socket_sendmmsg", &[(libc::SYS_sendmmsg, "sendmmsg")])]),
    group(
        "socket/recvmmsg",
        "datagrams that are received many at a time",
        &[at("socket_recvmmsg", &[(libc::SYS_recvmmsg, "recvmmsg")])],
    ),
    group(
        "socket/close",
        "the end of connections",
        &[Program { name: "socket_close", entry: true, calls: &[(libc::SYS_close, "close")] }],
    ),
];
