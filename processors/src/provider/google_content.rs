//! Content of Gemini's API in the conventions' shapes.
//!
//! Facts from Google's API reference, "Content", "Part", "Candidate", and the types of its SDKs: roles `user` and `model`;
//! code execution and search are run by Google.

use std::borrow::Cow;

use pipeline::observation::{Content, MessagePart, ToolDefinition};
use serde_json::{Value as Json, json};

use super::{json::Object, media};

/// A member by its name in camel case or, as protobuf's JSON allows it too, in snake case.
pub fn member<'a>(object: &Object<'a>, camel: &str, snake: &str) -> Option<Object<'a>> {
    object.object(camel).or_else(|| object.object(snake))
}

/// Takes over what a request says: instructions, messages, tools.
pub fn request(body: &Object<'_>, content: &mut Content) {
    if let Some(system) = member(body, "systemInstruction", "system_instruction") {
        content.system_instructions = parts(&system);
    }
    let message = |of: Object<'_>| {
        let role = match of.str("role") {
            Some(role) if role == "model" => Cow::Borrowed("assistant"),
            // An older name for it.
            Some(role) if role == "function" => Cow::Borrowed("tool"),
            Some(role) if !role.is_empty() => role,
            _ => Cow::Borrowed("user"),
        };
        media::asked(role, parts(&of))
    };
    content.input = body.objects("contents").map(message).collect();
    for tool in body.objects("tools") {
        for (key, _) in &tool.0 {
            if matches!(key.as_ref(), "functionDeclarations" | "function_declarations") {
                let names = tool.objects(key).filter_map(|function| function.string("name"));
                content.tools.extend(names.map(|name| definition("function", name)));
            } else {
                content.tools.push(definition(key, key.clone().into_owned()));
            }
        }
    }
}

fn definition(kind: &str, name: String) -> ToolDefinition {
    ToolDefinition { kind: kind.to_owned(), name, ..ToolDefinition::default() }
}

fn parts(content: &Object<'_>) -> Vec<MessagePart> {
    let mut parts = Vec::new();
    for part in content.objects("parts") {
        add(&mut parts, &part, false);
    }
    parts
}

/// Adds a part. In a stream, text goes on where the text before it ended.
pub fn add(parts: &mut Vec<MessagePart>, part: &Object<'_>, stream: bool) {
    if let Some(text) = part.str("text") {
        let thought = part.bool("thought") == Some(true);
        match (stream, thought) {
            (true, true) => media::add_reasoning(parts, &text),
            (true, false) => media::add_text(parts, &text),
            (false, true) => parts.push(MessagePart::Reasoning { content: text.into_owned() }),
            (false, false) => parts.push(MessagePart::text(text)),
        }
    } else if let Some(called) = member(part, "functionCall", "function_call") {
        parts.push(MessagePart::ToolCall {
            id: called.string("id"),
            name: called.string("name").unwrap_or_default(),
            arguments: called.raw("args").map(media::value),
        });
    } else if let Some(result) = member(part, "functionResponse", "function_response") {
        parts.push(response(&result));
    } else {
        parts.extend(other(part));
    }
}

/// What a function gave. Without an id, its name says which.
fn response(result: &Object<'_>) -> MessagePart {
    let response = self::result(result);
    match (result.string("id"), result.string("name")) {
        (None, Some(name)) => {
            MessagePart::Other(json!({"type": "tool_call_response", "name": name, "response": response}))
        }
        (id, _) => MessagePart::ToolCallResponse { id, response },
    }
}

/// What a function gave: the object; with media beside it, if there are.
pub fn result(result: &Object<'_>) -> Json {
    let response = result.raw("response").map(media::value).unwrap_or_default();
    let media = parts(result);
    if media.is_empty() {
        return response;
    }
    json!({"response": response, "parts": media})
}

fn other(part: &Object<'_>) -> Option<MessagePart> {
    if let Some(data) = member(part, "inlineData", "inline_data") {
        let mime = data.string("mimeType").or_else(|| data.string("mime_type"));
        let modality = media::modality(mime.as_deref().unwrap_or_default());
        return Some(media::blob(mime, modality, data.string("data").unwrap_or_default()));
    }
    if let Some(file) = member(part, "fileData", "file_data") {
        let mime = file.string("mimeType").or_else(|| file.string("mime_type"));
        let modality = media::modality(mime.as_deref().unwrap_or_default());
        let uri = file.string("fileUri").or_else(|| file.string("file_uri")).unwrap_or_default();
        return Some(media::uri(mime, modality, uri));
    }
    if let Some(code) = member(part, "executableCode", "executable_code") {
        return Some(server_call(code.string("id"), CODE, media::typed(CODE, &code, &["id"])));
    }
    if let Some(outcome) = member(part, "codeExecutionResult", "code_execution_result") {
        return Some(server_result(outcome.string("id"), media::typed(CODE, &outcome, &["id"])));
    }
    let kind = |of: &Object<'_>| {
        let kind = of.string("toolType").or_else(|| of.string("tool_type"));
        kind.map_or_else(|| "tool".to_owned(), |kind| kind.to_ascii_lowercase())
    };
    if let Some(called) = member(part, "toolCall", "tool_call") {
        let kind = kind(&called);
        return Some(server_call(called.string("id"), &kind, media::typed(&kind, &called, &["id", "toolType"])));
    }
    if let Some(result) = member(part, "toolResponse", "tool_response") {
        return Some(server_result(result.string("id"), media::typed(&kind(&result), &result, &["id", "toolType"])));
    }
    // Marks beside the part itself.
    let (key, raw) = part.0.iter().find(|(key, _)| !key.contains("thought") && !key.contains("etadata"))?;
    let mut other = media::typed(key, &Object::default(), &[]);
    if let Some(members) = other.as_object_mut() {
        members.insert(key.clone().into_owned(), media::value(raw));
    }
    Some(MessagePart::Other(other))
}

const CODE: &str = "code_execution";

fn server_call(id: Option<String>, name: &str, server_tool_call: Json) -> MessagePart {
    MessagePart::ServerToolCall { id, name: name.to_owned(), server_tool_call }
}

fn server_result(id: Option<String>, server_tool_call_response: Json) -> MessagePart {
    MessagePart::ServerToolCallResponse { id, server_tool_call_response }
}

/// What Google looked up before it answered: the parts of a candidate's `groundingMetadata` and `urlContextMetadata`.
pub fn lookups(candidate: &Object<'_>) -> Vec<MessagePart> {
    let mut parts = Vec::new();
    if let Some(grounding) = member(candidate, "groundingMetadata", "grounding_metadata") {
        let asked = |key: &str| Some(grounding.strings(key)).filter(|queries| !queries.is_empty());
        for (name, queries) in [
            ("google_search", asked("webSearchQueries")),
            ("image_search", asked("imageSearchQueries")),
            ("retrieval", asked("retrievalQueries")),
        ] {
            let Some(queries) = queries else { continue };
            parts.push(server_call(None, name, json!({"type": name, "queries": queries})));
        }
        if let Some(chunks) = grounding.raw("groundingChunks").map(media::value) {
            parts.push(server_result(None, json!({"type": "grounding", "chunks": chunks})));
        }
    }
    if let Some(pages) = member(candidate, "urlContextMetadata", "url_context_metadata") {
        parts.push(server_result(None, media::typed("url_context", &pages, &[])));
    }
    parts
}

/// The conventions' word for why a candidate ended or a prompt was blocked; Google's own where they have none.
pub fn finish_reason(reason: &str, tools: bool) -> &str {
    match reason {
        "STOP" if tools => "tool_call",
        "STOP" => "stop",
        "MAX_TOKENS" => "length",
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR"
        | "JAILBREAK" => "content_filter",
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE"
        | "MALFORMED_RESPONSE"
        | "LANGUAGE"
        | "NO_IMAGE"
        | "IMAGE_OTHER" => "error",
        other => other,
    }
}
