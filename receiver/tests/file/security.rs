//! Calls that change rights or reach beyond the process.

use receiver::{
    event::{Event, EventKind, deeds::SecurityEvent},
    probes::Files,
};

use super::{python, watch};

fn told(events: &[Event]) -> Vec<&SecurityEvent> {
    let security = events.iter().filter_map(|event| match &event.kind {
        EventKind::Security(security) => Some(security.as_ref()),
        _ => None,
    });
    security.collect()
}

fn call<'a>(told: &[&'a SecurityEvent], name: &str) -> &'a SecurityEvent {
    told.iter().find(|event| event.call == name).unwrap_or_else(|| panic!("{name} was not told"))
}

/// Everything here is refused, undone, or ends with the process.
#[test]
fn rights_are_told_before_and_after_with_the_outcome() {
    let Some(watch) = watch("rights_are_told_before_and_after_with_the_outcome", Files::Off) else { return };
    let folder = tempfile::tempdir().unwrap();
    python(
        folder.path(),
        r#"
def t(f):
    try: return f()
    except OSError as e: return e
header = (ctypes.c_uint32 * 2)(0x20080522, 0); data = (ctypes.c_uint32 * 6)()
libc.syscall(125, header, data); data[0] &= ~(1 << 20); libc.syscall(126, header, data)
os.setgid(1234)
os.setresuid(1001, 1002, 1003)
t(lambda: os.setuid(0))
t(lambda: os.kill(1, 15))
libc.ptrace(16, 1 << 29, 0, 0)
os.setresuid(-1, -1, -1)
"#,
    );
    let events = watch.stop();
    let told = told(&events);
    let calls: Vec<(&str, u32)> = told.iter().map(|event| (event.call.as_str(), event.error)).collect();
    assert_eq!(calls, [("capset", 0), ("setgid", 0), ("setresuid", 0), ("setuid", 1), ("kill", 1), ("ptrace", 3)]);
    let capset = call(&told, "capset");
    assert_eq!(capset.old.capabilities & !capset.new.capabilities, 1 << 20);
    assert_eq!((told[1].old.group, told[1].new.group), ([0; 3], [1234; 3]));
    assert_eq!((told[2].old.user, told[2].new.user), ([0; 3], [1001, 1002, 1003]));
    assert_eq!((told[3].old.user, told[3].new.user), ([1001, 1002, 1003], [1001, 1002, 1003]));
    assert_eq!(told[4].arguments[..2], [1, 15]);
}

#[test]
fn the_system_and_files_in_memory_are_told() {
    let Some(watch) = watch("the_system_and_files_in_memory_are_told", Files::Off) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (pid, lines) = python(
        folder.path(),
        r#"
import socket
m = os.memfd_create("invented"); os.write(m, open("/bin/true", "rb").read())
if os.fork() == 0: os.execve(f"/proc/self/fd/{m}", ["x"], {})
os.wait()
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("::", 18767)); s.close()
s = socket.socket(); s.bind(("0.0.0.0", 0)); s.close()
libc.syscall(321, 5, 0, 0)
libc.syscall(176, b"invented_module", 0)
libc.syscall(308, 0, 0x40000000)
if os.fork() == 0:
    print(libc.unshare(0x20000), libc.mount(b"none", b"/", None, 0x44000, None), libc.mount(b"invented", os.getcwdb(), b"tmpfs", 2, None), libc.umount2(b".", 2), libc.chroot(b"/proc"), flush=True)
    os._exit(0)
os.wait()
"#,
    );
    let events = watch.stop();
    let told = told(&events);
    let path = |event: &SecurityEvent| event.place.as_ref().map(|place| place.path.clone()).unwrap_or_default();
    assert_eq!(path(call(&told, "memfd_create")), "invented");
    assert_eq!(path(call(&told, "memfd_exec")), "memfd:invented");
    let binds: Vec<_> = told.iter().filter(|event| event.call == "bind").filter_map(|event| event.address).collect();
    assert_eq!(binds, ["[::]:18767".parse().unwrap()]);
    assert_eq!(call(&told, "bpf").arguments[0], 5);
    assert_ne!(call(&told, "bpf").error, 0);
    assert_eq!(path(call(&told, "delete_module")), "invented_module");
    assert_eq!(call(&told, "setns").arguments[1], 0x4000_0000);
    assert!(told.iter().all(|event| event.level == 0 || lines.is_empty()), "{pid}");
    // In a sandbox some of it is refused: then that is told.
    let unshare = call(&told, "unshare");
    assert_eq!(unshare.arguments[0], 0x20000);
    if lines == ["0 0 0 0 0"] {
        let mount = told.iter().filter(|event| event.call == "mount").nth(1).unwrap();
        assert_eq!((mount.error, mount.text.as_str(), mount.arguments[3]), (0, "tmpfs", 2));
        assert_eq!(path(mount), folder.path().canonicalize().unwrap().to_string_lossy());
        assert_eq!(mount.other.as_ref().map(|source| source.path.as_str()), Some("invented"));
        assert_eq!(call(&told, "umount2").arguments[1], 2);
        assert_eq!(path(call(&told, "chroot")), "/proc");
    }
}

/// Everything here has arguments that nothing can come of, or ends with the process.
#[test]
fn what_concerns_others_and_the_host_is_told() {
    let Some(watch) = watch("what_concerns_others_and_the_host_is_told", Files::Off) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_, lines) = python(
        folder.path(),
        r#"
import subprocess, time
def call(number, *arguments):
    return libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
sleeper = subprocess.Popen(["sleep", "30"])
handle = call(434, sleeper.pid, 0)
call(438, handle, 0, 0)
call(442, -100, b"/invented", 0, (ctypes.c_uint64 * 4)(1, 0, 0, 0), 32)
call(170, 1, 5); call(227, 0, 1); call(169, 0, 0, 0, 0); call(250, 11, 1, 0, 0); call(298, 0, 0, -1, -1, 0)
if os.fork() == 0:
    call(135, 0x0040000); call(122, 1000); os.setgroups([4, 5]); os._exit(0)
os.wait()
ring = call(425, 4, ctypes.create_string_buffer(120)); print("ring", ring)
sys.stdout.flush()
# In a PID namespace of its own: 1 signals 2.
if os.fork() == 0:
    if libc.unshare(0x20000000) == 0 and os.fork() == 0:
        child = os.fork()
        if child == 0: time.sleep(30); os._exit(0)
        os.kill(child, 15); print("inner", os.getpid(), child, flush=True); os._exit(0)
    try: os.wait()
    finally: os._exit(0)
os.wait()
print("sleeper", sleeper.pid); sleeper.kill(); sleeper.wait()
"#,
    );
    let events = watch.stop();
    let told = told(&events);
    let word = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let sleeper: u64 = word("sleeper").unwrap().parse().unwrap();
    assert_eq!(call(&told, "pidfd_getfd").arguments[0], sleeper);
    let attributes = call(&told, "mount_setattr");
    // ENOENT; before 5.12, ENOSYS.
    assert!([2, 38].contains(&attributes.error), "{attributes:?}");
    assert_eq!(attributes.arguments[1], 1);
    for name in ["sethostname", "clock_settime", "reboot", "keyctl", "perf_event_open"] {
        assert_ne!(call(&told, name).error, 0, "{name}");
    }
    assert_eq!(call(&told, "personality").arguments[0], 0x0004_0000);
    let id = call(&told, "setfsuid");
    assert_eq!((id.result, id.arguments[1]), (0, 1000));
    assert_eq!(call(&told, "setgroups").text, "4,5");
    if word("ring").is_some_and(|ring| !ring.starts_with('-')) {
        assert_eq!(call(&told, "io_uring_setup").error, 0);
    }
    if word("inner") == Some("1 2") {
        let inner = told.iter().find(|event| event.call == "kill" && event.arguments[0] != sleeper).unwrap();
        assert_eq!((inner.level, inner.arguments[1]), (0, 15));
        let forked = |event: &&Event| matches!(event.kind, EventKind::Fork { child } if u64::from(child.tgid) == inner.arguments[0]);
        assert!(events.iter().any(|event| forked(&event)), "{inner:?}");
    }
}

/// Operations of a ring, with nothing but system calls: the mapped queues are filled by hand (io_uring(7)).
#[test]
fn operations_of_a_ring_are_counted() {
    let Some(watch) = watch("operations_of_a_ring_are_counted", Files::Off) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (pid, lines) = python(
        folder.path(),
        r#"
import mmap, struct
parameters = ctypes.create_string_buffer(120)
ring = libc.syscall(ctypes.c_long(425), ctypes.c_long(8), parameters)
if ring < 0: print("no ring"); sys.exit(0)
words = struct.unpack("30I", parameters.raw)
tail, array = words[11], words[16]
queue = mmap.mmap(ring, 4096, mmap.MAP_SHARED, offset=0)
entries = mmap.mmap(ring, 4096, mmap.MAP_SHARED, offset=0x10000000)
path = ctypes.create_string_buffer(b"by-ring")
for n, (opcode, address, length, flags) in enumerate([(0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0), (18, ctypes.addressof(path), 0o600, 0o101)]):
    struct.pack_into("<BBHiQQIIQHHiQQ", entries, 64 * n, opcode, 0, 0, -100, 0, address, length, flags, 0, 0, 0, 0, 0, 0)
    struct.pack_into("I", queue, array + 4 * n, n)
struct.pack_into("I", queue, tail, 4)
print("submitted", libc.syscall(ctypes.c_long(426), ctypes.c_long(ring), ctypes.c_long(4), ctypes.c_long(4), ctypes.c_long(1), None, ctypes.c_long(8)), os.path.exists("by-ring"))
"#,
    );
    let seen = watch.probes.status().iter().any(|line| line.name == "security/ring.operations" && line.error.is_none());
    let events = watch.stop();
    let told = told(&events);
    if !seen || lines != ["submitted 4 True"] {
        eprintln!("SKIPPED operations_of_a_ring_are_counted: {lines:?}");
        return;
    }
    let operations = told.iter().filter(|event| event.call == "io_uring_enter");
    let operations: Vec<_> = operations.map(|event| (event.arguments[0], event.arguments[1])).collect();
    assert_eq!(operations, [(0, 1), (18, 1), (0, 2)], "{pid}");
}
