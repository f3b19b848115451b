//! Files and rights: what real processes do, and what is told of it. Needs root, BTF and python3; elsewhere each test says
//! that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "these are tests")]

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
};

use receiver::{
    event::{
        Event, EventKind,
        deeds::{FileDeed, FileEvent},
    },
    probes::{Delivery, Files, Options, Probes, Reader, Scope},
};

#[path = "file/security.rs"]
mod security;
#[path = "file/variants.rs"]
mod variants;

/// One at a time: "what this process forks" is a property of the whole test process.
static ONE: Mutex<()> = Mutex::new(());

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<(Vec<Event>, usize)>>);

impl Delivery for Sink {
    fn urgent(&mut self, _: &Event) {}
    fn ordered(&mut self, events: Vec<Event>, watermark: u64) {
        let mut sink = self.0.lock().unwrap();
        sink.1 += events.iter().filter(|event| event.time >= watermark).count();
        sink.0.extend(events);
    }
}

struct Watch {
    probes: Probes,
    reader: Reader,
    sink: Sink,
    _one: MutexGuard<'static, ()>,
}

/// Watches what this test forks from now on.
fn watch(test: &str, files: Files) -> Option<Watch> {
    let one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !Command::new("python3").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED {test}: needs python3");
        return None;
    }
    let options = Options { scope: Scope::Tree, watch_children: true, files, security: true, ..Options::default() };
    match Probes::load(options) {
        Ok(mut probes) => {
            if let Some(line) = probes.status().iter().find(|line| line.name == "process/ids" && line.error.is_some()) {
                eprintln!("SKIPPED {test}: {}", line.error.as_deref().unwrap_or_default());
                return None;
            }
            for line in probes.status() {
                // Kernels before 6.4 do not tell of operations.
                let recent = line.name == "security/ring.operations";
                let own = (line.name.starts_with("file/") || line.name.starts_with("security/")) && !recent;
                assert!(!own || line.error.is_none(), "{}: {:?}", line.name, line.error);
            }
            let sink = Sink::default();
            let reader = probes.start_reader(256 << 20, Box::new(sink.clone())).unwrap();
            Some(Watch { probes, reader, sink, _one: one })
        }
        Err(error) => {
            eprintln!("SKIPPED {test}: needs root and BTF: {error}");
            None
        }
    }
}

impl Watch {
    fn stop(self) -> Vec<Event> {
        let (events, lost) = self.stop_with_losses();
        assert_eq!(lost, [], "nothing is lost");
        events
    }

    fn stop_with_losses(mut self) -> (Vec<Event>, Vec<(&'static str, u64)>) {
        self.reader.stop();
        let lost = self.probes.drops().into_iter().filter(|(_, count)| *count > 0).collect();
        let mut sink = self.sink.0.lock().unwrap();
        (std::mem::take(&mut sink.0), lost)
    }
}

/// Runs a Python program in a folder. Gives its pid and what it printed.
fn python(folder: &Path, script: &str) -> (u32, Vec<String>) {
    let script = format!("import os, sys, ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n{script}");
    let mut command = Command::new("python3");
    command.args(["-S", "-B", "-c", &script]).current_dir(folder).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (pid, String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// What was told of files in a folder by a process, in short words.
fn told(events: &[Event], pid: u32, folder: &Path) -> Vec<String> {
    let prefix = format!("{}/", folder.display());
    let short = |path: &str| path.strip_prefix(&prefix).unwrap_or(path).to_owned();
    let files = events.iter().filter(|event| event.process.tgid == pid).filter_map(|event| match &event.kind {
        EventKind::File(file) => Some(file.as_ref()),
        _ => None,
    });
    let inside = |file: &&FileEvent| file.place.path.starts_with(&prefix) || file.place.path.starts_with("…");
    files
        .filter(inside)
        .map(|file| {
            let mut text = format!("{:?} {}", file.deed, short(&file.place.path));
            if let Some(other) = &file.other {
                text.push_str(&format!(" > {}", short(&other.path)));
            }
            if file.error != 0 {
                text.push_str(&format!(" errno {}", file.error));
            }
            if file.deed == FileDeed::Use {
                text.push_str(&format!(" r{}/{} w{}/{}", file.reads, file.read, file.writes, file.written));
            }
            for (flag, name) in [(file.created, "created"), (file.opened, "opened"), (file.closed, "closed")] {
                if flag {
                    text.push_str(&format!(" {name}"));
                }
            }
            match file.deed {
                FileDeed::Chmod | FileDeed::Mkdir | FileDeed::Create => text.push_str(&format!(" {:o}", file.mode)),
                FileDeed::Chown => text.push_str(&format!(" {}:{}", file.uid.cast_signed(), file.gid.cast_signed())),
                FileDeed::Truncate => text.push_str(&format!(" {}", file.length)),
                _ => {}
            }
            text
        })
        .collect()
}

#[test]
fn every_deed_is_told_with_its_path_and_outcome() {
    let Some(watch) = watch("every_deed_is_told_with_its_path_and_outcome", Files::All) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let (pid, _) = python(
        &folder,
        r#"
f = os.open("a", os.O_WRONLY | os.O_CREAT, 0o640); os.write(f, b"hello"); os.write(f, b"!"); os.close(f)
f = os.open("a", os.O_RDONLY); os.read(f, 3); os.pread(f, 100, 1); os.close(f)
os.mkdir("d", 0o750)
d = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
f = os.open("b", os.O_RDWR | os.O_CREAT | os.O_TRUNC, dir_fd=d); os.writev(f, [b"xy", b"z"]); os.pwritev(f, [b"1"], 9); os.lseek(f, 0, 0); os.readv(f, [bytearray(2)]); os.close(f)
os.rename("a", "d/c")
os.rename("c", "../e", src_dir_fd=d, dst_dir_fd=d)
os.link("e", "d/l")
os.symlink("../e", "d/s")
f = os.open("d/s", os.O_WRONLY | os.O_APPEND); os.write(f, b"Z"); os.close(f)
os.truncate("e", 2)
f = os.open("e", os.O_RDWR); os.ftruncate(f, 5); os.fchmod(f, 0o600); os.fchown(f, -1, 0); os.close(f)
os.chmod("e", 0o604)
os.chmod("d/../e", 0o644)
os.chmod("b", 0o604, dir_fd=d)
os.chown("e", 0, 12)
os.lchown("d/s", 7, -1)
os.chown("l", 0, 0, dir_fd=d)
os.mkfifo("p", 0o600)
os.unlink("d/l"); os.unlink("s", dir_fd=d); os.unlink("b", dir_fd=d)
os.chdir("d")
os.mkdir("deep"); os.rmdir("deep")
os.rmdir("../d")
os.chdir("..")
for wrong in (lambda: os.unlink("no"), lambda: os.rename("no", "x"), lambda: os.mkdir("e"), lambda: os.open("no/x", os.O_WRONLY | os.O_CREAT),
              lambda: os.open("no", os.O_RDONLY), lambda: os.rmdir("e"), lambda: os.truncate("no", 1)):
    try: wrong(); print("worked")
    except OSError: pass
libc.syscall(85, b"new", 0o600)
libc.syscall(2, b"old", 0o101, 0o600)
libc.syscall(437, -100, b"two", (ctypes.c_uint64 * 3)(0o101, 0o600, 0), 24)
"#,
    );
    let events = watch.stop();
    let told = told(&events, pid, &folder);
    let expected = [
        "Open a created opened",
        "Use a r0/0 w2/6 closed",
        "Use a r2/8 w0/0 opened closed",
        "Mkdir d 750",
        "Open d/b created opened",
        "Use d/b r1/2 w2/4 closed",
        "Rename a > d/c",
        "Rename d/c > e",
        "Link e > d/l",
        "Symlink d/s > ../e",
        "Open e opened",
        "Use e r0/0 w1/1 closed",
        "Truncate e 2",
        "Open e opened",
        "Truncate e 5",
        "Chmod e 600",
        "Chown e -1:0",
        "Use e r0/0 w0/0 closed",
        "Chmod e 604",
        "Chmod e 644",
        "Chmod d/b 604",
        "Chown e 0:12",
        "Chown d/s 7:-1",
        "Chown d/l 0:0",
        "Create p 10600",
        "Delete d/l",
        "Delete d/s",
        "Delete d/b",
        "Mkdir d/deep 777",
        "Rmdir d/deep",
        "Rmdir d",
        "Delete no errno 2",
        "Rename no > x errno 2",
        "Mkdir e errno 17 777",
        "Open no/x errno 2",
        "Open no errno 2",
        "Rmdir e errno 20",
        "Truncate no errno 2 1",
        "Open new created opened",
        "Open old created opened",
        "Open two created opened",
        "Use new r0/0 w0/0 closed",
        "Use old r0/0 w0/0 closed",
        "Use two r0/0 w0/0 closed",
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_is_hard_to_name_is_named() {
    let Some(watch) = watch("what_is_hard_to_name_is_named", Files::All) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let (pid, lines) = python(
        &folder,
        r#"
import subprocess, threading
def w(path, data=b"x", flags=os.O_WRONLY | os.O_CREAT):
    f = os.open(path, flags, 0o600); os.write(f, data); os.close(f)
# A name as long as names may be, a deep path, a path of a directory that is gone.
w("n" * 255)
deep = "/".join(["deep"] * 40); os.makedirs(deep); w(deep + "/f")
# A symbolic link on the way: the kernel's own path is told.
os.symlink(deep, "short"); w("short/g")
# A file without a name, one that is read after it was removed, a file in memory.
f = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600); os.write(f, b"12"); os.close(f)
f = os.open("gone", os.O_RDWR | os.O_CREAT); os.unlink("gone"); os.write(f, b"123"); os.close(f)
# Threads, and a process that writes to what it got open.
threads = [threading.Thread(target=w, args=(f"t{n}",)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
f = os.open("given", os.O_WRONLY | os.O_CREAT)
print(subprocess.Popen(["sh", "-c", "echo hello"], stdout=f).wait()); os.close(f)
# Never closed, and killed.
p = os.fork()
if p == 0:
    f = os.open("killed", os.O_WRONLY | os.O_CREAT); os.write(f, b"1234"); os.kill(os.getpid(), 9)
os.wait()
# copy_file_range, sendfile.
a = os.open("given", os.O_RDONLY); b = os.open("copy", os.O_WRONLY | os.O_CREAT)
os.sendfile(b, a, 0, 3); os.copy_file_range(a, b, 2, 0, 3); os.close(a); os.close(b)
# Another root.
p = os.fork()
if p == 0:
    try:
        os.chroot("deep"); os.chdir("/deep"); w("h")
    finally: os._exit(0)
os.wait()
print(p)
"#,
    );
    let events = watch.stop();
    let told = self::told(&events, pid, &folder);
    let all: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::File(file) => Some(format!("{:?} {} w{}", file.deed, file.place.path, file.written)),
            _ => None,
        })
        .collect();
    let has = |text: &str| assert!(told.iter().any(|line| line == text), "{text} is not in {told:#?}");
    let deep = ["deep"; 40].join("/");
    has(&format!("Open {} created opened", "n".repeat(255)));
    has(&format!("Open {deep}/f created opened"));
    has(&format!("Use {deep}/g r0/0 w1/1 closed"));
    assert!(told.iter().any(|line| line.starts_with("Use #") && line.contains("w1/2")), "{told:#?}");
    has("Use gone r0/0 w1/3 closed");
    for n in 0..8 {
        has(&format!("Use t{n} r0/0 w1/1 closed"));
    }
    has("Use given r2/5 w0/0 opened closed");
    has("Use copy r0/0 w2/5 closed");
    let given = format!("Use {}/given w6", folder.display());
    assert!(all.contains(&given), "{given} is not in {all:#?}");
    let killed = format!("Use {}/killed w4", folder.display());
    assert!(all.contains(&killed), "{all:#?}");
    assert!(all.contains(&"Use /deep/h w1".to_owned()), "{lines:?} {all:#?}");
}

/// 10,000 operations a second, so many that a second of them is more than the ring holds.
#[test]
fn a_flood_is_told_or_counted_and_costs_no_process() {
    let Some(watch) = watch("a_flood_is_told_or_counted_and_costs_no_process", Files::All) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (pid, lines) = python(
        folder.path(),
        r#"
import time
begin = time.monotonic()
for n in range(20000):
    f = os.open("f%d" % (n % 100), os.O_WRONLY | os.O_CREAT); os.write(f, b"x"); os.close(f)
    if n % 100 == 99:
        for m in range(100): os.unlink("f%d" % m)
    if n % 1000 == 0:
        if os.fork() == 0: os._exit(0)
        os.wait()
print(time.monotonic() - begin)
"#,
    );
    let (events, lost) = watch.stop_with_losses();
    let count = |deed: FileDeed| {
        let of = |event: &&Event| matches!(&event.kind, EventKind::File(file) if file.deed == deed);
        events.iter().filter(|event| event.process.tgid == pid).filter(of).count() as u64
    };
    let counts = [count(FileDeed::Open), count(FileDeed::Use), count(FileDeed::Delete)];
    let dropped: u64 = lost.iter().filter(|(name, _)| *name == "file_ring_full").map(|(_, count)| count).sum();
    eprintln!("{counts:?} told, {lost:?} lost, in {lines:?} s");
    // Beside the files here python reads some of its own.
    let own = |event: &&Event| matches!(&event.kind, EventKind::File(file) if !file.place.path.contains("/f"));
    let other = events.iter().filter(|event| event.process.tgid == pid).filter(own).count() as u64;
    let all: u64 = counts.iter().sum();
    assert!(all + dropped >= 60_000 && all + dropped <= 60_000 + other + 1000, "{all} + {dropped}, {other}");
    let exits = events.iter().filter(|event| matches!(event.kind, EventKind::Exit { .. })).count();
    // Where python3 is a wrapper, there are more.
    assert!(exits >= 21, "{exits}");
    assert!(lost.iter().all(|(name, _)| *name == "file_ring_full"), "{lost:?}");
}
