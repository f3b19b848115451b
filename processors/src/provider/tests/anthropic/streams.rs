//! Streams of Anthropic's, whole and broken off.

use super::*;

fn events(values: &[Value]) -> Vec<(&str, String)> {
    values.iter().map(|event| (event["type"].as_str().unwrap_or_default(), event.to_string())).collect()
}

fn stream(values: &[Value]) -> Exchange {
    streamed(exchange(HOST, "/v1/messages", &message_request()), &events(values))
}

fn begin(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn whole() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "model": "claude-x-1", "content": [],
            "usage": {"input_tokens": 10, "cache_read_input_tokens": 20, "output_tokens": 1, "service_tier": "priority"}}}),
        json!({"type": "ping"}),
        begin(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "h"})),
        delta(0, json!({"type": "thinking_delta", "thinking": "m"})),
        delta(0, json!({"type": "signature_delta", "signature": "c2ln"})),
        begin(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "se"})),
        delta(1, json!({"type": "citations_delta", "citation": {"type": "char_location"}})),
        delta(1, json!({"type": "text_delta", "text": "e"})),
        begin(2, json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"query\":"})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "\"q\"}"})),
        begin(3, json!({"type": "web_search_tool_result", "tool_use_id": "s1", "content": []})),
        begin(4, json!({"type": "tool_use", "id": "t1", "name": "Bash", "input": {}})),
        delta(4, json!({"type": "input_json_delta", "partial_json": "{\"command\":\"l"})),
        delta(4, json!({"type": "input_json_delta", "partial_json": "s\"}"})),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"},
            "usage": {"input_tokens": 12, "cache_read_input_tokens": 20, "output_tokens": 50,
                "output_tokens_details": {"thinking_tokens": 4}, "server_tool_use": {"web_search_requests": 1}}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn content_is_assembled() {
    let call = captured(&stream(&whole()));
    assert_content_valid(&call);
    assert_eq!(
        parts_of(&call, 0),
        [
            json!({"type": "reasoning", "content": "hm"}),
            json!({"type": "text", "content": "see"}),
            json!({"type": "server_tool_call", "id": "s1", "name": "web_search",
                "server_tool_call": {"type": "web_search", "input": {"query": "q"}}}),
            json!({"type": "server_tool_call_response", "id": "s1", "server_tool_call_response": {"type": "web_search", "content": []}}),
            json!({"type": "tool_call", "id": "t1", "name": "Bash", "arguments": {"command": "ls"}}),
        ]
    );
    assert_eq!(output(&call, "finish_reason"), json!(["tool_call"]));
    assert_eq!(call.tool_calls, [tool("t1", "Bash", "{\"command\":\"ls\"}")]);
    // What the last event says counts.
    assert_eq!((call.usage.input, call.usage.output, call.usage.reasoning), (Some(32), Some(50), Some(4)));
    assert_eq!(call.reply.service_tier.as_deref(), Some("priority"));
}

#[test]
fn a_cut_stream_keeps_what_came() {
    let events = whole();
    for end in 0..events.len() - 1 {
        let call = captured(&stream(&events[..end]));
        assert_content_valid(&call);
        assert_eq!(call.error.as_ref().map(|error| error.kind.as_str()), Some("stream_interrupted"), "{end}");
    }
    let call = captured(&stream(&events[..16]));
    assert_eq!(output(&call, "finish_reason"), json!(["error"]));
    assert_eq!(
        parts_of(&call, 0)[4],
        json!({"type": "tool_call", "id": "t1", "name": "Bash", "arguments": "{\"command\":\"l"})
    );
    assert_eq!(call.usage.output, None);
}

#[test]
fn an_error_in_the_middle_ends_the_stream() {
    let mut events = whole();
    events.truncate(9);
    events.push(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}));
    let call = captured(&stream(&events));
    assert_content_valid(&call);
    assert_eq!(call.error.as_ref().map(|error| error.kind.as_str()), Some("overloaded_error"));
    assert_eq!(parts_of(&call, 0)[1], json!({"type": "text", "content": "se"}));
    assert_eq!(output(&call, "finish_reason"), json!(["error"]));
}

#[test]
fn a_compaction_is_assembled() {
    let call = captured(&stream(&[
        json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}}),
        begin(0, json!({"type": "compaction", "content": null})),
        delta(0, json!({"type": "compaction_delta", "content": "so far"})),
        json!({"type": "message_delta", "delta": {"stop_reason": "compaction"}, "usage": {"output_tokens": 2,
            "iterations": [{"type": "compaction", "input_tokens": 100, "output_tokens": 9}]}}),
        json!({"type": "message_stop"}),
    ]));
    assert_content_valid(&call);
    assert_eq!(parts_of(&call, 0), [json!({"type": "compaction", "content": "so far"})]);
    assert_eq!((call.parameters.compacted, output(&call, "finish_reason")), (Some(true), json!(["compaction"])));
    assert_eq!((call.usage.input, call.usage.output), (Some(101), Some(11)));
}

#[test]
fn older_completions_stream() {
    let body = json!({"model": "claude-2", "prompt": "p", "max_tokens_to_sample": 9, "stream": true});
    let piece = |text: &str, reason: Value| json!({"type": "completion", "id": "c", "completion": text, "stop_reason": reason, "model": "claude-2"});
    let values =
        [piece(" h", Value::Null), json!({"type": "ping"}), piece("i", Value::Null), piece("", json!("max_tokens"))];
    let read = |values: &[Value]| captured(&streamed(exchange(HOST, "/v1/complete", &body), &events(values)));
    let call = read(&values);
    assert_eq!((call.reply.chunks, call.error.is_none()), (Some(2), true));
    assert_eq!(parts_of(&call, 0), [json!({"type": "text", "content": " hi"})]);
    assert_eq!(output(&call, "finish_reason"), json!(["length"]));
    assert_eq!(read(&values[..3]).error.map(|error| error.kind).as_deref(), Some("stream_interrupted"));
}
