use std::{collections::BTreeMap, time::Duration};

use pipeline::{
    ConnectionKey, Mode, Timestamp,
    config::{Component, Problems, render},
    observation::{
        Agent, Api, Body, CallError, Evidence, Headers, Host, Operation, Parameters, Process, ProcessPhase, Reply,
        Request, RequestedTool, Response, Role, ServerAddress, Severity, Thread, ToolResult, TurnEnd, Usage,
    },
    telemetry::{Telemetry, names},
};
use proptest::prelude::*;

use super::*;

/// Invented.
const SECRET: &str = "sk-ant-api03-CANARYcanaryCANARYcanary0123456789-AAAA";

fn context() -> BuildContext {
    BuildContext {
        mode: Mode::default(),
        record: None,
        id: "redaction".into(),
        telemetry: Arc::new(Telemetry::default()),
        shared: Arc::default(),
    }
}

fn patterns(list: &[(&str, &str)]) -> Config {
    let pattern = |(name, regex): &(&str, &str)| PatternConfig { name: (*name).into(), regex: (*regex).into() };
    Config { patterns: list.iter().map(pattern).collect(), ..Config::default() }
}

fn secret(word: &str) -> String {
    format!("{word} {SECRET}")
}

fn some(word: &str) -> Option<String> {
    Some(secret(word))
}

/// A process with the secret in every text.
fn leaking_process() -> Arc<ProcessInfo> {
    Arc::new(ProcessInfo {
        key: ProcessKey { tgid: 1, start: 2 },
        executable: secret("/bin/x"),
        args: vec!["x".into(), secret("a"), "--api-key".into(), SECRET.into()],
        cwd: some("/tmp"),
        user: some("u"),
        cgroup: some("/c"),
        markers: BTreeMap::from([("AI_AGENT".into(), secret("m"))]),
        agent: Some(Agent { name: secret("n"), version: some("1"), known: false }),
        service_name: some("s"),
        host: Arc::new(Host::default()),
        ..ProcessInfo::default()
    })
}

/// One observation of each kind with the secret in every text that can leave.
fn leaking() -> Vec<Observation> {
    let now = Timestamp(5);
    let headers = || Headers(vec![("x-note".into(), secret("h"))]);
    let exchange = Exchange {
        connection: ConnectionKey::default(),
        index: 0,
        role: Role::Client,
        tls: true,
        protocol: pipeline::observation::Protocol::Http1,
        facts: None,
        request: Request {
            method: "POST".into(),
            target: format!("/v1/messages?api_key={SECRET}"),
            headers: headers(),
            body: Body::default(),
            started: now,
            ended: now,
        },
        response: Some(Response { status: 200, headers: headers(), ..Response::default() }),
        losses: vec![],
    };
    let model = ModelCall {
        operation: Operation::Chat,
        provider: secret("p"),
        api: Api::Messages,
        server: ServerAddress { address: secret("a"), port: 443 },
        parameters: Parameters {
            model: some("m"),
            stop_sequences: vec![secret("s")],
            output_type: some("o"),
            reasoning_level: some("r"),
            previous_response_id: some("p"),
            service_tier: some("t"),
            encoding_formats: vec![secret("e")],
            ..Parameters::default()
        },
        reply: Reply {
            id: some("i"),
            model: some("m"),
            finish_reasons: vec![secret("f")],
            service_tier: some("t"),
            system_fingerprint: some("f"),
            time_to_first_chunk: Some(Duration::ZERO),
            ..Reply::default()
        },
        usage: Usage::default(),
        error: Some(CallError { kind: secret("k"), message: some("Incorrect API key provided:") }),
        conversation_id: some("c"),
        thread: Thread {
            tool_results: vec![ToolResult { id: secret("i"), is_error: false, response: None }],
            ..Thread::default()
        },
        tool_calls: vec![RequestedTool { id: some("i"), name: secret("n"), arguments: secret("{}") }],
        started: now,
        ended: now,
        remote_parent: None,
        resend_count: None,
        facts: None,
        connection: ConnectionKey::default(),
        index: 0,
        losses: vec![],
        content: None,
        turn: None,
    };
    let tool = ToolCall {
        id: some("i"),
        name: secret("n"),
        arguments: format!("{{\"command\":\"curl -H 'x-api-key: {SECRET}'\"}}"),
        started: now,
        ended: now,
        evidence: Evidence::Wire,
        matched: None,
        process: None,
        exit: None,
        result_error: false,
        result_seen: true,
        agent_name: some("a"),
        conversation_id: some("c"),
        content: None,
        mcp: None,
    };
    let turn = AgentTurn {
        number: 0,
        agent_name: secret("a"),
        agent_version: some("1"),
        conversation_id: some("c"),
        provider: some("p"),
        started: now,
        ended: now,
        model_calls: 0,
        tool_calls: 0,
        end: TurnEnd::Answered,
        error: some("e"),
        content: None,
        model: some("m"),
        finish_reasons: Vec::new(),
        usage: Default::default(),
    };
    let finding = Finding {
        name: "onlooker.finding.x",
        severity: Severity::Warn,
        message: secret("m"),
        attributes: vec![
            ("onlooker.x", Value::Str(secret("v"))),
            ("onlooker.list", Value::Strings(vec![secret("l")])),
            ("process.command_args", Value::Strings(vec!["x".into(), "--token".into(), SECRET.into()])),
            ("onlooker.number", Value::Int(1)),
        ],
    };
    let heartbeat = Heartbeat { probes: vec![(secret("p"), some("r"))], ..Heartbeat::default() };
    let kinds = [
        Kind::Exchange(exchange.into()),
        Kind::ModelCall(model.into()),
        Kind::ToolCall(tool.into()),
        Kind::AgentTurn(turn.into()),
        Kind::Process(Process { phase: ProcessPhase::Exec }.into()),
        Kind::Finding(finding.into()),
        Kind::Heartbeat(heartbeat.into()),
    ];
    kinds.map(|kind| Observation::new(now, leaking_process(), kind)).into()
}

fn run(config: &Config, observations: Vec<Observation>) -> (Vec<Observation>, u64) {
    let context = context();
    let mut redaction = Redaction::new(config, &context).unwrap();
    let mut out = Vec::new();
    for observation in observations {
        redaction.process(observation, &mut out);
    }
    let counts = context.telemetry.snapshot();
    (out, counts.iter().filter(|((name, _), _)| *name == names::REDACTED).map(|(_, count)| count).sum())
}

#[test]
fn no_text_of_any_kind_leaves_with_a_secret() {
    let all = leaking();
    let inputs = all.len();
    assert!(all.iter().all(|observation| format!("{observation:?}").contains("CANARY")));
    let (out, count) = run(&Config::default(), all);
    assert_eq!(out.len(), inputs);
    for observation in &out {
        let text = format!("{observation:?}");
        assert!(!text.contains("CANARY") && text.contains("[REDACTED:"), "{text}");
    }
    assert!(count > 40, "{count}");
}

/// What leaves signed is what was masked, for every kind that has a record.
#[test]
fn signed_records_hold_no_secret() {
    let (out, _) = run(&Config::default(), leaking());
    let key = pipeline::config::values::Secret::new("0123456789abcdef0123456789abcdef");
    let config = crate::signing::Config { key: Some(key), ..Default::default() };
    let mut signing = crate::signing::Signing::new(&config, &context()).unwrap();
    let mut signed = Vec::new();
    for observation in out {
        signing.process(observation, &mut signed);
    }
    signing.finish(Timestamp(9), &mut signed);
    let lines: Vec<_> = signed.iter().filter_map(|one| one.envelope.as_ref().map(|e| e.json.as_str())).collect();
    assert_eq!(lines.len(), 7);
    assert!(lines.iter().all(|line| !line.contains("CANARY")), "{lines:#?}");
    let mut keys = crate::signing::verify::Keys::default();
    keys.add(None, crate::signing::Key::new(b"0123456789abcdef0123456789abcdef").unwrap());
    let text = lines.join("\n");
    let report = crate::signing::verify::verify([("f".to_owned(), text.as_bytes())], &keys, &Default::default());
    assert!(report.unwrap().is_ok());
}

#[test]
fn masking_twice_changes_nothing_and_counts_nothing() {
    let config = patterns(&[("Word", r"[A-Za-z]{3,}")]);
    let (once, _) = run(&config, leaking());
    let (twice, count) = run(&config, once.clone());
    assert_eq!(format!("{once:?}"), format!("{twice:?}"));
    assert_eq!(count, 0);
}

#[test]
fn processes_are_shared_and_masked_once() {
    let clean = Arc::new(ProcessInfo { executable: "/bin/ls".into(), ..ProcessInfo::default() });
    let leaking = leaking_process();
    let mut redaction = Redaction::new(&Config::default(), &context()).unwrap();
    assert!(Arc::ptr_eq(&redaction.process_info(&clean), &clean));
    let first = redaction.process_info(&leaking);
    assert!(Arc::ptr_eq(&first, &redaction.process_info(&leaking)));
    // An equal copy, and then the same process with more known of it.
    assert!(Arc::ptr_eq(&first, &redaction.process_info(&Arc::new(ProcessInfo::clone(&leaking)))));
    let more = Arc::new(ProcessInfo { uid: 7, ..ProcessInfo::clone(&leaking) });
    assert_eq!(redaction.process_info(&more).uid, 7);
    assert_eq!(redaction.order.len(), redaction.processes.len());
}

#[test]
fn the_operators_patterns_mask_too() {
    let config = patterns(&[("Customer", r"CUST-\d{6}"), ("Pin", r"pin (?P<secret>\d+)")]);
    let mut masker = Masker::new(&config, Arc::default()).unwrap();
    let masked = masker.masked(&format!("CUST-123456 {SECRET} pin 42 CUST-9")).unwrap();
    assert!(masked.starts_with("[REDACTED:Customer] [REDACTED:"), "{masked}");
    assert!(masked.ends_with("pin [REDACTED:Pin] CUST-9"), "{masked}");
    assert_eq!(masker.masked("nothing here"), None);
    // What only looks like a mask hides nothing.
    let masked = masker.masked("[REDACTED: CUST-123456] [REDACTED:CUST-123456").unwrap();
    assert!(!masked.contains("CUST"), "{masked}");
    let mut args = vec!["tool".to_owned(), "--customer=CUST-123456".to_owned()];
    masker.args(&mut args);
    assert_eq!(args[1], "--customer=[REDACTED:Customer]");
}

#[test]
fn kinds_can_be_chosen_but_for_credentials() {
    let masked = |disabled: &[&str], enabled: &[&str], text: &str| {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let config = Config { disabled: list(disabled), enabled: list(enabled), ..Config::default() };
        Masker::new(&config, Arc::default()).unwrap().masked(text)
    };
    let digest = "0123456789abcdef".repeat(4);
    assert_eq!(masked(&[], &[], "a@example.com").as_deref(), Some("[REDACTED:EmailAddress]"));
    assert_eq!(masked(&["EmailAddress"], &[], "a@example.com"), None);
    assert_eq!(masked(&[], &[], &digest), None);
    assert_eq!(masked(&[], &["GenericHex"], &digest).as_deref(), Some("[REDACTED:GenericHex]"));
    let config = Config {
        disabled: vec!["Jwt".into(), "EmailAddress".into()],
        enabled: vec!["Nope".into()],
        ..patterns(&[("Jwt", "x")])
    };
    let mut problems = Problems::new();
    config.validate("processors::redaction", &mut problems);
    let text = render(&problems);
    for expected in [
        "processors::redaction::disabled::0: is a credential, and those are always masked",
        "processors::redaction::enabled::0: there is no kind \"Nope\"",
        "processors::redaction::patterns::0::name: \"Jwt\" is a kind that is known already",
        "CreditCardLuhn, SsnPattern, EmailAddress, GenericHighEntropy, GenericHex",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn json_is_masked_by_its_texts_and_its_names() {
    let mut value = serde_json::json!({
        "api_key": "hunter2hunter2",
        "Authorization": "Bearer x",
        "cookie": "a=b",
        "openai": {"token": ["short", SECRET, "hunter2hunter2"], "pin_secret": 1234, "max_tokens": 5},
        "nested": "{\"password\": \"a \\\"b\\\" c\", \"n\": 1}",
        "properties": {"api_key": {"type": "string", "description": "the key"}},
        "required": ["api_key", "token"],
        "card": 4_242_424_242_424_242_u64,
        "logprobs": [{"token": " Hi"}],
        "variable": {"password": "$PASSWORD"},
        SECRET: 1,
        "[REDACTED:AnthropicKey]": 2,
        "image": "A1b2".repeat(1000),
    });
    let image = value["image"].clone();
    let mut masker = Masker::new(&Config::default(), Arc::default()).unwrap();
    content::json(&mut value, &mut masker);
    let expected = serde_json::json!({
        "api_key": "[REDACTED:SecretValue]",
        "Authorization": "[REDACTED:Authorization]",
        "cookie": "[REDACTED:Cookie]",
        "openai": {
            "token": ["short", "[REDACTED:AnthropicKey]", "[REDACTED:SecretValue]"],
            "pin_secret": "[REDACTED:SecretValue]",
            "max_tokens": 5,
        },
        "nested": "{\"password\": \"[REDACTED:SecretValue]\", \"n\": 1}",
        "properties": {"api_key": {"type": "string", "description": "the key"}},
        "required": ["api_key", "token"],
        "card": "[REDACTED:CreditCardLuhn]",
        "logprobs": [{"token": " Hi"}],
        "variable": {"password": "$PASSWORD"},
        "[REDACTED:AnthropicKey]#2": 1,
        "[REDACTED:AnthropicKey]": 2,
        "image": image,
    });
    assert_eq!(value, expected);
    let mut again = value.clone();
    content::json(&mut again, &mut masker);
    assert_eq!(again, value);
}

#[test]
fn the_readme_lists_the_kinds() {
    let readme = include_str!("README.md");
    for kind in pipeline::mask::KINDS {
        let row = format!("| `{}` | `{}` | {} |", kind.name, kind.shape, kind.meaning);
        assert!(readme.contains(&row), "{row}");
    }
    let rows = readme.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 2).count();
    assert_eq!(rows, pipeline::mask::KINDS.len());
}

#[test]
fn wrong_patterns_are_refused() {
    let config = patterns(&[("A", "("), ("A", "x"), ("b c", "x"), ("D", "x*"), ("E", ""), ("F", r"(\w{1000}){1000}")]);
    let mut problems = Problems::new();
    config.validate("processors::redaction", &mut problems);
    let text = render(&problems);
    for expected in [
        "processors::redaction::patterns::0::regex: unclosed group",
        "processors::redaction::patterns::1::name: \"A\" is there twice",
        "processors::redaction::patterns::2::name: is not a name",
        "processors::redaction::patterns::3::regex: matches the empty text",
        "processors::redaction::patterns::4::regex: is empty",
        "processors::redaction::patterns::5::regex: is too big",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert!(Redaction::new(&config, &context()).is_err());
}

#[test]
fn the_readme_lists_the_keys() {
    for key in ["patterns", "patterns::name", "patterns::regex", "disabled", "enabled"] {
        assert!(include_str!("README.md").contains(&format!("| `{key}` |")), "{key}");
    }
}

proptest! {
    #[test]
    fn any_text_can_be_masked_and_masking_is_stable(text in any::<String>(), head in "[a-z\\[:\\]]{0,12}") {
        let config = patterns(&[("Vowel", "[aeiou]+"), ("Group", "b(?P<secret>.)")]);
        let mut masker = Masker::new(&config, Arc::default()).unwrap();
        let mut once = format!("{head}[REDACTED:{text}");
        let spelled_out = once.clone();
        masker.text(&mut once);
        let mut twice = once.clone();
        masker.text(&mut twice);
        prop_assert_eq!(&twice, &once, "{}", spelled_out);
    }
}
