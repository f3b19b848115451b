//! Tests that need the kernel: root and BTF. Elsewhere they say that they were skipped.
//!
//! They watch only what they start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "these are tests")]

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
};

use receiver::{
    event::{Direction, Event, EventKind},
    probes::{Delivery, Options, Probes, Reader, Scope},
    targets::openssl,
};

/// One at a time: "what this process forks" is a property of the whole test process.
static ONE: Mutex<()> = Mutex::new(());

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<Event>>>);

impl Delivery for Sink {
    fn urgent(&mut self, _: &Event) {}
    fn ordered(&mut self, events: Vec<Event>, _: u64) {
        self.0.lock().unwrap().extend(events);
    }
}

struct Watch {
    probes: Probes,
    reader: Reader,
    sink: Sink,
    _one: MutexGuard<'static, ()>,
}

/// Watches what this test forks from now on; `None` where that is impossible.
fn watch(test: &str) -> Option<Watch> {
    let one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let options = Options { scope: Scope::Tree, watch_children: true, ..Options::default() };
    match Probes::load(options) {
        Ok(mut probes) => {
            for line in probes.status() {
                assert_eq!(line.error, None, "{}", line.name);
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
    fn stop(mut self) -> Vec<Event> {
        self.reader.stop();
        let drops: Vec<_> = self.probes.drops().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(drops, [], "nothing is lost");
        std::mem::take(&mut *self.sink.0.lock().unwrap())
    }
}

fn exits(events: &[Event]) -> HashMap<u32, Vec<(i32, i32)>> {
    let mut exits: HashMap<u32, Vec<_>> = HashMap::new();
    for event in events {
        if let EventKind::Exit { code, signal } = event.kind {
            exits.entry(event.process.tgid).or_default().push((code, signal));
        }
    }
    exits
}

#[test]
fn every_quick_process_is_told_once_with_all_its_facts() {
    let Some(watch) = watch("every_quick_process_is_told_once_with_all_its_facts") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut pids = Vec::new();
    for n in 0..500 {
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("exit {}", n % 7), "label", ""])
            .current_dir(folder.path())
            .spawn()
            .unwrap();
        pids.push((child.id(), n % 7));
        child.wait().unwrap();
    }
    let mut killed = Command::new("sleep").arg("60").spawn().unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    let events = watch.stop();
    let exits = exits(&events);
    for (pid, code) in pids {
        let execs: Vec<_> = events
            .iter()
            .filter(|event| event.process.tgid == pid)
            .filter_map(|event| if let EventKind::Exec(exec) = &event.kind { Some(exec) } else { None })
            .collect();
        assert_eq!(execs.len(), 1);
        assert_eq!(execs[0].args, ["/bin/sh", "-c", &format!("exit {code}"), "label", ""]);
        assert_eq!(Path::new(&execs[0].cwd), folder.path());
        assert_eq!(execs[0].parent.tgid, std::process::id());
        assert_eq!(exits[&pid], [(code, 0)]);
    }
    assert_eq!(exits[&killed.id()], [(0, 9)]);
}

#[test]
fn children_of_children_are_seen_and_long_arguments_are_flagged() {
    let Some(watch) = watch("children_of_children_are_seen_and_long_arguments_are_flagged") else { return };
    let long = "x".repeat(9000);
    // A daemon's double fork: the grandchild outlives its parent.
    let script = format!("(setsid sh -c 'sleep 0.1; /bin/echo {long} > /dev/null' &) ; exit 3");
    assert_eq!(Command::new("sh").args(["-c", &script]).status().unwrap().code(), Some(3));
    std::thread::sleep(std::time::Duration::from_millis(400));
    let events = watch.stop();
    let echo = events.iter().find_map(|event| match &event.kind {
        EventKind::Exec(exec) if exec.filename == "/bin/echo" => Some(exec),
        _ => None,
    });
    let echo = echo.expect("the grandchild was seen");
    assert!(echo.args_truncated && echo.args[1].len() < 4096 && echo.args[1].starts_with("xxx"));
    let own = std::process::id();
    assert!(events.iter().all(|event| event.process.tgid != own || matches!(event.kind, EventKind::Fork { .. })));
}

/// Sends 3 MiB in one write, then 300 small ones, over TLS to itself by memory BIOs.
const CLIENT: &str = r#"
import ssl, sys
def context(server):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    if server: c.load_cert_chain(sys.argv[1], sys.argv[2])
    else: c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
    return c
a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
client, server = context(False).wrap_bio(a, b), context(True).wrap_bio(b, a, server_side=True)
for _ in range(8):
    for side in (client, server):
        try: side.do_handshake()
        except ssl.SSLWantReadError: pass
big = bytes(i * 7 % 251 for i in range(3 << 20))
assert client.write(big) == len(big)
got = b""
while len(got) < len(big): got += server.read(100000)
assert got == big
for i in range(300):
    server.write(b"data: %d\n\n" % i)
    client.read(100)
"#;

#[test]
fn plaintext_is_whole_in_both_directions() {
    let Some(mut watch) = watch("plaintext_is_whole_in_both_directions") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED plaintext_is_whole_in_both_directions: needs the openssl command");
        return;
    }
    let library = Command::new("python3")
        .args(["-c", "import ssl\nprint([l.split()[-1] for l in open('/proc/self/maps') if 'libssl' in l][0])"])
        .output();
    let library =
        library.ok().and_then(|output| String::from_utf8(output.stdout).ok()).map(|path| path.trim().to_owned());
    let Some(library) = library.filter(|path| path.starts_with('/')) else {
        eprintln!("SKIPPED plaintext_is_whole_in_both_directions: needs python3 with a shared libssl");
        return;
    };
    let functions = openssl::find(&std::fs::read(&library).unwrap()[..]).unwrap();
    assert_eq!(functions.names().len(), 5);
    let links = watch.probes.attach_tls(Path::new(&library), &functions).unwrap();
    assert_eq!(links.count(), 9);
    let client = |watched: &mut Watch, on: bool| {
        watched.probes.watch_children_of_self(on).unwrap();
        let mut child = Command::new("python3").arg("-c").arg(CLIENT).arg(&certificate).arg(&key).spawn().unwrap();
        assert!(child.wait().unwrap().success());
        child.id()
    };
    let unwatched = client(&mut watch, false);
    let watched = client(&mut watch, true);
    let events = watch.stop();
    drop(links);
    assert!(events.iter().all(|event| event.process.tgid != unwatched || !matches!(event.kind, EventKind::Data(_))));

    let big: Vec<u8> = (0..3u32 << 20).map(|i| u8::try_from(u64::from(i) * 7 % 251).unwrap()).collect();
    let bytes = |client: bool, direction: Direction| -> Vec<u8> {
        let chunks =
            events.iter().filter(|event| event.process.tgid == watched).filter_map(|event| match &event.kind {
                EventKind::Data(chunk) => Some(chunk),
                _ => None,
            });
        let chunks: Vec<_> = chunks.collect();
        // The first plaintext is the client's.
        let object = chunks[0].object;
        chunks
            .iter()
            .filter(|chunk| (chunk.object == object) == client && chunk.direction == direction)
            .flat_map(|chunk| chunk.bytes.to_vec())
            .collect()
    };
    let small: Vec<u8> = (0..300).flat_map(|i| format!("data: {i}\n\n").into_bytes()).collect();
    assert!(bytes(true, Direction::Write) == big, "the client's write");
    assert!(bytes(false, Direction::Read) == big, "the server's reads");
    assert!(bytes(false, Direction::Write) == small, "the server's writes");
    assert!(bytes(true, Direction::Read) == small, "the client's reads");
}
