//! `security.bpf.c`: what changes rights, reaches into other processes or into the kernel.

use super::calls::{Group, Program};

const fn at(name: &'static str, calls: &'static [(i64, &'static str)]) -> Program {
    Program { name, entry: false, calls }
}

/// Calls that set ids or capabilities.
const RIGHTS: &[(i64, &str)] = &[
    (libc::SYS_setuid, "setuid"),
    (libc::SYS_setreuid, "setreuid"),
    (libc::SYS_setresuid, "setresuid"),
    (libc::SYS_setgid, "setgid"),
    (libc::SYS_setregid, "setregid"),
    (libc::SYS_setresgid, "setresgid"),
    (libc::SYS_capset, "capset"),
];

/// What is attached for security.
pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "security/rights",
        purpose: "user ids, group ids and capabilities that are set",
        programs: &[
            Program { name: "security_rights_entry", entry: true, calls: RIGHTS },
            at("security_rights", RIGHTS),
        ],
        tracepoints: &[],
    },
    Group {
        name: "security/process",
        purpose: "processes that reach into others, and signals",
        programs: &[
            at("security_ptrace", &[(libc::SYS_ptrace, "ptrace")]),
            at(
                "security_memory",
                &[(libc::SYS_process_vm_readv, "process_vm_readv"), (libc::SYS_process_vm_writev, "process_vm_writev")],
            ),
            at(
                "security_kill",
                &[(libc::SYS_kill, "kill"), (libc::SYS_tkill, "tkill"), (libc::SYS_rt_sigqueueinfo, "rt_sigqueueinfo")],
            ),
            at("security_tgkill", &[(libc::SYS_tgkill, "tgkill"), (libc::SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo")]),
            at("security_pidfd_signal", &[(libc::SYS_pidfd_send_signal, "pidfd_send_signal")]),
        ],
        tracepoints: &[],
    },
    Group {
        name: "security/system",
        purpose: "mounts, namespaces, root directories, kernel modules, BPF",
        programs: &[
            at("security_mount", &[(libc::SYS_mount, "mount")]),
            at("security_move_mount", &[(libc::SYS_move_mount, "move_mount")]),
            at(
                "security_path",
                &[(libc::SYS_umount2, "umount2"), (libc::SYS_chroot, "chroot"), (libc::SYS_pivot_root, "pivot_root")],
            ),
            at("security_unshare", &[(libc::SYS_unshare, "unshare")]),
            at("security_clone", &[(libc::SYS_clone, "clone")]),
            at("security_clone3", &[(libc::SYS_clone3, "clone3")]),
            at("security_file", &[(libc::SYS_finit_module, "finit_module")]),
            at(
                "security_call",
                &[(libc::SYS_setns, "setns"), (libc::SYS_init_module, "init_module"), (libc::SYS_bpf, "bpf")],
            ),
        ],
        tracepoints: &[],
    },
    Group {
        name: "security/memory",
        purpose: "files in memory, and programs in them",
        programs: &[at(
            "security_name",
            &[(libc::SYS_memfd_create, "memfd_create"), (libc::SYS_delete_module, "delete_module")],
        )],
        tracepoints: &[("security_exec", "sched_process_exec")],
    },
    Group {
        name: "security/bind",
        purpose: "ports that others can reach",
        programs: &[at("security_bind", &[(libc::SYS_bind, "bind")])],
        tracepoints: &[],
    },
];
