//! `process.bpf.c`: exec, fork, exit, executable mappings.

use std::sync::{Arc, atomic::AtomicU64};

use aya::{Ebpf, programs::TracePoint};

use super::{
    ProbeStatus,
    calls::{self, Group, Program},
    chain,
    mappings::Mappings,
};

/// Loads and attaches each program on its own.
pub fn attach(ebpf: &mut Ebpf) -> Vec<ProbeStatus> {
    let raw = [
        ("process_exec", "sched_process_exec", "process/exec", "which programs are run, with their arguments"),
        ("process_fork", "sched_process_fork", "process/fork", "children of watched processes"),
        ("process_exit", "sched_process_exit", "process/exit", "exit codes and signals"),
    ];
    raw.into_iter()
        .map(|(program, tracepoint, name, purpose)| {
            let result = calls::attach(ebpf, program, tracepoint);
            ProbeStatus { name: name.into(), purpose, hint: hint(&result), error: result.err() }
        })
        .collect()
}

/// Name and purpose of what tells mapped files.
const MAP: (&str, &str) = ("process/map", "TLS libraries that a running process loads");

/// Files that all processes map: by perf's records, else by a tracepoint at `mmap`.
pub(super) fn mapped(ebpf: &mut Ebpf, lost: Arc<AtomicU64>) -> (Option<Mappings>, ProbeStatus) {
    let (mappings, result) = match Mappings::open(lost) {
        Ok(mappings) => (Some(mappings), Ok(())),
        Err(error) => {
            tracing::debug!(error, "A tracepoint tells mapped files: all system calls are a little slower.");
            (None, attach_mappings(ebpf).map_err(|other| format!("{error}; {other}")))
        }
    };
    (mappings, ProbeStatus { name: MAP.0.into(), purpose: MAP.1, hint: hint(&result), error: result.err() })
}

fn attach_mappings(ebpf: &mut Ebpf) -> Result<(), String> {
    with_tracefs(|| match ebpf.program_mut("file_map_all").map(<&mut TracePoint>::try_from) {
        Some(Ok(program)) => program
            .load()
            .and_then(|()| program.attach("syscalls", "sys_enter_mmap"))
            .map(drop)
            .map_err(|error| chain(&error)),
        _ => Err("the probe object has no program file_map_all".into()),
    })
}

/// What is attached for processes at system calls, where only watched ones count.
pub(super) const GROUPS: &[Group] =
    &[Group::of(MAP.0, MAP.1, &[Program::entry("file_map", &[(libc::SYS_mmap, "mmap")])])];

/// Does something that needs tracefs. Where nobody mounted it (containers, minimal systems), it is mounted for this one
/// thread only, in a mount namespace that ends with the thread: the host stays as it was.
fn with_tracefs(work: impl FnOnce() -> Result<(), String> + Send) -> Result<(), String> {
    const TRACEFS: &str = "/sys/kernel/tracing";
    if std::path::Path::new(TRACEFS).join("events").exists()
        || std::path::Path::new("/sys/kernel/debug/tracing/events").exists()
    {
        return work();
    }
    let thread = move || {
        use rustix::{mount, thread};
        // SAFETY: the thread is new, shares no file descriptor table and ends right after; only its own view of the
        // file system tree changes.
        let own = unsafe { thread::unshare_unsafe(thread::UnshareFlags::NEWNS) };
        own.and_then(|()| {
            mount::mount_change("/", mount::MountPropagationFlags::PRIVATE | mount::MountPropagationFlags::REC)
        })
        .and_then(|()| mount::mount("tracefs", TRACEFS, "tracefs", mount::MountFlags::empty(), None))
        .map_err(|error| format!("tracefs is not mounted at {TRACEFS} and could not be: {error}"))?;
        work()
    };
    std::thread::scope(|scope| scope.spawn(thread).join()).unwrap_or_else(|_| Err("the attaching thread failed".into()))
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
