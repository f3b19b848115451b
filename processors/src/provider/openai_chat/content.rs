//! What is said in chat completions, in the conventions' shapes, in the dialects of those who speak the API.
//!
//! Facts from OpenAI's API reference, "Chat Completions", and the types of its SDKs; where a name is another's, it is named.

use pipeline::observation::{Content, Message, MessagePart, ToolDefinition};
use serde_json::{Value as Json, json};

use crate::provider::{
    json::{self, Object},
    media,
};

/// Takes over what a request says: messages and tools. A system message is a message of this API, no instruction apart.
pub fn request(body: &Object<'_>, content: &mut Content) {
    content.input = body.objects("messages").map(|given| message(&given)).collect();
    content.tools = tools(body);
}

/// The tools that are offered.
pub fn tools(body: &Object<'_>) -> Vec<ToolDefinition> {
    let functions = body.objects("functions").filter_map(|function| {
        Some(ToolDefinition { kind: "function".into(), name: function.string("name")?, ..ToolDefinition::default() })
    });
    body.objects("tools").filter_map(|tool| definition(&tool)).chain(functions).collect()
}

/// A tool: of chat completions with its name one level down, of the responses API beside its type.
pub fn definition(tool: &Object<'_>) -> Option<ToolDefinition> {
    let kind = tool.string("type").unwrap_or_else(|| "function".into());
    let inner = tool.object(&kind);
    let name = inner.as_ref().and_then(|inner| inner.string("name")).or_else(|| tool.string("name"));
    // A server of MCP has a label, a tool of the provider's only its type.
    let name = name.or_else(|| tool.string("server_label")).unwrap_or_else(|| kind.clone());
    Some(ToolDefinition { kind, name, ..ToolDefinition::default() })
}

/// A message of a request.
pub fn message(given: &Object<'_>) -> Message {
    let role = given.string("role").unwrap_or_else(|| "user".into());
    let name = given.string("name");
    if matches!(role.as_str(), "tool" | "function") {
        let id = given.string("tool_call_id");
        let part = MessagePart::ToolCallResponse { id, response: result(given.raw("content")) };
        return Message { role: "tool".into(), parts: vec![part], name, finish_reason: None };
    }
    Message { role, parts: said(given), name, finish_reason: None }
}

/// The parts of a message that a user or a model wrote.
pub fn said(given: &Object<'_>) -> Vec<MessagePart> {
    let mut parts = reasoning(given);
    parts.extend(self::parts(given.raw("content")));
    if let Some(refusal) = given.string("refusal") {
        parts.push(self::refusal(refusal));
    }
    // OpenRouter's: what a model drew.
    parts.extend(given.objects("images").map(|image| part(&image)));
    if let Some(audio) = given.object("audio") {
        parts.extend(voice(&audio));
    }
    parts.extend(given.objects("tool_calls").map(|tool| tool_call(&tool)));
    if let Some(function) = given.object("function_call") {
        parts.push(called(None, &function));
    }
    // Groq's: tools that its compound models ran themselves.
    parts.extend(given.objects("executed_tools").flat_map(|tool| executed(&tool)));
    parts.extend(given.objects("annotations").map(|note| other(&note)));
    parts
}

/// Thoughts: `reasoning_content` is DeepSeek's, vLLM's and others' name, `reasoning` OpenRouter's, Groq's and newer
/// vLLM's; OpenRouter's `reasoning_details` holds the same in parts.
fn reasoning(given: &Object<'_>) -> Vec<MessagePart> {
    let plain = given.string("reasoning_content").or_else(|| given.string("reasoning"));
    match plain {
        Some(content) => vec![MessagePart::Reasoning { content }],
        None => given
            .objects("reasoning_details")
            .filter_map(|detail| detail.string("text").or_else(|| detail.string("summary")))
            .map(|content| MessagePart::Reasoning { content })
            .collect(),
    }
}

/// A model's refusal.
pub fn refusal(text: String) -> MessagePart {
    MessagePart::Other(json!({"type": "refusal", "content": text}))
}

/// Spoken words: the sound, and its transcript as text; of an earlier answer only its id.
fn voice(audio: &Object<'_>) -> Vec<MessagePart> {
    let mut parts = Vec::new();
    if let Some(text) = audio.string("transcript") {
        parts.push(MessagePart::text(text));
    }
    match (audio.string("data"), audio.string("id")) {
        (Some(data), _) => parts.push(media::blob(audio.string("format").map(audio_type), "audio", data)),
        (None, Some(file_id)) if parts.is_empty() => {
            parts.push(MessagePart::File { mime_type: None, modality: "audio".into(), file_id });
        }
        _ => {}
    }
    parts
}

/// The MIME type of a format of sound (`wav`, `mp3`, …).
pub fn audio_type(format: String) -> String {
    match format.as_str() {
        "mp3" => "audio/mpeg".into(),
        "pcm16" | "pcm" => "audio/pcm".into(),
        format if format.contains('/') => format.into(),
        format => format!("audio/{format}"),
    }
}

/// Sound that came in pieces, each base64 for itself, as one.
pub fn joined(pieces: &[String]) -> Option<String> {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let bytes: Vec<u8> =
        pieces.iter().filter_map(|piece| BASE64_STANDARD.decode(piece.as_bytes()).ok()).flatten().collect();
    (!bytes.is_empty()).then(|| BASE64_STANDARD.encode(bytes))
}

fn tool_call(tool: &Object<'_>) -> MessagePart {
    let id = tool.string("id");
    match (tool.object("function"), tool.object("custom")) {
        (Some(function), _) => called(id, &function),
        (None, Some(custom)) => MessagePart::ToolCall {
            id,
            name: custom.string("name").unwrap_or_default(),
            arguments: custom.str("input").map(|text| Json::String(text.into_owned())),
        },
        (None, None) => MessagePart::ToolCall { id, name: tool.string("type").unwrap_or_default(), arguments: None },
    }
}

fn called(id: Option<String>, function: &Object<'_>) -> MessagePart {
    let name = function.string("name").unwrap_or_default();
    match function.str("arguments") {
        Some(text) => MessagePart::tool_call(id, name, &text),
        // Some servers send the object itself.
        None => MessagePart::ToolCall { id, name, arguments: function.raw("arguments").map(media::value) },
    }
}

fn executed(tool: &Object<'_>) -> Vec<MessagePart> {
    let name = tool.string("type").unwrap_or_else(|| "tool".into());
    let id = tool.raw("index").map(str::to_owned);
    let call = media::typed(&name, tool, &["output", "search_results", "code_results", "browser_results", "index"]);
    let result = media::typed(&name, tool, &["arguments", "index"]);
    vec![
        MessagePart::ServerToolCall { id: id.clone(), name, server_tool_call: call },
        MessagePart::ServerToolCallResponse { id, server_tool_call_response: result },
    ]
}

/// What a tool gave: text, or parts.
pub fn result(raw: Option<&str>) -> Json {
    match raw.and_then(json::string) {
        Some(text) => media::result(&text),
        None => match raw {
            Some(raw) if raw.starts_with('[') => media::result_of_parts(parts(Some(raw))),
            Some(raw) => media::value(raw),
            None => Json::Null,
        },
    }
}

/// Content that is a string or an array of parts.
pub fn parts(raw: Option<&str>) -> Vec<MessagePart> {
    let Some(raw) = raw else { return Vec::new() };
    if let Some(text) = json::string(raw) {
        return if text.is_empty() { Vec::new() } else { vec![MessagePart::text(text)] };
    }
    let elements = json::array(raw).unwrap_or_default();
    elements
        .into_iter()
        .filter_map(|element| match json::string(element) {
            Some(text) => Some(MessagePart::text(text)),
            None => Some(part(&Object::parse(element)?)),
        })
        .collect()
}

/// A part of a message, of chat completions, responses or realtime.
pub fn part(given: &Object<'_>) -> MessagePart {
    let kind = given.str("type").unwrap_or("text".into());
    let known = match kind.as_ref() {
        "text" | "input_text" | "output_text" => given.string("text").map(MessagePart::text),
        "summary_text" | "reasoning_text" => given.string("text").map(|content| MessagePart::Reasoning { content }),
        // Mistral's: a list of texts and references.
        "thinking" => thought(given).map(|content| MessagePart::Reasoning { content }),
        "refusal" => given.string("refusal").map(refusal),
        "image_url" | "input_image" | "computer_screenshot" => link(given, "image"),
        // Qwen's and vLLM's.
        "video_url" => link(given, "video"),
        "audio_url" => link(given, "audio"),
        // Mistral's.
        "document_url" => link(given, "document"),
        "input_audio" | "output_audio" | "audio" => sound(given),
        "file" | "input_file" => file(given.object("file").as_ref().unwrap_or(given)),
        _ => None,
    };
    known.unwrap_or_else(|| other(given))
}

/// What has no shape of its own in the conventions.
fn other(given: &Object<'_>) -> MessagePart {
    let kind = given.string("type").unwrap_or_else(|| "unknown".into());
    MessagePart::Other(media::typed(&kind, given, &["prompt_cache_breakpoint", "cache_control"]))
}

/// The text of a thought; also of a piece of one.
pub fn thought(given: &Object<'_>) -> Option<String> {
    if let Some(text) = given.string("thinking") {
        return Some(text);
    }
    let texts = given.objects("thinking").filter_map(|piece| piece.str("text").map(|text| text.into_owned()));
    Some(texts.collect::<String>()).filter(|text| !text.is_empty())
}

/// An image or the like by its address (`{"image_url": {"url": …}}`, or the address alone), or by its file's id.
fn link(given: &Object<'_>, modality: &str) -> Option<MessagePart> {
    let key = format!("{modality}_url");
    let url = given.string(&key).or_else(|| given.object(&key).and_then(|of| of.string("url")));
    match (url, given.string("file_id")) {
        (Some(url), _) => Some(address(&url, modality)),
        (None, Some(file_id)) => Some(MessagePart::File { mime_type: None, modality: modality.into(), file_id }),
        (None, None) => None,
    }
}

/// What an address stands for: itself, or the bytes in it (RFC 2397).
pub fn address(url: &str, modality: &str) -> MessagePart {
    let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(','));
    match inline.and_then(|(kind, data)| Some((kind.strip_suffix(";base64")?, data))) {
        Some((mime, data)) => {
            let mime = mime.split(';').next().filter(|mime| !mime.is_empty());
            media::blob(mime.map(str::to_owned), modality, data.to_owned())
        }
        None => media::uri(None, modality, url.to_owned()),
    }
}

/// Sound that was handed in (`{"input_audio": {"data", "format"}}`), or realtime's (`audio` and `transcript` beside the
/// type).
fn sound(given: &Object<'_>) -> Option<MessagePart> {
    let inner = given.object("input_audio");
    if let Some(inner) = &inner {
        return Some(media::blob(inner.string("format").map(audio_type), "audio", inner.string("data")?));
    }
    // Mistral's: base64, or an address.
    if let Some(text) = given.string("input_audio") {
        let remote = text.starts_with("http://") || text.starts_with("https://") || text.starts_with("data:");
        return Some(if remote { address(&text, "audio") } else { media::blob(None, "audio", text) });
    }
    match (given.string("transcript"), given.string("audio")) {
        (Some(text), _) => Some(MessagePart::text(text)),
        (None, Some(data)) => Some(media::blob(None, "audio", data)),
        (None, None) => None,
    }
}

fn file(given: &Object<'_>) -> Option<MessagePart> {
    let modality = |name: Option<String>| {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let is = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        match () {
            () if is(&[".png", ".jpg", ".jpeg", ".gif", ".webp"]) => "image",
            () if is(&[".wav", ".mp3", ".m4a", ".ogg", ".flac"]) => "audio",
            () if is(&[".mp4", ".webm", ".mov"]) => "video",
            () => "document",
        }
    };
    let name = given.string("filename");
    if let Some(data) = given.string("file_data") {
        return Some(match address(&data, modality(name)) {
            // Base64 without the address around it.
            MessagePart::Uri { modality, uri, .. } if !uri.contains("://") => media::blob(None, &modality, uri),
            part => part,
        });
    }
    if let Some(url) = given.string("file_url") {
        return Some(address(&url, modality(name)));
    }
    let file_id = given.string("file_id")?;
    Some(MessagePart::File { mime_type: None, modality: modality(name).into(), file_id })
}

/// Pages that an answer rests on: Perplexity's and xAI's `citations`, Perplexity's `search_results`.
pub fn sources(body: &Object<'_>) -> Option<MessagePart> {
    let mut found = json!({"type": "citations"});
    for key in ["citations", "search_results"] {
        if let Some(raw) = body.raw(key).filter(|raw| raw.starts_with('[') && *raw != "[]") {
            found[key] = media::value(raw);
        }
    }
    (found.as_object()?.len() > 1).then_some(MessagePart::Other(found))
}

/// The conventions' word for the reason why a choice ended; the API's own where they have none.
pub fn finish_reason(reason: &str) -> &str {
    match reason {
        "stop" | "eos" | "eos_token" | "end_turn" | "stop_sequence" => "stop",
        "length" | "max_tokens" | "model_length" | "max_output_tokens" => "length",
        "tool_calls" | "function_call" | "tool_use" => "tool_call",
        // Azure's and DeepSeek's, Mistral's.
        "insufficient_system_resource" | "error" => "error",
        other => other,
    }
}

/// A choice as a message of the answer. `None`: its end was not seen.
pub fn choice(role: Option<String>, parts: Vec<MessagePart>, reason: Option<&str>) -> Message {
    let finish_reason = Some(reason.map_or(media::CUT, finish_reason).to_owned());
    Message { role: role.unwrap_or_else(|| "assistant".into()), parts, name: None, finish_reason }
}
