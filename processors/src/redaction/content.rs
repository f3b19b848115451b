//! What was said: messages, tool definitions, arguments and results.

use pipeline::observation::{Content, Document, Message, MessagePart, ToolContent, ToolDefinition};
use serde_json::{Map, Value as Json};

use super::Masker;

/// Shorter texts are searched also if they are made of the letters of base64 only.
const BLOB: usize = 256;

pub fn content(content: &mut Content, masker: &mut Masker) {
    let Content { mode: _, system_instructions, input, output, tools, query, documents } = content;
    parts(system_instructions, masker);
    for message in input.iter_mut().chain(output) {
        self::message(message, masker);
    }
    for ToolDefinition { kind, name, description, parameters } in tools {
        masker.text(kind);
        masker.text(name);
        masker.optional(description);
        optional(parameters, masker);
    }
    masker.optional(query);
    for Document { id, score: _ } in documents {
        masker.optional(id);
    }
}

pub fn tool_content(content: &mut ToolContent, masker: &mut Masker) {
    let ToolContent { mode: _, arguments, result } = content;
    optional(arguments, masker);
    optional(result, masker);
}

fn message(message: &mut Message, masker: &mut Masker) {
    let Message { role, parts, name, finish_reason } = message;
    masker.text(role);
    self::parts(parts, masker);
    masker.optional(name);
    masker.optional(finish_reason);
}

fn parts(parts: &mut [MessagePart], masker: &mut Masker) {
    for part in parts {
        match part {
            MessagePart::Text { content } | MessagePart::Reasoning { content } => masker.text(content),
            MessagePart::ToolCall { id, name, arguments } => {
                masker.optional(id);
                masker.text(name);
                optional(arguments, masker);
            }
            MessagePart::ToolCallResponse { id, response } => {
                masker.optional(id);
                json(response, masker);
            }
            MessagePart::ServerToolCall { id, name, server_tool_call } => {
                masker.optional(id);
                masker.text(name);
                json(server_tool_call, masker);
            }
            MessagePart::ServerToolCallResponse { id, server_tool_call_response } => {
                masker.optional(id);
                json(server_tool_call_response, masker);
            }
            MessagePart::Blob { mime_type, modality, content } => {
                masker.optional(mime_type);
                masker.text(modality);
                if !is_blob(content) {
                    masker.text(content);
                }
            }
            MessagePart::File { mime_type, modality, file_id } => {
                masker.optional(mime_type);
                masker.text(modality);
                masker.text(file_id);
            }
            MessagePart::Uri { mime_type, modality, uri } => {
                masker.optional(mime_type);
                masker.text(modality);
                masker.target(uri);
            }
            MessagePart::Compaction { id, content } => {
                masker.optional(id);
                masker.optional(content);
            }
            MessagePart::Other(other) => json(other, masker),
        }
    }
}

/// Base64 of a picture or a recording: nobody can read a secret there.
fn is_blob(text: &str) -> bool {
    text.len() >= BLOB && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

pub fn optional(value: &mut Option<Json>, masker: &mut Masker) {
    if let Some(value) = value {
        json(value, masker);
    }
}

/// Masks all texts of a JSON value, also the names of members, and what has a secret's name.
pub fn json(value: &mut Json, masker: &mut Masker) {
    match value {
        Json::Null | Json::Bool(_) => {}
        Json::Number(number) => {
            // The number of a card.
            if let Some(masked) = masker.number(&number.to_string()) {
                *value = Json::String(masked);
            }
        }
        Json::String(text) => {
            if !is_blob(text) {
                masker.text(text);
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| json(item, masker)),
        Json::Object(members) => {
            for (name, value) in members.iter_mut() {
                member(name, value, masker);
            }
            names(members, masker);
        }
    }
}

/// Masks the value of a member. What is in an object goes by its own names: a schema's `api_key` has a type, no key.
fn member(name: &str, value: &mut Json, masker: &mut Masker) {
    match value {
        Json::String(text) => masker.value(name, text),
        Json::Array(items) => items.iter_mut().for_each(|item| member(name, item, masker)),
        Json::Number(_) if pipeline::mask::secret_number(name) => *value = Json::String(masker.whole()),
        _ => json(value, masker),
    }
}

/// Masks the names of members; those that would then be the same are numbered.
fn names(members: &mut Map<String, Json>, masker: &mut Masker) {
    let secret: Vec<(String, String)> =
        members.keys().filter_map(|name| Some((name.clone(), masker.masked(name)?))).collect();
    for (name, masked) in secret {
        let Some(value) = members.remove(&name) else { continue };
        let mut free = masked.clone();
        let mut number = 1_usize;
        while members.contains_key(&free) {
            number += 1;
            free = format!("{masked}#{number}");
        }
        members.insert(free, value);
    }
}
