//! Recorded calls and what must come out of them: see tests/golden/README.md. No root, no network, no clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "these are tests"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::Engine as _;
use bytes::Bytes;
use exporters::encode;
use pipeline::{
    Kind, Observation, ProcessKey, Processor, SpanContext, SpanId, TraceId,
    observation::{Agent, ContentMode, Host, ProcessInfo},
};
use processors::provider::{Config, Provider};
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use receiver::{
    event::{Chunk, Clock, Direction, Source},
    streams::{self, Streams},
};
use serde_json::{Value, json};

#[path = "golden/rows.rs"]
mod rows;
#[path = "../processors/src/provider/tests/schema.rs"]
mod schema;

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * MS;
const PROCESS: ProcessKey = ProcessKey { tgid: 7, start: 5 };

/// A message as its file has it.
struct Message {
    first: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// `x-golden`
    hint: Option<String>,
}

impl Message {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (head, body) = match bytes.windows(2).position(|pair| pair == b"\n\n") {
            Some(at) => (&bytes[..at], &bytes[at + 2..]),
            None => (bytes.as_slice().strip_suffix(b"\n").unwrap_or(&bytes), &[][..]),
        };
        let head = std::str::from_utf8(head).expect("a head is text");
        let mut lines = head.lines().filter(|line| !line.starts_with('#'));
        let first = lines.next().expect("a first line").to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line}: no field"));
            (name.trim().to_ascii_lowercase(), value.trim().to_owned())
        };
        let (hints, headers): (Vec<_>, Vec<_>) = lines.map(field).partition(|(name, _)| name == "x-golden");
        let body = body.strip_suffix(b"\n").unwrap_or(body).to_vec();
        let mut message = Self { first, headers, body, hint: hints.into_iter().next().map(|(_, hint)| hint) };
        message.decode();
        message
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn decode(&mut self) {
        if self.hint.as_deref() == Some("base64") {
            let text: Vec<u8> = self.body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            self.body = base64::prelude::BASE64_STANDARD.decode(text).expect("base64");
        }
        if self.header("content-type").starts_with("multipart/") {
            let text = String::from_utf8(std::mem::take(&mut self.body)).expect("text");
            self.body = (text.replace('\n', "\r\n") + "\r\n").into_bytes();
        }
    }

    fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    fn head(&self, extra: &str) -> Vec<u8> {
        let fields: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{fields}{extra}\r\n", self.first).into_bytes()
    }

    /// The body as it is sent piece by piece; `None` if it is sent at once.
    fn pieces(&self) -> Option<Vec<Vec<u8>>> {
        let kind = self.header("content-type").split(';').next().unwrap_or_default();
        let split = |end: &[u8]| {
            let (mut pieces, mut from) = (Vec::new(), 0);
            while let Some(at) = self.body[from..].windows(end.len()).position(|bytes| bytes == end) {
                pieces.push(self.body[from..from + at + end.len()].to_vec());
                from += at + end.len();
            }
            if from < self.body.len() {
                // The end that the file's own last line end stood for.
                pieces.push([&self.body[from..], end].concat());
            }
            pieces
        };
        match kind {
            _ if self.hint.as_deref() == Some("lines") => Some(split(b"\n")),
            "text/event-stream" => Some(split(b"\n\n")),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/stream+json" => {
                Some(split(b"\n"))
            }
            "application/vnd.amazon.eventstream" => {
                let text = std::str::from_utf8(&self.body).expect("text");
                let message = |line: &str| {
                    let (name, payload) = line.split_once(' ').expect("a name and a payload");
                    amazon(name, payload)
                };
                Some(text.lines().filter(|line| !line.is_empty()).map(message).collect())
            }
            _ => None,
        }
    }
}

/// A message of Amazon's event stream.
fn amazon(name: &str, payload: &str) -> Vec<u8> {
    let failed = name.ends_with("Exception");
    let (kind, key) = if failed { ("exception", ":exception-type") } else { ("event", ":event-type") };
    let mut headers = Vec::new();
    for (key, value) in [(key, name), (":content-type", "application/json"), (":message-type", kind)] {
        headers.push(key.len() as u8);
        headers.extend(key.as_bytes());
        headers.push(7);
        headers.extend((value.len() as u16).to_be_bytes());
        headers.extend(value.as_bytes());
    }
    let total = (16 + headers.len() + payload.len()) as u32;
    let mut message = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(headers);
    message.extend(payload.as_bytes());
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message
}

/// A text message in a frame of a WebSocket (RFC 6455, section 5.2); the client's are masked, with zeros.
fn frame(text: &str, masked: bool) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(mask | length as u8),
        length @ 126..65_536 => {
            frame.push(mask | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(mask | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    if masked {
        frame.extend([0; 4]);
    }
    frame.extend(text.as_bytes());
    frame
}

/// Bytes that the process read or wrote, with their time.
type Wire = Vec<(Direction, u64, Vec<u8>)>;

/// The wire of an exchange. `cut`: only half of the response's body, after which the connection ends.
fn wire(request: &Message, response: &Message, cut: bool) -> Wire {
    let websocket = request.header("upgrade").eq_ignore_ascii_case("websocket");
    let mut wire = Wire::new();
    if websocket {
        wire.push((Direction::Write, START, request.head("")));
        wire.push((Direction::Read, START + MS, response.head("")));
        let lines = |body: &[u8]| -> Vec<String> {
            String::from_utf8(body.to_vec()).expect("text").lines().map(str::to_owned).collect()
        };
        for message in lines(&request.body) {
            wire.push((Direction::Write, START + 2 * MS, frame(&message, true)));
        }
        let messages = lines(&response.body);
        let kept = if cut { messages.len().div_ceil(2) } else { messages.len() };
        for (at, message) in messages.iter().take(kept).enumerate() {
            wire.push((Direction::Read, START + (11 + at as u64) * MS, frame(message, false)));
        }
        return wire;
    }
    let length = format!("content-length: {}\r\n", request.body.len());
    let bare = request.body.is_empty() && !request.first.starts_with("POST ");
    let asked = request.head(if bare { "" } else { &length });
    wire.push((Direction::Write, START, [asked, request.body.clone()].concat()));
    let Some(pieces) = response.pieces() else {
        let head = response.head(&format!("content-length: {}\r\n", response.body.len()));
        wire.push((Direction::Read, START + 10 * MS, head));
        let kept = if cut { response.body.len() / 2 } else { response.body.len() };
        wire.push((Direction::Read, START + 20 * MS, response.body[..kept].to_vec()));
        return wire;
    };
    wire.push((Direction::Read, START + 10 * MS, response.head("transfer-encoding: chunked\r\n")));
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let time = |at: usize| START + (11 + at as u64) * MS;
    let kept = if cut { pieces.len() / 2 } else { pieces.len() };
    for (at, piece) in pieces.iter().take(kept).enumerate() {
        wire.push((Direction::Read, time(at), chunk(piece)));
    }
    if cut {
        let half = pieces.get(kept).map_or(&[][..], |piece| &piece[..piece.len() / 2]);
        if !half.is_empty() {
            wire.push((Direction::Read, time(kept), chunk(half)));
        }
    } else {
        wire.push((Direction::Read, time(kept), b"0\r\n\r\n".to_vec()));
    }
    wire
}

/// What the provider processor makes of the bytes.
fn observe(wire: &Wire, mode: ContentMode) -> Vec<Observation> {
    let config = streams::Config { max_body_size: 16 << 20, memory_limit: 0 };
    let mut streams = Streams::new(config, Clock { boot: 0 });
    let mut exchanges = Vec::new();
    for (direction, time, bytes) in wire {
        let chunk = Chunk {
            source: Source::Tls,
            object: 1,
            socket: 0,
            direction: *direction,
            total: bytes.len() as u64,
            offset: 0,
            bytes: Bytes::copy_from_slice(bytes),
        };
        streams.chunk(PROCESS, *time, &chunk, &mut exchanges);
    }
    let end = wire.iter().map(|(_, time, _)| *time).max().unwrap_or(START);
    streams.close(PROCESS, 1, end + MS, &mut exchanges);
    let process = Arc::new(ProcessInfo {
        key: PROCESS,
        executable: "/usr/bin/agent".into(),
        service_name: Some("agent".into()),
        agent: Some(Agent { name: "agent".into(), version: None, known: true }),
        host: Arc::new(Host { name: "host".into(), ..Host::default() }),
        ..ProcessInfo::default()
    });
    let mut provider = Provider::new(&Config { capture_content: Some(mode), ..Config::default() });
    let mut calls = Vec::new();
    for exchange in exchanges {
        let time = exchange.response.as_ref().map_or(exchange.request.ended, |response| response.ended);
        let observation = Observation::new(time, Arc::clone(&process), Kind::Exchange(Box::new(exchange)));
        provider.process(observation, &mut calls);
    }
    for (at, call) in calls.iter_mut().enumerate() {
        let span_id = SpanId::derive(&[b"call", &at.to_be_bytes()]);
        call.context = Some(SpanContext { trace_id: TraceId::derive(&[b"trace"]), span_id, parent_span_id: None });
    }
    calls
}

/// The same as OTLP/JSON.
fn otlp(observations: &[Observation]) -> Value {
    let Some((request, _)) = encode::Encoder::default().traces(observations) else { return json!({}) };
    let line = encode::json::line(&encode::Request::Traces(request)).expect("a line");
    serde_json::from_str(&line).expect("JSON")
}

/// Compares with the golden file, or writes it.
fn golden(path: &Path, found: &Value, failures: &mut Vec<String>) {
    let text = serde_json::to_string_pretty(found).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        if fs::read_to_string(path).ok().as_deref() != Some(&text) {
            fs::write(path, text).expect("a file");
        }
        return;
    }
    let wanted = fs::read_to_string(path).unwrap_or_default();
    if wanted == text {
        return;
    }
    let pair = wanted.lines().zip(text.lines()).enumerate().find(|(_, (wanted, found))| wanted != found);
    failures.push(match pair {
        Some((at, (wanted, found))) => {
            format!("{}:{}\n  wanted {}\n  found  {}", path.display(), at + 1, wanted.trim(), found.trim())
        }
        None => format!("{}: {} lines wanted, {} found", path.display(), wanted.lines().count(), text.lines().count()),
    });
}

/// Folders with a `request.http`, below here.
fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let only = std::env::var("GOLDEN").unwrap_or_default();
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).expect("a folder").filter_map(Result::ok);
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        folders.sort();
        folders
    };
    let all = folders(&root).into_iter().flat_map(|api| folders(&api));
    all.filter(|case| case.join("request.http").exists() && case.to_string_lossy().contains(&only)).collect()
}

/// Every exchange that a case stands for: the name of its golden file and its wire.
fn variants(case: &Path) -> Vec<(&'static str, Wire)> {
    let request = Message::read(&case.join("request.http"));
    let response = Message::read(&case.join("response.http"));
    let mut variants = vec![("expected", wire(&request, &response, false))];
    if response.status() < 400 && !response.body.is_empty() {
        variants.push(("cut", wire(&request, &response, true)));
    }
    let failure = case.with_file_name("failure.http");
    if failure.exists() && response.status() < 400 {
        variants.push(("failed", wire(&request, &Message::read(&failure), false)));
    }
    variants
}

#[test]
fn calls_come_out_as_they_should() {
    let mut failures = Vec::new();
    for case in cases() {
        for (name, wire) in variants(&case) {
            let calls = observe(&wire, ContentMode::SpanOnly);
            for call in &calls {
                if let Kind::ModelCall(call) = &call.kind
                    && let Err(error) = schema::check(call)
                {
                    failures.push(format!("{} {name}: {error}", case.display()));
                }
            }
            golden(&case.join(format!("{name}.otlp.json")), &otlp(&calls), &mut failures);
        }
    }
    assert!(failures.is_empty(), "{}\nsee tests/golden/README.md", failures.join("\n"));
}

#[test]
fn without_capture_no_content_comes_out() {
    for case in cases() {
        for (name, wire) in variants(&case) {
            let text = otlp(&observe(&wire, ContentMode::NoContent)).to_string();
            assert!(!text.contains("canary"), "{} {name}: {text}", case.display());
        }
    }
}

/// Cuts the bytes at these places of all of them, each piece at the same time.
fn split(wire: &Wire, places: &[Index]) -> Wire {
    let mut joined: Wire = Vec::new();
    for (direction, _, bytes) in wire {
        match joined.last_mut() {
            Some((last, _, whole)) if last == direction => whole.extend_from_slice(bytes),
            _ => joined.push((*direction, START, bytes.clone())),
        }
    }
    let mut pieces = Wire::new();
    for (direction, time, bytes) in joined {
        let mut at: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        at.dedup();
        pieces.extend(at.windows(2).map(|pair| (direction, time, bytes[pair[0]..pair[1]].to_vec())));
    }
    pieces
}

#[test]
fn any_split_gives_the_same() {
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    for case in cases() {
        for (name, wire) in variants(&case) {
            let whole = otlp(&observe(&split(&wire, &[]), ContentMode::SpanOnly));
            let result = runner.run(&prop::collection::vec(any::<Index>(), 0..40), |places| {
                let found = otlp(&observe(&split(&wire, &places), ContentMode::SpanOnly));
                prop_assert_eq!(&found, &whole);
                Ok(())
            });
            assert!(result.is_ok(), "{} {name}: {result:?}", case.display());
        }
    }
}
