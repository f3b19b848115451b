//! Exchanges as they stand on the wire, generated here, and the calls that they must give.

use std::time::Duration;

use pipeline::{
    ConnectionKey, Processor, Timestamp,
    observation::{
        Api, Body, Exchange, Headers, Kind, Loss, LossReason, Mark, Modalities, ModelCall, Operation, Part, Request,
        RequestedTool, Response, Role,
    },
};
use serde_json::{Value, json};

use super::*;

mod anthropic;
mod bedrock;
mod clouds;
mod dialects;
mod google;
mod hostile;
mod openai;
mod others;
mod schema;
mod streams;
mod table;
mod threads;
mod websocket;

/// Start of every request; the response starts 10 ms later, and each event of a stream 1 ms after the one before it.
const START: u64 = 1_000_000_000;

fn ms(count: u64) -> Timestamp {
    Timestamp(START + count * 1_000_000)
}

/// JSON made of these words as keys and as texts, in places where they may or may not belong.
fn json_of(words: &'static [&'static str]) -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;

    let word = prop::sample::select(words).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn exchange(host: &str, target: &str, body: &Value) -> Exchange {
    Exchange {
        connection: ConnectionKey::default(),
        index: 0,
        role: Role::Client,
        tls: true,
        protocol: pipeline::observation::Protocol::Http1,
        facts: None,
        request: Request {
            method: "POST".into(),
            target: target.into(),
            headers: Headers(vec![("host".into(), host.into()), ("content-type".into(), "application/json".into())]),
            body: Body { bytes: body.to_string().into_bytes().into(), ..Body::default() },
            started: ms(0),
            ended: ms(1),
        },
        response: None,
        losses: Vec::new(),
    }
}

fn answered(mut exchange: Exchange, status: u16, body: &Value) -> Exchange {
    exchange.response = Some(Response {
        status,
        headers: Headers(vec![("content-type".into(), "application/json".into())]),
        body: Body { bytes: body.to_string().into_bytes().into(), ..Body::default() },
        started: ms(10),
        ended: ms(20),
    });
    exchange
}

/// An answer of these events, the first at 11 ms.
fn streamed(mut exchange: Exchange, events: &[(&str, String)]) -> Exchange {
    let mut bytes = Vec::new();
    let mut marks = Vec::new();
    for (at, (name, data)) in events.iter().enumerate() {
        marks.push(Mark { offset: bytes.len() as u64, time: ms(11 + at as u64) });
        if !name.is_empty() {
            bytes.extend_from_slice(format!("event: {name}\n").as_bytes());
        }
        bytes.extend_from_slice(format!("data: {data}\n\n").as_bytes());
    }
    exchange.response = Some(Response {
        status: 200,
        headers: Headers(vec![("content-type".into(), "text/event-stream; charset=utf-8".into())]),
        body: Body { bytes: bytes.into(), marks, ..Body::default() },
        started: ms(10),
        ended: ms(5000),
    });
    exchange
}

fn lossy(mut exchange: Exchange, part: Part, reason: LossReason) -> Exchange {
    exchange.losses.push(Loss { part, reason, bytes: 0 });
    exchange
}

fn understand(exchange: &Exchange) -> Option<ModelCall> {
    Provider::new(&Config::default()).understand(exchange)
}

fn call(exchange: &Exchange) -> ModelCall {
    understand(exchange).expect("a call")
}

fn tool(id: &str, name: &str, arguments: &str) -> RequestedTool {
    RequestedTool { id: Some(id.into()), name: name.into(), arguments: arguments.into() }
}

fn chat_request() -> Value {
    json!({"model": "gpt-x", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]})
}

fn message_request() -> Value {
    json!({"model": "claude-x", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]})
}

#[test]
fn a_plain_chat_is_read() {
    let mut body = chat_request();
    for (key, value) in [
        ("max_completion_tokens", json!(100)),
        ("temperature", json!(0.5)),
        ("top_p", json!(1)),
        ("frequency_penalty", json!(0.1)),
        ("presence_penalty", json!(-0.1)),
        ("stop", json!("END")),
        ("seed", json!(7)),
        ("n", json!(2)),
        ("response_format", json!({"type": "json_schema"})),
        ("reasoning_effort", json!("low")),
        ("service_tier", json!("flex")),
        ("tools", json!([{"type": "function", "function": {"name": "f"}}])),
    ] {
        body[key] = value;
    }
    let answer = json!({"id": "c-1", "model": "gpt-x-2026", "service_tier": "default", "system_fingerprint": "fp",
        "choices": [
            {"index": 1, "finish_reason": "stop", "message": {"content": "x"}},
            {"index": 0, "finish_reason": "tool_calls", "message": {"tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4},
                  "completion_tokens_details": {"reasoning_tokens": 3}}});
    let call = call(&answered(exchange("api.openai.com", "/v1/chat/completions", &body), 200, &answer));
    assert_eq!((call.provider.as_str(), call.api, call.operation), ("openai", Api::ChatCompletions, Operation::Chat));
    assert_eq!((call.server.address.as_str(), call.server.port), ("api.openai.com", 443));
    let asked = &call.parameters;
    assert_eq!(asked.model.as_deref(), Some("gpt-x"));
    assert_eq!((asked.max_tokens, asked.temperature, asked.top_p), (Some(100), Some(0.5), Some(1.0)));
    assert_eq!((asked.frequency_penalty, asked.presence_penalty), (Some(0.1), Some(-0.1)));
    assert_eq!(
        (asked.stop_sequences.as_slice(), asked.seed, asked.choice_count),
        (&["END".to_owned()][..], Some(7), Some(2))
    );
    assert_eq!((asked.output_type.as_deref(), asked.reasoning_level.as_deref()), (Some("json"), Some("low")));
    assert_eq!((asked.service_tier.as_deref(), asked.stream), (Some("flex"), false));
    let reply = &call.reply;
    assert_eq!(
        (reply.status, reply.id.as_deref(), reply.model.as_deref()),
        (Some(200), Some("c-1"), Some("gpt-x-2026"))
    );
    assert_eq!(reply.finish_reasons, ["tool_calls", "stop"]);
    assert_eq!((reply.service_tier.as_deref(), reply.system_fingerprint.as_deref()), (Some("default"), Some("fp")));
    assert_eq!((reply.chunks, reply.time_to_first_chunk), (None, None));
    assert_eq!(
        call.usage,
        Usage {
            input: Some(10),
            output: Some(5),
            cache_read: Some(4),
            cache_creation: None,
            reasoning: Some(3),
            modalities: Modalities::default()
        }
    );
    assert_eq!(call.tool_calls, [tool("t1", "f", "{\"a\":1}")]);
    assert!(call.thread.has_tools && call.thread.from_user && call.thread.system.is_some());
    assert_eq!((call.thread.messages.len(), call.started, call.ended), (1, ms(0), ms(20)));
    assert_eq!(call.error, None);
}

#[test]
fn what_was_not_said_is_absent() {
    let call = call(&answered(exchange("api.openai.com", "/v1/chat/completions", &chat_request()), 200, &json!({})));
    assert_eq!(call.usage, Usage::default());
    assert_eq!((call.parameters.max_tokens, call.parameters.choice_count, call.parameters.seed), (None, None, None));
    assert!(call.reply.finish_reasons.is_empty() && call.conversation_id.is_none() && call.resend_count.is_none());
}

#[test]
fn embeddings_are_read() {
    let body = json!({"model": "e", "input": ["a"], "encoding_format": "base64", "dimensions": 256});
    let answer = json!({"object": "list", "model": "e-2", "data": [{"embedding": "AAAA"}], "usage": {"prompt_tokens": 3, "total_tokens": 3}});
    let call = call(&answered(exchange("api.openai.com", "/v1/embeddings", &body), 200, &answer));
    assert_eq!((call.operation, call.api), (Operation::Embeddings, Api::Embeddings));
    assert_eq!(
        (call.parameters.encoding_formats.as_slice(), call.parameters.dimensions),
        (&["base64".to_owned()][..], Some(256))
    );
    assert_eq!((call.reply.model.as_deref(), call.usage.input, call.usage.output), (Some("e-2"), Some(3), None));
    assert!(call.reply.finish_reasons.is_empty());
}

#[test]
fn a_plain_message_is_read() {
    let mut body = message_request();
    body["metadata"] = json!({"user_id": "user_ab_account__session_0f0e0d0c-0b0a-4909-8807-060504030201"});
    body["top_k"] = json!(5);
    body["stop_sequences"] = json!(["a", "b"]);
    body["output_config"] = json!({"effort": "high"});
    let answer = json!({"id": "msg_1", "type": "message", "model": "claude-x-1", "stop_reason": "tool_use", "content": [
            {"type": "thinking", "thinking": "…"}, {"type": "text", "text": "t"},
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
            {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 1000, "output_tokens": 7}});
    let call = call(&answered(exchange("api.anthropic.com", "/v1/messages?beta=true", &body), 200, &answer));
    assert_eq!((call.provider.as_str(), call.api), ("anthropic", Api::Messages));
    assert_eq!(
        call.usage,
        Usage {
            input: Some(1110),
            output: Some(7),
            cache_read: Some(100),
            cache_creation: Some(1000),
            reasoning: None,
            modalities: Modalities::default(),
        }
    );
    assert_eq!(call.reply.finish_reasons, ["tool_use"]);
    assert_eq!(call.tool_calls, [tool("t1", "Bash", "{\"command\":\"ls\"}")]);
    assert_eq!(call.conversation_id.as_deref(), Some("0f0e0d0c-0b0a-4909-8807-060504030201"));
    assert_eq!((call.parameters.top_k, call.parameters.stop_sequences.len()), (Some(5), 2));
    assert_eq!((call.parameters.reasoning_level.as_deref(), call.parameters.max_tokens), (Some("high"), Some(64)));
}

#[test]
fn a_plain_response_is_read() {
    let body = json!({"model": "gpt-x", "input": "hi", "instructions": "s", "conversation": {"id": "conv_1"},
        "previous_response_id": "resp_0", "max_output_tokens": 9, "text": {"format": {"type": "json_object"}},
        "reasoning": {"effort": "medium"}});
    let answer = |status: &str, output: Value| {
        json!({"id": "resp_1", "model": "gpt-x-1", "status": status, "incomplete_details": {"reason": "max_output_tokens"},
            "output": output, "usage": {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 6, "output_tokens_details": {"reasoning_tokens": 2}}})
    };
    let read = |status, output| {
        call(&answered(exchange("api.openai.com", "/v1/responses", &body), 200, &answer(status, output)))
    };
    let done = read("completed", json!([{"type": "message", "content": []}, {"type": "web_search_call", "id": "w"}]));
    assert_eq!(done.reply.finish_reasons, ["stop"]);
    assert_eq!(
        done.usage,
        Usage {
            input: Some(5),
            output: Some(6),
            cache_read: Some(0),
            cache_creation: None,
            reasoning: Some(2),
            modalities: Modalities::default()
        }
    );
    assert_eq!(
        (done.conversation_id.as_deref(), done.parameters.previous_response_id.as_deref()),
        (Some("conv_1"), Some("resp_0"))
    );
    assert_eq!(
        (done.parameters.output_type.as_deref(), done.parameters.reasoning_level.as_deref()),
        (Some("json"), Some("medium"))
    );
    assert!(done.thread.from_user && done.thread.system.is_some());
    let tools = read(
        "completed",
        json!([
        {"type": "reasoning", "id": "r"},
        {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "x"},
        {"type": "local_shell_call", "call_id": "c3", "action": {"command": ["ls"]}},
        {"type": "shell_call", "call_id": "c4", "environment": {"type": "container_reference"}, "action": {}}]),
    );
    assert_eq!(tools.reply.finish_reasons, ["tool_calls"]);
    assert_eq!(
        tools.tool_calls,
        [tool("c1", "f", "{}"), tool("c2", "patch", "x"), tool("c3", "local_shell", "{\"command\":[\"ls\"]}")]
    );
    assert_eq!(read("incomplete", json!([])).reply.finish_reasons, ["max_output_tokens"]);
    let mut failed = answer("failed", json!([]));
    failed["error"] = json!({"code": "server_error", "message": "broke"});
    let failed = call(&answered(exchange("api.openai.com", "/v1/responses", &body), 200, &failed));
    assert_eq!(failed.error.map(|error| error.kind).as_deref(), Some("server_error"));
    assert!(failed.reply.finish_reasons.is_empty());
}

#[test]
fn who_is_who() {
    let chat = chat_request();
    let message = message_request();
    let response = json!({"model": "m", "input": []});
    for (host, target, body, expected) in [
        ("api.openai.com", "/v1/chat/completions", &chat, Some(("openai", Api::ChatCompletions))),
        ("API.Groq.com.:443", "/openai/v1/chat/completions", &chat, Some(("groq", Api::ChatCompletions))),
        (
            "x.openai.azure.com",
            "/openai/deployments/d/chat/completions?api-version=1",
            &chat,
            Some(("azure.ai.openai", Api::ChatCompletions)),
        ),
        ("api.anthropic.com", "/v1/chat/completions", &chat, Some(("anthropic", Api::ChatCompletions))),
        ("chatgpt.com", "/backend-api/codex/responses", &response, Some(("openai", Api::Responses))),
        ("localhost:8080", "/v1/chat/completions", &chat, Some(("openai", Api::ChatCompletions))),
        ("evil-openai.com", "/v1/messages", &message, Some(("anthropic", Api::Messages))),
        ("gw.example", "/chat/completions", &chat, Some(("openai", Api::ChatCompletions))),
        ("gw.example", "/v1/responses", &response, Some(("openai", Api::Responses))),
        // The path alone is not enough for a host that nobody knows.
        ("gw.example", "/v1/responses", &json!({"survey": 1}), None),
        ("gw.example", "/v1/chat/completions", &json!({"model": "m"}), None),
        ("api.openai.com", "/v1/files", &chat, None),
        ("api.anthropic.com", "/v1/messages/count_tokens", &message, None),
        ("api.openai.com", "/v1/responses/resp_1/cancel", &response, None),
        ("api.openai.com", "/v1/responses", &json!({"model": "m", "input": [], "generate": false}), None),
    ] {
        let found = understand(&exchange(host, target, body));
        let found = found.as_ref().map(|call| (call.provider.as_str(), call.api));
        assert_eq!(found, expected, "{host} {target} {body}");
    }
    let mut other = exchange("api.openai.com", "/v1/responses", &response);
    other.request.method = "GET".into();
    assert!(understand(&other).is_none());
    other.request.method = "POST".into();
    other.role = Role::Server;
    assert!(understand(&other).is_none());
}

#[test]
fn servers_have_addresses() {
    for (host, tls, address, port) in [
        ("api.openai.com", true, "api.openai.com", 443),
        ("localhost:8080", false, "localhost", 8080),
        ("gw.example", false, "gw.example", 80),
        ("[::1]:8443", true, "::1", 8443),
        ("[2001:DB8::1]", true, "2001:db8::1", 443),
    ] {
        let mut exchange = exchange(host, "/v1/chat/completions", &chat_request());
        exchange.tls = tls;
        let server = call(&exchange).server;
        assert_eq!((server.address.as_str(), server.port), (address, port));
    }
    let proxied =
        call(&exchange("proxy.example", "http://api.groq.com:81/openai/v1/chat/completions", &chat_request()));
    assert_eq!(
        (proxied.provider.as_str(), proxied.server.address.as_str(), proxied.server.port),
        ("groq", "api.groq.com", 81)
    );
}

#[test]
fn custom_rows_come_first() {
    let row = |host: &str, provider: Option<&str>, api| Custom {
        host: Some(host.into()),
        path: None,
        provider: provider.map(Into::into),
        api,
    };
    let provider = Provider::new(&Config {
        custom: vec![
            row("llm.corp.example", Some("mistral_ai"), Some(Api::ChatCompletions)),
            row("localhost:9", Some("x_ai"), None),
            row("api.openai.com", Some("azure.ai.openai"), None),
        ],
        ..Config::default()
    });
    let named = |host, target| provider.understand(&exchange(host, target, &chat_request())).map(|call| call.provider);
    assert_eq!(named("eu.llm.corp.example", "/generate").as_deref(), Some("mistral_ai"));
    assert_eq!(named("badllm.corp.example", "/generate"), None);
    assert_eq!(named("localhost:9", "/v1/chat/completions").as_deref(), Some("x_ai"));
    assert_eq!(named("localhost:10", "/v1/chat/completions").as_deref(), Some("openai"));
    assert_eq!(named("localhost:9", "/generate"), None);
    assert_eq!(named("api.openai.com", "/v1/chat/completions").as_deref(), Some("azure.ai.openai"));
}

#[test]
fn an_azure_deployment_is_the_model() {
    let body = json!({"messages": [{"role": "user", "content": "x"}]});
    let target = "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21";
    let call = call(&exchange("corp.openai.azure.com", target, &body));
    assert_eq!(call.parameters.model.as_deref(), Some("my-gpt"));
}

#[test]
fn failures_are_told() {
    let ask = || exchange("api.openai.com", "/v1/chat/completions", &chat_request());
    let error = json!({"error": {"message": "bad key sk-ant-canary0123456789", "type": "invalid_request_error", "code": "invalid_api_key"}});
    let failed = call(&answered(ask(), 401, &error)).error.unwrap();
    assert_eq!(failed.kind, "invalid_api_key");
    assert!(failed.message.is_some_and(|message| message.contains("bad key") && !message.contains("canary")));
    let html = {
        let mut e = answered(ask(), 502, &json!(0));
        e.response.as_mut().unwrap().body.bytes = "<html>".into();
        e
    };
    assert_eq!(call(&html).error, Some(failure::plain("502")));
    // No answer: the connection's fault, unless it was onlooker that did not see it.
    assert_eq!(call(&ask()).error, Some(failure::plain("connection_closed")));
    let closed = lossy(ask(), Part::Response, LossReason::Closed);
    assert_eq!(call(&closed).error, Some(failure::plain("connection_closed")));
    assert_eq!(call(&lossy(ask(), Part::Response, LossReason::Unobserved)).error, None);
    let mut half =
        lossy(answered(ask(), 200, &json!({"id": "c-1", "choices": []})), Part::Response, LossReason::Closed);
    let bytes = &mut half.response.as_mut().unwrap().body.bytes;
    *bytes = r#"{"id":"c-1","model":"m","choices":[{"index":0,"finish_re"#.into();
    let half = call(&half);
    assert_eq!((half.error, half.reply.id.as_deref()), (Some(failure::plain("connection_closed")), Some("c-1")));
    assert!(half.reply.finish_reasons.is_empty());
}

#[test]
fn a_cut_request_is_still_a_call() {
    let mut cut = exchange("gw.example", "/v1/chat/completions", &chat_request());
    cut.request.body.bytes =
        r#"{"model":"gpt-x","stream":true,"messages":[{"role":"user","content":"aaaa-- gap --zz"}],"temperature":0.5}"#
            .replace("-- gap --", "\u{0}\"")
            .into();
    cut.request.body.omitted = 1 << 20;
    let got = call(&lossy(cut, Part::Request, LossReason::TooLarge));
    assert_eq!(
        (got.parameters.model.as_deref(), got.parameters.stream, got.parameters.temperature),
        (Some("gpt-x"), true, Some(0.5))
    );
    assert!(got.thread.messages.is_empty() && !got.losses.is_empty());
    let mut none = exchange("gw.example", "/v1/messages", &json!(null));
    none.request.body.bytes = Default::default();
    assert!(understand(&none).is_none());
    assert!(understand(&lossy(none, Part::Request, LossReason::Dropped)).is_some());
}

#[test]
fn headers_are_read() {
    let mut asked = exchange("api.anthropic.com", "/v1/messages", &message_request());
    for (name, value) in [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("x-stainless-retry-count", "2"),
        ("x-claude-code-session-id", "0f0e0d0c-0b0a-4909-8807-060504030201"),
    ] {
        asked.request.headers.0.push((name.into(), value.into()));
    }
    let got = call(&asked);
    let parent = got.remote_parent.expect("a parent");
    assert_eq!((parent.span_id.to_string().as_str(), parent.parent_span_id), ("00f067aa0ba902b7", None));
    assert_eq!(got.resend_count, Some(2));
    assert_eq!(got.conversation_id.as_deref(), Some("0f0e0d0c-0b0a-4909-8807-060504030201"));
}

#[test]
fn other_kinds_pass_and_other_exchanges_end() {
    let mut provider = Provider::new(&Config::default());
    let mut out = Vec::new();
    let mut give = |kind| provider.process(Observation::new(Timestamp(1), Default::default(), kind), &mut out);
    give(Kind::Heartbeat(Default::default()));
    give(Kind::Exchange(Box::new(exchange("example.org", "/", &json!({})))));
    give(Kind::Exchange(Box::new(exchange("api.openai.com", "/v1/chat/completions", &chat_request()))));
    let kinds: Vec<bool> = out.iter().map(|one| matches!(one.kind, Kind::ModelCall(_))).collect();
    assert_eq!(kinds, [false, true]);
}

#[test]
fn the_configuration_is_checked() {
    use pipeline::config::{Sources, decode};
    let read = |text: &str| {
        let sources = Sources { files: vec![("a test".into(), text.into())], ..Sources::default() };
        let node = sources.load(&|_| None).expect("a node");
        let mut problems = Vec::new();
        let config = decode::<Config>(&node, "processors::provider", &mut problems);
        (config, pipeline::config::render(&problems))
    };
    let (good, _) =
        read(r#"{"custom": [{"host": "llm.corp.example", "provider": "openai", "api": "chat_completions"}]}"#);
    assert_eq!(good.expect("good").custom.len(), 1);
    let (_, problems) = read(r#"{"custom": [{"host": "https://x/"}, {"host": "x", "api": "chat"}], "customs": 1}"#);
    for part in ["custom::0::host", "custom::1::api", "customs", "llm.corp.example"] {
        assert!(problems.contains(part), "{part} in {problems}");
    }
}

#[test]
fn the_readme_tells_every_key() {
    let readme = include_str!("README.md");
    let keys: Vec<&str> = readme
        .lines()
        .skip_while(|line| !line.starts_with("| key |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    assert_eq!(
        keys,
        ["custom", "custom[].host", "custom[].path", "custom[].provider", "custom[].api", "capture_content"]
    );
}

#[test]
fn the_variable_says_where_content_goes() {
    for (text, mode) in [
        ("SPAN_ONLY", ContentMode::SpanOnly),
        ("event_only", ContentMode::EventOnly),
        (" Span_And_Event ", ContentMode::SpanAndEvent),
        ("true", ContentMode::SpanOnly),
        ("NO_CONTENT", ContentMode::NoContent),
        ("false", ContentMode::NoContent),
        ("nonsense", ContentMode::NoContent),
        ("", ContentMode::NoContent),
    ] {
        assert_eq!(config::mode_of(text), mode, "{text}");
    }
}
