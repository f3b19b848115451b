//! Items of the responses API, and of realtime, in the conventions' shapes.
//!
//! Facts from OpenAI's API reference, "Responses", and the item types of its SDKs. Tools that the provider runs itself are
//! `server_tool_call` and `server_tool_call_response`: the item's type is the tool's name, its members are the call's, and
//! those that hold results are the response's.

use pipeline::observation::{Content, Message, MessagePart};
use serde_json::{Value as Json, json};

use crate::provider::{
    json::{self, Object},
    media,
    openai_chat::content as chat,
};

/// Takes over what a request says: instructions, input, tools.
pub fn request(body: &Object<'_>, content: &mut Content) {
    if let Some(text) = body.string("instructions") {
        content.system_instructions.push(MessagePart::text(text));
    }
    content.tools.extend(body.objects("tools").filter_map(|tool| chat::definition(&tool)));
    if let Some(text) = body.string("input") {
        content.input.push(Message { role: "user".into(), parts: vec![MessagePart::text(text)], ..Message::default() });
    }
    for item in body.objects("input") {
        input(&item, &mut content.input);
    }
}

/// Adds an item of the input. What the model gave item by item is one message, as it was one answer.
pub fn input(item: &Object<'_>, messages: &mut Vec<Message>) {
    let kind = item.str("type").unwrap_or("message".into());
    let role = match kind.as_ref() {
        "message" => item.string("role").unwrap_or_else(|| "user".into()),
        kind if is_output(kind) => "tool".into(),
        "mcp_approval_response" | "item_reference" => "user".into(),
        "additional_tools" | "configuration_update" => "developer".into(),
        _ => "assistant".into(),
    };
    let parts = parts(item);
    if parts.is_empty() {
        return;
    }
    match messages.last_mut() {
        Some(last) if last.role == "assistant" && role == "assistant" => last.parts.extend(parts),
        _ => messages.push(Message { role, parts, ..Message::default() }),
    }
}

/// True for the result of a tool that the agent ran.
pub fn is_output(kind: &str) -> bool {
    kind.ends_with("_call_output") || kind == "tool_search_output"
}

/// What a tool gave, of an item of [`is_output`].
pub fn result(item: &Object<'_>) -> Json {
    match item.raw("output").or_else(|| item.raw("tools")) {
        // A picture of the screen.
        Some(raw) if raw.starts_with('{') => match Object::parse(raw).map(|output| chat::part(&output)) {
            Some(part @ (MessagePart::Blob { .. } | MessagePart::Uri { .. } | MessagePart::File { .. })) => {
                serde_json::to_value([part]).unwrap_or_default()
            }
            _ => media::value(raw),
        },
        // Parts of a message; else what the tool's own list is.
        Some(raw) if raw.starts_with('[') && raw.contains("\"type\"") && item.raw("tools").is_none() => {
            let known = json::array(raw).unwrap_or_default().into_iter().filter_map(Object::parse);
            let message = |part: &Object<'_>| part.str("type").is_some_and(|kind| kind.starts_with("input_"));
            if known.clone().next().is_some_and(|part| message(&part)) {
                media::result_of_parts(known.map(|part| chat::part(&part)).collect())
            } else {
                media::value(raw)
            }
        }
        raw => chat::result(raw),
    }
}

/// The parts that an item stands for, of a request or an answer.
pub fn parts(item: &Object<'_>) -> Vec<MessagePart> {
    let kind = item.str("type").unwrap_or("message".into());
    let id = || item.string("call_id").or_else(|| item.string("id"));
    let raw = |key: &str| item.raw(key).map(media::value);
    let call = |name: &str, arguments: Option<Json>| {
        vec![MessagePart::ToolCall { id: id(), name: name.to_owned(), arguments }]
    };
    match kind.as_ref() {
        "message" => message(item),
        "reasoning" => reasoning(item),
        "function_call" => {
            let arguments = item.str("arguments").unwrap_or_default();
            vec![MessagePart::tool_call(id(), item.string("name").unwrap_or_default(), &arguments)]
        }
        "custom_tool_call" => {
            let input = item.str("input").map(|text| Json::String(text.into_owned()));
            call(&item.string("name").unwrap_or_default(), input)
        }
        "local_shell_call" => call("local_shell", raw("action")),
        "shell_call" if !at_provider(item) => call("shell", raw("action")),
        "apply_patch_call" => call("apply_patch", raw("operation")),
        "computer_call" => call("computer", raw("action").or_else(|| raw("actions"))),
        "tool_search_call" if item.str("execution").as_deref() == Some("client") => {
            call("tool_search", raw("arguments"))
        }
        "shell_call_output" if at_provider(item) => server_result(item, "shell"),
        "tool_search_output" if item.str("execution").as_deref() != Some("client") => {
            server_result(item, "tool_search")
        }
        kind if is_output(kind) => vec![MessagePart::ToolCallResponse { id: id(), response: result(item) }],
        "compaction" | "compaction_summary" => vec![MessagePart::Compaction { id: item.string("id"), content: None }],
        "image_generation_call" => image(item),
        kind => match kind.strip_suffix("_call") {
            Some(name) => server(item, name),
            None => vec![MessagePart::Other(media::typed(kind, item, &["encrypted_content"]))],
        },
    }
}

/// True if a shell ran at the provider: the item names a container.
pub fn at_provider(item: &Object<'_>) -> bool {
    let place = item.object("environment").and_then(|environment| environment.string("type"));
    place.is_some_and(|place| place.starts_with("container"))
}

fn message(item: &Object<'_>) -> Vec<MessagePart> {
    let mut parts = Vec::new();
    let raw = item.raw("content");
    let Some(elements) = raw.and_then(json::array) else { return chat::parts(raw) };
    for element in elements {
        let Some(part) = Object::parse(element) else {
            parts.extend(json::string(element).map(MessagePart::text));
            continue;
        };
        parts.push(chat::part(&part));
        parts.extend(part.objects("annotations").map(|note| chat::part(&note)));
    }
    parts
}

/// Thoughts where they can be read, else their summary; what is encrypted is left out.
fn reasoning(item: &Object<'_>) -> Vec<MessagePart> {
    let texts = |key: &str| -> Vec<MessagePart> {
        let texts = item.objects(key).filter_map(|part| part.string("text"));
        texts.map(|content| MessagePart::Reasoning { content }).collect()
    };
    let whole = texts("content");
    if whole.is_empty() { texts("summary") } else { whole }
}

/// Members that hold what a tool of the provider's gave.
const RESULTS: &[&str] = &["results", "outputs", "output", "error", "result"];

/// A tool that the provider ran: the call, and the result if the item holds one.
fn server(item: &Object<'_>, name: &str) -> Vec<MessagePart> {
    let mut call = media::typed(name, item, &[RESULTS, &["id", "status", "encrypted_content"]].concat());
    if name == "mcp"
        && let Some(arguments) = item.str("arguments")
    {
        call["arguments"] = pipeline::observation::parsed_json(&arguments);
    }
    // The tool of a server of MCP has a name of its own.
    let told = item.string("name").filter(|_| name == "mcp").unwrap_or_else(|| name.to_owned());
    let mut parts = vec![MessagePart::ServerToolCall { id: item.string("id"), name: told, server_tool_call: call }];
    if RESULTS.iter().any(|key| item.has(key)) {
        parts.extend(server_result(item, name));
    }
    parts
}

fn server_result(item: &Object<'_>, name: &str) -> Vec<MessagePart> {
    let mut response = json!({"type": name});
    for key in RESULTS.iter().chain(&["status", "tools"]) {
        if let Some(raw) = item.raw(key) {
            response[*key] = media::value(raw);
        }
    }
    let id = item.string("call_id").or_else(|| item.string("id"));
    vec![MessagePart::ServerToolCallResponse { id, server_tool_call_response: response }]
}

/// An image that the provider drew: the call, and the image beside it.
fn image(item: &Object<'_>) -> Vec<MessagePart> {
    let call = media::typed("image_generation", item, &["id", "status", "result", "error"]);
    let name = "image_generation".to_owned();
    let mut parts = vec![MessagePart::ServerToolCall { id: item.string("id"), name, server_tool_call: call }];
    match item.string("result") {
        Some(data) => {
            let format = item.string("output_format").unwrap_or_else(|| "png".into());
            parts.push(media::blob(Some(format!("image/{format}")), "image", data));
        }
        None if item.has("error") => parts.extend(server_result(item, "image_generation")),
        None => {}
    }
    parts
}
