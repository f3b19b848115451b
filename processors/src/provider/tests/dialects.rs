//! The other providers' own formats.

use super::*;
use crate::provider::framing::tests::amazon;

/// An answer whose body is these pieces, the first at 11 ms.
pub fn pieces(mut exchange: Exchange, kind: &str, pieces: &[Vec<u8>]) -> Exchange {
    let (mut bytes, mut marks) = (Vec::new(), Vec::new());
    for (at, piece) in pieces.iter().enumerate() {
        marks.push(Mark { offset: bytes.len() as u64, time: ms(11 + at as u64) });
        bytes.extend_from_slice(piece);
    }
    exchange.response = Some(Response {
        status: 200,
        headers: Headers(vec![("content-type".into(), kind.into())]),
        body: Body { bytes: bytes.into(), marks, ..Body::default() },
        started: ms(10),
        ended: ms(5000),
    });
    exchange
}

fn lines(values: &[Value]) -> Vec<Vec<u8>> {
    values.iter().map(|value| format!("{value}\n").into_bytes()).collect()
}

const GEMINI: &str = "generativelanguage.googleapis.com";

fn gemini_request() -> Value {
    json!({
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}], "tools": [{"functionDeclarations": []}],
        "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {"maxOutputTokens": 9, "topK": 40, "temperature": 0.5, "responseMimeType": "application/json"},
    })
}

fn gemini_pieces() -> Vec<Value> {
    let usage = json!({"promptTokenCount": 20, "cachedContentTokenCount": 5, "candidatesTokenCount": 7,
        "thoughtsTokenCount": 3, "totalTokenCount": 30});
    let piece = |parts: Value, finish: Value| {
        json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}],
            "modelVersion": "gemini-x-001", "responseId": "r1", "usageMetadata": usage})
    };
    vec![
        piece(json!([{"text": "h"}]), Value::Null),
        piece(json!([{"functionCall": {"name": "run", "args": {"command": "id"}}}]), Value::Null),
        piece(json!([{"text": ""}]), json!("STOP")),
    ]
}

fn check_gemini(call: &ModelCall) {
    assert_eq!((call.operation, call.provider.as_str()), (Operation::GenerateContent, "gcp.gemini"));
    assert_eq!(call.parameters.model.as_deref(), Some("gemini-x"));
    assert_eq!((call.reply.id.as_deref(), call.reply.model.as_deref()), (Some("r1"), Some("gemini-x-001")));
    assert_eq!((call.usage.input, call.usage.output), (Some(20), Some(10)));
    assert_eq!((call.usage.cache_read, call.usage.reasoning), (Some(5), Some(3)));
    assert_eq!(call.reply.finish_reasons, ["STOP"]);
    assert_eq!(call.error, None);
    assert_eq!(
        call.tool_calls,
        [RequestedTool { id: None, name: "run".into(), arguments: r#"{"command":"id"}"#.into() }]
    );
}

#[test]
fn gemini_is_read_plain_and_in_both_streams() {
    let target = "/v1beta/models/gemini-x:streamGenerateContent";
    let sse: Vec<(&str, String)> = gemini_pieces().iter().map(|piece| ("", piece.to_string())).collect();
    let events = call(&streamed(exchange(GEMINI, &format!("{target}?alt=sse"), &gemini_request()), &sse));
    check_gemini(&events);
    assert_eq!(events.reply.chunks, Some(2));
    assert_eq!(events.parameters.max_tokens, Some(9));
    assert_eq!(events.parameters.output_type.as_deref(), Some("json"));
    assert!(events.thread.from_user && events.thread.has_tools && events.thread.system.is_some());

    let mut array = lines(&gemini_pieces());
    array[0].insert(0, b'[');
    array[1].insert(0, b',');
    array[2].insert(0, b',');
    array.push(b"]".to_vec());
    check_gemini(&call(&pieces(exchange(GEMINI, target, &gemini_request()), "application/json", &array)));

    let mut whole = gemini_pieces().remove(2);
    whole["candidates"][0]["content"]["parts"] = json!([{"functionCall": {"name": "run", "args": {"command": "id"}}}]);
    let plain = exchange(GEMINI, "/v1beta/models/gemini-x:generateContent", &gemini_request());
    check_gemini(&call(&answered(plain, 200, &whole)));
}

#[test]
fn a_cut_gemini_stream_is_interrupted_and_its_tool_results_are_seen() {
    let mut body = gemini_request();
    body["contents"] = json!([
        {"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"functionCall": {"name": "run"}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "run", "response": {"error": "no"}}}]},
    ]);
    let first = [("", gemini_pieces().remove(0).to_string())];
    let cut = call(&streamed(exchange(GEMINI, "/v1beta/models/gemini-x:streamGenerateContent", &body), &first));
    assert_eq!(cut.error.as_ref().map(|error| error.kind.as_str()), Some("stream_interrupted"));
    assert!(!cut.thread.from_user);
    assert_eq!(cut.thread.tool_results.len(), 1);
    assert!(cut.thread.tool_results[0].is_error);
}

#[test]
fn ollama_streams_lines() {
    let body = json!({"model": "llama-x", "messages": [{"role": "user", "content": "hi"}], "options": {"seed": 7}});
    let answer = [
        json!({"model": "llama-x", "message": {"role": "assistant", "content": "h"}, "done": false}),
        json!({"model": "llama-x", "message": {"role": "assistant", "content": "i"}, "done": false}),
        json!({"model": "llama-x", "message": {"content": ""}, "done": true, "done_reason": "stop",
            "prompt_eval_count": 11, "eval_count": 2}),
    ];
    let read = call(&pieces(exchange("localhost:11434", "/api/chat", &body), "application/x-ndjson", &lines(&answer)));
    assert_eq!(read.provider, "ollama");
    assert_eq!((read.usage.input, read.usage.output), (Some(11), Some(2)));
    assert_eq!((read.reply.chunks, read.parameters.seed), (Some(2), Some(7)));
    assert_eq!(read.reply.finish_reasons, ["stop"]);
    assert!(read.parameters.stream && read.error.is_none());
    let cut = pieces(exchange("localhost:11434", "/api/chat", &body), "application/x-ndjson", &lines(&answer[..1]));
    assert_eq!(call(&cut).error.map(|error| error.kind).as_deref(), Some("stream_interrupted"));
    let body = json!({"model": "llama-x", "prompt": "hi", "stream": false});
    let answer = json!({"model": "llama-x", "response": "hi", "done": true, "done_reason": "length", "eval_count": 3});
    let read = call(&answered(exchange("localhost:11434", "/api/generate", &body), 200, &answer));
    assert_eq!((read.operation, read.usage.output), (Operation::TextCompletion, Some(3)));
    assert!(!read.parameters.stream);
}

#[test]
fn cohere_is_read() {
    let body = json!({"model": "command-x", "messages": [{"role": "user", "content": "hi"}], "stream": true});
    let events = [
        ("message-start", json!({"type": "message-start", "id": "c1"})),
        ("content-delta", json!({"type": "content-delta", "delta": {"message": {"content": {"text": "h"}}}})),
        (
            "message-end",
            json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE",
                "usage": {"billed_units": {"input_tokens": 1}, "tokens": {"input_tokens": 60, "output_tokens": 4}}}}),
        ),
    ];
    let events: Vec<(&str, String)> = events.iter().map(|(name, value)| (*name, value.to_string())).collect();
    let read = call(&streamed(exchange("api.cohere.com", "/v2/chat", &body), &events));
    assert_eq!((read.usage.input, read.usage.output), (Some(60), Some(4)));
    assert_eq!((read.reply.id.as_deref(), &read.reply.finish_reasons[..]), (Some("c1"), &["COMPLETE".to_owned()][..]));
}

#[test]
fn bedrock_is_read_in_both_ways() {
    let host = "bedrock-runtime.eu-west-1.amazonaws.com";
    let body =
        json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}], "inferenceConfig": {"maxTokens": 5}});
    let usage = json!({"inputTokens": 8, "outputTokens": 2, "totalTokens": 10, "cacheReadInputTokens": 4});
    let kind = "application/vnd.amazon.eventstream";
    let messages = [
        amazon("messageStart", r#"{"role":"assistant"}"#),
        amazon("contentBlockStart", r#"{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"t1","name":"run"}}}"#),
        amazon("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{\"a\":"}}}"#),
        amazon("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"1}"}}}"#),
        amazon("messageStop", r#"{"stopReason":"tool_use"}"#),
        amazon("metadata", &json!({"usage": usage}).to_string()),
    ];
    let target = "/model/anthropic.claude-x-v1%3A0/converse-stream";
    let read = call(&pieces(exchange(host, target, &body), kind, &messages));
    assert_eq!(
        (read.provider.as_str(), read.parameters.model.as_deref()),
        ("aws.bedrock", Some("anthropic.claude-x-v1:0"))
    );
    assert_eq!((read.usage.input, read.usage.output, read.usage.cache_read), (Some(12), Some(2), Some(4)));
    assert_eq!(read.tool_calls, [tool("t1", "run", r#"{"a":1}"#)]);
    assert_eq!(read.reply.finish_reasons, ["tool_use"]);
    let answer = json!({"output": {"message": {"role": "assistant", "content": [{"text": "h"}]}}, "stopReason": "end_turn",
        "usage": usage});
    let read = call(&answered(exchange(host, "/model/m/converse", &body), 200, &answer));
    assert_eq!((read.usage.input, &read.reply.finish_reasons[..]), (Some(12), &["end_turn".to_owned()][..]));
    let failed = amazon("throttlingException", r#"{"message":"slow down"}"#);
    let read = call(&pieces(exchange(host, target, &body), kind, &[failed]));
    assert_eq!(read.error.map(|error| error.kind).as_deref(), Some("throttlingException"));
}

#[test]
fn bedrock_invocations_of_anthropic_models_are_read() {
    use base64::Engine as _;
    let host = "bedrock-runtime.us-east-1.amazonaws.com";
    let body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
    let inner = [
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "usage": {"input_tokens": 3, "output_tokens": 1}}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 6}}),
        json!({"type": "message_stop"}),
    ];
    let chunk = |value: &Value| {
        let bytes = base64::prelude::BASE64_STANDARD.encode(value.to_string());
        amazon("chunk", &json!({"bytes": bytes}).to_string())
    };
    let messages: Vec<Vec<u8>> = inner.iter().map(chunk).collect();
    let target = "/model/anthropic.claude-x/invoke-with-response-stream";
    let read = call(&pieces(exchange(host, target, &body), "application/vnd.amazon.eventstream", &messages));
    assert_eq!(read.parameters.model.as_deref(), Some("anthropic.claude-x"));
    assert_eq!((read.usage.input, read.usage.output, read.reply.id.as_deref()), (Some(3), Some(6), Some("msg_1")));
    assert_eq!(read.error, None);
}

#[test]
fn older_completions_are_read() {
    let body = json!({"model": "m", "prompt": "hi"});
    let answer = json!({"id": "cmpl-1", "model": "m-1", "choices": [{"index": 0, "text": "h", "finish_reason": "length"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1}});
    let read = call(&answered(exchange("localhost:8000", "/v1/completions", &body), 200, &answer));
    assert_eq!((read.operation, read.usage.input), (Operation::TextCompletion, Some(2)));
    assert_eq!(read.reply.finish_reasons, ["length"]);
}
