//! Who a process is and where it runs: real cgroups, user ids and namespaces, through the kernel's events and /proc. Needs
//! root, BTF and python3; elsewhere each test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "these are tests")]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use pipeline::{
    BuildContext, Kind, Mode, Observation, ProcessKey, Receiver,
    config::Node,
    observation::{File, Owner, ProcessInfo, ProcessPhase, Workload},
    telemetry::Telemetry,
};
use receiver::{
    assemble::Assembler,
    event::{Event, EventKind},
    probes::{Delivery, Files, Options, Probes, Reader, Scope},
    record::{Facts, FileSettings, Frame, Header, Reads, Scope as Told, Settings},
    targets::procfs::{Names, Proc},
};

/// One at a time: "what this process forks" is a property of the whole test process.
static ONE: Mutex<()> = Mutex::new(());

const UID: &str = "5b6fae0e-6e0a-4d6c-9c6d-2f1d0a3b4c5d";

/// Reads facts as the receiver does: at once, while the process lives.
struct Intake {
    proc: Proc,
    names: Names,
    facts: HashMap<(ProcessKey, u64), Facts>,
    frames: Arc<Mutex<Vec<Frame>>>,
}

impl Delivery for Intake {
    fn urgent(&mut self, event: &Event) {
        if let EventKind::Exec(exec) = &event.kind
            && let Some(facts) = self.proc.facts(event.process, exec.uid, &mut self.names)
        {
            self.facts.insert((event.process, event.time), facts);
        }
    }

    fn ordered(&mut self, events: Vec<Event>, watermark: u64) {
        let mut frames = self.frames.lock().unwrap();
        for event in events {
            if let Some(facts) = self.facts.remove(&(event.process, event.time)) {
                frames.push(Frame::Facts(Box::new(facts)));
            }
            frames.push(Frame::Event(event));
        }
        frames.push(Frame::Tick(watermark));
    }
}

struct Watch {
    probes: Probes,
    reader: Reader,
    frames: Arc<Mutex<Vec<Frame>>>,
    _one: MutexGuard<'static, ()>,
}

/// Watches what this test forks from now on, with this folder as the host's root for what runtimes wrote there.
fn watch(test: &str, root: &Path) -> Option<Watch> {
    let one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !Command::new("python3").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED {test}: needs python3");
        return None;
    }
    let options = Options { scope: Scope::Tree, watch_children: true, files: Files::All, ..Options::default() };
    let mut probes = match Probes::load(options) {
        Ok(probes) => probes,
        Err(error) => {
            eprintln!("SKIPPED {test}: needs root and BTF: {error}");
            return None;
        }
    };
    if let Some(line) = probes.status().iter().find(|line| line.name == "process/ids" && line.error.is_some()) {
        eprintln!("SKIPPED {test}: {}", line.error.as_deref().unwrap_or_default());
        return None;
    }
    let frames = Arc::new(Mutex::new(Vec::new()));
    let intake =
        Intake { proc: Proc::new("/proc"), names: Names::read(root), facts: HashMap::new(), frames: frames.clone() };
    let reader = probes.start_reader(256 << 20, Box::new(intake)).unwrap();
    Some(Watch { probes, reader, frames, _one: one })
}

impl Watch {
    /// Waits until an exec of a process with these arguments was told, and its facts.
    fn await_exec(&self, args: &[&str]) {
        let begun = Instant::now();
        let is = |frame: &Frame| matches!(frame, Frame::Event(Event { kind: EventKind::Exec(exec), .. }) if exec.args == args);
        while !self.frames.lock().unwrap().iter().any(is) {
            assert!(begun.elapsed() < Duration::from_secs(60), "no exec of {args:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn stop(mut self) -> Vec<Observation> {
        self.reader.stop();
        let lost: Vec<_> = self.probes.drops().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(lost, [], "nothing is lost");
        let files = Some(FileSettings { reads: Reads::All, ..FileSettings::default() });
        let settings = Settings { scope: Told::Tree, process: true, files, ..Settings::default() };
        let mut assembler = Assembler::new(&Header { settings, ..Header::default() });
        let (mut out, mut commands) = (Vec::new(), Vec::new());
        for frame in std::mem::take(&mut *self.frames.lock().unwrap()) {
            assembler.frame(&frame, &mut out, &mut commands);
        }
        assembler.finish(&mut out, &mut commands);
        out
    }
}

/// What was told of each exec of a program with these first arguments.
fn execs<'a>(told: &'a [Observation], args: &[&str]) -> Vec<&'a ProcessInfo> {
    let exec = |observation: &&Observation| {
        matches!(&observation.kind, Kind::Process(process) if process.phase == ProcessPhase::Exec)
            && args.iter().zip(&observation.process.args).all(|(a, b)| a == b)
            && observation.process.args.len() >= args.len()
    };
    told.iter().filter(exec).map(|observation| observation.process.as_ref()).collect()
}

/// A program that waits for the end of its input.
struct Waiting(Child);

impl Waiting {
    fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        Self(command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn go(&mut self) {
        writeln!(self.0.stdin.as_mut().unwrap(), "go").unwrap();
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

/// Cgroups of this test, removed at its end.
struct Cgroups {
    mount: PathBuf,
    top: String,
    made: Vec<PathBuf>,
}

impl Cgroups {
    /// In the hierarchy of v2 (`""`), or in a named one of v1.
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let (place, kind, options) = (fields.get(1)?, fields.get(2)?, fields.get(3)?);
            let wanted = if name.is_empty() {
                *kind == "cgroup2"
            } else {
                *kind == "cgroup" && options.split(',').any(|option| option == format!("name={name}"))
            };
            wanted.then(|| PathBuf::from(place))
        })?;
        let mut cgroups = Self { mount, top: format!("/onlooker-test-{}{name}", std::process::id()), made: Vec::new() };
        cgroups.make("").then_some(cgroups)
    }

    /// Makes a cgroup and those above it; false if that is not allowed.
    fn make(&mut self, below: &str) -> bool {
        let mut folder = self.mount.join(self.top.trim_start_matches('/'));
        for part in [""].into_iter().chain(below.split('/').filter(|part| !part.is_empty())) {
            folder = if part.is_empty() { folder } else { folder.join(part) };
            if self.made.contains(&folder) {
                continue;
            }
            if fs::create_dir(&folder).is_err() {
                return false;
            }
            self.made.push(folder.clone());
        }
        true
    }

    /// The file that takes the ids of processes which move there.
    fn door(&self, below: &str) -> String {
        format!("{}{}/{below}/cgroup.procs", self.mount.display(), self.top)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            // The kernel lets go of a process that ended a moment later.
            let begun = Instant::now();
            while fs::remove_dir(folder).is_err() && begun.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// A host's root with what runtimes and the kubelet write there.
fn host() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "etc/passwd", "root:x:0:0::/root:/bin/sh\nada:x:4711:4711::/home/ada:/bin/sh\n");
    write(
        root.path(),
        &format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{}/config.json", id('a')),
        &format!(
            r#"{{"annotations": {{"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-uid": "{UID}",
            "io.kubernetes.cri.sandbox-name": "agent-6d4cf56db6-9x8zq", "io.kubernetes.cri.sandbox-namespace": "agents",
            "io.kubernetes.cri.container-name": "main", "io.kubernetes.cri.image-name": "registry.example:5000/agent:1.4"}}}}"#
        ),
    );
    write(
        root.path(),
        &format!("var/lib/docker/containers/{}/config.v2.json", id('b')),
        r#"{"Name": "/web", "Config": {"Image": "nginx:1.29"}}"#,
    );
    write(
        root.path(),
        &format!("run/containers/storage/overlay-containers/{}/userdata/config.json", id('c')),
        r#"{"annotations": {"io.kubernetes.cri-o.Name": "k8s_a_p_n_u_0", "io.kubernetes.cri-o.ContainerType": "container",
            "io.kubernetes.pod.name": "index-0", "io.kubernetes.pod.namespace": "search", "io.kubernetes.container.name": "index"}}"#,
    );
    write(
        root.path(),
        "var/lib/containers/storage/overlay-containers/containers.json",
        &format!(
            r#"[{{"id": "{}", "names": ["tool"], "metadata": "{{\"image-name\":\"docker.io/library/alpine:3\"}}"}}]"#,
            id('d')
        ),
    );
    root
}

/// What is told of a program that a shell executes in a cgroup that it moved to: before and after.
fn moved(test: &str, hierarchy: &str) -> Option<()> {
    let Some(mut cgroups) = Cgroups::new(hierarchy) else {
        eprintln!("SKIPPED {test}: cgroups cannot be made here");
        return None;
    };
    let pod = UID.replace('-', "_");
    let places = [
        format!(
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod}.slice/cri-containerd-{}.scope",
            id('a')
        ),
        format!("system.slice/docker-{}.scope", id('b')),
        format!("kubepods/besteffort/pod{UID}/crio-{}", id('c')),
        format!("machine.slice/libpod-{}.scope/container", id('d')),
        "system.slice/tool.service".to_owned(),
    ];
    for place in &places {
        assert!(cgroups.make(place), "{place}");
    }
    let root = host();
    let watch = watch(test, root.path())?;
    let before = Proc::new("/proc").cgroup(std::process::id()).unwrap();
    for (at, place) in places.iter().enumerate() {
        let script = format!("read go; echo $$ > {}; exec cat - /dev/null", cgroups.door(place));
        let name = format!("place-{at}");
        let mut waiting = Waiting::start("sh", &["-c", &script, &name]);
        watch.await_exec(&["sh", "-c", &script, &name]);
        waiting.go();
        watch.await_exec(&["cat", "-", "/dev/null"]);
        waiting.end();
        watch.frames.lock().unwrap().iter_mut().for_each(|frame| {
            // The next one is another.
            if let Frame::Event(Event { kind: EventKind::Exec(exec), .. }) = frame
                && exec.args == ["cat", "-", "/dev/null"]
            {
                exec.args[2].clone_from(&name);
            }
        });
    }
    let told = watch.stop();
    let empty = Workload::default();
    let of = |at: usize| -> (String, Workload) {
        let name = format!("place-{at}");
        let [info] = execs(&told, &["cat", "-", &name])[..] else { panic!("{at}") };
        (info.cgroup.clone().unwrap(), info.workload.as_deref().unwrap_or(&empty).clone())
    };
    // The shell before it moved.
    for shell in execs(&told, &["sh", "-c"]) {
        assert_eq!(shell.cgroup.as_deref(), Some(before.as_str()));
        assert_eq!(shell.workload.as_ref().and_then(|workload| workload.container_id.clone()), None);
    }
    let some = |text: &str| Some(text.to_owned());
    for (at, place) in places.iter().enumerate() {
        assert_eq!(of(at).0, format!("{}/{place}", cgroups.top));
    }
    let pod = Workload { pod_uid: some(UID), ..Workload::default() };
    assert_eq!(
        of(0).1,
        Workload {
            container_id: Some(id('a')),
            runtime: some("containerd"),
            image_name: some("registry.example:5000/agent"),
            image_tag: some("1.4"),
            pod_name: some("agent-6d4cf56db6-9x8zq"),
            namespace: some("agents"),
            pod_container: some("main"),
            owner: Some(Owner::Deployment { name: "agent".into(), replica_set: "agent-6d4cf56db6".into() }),
            ..pod.clone()
        }
    );
    assert_eq!(
        of(1).1,
        Workload {
            container_id: Some(id('b')),
            runtime: some("docker"),
            container_name: some("web"),
            image_name: some("nginx"),
            image_tag: some("1.29"),
            ..Workload::default()
        }
    );
    assert_eq!(
        of(2).1,
        Workload {
            container_id: Some(id('c')),
            runtime: some("cri-o"),
            container_name: some("k8s_a_p_n_u_0"),
            pod_name: some("index-0"),
            namespace: some("search"),
            pod_container: some("index"),
            ..pod
        }
    );
    assert_eq!(
        of(3).1,
        Workload {
            container_id: Some(id('d')),
            runtime: some("podman"),
            container_name: some("tool"),
            image_name: some("docker.io/library/alpine"),
            image_tag: some("3"),
            ..Workload::default()
        }
    );
    assert_eq!(of(4).1, Workload { unit: some("tool.service"), ..Workload::default() });
    Some(())
}

#[test]
fn a_process_that_moves_to_another_cgroup_is_another_after_its_exec() {
    let _ = moved("a_process_that_moves_to_another_cgroup_is_another_after_its_exec", "");
}

#[test]
fn on_a_hybrid_host_the_systemd_hierarchy_tells() {
    let _ = moved("on_a_hybrid_host_the_systemd_hierarchy_tells", "systemd");
}

#[test]
fn a_program_has_the_user_that_it_is_executed_as() {
    let root = host();
    let Some(watch) = watch("a_program_has_the_user_that_it_is_executed_as", root.path()) else { return };
    let script = "import os; os.setgid(4711); os.setuid(4711); os.execv('/bin/cat', ['cat', '-'])";
    let waiting = Waiting::start("python3", &["-S", "-c", script]);
    watch.await_exec(&["cat", "-"]);
    waiting.end();
    // One that is too short for anybody to read anything of it: what is not known is not told.
    let script = "import os; os.setuid(4712); os.execv('/bin/true', ['true', 'nobody'])";
    assert!(Command::new("python3").args(["-S", "-c", script]).status().unwrap().success());
    let told = watch.stop();
    let [cat] = execs(&told, &["cat", "-"])[..] else { panic!() };
    assert_eq!((cat.uid, cat.gid, cat.user.as_deref()), (4711, 4711, Some("ada")));
    let python = execs(&told, &["python3", "-S"]);
    assert!(python.iter().all(|info| (info.uid, info.user.as_deref()) == (0, Some("root"))), "{python:?}");
    let [short] = execs(&told, &["true", "nobody"])[..] else { panic!() };
    assert_eq!((short.uid, short.user.as_deref()), (4712, None));
}

#[test]
fn what_runs_in_other_namespaces_is_told_by_the_hosts_ids_and_its_own_paths() {
    let test = "what_runs_in_other_namespaces_is_told_by_the_hosts_ids_and_its_own_paths";
    if !Command::new("unshare").args(["-pfm", "--mount-proc", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED {test}: needs unshare and root");
        return;
    }
    let root = host();
    let Some(watch) = watch(test, root.path()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let program = folder.join("tool");
    fs::copy("/bin/cat", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let inner = folder.join("inner");
    // A file system that nobody outside sees, with the program, a folder to work in and a file.
    let script = format!(
        "mkdir {1} && mount -t tmpfs none {1} && cd {1} && \
         mkdir work && cp {0} inner-tool && cd work && echo hello > note && rm note && echo $$ && exec ../inner-tool - /dev/null",
        program.display(),
        inner.display()
    );
    let mut waiting = Waiting::start("unshare", &["-pfm", "--mount-proc", "sh", "-c", &script]);
    let inside: u32 = waiting.line().parse().unwrap();
    watch.await_exec(&["../inner-tool", "-", "/dev/null"]);
    waiting.end();
    let told = watch.stop();
    assert_eq!(inside, 1, "it has a process id of its own");
    let [tool] = execs(&told, &["../inner-tool"])[..] else { panic!() };
    assert_ne!(tool.key.tgid, 1);
    assert_eq!(Path::new(&tool.executable), inner.join("inner-tool"));
    assert_eq!(tool.cwd.as_deref().map(Path::new), Some(inner.join("work").as_path()));
    assert_eq!(tool.args, ["../inner-tool", "-", "/dev/null"]);
    assert!(tool.build.is_some(), "its file was read in its own view");
    assert_eq!(tool.user.as_deref(), Some("root"));
    let [unshare] = execs(&told, &["unshare", "-pfm"])[..] else { panic!() };
    let shell = execs(&told, &["sh", "-c"]).into_iter().find(|info| info.key == tool.key).unwrap();
    assert_eq!(shell.parent, Some(unshare.key), "parents are the host's, too");
    let note: Vec<&File> = told
        .iter()
        .filter_map(|observation| match &observation.kind {
            Kind::File(file) if file.path.ends_with("note") => Some(file.as_ref()),
            _ => None,
        })
        .collect();
    // Written by the shell and removed by a child.
    assert_eq!(note.len(), 2, "{note:?}");
    assert!(note.iter().all(|file| Path::new(&file.path) == inner.join("work/note")), "{note:?}");
}

#[test]
fn what_runs_below_another_root_is_told_by_its_own_paths() {
    let root = host();
    let test = "what_runs_below_another_root_is_told_by_its_own_paths";
    let Some(watch) = watch(test, root.path()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let script = r#"
import os, sys
top = sys.argv[1]
os.makedirs(top + "/inside")
os.chroot(top)
os.chdir("/inside")
open("note", "w").write("x")
os.unlink("note")
os.mkdir("/deep")
"#;
    assert!(Command::new("python3").args(["-S", "-c", script]).arg(&folder).status().unwrap().success());
    let told = watch.stop();
    let mut paths: Vec<(String, String)> = told
        .iter()
        .filter_map(|observation| match &observation.kind {
            Kind::File(file) if file.path.contains("note") || file.path.contains("deep") => {
                Some((format!("{:?}", file.deed), file.path.clone()))
            }
            _ => None,
        })
        .collect();
    paths.sort();
    assert_eq!(fs::metadata(folder.join("deep")).unwrap().uid(), 0);
    eprintln!("{paths:?}");
    assert!(paths.iter().all(|(_, path)| path == "/inside/note" || path == "/deep"), "{paths:?}");
}

/// A kubelet that is none, on loopback: it tells one invented pod.
fn kubelet() -> std::net::SocketAddr {
    let answer = format!(
        r#"{{"kind": "PodList", "items": [{{"metadata": {{"name": "agent-6d4cf56db6-9x8zq", "namespace": "agents", "uid": "{UID}",
            "labels": {{"pod-template-hash": "6d4cf56db6", "team": "core", "other": "x"}},
            "ownerReferences": [{{"kind": "ReplicaSet", "name": "agent-6d4cf56db6", "controller": true}}]}},
            "spec": {{"nodeName": "node-1", "containers": [{{"name": "main", "image": "agent:1.4"}}]}},
            "status": {{"containerStatuses": [{{"name": "main", "containerID": "containerd://{}"}}]}}}}]}}"#,
        id('e')
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
            let _ = stream.write_all((head + &answer).as_bytes());
        }
    });
    address
}

/// The whole receiver: what the kubelet tells is on what a pod's processes do, and a replay, which asks nobody, agrees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::await_holding_lock, reason = "the tests of this file run one at a time")]
async fn the_kubelets_word_is_on_what_a_pod_does_and_in_the_recording() {
    let test = "the_kubelets_word_is_on_what_a_pod_does_and_in_the_recording";
    let one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(mut cgroups) = Cgroups::new("") else {
        eprintln!("SKIPPED {test}: cgroups cannot be made here");
        return;
    };
    let place = format!("kubepods/burstable/pod{UID}/{}", id('e'));
    assert!(cgroups.make(&place));
    let script = format!("echo $$ > {}; exec cat - /dev/null", cgroups.door(&place));
    let text = |text: &str| Node::Str(text.to_owned());
    let map = |entries: Vec<(&str, Node)>| {
        Node::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let kubelet = map(vec![("endpoint", text(&kubelet().to_string())), ("auth_type", text("none"))]);
    let labels = Node::Seq(vec![text("team")]);
    let config = map(vec![("kubernetes", map(vec![("kubelet", kubelet), ("labels", labels)]))]);
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("run.rec");
    let command = vec!["sh".to_owned(), "-c".to_owned(), script.clone()];

    let mut all = Vec::new();
    for (kind, mode) in [("ebpf", Mode::Run { command }), ("replay", Mode::Replay { file: recording.clone() })] {
        let live = kind == "ebpf";
        let factory = receiver::factories().into_iter().find(|factory| factory.kind == kind).unwrap();
        let context = BuildContext {
            mode,
            record: live.then(|| recording.clone()),
            id: kind.into(),
            telemetry: Arc::new(Telemetry::default()),
            shared: Arc::default(),
        };
        let mut receiver: Box<dyn Receiver> =
            factory.build(if live { &config } else { &Node::Null }, &context).unwrap();
        let (output, mut batches) = tokio::sync::mpsc::channel(16);
        if let Err(error) = tokio::task::block_in_place(|| receiver.start(output)) {
            eprintln!("SKIPPED {test}: {error}");
            return;
        }
        let told = Arc::new(tokio::sync::Mutex::new(Vec::new()));
        let seen = told.clone();
        let collected = tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                seen.lock().await.extend(batch.observations);
            }
        });
        if live {
            let waiting = Waiting::start("sh", &["-c", &script]);
            // As long as it lives, /proc can be read.
            while execs(&told.lock().await[..], &["cat", "-", "/dev/null"]).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::task::block_in_place(|| waiting.end());
        } else {
            receiver.finished().await;
        }
        receiver.stop().await.unwrap();
        drop(receiver);
        collected.await.unwrap();
        all.push(std::mem::take(&mut *told.lock().await));
    }
    drop(one);
    let [live, replayed] = &all[..] else { panic!() };
    let processes = |told: &[Observation]| -> Vec<String> {
        told.iter()
            .filter(|observation| matches!(observation.kind, Kind::Process(_)))
            .map(|observation| format!("{observation:?}"))
            .collect()
    };
    assert_eq!(processes(live), processes(replayed));
    let [cat] = execs(live, &["cat", "-", "/dev/null"])[..] else { panic!() };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        cat.workload.as_deref(),
        Some(&Workload {
            container_id: Some(id('e')),
            runtime: some("containerd"),
            image_name: some("agent"),
            image_tag: some("1.4"),
            pod_uid: some(UID),
            pod_name: some("agent-6d4cf56db6-9x8zq"),
            namespace: some("agents"),
            pod_container: some("main"),
            node: some("node-1"),
            labels: [("team".to_owned(), "core".to_owned())].into(),
            owner: Some(Owner::Deployment { name: "agent".into(), replica_set: "agent-6d4cf56db6".into() }),
            ..Workload::default()
        })
    );
}
