//! The APIs of providers and local servers that speak a language of their own: each plain, streamed, cut in the middle and
//! failing, with what was said.

use pipeline::observation::{Message, MessagePart};
use proptest::prelude::*;

use super::{dialects::pieces, schema::assert_content_valid, *};

/// How an API streams.
enum Framing {
    Events,
    /// Events with names of their own: the `type` of their data.
    Named,
    /// The name of each event is this.
    All(&'static str),
    Lines,
}

/// One API, asked the same plain and streamed.
struct Row {
    host: &'static str,
    target: &'static str,
    streaming: Option<&'static str>,
    request: Value,
    plain: Value,
    framing: Framing,
    stream: Vec<Value>,
    done: bool,
    /// Provider, API, operation.
    who: (&'static str, Api, Operation),
    /// Asked model, answering model, id.
    names: (Option<&'static str>, Option<&'static str>, Option<&'static str>),
    /// Input, output, cached, reasoning.
    tokens: (Option<u64>, Option<u64>, Option<u64>, Option<u64>),
    reasons: &'static [&'static str],
    /// What the answer's message holds: kinds of parts with their text.
    said: &'static [(&'static str, &'static str)],
    tools: Vec<RequestedTool>,
    /// Status and body of a failure, and its kind.
    failure: (u16, Value, &'static str),
}

fn ask(row: &Row, streamed: bool) -> Exchange {
    let target = row.streaming.filter(|_| streamed).unwrap_or(row.target);
    let mut body = row.request.clone();
    if body.get("stream").is_some() {
        body["stream"] = json!(streamed);
    }
    exchange(row.host, target, &body)
}

fn answer_in_pieces(row: &Row, count: usize) -> Exchange {
    let (kind, done) = match row.framing {
        Framing::Lines => ("application/x-ndjson", None),
        _ => ("text/event-stream", Some(b"data: [DONE]\n\n".to_vec())),
    };
    let written = |value: &Value| match &row.framing {
        Framing::Lines => format!("{value}\n").into_bytes(),
        Framing::Events => format!("data: {value}\n\n").into_bytes(),
        Framing::Named => format!("event: {}\r\ndata: {value}\r\n\r\n", value["type"].as_str().unwrap()).into_bytes(),
        Framing::All(name) => format!("id:1\nevent:{name}\n:HTTP_STATUS/200\ndata:{value}\n\n").into_bytes(),
    };
    let mut bytes: Vec<Vec<u8>> = row.stream.iter().take(count).map(written).collect();
    if count == row.stream.len() {
        bytes.extend(done.filter(|_| row.done));
    }
    pieces(ask(row, true), kind, &bytes)
}

fn captured(exchange: &Exchange) -> ModelCall {
    let config = Config { capture_content: Some(ContentMode::SpanAndEvent), ..Config::default() };
    let call = Provider::new(&config).understand(exchange).expect("a call");
    assert_content_valid(&call);
    call
}

fn shown(message: &Message) -> Vec<(&str, String)> {
    let one = |part: &MessagePart| match part {
        MessagePart::Text { content } => ("text", content.clone()),
        MessagePart::Reasoning { content } => ("reasoning", content.clone()),
        MessagePart::ToolCall { name, .. } => ("tool_call", name.clone()),
        MessagePart::ToolCallResponse { response, .. } => ("tool_call_response", response.to_string()),
        MessagePart::ServerToolCall { name, .. } => ("server_tool_call", name.clone()),
        MessagePart::ServerToolCallResponse { .. } => ("server_tool_call_response", String::new()),
        MessagePart::Blob { modality, .. } => ("blob", modality.clone()),
        MessagePart::Uri { uri, .. } => ("uri", uri.clone()),
        MessagePart::File { file_id, .. } => ("file", file_id.clone()),
        MessagePart::Compaction { .. } => ("compaction", String::new()),
        MessagePart::Other(other) => ("other", other["type"].as_str().unwrap_or_default().to_owned()),
    };
    message.parts.iter().map(one).collect()
}

fn check(row: &Row, call: &ModelCall) {
    let place = format!("{:?} {}", call.api, if call.parameters.stream { "streamed" } else { "plain" });
    assert_eq!((call.provider.as_str(), call.api, call.operation), row.who, "{place}");
    let names = (call.parameters.model.as_deref(), call.reply.model.as_deref(), call.reply.id.as_deref());
    assert_eq!(names, row.names, "{place}");
    let usage = &call.usage;
    assert_eq!((usage.input, usage.output, usage.cache_read, usage.reasoning), row.tokens, "{place}");
    assert_eq!(call.reply.finish_reasons, row.reasons, "{place}");
    assert_eq!(call.tool_calls, row.tools, "{place}");
    assert_eq!(call.error, None, "{place}");
    let content = call.content.as_ref().unwrap();
    let said: Vec<_> = content.output.first().map(shown).unwrap_or_default();
    let wanted: Vec<_> = row.said.iter().map(|(kind, text)| (*kind, (*text).to_owned())).collect();
    assert_eq!(said, wanted, "{place}");
    if call.operation != Operation::Embeddings {
        assert_eq!(content.input.last().map(|message| message.role.as_str()), Some("user"), "{place}");
        assert!(call.thread.from_user, "{place}");
    }
}

fn tool_of(id: Option<&str>, name: &str, arguments: &str) -> RequestedTool {
    RequestedTool { id: id.map(str::to_owned), name: name.into(), arguments: arguments.into() }
}

fn user() -> Value {
    json!([{"role": "user", "content": "hi"}])
}

fn rows() -> Vec<Row> {
    vec![
        Row {
            host: "api.cohere.com",
            target: "/v2/chat",
            streaming: None,
            request: json!({"model": "command-x", "messages": user(), "stream": false, "thinking": {"type": "enabled"}}),
            plain: json!({"id": "c1", "finish_reason": "TOOL_CALL", "message": {"role": "assistant", "tool_plan": "plan",
                "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello"}],
                "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
                "usage": {"billed_units": {"input_tokens": 1}, "tokens": {"input_tokens": 60, "output_tokens": 4}, "cached_tokens": 8}}),
            framing: Framing::Named,
            stream: vec![
                json!({"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant", "content": []}}}),
                json!({"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "thinking", "thinking": ""}}}}),
                json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "hm"}}}}),
                json!({"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": "Hel"}}}}),
                json!({"type": "content-delta", "index": 1, "delta": {"message": {"content": {"text": "lo"}}}}),
                json!({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "plan"}}}),
                json!({"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": {"id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}}}}),
                json!({"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": "{\"a\":"}}}}}),
                json!({"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": "1}"}}}}}),
                json!({"type": "tool-call-end", "index": 0}),
                json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL",
                    "usage": {"billed_units": {"input_tokens": 1}, "tokens": {"input_tokens": 60, "output_tokens": 4}, "cached_tokens": 8}}}),
            ],
            done: false,
            who: ("cohere", Api::CohereChat, Operation::Chat),
            names: (Some("command-x"), None, Some("c1")),
            tokens: (Some(60), Some(4), Some(8), None),
            reasons: &["TOOL_CALL"],
            said: &[("reasoning", "hm"), ("text", "Hello"), ("reasoning", "plan"), ("tool_call", "f")],
            tools: vec![tool_of(Some("t1"), "f", "{\"a\":1}")],
            failure: (401, json!({"id": "1", "message": "invalid api token"}), "401"),
        },
        Row {
            host: "api.cohere.com",
            target: "/v1/chat",
            streaming: None,
            request: json!({"model": "command-x", "message": "hi", "preamble": "be brief", "stream": false,
                "chat_history": [{"role": "USER", "message": "a"}, {"role": "CHATBOT", "message": "b"}]}),
            plain: json!({"response_id": "r1", "generation_id": "g1", "text": "Hello", "finish_reason": "COMPLETE",
                "meta": {"tokens": {"input_tokens": 6, "output_tokens": 2}}}),
            framing: Framing::Lines,
            stream: vec![
                json!({"event_type": "stream-start", "generation_id": "g1", "is_finished": false}),
                json!({"event_type": "text-generation", "text": "Hel", "is_finished": false}),
                json!({"event_type": "text-generation", "text": "lo", "is_finished": false}),
                json!({"event_type": "stream-end", "is_finished": true, "finish_reason": "COMPLETE", "response": {
                    "response_id": "r1", "generation_id": "g1", "text": "Hello", "finish_reason": "COMPLETE",
                    "meta": {"tokens": {"input_tokens": 6, "output_tokens": 2}}}}),
            ],
            done: false,
            who: ("cohere", Api::CohereChat, Operation::Chat),
            names: (Some("command-x"), None, Some("r1")),
            tokens: (Some(6), Some(2), None, None),
            reasons: &["COMPLETE"],
            said: &[("text", "Hello")],
            tools: Vec::new(),
            failure: (429, json!({"message": "too many"}), "429"),
        },
        Row {
            host: "localhost:11434",
            target: "/api/chat",
            streaming: None,
            request: json!({"model": "llama-x", "messages": [{"role": "system", "content": "s"},
                {"role": "user", "content": "hi", "images": ["aGk="]}], "stream": true, "think": true,
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}),
            plain: json!({"model": "llama-x:8b", "created_at": "t", "message": {"role": "assistant", "thinking": "hm", "content": "Hello",
                "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, "done": true, "done_reason": "stop",
                "total_duration": 9, "prompt_eval_count": 11, "eval_count": 2}),
            framing: Framing::Lines,
            stream: vec![
                json!({"model": "llama-x:8b", "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": false}),
                json!({"model": "llama-x:8b", "message": {"role": "assistant", "content": "Hel"}, "done": false}),
                json!({"model": "llama-x:8b", "message": {"role": "assistant", "content": "lo"}, "done": false}),
                json!({"model": "llama-x:8b", "message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, "done": false}),
                json!({"model": "llama-x:8b", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",
                    "prompt_eval_count": 11, "eval_count": 2}),
            ],
            done: false,
            who: ("ollama", Api::OllamaChat, Operation::Chat),
            names: (Some("llama-x"), Some("llama-x:8b"), None),
            tokens: (Some(11), Some(2), None, None),
            reasons: &["stop"],
            said: &[("reasoning", "hm"), ("text", "Hello"), ("tool_call", "f")],
            tools: vec![tool_of(None, "f", "{\"a\":1}")],
            failure: (404, json!({"error": "model 'x' not found"}), "404"),
        },
        Row {
            host: "localhost:11434",
            target: "/api/generate",
            streaming: None,
            request: json!({"model": "llama-x", "prompt": "hi", "system": "s", "stream": true, "options": {"num_predict": 5}}),
            plain: json!({"model": "llama-x", "response": "Hello", "done": true, "done_reason": "length", "context": [1, 2],
                "prompt_eval_count": 3, "eval_count": 5}),
            framing: Framing::Lines,
            stream: vec![
                json!({"model": "llama-x", "response": "Hel", "done": false}),
                json!({"model": "llama-x", "response": "lo", "done": false}),
                json!({"model": "llama-x", "response": "", "done": true, "done_reason": "length", "prompt_eval_count": 3, "eval_count": 5}),
            ],
            done: false,
            who: ("ollama", Api::OllamaGenerate, Operation::TextCompletion),
            names: (Some("llama-x"), Some("llama-x"), None),
            tokens: (Some(3), Some(5), None, None),
            reasons: &["length"],
            said: &[("text", "Hello")],
            tools: Vec::new(),
            failure: (500, json!({"error": "out of memory"}), "500"),
        },
        Row {
            host: "api.mistral.ai",
            target: "/v1/fim/completions",
            streaming: None,
            request: json!({"model": "codestral-x", "prompt": "def f(", "suffix": "return a", "stream": false, "random_seed": 5}),
            plain: json!({"id": "f1", "model": "codestral-x", "object": "chat.completion", "choices": [{"index": 0,
                "finish_reason": "stop", "message": {"role": "assistant", "content": "a):"}}],
                "usage": {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}}),
            framing: Framing::Events,
            stream: vec![
                json!({"id": "f1", "model": "codestral-x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": null}]}),
                json!({"id": "f1", "model": "codestral-x", "choices": [{"index": 0, "delta": {"content": "):"}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}}),
            ],
            done: true,
            who: ("mistral_ai", Api::MistralFim, Operation::TextCompletion),
            names: (Some("codestral-x"), Some("codestral-x"), Some("f1")),
            tokens: (Some(8), Some(3), None, None),
            reasons: &["stop"],
            said: &[("text", "a):")],
            tools: Vec::new(),
            failure: (
                422,
                json!({"object": "error", "message": {"detail": [{"msg": "bad"}]}, "type": "invalid_request_error", "code": "3051"}),
                "3051",
            ),
        },
        Row {
            host: "api.mistral.ai",
            target: "/v1/conversations",
            streaming: None,
            request: json!({"model": "mistral-x", "inputs": "hi", "instructions": "s", "stream": false,
                "completion_args": {"temperature": 0.5}, "tools": [{"type": "web_search"}]}),
            plain: json!({"object": "conversation.response", "conversation_id": "conv_1", "outputs": [
                {"type": "tool.execution", "name": "web_search", "id": "x1", "arguments": "{}", "info": {"n": 1}},
                {"type": "message.output", "model": "mistral-x-1", "role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
                {"type": "function.call", "tool_call_id": "t1", "name": "f", "arguments": "{\"a\":1}"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}),
            framing: Framing::Named,
            stream: vec![
                json!({"type": "conversation.response.started", "conversation_id": "conv_1"}),
                json!({"type": "tool.execution.done", "id": "x1", "name": "web_search", "info": {"n": 1}, "output_index": 0}),
                json!({"type": "message.output.delta", "model": "mistral-x-1", "content": "Hel", "output_index": 1}),
                json!({"type": "message.output.delta", "model": "mistral-x-1", "content": {"type": "text", "text": "lo"}, "output_index": 1}),
                json!({"type": "function.call.delta", "tool_call_id": "t1", "name": "f", "arguments": "{\"a\":", "output_index": 2}),
                json!({"type": "function.call.delta", "tool_call_id": "t1", "name": "f", "arguments": "1}", "output_index": 2}),
                json!({"type": "conversation.response.done", "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}),
            ],
            done: false,
            who: ("mistral_ai", Api::MistralConversations, Operation::Chat),
            names: (Some("mistral-x"), Some("mistral-x-1"), None),
            tokens: (Some(9), Some(4), None, None),
            reasons: &["tool_calls"],
            said: &[
                ("server_tool_call", "web_search"),
                ("server_tool_call_response", ""),
                ("text", "Hello"),
                ("tool_call", "f"),
            ],
            tools: vec![tool_of(Some("t1"), "f", "{\"a\":1}")],
            failure: (401, json!({"detail": "Unauthorized"}), "401"),
        },
        Row {
            host: "dashscope-intl.aliyuncs.com",
            target: "/api/v1/services/aigc/text-generation/generation",
            streaming: None,
            request: json!({"model": "qwen-x", "input": {"messages": user()}, "parameters": {"result_format": "message", "seed": 7}}),
            plain: json!({"request_id": "q1", "output": {"choices": [{"finish_reason": "tool_calls", "message": {"role": "assistant",
                "content": "Hello", "reasoning_content": "hm", "tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}}]},
                "usage": {"input_tokens": 12, "output_tokens": 6, "total_tokens": 18, "output_tokens_details": {"reasoning_tokens": 2},
                    "prompt_tokens_details": {"cached_tokens": 4}}}),
            // Each event repeats the whole.
            framing: Framing::All("result"),
            stream: vec![
                json!({"request_id": "q1", "output": {"choices": [{"finish_reason": "null", "message": {"role": "assistant", "content": "", "reasoning_content": "h"}}]},
                    "usage": {"input_tokens": 12, "output_tokens": 1}}),
                json!({"request_id": "q1", "output": {"choices": [{"finish_reason": "null", "message": {"role": "assistant", "content": "Hel", "reasoning_content": "hm"}}]},
                    "usage": {"input_tokens": 12, "output_tokens": 3}}),
                json!({"request_id": "q1", "output": {"choices": [{"finish_reason": "null", "message": {"role": "assistant", "content": "Hello", "reasoning_content": "hm",
                    "tool_calls": [{"index": 0, "id": "t1", "function": {"name": "f", "arguments": "{\"a\":"}}]}}]}, "usage": {"input_tokens": 12, "output_tokens": 5}}),
                json!({"request_id": "q1", "output": {"choices": [{"finish_reason": "tool_calls", "message": {"role": "assistant", "content": "Hello", "reasoning_content": "hm",
                    "tool_calls": [{"index": 0, "id": "t1", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}}]},
                    "usage": {"input_tokens": 12, "output_tokens": 6, "total_tokens": 18, "output_tokens_details": {"reasoning_tokens": 2},
                        "prompt_tokens_details": {"cached_tokens": 4}}}),
            ],
            done: false,
            who: ("dashscope", Api::DashscopeGeneration, Operation::Chat),
            names: (Some("qwen-x"), None, Some("q1")),
            tokens: (Some(12), Some(6), Some(4), Some(2)),
            reasons: &["tool_calls"],
            said: &[("reasoning", "hm"), ("text", "Hello"), ("tool_call", "f")],
            tools: vec![tool_of(Some("t1"), "f", "{\"a\":1}")],
            failure: (
                429,
                json!({"code": "Throttling.RateQuota", "message": "slow down", "request_id": "1"}),
                "Throttling.RateQuota",
            ),
        },
        Row {
            host: "dashscope.aliyuncs.com",
            target: "/api/v1/services/aigc/multimodal-generation/generation",
            streaming: None,
            request: json!({"model": "qwen-vl-x", "input": {"messages": [{"role": "user", "content": [{"image": "https://x.example/a.png"}, {"text": "hi"}]}]},
                "parameters": {"incremental_output": true}}),
            plain: json!({"request_id": "q2", "output": {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": [{"text": "Hello"}]}}]},
                "usage": {"input_tokens": 12, "output_tokens": 6, "image_tokens": 9}}),
            framing: Framing::All("result"),
            stream: vec![
                json!({"request_id": "q2", "output": {"choices": [{"finish_reason": "null", "message": {"role": "assistant", "content": [{"text": "Hel"}]}}]}}),
                json!({"request_id": "q2", "output": {"choices": [{"finish_reason": "null", "message": {"role": "assistant", "content": [{"text": "l"}]}}]}}),
                json!({"request_id": "q2", "output": {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": [{"text": "o"}]}}]},
                    "usage": {"input_tokens": 12, "output_tokens": 6, "image_tokens": 9}}),
            ],
            done: false,
            who: ("dashscope", Api::DashscopeGeneration, Operation::Chat),
            names: (Some("qwen-vl-x"), None, Some("q2")),
            tokens: (Some(12), Some(6), None, None),
            reasons: &["stop"],
            said: &[("text", "Hello")],
            tools: Vec::new(),
            failure: (400, json!({"code": "InvalidParameter", "message": "no", "request_id": "1"}), "InvalidParameter"),
        },
        Row {
            host: "us-south.ml.cloud.ibm.com",
            target: "/ml/v1/text/chat?version=2024-10-08",
            streaming: Some("/ml/v1/text/chat_stream?version=2024-10-08"),
            request: json!({"model_id": "ibm/granite-x", "project_id": "p", "messages": user(), "max_tokens": 5}),
            plain: json!({"id": "w1", "model_id": "ibm/granite-x", "model": "ibm/granite-x", "choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hello"}}], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}),
            framing: Framing::All("message"),
            stream: vec![
                json!({"id": "w1", "model_id": "ibm/granite-x", "choices": [{"index": 0, "finish_reason": null, "delta": {"role": "assistant", "content": "Hel"}}]}),
                json!({"id": "w1", "model_id": "ibm/granite-x", "choices": [{"index": 0, "finish_reason": "stop", "delta": {"content": "lo"}}],
                    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}),
            ],
            done: false,
            who: ("ibm.watsonx.ai", Api::WatsonxChat, Operation::Chat),
            names: (Some("ibm/granite-x"), Some("ibm/granite-x"), Some("w1")),
            tokens: (Some(7), Some(2), None, None),
            reasons: &["stop"],
            said: &[("text", "Hello")],
            tools: Vec::new(),
            failure: (
                404,
                json!({"errors": [{"code": "model_not_supported", "message": "no"}], "trace": "t", "status_code": 404}),
                "model_not_supported",
            ),
        },
        Row {
            host: "us-south.ml.cloud.ibm.com",
            target: "/ml/v1/text/generation?version=2024-10-08",
            streaming: Some("/ml/v1/text/generation_stream?version=2024-10-08"),
            request: json!({"model_id": "ibm/granite-x", "input": "hi", "project_id": "p", "parameters": {"max_new_tokens": 5}}),
            plain: json!({"model_id": "ibm/granite-x", "results": [{"generated_text": "Hello", "generated_token_count": 2, "input_token_count": 4, "stop_reason": "max_tokens"}]}),
            framing: Framing::All("message"),
            stream: vec![
                json!({"model_id": "ibm/granite-x", "results": [{"generated_text": "Hel", "generated_token_count": 1, "input_token_count": 4, "stop_reason": "not_finished"}]}),
                json!({"model_id": "ibm/granite-x", "results": [{"generated_text": "lo", "generated_token_count": 2, "input_token_count": 0, "stop_reason": "max_tokens"}]}),
            ],
            done: false,
            who: ("ibm.watsonx.ai", Api::WatsonxGeneration, Operation::TextCompletion),
            names: (Some("ibm/granite-x"), Some("ibm/granite-x"), None),
            tokens: (Some(4), Some(2), None, None),
            reasons: &["max_tokens"],
            said: &[("text", "Hello")],
            tools: Vec::new(),
            failure: (
                401,
                json!({"errors": [{"code": "authentication_token_expired", "message": "no"}]}),
                "authentication_token_expired",
            ),
        },
        Row {
            host: "x.us-east-1.aws.endpoints.huggingface.cloud",
            target: "/",
            streaming: Some("/generate_stream"),
            request: json!({"inputs": "hi", "parameters": {"max_new_tokens": 5, "details": true}}),
            plain: json!([{"generated_text": "Hello", "details": {"finish_reason": "eos_token", "generated_tokens": 2, "prefill": [{"id": 1}, {"id": 2}, {"id": 3}]}}]),
            framing: Framing::Events,
            stream: vec![
                json!({"index": 1, "token": {"id": 1, "text": "Hel", "special": false}, "generated_text": null, "details": null}),
                json!({"index": 2, "token": {"id": 2, "text": "lo", "special": false}, "generated_text": null, "details": null}),
                json!({"index": 3, "token": {"id": 3, "text": "</s>", "special": true}, "generated_text": "Hello",
                    "details": {"finish_reason": "eos_token", "generated_tokens": 2, "input_length": 3}}),
            ],
            done: false,
            who: ("huggingface", Api::TgiGenerate, Operation::TextCompletion),
            names: (None, None, None),
            tokens: (Some(3), Some(2), None, None),
            reasons: &["eos_token"],
            said: &[("text", "Hello")],
            tools: Vec::new(),
            failure: (422, json!({"error": "Input validation error", "error_type": "validation"}), "validation"),
        },
        Row {
            host: "localhost:8080",
            target: "/completion",
            streaming: None,
            request: json!({"prompt": "hi", "n_predict": 5, "stream": false}),
            plain: json!({"content": "Hello", "stop": true, "model": "m.gguf", "stop_type": "limit", "tokens_predicted": 2, "tokens_evaluated": 9,
                "tokens_cached": 11, "timings": {"prompt_n": 4, "cache_n": 5, "predicted_n": 2}}),
            framing: Framing::Events,
            stream: vec![
                json!({"content": "Hel", "stop": false}),
                json!({"content": "lo", "stop": false}),
                json!({"content": "", "stop": true, "model": "m.gguf", "stop_type": "limit", "tokens_predicted": 2, "tokens_evaluated": 9,
                    "timings": {"prompt_n": 4, "cache_n": 5, "predicted_n": 2}}),
            ],
            done: false,
            who: ("llama_cpp", Api::LlamaCppCompletion, Operation::TextCompletion),
            names: (None, Some("m.gguf"), None),
            tokens: (Some(9), Some(2), Some(5), None),
            reasons: &["limit"],
            said: &[("text", "Hello")],
            tools: Vec::new(),
            failure: (
                503,
                json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
                "unavailable_error",
            ),
        },
        Row {
            host: "localhost:1234",
            target: "/api/v1/chat",
            streaming: None,
            request: json!({"model": "qwen-x", "input": "hi", "system_prompt": "s", "stream": false,
                "integrations": [{"type": "ephemeral_mcp", "server_label": "docs"}]}),
            plain: json!({"model_instance_id": "qwen-x", "response_id": "resp_1", "output": [{"type": "reasoning", "content": "hm"},
                {"type": "tool_call", "tool": "search", "arguments": {"q": "x"}, "output": "[]", "provider_info": {"type": "ephemeral_mcp"}},
                {"type": "message", "content": "Hello"}],
                "stats": {"input_tokens": 30, "total_output_tokens": 8, "reasoning_output_tokens": 3}}),
            framing: Framing::Named,
            stream: vec![
                json!({"type": "chat.start", "model_instance_id": "qwen-x"}),
                json!({"type": "reasoning.delta", "content": "hm"}),
                json!({"type": "message.delta", "content": "Hello"}),
                json!({"type": "chat.end", "result": {"model_instance_id": "qwen-x", "response_id": "resp_1", "output": [{"type": "reasoning", "content": "hm"},
                    {"type": "tool_call", "tool": "search", "arguments": {"q": "x"}, "output": "[]"}, {"type": "message", "content": "Hello"}],
                    "stats": {"input_tokens": 30, "total_output_tokens": 8, "reasoning_output_tokens": 3}}}),
            ],
            done: false,
            who: ("lm_studio", Api::LmStudioChat, Operation::Chat),
            names: (Some("qwen-x"), Some("qwen-x"), Some("resp_1")),
            tokens: (Some(30), Some(8), None, Some(3)),
            reasons: &["stop"],
            said: &[
                ("reasoning", "hm"),
                ("server_tool_call", "search"),
                ("server_tool_call_response", ""),
                ("text", "Hello"),
            ],
            tools: Vec::new(),
            failure: (
                400,
                json!({"error": {"type": "invalid_request", "message": "no", "code": "model_not_found"}}),
                "model_not_found",
            ),
        },
        Row {
            host: "api.cloudflare.com",
            target: "/client/v4/accounts/0a/ai/run/@cf/meta/llama-x",
            streaming: None,
            request: json!({"messages": user(), "stream": false, "max_tokens": 9}),
            plain: json!({"result": {"response": "Hello", "tool_calls": [{"name": "f", "arguments": {"a": 1}}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}, "success": true, "errors": [], "messages": []}),
            framing: Framing::Events,
            stream: vec![
                json!({"response": "Hel", "p": "abc"}),
                json!({"response": "lo", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]}),
                json!({"response": "", "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}),
            ],
            done: true,
            who: ("cloudflare", Api::CloudflareRun, Operation::Chat),
            names: (Some("@cf/meta/llama-x"), None, None),
            tokens: (Some(5), Some(2), None, None),
            reasons: &["tool_calls"],
            said: &[("text", "Hello"), ("tool_call", "f")],
            tools: vec![tool_of(None, "f", "{\"a\":1}")],
            failure: (
                401,
                json!({"success": false, "errors": [{"code": 10000, "message": "Authentication error"}], "result": null}),
                "401",
            ),
        },
        Row {
            host: "acct.snowflakecomputing.com",
            target: "/api/v2/cortex/inference:complete",
            streaming: None,
            request: json!({"model": "claude-x", "messages": user(), "stream": true}),
            plain: json!({"id": "s1", "model": "claude-x", "choices": [{"message": {"content": "Hello", "content_list": [{"type": "text", "text": "Hello"},
                {"type": "tool_use", "tool_use": {"tool_use_id": "t1", "name": "f", "input": {"a": 1}}}]}}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}),
            framing: Framing::Events,
            stream: vec![
                json!({"id": "s1", "model": "claude-x", "choices": [{"delta": {"type": "text", "content": "Hel", "content_list": [{"type": "text", "text": "Hel"}]}}], "usage": {}}),
                json!({"id": "s1", "model": "claude-x", "choices": [{"delta": {"type": "text", "content": "lo", "content_list": [{"type": "text", "text": "lo"}]}}], "usage": {}}),
                json!({"id": "s1", "model": "claude-x", "choices": [{"delta": {"type": "tool_use", "tool_use_id": "t1", "name": "f"}}], "usage": {}}),
                json!({"id": "s1", "model": "claude-x", "choices": [{"delta": {"type": "tool_use", "input": "{\"a\":1}"}}], "usage": {}}),
                json!({"id": "s1", "model": "claude-x", "choices": [{"delta": {}}], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}),
            ],
            done: false,
            who: ("snowflake", Api::CortexComplete, Operation::Chat),
            names: (Some("claude-x"), Some("claude-x"), Some("s1")),
            tokens: (Some(5), Some(2), None, None),
            reasons: &["tool_calls"],
            said: &[("text", "Hello"), ("tool_call", "f")],
            tools: vec![tool_of(Some("t1"), "f", "{\"a\":1}")],
            failure: (400, json!({"message": "unknown model", "error_code": "399505"}), "399505"),
        },
        Row {
            host: "api.replicate.com",
            target: "/v1/models/meta/llama-x/predictions",
            streaming: None,
            request: json!({"input": {"prompt": "hi", "system_prompt": "s", "max_tokens": 9}}),
            plain: json!({"id": "p1", "model": "meta/llama-x", "status": "succeeded", "output": ["Hel", "lo"],
                "metrics": {"input_token_count": 5, "output_token_count": 2}}),
            framing: Framing::Events,
            stream: Vec::new(),
            done: false,
            who: ("replicate", Api::ReplicatePredictions, Operation::GenerateContent),
            names: (Some("meta/llama-x"), Some("meta/llama-x"), Some("p1")),
            tokens: (Some(5), Some(2), None, None),
            reasons: &["stop"],
            said: &[("text", "Hello")],
            tools: Vec::new(),
            failure: (401, json!({"title": "Unauthenticated", "detail": "no token", "status": 401}), "401"),
        },
    ]
}

#[test]
fn plain_answers_are_read() {
    for row in rows() {
        check(&row, &captured(&answered(ask(&row, false), 200, &row.plain)));
    }
}

#[test]
fn streams_give_the_same() {
    for row in rows().iter().filter(|row| !row.stream.is_empty()) {
        let call = captured(&answer_in_pieces(row, row.stream.len()));
        assert!(call.parameters.stream && call.reply.chunks > Some(0) && call.reply.time_to_first_chunk.is_some());
        // A stream of Mistral's conversations tells no arguments of tools that it ran.
        check(row, &call);
    }
}

#[test]
fn cut_streams_fail() {
    for row in rows().iter().filter(|row| !row.stream.is_empty()) {
        for count in 1..row.stream.len() {
            let call = captured(&answer_in_pieces(row, count));
            let place = format!("{:?} {count}", call.api);
            assert_eq!(call.error.as_ref().map(|error| error.kind.as_str()), Some("stream_interrupted"), "{place}");
            assert!(call.reply.finish_reasons.iter().all(|reason| reason == "error"), "{place}");
            let output = &call.content.as_ref().unwrap().output;
            assert!(output.iter().all(|message| message.finish_reason.as_deref() == Some("error")), "{place}");
        }
    }
}

#[test]
fn failures_are_named() {
    for row in rows() {
        let (status, body, kind) = &row.failure;
        let call = captured(&answered(ask(&row, false), *status, body));
        let error = call.error.expect("an error");
        assert_eq!((error.kind.as_str(), call.reply.status), (*kind, Some(*status)), "{:?}", call.api);
        assert!(error.message.is_some(), "{:?}", call.api);
        assert!(call.content.is_some_and(|content| content.output.is_empty()));
    }
}

#[test]
fn without_capture_nothing_is_kept() {
    for row in rows() {
        let call = call(&answered(ask(&row, false), 200, &row.plain));
        assert!(call.content.is_none());
        assert!(call.thread.tool_results.iter().all(|result| result.response.is_none()));
        assert_eq!(call.tool_calls, row.tools);
    }
}

#[test]
fn what_was_asked_is_told() {
    let rows = rows();
    let of = |api: Api, target: &str| {
        let row = rows.iter().find(|row| row.who.1 == api && row.target.contains(target)).unwrap();
        captured(&answered(ask(row, false), 200, &row.plain))
    };
    let older = of(Api::CohereChat, "v1");
    let content = older.content.unwrap();
    assert_eq!(content.system_instructions, [MessagePart::text("be brief")]);
    assert_eq!(
        content.input.iter().map(|message| message.role.as_str()).collect::<Vec<_>>(),
        ["user", "assistant", "user"]
    );
    let ollama = of(Api::OllamaChat, "chat");
    let content = ollama.content.unwrap();
    assert_eq!(content.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["f"]);
    assert_eq!(shown(&content.input[1]), [("text", "hi".to_owned()), ("blob", "image".to_owned())]);
    let vision = of(Api::DashscopeGeneration, "multimodal");
    assert_eq!(vision.usage.modalities.image_input, Some(9));
    assert_eq!(
        shown(&vision.content.unwrap().input[0]),
        [("uri", "https://x.example/a.png".to_owned()), ("text", "hi".to_owned())]
    );
    let conversation = of(Api::MistralConversations, "");
    assert_eq!(conversation.conversation_id.as_deref(), Some("conv_1"));
    assert_eq!(conversation.content.unwrap().system_instructions, [MessagePart::text("s")]);
    let fim = of(Api::MistralFim, "");
    assert_eq!((fim.parameters.seed, fim.content.unwrap().input[0].parts.len()), (Some(5), 2));
    let lm = of(Api::LmStudioChat, "");
    assert_eq!(lm.content.unwrap().tools[0].name, "docs");
}

#[test]
fn results_of_tools_are_told() {
    let given = |host: &str, target: &str, body: Value| {
        let call = captured(&exchange(host, target, &body));
        assert!(!call.thread.from_user, "{target}");
        let result = call.thread.tool_results.first().expect("a result").clone();
        let kind = shown(call.content.unwrap().input.last().unwrap())[0].0.to_owned();
        (result.id, result.response.unwrap_or_default(), kind)
    };
    let asked = json!({"role": "assistant", "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let (id, response, _) = given(
        "api.cohere.com",
        "/v2/chat",
        json!({"model": "m", "messages": [{"role": "user", "content": "hi"}, asked,
        {"role": "tool", "tool_call_id": "t1", "content": [{"type": "document", "document": {"data": "{\"n\":1}"}}]}]}),
    );
    assert_eq!((id.as_str(), response), ("t1", json!([{"n": 1}])));
    let (id, response, kind) = given(
        "localhost:11434",
        "/api/chat",
        json!({"model": "m", "messages": [{"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}, {"role": "tool", "tool_name": "f", "content": "22"}]}),
    );
    assert_eq!((id.as_str(), response, kind.as_str()), ("f", json!("22"), "other"));
    let (id, response, _) = given(
        "dashscope.aliyuncs.com",
        "/api/v1/services/aigc/text-generation/generation",
        json!({"model": "m", "input": {"messages": [{"role": "user", "content": "hi"}, asked, {"role": "tool", "tool_call_id": "t1", "content": "ok"}]}}),
    );
    assert_eq!((id.as_str(), response), ("t1", json!("ok")));
    let (id, response, _) = given(
        "api.mistral.ai",
        "/v1/conversations/conv_1",
        json!({"inputs": [{"type": "function.result", "tool_call_id": "t1", "result": "{\"n\":1}"}], "stream": false, "agent_id": "a"}),
    );
    assert_eq!((id.as_str(), response), ("t1", json!({"n": 1})));
}

#[test]
fn embeddings_of_others_are_read() {
    for (host, target, request, answer, who, tokens) in [
        (
            "api.cohere.com",
            "/v2/embed",
            json!({"model": "embed-x", "texts": ["a"], "embedding_types": ["float", "int8"], "output_dimension": 256}),
            json!({"id": "e1", "embeddings": {"float": [[0.1]]}, "meta": {"billed_units": {"input_tokens": 3}}}),
            ("cohere", "embed-x"),
            Some(3),
        ),
        (
            "dashscope.aliyuncs.com",
            "/api/v1/services/embeddings/text-embedding/text-embedding",
            json!({"model": "text-embedding-x", "input": {"texts": ["a"]}, "parameters": {"dimension": 256}}),
            json!({"request_id": "e1", "output": {"embeddings": []}, "usage": {"total_tokens": 3}}),
            ("dashscope", "text-embedding-x"),
            Some(3),
        ),
        (
            "eu-de.ml.cloud.ibm.com",
            "/ml/v1/text/embeddings?version=2024-05-31",
            json!({"model_id": "ibm/slate-x", "inputs": ["a"], "project_id": "p"}),
            json!({"model_id": "ibm/slate-x", "results": [{"embedding": [0.1]}], "input_token_count": 3}),
            ("ibm.watsonx.ai", "ibm/slate-x"),
            Some(3),
        ),
        (
            "localhost:11434",
            "/api/embed",
            json!({"model": "nomic-x", "input": ["a"], "dimensions": 256}),
            json!({"model": "nomic-x", "embeddings": [[0.1]], "prompt_eval_count": 3}),
            ("ollama", "nomic-x"),
            Some(3),
        ),
        (
            "api.cloudflare.com",
            "/client/v4/accounts/0a/ai/run/@cf/baai/bge-x",
            json!({"text": ["a"]}),
            json!({"result": {"shape": [1, 1], "data": [[0.1]]}, "success": true}),
            ("cloudflare", "@cf/baai/bge-x"),
            None,
        ),
        (
            "dbc-1.cloud.databricks.com",
            "/serving-endpoints/bge-x/invocations",
            json!({"input": ["a"]}),
            json!({"object": "list", "model": "bge-x", "data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}}),
            ("databricks", "bge-x"),
            Some(3),
        ),
    ] {
        let call = captured(&answered(exchange(host, target, &request), 200, &answer));
        assert_eq!(call.operation, Operation::Embeddings, "{target}");
        assert_eq!((call.provider.as_str(), call.parameters.model.as_deref()), (who.0, Some(who.1)), "{target}");
        assert_eq!((call.usage.input, call.usage.output, call.error), (tokens, None, None), "{target}");
        assert!(call.reply.finish_reasons.is_empty(), "{target}");
    }
}

#[test]
fn loading_a_model_is_no_call() {
    for (target, body) in [
        ("/api/chat", json!({"model": "m", "messages": [], "keep_alive": 0})),
        ("/api/generate", json!({"model": "m", "prompt": "", "keep_alive": "5m"})),
        ("/api/tags", json!({})),
        ("/api/show", json!({"model": "m"})),
        ("/api/pull", json!({"model": "m"})),
    ] {
        assert!(understand(&exchange("localhost:11434", target, &body)).is_none(), "{target}");
    }
}

#[test]
fn servers_behind_any_host_are_named_by_their_marks() {
    let with = |name: &str, value: &str| {
        let mut asked =
            answered(exchange("10.0.0.7:8000", "/v1/chat/completions", &chat_request()), 200, &json!({"choices": []}));
        asked.response.as_mut().unwrap().headers.0.push((name.into(), value.into()));
        call(&asked).provider
    };
    assert_eq!(with("server", "llama.cpp"), "llama_cpp");
    assert_eq!(with("x-litellm-call-id", "1"), "litellm_proxy");
    assert_eq!(with("server", "uvicorn"), "openai");
    let marked = json!({"id": "chatcmpl-1", "system_fingerprint": "fp_ollama", "choices": []});
    let ollama = answered(exchange("10.0.0.7:11434", "/v1/chat/completions", &chat_request()), 200, &marked);
    assert_eq!(call(&ollama).provider, "ollama");
    let studio =
        answered(exchange("localhost:1234", "/api/v0/chat/completions", &chat_request()), 200, &json!({"choices": []}));
    assert_eq!(call(&studio).provider, "lm_studio");
    let real = answered(exchange("api.openai.com", "/v1/chat/completions", &chat_request()), 200, &marked);
    assert_eq!(call(&real).provider, "openai");
}

#[test]
fn counts_in_header_fields_are_read() {
    let mut asked = answered(
        exchange("localhost:3000", "/generate", &json!({"inputs": "hi"})),
        200,
        &json!({"generated_text": "Hello"}),
    );
    let headers = &mut asked.response.as_mut().unwrap().headers.0;
    headers.push(("x-prompt-tokens".into(), "4".into()));
    headers.push(("x-generated-tokens".into(), "2".into()));
    let read = call(&asked);
    assert_eq!((read.usage.input, read.usage.output), (Some(4), Some(2)));
    assert!(understand(&exchange("localhost:3000", "/generate", &json!({"report": 1}))).is_none());
}

#[test]
fn long_streams_are_read_in_linear_time() {
    let mut framings = Vec::new();
    for row in rows().iter().filter(|row| row.stream.len() > 2) {
        // The longest once for each way to stream.
        let framing = std::mem::discriminant(&row.framing);
        let events = if framings.contains(&framing) { 5_000 } else { 100_000 };
        framings.push(framing);
        let at = row.stream.len() / 2;
        let mut got = answer_in_pieces(row, at);
        let whole = answer_in_pieces(row, row.stream.len()).response.unwrap().body.bytes;
        let head = got.response.as_ref().unwrap().body.bytes.clone();
        let next = answer_in_pieces(row, at + 1).response.unwrap().body.bytes;
        let filler = next.slice(head.len()..);
        let mut bytes = head.to_vec();
        for _ in 0..events {
            bytes.extend_from_slice(&filler);
        }
        bytes.extend_from_slice(&whole[head.len()..]);
        got.response.as_mut().unwrap().body.bytes = bytes.into();
        let call = captured(&got);
        assert!(call.reply.chunks > Some(0) && call.error.is_none(), "{:?}", call.api);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut anywhere, in the request or the answer, or with a byte changed: a call or none, never a panic, and whatever is told
    /// fits the schemas.
    #[test]
    fn any_damage_is_survived(
        at in 0..16usize,
        stream in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        asked in any::<bool>(),
        byte in any::<u8>(),
        change in any::<bool>(),
    ) {
        let rows = rows();
        let row = &rows[at % rows.len()];
        let mut got = if stream && !row.stream.is_empty() {
            answer_in_pieces(row, row.stream.len())
        } else {
            answered(ask(row, false), 200, &row.plain)
        };
        let body = if asked { &mut got.request.body.bytes } else { &mut got.response.as_mut().expect("a response").body.bytes };
        let mut bytes = body.to_vec();
        let place = cut.index(bytes.len());
        if change { bytes[place] = byte } else { bytes.truncate(place) }
        *body = bytes.into();
        let config = Config { capture_content: Some(ContentMode::SpanOnly), ..Config::default() };
        if let Some(call) = Provider::new(&config).understand(&got) {
            assert_content_valid(&call);
        }
    }
}
