//! Connections: outcomes, ends, bytes; and what assembly makes of them.

use std::net::SocketAddr;

use pipeline::{
    Kind, Observation,
    observation::{Connection, ConnectionPhase, Dns, Endpoint, Failure, Transport},
};
use receiver::{
    assemble::Assembler,
    record::{Frame, Header, Scope as Told, Settings},
};

use super::*;

/// What assembly tells of one process.
struct Seen {
    connections: Vec<Connection>,
    lookups: Vec<Dns>,
}

impl Watch {
    fn observations(mut self, tgid: u32) -> Seen {
        for line in self.probes.status().iter().filter(|line| line.name.starts_with("network/")) {
            let error = line
                .error
                .as_deref()
                .map(|error| error.chars().rev().take(900).collect::<Vec<_>>().into_iter().rev().collect::<String>());
            assert_eq!(error, None, "{}", line.name);
        }
        self.reader.stop();
        let lost: Vec<_> = self.probes.drops().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(lost, [], "nothing is lost");
        let events = std::mem::take(&mut *self.sink.0.lock().unwrap());
        let settings = Settings { scope: Told::Tree, network: true, dns: true, process: true, ..Settings::default() };
        let mut assembler = Assembler::new(&Header { settings, ..Header::default() });
        let (mut out, mut commands, mut last) = (Vec::new(), Vec::new(), 0);
        for event in events {
            last = event.time;
            assembler.frame(&Frame::Tick(event.time), &mut out, &mut commands);
            assembler.frame(&Frame::Event(event), &mut out, &mut commands);
        }
        assembler.frame(&Frame::Tick(last + 20_000_000_000), &mut out, &mut commands);
        assembler.finish(&mut out, &mut commands);
        let mut seen = Seen { connections: Vec::new(), lookups: Vec::new() };
        let own = |observation: &Observation| observation.process.key.tgid == tgid;
        for observation in out.into_iter().filter(own) {
            match observation.kind {
                Kind::Connection(connection) => seen.connections.push(*connection),
                Kind::Dns(dns) => seen.lookups.push(*dns),
                _ => {}
            }
        }
        seen
    }
}

impl Seen {
    /// Those to this peer.
    fn to(&self, peer: &str) -> Vec<&Connection> {
        let peer = endpoint(peer);
        self.connections.iter().filter(|connection| connection.peer.as_ref() == Some(&peer)).collect()
    }
}

fn endpoint(text: &str) -> Endpoint {
    text.parse().map_or_else(|_| Endpoint::Unix(text.into()), |address: SocketAddr| Endpoint::Ip(address))
}

/// Error, bytes sent, bytes received.
fn outcome(connection: &Connection) -> (Option<String>, Option<u64>, Option<u64>) {
    (connection.error.map(Failure::name), connection.sent, connection.received)
}

/// The last part of the program's output, by its first words.
fn words(lines: &[String]) -> BTreeMap<String, String> {
    lines.iter().filter_map(|line| line.split_once(' ')).map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn connects_are_told_with_their_outcome_and_bytes() {
    let test = "connects_are_told_with_their_outcome_and_bytes";
    let Some(watch) = watch(test, true, Capture::default()) else { return };
    let child = python(
        r#"
import errno, select, struct, time
def address(s): return "%s:%d" % s.getsockname()[:2] if s.family == socket.AF_INET else "[%s]:%d" % s.getsockname()[:2]
listener = socket.create_server(("127.0.0.1", 0))
six = socket.create_server(("::1", 0), family=socket.AF_INET6)
free = socket.socket(); free.bind(("127.0.0.1", 0))
def pair(listener):
    a = socket.create_connection(listener.getsockname()[:2])
    return a, listener.accept()[0]
print("listener", address(listener)); print("six", address(six)); print("free", address(free))
# Both ways, this side closes first.
a, b = pair(listener); a.sendall(b"x" * 100000); exactly(100000, b.recv); b.sendall(b"y" * 7); exactly(7, a.recv)
a.close(); b.close()
# The other side closes first.
a, b = pair(six); b.sendall(b"z" * 30); exactly(30, a.recv); b.close(); time.sleep(0.01); assert a.recv(1) == b""; a.close()
# Half closed.
a, b = pair(listener); a.sendall(b"q" * 11); a.shutdown(socket.SHUT_WR); exactly(11, b.recv); b.recv(1)
b.sendall(b"r" * 22); b.close(); exactly(22, a.recv); a.recv(1); a.close()
# Reset.
a, b = pair(listener); b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); a.sendall(b"s" * 5); exactly(5, b.recv); b.close()
try: a.recv(1)
except ConnectionResetError: pass
a.close()
# Refused, waiting and not.
s = socket.socket(); assert s.connect_ex(free.getsockname()) == errno.ECONNREFUSED; s.close()
s = socket.socket(); s.setblocking(False); s.connect_ex(free.getsockname())
select.select([], [s], []); assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED; s.close()
# Not waiting, connected; and a second connect to ask how it went.
s = socket.socket(); s.setblocking(False); assert s.connect_ex(listener.getsockname()) == errno.EINPROGRESS
select.select([], [s], []); assert s.connect_ex(listener.getsockname()) in (0, errno.EISCONN); listener.accept()[0].close(); s.close()
# No way there at all.
s = socket.socket(); assert s.connect_ex(("255.255.255.255", 9)) != 0; s.close()
# A full queue: given up, and a time-out of the kernel's.
full = socket.socket(); full.bind(("127.0.0.1", 0)); full.listen(0); print("full", address(full))
first = socket.create_connection(full.getsockname())
waiting = socket.socket(); waiting.setblocking(False); waiting.connect_ex(full.getsockname()); time.sleep(0.05); waiting.close()
late = socket.socket(); late.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1); assert late.connect_ex(full.getsockname()) == errno.ETIMEDOUT
# Left open at the end.
a, b = pair(listener); print("open", address(a), flush=True); a.sendall(b"end"); exactly(3, b.recv)
os._exit(0)
"#,
    );
    let tgid = child.id();
    let told = words(&lines(child));
    let seen = watch.observations(tgid);
    let of = |peer: &str| {
        let made = seen.to(peer).into_iter().filter(|connection| connection.phase == ConnectionPhase::Connect);
        made.map(outcome).collect::<Vec<_>>()
    };
    let whole = |sent, received| (None, Some(sent), Some(received));
    assert_eq!(
        of(&told["listener"]),
        [whole(100_000, 7), whole(11, 22), (Some("ECONNRESET".into()), Some(5), Some(0)), whole(0, 0), whole(3, 0),]
    );
    assert_eq!(of(&told["six"]), [whole(0, 30)]);
    let refused = (Some("ECONNREFUSED".to_owned()), None, None);
    assert_eq!(of(&told["free"]), [refused.clone(), refused]);
    assert_eq!(of("255.255.255.255:9").len(), 1);
    assert!(of("255.255.255.255:9")[0].0.as_ref().is_some_and(|error| error.starts_with('E')));
    let mut full: Vec<_> = seen
        .to(&told["full"])
        .into_iter()
        .filter(|told| told.phase == ConnectionPhase::Connect)
        .map(|told| (told.error.map(Failure::name), told.connect))
        .collect();
    full.sort();
    let [(None, _), (Some(timeout), Some(long)), (Some(aborted), Some(short))] = &full[..] else { panic!("{full:?}") };
    assert_eq!((timeout.as_str(), aborted.as_str()), ("ETIMEDOUT", "aborted"));
    assert!(long.as_secs_f64() > 1.0 && short.as_millis() >= 50, "{full:?}");
    // The other side of each: accepted, with the same bytes the other way.
    let accepted: Vec<_> =
        seen.connections.iter().filter(|told| told.phase == ConnectionPhase::Accept { count: 1 }).collect();
    assert_eq!(accepted.len(), 6, "{accepted:#?}");
    assert_eq!(outcome(accepted[0]), whole(7, 100_000));
    assert!(accepted.iter().all(|told| told.served && told.peer.is_some()));
    let listens: Vec<_> = seen.connections.iter().filter(|told| told.phase == ConnectionPhase::Listen).collect();
    assert_eq!(listens.len(), 3);
    assert_eq!(listens[0].local, Some(endpoint(&told["listener"])));
    assert_eq!((listens[2].local.clone(), listens[2].backlog), (Some(endpoint(&told["full"])), Some(0)));
}

#[test]
fn local_sockets_and_datagrams_are_told() {
    let test = "local_sockets_and_datagrams_are_told";
    let Some(watch) = watch(test, true, Capture::default()) else { return };
    let child = python(
        r#"
import tempfile
folder = tempfile.mkdtemp(); path = folder + "/control.sock"; name = "\0onlooker-test-%d" % os.getpid()
print("path", path); print("name", "@" + name[1:])
for place in (path, name):
    server = socket.socket(socket.AF_UNIX); server.bind(place); server.listen(3)
    a = socket.socket(socket.AF_UNIX); a.connect(place); b = server.accept()[0]
    a.sendall(b"12345"); b.recv(9); b.sendall(b"123"); a.recv(9); a.close(); b.close(); server.close()
os.unlink(path)
s = socket.socket(socket.AF_UNIX)
try: s.connect(path)
except FileNotFoundError: pass
s = socket.socket(socket.AF_UNIX)
try: s.connect("/var/run/nscd/socket")
except OSError: pass
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(("127.0.0.1", 0))
print("udp", "%s:%d" % one.getsockname())
two = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); two.connect(one.getsockname()); two.send(b"1234567"); print("from", "%s:%d" % two.getsockname())
data, back = one.recvfrom(99); one.sendto(b"12", back); two.recv(99); two.close(); one.close()
# Another protocol for streams, where the kernel has it.
try: multi = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
except OSError: multi = None
plain = socket.create_server(("127.0.0.1", 0)); print("multi", "%s:%d" % plain.getsockname(), multi is not None)
if multi: multi.connect(plain.getsockname()); far = plain.accept()[0]; multi.sendall(b"123"); far.recv(9); far.sendall(b"1"); multi.recv(9); multi.close()
# Connected, and nothing sent: nothing was done.
idle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); idle.connect(("127.0.0.1", 9)); idle.close()
sys.stdout.flush()
"#,
    );
    let tgid = child.id();
    let told = words(&lines(child));
    let seen = watch.observations(tgid);
    for place in ["path", "name"] {
        let connects: Vec<_> = seen.to(&told[place]).into_iter().map(|told| (told.phase, outcome(told))).collect();
        assert_eq!(connects[0], (ConnectionPhase::Connect, (None, Some(5), Some(3))), "{place}");
        assert_eq!(connects.len(), if place == "path" { 2 } else { 1 });
        let local: Vec<_> = seen.connections.iter().filter(|one| one.local == Some(endpoint(&told[place]))).collect();
        assert_eq!(local.len(), 2, "{local:#?}");
        assert_eq!((local[0].phase, local[0].backlog), (ConnectionPhase::Listen, Some(3)));
        assert_eq!(
            (local[1].phase, outcome(local[1])),
            (ConnectionPhase::Accept { count: 1 }, (None, Some(3), Some(5)))
        );
        assert!(local.iter().all(|one| one.transport == Transport::Unix));
    }
    assert_eq!(outcome(seen.to(&told["path"])[1]).0.as_deref(), Some("ENOENT"));
    let udp = seen.to(&told["udp"]);
    assert_eq!(
        udp.iter().map(|one| (one.phase, outcome(one))).collect::<Vec<_>>(),
        [(ConnectionPhase::Connect, (None, Some(7), Some(2)))]
    );
    assert_eq!(seen.to(&told["from"])[0].phase, ConnectionPhase::Accept { count: 1 });
    let (multi, exists) = told["multi"].split_once(' ').unwrap();
    let wanted = if exists == "True" { vec![(Transport::Other(262), (None, Some(3), Some(1)))] } else { vec![] };
    assert_eq!(seen.to(multi).into_iter().map(|one| (one.transport, outcome(one))).collect::<Vec<_>>(), wanted);
    assert!(seen.to("127.0.0.1:9").is_empty() && seen.to("/var/run/nscd/socket").is_empty());
}

#[test]
fn thousands_of_connections_are_all_there() {
    let test = "thousands_of_connections_are_all_there";
    let Some(watch) = watch(test, true, Capture::default()) else { return };
    let child = python(
        r#"
import threading
listener = socket.create_server(("127.0.0.1", 0), backlog=100)
def serve():
    for _ in range(2000):
        b = listener.accept()[0]; b.sendall(b.recv(9)); b.close()
server = threading.Thread(target=serve); server.start()
for n in range(2000):
    a = socket.create_connection(listener.getsockname()); a.sendall(b"12345"); exactly(5, a.recv); a.close()
server.join()
"#,
    );
    let tgid = child.id();
    lines(child);
    let seen = watch.observations(tgid);
    let made = seen.connections.iter().filter(|told| told.phase == ConnectionPhase::Connect);
    assert_eq!(made.count(), 2000);
    // On a slow machine some last for so long that their ends are told on their own.
    let over = |served| seen.connections.iter().filter(move |told| told.served == served && told.ended.is_some());
    assert_eq!(over(false).count(), 2000);
    assert!(over(false).all(|told| outcome(told) == (None, Some(5), Some(5))));
    let accepted: Vec<_> = seen
        .connections
        .iter()
        .filter_map(|told| match told.phase {
            ConnectionPhase::Accept { count } => Some((count, told.started)),
            _ => None,
        })
        .collect();
    assert_eq!(accepted.iter().map(|(count, _)| count).sum::<u64>(), 2000);
    assert_eq!(over(true).filter_map(|told| told.received).sum::<u64>(), 10_000);
    // At most 16 in ten seconds are told singly, and one event for the others.
    let (first, last) = (accepted.iter().map(|one| one.1).min(), accepted.iter().map(|one| one.1).max());
    let lasted = last.unwrap().nanos() - first.unwrap().nanos();
    let most = 17 * (lasted / 10_000_000_000 + 2);
    assert!(u64::try_from(accepted.len()).unwrap() <= most, "{} in {lasted} ns", accepted.len());
}

/// What `a_process_without_python_is_told` watches: this very test, run again by it.
#[test]
#[ignore = "run by another test"]
#[allow(clippy::print_stdout, reason = "its output is read")]
fn played_by_the_watched_process() {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::net::{UnixListener, UnixStream},
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    near.write_all(&[1; 1000]).unwrap();
    far.read_exact(&mut [0; 1000]).unwrap();
    far.write_all(&[1; 10]).unwrap();
    near.read_exact(&mut [0; 10]).unwrap();
    drop(far);
    assert_eq!(near.read(&mut [0; 1]).unwrap(), 0);
    drop(near);
    println!("\nlistener {}", listener.local_addr().unwrap());
    let closed = listener.local_addr().unwrap();
    drop(listener);
    assert!(TcpStream::connect(closed).is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut near = UnixStream::connect(&path).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    near.write_all(b"12345").unwrap();
    far.read_exact(&mut [0; 5]).unwrap();
    println!("path {}", path.display());
    let (one, two) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    two.send_to(b"123", one.local_addr().unwrap()).unwrap();
    one.recv(&mut [0; 9]).unwrap();
    println!("udp {}", one.local_addr().unwrap());
}

#[test]
fn a_process_without_python_is_told() {
    let test = "a_process_without_python_is_told";
    let Some(watch) = watch_any(test, true, Capture::default()) else { return };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "network::played_by_the_watched_process", "--ignored", "--nocapture"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let tgid = child.id();
    let told = words(&lines(child));
    let seen = watch.observations(tgid);
    let of = |name: &str| seen.to(&told[name]).into_iter().map(|one| (one.phase, outcome(one))).collect::<Vec<_>>();
    let whole = |sent, received| (ConnectionPhase::Connect, (None, Some(sent), Some(received)));
    let refused = (ConnectionPhase::Connect, (Some("ECONNREFUSED".into()), None, None));
    assert_eq!(of("listener"), [whole(1000, 10), refused]);
    assert_eq!(of("path"), [whole(5, 0)]);
    assert_eq!(of("udp"), [whole(3, 0)]);
    let accepted = seen.connections.iter().filter(|one| one.phase == ConnectionPhase::Accept { count: 1 });
    let accepted: Vec<_> = accepted.map(|one| (one.transport, outcome(one))).collect();
    assert_eq!(accepted[0], (Transport::Tcp, (None, Some(10), Some(1000))));
    assert_eq!(
        accepted[1..].iter().map(|one| one.0).collect::<BTreeSet<_>>(),
        [Transport::Udp, Transport::Unix].into()
    );
}

/// What connections cost a process that is not watched: with the probes and without, in turns.
#[test]
#[ignore = "a measurement"]
fn the_cost_of_connections_that_are_not_watched() {
    let test = "the_cost_of_connections_that_are_not_watched";
    let time = || {
        let child = python(
            r#"
import time
listener = socket.create_server(("127.0.0.1", 0)); times = []
for _ in range(7):
    began = time.process_time()
    for _ in range(3000):
        a = socket.create_connection(listener.getsockname()); b = listener.accept()[0]
        a.sendall(b"x"); b.recv(1); a.close(); b.close()
    times.append((time.process_time() - began) / 3000 * 1e6)
print(min(times))
"#,
        );
        lines(child)[0].parse::<f64>().unwrap()
    };
    let rest = Capture { network: false, ..Capture::default() };
    let [mut with, mut without, mut alone] = [f64::MAX; 3];
    for _ in 0..3 {
        for (capture, best) in [(Capture::default(), &mut with), (rest, &mut without)] {
            let Some(_watch) = watch(test, false, capture) else { return };
            *best = best.min(time());
        }
        alone = alone.min(time());
    }
    eprintln!("a connection, both ends: {alone:.2} µs alone, {without:.2} with the other probes, {with:.2} with these");
}

/// A name server for loopback, by UDP and TCP: `cut.` answers are whole by TCP only, `void.` is never answered.
const NAME_SERVER: &str = r#"
import struct, threading
def label(name): return b"".join(bytes([len(part)]) + part for part in name.encode().split(b".")) + b"\0"
def respond(question, tcp):
    end = question.index(b"\0", 12) + 5
    name = question[13:end - 5]; kind = struct.unpack(">H", question[end - 4:end - 2])[0]
    flags, records = 0x8180, []
    if b"void" in name: return None
    if b"missing" in name: flags |= 3
    elif b"cut" in name and not tcp: flags |= 0x200
    elif b"alias" in name:
        records.append(b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 60, len(label("real.test"))) + label("real.test"))
        if kind == 1: records.append(label("real.test") + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 9]))
    elif kind == 1: records.append(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 8]))
    elif kind == 28: records.append(b"\xc0\x0c" + struct.pack(">HHIH", 28, 1, 60, 16) + socket.inet_pton(socket.AF_INET6, "::1"))
    return question[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question[12:end] + b"".join(records)
def udp(s):
    while True:
        question, peer = s.recvfrom(4096)
        answer = respond(question, False)
        if answer: s.sendto(answer, peer)
def tcp(s):
    while True:
        c = s.accept()[0]
        question = exactly(struct.unpack(">H", exactly(2, c.recv))[0], c.recv)
        answer = respond(question, True)
        c.sendall(struct.pack(">H", len(answer)) + answer); c.close()
def name_server(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((address, 53))
    t = socket.create_server((address, 53))
    for run, arg in ((udp, s), (tcp, t)): threading.Thread(target=run, args=(arg,), daemon=True).start()
"#;

#[test]
fn look_ups_are_told_however_they_are_sent() {
    let test = "look_ups_are_told_however_they_are_sent";
    let Some(watch) = watch(test, true, Capture::default()) else { return };
    let script = format!(
        "{NAME_SERVER}{}",
        r#"
import ctypes, tempfile
# A resolv.conf of this process's own.
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x00020000) == 0 and libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None) == 0
conf = tempfile.NamedTemporaryFile(); conf.write(b"nameserver 127.0.0.53\noptions timeout:1 attempts:1\n"); conf.flush()
assert libc.mount(conf.name.encode(), os.path.realpath("/etc/resolv.conf").encode(), None, 0x1000, None) == 0
try: name_server("127.0.0.53")
except OSError as error: print("busy", error, flush=True); sys.exit()
listener = socket.create_server(("127.0.0.8", 0))
def resolve(name, family=0):
    try: return sorted({found[4][0] for found in socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM)})
    except OSError as error: return error
print("plain", resolve("plain.test"))
socket.create_connection(("plain.test", listener.getsockname()[1])).close()
print("alias", resolve("alias.test", socket.AF_INET)); print("missing", resolve("missing.test", socket.AF_INET))
print("cut", resolve("cut.test", socket.AF_INET)); print("void", resolve("void.test", socket.AF_INET), flush=True)
question = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + label("by.hand") + b"\0\x10\0\1"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(question, ("127.0.0.53", 53)); s.recv(999)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.53", 53)); s.send(question); s.recvmsg(999)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendmsg([question[:5], question[5:]], [], 0, ("127.0.0.53", 53)); s.recvfrom(999)
s = socket.create_connection(("127.0.0.53", 53)); s.sendmsg([struct.pack(">H", len(question)), question]); exactly(2, s.recv); s.recv(999)
os._exit(0)
"#
    );
    let child = python(&script);
    let tgid = child.id();
    let told = lines(child);
    if told.iter().any(|line| line.starts_with("busy")) {
        eprintln!("SKIPPED {test}: {}", told.join(" "));
        drop(watch);
        return;
    }
    assert_eq!(told[0], "plain ['127.0.0.8', '::1']", "{told:?}");
    let seen = watch.observations(tgid);
    let of = |name: &str| -> Vec<_> {
        let found = seen.lookups.iter().filter(|dns| dns.name == name);
        let mut found: Vec<_> =
            found.map(|dns| (dns.kind.clone(), dns.transport, dns.error(), dns.addresses.join(" "))).collect();
        found.sort();
        found.dedup();
        found
    };
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);
    let row = |kind: &str, transport, error: Option<&str>, addresses: &str| {
        (kind.to_owned(), transport, error.map(str::to_owned), addresses.to_owned())
    };
    assert_eq!(of("plain.test"), [row("A", udp, None, "127.0.0.8"), row("AAAA", udp, None, "::1")]);
    assert_eq!(of("alias.test"), [row("A", udp, None, "127.0.0.9")]);
    assert_eq!(seen.lookups.iter().find(|dns| dns.name == "alias.test").unwrap().aliases, ["real.test"]);
    assert_eq!(of("missing.test"), [row("A", udp, Some("NXDOMAIN"), "")]);
    assert_eq!(of("cut.test"), [row("A", tcp, None, "127.0.0.8"), row("A", udp, None, "")]);
    assert_eq!(of("void.test"), [row("A", udp, Some("no_answer"), "")]);
    let by_hand: Vec<_> = seen.lookups.iter().filter(|dns| dns.name == "by.hand").collect();
    assert_eq!(by_hand.len(), 4, "{by_hand:#?}");
    assert!(by_hand.iter().all(|dns| dns.kind == "TXT" && dns.duration.is_some()));
    let server: SocketAddr = "127.0.0.53:53".parse().unwrap();
    assert!(seen.lookups.iter().all(|dns| dns.server == Some(server)));
    // The name stands at the connection.
    let named = seen.connections.iter().filter(|one| one.name.as_deref() == Some("plain.test"));
    let peers: Vec<_> =
        named.filter_map(|one| Some((one.peer.as_ref()?.address(), one.error.map(Failure::name)))).collect();
    assert!(peers.contains(&("127.0.0.8".into(), None)), "{peers:?}");
    assert!(peers.contains(&("::1".into(), Some("ECONNREFUSED".into()))), "{peers:?}");
}
