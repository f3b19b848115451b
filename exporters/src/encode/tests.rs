//! A turn with everything in it, as OTLP/JSON. The golden file changes only with a reason in the commit:
//! `UPDATE_GOLDEN=1 cargo test -p onlooker-exporters` writes it anew.

use std::sync::Arc;
pub(super) use std::time::Duration;

pub(super) use pipeline::{
    ConnectionKey, Kind, Observation, ProcessKey, SpanContext, SpanId, Timestamp, TraceId,
    observation::{
        Agent, AgentTurn, Api, CallError, Evidence, Exit, Finding, Heartbeat, Host, Loss, LossReason, Match, ModelCall,
        Operation, Parameters, Part, Process, ProcessInfo, ProcessPhase, Reply, ServerAddress, Severity, ToolCall,
        TurnEnd, Usage,
    },
    record::Envelope,
};
use serde_json::Value;

use super::*;

const SECOND: u64 = 1_000_000_000;

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp(1_795_000_000 * SECOND + seconds * SECOND)
}

pub(super) fn process(tgid: u32, executable: &str, args: &[&str], agent: Option<&str>) -> Arc<ProcessInfo> {
    Arc::new(ProcessInfo {
        key: ProcessKey { tgid, start: u64::from(tgid) * SECOND },
        parent: Some(ProcessKey { tgid: 1, start: 1 }),
        started: at(0),
        executed: at(2),
        exec_count: 1,
        executable: executable.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        cwd: Some("/home/ann".into()),
        uid: 1000,
        gid: 1000,
        user: Some("ann".into()),
        agent: agent.map(|name| Agent { name: name.into(), version: None, known: true }),
        service_name: agent.map(Into::into),
        host: Arc::new(Host {
            name: "host".into(),
            id: Some("id".into()),
            boot_id: "boot".into(),
            arch: "amd64".into(),
            kernel: "6.1".into(),
            node: None,
        }),
        ..ProcessInfo::default()
    })
}

pub(super) fn placed(
    time: u64,
    process: &Arc<ProcessInfo>,
    span: &str,
    parent: Option<&str>,
    kind: Kind,
) -> Observation {
    let id = |name: &str| SpanId::derive(&[name.as_bytes()]);
    let context =
        SpanContext { trace_id: TraceId::derive(&[b"trace"]), span_id: id(span), parent_span_id: parent.map(id) };
    Observation { context: Some(context), ..Observation::new(at(time), Arc::clone(process), kind) }
}

/// A turn: a call that asks for a tool, the tool and its process, a call that fails, the turn.
pub(crate) fn turn() -> Vec<Observation> {
    let agent = process(10, "/usr/bin/agent", &["agent"], Some("agent"));
    let shell = process(11, "/usr/bin/dash", &["sh", "-c", "echo \u{1b}[31mred; exit 3"], None);
    let call = ModelCall {
        operation: Operation::Chat,
        provider: "openai".into(),
        api: Api::ChatCompletions,
        server: ServerAddress { address: "api.openai.com".into(), port: 443 },
        parameters: Parameters {
            model: Some("gpt-4o".into()),
            stream: true,
            max_tokens: Some(100),
            temperature: Some(0.5),
            stop_sequences: vec!["END".into()],
            ..Parameters::default()
        },
        reply: Reply {
            status: Some(200),
            id: Some("chatcmpl-1".into()),
            model: Some("gpt-4o-2024-08-06".into()),
            finish_reasons: vec!["tool_calls".into()],
            time_to_first_chunk: Some(Duration::from_millis(250)),
            chunks: Some(3),
            ..Reply::default()
        },
        usage: Usage { input: Some(512), output: Some(34), cache_read: Some(0), ..Usage::default() },
        error: None,
        conversation_id: Some("conversation".into()),
        thread: Default::default(),
        tool_calls: Vec::new(),
        started: at(1),
        ended: at(2),
        remote_parent: None,
        resend_count: None,
        facts: None,
        connection: ConnectionKey::default(),
        index: 0,
        losses: Vec::new(),
        content: None,
        turn: None,
    };
    let failed = ModelCall {
        reply: Reply { status: Some(429), ..Reply::default() },
        usage: Usage::default(),
        error: Some(CallError { kind: "rate_limit_exceeded".into(), message: Some("slow down".into()) }),
        started: at(5),
        ended: at(6),
        losses: vec![Loss { part: Part::Response, reason: LossReason::Dropped, bytes: 7 }],
        ..call.clone()
    };
    let tool = ToolCall {
        id: Some("call_1".into()),
        name: "shell".into(),
        arguments: "{\"command\":\"content that no exporter writes\"}".into(),
        started: at(2),
        ended: at(4),
        evidence: Evidence::Process,
        matched: Some(Match::Command),
        process: Some(shell.key),
        exit: Some(Exit { code: 3, signal: None }),
        result_error: false,
        result_seen: true,
        agent_name: Some("agent".into()),
        conversation_id: Some("conversation".into()),
        content: None,
        mcp: None,
    };
    let turn = AgentTurn {
        number: 0,
        agent_name: "agent".into(),
        agent_version: Some("1.2".into()),
        conversation_id: Some("conversation".into()),
        provider: Some("openai".into()),
        started: at(1),
        ended: at(6),
        model_calls: 2,
        tool_calls: 1,
        end: TurnEnd::Exit,
        error: Some("rate_limit_exceeded".into()),
        content: None,
        model: Some("gpt-4o".into()),
        finish_reasons: Vec::new(),
        usage: Usage { input: Some(512), output: Some(34), ..Usage::default() },
    };
    let event = |phase| Kind::Process(Box::new(Process { phase }));
    vec![
        placed(2, &agent, "call", Some("turn"), Kind::ModelCall(Box::new(call))),
        placed(2, &shell, "shell", Some("tool"), event(ProcessPhase::Exec)),
        placed(4, &shell, "shell", Some("tool"), event(ProcessPhase::Exit(Exit { code: 3, signal: None }))),
        placed(5, &agent, "tool", Some("turn"), Kind::ToolCall(Box::new(tool))),
        placed(6, &agent, "failed", Some("turn"), Kind::ModelCall(Box::new(failed))),
        placed(6, &agent, "turn", None, Kind::AgentTurn(Box::new(turn))),
    ]
}

pub(super) fn others() -> Vec<Observation> {
    let agent = process(10, "/usr/bin/agent", &["agent"], Some("agent"));
    let finding = Finding {
        name: "onlooker.finding.tool_without_process",
        severity: Severity::Warn,
        message: "no process".into(),
        attributes: vec![(semconv::GEN_AI_TOOL_NAME, "shell".into())],
    };
    let heartbeat = Heartbeat {
        sequence: 1,
        last: false,
        probes: vec![("process/exec".into(), None), ("tls/read".into(), Some("EPERM".into()))],
        counts: vec![("kernel.dropped".into(), 0)],
        deltas: Vec::new(),
    };
    let own = Arc::new(ProcessInfo { host: Arc::clone(&agent.host), ..ProcessInfo::default() });
    let mut signed = placed(7, &agent, "turn", None, Kind::Finding(Box::new(finding)));
    signed.envelope =
        Some(Arc::new(Envelope { json: "{\"specversion\":\"1.0\"}".into(), sequence: 5, key_id: "key".into() }));
    vec![signed, Observation::new(at(8), own, Kind::Heartbeat(Box::new(heartbeat)))]
}

#[test]
fn a_turn_is_encoded_as_the_golden_file_says() {
    let all: Vec<Observation> = turn().into_iter().chain(others()).collect();
    let (spans, span_count) = Encoder::default().traces(&all).unwrap();
    let (records, record_count) = Encoder::default().logs(&all).unwrap();
    // One of the records is that of the call that failed.
    assert_eq!((span_count, record_count), (5, 4));
    let pretty = |request: &Request| {
        let value: Value = serde_json::from_str(&json::line(request).unwrap()).unwrap();
        serde_json::to_string_pretty(&value).unwrap()
    };
    let text = format!("{}\n{}\n", pretty(&Request::Traces(spans)), pretty(&Request::Logs(records)));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/turn.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).unwrap();
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(text == golden, "the encoding changed; if that is meant, write the golden file anew:\n{text}");
    assert!(!text.contains("no exporter writes"));
}

/// OTLP/JSON as the specification has it: hex ids, 64-bit numbers as text, lowerCamelCase, nothing that is a default.
#[test]
fn json_follows_the_specification() {
    let line = json::line(&Request::Traces(Encoder::default().traces(&turn()).unwrap().0)).unwrap();
    assert!(!line.contains('\n'));
    let value: Value = serde_json::from_str(&line).unwrap();
    let span = &value["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
    assert_eq!(span["spanId"].as_str().unwrap().len(), 16);
    assert_eq!(span["startTimeUnixNano"], "1795000001000000000");
    assert_eq!(span["kind"], 3);
    assert!(
        span.get("traceState").is_none() && span.get("droppedEventsCount").is_none() && span.get("status").is_none()
    );
    let attributes = span["attributes"].as_array().unwrap();
    let value = |key: &str| {
        attributes.iter().find(|attribute| attribute["key"] == key).map(|attribute| attribute["value"].clone())
    };
    assert_eq!(value("gen_ai.usage.input_tokens").unwrap()["intValue"], "512");
    assert_eq!(value("gen_ai.usage.cache_read.input_tokens").unwrap()["intValue"], "0");
    assert_eq!(value("gen_ai.request.stream").unwrap()["boolValue"], true);
    assert!(value("gen_ai.usage.cache_creation.input_tokens").is_none());
    assert!(!line.contains("keyStrindex"));
    // What a reader of protobuf's JSON mapping makes of it is what was sent.
    let read: ExportTraceServiceRequest = serde_json::from_str(&line).unwrap();
    assert_eq!(read, Encoder::default().traces(&turn()).unwrap().0);
}
