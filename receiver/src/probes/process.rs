//! `process.bpf.c`: exec, fork, exit, executable mappings.

use aya::{
    Ebpf,
    programs::{RawTracePoint, TracePoint},
};

use super::{ProbeStatus, chain};

/// Loads and attaches each program on its own.
pub fn attach(ebpf: &mut Ebpf) -> Vec<ProbeStatus> {
    let raw = [
        ("process_exec", "sched_process_exec", "process/exec", "which programs are run, with their arguments"),
        ("process_fork", "sched_process_fork", "process/fork", "children of watched processes"),
        ("process_exit", "sched_process_exit", "process/exit", "exit codes and signals"),
    ];
    let mut status: Vec<ProbeStatus> = raw
        .into_iter()
        .map(|(program, tracepoint, name, purpose)| {
            let result = match ebpf.program_mut(program).map(<&mut RawTracePoint>::try_from) {
                Some(Ok(program)) => {
                    program.load().and_then(|()| program.attach(tracepoint)).map(drop).map_err(|error| chain(&error))
                }
                _ => Err(format!("the probe object has no program {program}")),
            };
            ProbeStatus { name: name.into(), purpose, hint: hint(&result), error: result.err() }
        })
        .collect();
    let result = match ebpf.program_mut("file_map").map(<&mut TracePoint>::try_from) {
        Some(Ok(program)) => program
            .load()
            .and_then(|()| program.attach("syscalls", "sys_enter_mmap"))
            .map(drop)
            .map_err(|error| chain(&error)),
        _ => Err("the probe object has no program file_map".into()),
    };
    status.push(ProbeStatus {
        name: "process/map".into(),
        purpose: "TLS libraries that a running process loads",
        hint: hint(&result),
        error: result.err(),
    });
    status
}

/// What to do about an error of the kernel's.
pub(super) fn hint(result: &Result<(), String>) -> Option<String> {
    let error = result.as_ref().err()?.to_ascii_lowercase();
    let text = if error.contains("permission denied") || error.contains("not permitted") {
        "run as root; in a container, run privileged, or with CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN"
    } else if error.contains("tracefs") || error.contains("no such file") {
        "mount tracefs: mount -t tracefs tracefs /sys/kernel/tracing"
    } else {
        return None;
    };
    Some(text.into())
}
