//! What the tests of Anthropic, Google and Amazon share.

use super::*;

/// The call of an exchange, with its content.
pub fn captured(exchange: &Exchange) -> ModelCall {
    let config = Config { capture_content: Some(ContentMode::SpanOnly), ..Config::default() };
    Provider::new(&config).understand(exchange).expect("a call")
}

/// As it is written.
pub fn said(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("JSON")
}

/// One member of each message of the answer.
pub fn output(call: &ModelCall, member: &str) -> Value {
    let content = call.content.as_deref().expect("content");
    content.output.iter().map(|message| said(message)[member].clone()).collect()
}

/// The parts of one message of the answer.
pub fn parts_of(call: &ModelCall, at: usize) -> Vec<Value> {
    let content = call.content.as_deref().expect("content");
    content.output[at].parts.iter().map(said).collect()
}

mod hostile {
    use base64::Engine as _;
    use proptest::prelude::*;

    use super::{super::schema::check, *};
    use crate::provider::framing::tests::amazon;

    const TARGETS: &[(&str, &str)] = &[
        ("api.anthropic.com", "/v1/messages"),
        ("api.anthropic.com", "/v1/complete"),
        ("generativelanguage.googleapis.com", "/v1beta/models/m:streamGenerateContent"),
        ("generativelanguage.googleapis.com", "/v1beta/models/m:embedContent"),
        ("aiplatform.googleapis.com", "/v1/publishers/google/models/imagen:predict"),
        ("bedrock-runtime.a.amazonaws.com", "/model/m/converse-stream"),
        ("bedrock-runtime.a.amazonaws.com", "/model/m/invoke-with-response-stream"),
        ("bedrock-agent-runtime.a.amazonaws.com", "/knowledgebases/k/retrieve"),
        ("bedrock-agent-runtime.a.amazonaws.com", "/retrieveAndGenerateStream"),
    ];

    /// What the decoders look for, in places where it does not belong.
    fn value() -> impl Strategy<Value = Value> {
        const WORDS: &[&str] = &[
            "type",
            "messages",
            "role",
            "user",
            "assistant",
            "model",
            "content",
            "text",
            "thinking",
            "tool_use",
            "tool_result",
            "server_tool_use",
            "source",
            "base64",
            "data",
            "url",
            "image",
            "document",
            "input",
            "id",
            "name",
            "usage",
            "iterations",
            "compaction",
            "content_block_start",
            "content_block_delta",
            "content_block",
            "delta",
            "index",
            "text_delta",
            "input_json_delta",
            "partial_json",
            "message_start",
            "message",
            "message_delta",
            "stop_reason",
            "completion",
            "contents",
            "parts",
            "functionCall",
            "functionResponse",
            "args",
            "partialArgs",
            "jsonPath",
            "stringValue",
            "willContinue",
            "inlineData",
            "mimeType",
            "candidates",
            "finishReason",
            "groundingMetadata",
            "response",
            "request",
            "instances",
            "prompt",
            "predictions",
            "embeddings",
            "toolUse",
            "toolUseId",
            "toolResult",
            "contentBlockIndex",
            "start",
            "reasoningContent",
            "output",
            "choices",
            "results",
            "outputs",
            "generation",
            "images",
            "anthropic_version",
            "system",
            "tools",
            "toolConfig",
            "retrievalResults",
            "location",
            "score",
            "$.a[0].b",
            "é\"",
            "",
        ];
        json_of(WORDS)
    }

    fn name() -> impl Strategy<Value = &'static str> {
        const NAMES: &[&str] = &[
            "contentBlockStart",
            "contentBlockDelta",
            "messageStop",
            "metadata",
            "chunk",
            "output",
            "guardrail",
            "throttlingException",
            "content_block_start",
            "content_block_delta",
            "message_start",
            "",
        ];
        prop::sample::select(NAMES)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_json_is_survived_and_its_content_is_valid(
            at in 0..TARGETS.len(),
            request in value(),
            events in prop::collection::vec((name(), value()), 0..6),
            framing in 0..4,
            cut in any::<prop::sample::Index>(),
        ) {
            let (host, target) = TARGETS[at];
            let asked = exchange(host, target, &request);
            let mut got = match framing {
                0 => answered(asked, 200, events.first().map_or(&Value::Null, |(_, event)| event)),
                1 => streamed(asked, &events.iter().map(|(name, event)| (*name, event.to_string())).collect::<Vec<_>>()),
                2 => answered(asked, 200, &Value::from(events.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>())),
                _ => {
                    let wrapped = |event: &Value| base64::prelude::BASE64_STANDARD.encode(event.to_string());
                    let bytes: Vec<u8> = events
                        .iter()
                        .flat_map(|(name, event)| match *name {
                            "chunk" => amazon("chunk", &json!({"bytes": wrapped(event)}).to_string()),
                            name => amazon(name, &event.to_string()),
                        })
                        .collect();
                    let mut got = answered(asked, 200, &Value::Null);
                    let answer = got.response.as_mut().expect("a response");
                    answer.headers.0[0].1 = "application/vnd.amazon.eventstream".into();
                    answer.body.bytes = bytes.into();
                    got
                }
            };
            let config = Config { capture_content: Some(ContentMode::SpanOnly), ..Config::default() };
            let provider = Provider::new(&config);
            for _ in 0..2 {
                if let Some(call) = provider.understand(&got) {
                    prop_assert_eq!(check(&call), Ok(()));
                }
                let body = &mut got.response.as_mut().expect("a response").body.bytes;
                *body = body.slice(..cut.index(body.len() + 1));
            }
        }
    }
}
