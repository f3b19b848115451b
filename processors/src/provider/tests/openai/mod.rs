//! OpenAI's APIs: what golden files (tests/golden) do not show.

use pipeline::observation::{ContentMode, MessagePart};
use proptest::prelude::*;

use super::{schema::assert_content_valid, *};

mod results;

/// With content captured.
fn said(exchange: &Exchange) -> ModelCall {
    let config = Config { capture_content: Some(ContentMode::SpanOnly), ..Config::default() };
    let call = Provider::new(&config).understand(exchange).expect("a call");
    assert_content_valid(&call);
    call
}

fn openai(target: &str, body: &Value) -> Exchange {
    exchange("api.openai.com", target, body)
}

fn events(events: &[Value]) -> Vec<(&'static str, String)> {
    events.iter().map(|event| ("", event.to_string())).collect()
}

#[test]
fn tokens_are_told_by_modality() {
    let usage = json!({"prompt_tokens": 20, "completion_tokens": 30,
        "prompt_tokens_details": {"audio_tokens": 5, "text_tokens": 14, "image_tokens": 1},
        "completion_tokens_details": {"audio_tokens": 24, "text_tokens": 6}});
    let chat = call(&answered(openai("/v1/chat/completions", &chat_request()), 200, &json!({"usage": usage})));
    let expected = Modalities {
        text_input: Some(14),
        image_input: Some(1),
        audio_input: Some(5),
        text_output: Some(6),
        audio_output: Some(24),
        ..Modalities::default()
    };
    assert_eq!(chat.usage.modalities, expected);
    let usage = json!({"input_tokens": 132, "output_tokens": 121,
        "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64,
            "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4}},
        "output_token_details": {"text_tokens": 30, "audio_tokens": 91}});
    let done = json!({"type": "response.done", "response": {"id": "r", "status": "completed", "usage": usage}});
    let mut asked = openai("/v1/realtime?model=m", &json!({"type": "response.create"}));
    asked.protocol = pipeline::observation::Protocol::WebSocket;
    let found = call(&streamed(asked, &events(&[done]))).usage;
    assert_eq!((found.input, found.cache_read, found.modalities.audio_cache_read), (Some(132), Some(64), Some(4)));
    assert_eq!((found.modalities.text_cache_read, found.modalities.audio_output), (Some(60), Some(91)));
    let usage = json!({"input_tokens": 50, "output_tokens": 50, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}});
    let drawn =
        answered(openai("/v1/images/generations", &json!({"prompt": "p"})), 200, &json!({"data": [], "usage": usage}));
    assert_eq!(call(&drawn).usage.modalities.image_input, Some(40));
}

#[test]
fn only_reading_a_response_again_is_a_fetch() {
    let get = |host: &str, target: &str| {
        let mut asked = exchange(host, target, &Value::Null);
        asked.request.method = "GET".into();
        asked.request.body.bytes = Default::default();
        asked
    };
    let fetched = |exchange: &Exchange| understand(exchange).map(|call| call.operation);
    for (host, target, expected) in [
        ("api.openai.com", "/v1/responses/resp_1", Some(Operation::FetchResponse)),
        ("corp.openai.azure.com", "/openai/v1/responses/resp_1?api-version=preview", Some(Operation::FetchResponse)),
        ("gateway.corp.example", "/v1/responses/resp_1", Some(Operation::FetchResponse)),
        ("api.x.ai", "/v1/responses/0c9a", Some(Operation::FetchResponse)),
        ("gateway.corp.example", "/v1/responses/0c9a", None),
        ("api.openai.com", "/v1/responses/resp_1/input_items", None),
        ("api.openai.com", "/v1/responses", None),
        ("api.openai.com", "/v1/chat/completions", None),
        ("api.openai.com", "/v1/models", None),
    ] {
        assert_eq!(fetched(&get(host, target)), expected, "{host}{target}");
    }
    let mut deleted = get("api.openai.com", "/v1/responses/resp_1");
    deleted.request.method = "DELETE".into();
    assert_eq!(fetched(&deleted), None);
    // What a response that ran in the background asks for, the agent learns by fetching it.
    let answer = json!({"id": "resp_1", "status": "completed", "usage": {"input_tokens": 9}, "output": [
        {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": "{}"}]});
    let call = call(&answered(get("api.openai.com", "/v1/responses/resp_1"), 200, &answer));
    assert_eq!((call.tool_calls, call.usage), (vec![tool("c1", "f", "{}")], Usage::default()));
}

#[test]
fn tools_of_the_provider_are_never_the_agents() {
    let items = [
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_call",
        "mcp_list_tools",
        "mcp_approval_request",
        "tool_search_call",
        "reasoning",
        "compaction",
        "something_new_call",
    ];
    let output: Vec<Value> = items.iter().map(|kind| json!({"type": kind, "id": "i", "name": "n"})).collect();
    let answer = json!({"id": "r", "status": "completed", "output": output});
    let call = said(&answered(openai("/v1/responses", &json!({"model": "m", "input": "i"})), 200, &answer));
    assert!(call.tool_calls.is_empty(), "{:?}", call.tool_calls);
    let parts = &call.content.expect("content").output[0].parts;
    assert!(!parts.iter().any(|part| matches!(part, MessagePart::ToolCall { .. })), "{parts:?}");
}

#[test]
fn text_without_places_is_told_once() {
    let parts = |list: &[Value]| {
        let answer = streamed(openai("/v1/responses", &json!({"model": "m", "input": "i"})), &events(list));
        said(&answer).content.expect("content").output.remove(0).parts
    };
    let item = json!({"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "hi"}]});
    let mut list = vec![
        json!({"type": "response.output_item.added", "item": {"type": "message", "id": "msg_1", "content": []}}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "h"}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "i"}),
    ];
    assert_eq!(parts(&list), [MessagePart::text("hi")]);
    list.push(json!({"type": "response.output_item.done", "item": item}));
    assert_eq!(parts(&list), [MessagePart::text("hi")]);
    list.push(json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}}));
    assert_eq!(parts(&list), [MessagePart::text("hi")]);
    list.pop();
    list.push(json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [item]}}));
    assert_eq!(parts(&list), [MessagePart::text("hi")]);
}

#[test]
fn without_capture_there_is_no_content() {
    let call = call(&answered(openai("/v1/chat/completions", &chat_request()), 200, &json!({"choices": []})));
    assert!(call.content.is_none());
}

#[test]
fn long_streams_are_assembled() {
    let asked =
        |target| openai(target, &json!({"model": "m", "messages": [], "input": "i", "prompt": "p", "stream": true}));
    let list = |event: &Value| vec![("", event.to_string()); 100_000];
    let text = |target, event: &Value| {
        let call = said(&streamed(asked(target), &list(event)));
        let content = call.content.expect("content");
        match content.output[0].parts.as_slice() {
            [MessagePart::Text { content } | MessagePart::Reasoning { content }] => content.len(),
            other => panic!("{other:?}"),
        }
    };
    let chat = json!({"choices": [{"index": 0, "delta": {"content": "a"}}]});
    assert_eq!(text("/v1/chat/completions", &chat), 100_000);
    let thought = json!({"choices": [{"index": 0, "delta": {"reasoning": "a"}}]});
    assert_eq!(text("/v1/chat/completions", &thought), 100_000);
    assert_eq!(text("/v1/completions", &json!({"choices": [{"index": 0, "text": "a"}]})), 100_000);
    let delta = json!({"type": "response.output_text.delta", "output_index": 0, "delta": "a"});
    assert_eq!(text("/v1/responses", &delta), 100_000);
    let item = |at: usize| {
        json!({"type": "response.output_item.done", "output_index": at, "item": {"type": "function_call",
        "id": format!("fc{at}"), "call_id": format!("c{at}"), "name": "f", "arguments": "{}"}})
    };
    let items: Vec<(&str, String)> = (0..100_000).map(|at| ("", item(at).to_string())).collect();
    let call = said(&streamed(asked("/v1/responses"), &items));
    assert_eq!((call.tool_calls.len(), call.content.expect("content").output[0].parts.len()), (100_000, 100_000));
    let words = json!({"type": "transcript.text.delta", "delta": "a"});
    assert_eq!(text("/v1/audio/transcriptions", &words), 100_000);
}

/// Targets of every API here.
const TARGETS: &[&str] = &[
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/vector_stores/vs_1/search",
    "/v1/responses/resp_1",
    "/v1/realtime?model=m",
];

/// JSON made of the words that the decoders look for, in places where they may or may not belong.
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
        "error",
        "model",
        "tool_calls",
        "function",
        "custom",
        "arguments",
        "id",
        "item",
        "output",
        "output_index",
        "response",
        "response.completed",
        "response.output_item.done",
        "function_call",
        "function_call_output",
        "call_id",
        "input",
        "status",
        "completed",
        "name",
        "tools",
        "image_url",
        "url",
        "input_audio",
        "data",
        "file",
        "file_id",
        "reasoning",
        "reasoning_details",
        "summary",
        "refusal",
        "annotations",
        "thinking",
        "mcp_call",
        "shell_call",
        "web_search_call",
        "image_generation_call",
        "result",
        "results",
        "compaction",
        "instructions",
        "prompt",
        "query",
        "image",
        "images",
        "b64_json",
        "documents",
        "score",
        "audio",
        "transcript",
        "executed_tools",
        "citations",
        "data:a;base64,QQ==",
        "input_text",
        "output_text",
        "image_edit.completed",
        "transcript.text.done",
        "speech.audio.delta",
        "developer",
        "",
    ];
    json_of(WORDS)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_said_fits_the_schemas(
        target in prop::sample::select(TARGETS),
        mut request in value(),
        // Members that make it likely that a decoder looks further.
        given in prop::collection::vec(value(), 0..4),
        answers in prop::collection::vec(value(), 1..5),
        stream in any::<bool>(),
        websocket in any::<bool>(),
    ) {
        if let Some(body) = request.as_object_mut() {
            body.insert("messages".into(), given.clone().into());
            body.insert("input".into(), given.clone().into());
            body.insert("tools".into(), given.into());
        }
        let mut asked = openai(target, &request);
        if target.ends_with("resp_1") {
            asked.request.method = "GET".into();
        }
        if websocket {
            asked.protocol = pipeline::observation::Protocol::WebSocket;
        }
        let got = if stream {
            streamed(asked, &events(&answers))
        } else {
            answered(asked, 200, &json!({"choices": answers.clone(), "output": answers.clone(), "data": answers, "status": "completed"}))
        };
        let config = Config { capture_content: Some(ContentMode::SpanAndEvent), ..Config::default() };
        if let Some(call) = Provider::new(&config).understand(&got) {
            prop_assert_eq!(super::schema::check(&call), Ok(()));
        }
    }
}
