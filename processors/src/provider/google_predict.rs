//! Google's embeddings (`…:embedContent`, `:batchEmbedContents`) and what Vertex and Gemini serve by `:predict` and
//! `:predictLongRunning`: embeddings, Imagen's pictures, Veo's films, older text models.
//!
//! Facts from Google's API references, "Text embeddings API", "Multimodal embeddings API", "Generate images", "Generate
//! videos", and the requests of its SDKs. Any model answers at `:predict`: a call to one that was trained elsewhere
//! (`…/endpoints/{id}:predict`) is none of a generative model unless its instances have that shape.

use pipeline::observation::{Api, Message, MessagePart, ModelCall, Operation};

use super::{
    anthropic_complete, failure,
    format::{Format, NoStream},
    gemini,
    google_content::member,
    json::Object,
    media,
};

/// `:embedContent`, `:batchEmbedContents`
pub const EMBEDDINGS: Format = Format {
    api: Api::EmbedContent,
    operation: Operation::Embeddings,
    provider: "gcp.gemini",
    shape: |body| body.has("content") || body.has("requests"),
    request: |body, call| {
        let of = |object: &Object<'_>| {
            let config = member(object, "embedContentConfig", "embed_content_config");
            let dimensions =
                |from: &Object<'_>| from.int("outputDimensionality").or_else(|| from.int("output_dimensionality"));
            dimensions(object).or_else(|| dimensions(&config?))
        };
        call.parameters.dimensions = of(body).or_else(|| of(&body.objects("requests").next()?));
        true
    },
    plain: embedded,
    stream: || Box::new(NoStream),
};

/// `:predict`, `:predictLongRunning`
pub const PREDICT: Format = Format {
    api: Api::Predict,
    operation: Operation::GenerateContent,
    provider: "gcp.vertex_ai",
    // Other servers of models have such paths and instances too.
    shape: |body| {
        let settings = body.object("parameters").unwrap_or_default();
        let made = settings.has("sampleCount") || settings.has("maxOutputTokens") || settings.has("aspectRatio");
        match kind(body) {
            Some(Kind::Prompt) => made,
            Some(Kind::Embeddings) => settings.has("outputDimensionality") || settings.has("autoTruncate"),
            None => false,
        }
    },
    request: predict,
    plain: predicted,
    stream: || Box::new(NoStream),
};

/// What instances are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Embeddings,
    Prompt,
}

/// By the members of the first instance.
fn kind(body: &Object<'_>) -> Option<Kind> {
    let first = body.objects("instances").next()?;
    if first.has("prompt") {
        return Some(Kind::Prompt);
    }
    // Multimodal embeddings take text, image and video.
    let embeds = ["content", "text", "image", "video"].iter().any(|key| first.has(key));
    embeds.then_some(Kind::Embeddings)
}

fn predict(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let (Some(kind), Some(model)) = (kind(body), call.parameters.model.clone()) else { return false };
    let settings = body.object("parameters").unwrap_or_default();
    let asked = &mut call.parameters;
    if kind == Kind::Embeddings {
        call.operation = Operation::Embeddings;
        asked.dimensions = settings.int("outputDimensionality").or_else(|| settings.int("dimension"));
        return true;
    }
    asked.choice_count =
        settings.int("sampleCount").or_else(|| settings.int("candidateCount")).filter(|count| *count != 1);
    asked.seed = settings.int("seed");
    asked.temperature = settings.float("temperature");
    asked.max_tokens = settings.int("maxOutputTokens");
    asked.top_p = settings.float("topP");
    asked.top_k = settings.int("topK");
    if model.contains("imagen") || model.contains("imagegeneration") {
        asked.output_type = Some("image".to_owned());
    } else if asked.max_tokens.is_some() || model.contains("bison") {
        call.operation = Operation::TextCompletion;
    }
    for instance in body.objects("instances") {
        let text = instance.str("prompt").unwrap_or_default();
        anthropic_complete::prompt(&text, call);
        let Some(content) = &mut call.content else { continue };
        let mut parts = vec![MessagePart::text(text)];
        for key in ["image", "video", "lastFrame"] {
            parts.extend(instance.object(key).as_ref().and_then(picture));
        }
        content.input = vec![Message { role: "user".to_owned(), parts, ..Message::default() }];
    }
    true
}

/// A picture or a film: by value or in Google's storage.
fn picture(of: &Object<'_>) -> Option<MessagePart> {
    let mime = of.string("mimeType");
    let modality = media::modality(mime.as_deref().unwrap_or("image"));
    if let Some(data) = of.string("bytesBase64Encoded") {
        return Some(media::blob(mime, modality, data));
    }
    Some(media::uri(mime, modality, of.string("gcsUri")?))
}

fn predicted(body: &Object<'_>, call: &mut ModelCall) {
    if call.operation == Operation::Embeddings {
        return embedded(body, call);
    }
    if body.has("error") {
        call.error = Some(failure::of_event(body));
        return;
    }
    // Of a long running one, the operation's name.
    call.reply.id = body.string("name").map(|name| name.rsplit('/').next().unwrap_or_default().to_owned());
    let counts = body.object("metadata").and_then(|metadata| metadata.object("tokenMetadata"));
    let total = |key| counts.as_ref()?.object(key)?.count("totalTokens");
    (call.usage.input, call.usage.output) = (total("inputTokenCount"), total("outputTokenCount"));
    let Some(content) = &mut call.content else { return };
    content.output = body
        .objects("predictions")
        .map(|prediction| {
            let text = prediction.string("content").map(MessagePart::text);
            let reason = if prediction.has("raiFilteredReason") { "content_filter" } else { "stop" };
            media::answer(picture(&prediction).or(text).into_iter().collect(), reason.to_owned())
        })
        .collect();
}

fn embedded(body: &Object<'_>, call: &mut ModelCall) {
    if body.has("error") {
        call.error = Some(failure::of_event(body));
        return;
    }
    if let Some(usage) = body.object("usageMetadata") {
        call.usage = gemini::usage(&usage);
    }
    if call.usage.input.is_none() {
        // Vertex tells it of each instance.
        let counts = body
            .objects("predictions")
            .filter_map(|prediction| prediction.object("embeddings")?.object("statistics")?.count("token_count"));
        call.usage.input = counts.fold(None, |sum, count| Some(count.saturating_add(sum.unwrap_or(0))));
    }
}
