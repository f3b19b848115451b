//! Calls on a WebSocket: the responses API as codex speaks it, and realtime.

use pipeline::{
    SpanId,
    observation::{ConnectionFacts, Protocol},
};

use super::*;

/// An exchange of a WebSocket: the messages that asked, one a line, and the events that answered.
fn socket(target: &str, asked: &[Value], events: &[Value]) -> Exchange {
    let lines: Vec<String> = asked.iter().map(Value::to_string).collect();
    let mut made = exchange("api.openai.com", target, &Value::Null);
    made.protocol = Protocol::WebSocket;
    made.request.method = "GET".into();
    made.request.headers.0.retain(|(name, _)| name == "host");
    made.request.body.bytes = lines.join("\n").into();
    let events: Vec<_> = events.iter().map(|event| ("", event.to_string())).collect();
    let mut made = streamed(made, &events);
    made.response.as_mut().unwrap().status = 101;
    made
}

fn create() -> Value {
    json!({"type": "response.create", "model": "gpt-x", "stream": true, "previous_response_id": "resp_0",
        "input": [{"type": "function_call_output", "call_id": "call_1", "output": "ok"}], "tools": [{"type": "function"}],
        "reasoning": {"effort": "medium"},
        "client_metadata": {"session_id": "s-1",
            "ws_request_header_traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}})
}

fn answer() -> [Value; 4] {
    let item = json!({"type": "function_call", "call_id": "call_2", "name": "shell", "arguments": "{}"});
    [
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-x-1"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": {"id": "resp_1", "model": "gpt-x-1", "status": "completed",
            "output": [item], "usage": {"input_tokens": 20, "input_tokens_details": {"cached_tokens": 5},
            "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 3}}}}),
    ]
}

#[test]
fn a_request_may_be_a_message() {
    let mut made = socket("/v1/responses", &[create()], &answer());
    made.request.headers.0.push(("x-stainless-retry-count".into(), "1".into()));
    let call = call(&made);
    assert_eq!(
        (call.api, call.provider.as_str(), call.server.address.as_str()),
        (Api::Responses, "openai", "api.openai.com")
    );
    assert_eq!(call.parameters.model.as_deref(), Some("gpt-x"));
    assert_eq!(call.parameters.previous_response_id.as_deref(), Some("resp_0"));
    assert_eq!((call.reply.id.as_deref(), call.reply.status), (Some("resp_1"), Some(101)));
    assert_eq!(call.reply.finish_reasons, ["tool_calls"]);
    assert_eq!((call.usage.input, call.usage.output, call.usage.cache_read), (Some(20), Some(7), Some(5)));
    assert_eq!(call.tool_calls, [tool("call_2", "shell", "{}")]);
    assert_eq!(call.thread.tool_results[0].id, "call_1");
    assert_eq!((call.conversation_id.as_deref(), call.resend_count, call.error), (Some("s-1"), None, None));
    assert_eq!(call.remote_parent.map(|parent| parent.span_id), SpanId::parse("00f067aa0ba902b7"));
    assert_eq!(call.reply.time_to_first_chunk, Some(Duration::from_millis(12)));
    assert_eq!(call.ended, ms(14));
}

#[test]
fn a_warm_up_is_no_call() {
    let warm = json!({"type": "response.create", "model": "gpt-x", "generate": false, "input": []});
    assert!(understand(&socket("/v1/responses", &[warm], &answer())).is_none());
}

#[test]
fn an_upgrade_is_no_call() {
    let mut upgrade = socket("/v1/responses", &[], &[]);
    upgrade.protocol = Protocol::Http1;
    assert!(understand(&upgrade).is_none());
    upgrade.request.target = "/v1/realtime?model=x".into();
    upgrade.request.method = "POST".into();
    assert!(understand(&upgrade).is_none());
}

#[test]
fn a_connection_that_was_joined_is_known_by_its_messages() {
    let mut made = socket("", &[create()], &answer());
    made.request.headers.0.clear();
    made.facts = Some(std::sync::Arc::new(ConnectionFacts {
        server_name: Some("chatgpt.com".into()),
        peer: Some(([10, 0, 0, 1], 443).into()),
        ..ConnectionFacts::default()
    }));
    let call = call(&made);
    assert_eq!((call.api, call.server.address.as_str(), call.server.port), (Api::Responses, "chatgpt.com", 443));
}

#[test]
fn a_request_that_was_not_seen_is_a_call_by_its_answer() {
    let call = call(&lossy(socket("/v1/responses", &[], &answer()), Part::Request, LossReason::Dropped));
    assert_eq!((call.reply.id.as_deref(), call.parameters.model), (Some("resp_1"), None));
}

#[test]
fn errors_are_messages() {
    let of = |error: Value| call(&socket("/v1/responses", &[create()], &[error])).error.unwrap();
    let error = of(
        json!({"type": "error", "status": 400, "error": {"type": "t", "code": "previous_response_not_found", "message": "no"}}),
    );
    assert_eq!((error.kind.as_str(), error.message.as_deref()), ("previous_response_not_found", Some("no")));
    assert_eq!(of(json!({"type": "error", "status": 503})).kind, "503");
    let mut cut = socket("/v1/responses", &[create()], &[]);
    cut.response = None;
    assert_eq!(call(&lossy(cut, Part::Response, LossReason::Closed)).error.unwrap().kind, "connection_closed");
}

#[test]
fn realtime_is_read() {
    let item =
        json!({"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "call_1"}});
    let ask = json!({"type": "response.create", "event_id": "e",
        "response": {"instructions": "be", "output_modalities": ["audio"], "max_output_tokens": "inf", "temperature": 0.5}});
    let text = json!({"id": "i", "type": "message", "role": "assistant"});
    let events = [
        json!({"type": "response.created", "event_id": "1", "response": {"id": "r", "status": "in_progress"}}),
        json!({"type": "response.output_audio.delta", "response_id": "r", "output_index": 0, "delta": "AAAA"}),
        json!({"type": "response.done", "response": {"id": "r", "status": "completed", "output": [text], "usage": {
            "total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
            "input_token_details": {"cached_tokens": 64, "text_tokens": 119, "audio_tokens": 13},
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91}}}}),
    ];
    let done = call(&socket("/v1/realtime?model=gpt-realtime%2d1", &[item, ask.clone()], &events));
    assert_eq!((done.api, done.parameters.model.as_deref()), (Api::Realtime, Some("gpt-realtime-1")));
    assert_eq!((done.usage.input, done.usage.output, done.usage.cache_read), (Some(132), Some(121), Some(64)));
    assert_eq!((done.parameters.output_type.as_deref(), done.parameters.temperature), (Some("speech"), Some(0.5)));
    assert_eq!((done.reply.id.as_deref(), done.reply.finish_reasons.as_slice()), (Some("r"), &["stop".to_owned()][..]));
    assert_eq!((done.thread.tool_results[0].id.as_str(), done.thread.from_user), ("call_1", false));
    assert!(done.thread.system.is_some());
    assert_eq!((done.reply.chunks, done.error), (Some(1), None));
    // A voice.
    let heard = call(&socket("/v1/realtime?model=gpt-realtime", &[], &events));
    assert!(heard.thread.from_user);
    let mut failed = events[2].clone();
    failed["response"]["status"] = "failed".into();
    failed["response"]["status_details"] =
        json!({"type": "failed", "error": {"type": "server_error", "code": "quota"}});
    assert_eq!(call(&socket("/v1/realtime", std::slice::from_ref(&ask), &[failed])).error.unwrap().kind, "quota");
    let mut cut = events[2].clone();
    cut["response"]["status"] = "incomplete".into();
    cut["response"]["status_details"] = json!({"type": "incomplete", "reason": "max_output_tokens"});
    assert_eq!(call(&socket("/v1/realtime", &[ask], &[cut])).reply.finish_reasons, ["max_output_tokens"]);
}
