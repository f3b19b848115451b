//! End to end: real clients, a provider that was not written with onlooker's code, the real kernel.
//!
//! Needs root, BTF, python3, node and openssl, and the package registries at the first run (the SDKs are kept in
//! `target/e2e`). It runs where `ONLOOKER_E2E=1` is set; elsewhere each test says that it was skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "these are tests"
)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

const ONLOOKER: &str = env!("CARGO_BIN_EXE_onlooker");
const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

/// What all tests share: the SDKs and a certificate.
struct Stage {
    home: PathBuf,
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn stage() -> Result<&'static Stage, &'static str> {
    static STAGE: OnceLock<Result<Stage, &'static str>> = OnceLock::new();
    let made = STAGE.get_or_init(|| {
        if std::env::var_os("ONLOOKER_E2E").is_none() {
            return Err("ONLOOKER_E2E is not set");
        }
        if !rustix::process::geteuid().is_root() || !Path::new("/sys/kernel/btf/vmlinux").exists() {
            return Err("it needs root and a kernel with BTF");
        }
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../e2e");
        std::fs::create_dir_all(&home).unwrap();
        let home = home.canonicalize().unwrap();
        let python = home.join("venv/bin/python");
        if !run(Command::new(&python).args(["-c", "import openai, anthropic"]).stderr(Stdio::null())) {
            let made = run(Command::new("python3").args(["-m", "venv"]).arg(home.join("venv")))
                && run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "openai", "anthropic"]));
            if !made {
                return Err("the Python SDKs cannot be installed (python3-venv, package registry)");
            }
        }
        let node = home.join("node");
        std::fs::create_dir_all(&node).unwrap();
        if !node.join("node_modules/openai").exists()
            && !run(Command::new("npm").args(["install", "--silent", "--no-fund", "openai", "--prefix"]).arg(&node))
        {
            eprintln!("SKIPPED the node client: npm cannot install the openai package");
        }
        let certificate = run(Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-days", "2", "-keyout"])
            .arg(home.join("key.pem"))
            .arg("-out")
            .arg(home.join("cert.pem"))
            .stderr(Stdio::null()));
        if certificate { Ok(Stage { home }) } else { Err("the openssl command is missing") }
    });
    made.as_ref().map_err(|reason| *reason)
}

macro_rules! stage_or_skip {
    ($test:literal) => {
        match stage() {
            Ok(stage) => stage,
            Err(reason) => return eprintln!("SKIPPED {}: {reason}", $test),
        }
    };
}

/// A running provider; it ends when its standard input is closed.
struct Provider {
    child: Child,
    port: u16,
    ledger: PathBuf,
}

impl Provider {
    fn start(stage: &Stage, folder: &Path, command: &str) -> Provider {
        let ledger = folder.join("ledger");
        std::fs::write(&ledger, "").unwrap();
        let mut child = Command::new("python3")
            .arg(format!("{TESTS}/provider/provider.py"))
            .args([stage.home.join("cert.pem"), stage.home.join("key.pem"), ledger.clone()])
            .env("E2E_COMMAND", command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Provider { child, port: line.trim().parse().unwrap(), ledger }
    }

    fn truth(&self) -> Vec<Value> {
        std::fs::read_to_string(&self.ledger).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Runs a client under `onlooker run -o`.
fn watch(stage: &Stage, provider: &Provider, folder: &Path, options: &[&str], client: &[&str]) -> Output {
    let output = Command::new(ONLOOKER)
        .arg("run")
        .arg("-o")
        .arg(folder.join("out.jsonl"))
        .args(options)
        .arg("--")
        .args(client)
        .env("BASE_URL", format!("https://localhost:{}", provider.port))
        .env("SSL_CERT_FILE", stage.home.join("cert.pem"))
        .env("NODE_EXTRA_CA_CERTS", stage.home.join("cert.pem"))
        .env("NODE_HOME", stage.home.join("node"))
        .env("PYTHONWARNINGS", "ignore")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    // The clients' keys are canaries.
    let file = std::fs::read_to_string(folder.join("out.jsonl")).unwrap();
    assert!(!file.contains("canary") && !String::from_utf8_lossy(&output.stderr).contains("canary"));
    output
}

/// A span with its attributes as plain values.
#[derive(Debug)]
struct Span {
    name: String,
    id: String,
    parent: String,
    start: u64,
    failed: bool,
    attributes: BTreeMap<String, Value>,
}

impl Span {
    fn get(&self, name: &str) -> Value {
        self.attributes.get(name).cloned().unwrap_or(Value::Null)
    }
}

fn plain(value: &Value) -> Value {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "intValue" => value.as_str().unwrap().parse::<i64>().unwrap().into(),
        "arrayValue" => value["values"].as_array().unwrap().iter().map(plain).collect(),
        _ => value.clone(),
    }
}

fn spans(file: &Path) -> Vec<Span> {
    let mut spans = Vec::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let request: Value = serde_json::from_str(line).unwrap();
        for resource in request["resourceSpans"].as_array().into_iter().flatten() {
            for scope in resource["scopeSpans"].as_array().unwrap() {
                for span in scope["spans"].as_array().unwrap() {
                    let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
                    let attributes = span["attributes"].as_array().into_iter().flatten();
                    spans.push(Span {
                        name: text("name"),
                        id: text("spanId"),
                        parent: text("parentSpanId"),
                        start: text("startTimeUnixNano").parse().unwrap(),
                        failed: span["status"]["code"] == 2,
                        attributes: attributes
                            .map(|attribute| {
                                (attribute["key"].as_str().unwrap().to_owned(), plain(&attribute["value"]))
                            })
                            .collect(),
                    });
                }
            }
        }
    }
    spans.sort_by_key(|span| span.start);
    spans
}

/// Every call is one span, and says what the server said.
fn compare(provider: &Provider, folder: &Path) {
    let spans = spans(&folder.join("out.jsonl"));
    let calls: Vec<_> = spans
        .iter()
        .filter(|span| ["chat", "embeddings"].iter().any(|name| span.get("gen_ai.operation.name") == **name))
        .collect();
    let truth = provider.truth();
    assert_eq!(calls.len(), truth.len(), "calls made and calls seen");
    // By the answer's id, as calls may overlap; what has none (embeddings, failures) in its order.
    let (named, mut nameless): (Vec<_>, Vec<_>) =
        calls.into_iter().partition(|span| span.get("gen_ai.response.id") != Value::Null);
    nameless.reverse();
    for truth in &truth {
        let span = match &truth["id"] {
            Value::Null => nameless.pop(),
            id => named.iter().find(|span| span.get("gen_ai.response.id") == *id).copied(),
        };
        let span = span.unwrap_or_else(|| panic!("no span for {truth}"));
        // An answer that was given up was never finished, which only the client knows.
        let interrupted = Value::from("stream_interrupted");
        let error = if truth["abandoned"] == true { &interrupted } else { &truth["error"] };
        let pairs = [
            ("gen_ai.request.model", &truth["model"]),
            ("gen_ai.response.model", &truth["response_model"]),
            ("gen_ai.response.id", &truth["id"]),
            ("gen_ai.usage.input_tokens", &truth["input"]),
            ("gen_ai.usage.output_tokens", &truth["output"]),
            ("gen_ai.usage.cache_read.input_tokens", &truth["cached"]),
            ("gen_ai.usage.reasoning.output_tokens", &truth["reasoning"]),
            ("error.type", error),
        ];
        for (name, expected) in pairs {
            assert_eq!(span.get(name), *expected, "{name} of {truth}");
        }
        let unfinished = vec![Value::from("error")];
        let finish = if truth["abandoned"] == true { Some(&unfinished) } else { truth["finish"].as_array() };
        let finish = finish.filter(|reasons| !reasons.is_empty()).map_or(Value::Null, |reasons| reasons.clone().into());
        assert_eq!(span.get("gen_ai.response.finish_reasons"), finish, "{truth}");
        assert_eq!(span.get("gen_ai.request.stream") == true, truth["stream"] == true, "{truth}");
        assert_eq!(span.failed, *error != Value::Null, "{truth}");
        let whole = truth["cut"] != true;
        assert_eq!(span.get("onlooker.capture.complete") == Value::Null, whole, "{truth}");
        if truth["stream"] == true && truth["status"] == 200 {
            assert!(span.get("gen_ai.response.time_to_first_chunk").as_f64().unwrap() > 0.0);
        }
    }
}

fn python(stage: &Stage) -> String {
    stage.home.join("venv/bin/python").display().to_string()
}

#[test]
fn every_call_of_the_openai_sdk_is_seen_as_it_was() {
    let stage = stage_or_skip!("every_call_of_the_openai_sdk_is_seen_as_it_was");
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start(stage, folder.path(), "true");
    watch(stage, &provider, folder.path(), &[], &[&python(stage), &format!("{TESTS}/clients/openai_py.py")]);
    compare(&provider, folder.path());
}

#[test]
fn every_call_of_the_anthropic_sdk_is_seen_as_it_was() {
    let stage = stage_or_skip!("every_call_of_the_anthropic_sdk_is_seen_as_it_was");
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start(stage, folder.path(), "true");
    watch(stage, &provider, folder.path(), &[], &[&python(stage), &format!("{TESTS}/clients/anthropic_py.py")]);
    compare(&provider, folder.path());
}

#[test]
fn every_call_of_the_openai_sdk_on_node_is_seen_as_it_was() {
    let stage = stage_or_skip!("every_call_of_the_openai_sdk_on_node_is_seen_as_it_was");
    if !stage.home.join("node/node_modules/openai").exists() {
        return eprintln!("SKIPPED every_call_of_the_openai_sdk_on_node_is_seen_as_it_was: no openai package for node");
    }
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start(stage, folder.path(), "true");
    watch(stage, &provider, folder.path(), &[], &["node", &format!("{TESTS}/clients/openai_node.mjs")]);
    compare(&provider, folder.path());
}

/// Calls that overlap, large bodies side by side, TLS over memory buffers, and an answer that is given up.
#[test]
fn every_call_of_the_openai_sdk_on_asyncio_is_seen_as_it_was() {
    let stage = stage_or_skip!("every_call_of_the_openai_sdk_on_asyncio_is_seen_as_it_was");
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start(stage, folder.path(), "true");
    watch(stage, &provider, folder.path(), &[], &[&python(stage), &format!("{TESTS}/clients/openai_async.py")]);
    compare(&provider, folder.path());
}

/// Eight processes that move 1 MiB both ways at once, then 20 answers of 500 chunks, 5 a second: nothing is lost.
#[test]
fn nothing_is_lost_under_load() {
    let stage = stage_or_skip!("nothing_is_lost_under_load");
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start(stage, folder.path(), "true");
    watch(stage, &provider, folder.path(), &[], &[&python(stage), &format!("{TESTS}/clients/load.py")]);
    compare(&provider, folder.path());
    let spans = spans(&folder.path().join("out.jsonl"));
    assert_eq!(spans.iter().filter(|span| span.get("onlooker.response.chunks") == 500).count(), 20);
    let file = std::fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    for reason in ["payload_ring_full", "lifecycle_ring_full", "fault_bytes", "call_map_full", "too_large_bytes"] {
        assert!(file.contains(&format!("kernel.dropped.{reason}=0")), "{reason}");
    }
}

/// And nothing of the same calls that another process makes meanwhile.
#[test]
fn the_first_request_of_every_curl_is_seen() {
    let stage = stage_or_skip!("the_first_request_of_every_curl_is_seen");
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (provider, elsewhere) =
        (Provider::start(stage, folder.path(), "true"), Provider::start(stage, other.path(), "true"));
    let script = format!("{TESTS}/clients/curl.sh");
    let mut stranger = Command::new("sh")
        .arg(&script)
        .env("BASE_URL", format!("https://localhost:{}", elsewhere.port))
        .env("SSL_CERT_FILE", stage.home.join("cert.pem"))
        .spawn()
        .unwrap();
    watch(stage, &provider, folder.path(), &[], &["sh", &script]);
    assert!(stranger.wait().unwrap().success());
    compare(&provider, folder.path());
}

/// The agent's tool is tied to its process, its children and its exit code; a stranger that starts meanwhile is not.
/// A replay of the recording gives the same spans.
#[test]
fn a_tool_is_tied_to_its_process_and_to_no_other() {
    let stage = stage_or_skip!("a_tool_is_tied_to_its_process_and_to_no_other");
    let folder = tempfile::tempdir().unwrap();
    let command = "echo one; sleep 0.3; ls / | wc -l; exit 3";
    let provider = Provider::start(stage, folder.path(), command);
    let recording = folder.path().join("run.onl");
    let stranger = std::thread::spawn({
        let command = command.to_owned();
        move || {
            for _ in 0..30 {
                let _ = Command::new("sh").args(["-c", &command]).stdout(Stdio::null()).status();
            }
        }
    });
    let output = watch(
        stage,
        &provider,
        folder.path(),
        &["--record", recording.to_str().unwrap()],
        &[&python(stage), &format!("{TESTS}/clients/agent_loop.py")],
    );
    stranger.join().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let spans_seen = spans(&folder.path().join("out.jsonl"));
    let one = |name: &str| {
        let found: Vec<_> = spans_seen.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0]
    };
    let (turn, tool) = (one("invoke_agent agent_loop"), one("execute_tool shell"));
    assert_eq!(tool.parent, turn.id);
    assert_eq!(tool.get("onlooker.tool.evidence"), "process");
    assert_eq!(tool.get("onlooker.tool.match"), "command");
    assert_eq!(tool.get("onlooker.tool.process.pid"), told["pid"]);
    assert_eq!(tool.get("onlooker.tool.exit.code"), 3);
    assert_eq!(tool.get("error.type"), "3");
    assert_eq!(tool.get("gen_ai.tool.call.id"), told["call"]);
    let under: Vec<_> = spans_seen.iter().filter(|span| span.parent == tool.id).collect();
    assert_eq!(under.len(), 1, "only the one shell");
    assert_eq!(under[0].get("process.pid"), told["pid"]);
    assert_eq!(under[0].get("process.exit.code"), 3);
    let mut children: Vec<_> =
        spans_seen.iter().filter(|span| span.parent == under[0].id).map(|span| span.name.as_str()).collect();
    children.sort_unstable();
    assert_eq!(children, ["ls", "sleep", "wc"]);
    assert!(spans_seen.iter().filter(|span| span.name == "chat gpt-4o").all(|span| span.parent == turn.id));
    compare(&provider, folder.path());

    let again = folder.path().join("again.jsonl");
    let replayed = Command::new(ONLOOKER).arg("replay").arg("-o").arg(&again).arg(&recording).output().unwrap();
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let facts = |spans: Vec<Span>| {
        let mut facts: Vec<_> = spans.into_iter().map(|span| format!("{span:?}")).collect();
        facts.sort_unstable();
        facts
    };
    assert_eq!(facts(spans(&again)), facts(spans_seen));
    assert!(!String::from_utf8_lossy(&std::fs::read(&recording).unwrap()).contains("canary"));
}

/// Signed records of a real run verify; a removed one does not.
#[test]
fn signed_records_of_a_run_verify_until_one_is_removed() {
    let stage = stage_or_skip!("signed_records_of_a_run_verify_until_one_is_removed");
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start(stage, folder.path(), "true");
    let (key, records, config) =
        (folder.path().join("key"), folder.path().join("records.jsonl"), folder.path().join("config.yaml"));
    std::fs::write(&key, "an invented key of more than 32 bytes, for this test only").unwrap();
    std::fs::write(
        &config,
        format!(
            "receivers: {{ebpf: }}\nprocessors: {{identity: , provider: , correlation: , redaction: , signing: {{key_file: {}, key_id: test}}}}\n\
             exporters: {{file: {{path: {}, format: cloudevents}}}}\nservice: {{pipelines: {{logs: {{receivers: [ebpf], \
             processors: [identity, provider, correlation, redaction, signing], exporters: [file]}}}}}}\n",
            key.display(),
            records.display()
        ),
    )
    .unwrap();
    watch(
        stage,
        &provider,
        folder.path(),
        &["--config", config.to_str().unwrap()],
        &[&python(stage), &format!("{TESTS}/clients/agent_loop.py")],
    );
    let verify =
        |file: &Path| Command::new(ONLOOKER).args(["verify", "--key-file"]).arg(&key).arg(file).output().unwrap();
    let whole = verify(&records);
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stdout));
    let text = std::fs::read_to_string(&records).unwrap();
    let cut: Vec<_> = text.lines().enumerate().filter(|(at, _)| *at != 4).map(|(_, line)| line).collect();
    std::fs::write(folder.path().join("cut.jsonl"), cut.join("\n") + "\n").unwrap();
    let cut = verify(&folder.path().join("cut.jsonl"));
    assert_eq!(cut.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&cut.stdout).contains("removed"));
}

/// Standard streams, exit codes and signals pass through.
#[test]
fn the_command_passes_through() {
    let _ = stage_or_skip!("the_command_passes_through");
    let run = |script: &str| Command::new(ONLOOKER).args(["run", "--", "sh", "-c", script]).output().unwrap();
    let output = run("echo out; echo err >&2; exit 7");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"out\n");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("err\n"));
    assert_eq!(run("kill -TERM $$").status.code(), Some(128 + 15));
    assert_eq!(Command::new(ONLOOKER).args(["run", "--", "/nonexistent"]).output().unwrap().status.code(), Some(127));
    // Under sudo the command runs as the caller.
    let output = Command::new(ONLOOKER)
        .args(["run", "--", "sh", "-c", "id -u; id -g; echo $USER"])
        .envs([("SUDO_UID", "65534"), ("SUDO_GID", "65534"), ("SUDO_USER", "nobody")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "65534\n65534\nnobody\n");
    // A signal to onlooker alone reaches the command, whose own way of ending counts.
    let mut child = Command::new(ONLOOKER)
        .args(["run", "--", "sh", "-c", "trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(42));
}

/// An agent whose tool is an MCP server's: one span for the model's call of the tool, with what MCP says of it, and below it
/// what the server did; whatever else is asked of the server has spans of its own.
#[test]
fn a_tool_of_an_mcp_server_is_told_once() {
    let stage = stage_or_skip!("a_tool_of_an_mcp_server_is_told_once");
    for transport in ["http", "sse"] {
        let folder = tempfile::tempdir().unwrap();
        let provider = Provider::start(stage, folder.path(), "true");
        let output = watch(
            stage,
            &provider,
            folder.path(),
            &[],
            &[&python(stage), &format!("{TESTS}/clients/mcp_agent.py"), transport],
        );
        let sent: Vec<Value> =
            output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let spans = spans(&folder.path().join("out.jsonl"));
        let turn = spans.iter().find(|span| span.name.starts_with("invoke_agent")).unwrap();
        // Whatever was sent is there once as the client tells it, and once as the server does.
        let client = |span: &&Span| span.get("server.port") != Value::Null;
        let mcp: Vec<&Span> = spans.iter().filter(|span| span.get("mcp.method.name") != Value::Null).collect();
        for said in &sent {
            let same = |span: &&&Span| {
                span.get("mcp.method.name") == said["method"] && span.get("jsonrpc.request.id") == said["id"]
            };
            let found: Vec<&Span> = mcp.iter().filter(same).copied().collect();
            assert_eq!(found.len(), 2, "{transport} {said}: {found:#?}");
            let (asked, answered) = (found.iter().find(|span| client(span)), found.iter().find(|span| !client(span)));
            let (asked, answered) = (asked.unwrap(), answered.unwrap());
            assert_eq!(answered.parent, asked.id, "{transport} {said}");
            assert_eq!(asked.get("network.protocol.name"), "http");
            assert_eq!(asked.failed, said["status"] == 404 || asked.get("gen_ai.tool.name") == "other");
            if said["status"] == 404 {
                assert_eq!(asked.get("error.type"), "404");
            } else if said["method"] != "initialize" || transport == "sse" {
                assert_eq!(asked.get("mcp.session.id"), "one", "{transport} {said}");
            }
        }
        let tools: Vec<_> = spans.iter().filter(|span| span.name == "execute_tool shell").collect();
        assert_eq!(tools.len(), 1, "{transport}");
        assert_eq!(tools[0].get("onlooker.tool.evidence"), "mcp");
        assert_eq!(tools[0].get("mcp.method.name"), "tools/call");
        assert_eq!((&tools[0].parent, tools[0].failed), (&turn.id, false));
        assert_eq!(spans.iter().filter(|span| span.name == "tools/call shell").count(), 1, "the server's own");
        let other: Vec<_> = spans.iter().filter(|span| span.name == "tools/call other" && client(span)).collect();
        assert!(other.iter().all(|span| span.parent == turn.id && span.get("error.type") == "tool_error"));
        compare(&provider, folder.path());
    }
}
