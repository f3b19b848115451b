//! Gemini and Vertex (`POST …/models/{model}:generateContent`, `:streamGenerateContent`, `:embedContent`).
//!
//! Facts from Google's API reference, "GenerateContentResponse" and "UsageMetadata": each piece of a stream is a whole
//! response with what is new; usage is cumulative; `promptTokenCount` includes cached tokens, `candidatesTokenCount`
//! leaves out thoughts. Streams are events (`alt=sse`) or one JSON array. A stream has no terminal event: its last piece
//! has the finish reason.

use std::collections::BTreeMap;

use pipeline::observation::{Api, Modalities, ModelCall, Operation, RequestedTool, ToolResult, Usage};

use super::{
    failure,
    format::{Format, NoStream, Step, Stream},
    json::Object,
    thread::MessageDigest,
};

/// Content generation.
pub const FORMAT: Format = Format {
    api: Api::GenerateContent,
    operation: Operation::GenerateContent,
    provider: "gcp.gemini",
    shape: |body| body.array("contents").is_some() || body.object("request").is_some(),
    request,
    plain: |body, call| {
        let mut stream = Box::<ContentStream>::default();
        stream.event(None, body, call);
        stream.finish(call);
    },
    stream: || Box::<ContentStream>::default(),
};

/// Embeddings.
pub const EMBEDDINGS: Format = Format {
    api: Api::EmbedContent,
    operation: Operation::Embeddings,
    provider: "gcp.gemini",
    shape: |body| body.has("content") || body.has("requests") || body.has("instances"),
    request: |body, call| {
        call.parameters.dimensions = body.int("outputDimensionality");
        true
    },
    plain: |body, call| {
        if let Some(usage) = body.object("usageMetadata") {
            call.usage.input = usage.count("promptTokenCount");
        }
        if body.has("error") {
            call.error = Some(failure::of_event(body));
        }
    },
    stream: || Box::new(NoStream),
};

fn request(outer: &Object<'_>, call: &mut ModelCall) -> bool {
    // Code Assist wraps it: {"model": …, "project": …, "request": {…, "session_id": …}}.
    let inner = outer.object("request");
    let body = inner.as_ref().unwrap_or(outer);
    let asked = &mut call.parameters;
    asked.model = asked.model.take().or_else(|| outer.string("model"));
    if let Some(config) = body.object("generationConfig").or_else(|| body.object("generation_config")) {
        asked.max_tokens = config.int("maxOutputTokens");
        asked.temperature = config.float("temperature");
        asked.top_p = config.float("topP");
        asked.top_k = config.int("topK");
        asked.frequency_penalty = config.float("frequencyPenalty");
        asked.presence_penalty = config.float("presencePenalty");
        asked.stop_sequences = config.strings("stopSequences");
        asked.seed = config.int("seed");
        asked.choice_count = config.int("candidateCount").filter(|n| *n != 1);
        asked.output_type = match config.str("responseMimeType").as_deref() {
            Some("application/json") => Some("json".into()),
            Some("text/plain") => Some("text".into()),
            _ => None,
        };
        asked.reasoning_level = config
            .object("thinkingConfig")
            .and_then(|thinking| thinking.string("thinkingLevel"))
            .map(|level| level.to_ascii_lowercase());
    }
    if call.conversation_id.is_none() {
        call.conversation_id = body.string("session_id");
    }
    thread(body, call);
    true
}

fn thread(body: &Object<'_>, call: &mut ModelCall) {
    let thread = &mut call.thread;
    thread.has_tools = body.array("tools").is_some_and(|tools| !tools.is_empty());
    if let Some(system) = body.object("systemInstruction").or_else(|| body.object("system_instruction")) {
        let mut digest = MessageDigest::new();
        for part in system.objects("parts") {
            digest.text(&part.str("text").unwrap_or_default());
        }
        thread.system = Some(digest.finish("system"));
    }
    for content in body.objects("contents") {
        let role = content.string("role").unwrap_or_else(|| "user".into());
        let model = role == "model";
        if model {
            thread.tool_results.clear();
        }
        let (mut results, mut digest) = (false, MessageDigest::new());
        for part in content.objects("parts") {
            if let Some(called) = part.object("functionCall") {
                digest.id(called.string("id").or_else(|| called.string("name")).unwrap_or_default());
            } else if let Some(result) = part.object("functionResponse") {
                results = true;
                let id = result.string("id").or_else(|| result.string("name")).unwrap_or_default();
                digest.id(id.as_str());
                let is_error = result.object("response").is_some_and(|response| response.has("error"));
                thread.tool_results.push(ToolResult { id, is_error, response: None });
            } else if part.bool("thought") == Some(true) {
                // Clients leave these out of later requests.
            } else if let Some(text) = part.str("text") {
                digest.text(&text);
            } else {
                digest.part(&part);
            }
        }
        thread.from_user = !model && digest.own && !results;
        thread.messages.push(digest.finish(&role));
    }
}

#[derive(Default)]
struct ContentStream {
    finish: BTreeMap<u64, Option<String>>,
    tools: Vec<RequestedTool>,
}

impl Stream for ContentStream {
    fn event(&mut self, _: Option<&str>, outer: &Object<'_>, call: &mut ModelCall) -> Step {
        let inner = outer.object("response");
        let data = inner.as_ref().unwrap_or(outer);
        if data.has("error") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        call.reply.id = data.string("responseId").or(call.reply.id.take());
        call.reply.model = data.string("modelVersion").or(call.reply.model.take());
        if let Some(usage) = data.object("usageMetadata") {
            call.usage = self::usage(&usage);
        }
        if let Some(blocked) = data.object("promptFeedback").and_then(|feedback| feedback.string("blockReason")) {
            self.finish.insert(0, Some(blocked));
        }
        let mut content = false;
        for (at, candidate) in data.objects("candidates").enumerate() {
            let slot = self.finish.entry(candidate.count("index").unwrap_or(at as u64)).or_default();
            *slot = candidate.string("finishReason").or(slot.take());
            let Some(message) = candidate.object("content") else { continue };
            for part in message.objects("parts") {
                if let Some(called) = part.object("functionCall") {
                    content = true;
                    self.tools.push(RequestedTool {
                        id: called.string("id"),
                        name: called.string("name").unwrap_or_default(),
                        arguments: called.raw("args").unwrap_or_default().to_owned(),
                    });
                } else {
                    content |= part.str("text").is_none_or(|text| !text.is_empty());
                }
            }
        }
        Step::content(content)
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        let whole = !self.finish.is_empty() && self.finish.values().all(Option::is_some);
        call.reply.finish_reasons = self.finish.into_values().flatten().collect();
        call.tool_calls = self.tools;
        whole
    }
}

/// By the convention's counting: output includes thoughts.
fn usage(usage: &Object<'_>) -> Usage {
    let thoughts = usage.count("thoughtsTokenCount");
    let add = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    };
    Usage {
        input: add(usage.count("promptTokenCount"), usage.count("toolUsePromptTokenCount")),
        output: add(usage.count("candidatesTokenCount"), thoughts),
        cache_read: usage.count("cachedContentTokenCount"),
        cache_creation: None,
        reasoning: thoughts,
        modalities: Modalities::default(),
    }
}
