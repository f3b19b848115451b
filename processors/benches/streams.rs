//! How long the events of a stream take to read, and that ten times the events take ten times as long.
//! `cargo bench -p onlooker-processors --bench streams`
#![allow(clippy::print_stdout, reason = "a bench prints its results")]

use std::time::Instant;

use pipeline::{
    ConnectionKey, Timestamp,
    observation::{Body, ContentMode, Exchange, Headers, Protocol, Request, Response, Role},
};
use processors::provider::{Config, Provider};

const CASES: &[(&str, &str, &str, &str)] = &[
    (
        "chat completions",
        "api.openai.com",
        "/v1/chat/completions",
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}"#,
    ),
    (
        "chat completions, tool call",
        "api.openai.com",
        "/v1/chat/completions",
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"a"}}]}}]}"#,
    ),
    (
        "responses",
        "api.openai.com",
        "/v1/responses",
        r#"{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"word "}"#,
    ),
    (
        "responses, tool call",
        "api.openai.com",
        "/v1/responses",
        r#"{"type":"response.function_call_arguments.delta","item_id":"i","output_index":0,"delta":"a"}"#,
    ),
    (
        "completions",
        "api.openai.com",
        "/v1/completions",
        r#"{"id":"c","choices":[{"index":0,"text":"word ","finish_reason":null}]}"#,
    ),
    (
        "messages",
        "api.anthropic.com",
        "/v1/messages",
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"word "}}"#,
    ),
    (
        "generate content",
        "generativelanguage.googleapis.com",
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"word "}]}}]}"#,
    ),
    (
        "cohere chat",
        "api.cohere.com",
        "/v2/chat",
        r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"word "}}}}"#,
    ),
];

fn exchange(host: &str, target: &str, event: &str, count: usize) -> Exchange {
    let headers = |pairs: &[(&str, &str)]| {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    };
    let asked = r#"{"model":"m","stream":true,"messages":[],"input":"i","prompt":"p","contents":[]}"#;
    Exchange {
        connection: ConnectionKey::default(),
        index: 0,
        role: Role::Client,
        tls: true,
        protocol: Protocol::Http1,
        facts: None,
        request: Request {
            method: "POST".into(),
            target: target.into(),
            headers: headers(&[("host", host)]),
            body: Body { bytes: asked.into(), ..Body::default() },
            started: Timestamp(1),
            ended: Timestamp(2),
        },
        response: Some(Response {
            status: 200,
            headers: headers(&[("content-type", "text/event-stream")]),
            body: Body { bytes: format!("data: {event}\n\n").repeat(count).into(), ..Body::default() },
            started: Timestamp(3),
            ended: Timestamp(4),
        }),
        losses: Vec::new(),
    }
}

/// Nanoseconds for each event, the best of several runs.
fn measure(provider: &Provider, exchange: &Exchange, count: usize) -> f64 {
    let run = || {
        let started = Instant::now();
        assert!(provider.understand(exchange).is_some());
        started.elapsed().as_nanos() as f64 / count as f64
    };
    (0..5).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn main() {
    for mode in [ContentMode::NoContent, ContentMode::SpanOnly] {
        let provider = Provider::new(&Config { capture_content: Some(mode), ..Config::default() });
        println!("{mode:?}");
        for (name, host, target, event) in CASES {
            let times =
                [1_000, 10_000, 100_000].map(|count| measure(&provider, &exchange(host, target, event, count), count));
            let [small, middle, large] = times;
            println!(
                "  {name}: {small:.0}, {middle:.0}, {large:.0} ns an event of 1000, 10000, 100000; ratio {:.2}",
                large / small
            );
        }
    }
}
