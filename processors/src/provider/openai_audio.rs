//! OpenAI audio: speech of text (`POST …/audio/speech`), text of speech (`…/audio/transcriptions` and `…/translations`, which
//! are forms), as Groq, Azure and local servers speak it too. Facts from OpenAI's API reference, "Audio". Answers are sound,
//! JSON, plain text, subtitles, or events; usage counts tokens, or seconds, for which the conventions have no name.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use pipeline::observation::{Api, Message, MessagePart, ModelCall, Operation, Response};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::Object,
    media,
    openai_chat::content::joined,
    openai_form,
    openai_responses::counts,
};

/// Text to sound.
pub const SPEECH: Format = Format {
    api: Api::Speech,
    operation: Operation::GenerateContent,
    provider: "openai",
    shape: |body| body.has("model") && body.has("input"),
    request: speech,
    plain: |body, call| {
        if body.has("error") {
            call.error = Some(failure::of_event(body));
        }
    },
    stream: || Box::<AudioStream>::default(),
};

/// Sound to text.
pub const TRANSCRIPTIONS: Format = Format {
    api: Api::Transcriptions,
    operation: Operation::GenerateContent,
    provider: "openai",
    shape: |body| body.has("model") && (body.has("file") || body.has("url")),
    request: transcription,
    plain: transcribed,
    stream: || Box::<AudioStream>::default(),
};

fn user(parts: Vec<MessagePart>) -> Message {
    Message { role: "user".into(), parts, ..Message::default() }
}

fn speech(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model").or(asked.model.take());
    asked.stream |= body.str("stream_format").as_deref() == Some("sse");
    asked.output_type = Some("speech".into());
    if let Some(content) = &mut call.content {
        content.system_instructions.extend(body.string("instructions").map(MessagePart::text));
        content.input.extend(body.string("input").map(|text| user(vec![MessagePart::text(text)])));
    }
    true
}

fn transcription(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model").or(asked.model.take());
    asked.stream |= body.bool("stream") == Some(true);
    asked.temperature = body.float("temperature");
    asked.output_type = Some("text".into());
    if let Some(content) = &mut call.content {
        let mut parts: Vec<MessagePart> = body.string("prompt").map(MessagePart::text).into_iter().collect();
        parts.extend(openai_form::files(body, "file", "audio"));
        if !parts.is_empty() {
            content.input.push(user(parts));
        }
    }
    true
}

fn transcribed(body: &Object<'_>, call: &mut ModelCall) {
    if let Some(found) = body.object("usage") {
        call.usage = counts(&found);
    }
    // Groq's.
    call.reply.id = body.object("x_groq").and_then(|groq| groq.string("id"));
    if let Some(content) = &mut call.content {
        let text = body.string("text").map(|text| media::answer(vec![MessagePart::text(text)], "stop".into()));
        content.output.extend(text);
    }
    if body.has("error") && !body.has("text") {
        call.error = Some(failure::of_event(body));
    }
}

/// True for an answer that is neither JSON nor events: sound, text, subtitles.
pub fn is_raw(api: Api, response: &Response) -> bool {
    let kind = response.headers.get("content-type").unwrap_or_default();
    let is = |wanted: &str| kind.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
    matches!(api, Api::Speech | Api::Transcriptions) && !is("application/json") && !is("text/event-stream")
}

/// Reads such an answer.
pub fn raw(response: &Response, call: &mut ModelCall) {
    let body = &response.body.bytes;
    let Some(content) = call.content.as_mut().filter(|_| !body.is_empty()) else { return };
    let part = if call.api == Api::Speech {
        let kind = response.headers.get("content-type").and_then(|kind| kind.split(';').next());
        let kind = kind.map(str::trim).filter(|kind| kind.starts_with("audio/")).map(str::to_owned);
        media::blob(kind, "audio", BASE64_STANDARD.encode(body))
    } else {
        MessagePart::text(String::from_utf8_lossy(body))
    };
    content.output.push(media::answer(vec![part], "stop".into()));
}

/// The events of either.
#[derive(Default)]
struct AudioStream {
    text: String,
    sound: Vec<String>,
    done: bool,
}

impl Stream for AudioStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let kind = data.str("type");
        let kind = kind.as_deref().or(name).unwrap_or_default();
        let capture = call.content.is_some();
        match kind {
            "speech.audio.delta" => {
                self.sound.extend(data.string("audio").filter(|_| capture));
                Step::content(true)
            }
            "transcript.text.delta" => {
                let delta = data.str("delta").unwrap_or_default();
                if capture {
                    self.text.push_str(&delta);
                }
                Step::content(!delta.is_empty())
            }
            "speech.audio.done" | "transcript.text.done" => {
                if let Some(found) = data.object("usage") {
                    call.usage = counts(&found);
                }
                if let Some(text) = data.string("text").filter(|_| capture) {
                    self.text = text;
                }
                self.done = true;
                Step::TERMINAL
            }
            _ if kind == "error" || data.has("error") => {
                call.error = Some(failure::of_event(data));
                Step::TERMINAL
            }
            _ => Step::default(),
        }
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        if let Some(content) = &mut call.content {
            let mut parts = Vec::new();
            media::add_text(&mut parts, &self.text);
            parts.extend(joined(&self.sound).map(|sound| media::blob(None, "audio", sound)));
            if !parts.is_empty() {
                let reason = if self.done { "stop" } else { media::CUT };
                content.output.push(media::answer(parts, reason.into()));
            }
        }
        false
    }
}
