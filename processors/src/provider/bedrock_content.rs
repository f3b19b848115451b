//! Content of Bedrock's `converse` in the conventions' shapes.
//!
//! Facts from the Bedrock Runtime API reference, "ContentBlock" and what it refers to: a block is a union, named by its one
//! member; bytes are base64.

use pipeline::observation::{Content, MessagePart, ToolDefinition};
use serde_json::{Value as Json, json};

use super::{json::Object, media};

/// Takes over what a request says: instructions, messages, tools.
pub fn request(body: &Object<'_>, content: &mut Content) {
    content.system_instructions = body.objects("system").filter_map(|block| part(&block)).collect();
    content.input = body
        .objects("messages")
        .map(|message| media::asked(message.str("role").unwrap_or_default(), parts(&message)))
        .collect();
    let tools = body.object("toolConfig").into_iter().flat_map(|config| config.objects("tools"));
    content.tools = tools.filter_map(|tool| definition(&tool)).collect();
}

fn definition(tool: &Object<'_>) -> Option<ToolDefinition> {
    let of = |key, kind: &str| {
        let name = tool.object(key)?.string("name")?;
        Some(ToolDefinition { kind: kind.to_owned(), name, ..ToolDefinition::default() })
    };
    of("toolSpec", "function").or_else(|| of("systemTool", "system_tool"))
}

/// The parts of a message.
pub fn parts(message: &Object<'_>) -> Vec<MessagePart> {
    message.objects("content").filter_map(|block| part(&block)).collect()
}

/// A block. `None` for marks of the cache.
pub fn part(block: &Object<'_>) -> Option<MessagePart> {
    if let Some(text) = block.str("text") {
        return Some(MessagePart::text(text));
    }
    let (key, raw) = block.0.iter().rev().find(|(_, raw)| *raw != "null")?;
    let inner = Object::parse(raw).unwrap_or_default();
    Some(match key.as_ref() {
        "cachePoint" => return None,
        "toolUse" => tool_use(&inner, inner.raw("input").map(media::value)),
        "toolResult" => tool_result(&inner, result(&inner)),
        "reasoningContent" => reasoning(&inner),
        "image" => medium(&inner, "image"),
        "video" => medium(&inner, "video"),
        "audio" => medium(&inner, "audio"),
        "document" => medium(&inner, "document"),
        "guardContent" => {
            let text = inner.object("text").and_then(|text| text.string("text"));
            text.map(MessagePart::text).unwrap_or_else(|| medium(&inner.object("image").unwrap_or_default(), "image"))
        }
        "citationsContent" => {
            let texts: String = inner.objects("content").filter_map(|of| of.string("text")).collect();
            MessagePart::text(texts)
        }
        "searchResult" => MessagePart::Other(media::typed("search_result", &inner, &[])),
        kind => MessagePart::Other(media::typed(kind, &inner, &[])),
    })
}

/// A call of a tool: of the agent's, or of one that Amazon runs.
pub fn tool_use(used: &Object<'_>, input: Option<Json>) -> MessagePart {
    let (id, name) = (used.string("toolUseId"), used.string("name").unwrap_or_default());
    if !is_server_tool(used) {
        return MessagePart::ToolCall { id, name, arguments: input };
    }
    let call = json!({"type": name, "input": input.unwrap_or_default()});
    MessagePart::ServerToolCall { id, name, server_tool_call: call }
}

/// True for a tool that Amazon runs.
pub fn is_server_tool(used: &Object<'_>) -> bool {
    used.str("type").as_deref() == Some("server_tool_use")
}

/// A result: of the agent's tool, or of one that Amazon ran.
pub fn tool_result(result: &Object<'_>, response: Json) -> MessagePart {
    let id = result.string("toolUseId");
    match result.string("type") {
        Some(kind) => MessagePart::ServerToolCallResponse {
            id,
            server_tool_call_response: json!({"type": kind, "content": response}),
        },
        None => MessagePart::ToolCallResponse { id, response },
    }
}

/// What a tool gave: its JSON or its text if that is all, else the parts.
pub fn result(result: &Object<'_>) -> Json {
    let blocks: Vec<Object<'_>> = result.objects("content").collect();
    match blocks.as_slice() {
        [block] if block.has("json") => block.raw("json").map(media::value).unwrap_or_default(),
        blocks => media::result_of_parts(
            blocks
                .iter()
                .filter_map(|block| match block.raw("json") {
                    Some(raw) => Some(MessagePart::Other(json!({"type": "json", "json": media::value(raw)}))),
                    None => part(block),
                })
                .collect(),
        ),
    }
}

fn reasoning(inner: &Object<'_>) -> MessagePart {
    let text = inner.object("reasoningText").and_then(|text| text.string("text"));
    MessagePart::Reasoning { content: text.or_else(|| inner.string("redactedContent")).unwrap_or_default() }
}

fn medium(inner: &Object<'_>, modality: &str) -> MessagePart {
    let format = inner.string("format");
    let mime = format.map(|format| mime(modality, &format));
    let Some(source) = inner.object("source") else { return MessagePart::Other(media::typed(modality, inner, &[])) };
    if let Some(bytes) = source.string("bytes") {
        return media::blob(mime, modality, bytes);
    }
    if let Some(at) = source.object("s3Location").and_then(|at| at.string("uri")) {
        return media::uri(mime, modality, at);
    }
    match source.string("text") {
        Some(text) => MessagePart::text(text),
        None => MessagePart::Other(media::typed(modality, inner, &[])),
    }
}

/// The MIME type of one of Bedrock's formats.
fn mime(modality: &str, format: &str) -> String {
    const OFFICE: &str = "application/vnd.openxmlformats-officedocument";
    match (modality, format) {
        ("document", "pdf") => "application/pdf".to_owned(),
        ("document", "doc") => "application/msword".to_owned(),
        ("document", "docx") => format!("{OFFICE}.wordprocessingml.document"),
        ("document", "xls") => "application/vnd.ms-excel".to_owned(),
        ("document", "xlsx") => format!("{OFFICE}.spreadsheetml.sheet"),
        ("document", "md") => "text/markdown".to_owned(),
        ("document", "txt") => "text/plain".to_owned(),
        ("document", other) => format!("text/{other}"),
        ("video", "three_gp") => "video/3gpp".to_owned(),
        (modality, format) => format!("{modality}/{format}"),
    }
}

/// The conventions' word for a stop reason; the API's own where they have none.
pub fn finish_reason(reason: &str) -> &str {
    match reason {
        "end_turn" | "stop_sequence" => "stop",
        "tool_use" => "tool_call",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "guardrail_intervened" | "content_filtered" => "content_filter",
        "malformed_model_output" | "malformed_tool_use" => "error",
        other => other,
    }
}
