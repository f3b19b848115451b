//! Gemini and Vertex (`POST …/models/{model}:generateContent`, `:streamGenerateContent`), also as Code Assist wraps it
//! (`…/v1internal:generateContent`).
//!
//! Facts from Google's API reference, "GenerateContentResponse" and "UsageMetadata": each piece of a stream is a whole
//! response with what is new; usage is cumulative; `promptTokenCount` includes cached tokens, `candidatesTokenCount`
//! leaves out thoughts. Streams are events (`alt=sse`) or one JSON array. A stream has no terminal event: its last piece
//! has the finish reason.

use std::collections::BTreeMap;

use pipeline::observation::{
    Api, MessagePart, Modalities, ModelCall, Operation, Parameters, RequestedTool, ToolResult, Usage,
};

use super::{
    failure,
    format::{Format, Step, Stream},
    google_arguments::Arguments,
    google_content::{self, member},
    json::Object,
    media,
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

fn request(outer: &Object<'_>, call: &mut ModelCall) -> bool {
    // Code Assist wraps it: {"model": …, "project": …, "request": {…, "session_id": …}}.
    let inner = outer.object("request");
    let body = inner.as_ref().unwrap_or(outer);
    let asked = &mut call.parameters;
    asked.model = asked.model.take().or_else(|| outer.string("model"));
    if let Some(config) = member(body, "generationConfig", "generation_config") {
        configured(&config, asked);
    }
    if call.conversation_id.is_none() {
        call.conversation_id = body.string("session_id");
    }
    thread(body, call);
    if let Some(content) = &mut call.content {
        google_content::request(body, content);
    }
    true
}

/// `generationConfig`: in camel case, or in snake case as protobuf's JSON allows.
fn configured(config: &Object<'_>, asked: &mut Parameters) {
    asked.max_tokens = config.int("maxOutputTokens").or_else(|| config.int("max_output_tokens"));
    asked.temperature = config.float("temperature");
    asked.top_p = config.float("topP").or_else(|| config.float("top_p"));
    asked.top_k = config.int("topK").or_else(|| config.int("top_k"));
    asked.frequency_penalty = config.float("frequencyPenalty").or_else(|| config.float("frequency_penalty"));
    asked.presence_penalty = config.float("presencePenalty").or_else(|| config.float("presence_penalty"));
    let stops = |key| Some(config.strings(key)).filter(|stops| !stops.is_empty());
    asked.stop_sequences = stops("stopSequences").or_else(|| stops("stop_sequences")).unwrap_or_default();
    asked.seed = config.int("seed");
    asked.choice_count =
        config.int("candidateCount").or_else(|| config.int("candidate_count")).filter(|count| *count != 1);
    let modalities = config.strings("responseModalities");
    let wants = |kind: &str| modalities.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind));
    let mime = config.str("responseMimeType").or_else(|| config.str("response_mime_type"));
    asked.output_type = match mime.as_deref() {
        _ if wants("image") => Some("image"),
        _ if wants("audio") => Some("speech"),
        Some("application/json") => Some("json"),
        Some("text/plain") => Some("text"),
        _ if config.has("responseSchema") || config.has("responseJsonSchema") => Some("json"),
        _ => None,
    }
    .map(str::to_owned);
    asked.reasoning_level = member(config, "thinkingConfig", "thinking_config")
        .and_then(|thinking| thinking.string("thinkingLevel").or_else(|| thinking.string("thinking_level")))
        .map(|level| level.to_ascii_lowercase());
}

fn thread(body: &Object<'_>, call: &mut ModelCall) {
    let captured = call.content.is_some();
    let thread = &mut call.thread;
    thread.has_tools = body.array("tools").is_some_and(|tools| !tools.is_empty());
    if let Some(system) = member(body, "systemInstruction", "system_instruction") {
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
            if let Some(called) = member(&part, "functionCall", "function_call") {
                digest.id(called.string("id").or_else(|| called.string("name")).unwrap_or_default());
            } else if let Some(result) = member(&part, "functionResponse", "function_response") {
                results = true;
                let id = result.string("id").or_else(|| result.string("name")).unwrap_or_default();
                digest.id(id.as_str());
                let is_error = result.object("response").is_some_and(|response| response.has("error"));
                let response = captured.then(|| google_content::result(&result));
                thread.tool_results.push(ToolResult { id, is_error, response });
            } else if part.bool("thought") == Some(true) {
                // Clients leave these out of later requests.
            } else if let Some(text) = part.str("text") {
                digest.text(&text);
            } else {
                digest.part(&part);
            }
        }
        thread.from_user = !model && digest.own && !results;
        digest.add_to(thread, &role);
    }
}

/// An answer, of several where more were asked for.
#[derive(Default)]
struct Candidate {
    finish: Option<String>,
    /// What it says, only if content is captured.
    parts: Vec<MessagePart>,
    lookups: Vec<MessagePart>,
    tools: bool,
    /// The call whose arguments go on, among all and among the parts.
    open: Option<(usize, Option<usize>, Arguments)>,
}

#[derive(Default)]
struct ContentStream {
    candidates: BTreeMap<u64, Candidate>,
    blocked: Option<String>,
    tools: Vec<RequestedTool>,
    cut: bool,
}

impl ContentStream {
    /// A call of a function, or what goes on of one.
    fn called(&mut self, index: u64, called: &Object<'_>, captured: bool) {
        let candidate = self.candidates.entry(index).or_default();
        let name = called.string("name");
        let goes_on = called.bool("willContinue") == Some(true);
        if let Some((tool, part, mut arguments)) = candidate.open.take_if(|_| name.is_none()) {
            arguments.add(called);
            if goes_on {
                candidate.open = Some((tool, part, arguments));
            } else {
                settle(&mut self.tools, candidate, tool, part, &arguments);
            }
            return;
        }
        close(&mut self.tools, candidate);
        candidate.tools = true;
        self.tools.push(RequestedTool {
            id: called.string("id"),
            name: name.unwrap_or_default(),
            arguments: called.raw("args").unwrap_or_default().to_owned(),
        });
        if captured {
            candidate.parts.push(MessagePart::ToolCall {
                id: called.string("id"),
                name: called.string("name").unwrap_or_default(),
                arguments: called.raw("args").map(media::value),
            });
        }
        if goes_on || called.has("partialArgs") {
            let mut arguments = Arguments::default();
            arguments.add(called);
            let part = captured.then(|| candidate.parts.len().saturating_sub(1));
            candidate.open = Some((self.tools.len().saturating_sub(1), part, arguments));
            if !goes_on {
                close(&mut self.tools, candidate);
            }
        }
    }
}

/// Ends the call whose arguments went on.
fn close(tools: &mut [RequestedTool], candidate: &mut Candidate) {
    if let Some((tool, part, arguments)) = candidate.open.take() {
        settle(tools, candidate, tool, part, &arguments);
    }
}

fn settle(
    tools: &mut [RequestedTool],
    candidate: &mut Candidate,
    tool: usize,
    part: Option<usize>,
    arguments: &Arguments,
) {
    let text = arguments.text();
    if text.is_empty() {
        return;
    }
    if let Some(MessagePart::ToolCall { arguments, .. }) = part.and_then(|at| candidate.parts.get_mut(at)) {
        *arguments = Some(media::value(&text));
    }
    if let Some(tool) = tools.get_mut(tool) {
        tool.arguments = text;
    }
}

impl Stream for ContentStream {
    fn event(&mut self, _: Option<&str>, outer: &Object<'_>, call: &mut ModelCall) -> Step {
        let inner = outer.object("response");
        let data = inner.as_ref().unwrap_or(outer);
        if data.has("error") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        // Code Assist names its answers so.
        let id = data.string("responseId").or_else(|| outer.string("traceId"));
        call.reply.id = id.or(call.reply.id.take());
        call.reply.model = data.string("modelVersion").or(call.reply.model.take());
        if let Some(usage) = data.object("usageMetadata") {
            call.usage = self::usage(&usage);
        }
        let feedback = data.object("promptFeedback");
        self.blocked = feedback.and_then(|feedback| feedback.string("blockReason")).or(self.blocked.take());
        let captured = call.content.is_some();
        let mut content = false;
        for (at, candidate) in data.objects("candidates").enumerate() {
            let index = candidate.count("index").unwrap_or(at as u64);
            let slot = self.candidates.entry(index).or_default();
            slot.finish = candidate.string("finishReason").or(slot.finish.take());
            if captured {
                let found = google_content::lookups(&candidate);
                if !found.is_empty() {
                    slot.lookups = found;
                }
            }
            let Some(message) = candidate.object("content") else { continue };
            for part in message.objects("parts") {
                if let Some(called) = member(&part, "functionCall", "function_call") {
                    content = true;
                    self.called(index, &called, captured);
                    continue;
                }
                content |= part.str("text").is_none_or(|text| !text.is_empty());
                if captured && let Some(slot) = self.candidates.get_mut(&index) {
                    google_content::add(&mut slot.parts, &part, true);
                }
            }
        }
        Step::content(content)
    }

    fn cut(&mut self) {
        self.cut = true;
    }

    fn finish(mut self: Box<Self>, call: &mut ModelCall) -> bool {
        for candidate in self.candidates.values_mut() {
            close(&mut self.tools, candidate);
        }
        let answered = self.candidates.values().all(|candidate| candidate.finish.is_some());
        let whole = self.blocked.is_some() || (answered && !self.candidates.is_empty());
        if let Some(content) = &mut call.content {
            let unanswered = self.candidates.is_empty();
            let blocked = self.blocked.iter().filter(|_| unanswered);
            let blocked = blocked.map(|reason| (Vec::new(), google_content::finish_reason(reason, false)));
            let candidates = self.candidates.values_mut().map(|candidate| {
                let mut parts = std::mem::take(&mut candidate.lookups);
                parts.append(&mut candidate.parts);
                let reason = candidate.finish.as_deref();
                (parts, reason.map_or(media::CUT, |reason| google_content::finish_reason(reason, candidate.tools)))
            });
            content.output =
                blocked.chain(candidates).map(|(parts, reason)| media::answer(parts, reason.to_owned())).collect();
        }
        let unseen = || self.cut.then(|| media::CUT.to_owned());
        call.reply.finish_reasons = self.blocked.into_iter().collect();
        call.reply
            .finish_reasons
            .extend(self.candidates.into_values().filter_map(|candidate| candidate.finish.or_else(unseen)));
        call.tool_calls = self.tools;
        whole
    }
}

/// By the convention's counting: output includes thoughts.
pub fn usage(usage: &Object<'_>) -> Usage {
    let thoughts = usage.count("thoughtsTokenCount");
    let input = |kind| add(split(usage, "promptTokensDetails", kind), split(usage, "toolUsePromptTokensDetails", kind));
    let output = |kind| split(usage, "candidatesTokensDetails", kind);
    let cached = |kind| split(usage, "cacheTokensDetails", kind);
    Usage {
        input: add(usage.count("promptTokenCount"), usage.count("toolUsePromptTokenCount")),
        output: add(usage.count("candidatesTokenCount"), thoughts),
        cache_read: usage.count("cachedContentTokenCount"),
        cache_creation: None,
        reasoning: thoughts,
        modalities: Modalities {
            text_input: input("TEXT"),
            image_input: input("IMAGE"),
            audio_input: input("AUDIO"),
            text_output: output("TEXT"),
            image_output: output("IMAGE"),
            audio_output: output("AUDIO"),
            text_cache_read: cached("TEXT"),
            image_cache_read: cached("IMAGE"),
            audio_cache_read: cached("AUDIO"),
        },
    }
}

fn add(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    }
}

/// Tokens of one modality.
fn split(usage: &Object<'_>, key: &str, kind: &str) -> Option<u64> {
    usage.objects(key).find(|of| of.str("modality").as_deref() == Some(kind))?.count("tokenCount")
}
