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
    probes::{Delivery, Options, Probes, Reader, Scope, now, tls::Links},
    targets::{analysis, openssl, plan::Plan},
};

/// One at a time: "what this process forks" is a property of the whole test process.
static ONE: Mutex<()> = Mutex::new(());

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    events: Vec<Event>,
    watermark: u64,
    /// Events that came after a watermark that said that they would not.
    late: usize,
    /// From the end of a TLS call until it was delivered, in ns: the longest.
    slowest: u64,
}

impl Delivery for Sink {
    fn urgent(&mut self, _: &Event) {}
    fn ordered(&mut self, events: Vec<Event>, watermark: u64) {
        let mut received = self.0.lock().unwrap();
        let mut newest = received.watermark;
        for event in events {
            received.late += usize::from(event.time < newest);
            newest = event.time;
            if matches!(event.kind, EventKind::Data(_)) {
                received.slowest = received.slowest.max(now() - event.time);
            }
            received.events.push(event);
        }
        received.late += usize::from(watermark < received.watermark);
        received.watermark = watermark;
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
    watch_with(test, Options::default())
}

fn watch_with(test: &str, options: Options) -> Option<Watch> {
    let one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let options = Options { scope: Scope::Tree, watch_children: true, ..options };
    match Probes::load(options) {
        Ok(mut probes) => {
            let foreign = probes.status().into_iter().find(|line| line.name == "process/ids" && line.error.is_some());
            if let Some(line) = foreign {
                eprintln!("SKIPPED {test}: {}", line.error.as_deref().unwrap_or_default());
                return None;
            }
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
    fn stop(self) -> Vec<Event> {
        let (events, drops) = self.stop_with_losses();
        assert_eq!(drops.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(), [], "nothing is lost");
        events
    }

    fn stop_with_losses(mut self) -> (Vec<Event>, Vec<(&'static str, u64)>) {
        self.reader.stop();
        let mut received = self.sink.0.lock().unwrap();
        assert_eq!(received.late, 0, "the watermarks hold");
        (std::mem::take(&mut received.events), self.probes.drops())
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
    // A daemon's double fork: the grandchild outlives its parent. It holds the output until its end.
    let script = format!("(setsid sh -c 'sleep 0.1; /bin/echo {long}' &) ; exit 3");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 9001));
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

/// Functions with the names and arguments of OpenSSL's, so that nothing need be installed. The "object" tells what
/// happens: [`FAIL`], [`SHORT`], [`NEST`], [`LIE`]; else all is moved.
mod library {
    #![allow(non_snake_case, reason = "the names are OpenSSL's")]

    use std::hint::black_box;

    pub const FAIL: usize = 2;
    pub const SHORT: usize = 3;
    pub const NEST: usize = 4;
    pub const LIE: usize = 5;
    pub const INNER: usize = 6;

    fn moved(object: usize, n: usize) -> Option<usize> {
        match object {
            FAIL => None,
            SHORT => Some(n / 2),
            LIE => Some(n + 4096),
            _ => Some(n),
        }
    }

    fn number(moved: Option<usize>) -> i32 {
        moved.map_or(-1, |n| i32::try_from(n).unwrap())
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub extern "C" fn SSL_write(object: usize, bytes: *const u8, n: i32) -> i32 {
        let (object, _, n) = black_box((object, bytes, n));
        if object == NEST {
            let inner = super::pattern(INNER, 700);
            black_box(SSL_write(INNER, inner.as_ptr(), 700));
        }
        number(moved(object, usize::try_from(n).unwrap()))
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub extern "C" fn SSL_read(object: usize, bytes: *mut u8, n: i32) -> i32 {
        let (_, object, n) = black_box((bytes, object, n));
        number(moved(object, usize::try_from(n).unwrap()))
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub extern "C" fn SSL_write_ex(object: usize, bytes: *const u8, n: usize, written: &mut usize) -> i32 {
        let (object, n, _) = black_box((object, n, bytes));
        moved(object, n).map_or(0, |n| {
            *written = n;
            1
        })
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub extern "C" fn SSL_read_ex(object: usize, bytes: *mut u8, n: usize, read: &mut usize) -> i32 {
        let (n, _, object) = black_box((n, bytes, object));
        moved(object, n).map_or(0, |n| {
            *read = n;
            1
        })
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub extern "C" fn SSL_free(object: usize) {
        black_box(object);
    }
}

fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((seed * 31 + i * 7) % 251).unwrap()).collect()
}

const SIZES: [usize; 12] = [1, 511, 512, 513, 4096, 4097, 16384, 65535, 65536, 65537, 200_000, 3 << 20];
const THREADS: usize = 8;
const CALLS: usize = 300;
const IGNORED: usize = 7;
const FLOOD: usize = 48 << 20;

fn send(object: usize, bytes: &[u8]) {
    library::SSL_write(object, bytes.as_ptr(), i32::try_from(bytes.len()).unwrap());
}

/// What a watched process does; the tests start it.
#[test]
#[ignore = "started by the other tests"]
fn program() {
    if std::env::var_os("ONLOOKER_TEST_PROGRAM").is_none() {
        return;
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let mut result = 0;
    match line.trim() {
        "sizes" => {
            for size in SIZES {
                let mut bytes = pattern(size, size);
                let n = i32::try_from(size).unwrap();
                library::SSL_write(1, bytes.as_ptr(), n);
                library::SSL_write_ex(1, bytes.as_ptr(), size, &mut result);
                library::SSL_read(1, bytes.as_mut_ptr(), n);
                library::SSL_read_ex(1, bytes.as_mut_ptr(), size, &mut result);
            }
            library::SSL_free(1);
            let mut bytes = pattern(0, 1000);
            for object in [library::FAIL, library::LIE, library::SHORT] {
                library::SSL_write(object, bytes.as_ptr(), 1000);
                library::SSL_read_ex(object, bytes.as_mut_ptr(), 1000, &mut result);
            }
            send(library::NEST, &pattern(library::NEST, 5000));
            for again in [b"hidden", b"so too"] {
                send(IGNORED, again);
            }
            library::SSL_free(IGNORED);
            send(IGNORED, b"seen");
        }
        "threads" => std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for call in 0..CALLS {
                        send(100 + thread, &pattern(call, 100 + call * 61));
                    }
                });
            }
        }),
        "flood" => {
            let bytes = pattern(0, FLOOD);
            library::SSL_write_ex(1, bytes.as_ptr(), FLOOD, &mut result);
        }
        "cost" => {
            eprintln!("watched: {} ns a call", cost(1));
            eprintln!("watched, connection ruled out: {} ns a call", cost(IGNORED));
        }
        "quiet" => {
            std::thread::sleep(std::time::Duration::from_millis(1500));
            send(1, b"after a while");
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        _ => {}
    }
}

/// Time of a write of 1 KiB that moves nothing by itself, ns: the best of ten rounds.
fn cost(object: usize) -> u128 {
    let bytes = pattern(1, 1024);
    let round = |_| {
        let began = std::time::Instant::now();
        for _ in 0..5000 {
            send(object, &bytes);
        }
        let took = began.elapsed().as_nanos() / 5000;
        std::thread::sleep(std::time::Duration::from_millis(20));
        took
    };
    (0..10).map(round).min().unwrap_or_default()
}

#[test]
#[ignore = "it measures: run it alone, with --nocapture"]
fn the_cost_of_a_call() {
    eprintln!("not attached: {} ns a call", cost(1));
    let Some(mut watch) = watch("the_cost_of_a_call") else { return };
    let (_, links) = watch.run("cost", |probes, tgid| {
        probes.ignore(tgid, IGNORED as u64).unwrap();
        eprintln!("attached, another process is watched: {} ns a call", cost(1));
    });
    watch.stop();
    drop(links);
    let Some(mut watch) = self::watch("the_cost_of_a_call") else { return };
    let (_, links) = watch.run("quiet", |_, _| {});
    eprintln!("after a quiet while: delivered in {} us", watch.sink.0.lock().unwrap().slowest / 1000);
    drop(links);
}

/// Sends 2 KB back and forth over TLS to itself by memory BIOs; prints ns of a round: the best of ten times 1000.
const ROUNDS: &str = r#"
import ssl, sys, time
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
big, best = b"x" * 2048, 1 << 60
for _ in range(10):
    began = time.perf_counter_ns()
    for _ in range(1000):
        client.write(big); server.read(4096); server.write(big); client.read(4096)
    best = min(best, (time.perf_counter_ns() - began) // 1000)
    time.sleep(0.02)
print(best)
"#;

/// The libssl that python3 maps, and a certificate in this folder; none if there is no such thing.
fn library_and_certificate(folder: &Path) -> Option<String> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status();
    let library = Command::new("python3")
        .args(["-c", "import ssl\nprint([l.split()[-1] for l in open('/proc/self/maps') if 'libssl' in l][0])"])
        .output();
    let library = String::from_utf8(library.ok()?.stdout).ok()?.trim().to_owned();
    (made.is_ok_and(|status| status.success()) && library.starts_with('/')).then_some(library)
}

#[test]
#[ignore = "it measures: run it alone, with --nocapture"]
fn the_cost_of_the_systems_libssl() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library_and_certificate(folder.path()) else { return };
    let file = std::fs::File::open(&library).unwrap();
    let named = openssl::find(&std::fs::read(&library).unwrap()[..]).unwrap().plan().unwrap();
    let chosen = analysis::file(&file).plans.remove(0);
    let measure = |plan: Option<&Plan>| -> Option<f64> {
        let mut watch = self::watch("the_cost_of_the_systems_libssl")?;
        let links = plan.map(|plan| watch.probes.attach_tls(Path::new(&library), &plan.sites).unwrap());
        let output = Command::new("python3")
            .args(["-c", ROUNDS, "certificate.pem", "key.pem"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        watch.reader.stop();
        drop(links);
        String::from_utf8(output.stdout).unwrap().trim().parse().ok()
    };
    let Some(none) = measure(None) else { return };
    let (Some(named_cost), Some(chosen_cost)) = (measure(Some(&named)), measure(Some(&chosen))) else { return };
    let call = |cost: f64| (cost - none) / 4.0;
    eprintln!(
        "a round of two writes and two reads: {none} ns; by {:?}: {named_cost} ns; by {:?}: {chosen_cost} ns",
        named.names(),
        chosen.names()
    );
    eprintln!(
        "added to a call: {:.0} ns, {:.0} ns: {:.1} times as much",
        call(named_cost),
        call(chosen_cost),
        call(named_cost) / call(chosen_cost)
    );
}

impl Watch {
    /// Attaches to this very file and runs the program.
    fn run(&mut self, what: &str, prepare: impl FnOnce(&mut Probes, u32)) -> (u32, Links) {
        use std::io::Write;
        let own = std::env::current_exe().unwrap();
        let functions = openssl::find(&std::fs::read(&own).unwrap()[..]).unwrap();
        let links = self.probes.attach_tls(&own, &functions.plan().unwrap().sites).unwrap();
        assert_eq!(links.count(), 9);
        let mut child = Command::new(own)
            .args(["--exact", "program", "--ignored", "--nocapture"])
            .env("ONLOOKER_TEST_PROGRAM", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        prepare(&mut self.probes, child.id());
        child.stdin.take().unwrap().write_all(what.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        (child.id(), links)
    }
}

/// The chunks of a process, joined to calls in the order of their ends; a call that is not whole is an error.
fn calls(events: &[Event], tgid: u32) -> Vec<(u64, Direction, Vec<u8>)> {
    let mut open: HashMap<(u32, u64, Direction), Vec<u8>> = HashMap::new();
    let mut calls = Vec::new();
    for event in events.iter().filter(|event| event.process.tgid == tgid) {
        let EventKind::Data(chunk) = &event.kind else { continue };
        let key = (event.tid, chunk.object, chunk.direction);
        let call = open.entry(key).or_default();
        assert_eq!(chunk.offset, call.len() as u64);
        call.extend(&chunk.bytes);
        if chunk.total == call.len() as u64 {
            calls.push((chunk.object, chunk.direction, open.remove(&key).unwrap()));
        }
    }
    assert!(open.is_empty(), "every call is whole");
    calls
}

#[test]
fn calls_of_every_size_and_outcome_are_told() {
    let Some(mut watch) = watch("calls_of_every_size_and_outcome_are_told") else { return };
    let (tgid, links) = watch.run("sizes", |probes, tgid| {
        probes.ignore(tgid, IGNORED as u64).unwrap();
        // onlooker's own process is never seen.
        send(1, b"onlooker's own");
    });
    let events = watch.stop();
    drop(links);
    let own = std::process::id();
    assert!(events.iter().all(|event| event.process.tgid != own || matches!(event.kind, EventKind::Fork { .. })));
    let mut expected = Vec::new();
    for size in SIZES {
        for direction in [Direction::Write, Direction::Write, Direction::Read, Direction::Read] {
            expected.push((1, direction, pattern(size, size)));
        }
    }
    let half = pattern(0, 500);
    expected.push((library::SHORT as u64, Direction::Write, half.clone()));
    expected.push((library::SHORT as u64, Direction::Read, half));
    expected.push((library::INNER as u64, Direction::Write, pattern(library::INNER, 700)));
    expected.push((library::NEST as u64, Direction::Write, pattern(library::NEST, 5000)));
    expected.push((IGNORED as u64, Direction::Write, b"seen".to_vec()));
    let calls = calls(&events, tgid);
    let facts = |calls: &[(u64, Direction, Vec<u8>)]| {
        calls.iter().map(|(object, direction, bytes)| (*object, *direction, bytes.len())).collect::<Vec<_>>()
    };
    assert_eq!(facts(&calls), facts(&expected));
    assert!(calls == expected, "byte for byte");
    let closed: Vec<u64> = events
        .iter()
        .filter_map(|event| if let EventKind::Close { object } = event.kind { Some(object) } else { None })
        .collect();
    assert_eq!(closed, [1, IGNORED as u64]);
}

#[test]
fn threads_do_not_mix() {
    let Some(mut watch) = watch("threads_do_not_mix") else { return };
    let (tgid, links) = watch.run("threads", |_, _| {});
    let events = watch.stop();
    drop(links);
    let calls = calls(&events, tgid);
    assert_eq!(calls.len(), THREADS * CALLS);
    let mut next = [0; THREADS];
    for (object, direction, bytes) in calls {
        let thread = usize::try_from(object).unwrap() - 100;
        assert_eq!(direction, Direction::Write);
        assert!(bytes == pattern(next[thread], 100 + next[thread] * 61), "call {} of thread {thread}", next[thread]);
        next[thread] += 1;
    }
}

#[test]
fn what_is_lost_is_known_to_the_byte() {
    let options = Options { payload_ring: 1 << 20, ..Options::default() };
    let Some(mut watch) = watch_with("what_is_lost_is_known_to_the_byte", options) else { return };
    let (tgid, links) = watch.run("flood", |_, _| {});
    let (events, drops) = watch.stop_with_losses();
    drop(links);
    let drops: HashMap<_, _> = drops.into_iter().collect();
    let whole = pattern(0, FLOOD);
    let (mut got, mut end) = (0, 0);
    for event in events.iter().filter(|event| event.process.tgid == tgid) {
        let EventKind::Data(chunk) = &event.kind else { continue };
        assert_eq!(chunk.total, FLOOD as u64);
        assert!(chunk.offset >= end, "in order");
        end = chunk.offset + chunk.bytes.len() as u64;
        let at = usize::try_from(chunk.offset).unwrap();
        assert!(chunk.bytes[..] == whole[at..at + chunk.bytes.len()], "what is there is right");
        got += chunk.bytes.len() as u64;
    }
    assert!(drops["payload_ring_full"] > 0, "the ring is too small for this");
    assert_eq!(got + drops["payload_ring_full_bytes"], FLOOD as u64);
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
    let links = watch.probes.attach_tls(Path::new(&library), &functions.plan().unwrap().sites).unwrap();
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
