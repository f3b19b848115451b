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

/// What is attached for sockets. Before those of files, to which they go on.
pub(super) const GROUPS: &[Group] = &[
    Group::of("socket/read", USE, &[Program::at("socket_read", &[(libc::SYS_read, "read")])]),
    Group::of("socket/write", USE, &[Program::at("socket_write", &[(libc::SYS_write, "write")])]),
    Group::of("socket/recvfrom", USE, &[Program::at("socket_recvfrom", &[(libc::SYS_recvfrom, "recvfrom")])]),
    Group::of("socket/sendto", USE, &[Program::at("socket_sendto", &[(libc::SYS_sendto, "sendto")])]),
    Group::of("socket/readv", USE, &[Program::at("socket_readv", &[(libc::SYS_readv, "readv")])]),
    Group::of("socket/writev", USE, &[Program::at("socket_writev", &[(libc::SYS_writev, "writev")])]),
    Group::of("socket/recvmsg", USE, &[Program::at("socket_recvmsg", &[(libc::SYS_recvmsg, "recvmsg")])]),
    Group::of("socket/sendmsg", USE, &[Program::at("socket_sendmsg", &[(libc::SYS_sendmsg, "sendmsg")])]),
    Group::of(
        "socket/sendmmsg",
        "names that are looked up",
        &[Program::at("socket_sendmmsg", &[(libc::SYS_sendmmsg, "sendmmsg")])],
    ),
    Group::of(
        "socket/recvmmsg",
        "datagrams that are received many at a time",
        &[Program::at("socket_recvmmsg", &[(libc::SYS_recvmmsg, "recvmmsg")])],
    ),
    Group::of(
        "socket/close",
        "the end of connections",
        &[Program::entry("socket_close", &[(libc::SYS_close, "close")])],
    ),
];
