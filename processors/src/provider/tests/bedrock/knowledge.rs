//! Bedrock's knowledge bases.

use super::*;

const AGENTS: &str = "bedrock-agent-runtime.us-east-1.amazonaws.com";

#[test]
fn a_retrieval_is_told() {
    let body = json!({"retrievalQuery": {"text": "why"}, "guardrailConfiguration": {"guardrailId": "gr-1", "guardrailVersion": "1"},
        "retrievalConfiguration": {"vectorSearchConfiguration": {"numberOfResults": 3}}});
    let answer = json!({"retrievalResults": [
        {"content": {"text": "secret"}, "location": {"type": "S3", "s3Location": {"uri": "s3://b/a.txt"}}, "score": 0.75},
        {"content": {"text": "b"}, "documentId": "doc-2", "location": {"type": "WEB", "webLocation": {"url": "https://x.example"}}},
        {"content": {"text": "c"}, "metadata": {"x-amz-bedrock-kb-chunk-id": "chunk-3"}, "score": 0.5}]});
    let call = captured(&answered(exchange(AGENTS, "/knowledgebases/KB12/retrieve", &body), 200, &answer));
    assert_content_valid(&call);
    assert_eq!((call.operation, call.provider.as_str()), (Operation::Retrieval, "aws.bedrock"));
    let asked = &call.parameters;
    assert_eq!((asked.knowledge_base_id.as_deref(), asked.data_source_id.as_deref()), (Some("KB12"), Some("KB12")));
    assert_eq!((asked.retrieval_top_k, asked.guardrail_id.as_deref(), &asked.model), (Some(3), Some("gr-1"), &None));
    let content = call.content.as_deref().unwrap();
    assert_eq!(content.query.as_deref(), Some("why"));
    assert_eq!(
        said(&content.documents),
        json!([{"id": "s3://b/a.txt", "score": 0.75}, {"id": "doc-2"}, {"id": "chunk-3", "score": 0.5}])
    );
    let failed = answered(exchange(AGENTS, "/knowledgebases/KB12/retrieve", &body), 404, &json!({"message": "none"}));
    let failed = with_field(failed, true, "x-amzn-errortype", "ResourceNotFoundException");
    assert_eq!(captured(&failed).error.unwrap().kind, "ResourceNotFoundException");
}

fn question() -> Value {
    json!({"input": {"text": "why"}, "sessionId": "s-1", "retrieveAndGenerateConfiguration": {"type": "KNOWLEDGE_BASE",
        "knowledgeBaseConfiguration": {"knowledgeBaseId": "KB12", "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-x",
            "generationConfiguration": {"inferenceConfig": {"textInferenceConfig": {"maxTokens": 9, "temperature": 0.5}},
                "guardrailConfiguration": {"guardrailId": "gr-1", "guardrailVersion": "1"}},
            "retrievalConfiguration": {"vectorSearchConfiguration": {"numberOfResults": 3}}}}})
}

#[test]
fn an_answer_from_a_knowledge_base_is_told() {
    let answer =
        json!({"output": {"text": "so"}, "citations": [], "sessionId": "s-1", "guardrailAction": "INTERVENED"});
    let plain = captured(&answered(exchange(AGENTS, "/retrieveAndGenerate", &question()), 200, &answer));
    let pieces = [
        amazon("output", r#"{"text":"s"}"#),
        amazon("output", r#"{"text":"o"}"#),
        amazon("citation", r#"{"citation":{}}"#),
        amazon("guardrail", r#"{"action":"INTERVENED"}"#),
    ];
    let streamed = captured(&events(exchange(AGENTS, "/retrieveAndGenerateStream", &question()), &pieces));
    for call in [&plain, &streamed] {
        assert_content_valid(call);
        assert_eq!((call.operation, &call.error), (Operation::Chat, &None));
        let asked = &call.parameters;
        assert_eq!(asked.model.as_deref(), Some("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-x"));
        assert_eq!((asked.knowledge_base_id.as_deref(), asked.guardrail_id.as_deref()), (Some("KB12"), Some("gr-1")));
        assert_eq!((asked.max_tokens, asked.retrieval_top_k), (Some(9), Some(3)));
        assert_eq!(call.conversation_id.as_deref(), Some("s-1"));
        assert_eq!(parts_of(call, 0), [json!({"type": "text", "content": "so"})]);
        assert_eq!((output(call, "finish_reason"), call.reply.finish_reasons.len()), (json!(["content_filter"]), 1));
    }
    let failed = events(
        exchange(AGENTS, "/retrieveAndGenerateStream", &question()),
        &[amazon("throttlingException", r#"{"message":"slow"}"#)],
    );
    assert_eq!(captured(&failed).error.unwrap().kind, "throttlingException");
}
