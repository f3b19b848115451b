//! Every family of models that Bedrock invokes.

use base64::Engine as _;

use super::*;

fn target(model: &str, stream: bool) -> String {
    format!("/model/{model}/invoke{}", if stream { "-with-response-stream" } else { "" })
}

fn plain(model: &str, body: &Value, answer: &Value) -> ModelCall {
    let exchange = answered(exchange(HOST, &target(model, false), body), 200, answer);
    let exchange = with_field(exchange, true, "x-amzn-bedrock-input-token-count", "11");
    let call = captured(&with_field(exchange, true, "x-amzn-bedrock-output-token-count", "22"));
    assert_content_valid(&call);
    assert_eq!((call.provider.as_str(), call.api), ("aws.bedrock", Api::BedrockInvoke));
    assert_eq!(call.parameters.model.as_deref(), Some(model));
    call
}

fn chunk(value: &Value) -> Vec<u8> {
    let bytes = base64::prelude::BASE64_STANDARD.encode(value.to_string());
    amazon("chunk", &json!({"bytes": bytes, "p": "abcd"}).to_string())
}

fn streamed(model: &str, body: &Value, values: &[Value]) -> ModelCall {
    let pieces: Vec<Vec<u8>> = values.iter().map(chunk).collect();
    let call = captured(&events(exchange(HOST, &target(model, true), body), &pieces));
    assert_content_valid(&call);
    call
}

fn metrics() -> Value {
    json!({"inputTokenCount": 11, "outputTokenCount": 22, "invocationLatency": 1, "firstByteLatency": 1})
}

/// The input's and the output's only text, the finish reason in the message, tokens.
fn told(call: &ModelCall) -> (String, String, Value, Option<u64>, Option<u64>) {
    let content = call.content.as_deref().unwrap();
    let text = |messages: Value| messages[0]["parts"][0]["content"].as_str().unwrap_or_default().to_owned();
    (
        text(said(&content.input)),
        text(said(&content.output)),
        output(call, "finish_reason")[0].clone(),
        call.usage.input,
        call.usage.output,
    )
}

fn is(text: &str, input: u64, output: u64) -> (String, String, Value, Option<u64>, Option<u64>) {
    ("hi".into(), text.into(), json!("stop"), Some(input), Some(output))
}

#[test]
fn texts_of_each_maker() {
    let text = Operation::TextCompletion;
    let cases = [
        (
            "amazon.titan-text-x",
            json!({"inputText": "hi", "textGenerationConfig": {"maxTokenCount": 9, "topP": 0.5}}),
            json!({"inputTextTokenCount": 1, "results": [{"tokenCount": 2, "outputText": "hey", "completionReason": "FINISH"}]}),
            is("hey", 1, 2),
        ),
        (
            "meta.llama-x",
            json!({"prompt": "hi", "max_gen_len": 9, "top_p": 0.5}),
            json!({"generation": "hey", "prompt_token_count": 1, "generation_token_count": 2, "stop_reason": "stop"}),
            is("hey", 1, 2),
        ),
        (
            "mistral.mistral-x",
            json!({"prompt": "hi", "max_tokens": 9, "top_p": 0.5}),
            json!({"outputs": [{"text": "hey", "stop_reason": "stop"}]}),
            is("hey", 11, 22),
        ),
        (
            "cohere.command-text-x",
            json!({"prompt": "hi", "max_tokens": 9, "p": 0.5}),
            json!({"id": "c", "generations": [{"id": "g", "text": "hey", "finish_reason": "COMPLETE"}]}),
            is("hey", 11, 22),
        ),
        (
            "ai21.j2-x",
            json!({"prompt": "hi", "maxTokens": 9, "topP": 0.5}),
            json!({"id": 7, "completions": [{"data": {"text": "hey"}, "finishReason": {"reason": "endoftext"}}]}),
            is("hey", 11, 22),
        ),
        (
            "deepseek.r1-x",
            json!({"prompt": "hi", "max_tokens": 9, "top_p": 0.5}),
            json!({"choices": [{"text": "hey", "stop_reason": "stop"}]}),
            is("hey", 11, 22),
        ),
        (
            "anthropic.claude-v2",
            json!({"prompt": "hi", "max_tokens_to_sample": 9, "top_p": 0.5}),
            json!({"type": "completion", "completion": "hey", "stop_reason": "stop_sequence"}),
            is("hey", 11, 22),
        ),
    ];
    for (model, body, answer, expected) in cases {
        let call = plain(model, &body, &answer);
        assert_eq!(told(&call), expected, "{model}");
        assert_eq!(
            (call.operation, call.parameters.max_tokens, call.parameters.top_p),
            (text, Some(9), Some(0.5)),
            "{model}"
        );
        assert_eq!(call.reply.finish_reasons.len(), 1, "{model}");
        assert!(call.thread.from_user);
    }
}

#[test]
fn chats_of_each_maker() {
    let message = json!([{"role": "user", "content": [{"text": "hi"}]}]);
    let nova = plain(
        "amazon.nova-x",
        &json!({"schemaVersion": "messages-v1", "messages": message, "inferenceConfig": {"max_new_tokens": 9, "top_k": 3}}),
        &json!({"output": {"message": {"role": "assistant", "content": [{"text": "hey"}]}}, "stopReason": "end_turn",
            "usage": {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokenCount": 3}}),
    );
    assert_eq!((told(&nova), nova.parameters.max_tokens, nova.parameters.top_k), (is("hey", 4, 2), Some(9), Some(3)));
    let claude = plain(
        "anthropic.claude-x",
        &json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}),
        &json!({"id": "m", "type": "message", "model": "claude-x", "content": [{"type": "text", "text": "hey"}],
            "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 2}}),
    );
    assert_eq!((told(&claude), claude.reply.model.as_deref()), (is("hey", 1, 2), Some("claude-x")));
    let openai = plain(
        "openai.gpt-oss-x",
        &json!({"messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 9}),
        &json!({"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hey"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
    );
    assert_eq!((openai.usage.input, openai.usage.output, openai.operation), (Some(1), Some(2), Operation::Chat));
    let mistral = plain(
        "mistral.pixtral-x",
        &json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}),
        &json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hey", "tool_calls": [
            {"id": "t1", "function": {"name": "run", "arguments": "{}"}}]}, "stop_reason": "tool_calls"}]}),
    );
    assert_eq!(mistral.tool_calls, [tool("t1", "run", "{}")]);
    assert_eq!((mistral.reply.finish_reasons[0].as_str(), mistral.usage.output), ("tool_calls", Some(22)));
    assert_eq!(parts_of(&mistral, 0)[1]["type"], "tool_call");
    let cohere = plain(
        "cohere.command-r-x",
        &json!({"message": "hi", "max_tokens": 9}),
        &json!({"response_id": "r", "generation_id": "g", "text": "hey", "finish_reason": "COMPLETE"}),
    );
    assert_eq!(
        (cohere.operation, cohere.reply.finish_reasons.len(), cohere.usage.input),
        (Operation::Chat, 1, Some(11))
    );
}

#[test]
fn embeddings_of_each_maker() {
    for (model, body, answer, tokens, dimensions) in [
        (
            "amazon.titan-embed-text-v2:0",
            json!({"inputText": "hi", "dimensions": 256, "embeddingTypes": ["float"]}),
            json!({"embedding": [0.5], "inputTextTokenCount": 3}),
            3,
            Some(256),
        ),
        (
            "amazon.titan-embed-image-v1",
            json!({"inputText": "hi", "inputImage": "iVBO", "embeddingConfig": {"outputEmbeddingLength": 384}}),
            json!({"embedding": [0.5]}),
            11,
            Some(384),
        ),
        (
            "cohere.embed-v4",
            json!({"texts": ["hi"], "input_type": "search_query", "embedding_types": ["int8"], "output_dimension": 512}),
            json!({"id": "e", "embeddings": {"int8": [[1]]}, "response_type": "embeddings_by_type"}),
            11,
            Some(512),
        ),
    ] {
        let call = plain(model, &body, &answer);
        assert_eq!(
            (call.operation, call.usage.input, call.usage.output),
            (Operation::Embeddings, Some(tokens), None),
            "{model}"
        );
        assert_eq!(call.parameters.dimensions, dimensions);
    }
}

#[test]
fn pictures_are_read() {
    let body = json!({"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "hi"}, "imageGenerationConfig": {"numberOfImages": 2, "seed": 5}});
    let call = plain("amazon.nova-canvas-v1:0", &body, &json!({"images": ["iVBO", "iVBP"]}));
    assert_eq!((call.operation, call.parameters.output_type.as_deref()), (Operation::GenerateContent, Some("image")));
    assert_eq!((call.parameters.choice_count, call.parameters.seed), (Some(2), Some(5)));
    assert_eq!(parts_of(&call, 1), [json!({"type": "blob", "modality": "image", "content": "iVBP"})]);
}

#[test]
fn streams_of_each_maker() {
    let prompt = json!({"prompt": "hi", "max_gen_len": 9, "max_tokens": 9});
    let cases = [
        (
            "amazon.titan-text-x",
            json!({"inputText": "hi"}),
            vec![
                json!({"outputText": "he", "index": 0, "completionReason": null, "inputTextTokenCount": 1, "totalOutputTextTokenCount": null}),
                json!({"outputText": "y", "index": 0, "completionReason": "FINISH", "totalOutputTextTokenCount": 2}),
            ],
            is("hey", 1, 2),
        ),
        (
            "meta.llama-x",
            prompt.clone(),
            vec![
                json!({"generation": "he", "prompt_token_count": 1, "generation_token_count": 1, "stop_reason": null}),
                json!({"generation": "y", "prompt_token_count": null, "generation_token_count": 2, "stop_reason": "stop"}),
            ],
            is("hey", 1, 2),
        ),
        (
            "mistral.mistral-x",
            prompt.clone(),
            vec![
                json!({"outputs": [{"text": "he", "stop_reason": null}]}),
                json!({"outputs": [{"text": "y", "stop_reason": "stop"}]}),
            ],
            is("hey", 11, 22),
        ),
        (
            "mistral.large-x",
            json!({"messages": [{"role": "user", "content": "hi"}]}),
            vec![
                json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "he"}, "stop_reason": null}]}),
                json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "y"}, "stop_reason": "stop"}]}),
            ],
            is("hey", 11, 22),
        ),
        (
            "amazon.nova-x",
            json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}], "inferenceConfig": {}}),
            vec![
                json!({"messageStart": {"role": "assistant"}}),
                json!({"contentBlockDelta": {"delta": {"text": "he"}, "contentBlockIndex": 0}}),
                json!({"contentBlockDelta": {"delta": {"text": "y"}, "contentBlockIndex": 0}}),
                json!({"messageStop": {"stopReason": "end_turn"}}),
                json!({"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2}}}),
            ],
            is("hey", 1, 2),
        ),
        (
            "anthropic.claude-x",
            json!({"anthropic_version": "v", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}),
            vec![
                json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hey"}}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
                json!({"type": "message_stop"}),
            ],
            is("hey", 1, 2),
        ),
        (
            "anthropic.claude-v2",
            json!({"prompt": "hi", "max_tokens_to_sample": 9}),
            vec![
                json!({"type": "completion", "completion": "he", "stop_reason": null}),
                json!({"type": "completion", "completion": "y", "stop_reason": "stop_sequence"}),
            ],
            is("hey", 11, 22),
        ),
        (
            "deepseek.r1-x",
            prompt,
            vec![
                json!({"choices": [{"text": "hey", "stop_reason": null}]}),
                json!({"choices": [{"text": "", "stop_reason": "stop"}]}),
            ],
            is("hey", 11, 22),
        ),
    ];
    for (model, body, mut values, expected) in cases {
        values.last_mut().unwrap()["amazon-bedrock-invocationMetrics"] = metrics();
        let call = streamed(model, &body, &values);
        assert_eq!((told(&call), &call.error), (expected, &None), "{model}");
        assert_eq!(call.reply.finish_reasons.len(), 1, "{model}");
        assert!(call.parameters.stream && call.reply.time_to_first_chunk.is_some());
        for end in 0..values.len() - 1 {
            let cut = streamed(model, &body, &values[..end]);
            let kind = cut.error.as_ref().map(|error| error.kind.as_str());
            // Nova's and Anthropic's end with a stop before the last event.
            let stopped = values[..end].iter().any(|value| value.get("messageStop").is_some());
            assert_eq!(kind, (!stopped).then_some("stream_interrupted"), "{model} {end}");
        }
    }
}

#[test]
fn openais_and_coheres_chats_stream() {
    let body = json!({"messages": [{"role": "user", "content": "hi"}]});
    let piece = |delta: Value, reason: Value| json!({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
    let mut last = piece(json!({}), json!("stop"));
    last["amazon-bedrock-invocationMetrics"] = metrics();
    let call = streamed("openai.gpt-oss-x", &body, &[piece(json!({"content": "hey"}), Value::Null), last]);
    assert_eq!((call.usage.input, call.reply.finish_reasons.len(), call.error), (Some(11), 1, None));
    let mut last = json!({"event_type": "stream-end", "is_finished": true, "finish_reason": "COMPLETE", "response": {"text": "hey", "finish_reason": "COMPLETE"}});
    last["amazon-bedrock-invocationMetrics"] = metrics();
    let pieces = [json!({"event_type": "text-generation", "text": "hey", "is_finished": false}), last];
    let call = streamed("cohere.command-r-x", &json!({"message": "hi"}), &pieces);
    assert_eq!((call.usage.input, call.error), (Some(11), None));
}

#[test]
fn a_guardrail_is_told_by_the_header() {
    let body = json!({"prompt": "hi", "max_gen_len": 9});
    let exchange = with_field(
        exchange(HOST, &target("meta.llama-x", false), &body),
        false,
        "x-amzn-bedrock-guardrailidentifier",
        "gr-1",
    );
    assert_eq!(call(&exchange).parameters.guardrail_id.as_deref(), Some("gr-1"));
}
