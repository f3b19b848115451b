//! OpenAI chat completions (`POST …/chat/completions`), also as others speak it.
//!
//! Facts from OpenAI's API reference, "Chat Completions" and "Streaming": usage comes in the last chunk, whose
//! `choices` is empty; tool calls come in deltas with an `index`; `[DONE]` ends the stream.

pub mod content;
mod stream;
pub mod usage;

use pipeline::observation::{Api, ModelCall, Operation, RequestedTool, ToolResult};

use super::{failure, format::Format, json::Object, thread::MessageDigest};

use stream::ChatStream;

/// This format.
pub const FORMAT: Format = Format {
    api: Api::ChatCompletions,
    operation: Operation::Chat,
    provider: "openai",
    shape: |body| body.has("messages") && body.array("messages").is_some() && body.has("model"),
    request,
    plain,
    stream: || Box::<ChatStream>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model").or(asked.model.take());
    asked.stream |= body.bool("stream") == Some(true);
    asked.max_tokens = body.int("max_completion_tokens").or_else(|| body.int("max_tokens")).filter(|n| *n >= 0);
    asked.temperature = body.float("temperature");
    asked.top_p = body.float("top_p");
    asked.top_k = body.int("top_k");
    asked.frequency_penalty = body.float("frequency_penalty");
    asked.presence_penalty = body.float("presence_penalty");
    asked.stop_sequences = body.strings("stop");
    asked.seed = body.int("seed");
    asked.choice_count = body.int("n").filter(|n| *n != 1);
    asked.output_type = output_type(body);
    asked.reasoning_level =
        body.string("reasoning_effort").or_else(|| body.object("reasoning").and_then(|of| of.string("effort")));
    asked.service_tier = body.string("service_tier").filter(|tier| tier != "auto");
    thread(body, call);
    if let Some(content) = &mut call.content {
        content::request(body, content);
    }
    true
}

fn output_type(body: &Object<'_>) -> Option<String> {
    if body.strings("modalities").iter().any(|kind| kind == "audio") {
        return Some("speech".into());
    }
    format_type(&body.object("response_format")?)
}

/// `gen_ai.output.type` of a format object with a `type`.
pub fn format_type(format: &Object<'_>) -> Option<String> {
    match format.str("type")?.as_ref() {
        "text" => Some("text".into()),
        "json_object" | "json_schema" => Some("json".into()),
        _ => None,
    }
}

fn thread(body: &Object<'_>, call: &mut ModelCall) {
    let capture = call.content.is_some();
    let thread = &mut call.thread;
    let filled = |key| body.array(key).is_some_and(|tools| !tools.is_empty());
    thread.has_tools = filled("tools") || filled("functions");
    let mut system: Option<MessageDigest> = None;
    for message in body.objects("messages") {
        let role = message.str("role").unwrap_or_default();
        if matches!(role.as_ref(), "system" | "developer") && thread.messages.is_empty() {
            system.get_or_insert_with(MessageDigest::new).content(message.raw("content"), |_, _, _| false);
            continue;
        }
        let mut digest = MessageDigest::new();
        match role.as_ref() {
            "tool" | "function" => {
                thread.from_user = false;
                match message.string("tool_call_id") {
                    Some(id) => {
                        digest.id(id.as_str());
                        let response = capture.then(|| content::result(message.raw("content")));
                        thread.tool_results.push(ToolResult { id, is_error: false, response });
                    }
                    None => digest.content(message.raw("content"), |_, _, _| false),
                }
            }
            "system" | "developer" => digest.content(message.raw("content"), |_, _, _| false),
            "assistant" => {
                digest.content(message.raw("content"), |_, kind, _| matches!(kind, "thinking" | "reasoning"));
                for tool in message.objects("tool_calls") {
                    digest.id(tool.str("id").unwrap_or_default());
                }
                thread.from_user = false;
                thread.tool_results.clear();
            }
            _ => {
                digest.content(message.raw("content"), |_, _, _| false);
                thread.from_user = role == "user";
            }
        }
        digest.add_to(thread, &role);
    }
    thread.system = system.map(|digest| digest.finish("system"));
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    head(body, call);
    if let Some(found) = usage::find(body) {
        call.usage = found;
    }
    let mut choices: Vec<(u64, Object<'_>)> = body
        .objects("choices")
        .enumerate()
        .map(|(at, choice)| (choice.count("index").unwrap_or(at as u64), choice))
        .collect();
    choices.sort_by_key(|(index, _)| *index);
    for (at, (_, choice)) in choices.iter().enumerate() {
        let reason = choice.string("finish_reason");
        let message = choice.object("message");
        if let Some(message) = &message {
            call.tool_calls.extend(message.objects("tool_calls").map(|tool| named(&tool)));
            call.tool_calls.extend(message.object("function_call").map(|function| named_function(None, &function)));
        }
        if let Some(said) = &mut call.content {
            let mut parts = message.as_ref().map(content::said).unwrap_or_default();
            // The older completions have the text alone.
            parts.extend(content::parts(choice.raw("text")));
            parts.extend(content::sources(body).filter(|_| at == 0));
            let role = message.as_ref().and_then(|message| message.string("role"));
            said.output.push(content::choice(role, parts, reason.as_deref()));
        }
        call.reply.finish_reasons.extend(reason);
    }
    if choices.is_empty() && body.has("error") {
        call.error = Some(failure::of_event(body));
    }
}

/// What every chunk and the whole answer say of themselves.
fn head(body: &Object<'_>, call: &mut ModelCall) {
    let reply = &mut call.reply;
    if reply.id.is_none() {
        reply.id = body.string("id");
    }
    if reply.model.is_none() {
        reply.model = body.string("model");
    }
    if let Some(tier) = body.string("service_tier") {
        reply.service_tier = Some(tier);
    }
    if reply.system_fingerprint.is_none() {
        reply.system_fingerprint = body.string("system_fingerprint");
    }
}

/// A whole tool call: a function's, or a custom tool's.
fn named(tool: &Object<'_>) -> RequestedTool {
    match (tool.object("function"), tool.object("custom")) {
        (Some(function), _) => named_function(tool.string("id"), &function),
        (None, Some(custom)) => RequestedTool {
            id: tool.string("id"),
            name: custom.string("name").unwrap_or_default(),
            arguments: custom.str("input").unwrap_or_default().into_owned(),
        },
        (None, None) => RequestedTool { id: tool.string("id"), ..RequestedTool::default() },
    }
}

fn named_function(id: Option<String>, function: &Object<'_>) -> RequestedTool {
    // Some servers send the arguments as an object instead of its text.
    let arguments = function.str("arguments").map(|text| text.into_owned());
    RequestedTool {
        id,
        name: function.string("name").unwrap_or_default(),
        arguments: arguments.or_else(|| function.raw("arguments").map(str::to_owned)).unwrap_or_default(),
    }
}
