//! Sockets and pipes of real programs. Needs root, BTF and python3; elsewhere each test says that it was skipped. Traffic
//! stays on the loopback interface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "these are tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
};

use pipeline::ProcessKey;
use receiver::{
    event::{Chunk, Direction, Event, EventKind, Socket, SocketKind, Source},
    probes::{Delivery, Options, Probes, Reader, Scope, socket::Capture},
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

/// Watches what this test forks from now on, or, without `children`, what it names.
fn watch(test: &str, children: bool, capture: Capture) -> Option<Watch> {
    if !Command::new("python3").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED {test}: needs python3");
        return None;
    }
    watch_any(test, children, capture)
}

/// The same, without python3.
fn watch_any(test: &str, children: bool, capture: Capture) -> Option<Watch> {
    let one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let scope = if children { Scope::Tree } else { Scope::Host };
    match Probes::load(Options { scope, watch_children: children, capture, ..Options::default() }) {
        Ok(mut probes) => {
            for line in probes.status().iter().filter(|line| line.name.starts_with("socket/")) {
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
    /// Everything that was told of one process, by its events.
    fn stop(mut self, tgid: u32) -> Told {
        self.reader.stop();
        let lost: Vec<_> = self.probes.drops().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(lost, [], "nothing is lost");
        let events = std::mem::take(&mut *self.sink.0.lock().unwrap());
        let mut told = Told::default();
        for event in events.into_iter().filter(|event| event.process.tgid == tgid) {
            match event.kind {
                EventKind::Socket(socket) => assert!(told.sockets.insert(socket.id, socket).is_none(), "told once"),
                EventKind::SocketClose { socket, sent, received } => told.closed.push((socket, sent, received)),
                EventKind::Data(chunk) => told.data(&chunk),
                _ => {}
            }
        }
        told
    }
}

#[derive(Default)]
struct Told {
    sockets: BTreeMap<u64, Socket>,
    closed: Vec<(u64, u64, u64)>,
    /// Bytes by source, object, and whether they were sent.
    bytes: BTreeMap<(u8, u64, bool), Vec<u8>>,
    /// Bytes that calls moved, however much of them was told.
    totals: BTreeMap<(u64, bool), u64>,
}

impl Told {
    fn data(&mut self, chunk: &Chunk) {
        let sent = chunk.direction == Direction::Write;
        if chunk.offset == 0 {
            *self.totals.entry((chunk.object, sent)).or_default() += chunk.total;
        }
        self.bytes.entry((chunk.source as u8, chunk.object, sent)).or_default().extend(&chunk.bytes);
    }

    fn of(&self, source: Source) -> impl Iterator<Item = (u64, bool, &[u8])> {
        let of_source = self.bytes.iter().filter(move |(key, _)| key.0 == source as u8);
        of_source.map(|((_, object, sent), bytes)| (*object, *sent, bytes.as_slice()))
    }
}

/// A Python program; with `watch` known, it begins when it is told to.
fn python(script: &str) -> Child {
    let script = format!("{PRELUDE}\n{script}");
    let mut command = Command::new("python3");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn lines(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[path = "socket/network.rs"]
mod network;

const PRELUDE: &str = r#"
import os, socket, sys
def connected():
    listener = socket.create_server(("127.0.0.1", 0))
    a = socket.create_connection(listener.getsockname())
    b = listener.accept()[0]
    listener.close()
    return a, b
def inode(s):
    return os.fstat(s if isinstance(s, int) else s.fileno()).st_ino
def exactly(n, read):
    got = b""
    while len(got) < n:
        got += read(n - len(got))
    return got
"#;

#[test]
fn http_is_told_byte_for_byte_whatever_the_call() {
    let test = "http_is_told_byte_for_byte_whatever_the_call";
    let Some(watch) = watch(test, true, Capture::default()) else { return };
    let child = python(
        r#"
body = bytes(range(256)) * 3000
head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
answer = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n" + b"123456789"
import threading
def reads(b, how):
    n = len(head) + len(body)
    if how == 0: return exactly(n, lambda m: os.read(b.fileno(), m))
    if how == 1: return exactly(n, lambda m: (b.recv(10, socket.MSG_PEEK), b.recv(m))[1])
    if how == 2:
        got = 0
        while got < n:
            parts = [bytearray(1), bytearray(0), bytearray(70000)]
            got += b.recvmsg_into(parts)[0]
        return
    got = 0
    while got < n: got += os.readv(b.fileno(), [bytearray(100), bytearray(5000), bytearray(200000)])
def writes(a, how):
    if how == 0:
        for piece in (head, body):
            view = memoryview(piece)
            while view: view = view[os.write(a.fileno(), view):]
    elif how == 1: a.sendall(head + body)
    elif how == 2:
        pieces = [b"", head] + [body[i:i + 9000] for i in range(0, len(body), 9000)]
        while pieces:
            n = a.sendmsg(pieces[:60])
            while pieces and n >= len(pieces[0]): n -= len(pieces.pop(0))
            if pieces: pieces[0] = pieces[0][n:]
    else:
        pieces = [head[:20], head[20:], body[:1], body[1:]]
        while pieces:
            n = os.writev(a.fileno(), pieces)
            while pieces and n >= len(pieces[0]): n -= len(pieces.pop(0))
            if pieces: pieces[0] = pieces[0][n:]
for how in range(4):
    a, b = connected()
    thread = threading.Thread(target=reads, args=(b, how)); thread.start()
    writes(a, how); thread.join()
    b.sendall(answer); exactly(len(answer), a.recv)
    print(inode(a), inode(b), a.getsockname()[1], b.getsockname()[1], flush=True)
    a.close(); b.close()
"#,
    );
    let tgid = child.id();
    let truth = lines(child);
    let told = watch.stop(tgid);
    let body: Vec<u8> = (0..3000).flat_map(|_| 0..=255u8).collect();
    let mut request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 768000\r\n\r\n".to_vec();
    request.extend(&body);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789";
    assert_eq!(truth.len(), 4);
    for line in truth {
        let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [a, b, client, server] = numbers[..] else { panic!("{line}") };
        for (object, sent, wanted) in
            [(a, true, &request[..]), (b, false, &request), (a, false, answer), (b, true, answer)]
        {
            let bytes = told.bytes.get(&(Source::Socket as u8, object, sent)).expect("was told");
            assert!(bytes == wanted, "{} of {} bytes, sent {sent}", bytes.len(), wanted.len());
        }
        let socket = told.sockets[&a];
        assert_eq!(socket.kind, SocketKind::Tcp);
        assert_eq!(u64::from(socket.local.unwrap().port()), client);
        assert_eq!(u64::from(socket.peer.unwrap().port()), server);
        assert!(told.closed.contains(&(a, request.len() as u64, answer.len() as u64)), "{:?}", told.closed);
    }
}

#[test]
fn nothing_is_copied_of_what_is_neither_http_nor_json_rpc() {
    let test = "nothing_is_copied_of_what_is_neither_http_nor_json_rpc";
    let Some(watch) = watch(test, true, Capture::default()) else { return };
    let child = python(
        r#"
a, b = connected()
for _ in range(100):
    a.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"); b.recv(100); b.sendall(b"$5\r\nGET /\r\n"); a.recv(100)
r, w = os.pipe()
for _ in range(100):
    os.write(w, b'{"level": "info", "message": "started"}\n'); os.read(r, 100)
u, v = socket.socketpair()
u.sendall(b"GETAWAY\r\n"); v.recv(100)
print(inode(a), inode(b))
"#,
    );
    let tgid = child.id();
    let truth = lines(child);
    let told = watch.stop(tgid);
    assert_eq!(told.bytes, BTreeMap::new());
    // Of TCP it is told that it was used, of nothing else.
    let sockets: BTreeSet<String> = told.sockets.keys().map(u64::to_string).collect();
    assert_eq!(sockets, truth[0].split(' ').map(str::to_owned).collect());
}

#[test]
fn json_rpc_is_told_from_pipes_and_local_sockets() {
    let test = "json_rpc_is_told_from_pipes_and_local_sockets";
    let Some(watch) = watch(test, true, Capture::default()) else { return };
    let child = python(
        r#"
hello = b' {"method": "initialize", "params": {"capabilities": {"x": "' + b"y" * 400 + b'"}}, "jsonrpc": "2.0", "id": 0}\n'
long = b'{"jsonrpc": "2.0", "id": 0, "result": "' + b"z" * 200000 + b'"}\n'
r, w = os.pipe()
os.write(w, b"ready\n"); os.read(r, 6)
os.write(w, hello); exactly(len(hello), lambda n: os.read(r, n))
u, v = socket.socketpair()
import threading
u.sendall(hello); exactly(len(hello), v.recv)
thread = threading.Thread(target=lambda: exactly(len(long), u.recv)); thread.start()
v.sendall(long); thread.join()
print(inode(r), inode(u), inode(v))
"#,
    );
    let tgid = child.id();
    let truth = lines(child);
    let told = watch.stop(tgid);
    let numbers: Vec<u64> = truth[0].split(' ').map(|word| word.parse().unwrap()).collect();
    let [pipe, u, v] = numbers[..] else { panic!("{truth:?}") };
    let lengths: Vec<_> = told.of(Source::Pipe).map(|(object, sent, bytes)| (object, sent, bytes.len())).collect();
    let mut wanted = vec![
        (pipe, false, 498),
        (pipe, true, 498),
        (u, false, 200_043),
        (u, true, 498),
        (v, false, 498),
        (v, true, 200_043),
    ];
    let hello = told.of(Source::Pipe).find(|(object, ..)| *object == pipe).unwrap().2;
    for place in &mut wanted {
        if place.2 == 498 {
            place.2 = hello.len();
        } else {
            place.2 = br#"{"jsonrpc": "2.0", "id": 0, "result": ""}"#.len() + 200_001;
        }
    }
    wanted.sort_unstable();
    assert_eq!(lengths, wanted);
    assert!(hello.starts_with(br#" {"method": "initialize""#) && hello.ends_with(b"\"id\": 0}\n"));
    assert_eq!(told.sockets[&pipe].kind, SocketKind::Pipe);
    assert_eq!((told.sockets[&u].kind, told.sockets[&u].other), (SocketKind::Unix, Some(v)));
    assert_eq!(told.sockets[&v].other, Some(u));
}

/// A server that logs for long, and as JSON too, before it speaks; and one with headers as language servers have them.
#[test]
fn json_rpc_is_found_after_a_long_log_and_behind_headers() {
    let Some(watch) = watch("json_rpc_is_found_after_a_long_log_and_behind_headers", true, Capture::default()) else {
        return;
    };
    let child = python(
        r#"
hello = b'{"jsonrpc": "2.0", "id": 0, "method": "initialize"}\n'
r, w = os.pipe()
for n in range(1000):
    os.write(w, b'{"level": "info"}\n' if n % 40 == 0 else b"starting\n"); os.read(r, 100)
os.write(w, hello); os.read(r, 100)
r2, w2 = os.pipe()
os.write(w2, b"content-length: 51\r\n\r\n"); os.write(w2, hello[:-1]); os.read(r2, 100)
print(inode(w), inode(w2))
"#,
    );
    let tgid = child.id();
    let truth = lines(child);
    let told = watch.stop(tgid);
    let numbers: Vec<u64> = truth[0].split(' ').map(|word| word.parse().unwrap()).collect();
    let sent = |pipe: u64| {
        let found = told.of(Source::Pipe).find(|(object, sent, _)| *object == pipe && *sent);
        found.map(|(.., bytes)| String::from_utf8_lossy(bytes).into_owned())
    };
    let hello = r#"{"jsonrpc": "2.0", "id": 0, "method": "initialize"}"#;
    assert_eq!(sent(numbers[0]), Some(format!("{hello}\n")));
    assert_eq!(sent(numbers[1]), Some(format!("content-length: 51\r\n\r\n{hello}")));
}

#[test]
fn of_tls_only_beginnings_are_told_and_dns_both_ways() {
    let test = "of_tls_only_beginnings_are_told_and_dns_both_ways";
    let Some(watch) = watch(test, true, Capture::default()) else { return };
    let child = python(
        r#"
a, b = connected()
hello = b"\x16\x03\x01\x27\x10\x01" + b"h" * 9995
a.sendmsg([hello[:7], hello[7:]]); exactly(len(hello), b.recv)
record = b"\x17\x03\x03\x03\xe8" + b"r" * 1000
for _ in range(9): a.sendall(record); exactly(len(record), b.recv)
print(inode(a))
for kind in range(3):
    d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Nobody need answer.
    try:
        if kind == 0: d.sendto(b"question", ("127.0.0.1", 53))
        elif kind == 1: d.connect(("127.0.0.1", 53)); d.send(b"question")
        else: d.sendmsg([b"quest", b"ion"], [], 0, ("127.0.0.1", 53))
    except OSError: pass
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
other.sendto(b"question", ("127.0.0.1", 54))
"#,
    );
    let tgid = child.id();
    let truth = lines(child);
    let told = watch.stop(tgid);
    let a: u64 = truth[0].parse().unwrap();
    let (_, _, bytes) = told.of(Source::Handshake).find(|(object, sent, _)| *object == a && *sent).unwrap();
    assert_eq!(bytes.len(), 10_001 + 3 * 1005 + 6 * 64);
    assert_eq!(told.totals[&(a, true)], 10_001 + 9 * 1005);
    assert_eq!(told.of(Source::Socket).count(), 0);
    let dns: Vec<_> = told.of(Source::Dns).collect();
    assert_eq!(dns.len(), 3);
    for (object, sent, bytes) in dns {
        assert_eq!((sent, bytes), (true, &b"question"[..]));
        assert_eq!(told.sockets[&object].peer.unwrap().to_string(), "127.0.0.1:53");
    }
}

#[test]
fn a_keep_alive_connection_is_joined_in_its_middle() {
    let test = "a_keep_alive_connection_is_joined_in_its_middle";
    let Some(mut watch) = watch(test, false, Capture::default()) else { return };
    let mut child = python(
        r#"
a, b = connected()
def exchange(path, more=lambda: None):
    request = b"POST " + path + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
    a.sendall(request); exactly(len(request), b.recv)
    b.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n"); exactly(40, a.recv)
    for n in range(100):
        if n == 30: more()
        b.sendall(b"word"); exactly(4, a.recv)
def joined():
    print("ready", inode(a), inode(b), flush=True); sys.stdin.readline()
exchange(b"/one")
exchange(b"/two", joined)
exchange(b"/three")
"#,
    );
    let tgid = child.id();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    watch.probes.watch(ProcessKey { tgid, start: 0 }).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    let told = watch.stop(tgid);
    let numbers: Vec<u64> = line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
    for (object, sent, bytes) in told.of(Source::Socket) {
        let client = object == numbers[0];
        if client == sent {
            assert!(bytes.starts_with(b"POST /three HTTP/1.1\r\n"));
        } else {
            assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && bytes.len() == 440, "{}", bytes.len());
        }
    }
    assert_eq!(told.of(Source::Socket).count(), 4);
}

#[test]
fn what_is_not_asked_for_is_not_copied() {
    let test = "what_is_not_asked_for_is_not_copied";
    let capture = Capture { http: false, mcp: false, network: false, dns: false, sockets: true };
    let Some(watch) = watch(test, true, capture) else { return };
    let child = python(
        r#"
a, b = connected()
a.sendall(b"GET / HTTP/1.1\r\n\r\n"); b.recv(100)
a, b = connected()
a.sendall(b"\x16\x03\x01\x00\x10\x01" + b"h" * 15); b.recv(100)
r, w = os.pipe()
os.write(w, b'{"jsonrpc": "2.0"}\n')
"#,
    );
    let tgid = child.id();
    lines(child);
    assert_eq!(watch.stop(tgid).bytes, BTreeMap::new());
}
