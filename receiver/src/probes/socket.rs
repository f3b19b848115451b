//! `socket.bpf.c`: sockets and pipes of watched processes, at the exits of system calls.

use aya::{Ebpf, programs::TracePoint};

use super::{
    ProbeStatus, chain,
    process::{hint, with_tracefs},
};

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

/// A program, and the event it sits at.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("socket_read", "sys_exit_read", "socket/read"),
    ("socket_write", "sys_exit_write", "socket/write"),
    ("socket_recvfrom", "sys_exit_recvfrom", "socket/recvfrom"),
    ("socket_sendto", "sys_exit_sendto", "socket/sendto"),
    ("socket_readv", "sys_exit_readv", "socket/readv"),
    ("socket_writev", "sys_exit_writev", "socket/writev"),
    ("socket_recvmsg", "sys_exit_recvmsg", "socket/recvmsg"),
    ("socket_sendmsg", "sys_exit_sendmsg", "socket/sendmsg"),
    ("socket_sendmmsg", "sys_exit_sendmmsg", "socket/sendmmsg"),
    ("socket_recvmmsg", "sys_exit_recvmmsg", "socket/recvmmsg"),
    ("socket_close", "sys_enter_close", "socket/close"),
];

/// Loads and attaches each program on its own.
pub fn attach(ebpf: &mut Ebpf) -> Vec<ProbeStatus> {
    let mut status = Vec::new();
    let done = with_tracefs(|| {
        for (program, event, name) in PROGRAMS {
            let result = match ebpf.program_mut(program).map(<&mut TracePoint>::try_from) {
                Some(Ok(program)) => program
                    .load()
                    .and_then(|()| program.attach("syscalls", event))
                    .map(drop)
                    .map_err(|error| chain(&error)),
                _ => Err(format!("the probe object has no program {program}")),
            };
            status.push(line(name, result));
        }
        Ok(())
    });
    if let Err(error) = done {
        status = PROGRAMS.iter().map(|(_, _, name)| line(name, Err(error.clone()))).collect();
    }
    status
}

fn line(name: &str, result: Result<(), String>) -> ProbeStatus {
    let purpose = match name {
        "socket/sendmmsg" => "names that are looked up",
        "socket/recvmmsg" => "datagrams that are received many at a time",
        "socket/close" => "the end of connections",
        _ => "plain HTTP, MCP over pipes, the connections under TLS",
    };
    ProbeStatus { name: name.into(), purpose, hint: hint(&result), error: result.err() }
}
