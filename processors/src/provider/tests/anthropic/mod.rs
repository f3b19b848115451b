//! Anthropic's messages and completions, at Anthropic and elsewhere.

use super::{schema::assert_content_valid, *};
use crate::provider::tests::clouds::{captured, output, parts_of, said};

mod streams;

const HOST: &str = "api.anthropic.com";

/// A request with every kind of block that clients send.
pub fn rich_request() -> Value {
    json!({
        "model": "claude-x", "max_tokens": 64, "service_tier": "standard_only",
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "tools": [
            {"name": "Bash", "description": "runs", "input_schema": {"type": "object"}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
            {"type": "mcp_toolset", "mcp_server_name": "docs"},
        ],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
                {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
                {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
                {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "found"}]},
                {"type": "container_upload", "file_id": "file_2"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZW5j"},
                {"type": "compaction", "content": "so far"},
                {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
                {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [
                    {"type": "web_search_result", "url": "https://x.example", "title": "t", "encrypted_content": "e"}]},
                {"type": "mcp_tool_use", "id": "m1", "name": "find", "server_name": "docs", "input": {}},
                {"type": "mcp_tool_result", "tool_use_id": "m1", "is_error": false, "content": [{"type": "text", "text": "r"}]}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [
                    {"type": "text", "text": "no such file"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "{\"a\":1}"}]},
        ],
    })
}

/// An answer with every kind of block that there is.
fn rich_answer() -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1", "stop_reason": "tool_use",
        "stop_sequence": null, "content": [
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZW5j"},
            {"type": "text", "text": "see", "citations": [{"type": "char_location", "cited_text": "x"}]},
            {"type": "server_tool_use", "id": "s1", "name": "bash_code_execution", "input": {"command": "ls"}},
            {"type": "bash_code_execution_tool_result", "tool_use_id": "s1",
                "content": {"type": "bash_code_execution_result", "stdout": "a", "stderr": "", "return_code": 0}},
            {"type": "server_tool_use", "id": "s2", "name": "web_fetch", "input": {"url": "https://x.example"}},
            {"type": "web_fetch_tool_result", "tool_use_id": "s2", "content": {"type": "web_fetch_tool_error", "error_code": "no"}},
            {"type": "text_editor_code_execution_tool_result", "tool_use_id": "s3", "content": {"type": "x"}},
            {"type": "mcp_tool_use", "id": "m1", "name": "find", "server_name": "docs", "input": {"q": 1}},
            {"type": "mcp_tool_result", "tool_use_id": "m1", "is_error": false, "content": [{"type": "text", "text": "r"}]},
            {"type": "container_upload", "file_id": "file_2"},
            {"type": "made_up_block", "what": {"ever": true}},
            {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 1000,
            "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
            "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 3}, "service_tier": "standard",
            "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0}}})
}

#[test]
fn every_block_of_a_request_is_told() {
    let exchange = answered(exchange(HOST, "/v1/messages", &rich_request()), 200, &rich_answer());
    let call = captured(&exchange);
    assert_content_valid(&call);
    let content = call.content.as_deref().unwrap();
    assert_eq!(said(&content.system_instructions), json!([{"type": "text", "content": "be brief"}]));
    assert_eq!(
        said(&content.tools),
        json!([{"type": "function", "name": "Bash"}, {"type": "web_search_20250305", "name": "web_search"},
            {"type": "mcp_toolset", "name": "docs"}])
    );
    assert_eq!(
        said(&content.input),
        json!([
            {"role": "user", "parts": [
                {"type": "text", "content": "look"},
                {"type": "blob", "mime_type": "image/png", "modality": "image", "content": "iVBO"},
                {"type": "uri", "modality": "image", "uri": "https://x.example/a.png"},
                {"type": "file", "modality": "image", "file_id": "file_1"},
                {"type": "blob", "mime_type": "application/pdf", "modality": "document", "content": "JVBE"},
                {"type": "text", "content": "plain"},
                {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "found"}]},
                {"type": "file", "modality": "document", "file_id": "file_2"}]},
            {"role": "assistant", "parts": [
                {"type": "reasoning", "content": "hm"},
                {"type": "reasoning", "content": "ZW5j"},
                {"type": "compaction", "content": "so far"},
                {"type": "tool_call", "id": "t1", "name": "Bash", "arguments": {"command": "ls"}},
                {"type": "server_tool_call", "id": "s1", "name": "web_search",
                    "server_tool_call": {"type": "web_search", "input": {"query": "q"}}},
                {"type": "server_tool_call_response", "id": "s1", "server_tool_call_response": {"type": "web_search",
                    "content": [{"type": "web_search_result", "url": "https://x.example", "title": "t", "encrypted_content": "e"}]}},
                {"type": "server_tool_call", "id": "m1", "name": "find",
                    "server_tool_call": {"type": "mcp", "server_name": "docs", "input": {}}},
                {"type": "server_tool_call_response", "id": "m1", "server_tool_call_response":
                    {"type": "mcp", "is_error": false, "content": [{"type": "text", "text": "r"}]}}]},
            {"role": "tool", "parts": [
                {"type": "tool_call_response", "id": "t1", "response": [
                    {"type": "text", "content": "no such file"},
                    {"type": "blob", "mime_type": "image/png", "modality": "image", "content": "iVBO"}]},
                {"type": "tool_call_response", "id": "t2", "response": {"a": 1}}]},
        ])
    );
    assert_eq!(call.thread.tool_results.len(), 2);
    assert!(call.thread.tool_results[0].is_error && !call.thread.from_user);
    assert_eq!(call.thread.tool_results[1].response, Some(json!({"a": 1})));
    assert_eq!(call.parameters.compacted, Some(true));
}

#[test]
fn every_block_of_an_answer_is_told() {
    let call = captured(&answered(exchange(HOST, "/v1/messages", &rich_request()), 200, &rich_answer()));
    assert_eq!(output(&call, "finish_reason"), json!(["tool_call"]));
    let parts = parts_of(&call, 0);
    let kinds: Vec<&str> = parts.iter().filter_map(|part| part["type"].as_str()).collect();
    let server = ["server_tool_call", "server_tool_call_response"];
    assert_eq!(kinds[..3], ["reasoning", "reasoning", "text"]);
    assert_eq!(kinds[3..10], [server[0], server[1], server[0], server[1], server[1], server[0], server[1]]);
    assert_eq!(kinds[10..], ["file", "made_up_block", "tool_call"]);
    assert_eq!(parts[4]["server_tool_call_response"]["type"], "bash_code_execution");
    assert_eq!(parts[4]["server_tool_call_response"]["content"]["stdout"], "a");
    // What Anthropic ran is no tool of the agent's.
    assert_eq!(call.tool_calls, [tool("t1", "Bash", "{\"command\":\"ls\"}")]);
    assert_eq!((call.usage.input, call.usage.output, call.usage.reasoning), (Some(1110), Some(7), Some(3)));
    assert_eq!((call.usage.cache_read, call.usage.cache_creation), (Some(100), Some(1000)));
    assert_eq!(call.reply.service_tier.as_deref(), Some("standard"));
    assert_eq!(call.reply.finish_reasons, ["tool_use"]);
}

#[test]
fn capture_is_off_by_default_and_changes_nothing_else() {
    let exchange = answered(exchange(HOST, "/v1/messages", &rich_request()), 200, &rich_answer());
    let (plain, mut with) = (call(&exchange), captured(&exchange));
    assert!(plain.content.is_none());
    assert!(plain.thread.tool_results.iter().all(|result| result.response.is_none()));
    with.content = None;
    with.thread.tool_results.iter_mut().for_each(|result| result.response = None);
    assert_eq!(format!("{plain:?}"), format!("{with:?}"));
}

#[test]
fn stop_reasons_are_mapped_in_messages_only() {
    for (reason, word) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_call"),
        ("refusal", "content_filter"),
        ("compaction", "compaction"),
        ("pause_turn", "pause_turn"),
    ] {
        let answer = json!({"id": "m", "type": "message", "content": [], "stop_reason": reason});
        let call = captured(&answered(exchange(HOST, "/v1/messages", &message_request()), 200, &answer));
        assert_eq!(output(&call, "finish_reason"), json!([word]));
        assert_eq!(call.reply.finish_reasons, [reason]);
        assert_content_valid(&call);
    }
}

#[test]
fn a_compaction_is_billed_and_said() {
    let answer = json!({"id": "m", "type": "message", "stop_reason": "end_turn",
        "content": [{"type": "compaction", "content": "so far"}, {"type": "text", "text": "on"}],
        "usage": {"input_tokens": 23000, "output_tokens": 1000, "iterations": [
            {"type": "compaction", "input_tokens": 180000, "output_tokens": 3500, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0},
            {"type": "message", "input_tokens": 23000, "output_tokens": 1000}]}});
    let call = captured(&answered(exchange(HOST, "/v1/messages", &message_request()), 200, &answer));
    assert_eq!((call.usage.input, call.usage.output), (Some(203_005), Some(4500)));
    assert_eq!(call.parameters.compacted, Some(true));
    assert_eq!(parts_of(&call, 0)[0], json!({"type": "compaction", "content": "so far"}));
}

#[test]
fn where_claude_is_served() {
    let body = json!({"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "stream": true,
        "messages": [{"role": "user", "content": "hi"}]});
    let vertex = "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-x@20250101";
    for (host, target, provider, model) in [
        (
            "us-east5-aiplatform.googleapis.com",
            format!("{vertex}:streamRawPredict"),
            "gcp.vertex_ai",
            Some("claude-x@20250101"),
        ),
        ("aiplatform.googleapis.com", format!("{vertex}:rawPredict"), "gcp.vertex_ai", Some("claude-x@20250101")),
        (
            "aiplatform.eu.rep.googleapis.com",
            format!("{vertex}:rawPredict"),
            "gcp.vertex_ai",
            Some("claude-x@20250101"),
        ),
        ("x.services.ai.azure.com", "/anthropic/v1/messages".into(), "azure.ai.inference", None),
        ("bedrock-mantle.us-east-1.api.aws", "/anthropic/v1/messages".into(), "aws.bedrock", None),
        ("api.anthropic.com", "/v1/messages?beta=true".into(), "anthropic", None),
    ] {
        let call = call(&exchange(host, &target, &body));
        assert_eq!((call.provider.as_str(), call.api), (provider, Api::Messages), "{host}");
        assert_eq!(call.parameters.model.as_deref(), model, "{target}");
    }
}

#[test]
fn what_is_no_call() {
    let vertex = "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict";
    for (host, target) in [
        (HOST, "/v1/messages/count_tokens"),
        (HOST, "/v1/messages/count_tokens?beta=true"),
        (HOST, "/v1/messages/batches"),
        (HOST, "/v1/messages/batches/msgbatch_1/cancel"),
        (HOST, "/v1/files"),
        (HOST, "/v1/models"),
        (HOST, "/v1/skills"),
        ("us-east5-aiplatform.googleapis.com", vertex),
        ("x.services.ai.azure.com", "/anthropic/v1/messages/count_tokens"),
    ] {
        assert!(understand(&exchange(host, target, &message_request())).is_none(), "{target}");
    }
}

#[test]
fn older_completions_are_read() {
    let body = json!({"model": "claude-2", "prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 9,
        "temperature": 0.5, "top_k": 3, "stop_sequences": ["\n\nHuman:"]});
    let answer = json!({"type": "completion", "id": "compl_1", "completion": " hey", "stop_reason": "stop_sequence", "model": "claude-2.1"});
    let call = captured(&answered(exchange(HOST, "/v1/complete", &body), 200, &answer));
    assert_content_valid(&call);
    assert_eq!((call.operation, call.api), (Operation::TextCompletion, Api::AnthropicComplete));
    assert_eq!((call.parameters.max_tokens, call.parameters.top_k), (Some(9), Some(3)));
    assert_eq!((call.reply.id.as_deref(), call.reply.model.as_deref()), (Some("compl_1"), Some("claude-2.1")));
    assert_eq!(call.reply.finish_reasons, ["stop_sequence"]);
    let content = call.content.as_deref().unwrap();
    assert_eq!(
        said(&content.output),
        json!([{"role": "assistant", "finish_reason": "stop", "parts": [{"type": "text", "content": " hey"}]}])
    );
    assert_eq!(said(&content.input)[0]["parts"][0]["content"], "\n\nHuman: hi\n\nAssistant:");
    // On a host that nobody knows, only with such a body.
    assert!(understand(&exchange("gw.example", "/v1/complete", &json!({"prompt": "x"}))).is_none());
    assert!(understand(&exchange("gw.example", "/v1/complete", &body)).is_some());
}

#[test]
fn errors_are_told() {
    let body =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"});
    let failed = captured(&answered(exchange(HOST, "/v1/messages", &message_request()), 529, &body));
    assert_eq!(failed.error.as_ref().map(|error| error.kind.as_str()), Some("overloaded_error"));
    assert_eq!(said(&failed.content.unwrap().output), json!([]));
}
