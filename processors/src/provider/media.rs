//! Parts of messages that several APIs carry alike: media by value or by reference, results of tools, JSON as it stands.

use std::borrow::Cow;

use pipeline::observation::{Message, MessagePart};
use serde_json::{Map, Value as Json};

use super::json::Object;

/// Raw JSON as a value. What nests too deeply for one stays a text.
pub fn value(raw: &str) -> Json {
    serde_json::from_str(raw).unwrap_or_else(|_| Json::String(raw.to_owned()))
}

/// What a tool gave as text: an object or a list where it is one, else the text.
pub fn result(text: &str) -> Json {
    let structured = text.trim_start().starts_with(['{', '[']);
    structured.then(|| serde_json::from_str(text).ok()).flatten().unwrap_or_else(|| Json::String(text.to_owned()))
}

/// What a tool gave as parts: the text if that is all, else the parts.
pub fn result_of_parts(parts: Vec<MessagePart>) -> Json {
    match parts.as_slice() {
        [MessagePart::Text { content }] => result(content),
        _ => serde_json::to_value(parts).unwrap_or_default(),
    }
}

/// An object as a value with this `type`, without the members that `but` names. One that says that it is a text and has none is
/// of an unknown type: the conventions' texts have their `content`.
pub fn typed(kind: &str, object: &Object<'_>, but: &[&str]) -> Json {
    let kind = if kind == "text" && !object.has("content") { "unknown" } else { kind };
    let mut members = Map::new();
    members.insert("type".to_owned(), Json::String(kind.to_owned()));
    for (key, raw) in object.0.iter().filter(|(key, _)| key != "type" && !but.contains(&key.as_ref())) {
        members.insert(key.clone().into_owned(), value(raw));
    }
    Json::Object(members)
}

/// The conventions' modality of a MIME type.
pub fn modality(mime: &str) -> &'static str {
    match mime.split('/').next().unwrap_or_default() {
        "image" => "image",
        "audio" => "audio",
        "video" => "video",
        _ => "document",
    }
}

/// Media in base64.
pub fn blob(mime_type: Option<String>, modality: &str, content: String) -> MessagePart {
    MessagePart::Blob { mime_type, modality: modality.to_owned(), content }
}

/// Media somewhere else.
pub fn uri(mime_type: Option<String>, modality: &str, uri: String) -> MessagePart {
    MessagePart::Uri { mime_type, modality: modality.to_owned(), uri }
}

/// Adds text to the last part if that is text too, else as a part.
pub fn add_text(parts: &mut Vec<MessagePart>, text: &str) {
    match parts.last_mut() {
        Some(MessagePart::Text { content }) => content.push_str(text),
        _ if text.is_empty() => {}
        _ => parts.push(MessagePart::text(text)),
    }
}

/// Adds a piece of thought likewise.
pub fn add_reasoning(parts: &mut Vec<MessagePart>, text: &str) {
    match parts.last_mut() {
        Some(MessagePart::Reasoning { content }) => content.push_str(text),
        _ if text.is_empty() => {}
        _ => parts.push(MessagePart::Reasoning { content: text.to_owned() }),
    }
}

/// A message of a request. One that holds nothing but results of tools is a tool's, whoever handed it in.
pub fn asked(role: Cow<'_, str>, parts: Vec<MessagePart>) -> Message {
    let results = !parts.is_empty() && parts.iter().all(is_result);
    let role = if results && role == "user" { Cow::Borrowed("tool") } else { role };
    Message { role: role.into_owned(), parts, ..Message::default() }
}

fn is_result(part: &MessagePart) -> bool {
    match part {
        MessagePart::ToolCallResponse { .. } => true,
        // With the tool's name, where there is no id.
        MessagePart::Other(part) => part.get("type").and_then(Json::as_str) == Some("tool_call_response"),
        _ => false,
    }
}

/// A message of an answer.
pub fn answer(parts: Vec<MessagePart>, finish_reason: String) -> Message {
    Message { role: "assistant".to_owned(), parts, name: None, finish_reason: Some(finish_reason) }
}

/// What the conventions say of an answer whose end was not seen.
pub const CUT: &str = "error";
