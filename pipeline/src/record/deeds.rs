//! What processes do to files and to the machine, as events.

use super::{List, Severity, signal_name};
use crate::{
    errno,
    observation::{Action, Deed, File, Ids, ProcessInfo, Security, Target, open_flags, rename_flags},
    semconv::{self as name, event},
};

/// Name and weight of a deed on a file.
pub(super) fn file_event(file: &File) -> (&'static str, Severity) {
    let name = match file.deed {
        Deed::Read => event::FILE_READ,
        Deed::Write => event::FILE_WRITE,
        Deed::Create => event::FILE_CREATE,
        Deed::Delete => event::FILE_DELETE,
        Deed::Rename => event::FILE_RENAME,
        Deed::Link => event::FILE_LINK,
        Deed::Symlink => event::FILE_SYMLINK,
        Deed::Truncate => event::FILE_TRUNCATE,
        Deed::Chmod => event::FILE_CHMOD,
        Deed::Chown => event::FILE_CHOWN,
        Deed::Mkdir => event::FILE_MKDIR,
        Deed::Rmdir => event::FILE_RMDIR,
        Deed::Setxattr => event::FILE_SETXATTR,
        Deed::Removexattr => event::FILE_REMOVEXATTR,
    };
    (name, if file.sensitive.is_some() { Severity::Warn } else { Severity::Info })
}

/// Name and weight of a change of rights or the like.
pub(super) fn security_event(security: &Security) -> (&'static str, Severity) {
    let name = match &security.action {
        Action::SetUser { .. } | Action::SetFileSystemId { group: false, .. } => event::SECURITY_SET_USER,
        Action::SetGroup { .. } | Action::SetGroups { .. } | Action::SetFileSystemId { group: true, .. } => {
            event::SECURITY_SET_GROUP
        }
        Action::Capabilities { .. } => event::SECURITY_CAPABILITIES,
        Action::Trace { .. } => event::SECURITY_TRACE,
        Action::Memory { .. } => event::SECURITY_MEMORY,
        Action::Descriptor { .. } => event::SECURITY_DESCRIPTOR,
        Action::Mount { .. } => event::SECURITY_MOUNT,
        Action::Unmount { .. } => event::SECURITY_UNMOUNT,
        Action::Root { .. } => event::SECURITY_ROOT,
        Action::Namespaces { .. } => event::SECURITY_NAMESPACES,
        Action::Module { .. } => event::SECURITY_MODULE,
        Action::Bpf { .. } => event::SECURITY_BPF,
        Action::Memfd { .. } => event::SECURITY_MEMFD,
        Action::MemfdExec { .. } => event::SECURITY_MEMFD_EXEC,
        Action::Bind { .. } => event::SECURITY_BIND,
        Action::Signal { .. } => event::SECURITY_SIGNAL,
        Action::System { .. } => event::SECURITY_SYSTEM,
        Action::IoUring { .. } => event::SECURITY_IO_URING,
        Action::SensitiveFile { .. } => event::SECURITY_SENSITIVE_FILE,
    };
    // Programs make memfds for buffers: only running one is remarkable. Rings are some runtimes' way of waiting.
    let usual = match &security.action {
        Action::Memfd { .. } => true,
        Action::IoUring { operation } => operation.is_none_or(|operation| WAITING.contains(&operation)),
        _ => false,
    };
    (name, if usual { Severity::Info } else { Severity::Warn })
}

fn who(out: &mut List, process: &ProcessInfo) {
    out.set(name::PROCESS_PID, i64::from(process.key.tgid));
    out.set(name::PROCESS_EXECUTABLE_NAME, process.executable_name());
}

/// Attributes of a deed on a file.
pub(super) fn file(out: &mut List, file: &File, process: &ProcessInfo) {
    out.set(name::FILE_PATH, file.path.as_str());
    out.set(name::FILE_NAME, file.name());
    if !file.directory().is_empty() {
        out.set(name::FILE_DIRECTORY, file.directory());
    }
    match (file.deed, &file.other) {
        (Deed::Setxattr | Deed::Removexattr, Some(attribute)) => {
            out.set(name::ONLOOKER_FILE_ATTRIBUTE, attribute.as_str());
        }
        (Deed::Symlink, Some(target)) => out.set(name::FILE_SYMBOLIC_LINK_TARGET_PATH, target.as_str()),
        (_, Some(path)) => out.set(name::ONLOOKER_FILE_NEW_PATH, path.as_str()),
        _ => {}
    }
    out.maybe(name::FILE_MODE, &file.mode.map(|mode| format!("{:04o}", mode & 0o7777)));
    out.maybe(name::FILE_OWNER_ID, &file.owner.map(|owner| owner.to_string()));
    out.maybe(name::FILE_GROUP_ID, &file.group.map(|group| group.to_string()));
    out.count(name::FILE_SIZE, file.length);
    out.maybe(name::ERROR_TYPE, &file.error.map(errno::name));
    if let Some(flags) = file.flags {
        let names = if file.deed == Deed::Rename { rename_flags(flags) } else { open_flags(flags) };
        out.list(name::ONLOOKER_FILE_FLAGS, &names);
    }
    if file.mapped {
        out.set(name::ONLOOKER_FILE_MAPPED, true);
    }
    if file.created {
        out.set(name::ONLOOKER_FILE_CREATED, true);
    }
    if file.folded {
        out.set(name::ONLOOKER_FILE_FOLDED, true);
    }
    out.count(name::ONLOOKER_FILE_READ_BYTES, file.read);
    out.count(name::ONLOOKER_FILE_WRITTEN_BYTES, file.written);
    out.count(name::ONLOOKER_FILE_OPERATIONS, Some(file.operations));
    if !file.duration.is_zero() {
        out.set(name::ONLOOKER_FILE_DURATION, file.duration.as_secs_f64());
    }
    out.set(name::ONLOOKER_FILE_PATH_RESOLVED, file.resolved);
    out.maybe(name::ONLOOKER_FILE_SENSITIVE, &file.sensitive);
    who(out, process);
}

/// Attributes of a change of rights or the like.
pub(super) fn security(out: &mut List, security: &Security, process: &ProcessInfo) {
    out.set(name::ONLOOKER_SECURITY_CALL, security.call);
    out.maybe(name::ERROR_TYPE, &security.error.map(errno::name));
    match &security.action {
        Action::SetUser { old, new } | Action::SetGroup { old, new } => {
            out.list(name::ONLOOKER_SECURITY_IDS_OLD, &ids(*old));
            out.list(name::ONLOOKER_SECURITY_IDS_NEW, &ids(*new));
        }
        Action::SetFileSystemId { old, new, .. } => {
            out.list(name::ONLOOKER_SECURITY_IDS_OLD, &[format!("filesystem={old}")]);
            out.list(name::ONLOOKER_SECURITY_IDS_NEW, &[format!("filesystem={new}")]);
        }
        Action::SetGroups { groups, count } => {
            let mut ids: Vec<String> = groups.iter().map(|group| format!("supplementary={group}")).collect();
            let more = count.saturating_sub(groups.len() as u64);
            if more > 0 {
                ids.push(format!("{more} more"));
            }
            if ids.is_empty() {
                // An empty list would look like a missing one.
                ids.push("none".into());
            }
            out.list(name::ONLOOKER_SECURITY_IDS_NEW, &ids);
        }
        Action::Descriptor { target } => reached(out, target),
        Action::System { name: what, request, target } => {
            out.maybe(name::ONLOOKER_SECURITY_NAME, what);
            out.maybe(name::ONLOOKER_SECURITY_REQUEST, request);
            if let Some(target) = target {
                reached(out, target);
            }
        }
        Action::IoUring { operation } => {
            let request = operation.map_or_else(|| "setup".to_owned(), ring_operation);
            out.set(name::ONLOOKER_SECURITY_REQUEST, request);
        }
        Action::Capabilities { old, new } => {
            out.list(name::ONLOOKER_SECURITY_CAPABILITIES_OLD, &capabilities(*old));
            out.list(name::ONLOOKER_SECURITY_CAPABILITIES_NEW, &capabilities(*new));
        }
        Action::Trace { request, target } => {
            out.set(name::ONLOOKER_SECURITY_REQUEST, trace_request(*request));
            reached(out, target);
        }
        Action::Memory { write, target, bytes } => {
            out.set(name::ONLOOKER_SECURITY_REQUEST, if *write { "write" } else { "read" });
            out.count(name::ONLOOKER_SECURITY_BYTES, Some(*bytes));
            reached(out, target);
        }
        Action::Mount { source, target, kind, flags } => {
            out.maybe(name::ONLOOKER_SECURITY_SOURCE, source);
            out.maybe(name::FILE_PATH, target);
            out.maybe(name::ONLOOKER_SECURITY_FILE_SYSTEM, kind);
            out.list(name::ONLOOKER_SECURITY_FLAGS, &named(*flags, MOUNT_FLAGS));
        }
        Action::Unmount { target, flags } => {
            out.maybe(name::FILE_PATH, target);
            out.list(name::ONLOOKER_SECURITY_FLAGS, &named(*flags, UNMOUNT_FLAGS));
        }
        Action::Root { target } => out.maybe(name::FILE_PATH, target),
        Action::Namespaces { flags } => {
            out.list(name::ONLOOKER_SECURITY_FLAGS, &namespaces(*flags));
        }
        Action::Module { name: module, removed } => {
            out.set(name::ONLOOKER_SECURITY_REQUEST, if *removed { "remove" } else { "load" });
            out.maybe(name::ONLOOKER_SECURITY_NAME, module);
        }
        Action::Bpf { command } => out.set(name::ONLOOKER_SECURITY_REQUEST, bpf_command(*command)),
        Action::Memfd { name: file } | Action::MemfdExec { name: file } => {
            out.maybe(name::ONLOOKER_SECURITY_NAME, file);
        }
        Action::Bind { address } => {
            out.set(name::NETWORK_LOCAL_ADDRESS, address.ip().to_string());
            out.set(name::NETWORK_LOCAL_PORT, i64::from(address.port()));
        }
        Action::Signal { signal, target } => {
            let signal = i32::try_from(*signal).unwrap_or_default();
            out.set(name::ONLOOKER_SECURITY_REQUEST, signal_name(signal));
            reached(out, target);
        }
        Action::SensitiveFile { path, category } => {
            out.set(name::FILE_PATH, path.as_str());
            out.set(name::ONLOOKER_FILE_SENSITIVE, category.as_str());
        }
    }
    if security.operations > 1 {
        out.count(name::ONLOOKER_SECURITY_OPERATIONS, Some(security.operations));
    }
    who(out, process);
}

fn reached(out: &mut List, target: &Target) {
    let name = if target.inner { name::ONLOOKER_SECURITY_TARGET_INNER_PID } else { name::ONLOOKER_SECURITY_TARGET_PID };
    out.set(name, target.pid);
}

fn ids(ids: Ids) -> Vec<String> {
    vec![format!("real={}", ids.real), format!("effective={}", ids.effective), format!("saved={}", ids.saved)]
}

fn named(flags: u64, names: &[(u64, &str)]) -> Vec<String> {
    let mut found: Vec<String> =
        names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
    let rest = names.iter().fold(flags, |rest, (bit, _)| rest & !bit);
    if rest != 0 {
        found.push(format!("{rest:#x}"));
    }
    found
}

/// Names of the namespaces in flags, as `CLONE_NEWUSER`.
pub fn namespaces(flags: u64) -> Vec<String> {
    named(flags, NAMESPACE_FLAGS)
}

/// Names of the namespaces in the flags of clone(2), unshare(2) and setns(2).
const NAMESPACE_FLAGS: &[(u64, &str)] = &[
    (0x80, "CLONE_NEWTIME"),
    (0x20000, "CLONE_NEWNS"),
    (0x0200_0000, "CLONE_NEWCGROUP"),
    (0x0400_0000, "CLONE_NEWUTS"),
    (0x0800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];

/// include/uapi/linux/mount.h
const MOUNT_FLAGS: &[(u64, &str)] = &[
    (0x1, "MS_RDONLY"),
    (0x2, "MS_NOSUID"),
    (0x4, "MS_NODEV"),
    (0x8, "MS_NOEXEC"),
    (0x20, "MS_REMOUNT"),
    (0x400, "MS_NOATIME"),
    (0x1000, "MS_BIND"),
    (0x2000, "MS_MOVE"),
    (0x4000, "MS_REC"),
    (0x8000, "MS_SILENT"),
    (0x2_0000, "MS_UNBINDABLE"),
    (0x4_0000, "MS_PRIVATE"),
    (0x8_0000, "MS_SLAVE"),
    (0x10_0000, "MS_SHARED"),
    (0x20_0000, "MS_RELATIME"),
];

/// include/linux/fs.h
const UNMOUNT_FLAGS: &[(u64, &str)] =
    &[(0x1, "MNT_FORCE"), (0x2, "MNT_DETACH"), (0x4, "MNT_EXPIRE"), (0x8, "UMOUNT_NOFOLLOW")];

/// Names of capabilities (include/uapi/linux/capability.h).
fn capabilities(bits: u64) -> Vec<String> {
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    let set = NAMES.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
    let mut names: Vec<String> = set.map(|(_, name)| format!("CAP_{name}")).collect();
    names.extend((41..64).filter(|at| bits >> at & 1 == 1).map(|at| at.to_string()));
    if names.is_empty() {
        // An empty list would look like a missing one.
        names.push("none".into());
    }
    names
}

/// include/uapi/linux/ptrace.h
fn trace_request(request: u64) -> String {
    match request {
        0 => "PTRACE_TRACEME",
        16 => "PTRACE_ATTACH",
        0x4206 => "PTRACE_SEIZE",
        other => return other.to_string(),
    }
    .into()
}

/// `enum bpf_cmd`, include/uapi/linux/bpf.h
fn bpf_command(command: u64) -> String {
    const NAMES: [&str; 20] = [
        "MAP_CREATE",
        "MAP_LOOKUP_ELEM",
        "MAP_UPDATE_ELEM",
        "MAP_DELETE_ELEM",
        "MAP_GET_NEXT_KEY",
        "PROG_LOAD",
        "OBJ_PIN",
        "OBJ_GET",
        "PROG_ATTACH",
        "PROG_DETACH",
        "PROG_TEST_RUN",
        "PROG_GET_NEXT_ID",
        "MAP_GET_NEXT_ID",
        "PROG_GET_FD_BY_ID",
        "MAP_GET_FD_BY_ID",
        "OBJ_GET_INFO_BY_FD",
        "PROG_QUERY",
        "RAW_TRACEPOINT_OPEN",
        "BTF_LOAD",
        "BTF_GET_FD_BY_ID",
    ];
    let known = usize::try_from(command).ok().and_then(|at| NAMES.get(at));
    known.map_or_else(|| format!("command {command}"), |name| format!("BPF_{name}"))
}

/// Operations of io_uring that only wait, or that keep the ring: NOP, POLL_ADD, POLL_REMOVE, TIMEOUT, TIMEOUT_REMOVE,
/// ASYNC_CANCEL, LINK_TIMEOUT, FILES_UPDATE, EPOLL_CTL, PROVIDE_BUFFERS, REMOVE_BUFFERS, MSG_RING, WAITID, FUTEX_…, EPOLL_WAIT.
const WAITING: &[u32] = &[0, 6, 7, 11, 12, 14, 15, 20, 29, 31, 32, 40, 50, 51, 52, 53, 59];

/// Name of an operation of io_uring, as `IORING_OP_OPENAT` (`enum io_uring_op`, include/uapi/linux/io_uring.h).
pub fn ring_operation(operation: u32) -> String {
    const NAMES: [&str; 63] = [
        "NOP",
        "READV",
        "WRITEV",
        "FSYNC",
        "READ_FIXED",
        "WRITE_FIXED",
        "POLL_ADD",
        "POLL_REMOVE",
        "SYNC_FILE_RANGE",
        "SENDMSG",
        "RECVMSG",
        "TIMEOUT",
        "TIMEOUT_REMOVE",
        "ACCEPT",
        "ASYNC_CANCEL",
        "LINK_TIMEOUT",
        "CONNECT",
        "FALLOCATE",
        "OPENAT",
        "CLOSE",
        "FILES_UPDATE",
        "STATX",
        "READ",
        "WRITE",
        "FADVISE",
        "MADVISE",
        "SEND",
        "RECV",
        "OPENAT2",
        "EPOLL_CTL",
        "SPLICE",
        "PROVIDE_BUFFERS",
        "REMOVE_BUFFERS",
        "TEE",
        "SHUTDOWN",
        "RENAMEAT",
        "UNLINKAT",
        "MKDIRAT",
        "SYMLINKAT",
        "LINKAT",
        "MSG_RING",
        "FSETXATTR",
        "SETXATTR",
        "FGETXATTR",
        "GETXATTR",
        "SOCKET",
        "URING_CMD",
        "SEND_ZC",
        "SENDMSG_ZC",
        "READ_MULTISHOT",
        "WAITID",
        "FUTEX_WAIT",
        "FUTEX_WAKE",
        "FUTEX_WAITV",
        "FIXED_FD_INSTALL",
        "FTRUNCATE",
        "BIND",
        "LISTEN",
        "RECV_ZC",
        "EPOLL_WAIT",
        "READV_FIXED",
        "WRITEV_FIXED",
        "PIPE",
    ];
    let known = usize::try_from(operation).ok().and_then(|at| NAMES.get(at));
    known.map_or_else(|| format!("operation {operation}"), |name| format!("IORING_OP_{name}"))
}
