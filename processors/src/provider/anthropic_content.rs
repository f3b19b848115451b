//! Content of Anthropic's messages in the conventions' shapes.
//!
//! Facts from Anthropic's API reference, "Messages", and the types of its SDKs: content blocks of requests and answers;
//! `server_tool_use` and `mcp_tool_use` are run by Anthropic, their results come as blocks `…_tool_result`.

use pipeline::observation::{Content, MessagePart, ToolDefinition};
use serde_json::{Value as Json, json};

use super::{
    json::{self, Object},
    media,
};

/// Takes over what a request says: instructions, messages, tools.
pub fn request(body: &Object<'_>, content: &mut Content) {
    content.system_instructions = parts(body.raw("system"));
    content.input = body
        .objects("messages")
        .map(|message| media::asked(message.str("role").unwrap_or_default(), parts(message.raw("content"))))
        .collect();
    content.tools = body.objects("tools").filter_map(|tool| definition(&tool)).collect();
}

fn definition(tool: &Object<'_>) -> Option<ToolDefinition> {
    let kind = tool.string("type").filter(|kind| kind != "custom").unwrap_or_else(|| "function".to_owned());
    let name = tool.string("name").or_else(|| tool.string("mcp_server_name"))?;
    Some(ToolDefinition { kind, name, ..ToolDefinition::default() })
}

/// The parts of content that is a string or a list of blocks.
pub fn parts(raw: Option<&str>) -> Vec<MessagePart> {
    let Some(raw) = raw else { return Vec::new() };
    if let Some(text) = json::string(raw) {
        return vec![MessagePart::text(text)];
    }
    let blocks = json::array(raw).unwrap_or_default();
    blocks
        .into_iter()
        .filter_map(|block| match json::string(block) {
            Some(text) => Some(MessagePart::text(text)),
            None => part(&Object::parse(block)?, &Deltas::default()),
        })
        .collect()
}

/// What a stream added to a block after its start.
#[derive(Clone, Debug, Default)]
pub struct Deltas {
    /// Text, thoughts, or a summary.
    pub text: String,
    /// Input of a tool, as JSON text.
    pub input: String,
}

/// A block with what was added to it.
pub fn part(block: &Object<'_>, added: &Deltas) -> Option<MessagePart> {
    let kind = block.str("type")?;
    let id = || block.string("id");
    let text = |key| {
        let start = block.str(key).unwrap_or_default();
        if added.text.is_empty() { start.into_owned() } else { format!("{start}{}", added.text) }
    };
    let input = || {
        let raw = if added.input.is_empty() { block.raw("input").unwrap_or_default() } else { added.input.as_str() };
        (!raw.is_empty()).then(|| media::value(raw))
    };
    Some(match kind.as_ref() {
        "text" => MessagePart::Text { content: text("text") },
        "thinking" => MessagePart::Reasoning { content: text("thinking") },
        "redacted_thinking" => MessagePart::Reasoning { content: text("data") },
        "tool_use" => {
            MessagePart::ToolCall { id: id(), name: block.string("name").unwrap_or_default(), arguments: input() }
        }
        "tool_result" => MessagePart::ToolCallResponse { id: block.string("tool_use_id"), response: result(block) },
        "server_tool_use" => {
            let name = block.string("name").unwrap_or_default();
            let call = json!({"type": name, "input": input().unwrap_or_default()});
            MessagePart::ServerToolCall { id: id(), name, server_tool_call: call }
        }
        "mcp_tool_use" => {
            let name = block.string("name").unwrap_or_default();
            let mut call = json!({"type": "mcp", "input": input().unwrap_or_default()});
            if let Some(server) = block.string("server_name") {
                call["server_name"] = Json::String(server);
            }
            MessagePart::ServerToolCall { id: id(), name, server_tool_call: call }
        }
        // web_search_tool_result and the like.
        kind if kind.ends_with("_tool_result") => MessagePart::ServerToolCallResponse {
            id: block.string("tool_use_id"),
            server_tool_call_response: media::typed(
                kind.strip_suffix("_tool_result").unwrap_or(kind),
                block,
                &["tool_use_id", "cache_control"],
            ),
        },
        "image" => source(block, "image"),
        "document" => source(block, "document"),
        "container_upload" => MessagePart::File {
            mime_type: None,
            modality: "document".to_owned(),
            file_id: block.string("file_id").unwrap_or_default(),
        },
        "compaction" => MessagePart::Compaction { id: None, content: Some(text("content")).filter(|c| !c.is_empty()) },
        kind => MessagePart::Other(media::typed(kind, block, &["cache_control"])),
    })
}

/// An image or a document.
fn source(block: &Object<'_>, modality: &str) -> MessagePart {
    let other = || MessagePart::Other(media::typed(modality, block, &["cache_control"]));
    let Some(source) = block.object("source") else { return other() };
    let mime = source.string("media_type");
    match (source.str("type").as_deref(), source.string("data"), source.string("url"), source.string("file_id")) {
        (Some("base64"), Some(data), ..) => media::blob(mime, modality, data),
        (Some("text"), Some(text), ..) => MessagePart::Text { content: text },
        (_, _, Some(url), _) => media::uri(mime, modality, url),
        (.., Some(file_id)) => MessagePart::File { mime_type: mime, modality: modality.to_owned(), file_id },
        _ => other(),
    }
}

/// What a tool gave, of a `tool_result` block.
pub fn result(block: &Object<'_>) -> Json {
    let raw = block.raw("content");
    match raw.and_then(json::string) {
        Some(text) => media::result(&text),
        None if raw.is_none() => Json::Null,
        None => media::result_of_parts(parts(raw)),
    }
}

/// The conventions' word for a stop reason; the API's own where they have none.
pub fn finish_reason(reason: &str) -> &str {
    match reason {
        "end_turn" | "stop_sequence" => "stop",
        "tool_use" => "tool_call",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "refusal" => "content_filter",
        other => other,
    }
}
