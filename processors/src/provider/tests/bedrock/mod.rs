//! Amazon Bedrock: converse, hosts, header fields, knowledge bases.

use super::{schema::assert_content_valid, *};
use crate::provider::{
    framing::tests::{amazon, amazon_message},
    tests::clouds::{captured, output, parts_of, said},
};

mod invoke;
mod knowledge;

pub const HOST: &str = "bedrock-runtime.us-east-1.amazonaws.com";
const KIND: &str = "application/vnd.amazon.eventstream";

/// An answer of these messages of Amazon's event stream, the first at 11 ms.
pub fn events(exchange: Exchange, pieces: &[Vec<u8>]) -> Exchange {
    super::dialects::pieces(exchange, KIND, pieces)
}

pub fn with_field(mut exchange: Exchange, answer: bool, name: &str, value: &str) -> Exchange {
    let field = (name.to_owned(), value.to_owned());
    match exchange.response.as_mut().filter(|_| answer) {
        Some(response) => response.headers.0.push(field),
        None => exchange.request.headers.0.push(field),
    }
    exchange
}

fn rich_request() -> Value {
    json!({
        "system": [{"text": "be brief"}, {"cachePoint": {"type": "default"}}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
        "additionalModelRequestFields": {"top_k": 5},
        "outputConfig": {"effort": "high", "textFormat": {"type": "json_schema"}},
        "guardrailConfig": {"guardrailIdentifier": "gr-1", "guardrailVersion": "2"},
        "serviceTier": {"type": "flex"},
        "toolConfig": {"tools": [{"toolSpec": {"name": "run", "inputSchema": {"json": {"type": "object"}}}},
            {"systemTool": {"name": "nova_grounding"}}, {"cachePoint": {"type": "default"}}]},
        "messages": [
            {"role": "user", "content": [
                {"text": "look"},
                {"image": {"format": "png", "source": {"bytes": "iVBO"}}},
                {"document": {"format": "pdf", "name": "d", "source": {"s3Location": {"uri": "s3://b/d.pdf"}}}},
                {"document": {"format": "txt", "name": "t", "source": {"text": "plain"}}},
                {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/v.mp4"}}}},
                {"audio": {"format": "mp3", "source": {"bytes": "SUQz"}}},
                {"guardContent": {"text": {"text": "guarded", "qualifiers": ["query"]}}},
                {"cachePoint": {"type": "default"}},
                {"searchResult": {"source": "s", "title": "t", "content": [{"text": "found"}]}}]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": "ZW5j"}},
                {"text": "so"},
                {"toolUse": {"toolUseId": "s1", "name": "nova_grounding", "type": "server_tool_use", "input": {"query": "q"}}},
                {"toolResult": {"toolUseId": "s1", "type": "nova_grounding_result", "content": [{"text": "r"}]}},
                {"citationsContent": {"content": [{"text": "ci"}, {"text": "ted"}], "citations": []}},
                {"toolUse": {"toolUseId": "t1", "name": "run", "input": {"command": "ls"}}}]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "t1", "status": "error", "content": [{"json": {"code": 2}}]}},
                {"toolResult": {"toolUseId": "t2", "content": [{"text": "a"}, {"image": {"format": "png", "source": {"bytes": "iVBO"}}}]}}]},
        ],
    })
}

#[test]
fn every_block_of_a_request_is_told() {
    let call = captured(&exchange(HOST, "/model/m/converse", &rich_request()));
    assert_content_valid(&call);
    let asked = &call.parameters;
    assert_eq!(
        (asked.max_tokens, asked.temperature, asked.top_p, asked.top_k),
        (Some(9), Some(0.5), Some(0.9), Some(5))
    );
    assert_eq!((asked.reasoning_level.as_deref(), asked.output_type.as_deref()), (Some("high"), Some("json")));
    assert_eq!((asked.guardrail_id.as_deref(), asked.service_tier.as_deref()), (Some("gr-1"), Some("flex")));
    let content = call.content.as_deref().unwrap();
    assert_eq!(said(&content.system_instructions), json!([{"type": "text", "content": "be brief"}]));
    assert_eq!(
        said(&content.tools),
        json!([{"type": "function", "name": "run"}, {"type": "system_tool", "name": "nova_grounding"}])
    );
    assert_eq!(
        said(&content.input),
        json!([
            {"role": "user", "parts": [
                {"type": "text", "content": "look"},
                {"type": "blob", "mime_type": "image/png", "modality": "image", "content": "iVBO"},
                {"type": "uri", "mime_type": "application/pdf", "modality": "document", "uri": "s3://b/d.pdf"},
                {"type": "text", "content": "plain"},
                {"type": "uri", "mime_type": "video/mp4", "modality": "video", "uri": "s3://b/v.mp4"},
                {"type": "blob", "mime_type": "audio/mp3", "modality": "audio", "content": "SUQz"},
                {"type": "text", "content": "guarded"},
                {"type": "search_result", "source": "s", "title": "t", "content": [{"text": "found"}]}]},
            {"role": "assistant", "parts": [
                {"type": "reasoning", "content": "hm"},
                {"type": "reasoning", "content": "ZW5j"},
                {"type": "text", "content": "so"},
                {"type": "server_tool_call", "id": "s1", "name": "nova_grounding",
                    "server_tool_call": {"type": "nova_grounding", "input": {"query": "q"}}},
                {"type": "server_tool_call_response", "id": "s1",
                    "server_tool_call_response": {"type": "nova_grounding_result", "content": "r"}},
                {"type": "text", "content": "cited"},
                {"type": "tool_call", "id": "t1", "name": "run", "arguments": {"command": "ls"}}]},
            {"role": "tool", "parts": [
                {"type": "tool_call_response", "id": "t1", "response": {"code": 2}},
                {"type": "tool_call_response", "id": "t2", "response": [
                    {"type": "text", "content": "a"},
                    {"type": "blob", "mime_type": "image/png", "modality": "image", "content": "iVBO"}]}]},
        ])
    );
    let results = &call.thread.tool_results;
    assert_eq!((results.len(), results[0].is_error, results[1].is_error), (2, true, false));
    assert_eq!(results[0].response, Some(json!({"code": 2})));
}

fn stream() -> Vec<Vec<u8>> {
    let start = |index: u64, start: Value| {
        amazon("contentBlockStart", &json!({"contentBlockIndex": index, "start": start}).to_string())
    };
    let delta = |index: u64, delta: Value| {
        amazon("contentBlockDelta", &json!({"contentBlockIndex": index, "delta": delta}).to_string())
    };
    vec![
        amazon("messageStart", r#"{"role":"assistant","p":"abc"}"#),
        delta(0, json!({"reasoningContent": {"text": "hm"}})),
        delta(0, json!({"reasoningContent": {"signature": "c2ln"}})),
        delta(1, json!({"text": "s"})),
        delta(1, json!({"text": "ee"})),
        start(2, json!({"toolUse": {"toolUseId": "s1", "name": "nova_grounding", "type": "server_tool_use"}})),
        delta(2, json!({"toolUse": {"input": "{\"q\":1}"}})),
        start(3, json!({"toolResult": {"toolUseId": "s1", "type": "nova_grounding_result"}})),
        delta(3, json!({"toolResult": [{"text": "r"}]})),
        start(4, json!({"toolUse": {"toolUseId": "t1", "name": "run"}})),
        delta(4, json!({"toolUse": {"input": "{\"command\":"}})),
        delta(4, json!({"toolUse": {"input": "\"ls\"}"}})),
        amazon("contentBlockStop", r#"{"contentBlockIndex":4}"#),
        amazon("messageStop", r#"{"stopReason":"tool_use"}"#),
        amazon(
            "metadata",
            &json!({"usage": {"inputTokens": 3, "outputTokens": 7, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 5},
                "metrics": {"latencyMs": 9}, "serviceTier": {"type": "default"},
                "trace": {"promptRouter": {"invokedModelId": "amazon.nova-x"}}})
            .to_string(),
        ),
    ]
}

#[test]
fn a_stream_is_assembled() {
    let call = captured(&events(exchange(HOST, "/model/m/converse-stream", &rich_request()), &stream()));
    assert_content_valid(&call);
    assert_eq!(call.error, None);
    assert_eq!(
        parts_of(&call, 0),
        [
            json!({"type": "reasoning", "content": "hm"}),
            json!({"type": "text", "content": "see"}),
            json!({"type": "server_tool_call", "id": "s1", "name": "nova_grounding",
                "server_tool_call": {"type": "nova_grounding", "input": {"q": 1}}}),
            json!({"type": "server_tool_call_response", "id": "s1",
                "server_tool_call_response": {"type": "nova_grounding_result", "content": "r"}}),
            json!({"type": "tool_call", "id": "t1", "name": "run", "arguments": {"command": "ls"}}),
        ]
    );
    assert_eq!(output(&call, "finish_reason"), json!(["tool_call"]));
    assert_eq!(call.tool_calls, [tool("t1", "run", "{\"command\":\"ls\"}")]);
    assert_eq!((call.usage.input, call.usage.output, call.usage.cache_creation), (Some(12), Some(7), Some(5)));
    assert_eq!(
        (call.reply.model.as_deref(), call.reply.service_tier.as_deref()),
        (Some("amazon.nova-x"), Some("default"))
    );
    // The first event has a role only.
    assert_eq!(call.reply.time_to_first_chunk, Some(Duration::from_millis(12)));
}

#[test]
fn a_plain_answer_says_the_same_as_a_stream() {
    let answer = json!({"output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}, {"text": "see"},
            {"toolUse": {"toolUseId": "s1", "name": "nova_grounding", "type": "server_tool_use", "input": {"q": 1}}},
            {"toolResult": {"toolUseId": "s1", "type": "nova_grounding_result", "content": [{"text": "r"}]}},
            {"toolUse": {"toolUseId": "t1", "name": "run", "input": {"command": "ls"}}}]}},
        "stopReason": "tool_use", "metrics": {"latencyMs": 9}, "serviceTier": {"type": "default"},
        "trace": {"promptRouter": {"invokedModelId": "amazon.nova-x"}},
        "usage": {"inputTokens": 3, "outputTokens": 7, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 5}});
    let plain = captured(&answered(exchange(HOST, "/model/m/converse", &rich_request()), 200, &answer));
    let streamed = captured(&events(exchange(HOST, "/model/m/converse-stream", &rich_request()), &stream()));
    assert_eq!(
        (&plain.content, plain.usage, &plain.tool_calls),
        (&streamed.content, streamed.usage, &streamed.tool_calls)
    );
    assert_eq!(plain.reply.finish_reasons, streamed.reply.finish_reasons);
}

#[test]
fn a_cut_stream_keeps_what_came() {
    let pieces = stream();
    for end in 0..pieces.len() - 2 {
        let call = captured(&events(exchange(HOST, "/model/m/converse-stream", &rich_request()), &pieces[..end]));
        assert_content_valid(&call);
        assert_eq!(call.error.as_ref().map(|error| error.kind.as_str()), Some("stream_interrupted"), "{end}");
    }
    let call = captured(&events(exchange(HOST, "/model/m/converse-stream", &rich_request()), &pieces[..11]));
    assert_eq!(output(&call, "finish_reason"), json!(["error"]));
    assert_eq!(call.tool_calls, [tool("t1", "run", "{\"command\":")]);
}

#[test]
fn exceptions_end_a_stream() {
    let exception = [(":message-type", "exception"), (":exception-type", "modelStreamErrorException")];
    let error = [(":message-type", "error"), (":error-code", "InternalFailure"), (":error-message", "broke")];
    for (last, kind, message) in [
        (
            amazon_message(&exception, r#"{"message":"broke","originalStatusCode":500}"#),
            "modelStreamErrorException",
            "broke",
        ),
        (amazon_message(&error, ""), "InternalFailure", "broke"),
    ] {
        let mut pieces = stream();
        pieces.truncate(5);
        pieces.push(last);
        let call = captured(&events(exchange(HOST, "/model/m/converse-stream", &rich_request()), &pieces));
        assert_content_valid(&call);
        let found = call.error.as_ref().unwrap();
        assert_eq!((found.kind.as_str(), found.message.as_deref()), (kind, Some(message)));
        assert_eq!((parts_of(&call, 0).len(), output(&call, "finish_reason")), (2, json!(["error"])));
    }
    let refused = answered(exchange(HOST, "/model/m/converse", &rich_request()), 400, &json!({"message": "bad"}));
    let refused =
        with_field(refused, true, "x-amzn-errortype", "ValidationException:http://internal.amazon.com/coral/");
    let found = call(&refused).error.unwrap();
    assert_eq!((found.kind.as_str(), found.message.as_deref()), ("ValidationException", Some("bad")));
}

#[test]
fn stop_reasons_are_mapped_in_messages_only() {
    for (reason, word) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_call"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_tool_use", "error"),
        ("model_context_window_exceeded", "length"),
        ("other", "other"),
    ] {
        let answer = json!({"output": {"message": {"role": "assistant", "content": []}}, "stopReason": reason});
        let call = captured(&answered(exchange(HOST, "/model/m/converse", &rich_request()), 200, &answer));
        assert_eq!(
            (output(&call, "finish_reason"), &call.reply.finish_reasons[..]),
            (json!([word]), &[reason.to_owned()][..])
        );
    }
}

#[test]
fn where_bedrock_is() {
    let body = json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]});
    for (host, fine) in [
        (HOST, true),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", true),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", true),
        ("vpce-0a1b-2c3d.bedrock-runtime.eu-west-1.vpce.amazonaws.com", true),
        ("vpce-0a1b-2c3d-eu-west-1a.bedrock-runtime.eu-west-1.vpce.amazonaws.com:443", true),
        ("bedrock-runtime.eu-west-1.api.aws", true),
        ("bedrock-runtime.eu-west-1.amazonaws.com.evil.net", false),
        ("my-bedrock-runtime.s3.amazonaws.com", false),
    ] {
        assert_eq!(pipeline::providers::known_host(host).is_some(), fine, "{host}");
        assert_eq!(call(&exchange(host, "/model/m/converse", &body)).provider, "aws.bedrock");
    }
    for (target, model) in [
        ("/model/anthropic.claude-x-v1%3A0/converse", "anthropic.claude-x-v1:0"),
        ("/model/us.anthropic.claude-x-v1:0/converse-stream", "us.anthropic.claude-x-v1:0"),
        (
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2Famazon.nova-x/converse",
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-x",
        ),
    ] {
        assert_eq!(call(&exchange(HOST, target, &body)).parameters.model.as_deref(), Some(model), "{target}");
    }
    let prompt = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A12%3Aprompt%2FPROMPT1%3A2/converse";
    let asked = call(&exchange(HOST, prompt, &json!({"promptVariables": {"a": {"text": "b"}}}))).parameters;
    assert_eq!((asked.prompt_name.as_deref(), asked.prompt_version.as_deref()), (Some("PROMPT1"), Some("2")));
    assert_eq!(asked.model, None);
    for target in [
        "/model/m/count-tokens",
        "/model/m/invoke-with-bidirectional-stream",
        "/guardrail/g/version/1/apply",
        "/async-invoke",
        "/guardrail-checks/invoke",
    ] {
        assert!(understand(&exchange(HOST, target, &body)).is_none(), "{target}");
    }
}

#[test]
fn the_openai_compatible_endpoints_are_bedrocks() {
    for (host, target) in
        [(HOST, "/openai/v1/chat/completions"), ("bedrock-mantle.us-east-1.api.aws", "/v1/chat/completions")]
    {
        let exchange =
            with_field(exchange(host, target, &chat_request()), false, "x-amzn-bedrock-guardrailidentifier", "gr-9");
        let call = call(&exchange);
        assert_eq!((call.provider.as_str(), call.api), ("aws.bedrock", Api::ChatCompletions));
        assert_eq!(call.parameters.guardrail_id.as_deref(), Some("gr-9"));
    }
}
