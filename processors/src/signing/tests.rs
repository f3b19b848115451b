use std::{path::PathBuf, sync::Arc};

use pipeline::{
    BuildContext, Kind, Observation, ProcessKey, Processor, SpanContext, SpanId, Timestamp, TraceId,
    config::{Component, Node, Problems, render},
    observation::{Finding, Host, Process, ProcessInfo, ProcessPhase, Severity},
    telemetry::Telemetry,
};
use serde_json::Value;

use super::*;

/// Invented. No output may contain it.
pub(super) const CANARY: &str = "canary-key-0123456789abcdef-do-not-show";

pub(super) fn config(id: Option<&str>, state: Option<PathBuf>) -> Config {
    Config {
        key: Some(pipeline::config::values::Secret::new(CANARY)),
        key_id: id.map(Into::into),
        state_file: state,
        ..Config::default()
    }
}

pub(super) fn context(id: &str) -> BuildContext {
    BuildContext {
        mode: pipeline::Mode::default(),
        record: None,
        id: id.into(),
        telemetry: Arc::new(Telemetry::default()),
        shared: Arc::default(),
    }
}

pub(super) fn process(host: &str) -> Arc<ProcessInfo> {
    Arc::new(ProcessInfo {
        key: ProcessKey { tgid: 4711, start: 99 },
        started: Timestamp(1_700_000_000_000_000_000),
        executable: "/usr/bin/pytho\u{f6}n\"3".into(),
        args: vec!["python3".into(), "agent.py".into()],
        service_name: Some("agent".into()),
        host: Arc::new(Host { name: host.into(), ..Host::default() }),
        ..ProcessInfo::default()
    })
}

pub(super) fn exec(host: &str, at: u64) -> Observation {
    let kind = Kind::Process(Box::new(Process { phase: ProcessPhase::Exec }));
    let mut observation = Observation::new(Timestamp(1_700_000_001_000_000_000 + at), process(host), kind);
    observation.context = Some(SpanContext {
        trace_id: TraceId::derive(&[b"t"]),
        span_id: SpanId::derive(&[b"s"]),
        parent_span_id: None,
    });
    observation
}

/// What a run with `count` observations gives, without its closing record.
pub(super) fn run(signing: &mut Signing, host: &str, count: u64) -> Vec<String> {
    let mut out = Vec::new();
    for at in 0..count {
        signing.process(exec(host, at), &mut out);
    }
    signing.advance(Timestamp(1_700_000_002_000_000_000), &mut out);
    lines(&out)
}

pub(super) fn close(signing: &mut Signing) -> String {
    let mut out = Vec::new();
    signing.finish(Timestamp(1_700_000_003_000_000_000), &mut out);
    lines(&out).pop().unwrap_or_default()
}

pub(super) fn lines(out: &[Observation]) -> Vec<String> {
    out.iter().filter_map(|observation| observation.envelope.as_ref()).map(|envelope| envelope.json.clone()).collect()
}

fn fields(line: &str) -> serde_json::Map<String, Value> {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_envelope_is_a_cloudevent_with_who_when_and_where() {
    let mut signing = Signing::new(&config(Some("node-1"), None), &context("signing")).unwrap();
    let lines = run(&mut signing, "h\u{f6}st 1", 2);
    let (first, second) = (fields(&lines[0]), fields(&lines[1]));
    let text = |name: &str| first[name].as_str().unwrap();
    assert_eq!(text("specversion"), "1.0");
    assert_eq!(text("type"), "io.onlooker.process.exec");
    assert_eq!(text("source"), "/onlooker/h%C3%B6st%201");
    assert_eq!(text("time"), "2023-11-14T22:13:21.000000000Z");
    assert_eq!(text("subject"), "agent/4711");
    assert_eq!(text("datacontenttype"), "application/json");
    assert_eq!(text("sequence"), "00000000000000000001");
    assert_eq!(text("prevhash"), GENESIS);
    assert_eq!(text("keyid"), "node-1");
    assert_eq!(text("signaturealg"), "HMAC-SHA256");
    assert!(text("traceparent").starts_with("00-"));
    assert_eq!(first["data"]["service.name"], "agent");
    assert_eq!(first["data"]["process.pid"], 4711);
    assert_eq!(first["data"]["process.creation.time"], "2023-11-14T22:13:20.000000000Z");
    assert_eq!(second["prevhash"], key::sha256(&lines[0]));
    assert_ne!(first["id"], second["id"]);
    // CloudEvents 1.0, section "Naming conventions".
    for name in first.keys() {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
    }
    assert!(lines.iter().all(|line| !line.contains('\n')));
}

#[test]
fn the_same_input_gives_the_same_records_and_other_instances_other_chains() {
    let records = |context: &BuildContext| run(&mut Signing::new(&config(None, None), context).unwrap(), "host", 3);
    assert_eq!(records(&context("signing")), records(&context("signing")));
    // Two instances of one id in one run, where pipelines fork.
    let shared = context("signing");
    let (first, second) = (records(&shared), records(&shared));
    assert_ne!(fields(&first[0])["chainid"], fields(&second[0])["chainid"]);
    assert_ne!(fields(&first[0])["id"], fields(&second[0])["id"]);
}

#[test]
fn a_run_ends_with_a_closing_record_and_says_nothing_if_it_signed_nothing() {
    let mut signing = Signing::new(&config(None, None), &context("signing")).unwrap();
    run(&mut signing, "host", 2);
    let closing = fields(&close(&mut signing));
    assert_eq!(closing["type"], "io.onlooker.chain.closed");
    assert_eq!(closing["sequence"], "00000000000000000003");
    let mut idle = Signing::new(&config(None, None), &context("signing")).unwrap();
    assert_eq!(close(&mut idle), "");
}

#[test]
fn the_chain_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("chain.json");
    let mut all = Vec::new();
    for _ in 0..3 {
        let mut signing = Signing::new(&config(None, Some(state.clone())), &context("signing")).unwrap();
        all.extend(run(&mut signing, "host", 2));
        all.push(close(&mut signing));
    }
    // Killed: no closing record, but what was given out is in the state.
    let mut signing = Signing::new(&config(None, Some(state.clone())), &context("signing")).unwrap();
    all.extend(run(&mut signing, "host", 2));
    drop(signing);
    let mut signing = Signing::new(&config(None, Some(state)), &context("signing")).unwrap();
    all.extend(run(&mut signing, "host", 1));
    all.push(close(&mut signing));
    for (at, line) in all.iter().enumerate() {
        assert_eq!(fields(line)["sequence"], format!("{:020}", at + 1));
        assert_eq!(fields(line)["chainid"], fields(&all[0])["chainid"]);
    }
    let report = verify::tests::check(&all.join("\n"));
    assert!(report.is_ok() && report.warnings.is_empty(), "{report}");
}

#[test]
fn a_damaged_state_is_refused_and_another_keys_state_begins_a_chain() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("chain.json");
    let mut signing = Signing::new(&config(None, Some(state.clone())), &context("signing")).unwrap();
    run(&mut signing, "host", 2);
    let again = Signing::new(&config(None, Some(state.clone())), &context("signing")).err().unwrap().to_string();
    assert!(again.contains("in use"), "{again}");
    drop(signing);
    let good = std::fs::read_to_string(&state).unwrap();
    for bad in [
        String::new(),
        "{}".into(),
        good[..good.len() / 2].into(),
        good.replace("\"sequence\":\"2\"", "\"sequence\":\"1\""),
    ] {
        std::fs::write(&state, bad).unwrap();
        let error = Signing::new(&config(None, Some(state.clone())), &context("signing")).err().unwrap().to_string();
        assert!(error.contains("chain.json") && error.contains("move the file away"), "{error}");
        assert!(!error.contains(CANARY));
    }
    std::fs::write(&state, good).unwrap();
    let mut other = Signing::new(&config(Some("next-key"), Some(state)), &context("signing")).unwrap();
    assert_eq!(fields(&run(&mut other, "host", 1)[0])["prevhash"], GENESIS);
}

#[test]
fn wrong_configurations_say_what_to_do() {
    let problems = |config: &Config| {
        let mut problems = Problems::new();
        config.validate("processors::signing", &mut problems);
        render(&problems)
    };
    assert!(problems(&Config::default()).contains("has no key"));
    assert!(problems(&Config { key_file: Some("k".into()), ..config(None, None) }).contains("both key_file and key"));
    let short = Config { key: Some(pipeline::config::values::Secret::new("canary-short")), ..Config::default() };
    let text = problems(&short);
    assert!(text.contains("12 bytes") && !text.contains("canary"), "{text}");
    assert!(problems(&config(Some("a b"), None)).contains("key_id"));
    assert_eq!(problems(&config(Some("node-1"), None)), "");
    let missing = Config { key_file: Some("/nowhere/key".into()), ..Config::default() };
    let error = Signing::new(&missing, &context("signing")).err().unwrap().to_string();
    assert!(error.contains("/nowhere/key"), "{error}");
}

#[test]
fn the_key_is_in_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("chain.json");
    let config = config(None, Some(state.clone()));
    let mut signing = Signing::new(&config, &context("signing")).unwrap();
    let mut text = run(&mut signing, "host", 2).join("\n");
    text.push_str(&close(&mut signing));
    text.push_str(&format!("{config:?} {:?}", signing.key));
    text.push_str(&std::fs::read_to_string(&state).unwrap());
    text.push_str(&verify::tests::check("{\"broken").to_string());
    assert!(!text.contains("canary") && !text.contains(&pipeline::ids::hex(CANARY.as_bytes())));
}

#[test]
fn the_readme_lists_the_keys() {
    let readme = include_str!("README.md");
    for key in ["key_file", "key", "key_id", "state_file"] {
        assert!(readme.contains(&format!("| `{key}` |")), "{key}");
    }
    let mut problems = Problems::new();
    let _ = pipeline::config::decode::<Config>(&Node::Map(vec![("keyfile".into(), Node::Null)]), "p", &mut problems);
    assert!(render(&problems).contains("did you mean"), "{}", render(&problems));
}

#[test]
fn what_has_no_record_passes_unsigned() {
    let mut signing = Signing::new(&config(None, None), &context("signing")).unwrap();
    let finding = Finding { name: "onlooker.loss", severity: Severity::Warn, message: "m".into(), attributes: vec![] };
    let mut out = Vec::new();
    signing.process(Observation::new(Timestamp(1), process("host"), Kind::Finding(Box::new(finding))), &mut out);
    assert!(out[0].envelope.is_some());
}
