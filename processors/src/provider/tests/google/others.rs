//! Google's hosts and paths; embeddings, pictures and what else is asked for by `:predict`.

use super::*;

const VERTEX: &str = "/v1/projects/p/locations/us-central1/publishers/google/models";

#[test]
fn where_gemini_is_served() {
    let body = rich_request();
    for (host, target, provider, model) in [
        (HOST, "/v1beta/models/gemini-x:generateContent".to_owned(), "gcp.gemini", Some("gemini-x")),
        (HOST, "/v1beta/tunedModels/mine:generateContent".to_owned(), "gcp.gemini", Some("mine")),
        (
            "us-central1-aiplatform.googleapis.com",
            format!("{VERTEX}/gemini-x:generateContent"),
            "gcp.vertex_ai",
            Some("gemini-x"),
        ),
        (
            "aiplatform.googleapis.com",
            format!("{VERTEX}/gemini-x:streamGenerateContent"),
            "gcp.vertex_ai",
            Some("gemini-x"),
        ),
        (
            "aiplatform.us.rep.googleapis.com",
            format!("{VERTEX}/gemini-x:generateContent"),
            "gcp.vertex_ai",
            Some("gemini-x"),
        ),
        (
            "aiplatform.googleapis.com",
            "/v1/projects/p/locations/l/endpoints/7:generateContent".to_owned(),
            "gcp.vertex_ai",
            None,
        ),
    ] {
        let call = call(&exchange(host, &target, &body));
        assert_eq!((call.provider.as_str(), call.parameters.model.as_deref()), (provider, model), "{target}");
    }
    for target in [
        "/v1beta/models/gemini-x:countTokens",
        "/v1beta/models/gemini-x:batchGenerateContent",
        "/v1beta/models",
        "/v1beta/cachedContents",
        "/upload/v1beta/files",
        "/v1internal:countTokens",
        "/v1internal:loadCodeAssist",
    ] {
        assert!(understand(&exchange(HOST, target, &body)).is_none(), "{target}");
        assert!(understand(&exchange("cloudcode-pa.googleapis.com", target, &body)).is_none(), "{target}");
    }
}

#[test]
fn the_openai_compatible_endpoints_are_googles() {
    for (host, target, provider) in [
        (HOST, "/v1beta/openai/chat/completions", "gcp.gemini"),
        ("aiplatform.googleapis.com", "/v1/projects/p/locations/l/endpoints/openapi/chat/completions", "gcp.vertex_ai"),
    ] {
        let call = call(&exchange(host, target, &chat_request()));
        assert_eq!((call.provider.as_str(), call.api), (provider, Api::ChatCompletions));
        assert_eq!(call.parameters.model.as_deref(), Some("gpt-x"));
    }
}

#[test]
fn embeddings_are_read() {
    let content = json!({"parts": [{"text": "a"}]});
    let read = |host: &str, target: &str, body: Value, answer: Value| {
        let call = captured(&answered(exchange(host, target, &body), 200, &answer));
        assert_eq!(call.operation, Operation::Embeddings);
        assert!(call.content.as_ref().is_some_and(|content| content.output.is_empty()));
        (call.parameters.model, call.parameters.dimensions, call.usage.input)
    };
    let model = Some("e".to_owned());
    let one = json!({"content": content, "outputDimensionality": 256});
    assert_eq!(
        read(HOST, "/v1beta/models/e:embedContent", one, json!({"embedding": {"values": [0.5]}})),
        (model.clone(), Some(256), None)
    );
    let batch = json!({"requests": [{"model": "models/e", "content": content, "outputDimensionality": 128}]});
    let answer = json!({"embeddings": [{"values": [0.5]}], "usageMetadata": {"promptTokenCount": 3}});
    assert_eq!(read(HOST, "/v1beta/models/e:batchEmbedContents", batch, answer), (model.clone(), Some(128), Some(3)));
    let vertex = json!({"content": content, "embedContentConfig": {"outputDimensionality": 64}});
    let target = format!("{VERTEX}/e:embedContent");
    assert_eq!(read("aiplatform.googleapis.com", &target, vertex, json!({})), (model.clone(), Some(64), None));
    let predict = json!({"instances": [{"content": "a", "task_type": "X"}, {"content": "b"}], "parameters": {"outputDimensionality": 32}});
    let of = |count| json!({"embeddings": {"statistics": {"token_count": count, "truncated": false}, "values": [0.5]}});
    let answer = json!({"predictions": [of(2.0), of(3.0)]});
    let target = format!("{VERTEX}/e:predict");
    assert_eq!(read("us-central1-aiplatform.googleapis.com", &target, predict, answer), (model, Some(32), Some(5)));
}

#[test]
fn pictures_are_read() {
    let body = json!({"instances": [{"prompt": "a cat"}], "parameters": {"sampleCount": 2, "seed": 5}});
    let answer =
        json!({"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "iVBO"}, {"raiFilteredReason": "no"}]});
    let target = "/v1beta/models/imagen-4:predict";
    let call = captured(&answered(exchange(HOST, target, &body), 200, &answer));
    assert_content_valid(&call);
    assert_eq!((call.operation, call.api), (Operation::GenerateContent, Api::Predict));
    assert_eq!((call.parameters.output_type.as_deref(), call.parameters.choice_count), (Some("image"), Some(2)));
    assert_eq!(
        said(&call.content.unwrap().output),
        json!([{"role": "assistant", "finish_reason": "stop", "parts": [
                {"type": "blob", "mime_type": "image/png", "modality": "image", "content": "iVBO"}]},
            {"role": "assistant", "finish_reason": "content_filter", "parts": []}])
    );
    let body =
        json!({"instances": [{"prompt": "a film", "image": {"bytesBase64Encoded": "iVBO", "mimeType": "image/png"}}]});
    let answer = json!({"name": "models/veo-3/operations/op1"});
    let call = captured(&answered(exchange(HOST, "/v1beta/models/veo-3:predictLongRunning", &body), 200, &answer));
    assert_eq!((call.reply.id.as_deref(), call.parameters.model.as_deref()), (Some("op1"), Some("veo-3")));
    assert_eq!(said(&call.content.unwrap().input)[0]["parts"][1]["type"], "blob");
}

#[test]
fn other_models_predictions_are_no_calls() {
    let host = "us-central1-aiplatform.googleapis.com";
    let body = json!({"instances": [{"feature": 1.5}]});
    assert!(understand(&exchange(host, "/v1/projects/p/locations/l/endpoints/7:predict", &body)).is_none());
    assert!(understand(&exchange(host, &format!("{VERTEX}/tabular:predict"), &body)).is_none());
    assert!(
        understand(&exchange("ml.example", "/v1/models/half_plus_two:predict", &json!({"instances": [1.0]}))).is_none()
    );
}
