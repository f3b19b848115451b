//! `security.bpf.c`: what changes rights, reaches into other processes or into the kernel.

use super::calls::{Group, Program};

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
            Program::entry("security_rights_entry", RIGHTS),
            Program::at("security_rights", RIGHTS),
            Program::at(
                "security_file_system_id",
                &[(libc::SYS_setfsuid, "setfsuid"), (libc::SYS_setfsgid, "setfsgid")],
            ),
            Program::at("security_groups", &[(libc::SYS_setgroups, "setgroups")]),
        ],
        tracepoints: &[],
        first: &[],
    },
    Group {
        name: "security/process",
        purpose: "processes that reach into others, and signals",
        programs: &[
            Program::at("security_ptrace", &[(libc::SYS_ptrace, "ptrace")]),
            Program::at(
                "security_memory",
                &[(libc::SYS_process_vm_readv, "process_vm_readv"), (libc::SYS_process_vm_writev, "process_vm_writev")],
            ),
            Program::at(
                "security_kill",
                &[(libc::SYS_kill, "kill"), (libc::SYS_tkill, "tkill"), (libc::SYS_rt_sigqueueinfo, "rt_sigqueueinfo")],
            ),
            Program::at(
                "security_tgkill",
                &[(libc::SYS_tgkill, "tgkill"), (libc::SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo")],
            ),
            Program::at("security_pidfd_signal", &[(libc::SYS_pidfd_send_signal, "pidfd_send_signal")]),
            // unistd_64.h, since 5.6.
            Program::at("security_pidfd_getfd", &[(438, "pidfd_getfd")]),
        ],
        tracepoints: &[("security_signal", "signal_generate")],
        first: &[],
    },
    Group {
        name: "security/system",
        purpose: "mounts, namespaces, root directories, kernel modules, BPF, what is the whole host's",
        programs: &[
            Program::at("security_mount", &[(libc::SYS_mount, "mount")]),
            Program::at("security_move_mount", &[(libc::SYS_move_mount, "move_mount")]),
            Program::at(
                "security_path",
                &[
                    (libc::SYS_umount2, "umount2"),
                    (libc::SYS_chroot, "chroot"),
                    (libc::SYS_pivot_root, "pivot_root"),
                    (libc::SYS_swapon, "swapon"),
                    (libc::SYS_swapoff, "swapoff"),
                    (libc::SYS_acct, "acct"),
                ],
            ),
            // unistd_64.h, since 5.12.
            Program::at("security_mount_attributes", &[(442, "mount_setattr")]),
            Program::at(
                "security_host_name",
                &[(libc::SYS_sethostname, "sethostname"), (libc::SYS_setdomainname, "setdomainname")],
            ),
            Program::at("security_personality", &[(libc::SYS_personality, "personality")]),
            Program::at("security_keys", &[(libc::SYS_keyctl, "keyctl")]),
            Program::at("security_unshare", &[(libc::SYS_unshare, "unshare")]),
            Program::at("security_clone", &[(libc::SYS_clone, "clone")]),
            Program::at("security_clone3", &[(libc::SYS_clone3, "clone3")]),
            Program::at("security_file", &[(libc::SYS_finit_module, "finit_module")]),
            Program::at(
                "security_call",
                &[
                    (libc::SYS_setns, "setns"),
                    (libc::SYS_init_module, "init_module"),
                    (libc::SYS_bpf, "bpf"),
                    (libc::SYS_settimeofday, "settimeofday"),
                    (libc::SYS_clock_settime, "clock_settime"),
                    (libc::SYS_reboot, "reboot"),
                    (libc::SYS_kexec_load, "kexec_load"),
                    (libc::SYS_kexec_file_load, "kexec_file_load"),
                    (libc::SYS_iopl, "iopl"),
                    (libc::SYS_ioperm, "ioperm"),
                    (libc::SYS_perf_event_open, "perf_event_open"),
                ],
            ),
        ],
        tracepoints: &[],
        first: &[],
    },
    Group {
        name: "security/memory",
        purpose: "files in memory, and programs in them",
        programs: &[Program::at(
            "security_name",
            &[
                (libc::SYS_memfd_create, "memfd_create"),
                (libc::SYS_delete_module, "delete_module"),
                (libc::SYS_add_key, "add_key"),
            ],
        )],
        tracepoints: &[("security_exec", "sched_process_exec")],
        first: &[],
    },
    Group {
        name: "security/bind",
        purpose: "ports that others can reach",
        programs: &[Program::at("security_bind", &[(libc::SYS_bind, "bind")])],
        tracepoints: &[],
        first: &[],
    },
    Group {
        name: "security/ring",
        purpose: "processes that work through io_uring",
        programs: &[Program::at("security_ring", &[(libc::SYS_io_uring_setup, "io_uring_setup")])],
        tracepoints: &[],
        first: &[("security_ring_exec", "sched_process_exec"), ("security_exit", "sched_process_exit")],
    },
    Group {
        name: "security/ring.operations",
        purpose: "what they do through io_uring, by kind; on kernels before 6.4 only that they do",
        programs: &[],
        tracepoints: &[("security_ring_submit", "io_uring_submit_req")],
        first: &[],
    },
];
