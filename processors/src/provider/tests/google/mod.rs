//! Google's Gemini API, Vertex AI and Code Assist.

use super::{schema::assert_content_valid, *};
use crate::provider::tests::clouds::{captured, output, parts_of, said};

mod others;

const HOST: &str = "generativelanguage.googleapis.com";
const TARGET: &str = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse";

fn rich_request() -> Value {
    json!({
        "systemInstruction": {"role": "user", "parts": [{"text": "be brief"}]},
        "tools": [{"functionDeclarations": [{"name": "run", "description": "runs", "parametersJsonSchema": {"type": "object"}}]},
            {"googleSearch": {}}, {"codeExecution": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "generationConfig": {"maxOutputTokens": 9, "temperature": 0.5, "topP": 0.9, "topK": 40, "candidateCount": 2, "seed": 7,
            "stopSequences": ["END"], "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseMimeType": "application/json",
            "thinkingConfig": {"includeThoughts": true, "thinkingLevel": "HIGH"}},
        "contents": [
            {"role": "user", "parts": [
                {"text": "look"},
                {"inlineData": {"mimeType": "image/png", "data": "iVBO"}},
                {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v.mp4"}, "videoMetadata": {"fps": 1}}]},
            {"role": "model", "parts": [
                {"text": "hm", "thought": true},
                {"text": "so"},
                {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
                {"functionCall": {"name": "run", "args": {"command": "id"}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "f2", "name": "run", "args": {"command": "ls"}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "run", "response": {"output": "root"}}},
                {"functionResponse": {"id": "f2", "name": "run", "response": {"error": "no"}}}]},
        ],
    })
}

fn piece(index: u64, parts: Value, finish: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": index}],
        "modelVersion": "gemini-x-001", "responseId": "r1", "usageMetadata": {"promptTokenCount": 20,
            "candidatesTokenCount": 7, "thoughtsTokenCount": 3, "toolUsePromptTokenCount": 5, "cachedContentTokenCount": 8,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}, {"modality": "IMAGE", "tokenCount": 8}],
            "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}],
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 8}],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 7}]}})
}

fn events(values: &[Value]) -> Vec<(&'static str, String)> {
    values.iter().map(|value| ("", value.to_string())).collect()
}

fn stream(values: &[Value]) -> Exchange {
    streamed(exchange(HOST, TARGET, &rich_request()), &events(values))
}

#[test]
fn a_request_is_told() {
    let call = captured(&stream(&[piece(0, json!([{"text": "h"}]), json!("STOP"))]));
    assert_content_valid(&call);
    let asked = &call.parameters;
    assert_eq!(
        (asked.max_tokens, asked.temperature, asked.top_p, asked.top_k),
        (Some(9), Some(0.5), Some(0.9), Some(40))
    );
    assert_eq!((asked.choice_count, asked.seed, asked.stop_sequences.len()), (Some(2), Some(7), 1));
    assert_eq!((asked.presence_penalty, asked.frequency_penalty), (Some(0.1), Some(0.2)));
    assert_eq!((asked.output_type.as_deref(), asked.reasoning_level.as_deref()), (Some("json"), Some("high")));
    let content = call.content.as_deref().unwrap();
    assert_eq!(said(&content.system_instructions), json!([{"type": "text", "content": "be brief"}]));
    assert_eq!(
        said(&content.tools),
        json!([{"type": "function", "name": "run"}, {"type": "googleSearch", "name": "googleSearch"},
            {"type": "codeExecution", "name": "codeExecution"}])
    );
    assert_eq!(
        said(&content.input),
        json!([
            {"role": "user", "parts": [
                {"type": "text", "content": "look"},
                {"type": "blob", "mime_type": "image/png", "modality": "image", "content": "iVBO"},
                {"type": "blob", "mime_type": "application/pdf", "modality": "document", "content": "JVBE"},
                {"type": "uri", "mime_type": "video/mp4", "modality": "video", "uri": "gs://b/v.mp4"}]},
            {"role": "assistant", "parts": [
                {"type": "reasoning", "content": "hm"},
                {"type": "text", "content": "so"},
                {"type": "server_tool_call", "name": "code_execution",
                    "server_tool_call": {"type": "code_execution", "language": "PYTHON", "code": "print(1)"}},
                {"type": "server_tool_call_response",
                    "server_tool_call_response": {"type": "code_execution", "outcome": "OUTCOME_OK", "output": "1\n"}},
                {"type": "tool_call", "name": "run", "arguments": {"command": "id"}},
                {"type": "tool_call", "id": "f2", "name": "run", "arguments": {"command": "ls"}}]},
            {"role": "tool", "parts": [
                {"type": "tool_call_response", "name": "run", "response": {"output": "root"}},
                {"type": "tool_call_response", "id": "f2", "response": {"error": "no"}}]},
        ])
    );
    let results = &call.thread.tool_results;
    assert_eq!((results[0].id.as_str(), results[1].id.as_str()), ("run", "f2"));
    assert_eq!((results[0].is_error, results[1].is_error), (false, true));
    assert_eq!(results[0].response, Some(json!({"output": "root"})));
}

#[test]
fn an_answer_is_assembled() {
    let call = captured(&stream(&[
        piece(0, json!([{"text": "h", "thought": true}]), Value::Null),
        piece(0, json!([{"text": "m", "thought": true}]), Value::Null),
        piece(1, json!([{"text": "other"}]), json!("MAX_TOKENS")),
        piece(0, json!([{"text": "s"}]), Value::Null),
        piece(
            0,
            json!([{"text": "ee"}, {"functionCall": {"id": "f1", "name": "run", "args": {"command": "id"}}}]),
            Value::Null,
        ),
        piece(0, json!([{"text": ""}]), json!("STOP")),
    ]));
    assert_content_valid(&call);
    assert_eq!(
        parts_of(&call, 0),
        [
            json!({"type": "reasoning", "content": "hm"}),
            json!({"type": "text", "content": "see"}),
            json!({"type": "tool_call", "id": "f1", "name": "run", "arguments": {"command": "id"}})
        ]
    );
    assert_eq!(parts_of(&call, 1), [json!({"type": "text", "content": "other"})]);
    assert_eq!(output(&call, "finish_reason"), json!(["tool_call", "length"]));
    assert_eq!(call.reply.finish_reasons, ["STOP", "MAX_TOKENS"]);
    let usage = call.usage;
    assert_eq!((usage.input, usage.output, usage.reasoning, usage.cache_read), (Some(25), Some(10), Some(3), Some(8)));
    assert_eq!(
        usage.modalities,
        Modalities {
            text_input: Some(17),
            image_input: Some(8),
            text_output: Some(7),
            text_cache_read: Some(8),
            ..Modalities::default()
        }
    );
}

#[test]
fn the_three_ways_of_an_answer_say_the_same() {
    let parts = json!([{"text": "see"}, {"functionCall": {"name": "run", "args": {"command": "id"}}}]);
    let whole = piece(0, parts, json!("STOP"));
    let split = [
        piece(0, json!([{"text": "se"}]), Value::Null),
        piece(0, json!([{"text": "e"}]), Value::Null),
        piece(0, json!([{"functionCall": {"name": "run", "args": {"command": "id"}}}]), json!("STOP")),
    ];
    let plain =
        captured(&answered(exchange(HOST, "/v1beta/models/gemini-x:generateContent", &rich_request()), 200, &whole));
    let sse = captured(&stream(&split));
    let target = "/v1beta/models/gemini-x:streamGenerateContent";
    let array = captured(&answered(exchange(HOST, target, &rich_request()), 200, &json!(split)));
    for call in [&sse, &array] {
        assert_eq!(call.content, plain.content);
        assert_eq!((&call.tool_calls, call.usage), (&plain.tool_calls, plain.usage));
        assert_eq!(call.reply.finish_reasons, plain.reply.finish_reasons);
        assert!(call.parameters.stream && call.error.is_none());
    }
    assert!(!plain.parameters.stream);
}

#[test]
fn a_cut_stream_keeps_what_came() {
    let call = captured(&stream(&[piece(0, json!([{"text": "s"}]), Value::Null)]));
    assert_content_valid(&call);
    assert_eq!(call.error.as_ref().map(|error| error.kind.as_str()), Some("stream_interrupted"));
    assert_eq!(
        (parts_of(&call, 0), output(&call, "finish_reason")),
        (vec![json!({"type": "text", "content": "s"})], json!(["error"]))
    );
}

#[test]
fn streamed_arguments_are_put_together() {
    let called = |value: Value| piece(0, json!([{"functionCall": value}]), Value::Null);
    let call = captured(&stream(&[
        called(json!({"name": "light", "willContinue": true})),
        called(
            json!({"partialArgs": [{"jsonPath": "$.room", "stringValue": "kit", "willContinue": true}], "willContinue": true}),
        ),
        called(json!({"partialArgs": [{"jsonPath": "$.room", "stringValue": "chen"}], "willContinue": true})),
        called(json!({"partialArgs": [{"jsonPath": "$.level", "numberValue": 50}], "willContinue": true})),
        called(json!({})),
        called(json!({"name": "now", "args": {}})),
        piece(0, json!([]), json!("STOP")),
    ]));
    assert_content_valid(&call);
    assert_eq!(call.tool_calls.len(), 2);
    let arguments: Value = serde_json::from_str(&call.tool_calls[0].arguments).unwrap();
    assert_eq!(arguments, json!({"room": "kitchen", "level": 50}));
    assert_eq!(parts_of(&call, 0)[0]["arguments"], arguments);
    assert_eq!((call.tool_calls[1].name.as_str(), call.tool_calls[1].arguments.as_str()), ("now", "{}"));
}

#[test]
fn what_google_looked_up_is_a_server_tool() {
    let mut last = piece(0, json!([{"text": "so"}]), json!("STOP"));
    last["candidates"][0]["groundingMetadata"] = json!({"webSearchQueries": ["q"],
        "groundingChunks": [{"web": {"uri": "https://x.example", "title": "t"}}]});
    last["candidates"][0]["urlContextMetadata"] = json!({"urlMetadata": [{"retrievedUrl": "https://y.example"}]});
    let call = captured(&stream(&[last]));
    assert_content_valid(&call);
    let parts = parts_of(&call, 0);
    assert_eq!(
        parts[0],
        json!({"type": "server_tool_call", "name": "google_search",
        "server_tool_call": {"type": "google_search", "queries": ["q"]}})
    );
    assert_eq!(parts[1]["server_tool_call_response"]["chunks"][0]["web"]["title"], "t");
    assert_eq!(parts[2]["server_tool_call_response"]["type"], "url_context");
    assert_eq!(parts[3]["type"], "text");
    assert!(call.tool_calls.is_empty());
}

#[test]
fn finish_reasons_are_mapped_in_messages_only() {
    for (reason, word) in [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("NEW_REASON", "NEW_REASON"),
    ] {
        let call = captured(&stream(&[piece(0, json!([]), json!(reason))]));
        assert_eq!(
            (output(&call, "finish_reason"), &call.reply.finish_reasons[..]),
            (json!([word]), &[reason.to_owned()][..])
        );
    }
}

#[test]
fn a_blocked_prompt_has_no_answer_and_is_no_failure() {
    let answer = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}, "modelVersion": "m"});
    for exchange in [
        stream(std::slice::from_ref(&answer)),
        answered(exchange(HOST, "/v1/models/m:generateContent", &rich_request()), 200, &answer),
    ] {
        let call = captured(&exchange);
        assert_content_valid(&call);
        assert_eq!((call.error.clone(), &call.reply.finish_reasons[..]), (None, &["SAFETY".to_owned()][..]));
        assert_eq!(
            said(&call.content.unwrap().output),
            json!([{"role": "assistant", "parts": [], "finish_reason": "content_filter"}])
        );
        assert_eq!((call.usage.input, call.usage.output), (Some(4), None));
    }
}

#[test]
fn errors_are_told_also_in_an_array() {
    let error = json!({"error": {"code": 429, "message": "no quota", "status": "RESOURCE_EXHAUSTED"}});
    for body in [error.clone(), json!([error])] {
        let call = captured(&answered(exchange(HOST, TARGET, &rich_request()), 429, &body));
        let found = call.error.unwrap();
        assert_eq!((found.kind.as_str(), found.message.as_deref()), ("RESOURCE_EXHAUSTED", Some("no quota")));
        // The path says so.
        assert!(call.parameters.stream);
    }
    let late = [piece(0, json!([{"text": "s"}]), Value::Null), error];
    let call = captured(&stream(&late));
    assert_eq!(call.error.as_ref().map(|error| error.kind.as_str()), Some("RESOURCE_EXHAUSTED"));
    assert_content_valid(&call);
}

#[test]
fn code_assist_wraps_both_ways() {
    let body = json!({"model": "gemini-x", "project": "p", "user_prompt_id": "u", "request": {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}], "session_id": "5e0d",
        "systemInstruction": {"parts": [{"text": "s"}]}, "generationConfig": {"temperature": 1}}});
    let answer = json!({"response": {"candidates": [{"content": {"role": "model", "parts": [{"text": "hey"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 1}, "modelVersion": "gemini-x-1"}, "traceId": "t1"});
    let call = captured(&answered(
        exchange("cloudcode-pa.googleapis.com", "/v1internal:generateContent", &body),
        200,
        &answer,
    ));
    assert_content_valid(&call);
    assert_eq!((call.provider.as_str(), call.parameters.model.as_deref()), ("gcp.gemini", Some("gemini-x")));
    assert_eq!((call.conversation_id.as_deref(), call.reply.id.as_deref()), (Some("5e0d"), Some("t1")));
    assert_eq!((call.reply.model.as_deref(), call.usage.input), (Some("gemini-x-1"), Some(2)));
    assert_eq!(
        said(&call.content.unwrap().input),
        json!([{"role": "user", "parts": [{"type": "text", "content": "hi"}]}])
    );
    let target = "/v1internal:streamGenerateContent?alt=sse";
    let call = captured(&streamed(exchange("cloudcode-pa.googleapis.com", target, &body), &events(&[answer])));
    assert_eq!((parts_of(&call, 0), call.error), (vec![json!({"type": "text", "content": "hey"})], None));
}

#[test]
fn snake_case_is_read_too() {
    let body = json!({"contents": [{"parts": [{"text": "hi"}, {"inline_data": {"mime_type": "audio/wav", "data": "UklG"}},
            {"function_response": {"name": "f", "response": {}}}]}],
        "system_instruction": {"parts": [{"text": "s"}]}, "generation_config": {"max_output_tokens": 3, "top_k": 2}});
    let call = captured(&exchange(HOST, "/v1beta/models/m:generateContent", &body));
    assert_eq!((call.parameters.max_tokens, call.parameters.top_k), (Some(3), Some(2)));
    let content = call.content.unwrap();
    assert_eq!(content.system_instructions.len(), 1);
    assert_eq!(said(&content.input)[0]["parts"][1]["modality"], "audio");
}
