//! What a program did before it was recognised as an agent, as a service tells it. Needs root, BTF and python3; elsewhere it
//! says that it was skipped. Traffic stays on the loopback interface, and all processes but this test's are excluded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "these are tests")]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use pipeline::{
    Batch, BuildContext, Kind, Mode, Observation, Receiver,
    config::Node,
    observation::{ConnectionPhase, Deed},
    providers::Custom,
    telemetry::Telemetry,
};

/// One at a time: each watches the whole machine.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A model, a name server and another server on the loopback interface.
const SERVERS: &str = r#"
import http.server, json, socket, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"id": "c-1", "model": "corp-1", "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Hello"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
model = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=model.serve_forever, daemon=True).start()
other = socket.create_server(("127.0.0.1", 0))
def serve():
    while True:
        one = other.accept()[0]; one.recv(10); one.sendall(b"hello"); one.close()
threading.Thread(target=serve, daemon=True).start()
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); names.bind(("127.0.0.53", 53))
def answer():
    while True:
        asked, whence = names.recvfrom(512)
        names.sendto(asked[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\x09", whence)
threading.Thread(target=answer, daemon=True).start()
print(model.server_address[1], other.getsockname()[1], flush=True)
sys.stdin.read()
"#;

/// When it may begin: reads a file, writes one, looks a name up, connects, runs a program that writes a file; then waits, and asks a model if it
/// is told to.
const PROGRAM: &str = r#"
import os, socket, subprocess, sys, time, urllib.request
model, other, folder, seconds, call = sys.argv[1:]
def told(what): print(what, time.time_ns(), flush=True)
while not os.path.exists(folder + "/go"): time.sleep(0.02)
told("begin")
open(folder + "/.ssh/id_invented").read()
told("read")
with open(folder + "/notes", "w") as f: f.write("twelve bytes")
told("written")
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\x04corp\7example\0\0\1\0\1", ("127.0.0.53", 53)); names.recv(512); names.close()
told("looked_up")
s = socket.create_connection(("127.0.0.1", int(other))); s.sendall(b"hi"); s.recv(10); s.close()
told("connected")
subprocess.run(["/bin/sh", "-c", "echo x > " + folder + "/child"])
told("ran")
os.rename(folder + "/notes", folder + "/moved")
told("renamed")
time.sleep(float(seconds))
if call == "yes":
    body = b'{"messages": [{"role": "user", "content": "hi"}]}'
    url = "http://127.0.0.1:%s/corp/llm/ask" % model
    told("asks")
    urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"})).read()
with open(folder + "/after", "w") as f: f.write("after")
time.sleep(0.3)
"#;

/// The interpreter itself: what is found first may be a script that starts it.
fn python() -> String {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    output.map_or_else(|_| "python3".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// All processes but this one, those above it and perhaps another one: what they start is excluded with them.
fn others(but: Option<u32>) -> Vec<Node> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let own: Vec<u32> = std::iter::successors(Some(std::process::id()), |pid| parent(*pid)).collect();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let rule = |pid: u32| Node::Map([("pid".into(), Node::Int(pid.into()))].into_iter().collect());
    all.filter(|pid| !own.contains(pid) && but != Some(*pid)).map(rule).collect()
}

/// Watches the machine while `work` is done.
async fn receive(
    mode: Mode,
    lookback: [&str; 2],
    record: Option<&Path>,
    work: impl FnOnce() + Send + 'static,
) -> Result<Vec<Batch>, pipeline::ComponentError> {
    receive_but(None, mode, lookback, record, work).await
}

/// The same, with a process that runs already.
async fn receive_but(
    but: Option<u32>,
    mode: Mode,
    lookback: [&str; 2],
    record: Option<&Path>,
    work: impl FnOnce() + Send + 'static,
) -> Result<Vec<Batch>, pipeline::ComponentError> {
    let kind = if matches!(mode, Mode::Replay { .. }) { "replay" } else { "ebpf" };
    let factory = receiver::factories().into_iter().find(|factory| factory.kind == kind).unwrap();
    let providers = vec![Custom { path: Some("/corp/llm/*".into()), ..Custom::default() }].into();
    let context = BuildContext {
        mode,
        record: record.map(Into::into),
        id: kind.into(),
        telemetry: Arc::new(Telemetry::default()),
        shared: Arc::new(pipeline::Shared { providers }),
    };
    let config = match kind {
        "ebpf" => Node::Map(
            [
                ("exclude".into(), Node::Seq(others(but))),
                ("lookback".into(), Node::Str(lookback[0].into())),
                ("candidates".into(), Node::Str(lookback[1].into())),
            ]
            .into_iter()
            .collect(),
        ),
        _ => Node::Null,
    };
    let mut receiver: Box<dyn Receiver> = factory.build(&config, &context)?;
    let (output, mut batches) = tokio::sync::mpsc::channel(16);
    tokio::task::block_in_place(|| receiver.start(output))?;
    let collected = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(batch) = batches.recv().await {
            all.push(batch);
        }
        all
    });
    tokio::task::block_in_place(work);
    if kind == "replay" {
        receiver.finished().await;
    }
    receiver.stop().await?;
    drop(receiver);
    Ok(collected.await.unwrap())
}

/// One line for each thing that is told of a folder or of what the program connects to.
fn line(observation: &Observation, folder: &str, other: u16) -> Option<String> {
    Some(match &observation.kind {
        Kind::Process(process) => format!("{:?}", process.phase).split('(').next()?.to_owned(),
        Kind::File(file) => {
            let name = file.path.strip_prefix(folder)?;
            let bytes = if file.deed == Deed::Read { file.read } else { file.written };
            format!("{:?} {name} {}", file.deed, bytes.map(|bytes| bytes.to_string()).unwrap_or_default())
        }
        Kind::Dns(dns) => format!("Dns {} {:?}", dns.name, dns.addresses),
        Kind::Connection(connection) if connection.phase == ConnectionPhase::Connect => {
            let to = connection.peer.as_ref()?.to_string();
            let ours = to.ends_with(&format!(":{other}"));
            format!("Connect {} {:?} {:?}", if ours { "other" } else { "model" }, connection.sent, connection.received)
        }
        Kind::Exchange(exchange) => format!("Exchange {}", exchange.request.target),
        _ => return None,
    })
}

/// Whether this process has a program at the entry of all system calls (proc_pid_fdinfo(5)).
fn system_calls_are_seen() -> bool {
    let descriptors = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let mut texts = descriptors.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    texts.any(|text| text.lines().any(|line| line.split_whitespace().eq(["tp_name:", "sys_enter"])))
}

/// Whether something comes to be, within so many seconds.
fn within(seconds: u64, what: impl Fn() -> bool) -> bool {
    let end = std::time::Instant::now() + Duration::from_secs(seconds);
    while !what() {
        if std::time::Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

/// What the program did, as [`line`] tells it.
const DEEDS: [&str; 6] = [
    "Read .ssh/id_invented 18",
    "Write notes 12",
    r#"Dns corp.example ["127.0.0.9"]"#,
    "Connect other Some(2) Some(5)",
    "Rename notes ",
    "Write after 5",
];

struct Run {
    pid: u32,
    folder: tempfile::TempDir,
    /// When the program did what, in ns since the epoch.
    times: Vec<(String, u64)>,
}

/// Runs the program.
fn run(ports: &str, seconds: &str, call: bool) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let child = start(&folder, ports, seconds, call);
    finish(folder, child)
}

/// Starts the program, which waits.
fn start(folder: &tempfile::TempDir, ports: &str, seconds: &str, call: bool) -> Child {
    let home = folder.path().canonicalize().unwrap();
    std::fs::create_dir(home.join(".ssh")).unwrap();
    std::fs::write(home.join(".ssh/id_invented"), "an invented secret").unwrap();
    let mut words = ports.split_whitespace();
    let (model, other) = (words.next().unwrap(), words.next().unwrap());
    let mut command = Command::new(python());
    command.args(["-c", PROGRAM, model, other, home.to_str().unwrap(), seconds, if call { "yes" } else { "no" }]);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Lets it begin, and waits for its end.
fn finish(folder: tempfile::TempDir, child: Child) -> Run {
    std::fs::write(folder.path().join("go"), "").unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let pair = |line: &str| line.split_once(' ').map(|(what, time)| (what.to_owned(), time.parse().unwrap()));
    Run { pid, folder, times: text.lines().filter_map(pair).collect() }
}

/// The servers; none where they cannot run.
fn servers(test: &str) -> Option<(Child, String)> {
    let mut command = Command::new(python());
    command.args(["-c", SERVERS]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take()?), &mut line).ok()?;
    if line.trim().is_empty() {
        eprintln!("SKIPPED {test}: needs python3, root, and 127.0.0.53:53 for itself");
        return None;
    }
    Some((child, line.trim().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_before_the_first_call_is_told_with_its_times() {
    let test = "what_was_done_before_the_first_call_is_told_with_its_times";
    let _one = ONE.lock().await;
    let Some((mut server, ports)) = servers(test) else { return };
    let other: u16 = ports.split_whitespace().nth(1).unwrap().parse().unwrap();
    let runs = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (into, given) = (runs.clone(), ports.clone());
    let work = move || {
        // Nobody is watched: system calls cost nobody anything, until somebody may become an agent.
        assert!(within(60, || !system_calls_are_seen()), "they are seen though nobody is watched");
        let quiet = run(&given, "2", false);
        assert!(system_calls_are_seen());
        let calling = run(&given, "2", true);
        into.lock().unwrap().extend([quiet, calling]);
    };
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("run.rec");
    let live = receive(Mode::Service, ["30s", "starting"], Some(&recording), work).await;
    drop(server.stdin.take());
    let _ = server.wait();
    let live = match live {
        Ok(live) => live,
        Err(error) => return eprintln!("SKIPPED {test}: {error}"),
    };
    let replayed = receive(Mode::Replay { file: recording.clone() }, [""; 2], None, || {}).await.unwrap();
    let runs = runs.lock().unwrap();
    let [quiet, calling] = &runs[..] else { panic!() };
    for batches in [&live, &replayed] {
        let all: Vec<&Observation> = batches.iter().flat_map(|batch| &batch.observations).collect();
        let of = |pid: u32| all.iter().filter(move |one| one.process.key.tgid == pid);
        assert_eq!(of(quiet.pid).count(), 0, "nothing is told of who never called a model");
        let home = calling.folder.path().canonicalize().unwrap();
        let home = format!("{}/", home.display());
        let mut told: Vec<_> =
            of(calling.pid).filter_map(|one| Some((one.time.nanos(), line(one, &home, other)?))).collect();
        eprintln!("{told:#?}");
        let lines: Vec<String> = told.iter().map(|(_, line)| line.clone()).collect();
        assert!(lines.iter().any(|line| line.ends_with("/corp/llm/ask")), "{lines:?}");
        told.retain(|(_, line)| !line.starts_with("Exchange") && !line.contains("model") && line != "Exit");
        // What is done to a path again, and how a connection went that is no longer open, is told later.
        let before: Vec<&str> = told.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(before, [&["Fork", "Exec"][..], &DEEDS].concat());
        // Each within what the program says of itself.
        let at = |what: &str| calling.times.iter().find(|(of, _)| of == what).unwrap().1;
        let spans = [
            ("begin", "read"),
            ("read", "written"),
            ("written", "looked_up"),
            ("looked_up", "connected"),
            ("ran", "renamed"),
        ];
        for ((from, to), (time, what)) in spans.iter().zip(&told[2..7]) {
            // Two clocks, set once.
            let slack = 20_000_000;
            assert!(at(from) - slack <= *time && *time <= at(to) + slack, "{what} at {time}, not {from} to {to}");
        }
        // What its child did and is no more, too.
        let child = format!("{home}child");
        assert!(all.iter().any(|one| matches!(&one.kind, Kind::File(file) if file.path == child)), "{lines:?}");
    }
    // Nothing of who was not recognised is in the recording.
    let bytes = String::from_utf8_lossy(&std::fs::read(&recording).unwrap()).into_owned();
    let quiet = quiet.folder.path().file_name().unwrap().to_str().unwrap().to_owned();
    let mentions =
        bytes.matches(&format!("{quiet}/notes")).count() + bytes.matches(&format!("{quiet}/.ssh/id")).count();
    assert_eq!(mentions, 0, "files of another process are in the recording");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_before_where_nothing_is_kept() {
    let test = "nothing_is_told_of_before_where_nothing_is_kept";
    let _one = ONE.lock().await;
    let Some((mut server, ports)) = servers(test) else { return };
    let work = move || drop(run(&ports, "0", true));
    let live = receive(Mode::Service, ["0s", "starting"], None, work).await;
    drop(server.stdin.take());
    let _ = server.wait();
    let Ok(live) = live else { return eprintln!("SKIPPED {test}: needs root and BTF") };
    let all: Vec<&Observation> = live.iter().flat_map(|batch| &batch.observations).collect();
    let own = all.iter().filter(|one| !matches!(one.kind, Kind::Heartbeat(_)));
    assert_eq!(own.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ran_before_onlooker_is_told_of_where_all_likely_ones_are_kept() {
    let test = "who_ran_before_onlooker_is_told_of_where_all_likely_ones_are_kept";
    let _one = ONE.lock().await;
    let Some((mut server, ports)) = servers(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let home = format!("{}/", folder.path().canonicalize().unwrap().display());
    let child = start(&folder, &ports, "1", true);
    // Others are excluded, this one is not yet.
    let pid = child.id();
    let work = move || drop(finish(folder, child));
    let live = receive_but(Some(pid), Mode::Service, ["10s", "running"], None, work).await;
    drop(server.stdin.take());
    let _ = server.wait();
    let Ok(live) = live else { return eprintln!("SKIPPED {test}: needs root and BTF") };
    let all = live.iter().flat_map(|batch| &batch.observations).filter(|one| one.process.key.tgid == pid);
    let other: u16 = ports.split_whitespace().nth(1).unwrap().parse().unwrap();
    let mut told: Vec<_> = all.filter_map(|one| Some((one.time.nanos(), line(one, &home, other)?))).collect();
    told.retain(|(_, line)| {
        !line.starts_with("Exchange") && !line.contains("model") && line != "Exit" && line != "Found"
    });
    let lines: Vec<&str> = told.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, DEEDS);
}

/// A program that opens, writes, closes and removes a file, as one that is likely to become an agent and as one that is not.
/// Each run is over before its time as a candidate is.
#[test]
#[ignore = "a measurement: run it alone, with --nocapture"]
fn the_cost_of_being_likely() {
    use receiver::probes::{Delivery, Files, Options, Probes, Scope, socket::Capture};
    struct Nothing;
    impl Delivery for Nothing {
        fn urgent(&mut self, _: &receiver::event::Event) {}
        fn ordered(&mut self, _: Vec<receiver::event::Event>, _: u64) {}
    }
    const WORK: &str = r#"
import os, socket, sys, time
folder = sys.argv[1]
def once():
    begin = time.process_time_ns()
    for n in range(3000):
        f = os.open(folder + "/a", os.O_WRONLY | os.O_CREAT); os.write(f, b"x"); os.close(f); os.unlink(folder + "/a")
    return time.process_time_ns() - begin
once()
print(min(once() for _ in range(7)) // 12000)
"#;
    let folder = tempfile::tempdir().unwrap();
    let measure = || -> u64 {
        let mut best = u64::MAX;
        for _ in 0..3 {
            let output = Command::new(python()).args(["-S", "-c", WORK]).arg(folder.path()).output().unwrap().stdout;
            best = best.min(String::from_utf8(output).unwrap().trim().parse().unwrap());
        }
        best
    };
    let alone = measure();
    let load = |lookback: Duration| {
        let options = Options {
            scope: Scope::Host,
            capture: Capture::default(),
            files: Files::All,
            security: true,
            lookback,
            ..Options::default()
        };
        let mut probes = Probes::load(options).unwrap();
        let reader = probes.start_reader(64 << 20, Box::new(Nothing)).unwrap();
        (probes, reader)
    };
    let (probes, mut reader) = load(Duration::ZERO);
    let never = measure();
    reader.stop();
    drop(probes);
    let (mut probes, mut reader) = load(Duration::from_secs(30));
    let unlikely = measure();
    let stat = std::fs::metadata(std::fs::canonicalize(python()).unwrap()).unwrap();
    let stat = (std::os::unix::fs::MetadataExt::dev(&stat), std::os::unix::fs::MetadataExt::ino(&stat));
    let dev = libc::major(stat.0) << 20 | libc::minor(stat.0);
    probes.candidate_program(receiver::event::Program { inode: stat.1, dev }).unwrap();
    let likely = measure();
    reader.stop();
    eprintln!(
        "an operation on a file: {alone} ns alone, {never} ns with the probes, {unlikely} ns where others are candidates, {likely} ns as a candidate"
    );
}
