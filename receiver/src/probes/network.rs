//! `network.bpf.c`: connections of watched processes, by the states of TCP and the exits of system calls.

use aya::{
    Ebpf,
    programs::{RawTracePoint, TracePoint},
};

use super::{
    ProbeStatus, chain,
    process::{hint, with_tracefs},
};

/// A program, the event it sits at, its name here, what it is for.
const PROGRAMS: &[(&str, &str, &str, &str)] = &[
    ("network_enter_connect", "sys_enter_connect", "network/connect.enter", "when connects begin"),
    (
        "network_connect",
        "sys_exit_connect",
        "network/connect",
        "connects by local sockets, and those that fail at once",
    ),
    ("network_listen", "sys_exit_listen", "network/listen", "where connections are waited for"),
    ("network_accept", "sys_exit_accept", "network/accept", "accepted connections"),
    ("network_accept4", "sys_exit_accept4", "network/accept4", "accepted connections"),
];

/// Loads and attaches each program on its own.
pub fn attach(ebpf: &mut Ebpf) -> Vec<ProbeStatus> {
    let result = match ebpf.program_mut("network_state").map(<&mut RawTracePoint>::try_from) {
        Some(Ok(program)) => {
            program.load().and_then(|()| program.attach("inet_sock_set_state")).map(drop).map_err(|error| chain(&error))
        }
        _ => Err("the probe object has no program network_state".into()),
    };
    let mut status = vec![line("network/state", "outcomes and ends of TCP connections", result)];
    let done = with_tracefs(|| {
        for (program, event, name, purpose) in PROGRAMS {
            let result = match ebpf.program_mut(program).map(<&mut TracePoint>::try_from) {
                Some(Ok(program)) => program
                    .load()
                    .and_then(|()| program.attach("syscalls", event))
                    .map(drop)
                    .map_err(|error| chain(&error)),
                _ => Err(format!("the probe object has no program {program}")),
            };
            status.push(line(name, purpose, result));
        }
        Ok(())
    });
    if let Err(error) = done {
        status.truncate(1);
        status.extend(PROGRAMS.iter().map(|(_, _, name, purpose)| line(name, purpose, Err(error.clone()))));
    }
    status
}

fn line(name: &str, purpose: &'static str, result: Result<(), String>) -> ProbeStatus {
    ProbeStatus { name: name.into(), purpose, hint: hint(&result), error: result.err() }
}
