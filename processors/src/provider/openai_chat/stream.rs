//! The stream of a chat completion: text and calls of tools come in pieces, by choice.

use std::collections::BTreeMap;

use pipeline::observation::{MessagePart, ModelCall, RequestedTool};

use super::{content, head, named, named_function, usage};
use crate::provider::{
    failure,
    format::{Step, Stream},
    json::{self, Object},
    media,
};

/// What came of a choice so far.
#[derive(Default)]
struct Choice {
    reason: Option<String>,
    role: Option<String>,
    /// Content, while it is captured: thoughts and text in the order in which they came.
    parts: Vec<MessagePart>,
    refusal: String,
    /// Sound in base64, piece by piece; each is padded for itself.
    sound: Vec<String>,
    transcript: String,
    /// Notes on the text, as they came.
    notes: Vec<MessagePart>,
}

impl Choice {
    /// Keeps what a delta says.
    fn keep(&mut self, delta: &Object<'_>) {
        if self.role.is_none() {
            self.role = delta.string("role");
        }
        for key in ["reasoning_content", "reasoning"] {
            if let Some(text) = delta.string(key) {
                media::add_reasoning(&mut self.parts, &text);
                break;
            }
        }
        if !delta.has("reasoning_content") && !delta.has("reasoning") {
            for detail in delta.objects("reasoning_details") {
                let text = detail.string("text").or_else(|| detail.string("summary")).unwrap_or_default();
                media::add_reasoning(&mut self.parts, &text);
            }
        }
        if let Some(raw) = delta.raw("content") {
            self.content(raw);
        }
        self.refusal.push_str(&delta.str("refusal").unwrap_or_default());
        self.notes.extend(delta.objects("images").map(|image| content::part(&image)));
        self.notes.extend(delta.objects("annotations").map(|note| content::part(&note)));
        if let Some(audio) = delta.object("audio") {
            self.sound.extend(audio.string("data"));
            self.transcript.push_str(&audio.str("transcript").unwrap_or_default());
        }
    }

    /// Text, or parts of several kinds (Mistral's).
    fn content(&mut self, raw: &str) {
        if let Some(text) = json::string(raw) {
            return media::add_text(&mut self.parts, &text);
        }
        for piece in json::array(raw).unwrap_or_default().into_iter().filter_map(Object::parse) {
            match piece.str("type").as_deref() {
                Some("text") | None => media::add_text(&mut self.parts, &piece.str("text").unwrap_or_default()),
                Some("thinking") => {
                    media::add_reasoning(&mut self.parts, &content::thought(&piece).unwrap_or_default());
                }
                _ => self.parts.push(content::part(&piece)),
            }
        }
    }

    fn into_parts(self) -> Vec<MessagePart> {
        let mut parts = self.parts;
        if !self.refusal.is_empty() {
            parts.push(content::refusal(self.refusal));
        }
        if !self.transcript.is_empty() {
            parts.push(MessagePart::text(self.transcript));
        }
        if let Some(sound) = content::joined(&self.sound) {
            parts.push(media::blob(None, "audio", sound));
        }
        parts.extend(self.notes);
        parts
    }
}

/// Reads the chunks of a chat completion, or of an older completion.
#[derive(Default)]
pub struct ChatStream {
    choices: BTreeMap<u64, Choice>,
    /// Calls by choice and index.
    tools: BTreeMap<(u64, u64), RequestedTool>,
    /// Pages that the answer rests on; the last list is the whole one.
    sources: Option<MessagePart>,
    cut: bool,
}

impl ChatStream {
    fn delta(&mut self, choice: u64, delta: &Object<'_>) -> bool {
        // `reasoning_content` and `reasoning` are DeepSeek's, vLLM's and OpenRouter's names.
        const TEXTS: &[&str] = &["content", "refusal", "reasoning_content", "reasoning"];
        let mut content = TEXTS.iter().any(|key| delta.raw(key).is_some_and(filled)) || delta.has("audio");
        for (at, tool) in delta.objects("tool_calls").enumerate() {
            content = true;
            let index = tool.count("index").unwrap_or(at as u64);
            add(self.tools.entry((choice, index)).or_default(), named(&tool));
        }
        if let Some(function) = delta.object("function_call") {
            content = true;
            add(self.tools.entry((choice, 0)).or_default(), named_function(None, &function));
        }
        content
    }
}

/// True for a text, or for a list of parts (Mistral's), with something in it.
fn filled(raw: &str) -> bool {
    (raw.starts_with('"') && raw != "\"\"") || (raw.starts_with('[') && raw != "[]")
}

/// Joins a delta to what came before it.
fn add(whole: &mut RequestedTool, delta: RequestedTool) {
    if whole.id.is_none() {
        whole.id = delta.id;
    }
    if whole.name.is_empty() {
        whole.name = delta.name;
    }
    whole.arguments.push_str(&delta.arguments);
}

impl Stream for ChatStream {
    fn event(&mut self, _: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        head(data, call);
        if let Some(found) = usage::find(data) {
            call.usage = found;
        }
        if data.has("error") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        let capture = call.content.is_some();
        let mut content = false;
        for (at, choice) in data.objects("choices").enumerate() {
            let index = choice.count("index").unwrap_or(at as u64);
            let known = self.choices.entry(index).or_default();
            if let Some(said) = choice.string("finish_reason") {
                known.reason = Some(said);
            }
            // Moonshot's.
            if let Some(found) = choice.object("usage") {
                call.usage = usage::read(&found);
            }
            // Perplexity repeats the whole message beside the delta, Together the text.
            let Some(delta) = choice.object("delta") else {
                // The older completions.
                if let Some(text) = choice.str("text").filter(|text| !text.is_empty()) {
                    content = true;
                    if capture {
                        media::add_text(&mut known.parts, &text);
                    }
                }
                continue;
            };
            if capture {
                known.keep(&delta);
            }
            content |= self.delta(index, &delta);
        }
        if capture {
            self.sources = content::sources(data).or(self.sources.take());
        }
        Step::content(content)
    }

    fn cut(&mut self) {
        self.cut = true;
    }

    fn finish(mut self: Box<Self>, call: &mut ModelCall) -> bool {
        // Some servers never send `[DONE]`: whole is what gave a reason for every choice.
        let whole = !self.choices.is_empty() && self.choices.values().all(|choice| choice.reason.is_some());
        let unseen = || self.cut.then(|| media::CUT.to_owned());
        call.reply.finish_reasons =
            self.choices.values().filter_map(|choice| choice.reason.clone().or_else(unseen)).collect();
        if let Some(said) = &mut call.content {
            for (index, mut choice) in std::mem::take(&mut self.choices) {
                let (reason, role) = (choice.reason.take(), choice.role.take());
                let mut parts = choice.into_parts();
                let tools = self.tools.range((index, 0)..=(index, u64::MAX));
                parts.extend(
                    tools.map(|(_, tool)| MessagePart::tool_call(tool.id.clone(), tool.name.as_str(), &tool.arguments)),
                );
                parts.extend(self.sources.take());
                said.output.push(content::choice(role, parts, reason.as_deref()));
            }
        }
        call.tool_calls = self.tools.into_values().collect();
        whole
    }
}
