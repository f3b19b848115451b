//! Streams, whole and broken off.

use super::*;

fn data(values: &[Value]) -> Vec<(&'static str, String)> {
    values.iter().map(|value| ("", value.to_string())).collect()
}

fn chat(values: &[Value], done: bool) -> Exchange {
    let mut body = chat_request();
    body["stream"] = json!(true);
    let mut events = data(values);
    if done {
        events.push(("", "[DONE]".into()));
    }
    streamed(exchange("api.openai.com", "/v1/chat/completions", &body), &events)
}

fn delta(delta: Value, reason: Value) -> Value {
    json!({"id": "c-1", "model": "m-1", "system_fingerprint": "fp", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], "usage": null})
}

#[test]
fn a_chat_is_assembled() {
    let exchange = chat(
        &[
            delta(json!({"role": "assistant", "content": ""}), json!(null)),
            delta(json!({"content": "Hi"}), json!(null)),
            delta(
                json!({"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "f", "arguments": ""}}]}),
                json!(null),
            ),
            delta(
                json!({"tool_calls": [{"index": 1, "id": "t2", "function": {"name": "g", "arguments": "{}"}}]}),
                json!(null),
            ),
            delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\":"}}]}), json!(null)),
            delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}), json!(null)),
            delta(json!({}), json!("tool_calls")),
            json!({"id": "c-1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}),
        ],
        true,
    );
    let call = call(&exchange);
    assert!(call.parameters.stream && call.error.is_none());
    assert_eq!(call.tool_calls, [tool("t1", "f", "{\"a\":1}"), tool("t2", "g", "{}")]);
    assert_eq!((call.usage.input, call.usage.output, call.usage.cache_read), (Some(3), Some(4), None));
    assert_eq!(call.reply.finish_reasons, ["tool_calls"]);
    // The first event has a role only: the second, at 12 ms, is the first with content.
    assert_eq!(call.reply.time_to_first_chunk, Some(Duration::from_millis(12)));
    assert_eq!((call.reply.chunks, call.reply.last_chunk, call.ended), (Some(5), Some(ms(16)), ms(19)));
    assert_eq!((call.reply.id.as_deref(), call.reply.model.as_deref()), (Some("c-1"), Some("m-1")));
}

#[test]
fn choices_are_told_in_order_and_reasoning_is_content() {
    let choice = |index, delta: Value, reason: Value| json!({"choices": [{"index": index, "delta": delta, "finish_reason": reason}]});
    let exchange = chat(
        &[
            choice(1, json!({"reasoning_content": "r"}), json!(null)),
            choice(1, json!({}), json!("length")),
            choice(0, json!({"content": "x"}), json!("stop")),
        ],
        false,
    );
    let call = call(&exchange);
    assert_eq!(call.reply.finish_reasons, ["stop", "length"]);
    assert_eq!((call.reply.chunks, call.error), (Some(2), None));
    assert_eq!(call.reply.time_to_first_chunk, Some(Duration::from_millis(11)));
}

#[test]
fn a_broken_chat_says_so() {
    let broken = chat(&[delta(json!({"content": "Hi"}), json!(null))], false);
    let closed = lossy(broken.clone(), Part::Response, LossReason::Closed);
    for exchange in [broken.clone(), closed] {
        let call = call(&exchange);
        assert_eq!(call.error, Some(failure::plain("stream_interrupted")));
        assert_eq!(call.reply.finish_reasons, ["error"]);
        assert_eq!((call.usage, call.ended), (Usage::default(), ms(5000)));
    }
    // That the kernel dropped bytes is no failure of the call.
    let dropped = call(&lossy(broken, Part::Response, LossReason::Dropped));
    assert_eq!((dropped.error, dropped.reply.finish_reasons.len()), (None, 0));
    let refused = chat(&[json!({"error": {"message": "m", "code": "rate_limit_exceeded"}})], false);
    assert_eq!(call(&refused).error.map(|error| error.kind).as_deref(), Some("rate_limit_exceeded"));
    // What comes after the terminal event does not matter (codex resets the stream then).
    let reset = lossy(chat(&[delta(json!({"content": "x"}), json!("stop"))], true), Part::Response, LossReason::Closed);
    assert_eq!(call(&reset).error, None);
}

fn named(events: &[Value]) -> Vec<(&'static str, String)> {
    events
        .iter()
        .map(|event| {
            let name = event["type"].as_str().unwrap_or_default().to_owned();
            (&*name.leak(), event.to_string())
        })
        .collect()
}

fn messages(events: &[Value]) -> Exchange {
    let mut body = message_request();
    body["stream"] = json!(true);
    streamed(exchange("api.anthropic.com", "/v1/messages", &body), &named(events))
}

fn message_events() -> Vec<Value> {
    let block = |index, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x-1", "stop_reason": null,
            "usage": {"input_tokens": 10, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 0, "output_tokens": 1}}}),
        json!({"type": "ping"}),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "c2ln"})),
        block(1, json!({"type": "tool_use", "id": "t1", "name": "Bash", "input": {}})),
        delta(1, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "{\"command\":"})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "\"ls\"}"})),
        block(2, json!({"type": "tool_use", "id": "t2", "name": "Now", "input": {}})),
        block(3, json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{}"})),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 50}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn a_message_is_assembled() {
    let call = call(&messages(&message_events()));
    assert_eq!(call.tool_calls, [tool("t1", "Bash", "{\"command\":\"ls\"}"), tool("t2", "Now", "{}")]);
    assert_eq!(
        call.usage,
        Usage {
            input: Some(30),
            output: Some(50),
            cache_read: Some(20),
            cache_creation: Some(0),
            reasoning: None,
            modalities: Modalities::default()
        }
    );
    assert_eq!((call.reply.finish_reasons.as_slice(), call.error), (&["tool_use".to_owned()][..], None));
    // Neither message_start nor ping nor the empty block: the thinking at 14 ms.
    assert_eq!(call.reply.time_to_first_chunk, Some(Duration::from_millis(14)));
    assert_eq!((call.reply.chunks, call.ended), (Some(6), ms(24)));
}

#[test]
fn a_messages_last_usage_counts() {
    let mut events = message_events();
    events[12] = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
        "usage": {"input_tokens": 100, "cache_read_input_tokens": 0, "output_tokens": 5}});
    let call = call(&messages(&events));
    assert_eq!((call.usage.input, call.usage.cache_read, call.usage.output), (Some(100), Some(0), Some(5)));
}

#[test]
fn a_broken_message_says_so() {
    let events = message_events();
    let cut = call(&messages(&events[..8]));
    assert_eq!(cut.error, Some(failure::plain("stream_interrupted")));
    // The 1 of message_start is no count of the answer.
    assert_eq!((cut.usage.input, cut.usage.output), (Some(30), None));
    assert_eq!(cut.tool_calls, [tool("t1", "Bash", "{\"command\":")]);
    assert_eq!(cut.reply.finish_reasons, ["error"]);
    let mut failing = events[..4].to_vec();
    failing.push(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}));
    let failing = call(&messages(&failing)).error.expect("an error");
    assert_eq!((failing.kind.as_str(), failing.message.as_deref()), ("overloaded_error", Some("Overloaded")));
}

fn responses(events: &[Value]) -> Exchange {
    let body = json!({"model": "m", "stream": true, "input": [{"role": "user", "content": "hi"}]});
    streamed(exchange("api.openai.com", "/v1/responses", &body), &named(events))
}

fn response_events() -> Vec<Value> {
    vec![
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "m-1", "status": "in_progress", "output": []}}),
        json!({"type": "response.in_progress", "response": {"id": "resp_1", "status": "in_progress"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "r"}}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "hm"}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "id": "r"}}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": ""}}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc", "delta": "{\"a\""}),
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc", "delta": ":1}"}),
        json!({"type": "response.function_call_arguments.done", "output_index": 1, "arguments": "{\"a\":1}"}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"}}),
        json!({"type": "response.completed", "response": {"id": "resp_1", "model": "m-1", "status": "completed", "service_tier": "default",
            "output": [{"type": "reasoning", "id": "r"}, {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"}],
            "usage": {"input_tokens": 8, "input_tokens_details": {"cached_tokens": 2}, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 4}}}}),
    ]
}

#[test]
fn a_response_is_assembled() {
    let call = call(&responses(&response_events()));
    assert_eq!(call.tool_calls, [tool("c1", "f", "{\"a\":1}")]);
    assert_eq!(call.reply.finish_reasons, ["tool_calls"]);
    assert_eq!(
        call.usage,
        Usage {
            input: Some(8),
            output: Some(9),
            cache_read: Some(2),
            cache_creation: None,
            reasoning: Some(4),
            modalities: Modalities::default()
        }
    );
    assert_eq!((call.reply.service_tier.as_deref(), call.reply.id.as_deref()), (Some("default"), Some("resp_1")));
    assert_eq!(call.reply.time_to_first_chunk, Some(Duration::from_millis(14)));
    assert_eq!((call.reply.chunks, call.ended, call.error), (Some(4), ms(21), None));
}

#[test]
fn a_response_without_places_tells_each_call_once() {
    let mut events = response_events();
    for event in &mut events {
        event.as_object_mut().expect("an object").remove("output_index");
    }
    assert_eq!(call(&responses(&events)).tool_calls, [tool("c1", "f", "{\"a\":1}")]);
    // Some servers send whole items and an empty output at the end.
    let short = [
        events[9].clone(),
        json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}}),
    ];
    let short = call(&responses(&short));
    assert_eq!(short.tool_calls, [tool("c1", "f", "{\"a\":1}")]);
    assert_eq!((short.reply.finish_reasons.as_slice(), short.reply.chunks), (&["tool_calls".to_owned()][..], Some(1)));
}

#[test]
fn a_broken_response_says_so() {
    let events = response_events();
    let cut = call(&responses(&events[..7]));
    assert_eq!(cut.error, Some(failure::plain("stream_interrupted")));
    assert_eq!(cut.tool_calls, [tool("c1", "f", "{\"a\"")]);
    assert_eq!(cut.reply.finish_reasons, ["error"]);
    let mut failed = events[..2].to_vec();
    failed.push(json!({"type": "response.failed", "response": {"id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": "m"}}}));
    assert_eq!(call(&responses(&failed)).error.map(|error| error.kind).as_deref(), Some("server_error"));
    let bare = json!({"type": "error", "code": "rate_limit_exceeded", "message": "slow down"});
    assert_eq!(call(&responses(&[bare])).error.map(|error| error.kind).as_deref(), Some("rate_limit_exceeded"));
    let incomplete = json!({"type": "response.incomplete", "response": {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}});
    let incomplete = call(&responses(&[incomplete]));
    assert_eq!(
        (incomplete.reply.finish_reasons.as_slice(), incomplete.error),
        (&["content_filter".to_owned()][..], None)
    );
}

#[test]
fn a_head_and_a_tail_of_a_stream_are_enough() {
    let mut exchange = chat(
        &[
            delta(json!({"content": "Hi"}), json!(null)),
            delta(json!({"content": "x".repeat(100)}), json!(null)),
            delta(json!({}), json!("stop")),
            json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}),
        ],
        true,
    );
    let body = &mut exchange.response.as_mut().expect("a response").body;
    let text = String::from_utf8_lossy(&body.bytes).replace(&"x".repeat(80), "");
    body.bytes = text.into_bytes().into();
    body.omitted = 80;
    let call = call(&lossy(exchange, Part::Response, LossReason::TooLarge));
    assert_eq!(
        (call.usage.output, call.reply.finish_reasons.as_slice(), call.error),
        (Some(4), &["stop".to_owned()][..], None)
    );
}
