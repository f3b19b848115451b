//! The rarer ways to change a file.

use receiver::{event::EventKind, probes::Files};

use super::{python, told, watch};

/// Everything here is told by what it did, whatever way it took.
#[test]
fn the_rarer_ways_to_a_file_are_told() {
    let Some(watch) = watch("the_rarer_ways_to_a_file_are_told", Files::All) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let (pid, lines) = python(
        &folder,
        r#"
import mmap, resource, struct
C = os.O_WRONLY | os.O_CREAT
def call(number, *arguments):
    return libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
f = os.open("a", C); os.posix_fallocate(f, 0, 4096); os.close(f)
f = os.open("m", os.O_RDWR | os.O_CREAT); os.ftruncate(f, 4096); m = mmap.mmap(f, 4096, mmap.MAP_SHARED); os.close(f)
d = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
f = os.open(".", os.O_TMPFILE | os.O_WRONLY); os.write(f, b"12"); print(call(265, -100, b"/proc/self/fd/%d" % f, -100, b"named", 0x400)); os.write(f, b"3"); os.close(f)
os.open("x", C); os.open("y", C)
print(call(316, -100, b"x", -100, b"y", 2), call(316, d, b"x", d, b"y", 1))
try: os.setxattr("a", "user.mine", b"1")
except OSError: pass # in memory only from 6.6 on
capability = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
try: os.setxattr("a", "security.capability", capability); os.removexattr("a", "security.capability"); print("attributes")
except OSError: print("no attributes")
f = os.open("a", os.O_RDONLY); os.chmod("/proc/self/fd/%d" % f, 0o604); os.close(f)
handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + b"\0" * 128); mount = ctypes.c_int()
call(303, -100, b"a", handle, ctypes.byref(mount), 0); f = call(304, d, handle, os.O_WRONLY)
print("handle" if f > 0 else "no handle")
if f > 0: os.write(f, b"by handle"); os.close(f)
deep = "/".join(["e"] * 150); os.makedirs(deep); f = os.open(deep + "/deep", C); os.write(f, b"1"); os.close(f)
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
p = os.fork()
if p == 0:
    for n in range(3): f = os.open("high%d" % n, C); os.dup2(f, 1500 + 3000 * n); os.close(f); os.write(1500 + 3000 * n, b"high")
    os._exit(0)
os.wait(); print(p)
"#,
    );
    let events = watch.stop();
    let of_python = told(&events, pid, &folder);
    let has = |text: &str| assert!(of_python.iter().any(|line| line == text), "{text} is not in {of_python:#?}");
    has("Use a r0/0 w1/0 closed");
    let mapped = events.iter().any(|event| match &event.kind {
        EventKind::File(file) => file.mapped && file.place.path.ends_with("/m"),
        _ => false,
    });
    assert!(mapped, "{of_python:#?}");
    let link = of_python.iter().find(|line| line.starts_with("Link #")).unwrap();
    assert!(link.ends_with(" > named"), "{link}");
    has("Rename x > y");
    has("Rename x > y errno 17");
    let flags = events.iter().filter_map(|event| match &event.kind {
        EventKind::File(file) if file.other.as_ref().is_some_and(|other| other.path.ends_with("/y")) => {
            Some(file.flags)
        }
        _ => None,
    });
    assert_eq!(flags.collect::<Vec<_>>(), [2, 1]);
    if lines.iter().any(|line| line == "attributes") {
        let attributes: Vec<_> = of_python.iter().filter(|line| line.contains("xattr")).collect();
        let expected = ["Setxattr a > security.capability", "Removexattr a > security.capability"];
        assert_eq!(attributes, expected);
    }
    has("Chmod a 604");
    if lines.iter().any(|line| line == "handle") {
        has("Use a r0/0 w1/9 closed");
    }
    has(&format!("Use {}/deep r0/0 w1/1 closed", ["e"; 150].join("/")));
    let child: u32 = lines.last().unwrap().parse().unwrap();
    let of_child = told(&events, child, &folder);
    for n in 0..3 {
        let use_ = format!("Use high{n} r0/0 w1/4 closed");
        assert!(of_child.contains(&use_), "{of_child:#?}");
    }
    // What a process did is told before its end.
    let end =
        events.iter().position(|event| event.process.tgid == child && matches!(event.kind, EventKind::Exit { .. }));
    let last = events.iter().rposition(|event| event.process.tgid == child && matches!(event.kind, EventKind::File(_)));
    assert!(last < end, "{last:?} {end:?}");
}
