//! Qwen on DashScope, its native API (`POST /api/v1/services/aigc/text-generation/generation`,
//! `…/multimodal-generation/generation`, `…/embeddings/text-embedding/text-embedding`). Facts from Alibaba Cloud's Model
//! Studio API reference and the SDK's types: the request's fields stand in `input` and `parameters`, the answer's in
//! `output`, which has `choices` (`result_format: message`) or a `text`; the id is `request_id`. A stream (the header
//! `X-DashScope-SSE: enable`) has the whole answer in each event unless `incremental_output` is set; until the end its
//! `finish_reason` is the text `null`; an error is an event of that name.

use std::collections::BTreeMap;

use pipeline::observation::{Api, MessagePart, Modalities, ModelCall, Operation, RequestedTool, ToolResult, Usage};

use super::{
    failure,
    format::{Format, NoStream, Step, Stream},
    json::{self, Object},
    media,
    openai_chat::{self, content as chat},
    said::{self, Said},
    thread::MessageDigest,
};

/// Generation, of text or from several kinds of input.
pub const GENERATION: Format = Format {
    api: Api::DashscopeGeneration,
    operation: Operation::Chat,
    provider: "dashscope",
    shape: |body| body.has("model") && body.object("input").is_some(),
    request,
    plain: |body, call| {
        let mut events = Box::<Events>::default();
        events.event(None, body, call);
        events.finish(call);
    },
    stream: || Box::<Events>::default(),
};

/// Embeddings.
pub const EMBEDDINGS: Format = Format {
    api: Api::DashscopeEmbeddings,
    operation: Operation::Embeddings,
    provider: "dashscope",
    shape: |body| body.has("model") && body.object("input").is_some(),
    request: |body, call| {
        call.parameters.model = body.string("model");
        let parameters = body.object("parameters").unwrap_or_default();
        call.parameters.dimensions = parameters.int("dimension");
        true
    },
    plain: |body, call| {
        call.reply.id = body.string("request_id");
        let usage = body.object("usage").unwrap_or_default();
        call.usage.input = usage.count("input_tokens").or_else(|| usage.count("total_tokens"));
    },
    stream: || Box::new(NoStream),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let parameters = body.object("parameters").unwrap_or_default();
    let input = body.object("input").unwrap_or_default();
    let asked = &mut call.parameters;
    asked.model = body.string("model");
    asked.max_tokens = parameters.int("max_tokens");
    asked.temperature = parameters.float("temperature");
    asked.top_p = parameters.float("top_p");
    asked.top_k = parameters.int("top_k");
    asked.presence_penalty = parameters.float("presence_penalty");
    asked.stop_sequences = parameters.strings("stop");
    asked.seed = parameters.int("seed");
    asked.choice_count = parameters.int("n").filter(|n| *n != 1);
    asked.output_type = parameters.object("response_format").and_then(|format| openai_chat::format_type(&format));
    asked.cumulative = parameters.bool("incremental_output") != Some(true);
    call.thread.has_tools = parameters.array("tools").is_some_and(|tools| !tools.is_empty());
    if let Some(content) = &mut call.content {
        content.tools = chat::tools(&parameters);
    }
    let mut system: Option<MessageDigest> = None;
    for given in input.objects("messages") {
        if let Some(content) = &mut call.content {
            content.input.push(message(&given));
        }
        let role = given.str("role").unwrap_or_default();
        let thread = &mut call.thread;
        if role == "system" && thread.messages.is_empty() {
            system.get_or_insert_with(MessageDigest::new).content(given.raw("content"), |_, _, _| false);
            continue;
        }
        let mut digest = MessageDigest::new();
        match (role.as_ref(), given.string("tool_call_id")) {
            ("tool", Some(id)) => {
                digest.id(id.as_str());
                let response = call.content.is_some().then(|| chat::result(given.raw("content")));
                thread.tool_results.push(ToolResult { id, is_error: false, response });
            }
            (role, _) => {
                digest.content(given.raw("content"), |_, _, _| false);
                if role == "assistant" {
                    thread.tool_results.clear();
                }
            }
        }
        for tool in given.objects("tool_calls") {
            digest.id(tool.str("id").unwrap_or_default());
        }
        thread.from_user = role == "user";
        digest.add_to(thread, &role);
    }
    call.thread.system = system.map(|digest| digest.finish("system"));
    if let Some(text) = input.string("prompt") {
        said::prompt(call, &[text]);
    }
    true
}

/// A message whose parts have no type, but one member each: `text`, `image`, `audio`, `video`.
fn message(given: &Object<'_>) -> pipeline::observation::Message {
    let mut message = chat::message(given);
    if message.role != "tool" && given.array("content").is_some() {
        let kept = message
            .parts
            .drain(..)
            .filter(|part| matches!(part, MessagePart::ToolCall { .. } | MessagePart::Reasoning { .. }));
        let kept: Vec<MessagePart> = kept.collect();
        message.parts = parts(given.raw("content"));
        message.parts.extend(kept);
    }
    message
}

/// Content that is a text or such parts.
fn parts(raw: Option<&str>) -> Vec<MessagePart> {
    let Some(elements) = raw.and_then(json::array) else { return chat::parts(raw) };
    let mut parts = Vec::new();
    for part in elements.into_iter().filter_map(Object::parse) {
        if part.has("type") {
            parts.push(chat::part(&part));
            continue;
        }
        for (kind, raw) in &part.0 {
            match kind.as_ref() {
                "text" => parts.extend(json::string(raw).map(MessagePart::text)),
                "image" | "audio" => parts.extend(json::string(raw).map(|url| chat::address(&url, kind))),
                // One file, or its pictures in order.
                "video" => match json::string(raw) {
                    Some(url) => parts.push(chat::address(&url, "video")),
                    None => {
                        let frames = json::array(raw).unwrap_or_default();
                        parts.extend(
                            frames.into_iter().filter_map(json::string).map(|url| chat::address(&url, "image")),
                        );
                    }
                },
                _ => {}
            }
        }
    }
    parts
}

fn usage(usage: &Object<'_>) -> Usage {
    let input = usage.object("input_tokens_details").or_else(|| usage.object("prompt_tokens_details"));
    let output = usage.object("output_tokens_details").or_else(|| usage.object("completion_tokens_details"));
    let of = |details: &Option<Object<'_>>, key: &str| details.as_ref().and_then(|details| details.count(key));
    let cached = usage.object("prompt_tokens_details");
    Usage {
        input: usage.count("input_tokens"),
        output: usage.count("output_tokens"),
        cache_read: of(&cached, "cached_tokens").or_else(|| of(&input, "cached_tokens")),
        cache_creation: of(&cached, "cache_creation_input_tokens"),
        reasoning: of(&output, "reasoning_tokens"),
        modalities: Modalities {
            text_input: of(&input, "text_tokens"),
            image_input: of(&input, "image_tokens").or_else(|| usage.count("image_tokens")),
            audio_input: of(&input, "audio_tokens").or_else(|| usage.count("audio_tokens")),
            text_output: of(&output, "text_tokens"),
            ..Modalities::default()
        },
    }
}

/// What is known of a choice.
#[derive(Default)]
struct Choice {
    text: String,
    thought: String,
    tools: BTreeMap<u64, RequestedTool>,
    /// Parts that are no text, the last event's.
    media: Vec<MessagePart>,
    reason: Option<String>,
}

/// Takes a piece: what is added, or all so far. True if there is more than before.
fn take(whole: &mut String, piece: &str, cumulative: bool) -> bool {
    if piece.is_empty() {
        return false;
    }
    // Some models repeat nothing although they may.
    if cumulative && piece.len() >= whole.len() && piece.as_bytes().starts_with(whole.as_bytes()) {
        let more = piece.len() > whole.len();
        whole.push_str(piece.get(whole.len()..).unwrap_or_default());
        return more;
    }
    whole.push_str(piece);
    true
}

impl Choice {
    fn take(&mut self, choice: &Object<'_>, call: &ModelCall) -> bool {
        let cumulative = call.parameters.cumulative;
        if let Some(reason) = choice.string("finish_reason").filter(|reason| reason != "null") {
            self.reason = Some(reason);
        }
        let message = choice.object("message");
        let Some(message) = message else {
            return take(&mut self.text, &choice.str("text").unwrap_or_default(), cumulative);
        };
        let mut more = take(&mut self.thought, &message.str("reasoning_content").unwrap_or_default(), cumulative);
        match message.str("content") {
            Some(text) => more |= take(&mut self.text, &text, cumulative),
            None => {
                let (mut text, mut others) = (String::new(), Vec::new());
                for part in parts(message.raw("content")) {
                    match part {
                        MessagePart::Text { content } => text.push_str(&content),
                        other => others.push(other),
                    }
                }
                more |= take(&mut self.text, &text, cumulative) || !others.is_empty();
                if call.content.is_some() && !others.is_empty() {
                    self.media = others;
                }
            }
        }
        for (at, raw) in message.objects("tool_calls").enumerate() {
            let function = raw.object("function").unwrap_or_default();
            let tool = self.tools.entry(raw.count("index").unwrap_or(at as u64)).or_default();
            more = true;
            if let Some(id) = raw.string("id") {
                tool.id = Some(id);
            }
            if let Some(name) = function.string("name") {
                tool.name = name;
            }
            take(&mut tool.arguments, &function.str("arguments").unwrap_or_default(), cumulative);
        }
        more
    }
}

#[derive(Default)]
struct Events {
    choices: BTreeMap<u64, Choice>,
    cut: bool,
}

impl Stream for Events {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if call.reply.id.is_none() {
            call.reply.id = data.string("request_id");
        }
        let output = data.object("output");
        if name == Some("error") || (output.is_none() && data.string("code").is_some()) {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        if let Some(found) = data.object("usage") {
            call.usage = usage(&found);
        }
        let Some(output) = output else { return Step::default() };
        let mut content = false;
        if output.array("choices").is_some() {
            for (at, choice) in output.objects("choices").enumerate() {
                let index = choice.count("index").unwrap_or(at as u64);
                content |= self.choices.entry(index).or_default().take(&choice, call);
            }
        } else {
            content = self.choices.entry(0).or_default().take(&output, call);
        }
        Step::content(content)
    }

    fn cut(&mut self) {
        self.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        let whole = !self.choices.is_empty() && self.choices.values().all(|choice| choice.reason.is_some());
        for choice in self.choices.into_values() {
            let mut said = Said { reason: choice.reason, cut: self.cut, ..Said::default() };
            if call.content.is_some() {
                media::add_reasoning(&mut said.parts, &choice.thought);
                media::add_text(&mut said.parts, &choice.text);
                said.parts.extend(choice.media);
            }
            said.tools = choice.tools.into_values().collect();
            said.finish(call);
        }
        whole
    }
}
