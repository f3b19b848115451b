//! Bytes that no honest server sends: nothing panics, and time stays linear.

use proptest::prelude::*;

use super::*;

const TARGETS: &[(&str, &str)] = &[
    ("api.openai.com", "/v1/chat/completions"),
    ("api.openai.com", "/v1/responses"),
    ("api.openai.com", "/v1/embeddings"),
    ("api.anthropic.com", "/v1/messages"),
    ("gw.example", "/v1/messages"),
    ("gw.example", "/v1/realtime?model=m"),
];

/// Keys and words that the decoders look for, in places where they do not belong.
fn value() -> impl Strategy<Value = Value> {
    const WORDS: &[&str] = &[
        "type",
        "message",
        "messages",
        "role",
        "user",
        "assistant",
        "tool",
        "content",
        "text",
        "delta",
        "choices",
        "index",
        "usage",
        "input_tokens",
        "output_tokens",
        "prompt_tokens",
        "error",
        "code",
        "model",
        "stream",
        "tool_calls",
        "function",
        "arguments",
        "id",
        "item",
        "output",
        "output_index",
        "response",
        "response.completed",
        "response.output_item.added",
        "function_call",
        "function_call_output",
        "call_id",
        "input",
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block",
        "tool_use",
        "tool_result",
        "input_json_delta",
        "partial_json",
        "status",
        "completed",
        "failed",
        "metadata",
        "user_id",
        "é\"\\",
        "",
    ];
    json_of(WORDS)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_survived(
        at in 0..TARGETS.len(),
        request in value(),
        events in prop::collection::vec(value(), 0..6),
        status in prop::sample::select(&[200u16, 204, 400, 500][..]),
        cut in any::<prop::sample::Index>(),
        stream in any::<bool>(),
        websocket in any::<bool>(),
    ) {
        let (host, target) = TARGETS[at];
        let mut asked = exchange(host, target, &request);
        if websocket {
            asked.protocol = pipeline::observation::Protocol::WebSocket;
        }
        let mut got = if stream {
            let events: Vec<_> = events.iter().map(|event| ("", event.to_string())).collect();
            streamed(asked, &events)
        } else {
            answered(asked, status, events.first().unwrap_or(&Value::Null))
        };
        let _ = understand(&got);
        let body = &mut got.response.as_mut().expect("a response").body.bytes;
        *body = body.slice(..cut.index(body.len() + 1));
        let body = &mut got.request.body.bytes;
        *body = body.slice(..cut.index(body.len() + 1));
        let _ = understand(&got);
        let _ = understand(&lossy(lossy(got, Part::Request, LossReason::TooLarge), Part::Response, LossReason::Closed));
    }

    #[test]
    fn any_bytes_are_survived(
        at in 0..TARGETS.len(),
        request in prop::collection::vec(any::<u8>(), 0..100),
        response in "(data: ?|event: ?|\\{|\\}|\"|\\[|\\]|,|:|\n|error|[a-zé\\\\]){0,60}",
        stream in any::<bool>(),
    ) {
        let (host, target) = TARGETS[at];
        let mut got = answered(exchange(host, target, &Value::Null), 200, &Value::Null);
        got.request.body.bytes = request.into();
        let answer = got.response.as_mut().expect("a response");
        answer.body.bytes = response.into_bytes().into();
        if stream {
            answer.headers.0[0].1 = "text/event-stream".into();
        }
        let _ = understand(&got);
        let _ = understand(&lossy(got, Part::Request, LossReason::Dropped));
    }
}

/// benches/streams.rs measures that the time is linear; here a quadratic one would be noticed by everybody who waits.
#[test]
fn long_streams_are_read() {
    let chunk = |at: usize| json!({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": at, "function": {"arguments": "a"}}]}}]});
    let count = 100_000;
    let events: Vec<_> = (0..count).map(|at| ("", chunk(at).to_string())).collect();
    let exchange = streamed(exchange("api.openai.com", "/v1/chat/completions", &chat_request()), &events);
    assert_eq!(call(&exchange).tool_calls.len(), count);
}

#[test]
fn deep_nesting_is_survived() {
    let mut got = answered(exchange("api.openai.com", "/v1/chat/completions", &Value::Null), 200, &Value::Null);
    let deep = format!("{{\"model\":\"m\",\"messages\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));
    got.request.body.bytes = deep.clone().into_bytes().into();
    got.response.as_mut().expect("a response").body.bytes = deep.into_bytes().into();
    assert_eq!(call(&got).parameters.model.as_deref(), Some("m"));
}
