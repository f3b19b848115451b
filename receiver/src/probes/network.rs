//! `network.bpf.c`: connections of watched processes, by the states of TCP and the returns of system calls.

use super::calls::{Group, Program};

const fn group(
    name: &'static str,
    purpose: &'static str,
    programs: &'static [Program],
    tracepoints: &'static [(&'static str, &'static str)],
) -> Group {
    Group { name, purpose, programs, tracepoints, first: &[] }
}

const fn at(name: &'static str, calls: &'static [(i64, &'static str)]) -> Program {
    Program { name, entry: false, calls }
}

const CONNECT: &[(i64, &str)] = &[(libc::SYS_connect, "connect")];

/// What is attached for connections.
pub(super) const GROUPS: &[Group] = &[
    group("network/state", "outcomes and ends of TCP connections", &[], &[("network_state", "inet_sock_set_state")]),
    group(
        "network/connect.enter",
        "when connects begin",
        &[Program { name: "network_enter_connect", entry: true, calls: CONNECT }],
        &[],
    ),
    group(
        "network/connect",
        "connects by local sockets, and those that fail at once",
        &[at("network_connect", CONNECT)],
        &[],
    ),
    group(
        "network/listen",
        "where connections are waited for",
        &[at("network_listen", &[(libc::SYS_listen, "listen")])],
        &[],
    ),
    group("network/accept", "accepted connections", &[at("network_accept", &[(libc::SYS_accept, "accept")])], &[]),
    group("network/accept4", "accepted connections", &[at("network_accept4", &[(libc::SYS_accept4, "accept4")])], &[]),
];
