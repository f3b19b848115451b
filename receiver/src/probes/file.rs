//! `file.bpf.c`: files of watched processes.

use super::calls::{Group, Program};

/// What is attached for files.
pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "file/open",
        purpose: "files that are opened, with the outcome",
        programs: &[
            Program::at("file_open", &[(libc::SYS_open, "open")]),
            Program::at("file_openat", &[(libc::SYS_openat, "openat")]),
            Program::at("file_openat2", &[(libc::SYS_openat2, "openat2")]),
            Program::at("file_creat", &[(libc::SYS_creat, "creat")]),
            Program::at("file_open_handle", &[(libc::SYS_open_by_handle_at, "open_by_handle_at")]),
            Program::entry("file_close", &[(libc::SYS_close, "close")]),
            Program::entry("file_dup", &[(libc::SYS_dup2, "dup2"), (libc::SYS_dup3, "dup3")]),
            Program::entry(
                "file_end_all",
                &[
                    (libc::SYS_close_range, "close_range"),
                    (libc::SYS_execve, "execve"),
                    (libc::SYS_execveat, "execveat"),
                ],
            ),
        ],
        tracepoints: &[],
        first: &[("file_exit", "sched_process_exit")],
    },
    Group {
        name: "file/use",
        purpose: "bytes that are read and written",
        programs: &[
            Program::at(
                "file_read",
                &[
                    (libc::SYS_read, "read"),
                    (libc::SYS_pread64, "pread64"),
                    (libc::SYS_readv, "readv"),
                    (libc::SYS_preadv, "preadv"),
                    (libc::SYS_preadv2, "preadv2"),
                ],
            ),
            Program::at(
                "file_write",
                &[
                    (libc::SYS_write, "write"),
                    (libc::SYS_pwrite64, "pwrite64"),
                    (libc::SYS_writev, "writev"),
                    (libc::SYS_pwritev, "pwritev"),
                    (libc::SYS_pwritev2, "pwritev2"),
                ],
            ),
            Program::at("file_sendfile", &[(libc::SYS_sendfile, "sendfile")]),
            Program::at("file_copy", &[(libc::SYS_copy_file_range, "copy_file_range"), (libc::SYS_splice, "splice")]),
            Program::at("file_allocate", &[(libc::SYS_fallocate, "fallocate")]),
            Program::at("file_map_shared", &[(libc::SYS_mmap, "mmap")]),
        ],
        tracepoints: &[],
        first: &[],
    },
    Group {
        name: "file/name",
        purpose: "files that are removed, renamed, linked, directories",
        programs: &[
            Program::at("file_unlink", &[(libc::SYS_unlink, "unlink")]),
            Program::at("file_unlinkat", &[(libc::SYS_unlinkat, "unlinkat")]),
            Program::at("file_rmdir", &[(libc::SYS_rmdir, "rmdir")]),
            Program::at("file_mkdir", &[(libc::SYS_mkdir, "mkdir")]),
            Program::at("file_mkdirat", &[(libc::SYS_mkdirat, "mkdirat")]),
            Program::at("file_mknod", &[(libc::SYS_mknod, "mknod")]),
            Program::at("file_mknodat", &[(libc::SYS_mknodat, "mknodat")]),
            Program::at("file_rename", &[(libc::SYS_rename, "rename")]),
            Program::at("file_renameat", &[(libc::SYS_renameat, "renameat")]),
            Program::at("file_renameat2", &[(libc::SYS_renameat2, "renameat2")]),
            Program::at("file_link", &[(libc::SYS_link, "link")]),
            Program::at("file_linkat", &[(libc::SYS_linkat, "linkat")]),
            Program::at("file_symlink", &[(libc::SYS_symlink, "symlink")]),
            Program::at("file_symlinkat", &[(libc::SYS_symlinkat, "symlinkat")]),
        ],
        tracepoints: &[],
        first: &[],
    },
    Group {
        name: "file/change",
        purpose: "lengths, permissions and owners of files that are set",
        programs: &[
            Program::at("file_truncate", &[(libc::SYS_truncate, "truncate")]),
            Program::at("file_ftruncate", &[(libc::SYS_ftruncate, "ftruncate")]),
            Program::at("file_chmod", &[(libc::SYS_chmod, "chmod")]),
            // fchmodat2: unistd_64.h, since 6.6.
            Program::at("file_chmodat", &[(libc::SYS_fchmodat, "fchmodat"), (452, "fchmodat2")]),
            Program::at("file_fchmod", &[(libc::SYS_fchmod, "fchmod")]),
            Program::at("file_chown", &[(libc::SYS_chown, "chown"), (libc::SYS_lchown, "lchown")]),
            Program::at("file_chownat", &[(libc::SYS_fchownat, "fchownat")]),
            Program::at("file_fchown", &[(libc::SYS_fchown, "fchown")]),
        ],
        tracepoints: &[],
        first: &[],
    },
    Group {
        name: "file/attribute",
        purpose: "capabilities, labels and access lists of files that are set",
        programs: &[
            Program::at("file_setxattr", &[(libc::SYS_setxattr, "setxattr"), (libc::SYS_lsetxattr, "lsetxattr")]),
            Program::at("file_fsetxattr", &[(libc::SYS_fsetxattr, "fsetxattr")]),
            Program::at(
                "file_removexattr",
                &[(libc::SYS_removexattr, "removexattr"), (libc::SYS_lremovexattr, "lremovexattr")],
            ),
            Program::at("file_fremovexattr", &[(libc::SYS_fremovexattr, "fremovexattr")]),
            // unistd_64.h, since 6.13.
            Program::at("file_setxattrat", &[(463, "setxattrat")]),
            Program::at("file_removexattrat", &[(466, "removexattrat")]),
        ],
        tracepoints: &[],
        first: &[],
    },
];
