//! `network.bpf.c`: connections of watched processes, by the states of TCP and the returns of system calls.

use super::calls::{Group, Program};

const CONNECT: &[(i64, &str)] = &[(libc::SYS_connect, "connect")];

/// What is attached for connections.
pub(super) const GROUPS: &[Group] = &[
    Group {
        tracepoints: &[("network_state", "inet_sock_set_state")],
        ..Group::of("network/state", "outcomes and ends of TCP connections", &[])
    },
    Group::of("network/connect.enter", "when connects begin", &[Program::entry("network_enter_connect", CONNECT)]),
    Group::of(
        "network/connect",
        "connects by local sockets, and those that fail at once",
        &[Program::at("network_connect", CONNECT)],
    ),
    Group::of(
        "network/listen",
        "where connections are waited for",
        &[Program::at("network_listen", &[(libc::SYS_listen, "listen")])],
    ),
    Group::of(
        "network/accept",
        "accepted connections",
        &[Program::at("network_accept", &[(libc::SYS_accept, "accept")])],
    ),
    Group::of(
        "network/accept4",
        "accepted connections",
        &[Program::at("network_accept4", &[(libc::SYS_accept4, "accept4")])],
    ),
];
