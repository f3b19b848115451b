//! A model's API on a path of the operator's own, written once in the configuration: the receiver keeps the exchange, and
//! the provider processor reads it.
//!
//! Needs root, BTF and python3. It runs where `ONLOOKER_E2E=1` is set; elsewhere it says that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs, reason = "this is a test")]

use std::{path::Path, process::Command};

use serde_json::Value;

const PROGRAM: &str = r#"
import http.server, json, threading, urllib.request
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
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
def ask(path):
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
    url = "http://127.0.0.1:%d%s" % (server.server_address[1], path)
    urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"})).read()
# Nothing of a model for longer than a connection is given otherwise, on connections of their own.
for _ in range(3): ask("/corp/wiki")
ask("/corp/llm/ask?trace=1")
"#;

const CONFIG: &str = r#"
receivers: {ebpf: {}}
processors:
  identity: {}
  provider: {custom: [{path: /corp/llm/*, provider: corp_llm, api: chat_completions}]}
  correlation: {}
exporters: {stdout: {format: tree, output: stderr}}
service:
  pipelines:
    traces: {receivers: [ebpf], processors: [identity, provider, correlation], exporters: [stdout]}
"#;

#[test]
fn a_custom_path_is_seen_by_all() {
    if std::env::var_os("ONLOOKER_E2E").is_none() {
        return eprintln!("skipped: ONLOOKER_E2E is not set");
    }
    if !rustix::process::geteuid().is_root() || !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return eprintln!("skipped: it needs root and a kernel with BTF");
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("custom_path");
    std::fs::create_dir_all(&home).unwrap();
    let (config, output) = (home.join("config.yaml"), home.join("output.jsonl"));
    let _ = std::fs::remove_file(&output);
    std::fs::write(&config, CONFIG).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_onlooker"));
    command.arg("run").arg("--config").arg(&config).arg("-o").arg(&output).args(["--", "python3", "-c", PROGRAM]);
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = std::fs::read_to_string(&output).unwrap();
    let documents = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let spans = documents.flat_map(|document| list(&document, "resourceSpans"));
    let spans = spans.flat_map(|resource| list(&resource, "scopeSpans")).flat_map(|scope| list(&scope, "spans"));
    let value = |span: &Value, key: &str| {
        let attributes = list(span, "attributes");
        attributes.iter().find(|one| one["key"] == key).map(|one| one["value"]["stringValue"].clone())
    };
    let calls: Vec<Value> =
        spans.filter(|span| value(span, "gen_ai.provider.name").is_some() && span["kind"] == 3).collect();
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!(value(&calls[0], "gen_ai.provider.name"), Some("corp_llm".into()));
    assert_eq!(value(&calls[0], "gen_ai.response.model"), Some("corp-1".into()));
}
