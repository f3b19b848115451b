//! Cohere (`POST /v2/chat`, `/v1/chat`). Facts from Cohere's API reference: v2 streams events `message-start` …
//! `message-end` (finish reason and usage in its `delta`); v1 streams one JSON document a line with `event_type`, the last
//! `stream-end` with the whole `response`. `tokens` are what the model saw, `billed_units` what is paid for.

use std::collections::BTreeMap;

use pipeline::observation::{Api, ModelCall, Operation, RequestedTool, ToolResult, Usage};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::{self, Object},
    thread::MessageDigest,
};

/// Both versions.
pub const FORMAT: Format = Format {
    api: Api::CohereChat,
    operation: Operation::Chat,
    provider: "cohere",
    shape: |body| body.has("model") && (body.array("messages").is_some() || body.has("message")),
    request,
    plain: whole,
    stream: || Box::<ChatStream>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model");
    asked.stream |= body.bool("stream") == Some(true);
    asked.max_tokens = body.int("max_tokens");
    asked.temperature = body.float("temperature");
    asked.top_p = body.float("p");
    asked.top_k = body.int("k");
    asked.frequency_penalty = body.float("frequency_penalty");
    asked.presence_penalty = body.float("presence_penalty");
    asked.stop_sequences = body.strings("stop_sequences");
    asked.seed = body.int("seed");
    let thread = &mut call.thread;
    thread.has_tools = body.array("tools").is_some_and(|tools| !tools.is_empty());
    for message in body.objects("messages") {
        let role = message.str("role").unwrap_or_default();
        let mut digest = MessageDigest::new();
        if let Some(id) = message.string("tool_call_id") {
            digest.id(id.as_str());
            thread.tool_results.push(ToolResult { id, ..ToolResult::default() });
        } else {
            digest.content(message.raw("content"), |_, _, _| false);
        }
        if role == "assistant" {
            thread.tool_results.clear();
        }
        for tool in message.objects("tool_calls") {
            digest.id(tool.str("id").unwrap_or_default());
        }
        thread.from_user = role == "user";
        thread.messages.push(digest.finish(&role));
    }
    if let Some(message) = body.str("message") {
        let mut digest = MessageDigest::new();
        digest.text(&message);
        thread.from_user = true;
        thread.messages.push(digest.finish("user"));
    }
    true
}

/// `usage` of v2, `meta` of v1.
fn usage(body: &Object<'_>) -> Option<Usage> {
    let usage = body.object("usage").or_else(|| body.object("meta"))?;
    let counts = usage.object("tokens").or_else(|| usage.object("billed_units"))?;
    Some(Usage {
        input: counts.count("input_tokens"),
        output: counts.count("output_tokens"),
        cache_read: usage.count("cached_tokens"),
        ..Usage::default()
    })
}

fn tool(raw: &Object<'_>) -> RequestedTool {
    let function = raw.object("function");
    let named = function.as_ref().unwrap_or(raw);
    let arguments = named.raw("arguments").or_else(|| named.raw("parameters")).unwrap_or_default();
    RequestedTool {
        id: raw.string("id"),
        name: named.string("name").unwrap_or_default(),
        arguments: json::string(arguments).map_or_else(|| arguments.to_owned(), std::borrow::Cow::into_owned),
    }
}

fn whole(body: &Object<'_>, call: &mut ModelCall) {
    call.reply.id = body
        .string("id")
        .or_else(|| body.string("response_id"))
        .or_else(|| body.string("generation_id"))
        .or(call.reply.id.take());
    call.reply.finish_reasons.extend(body.string("finish_reason"));
    call.usage = usage(body).unwrap_or(call.usage);
    let message = body.object("message");
    call.tool_calls.extend(message.as_ref().unwrap_or(body).objects("tool_calls").map(|raw| tool(&raw)));
}

#[derive(Default)]
struct ChatStream {
    tools: BTreeMap<u64, RequestedTool>,
}

impl Stream for ChatStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let kind = data.str("type").or_else(|| data.str("event_type"));
        let delta = data.object("delta");
        let message = delta.as_ref().and_then(|delta| delta.object("message"));
        match kind.as_deref().or(name).unwrap_or_default() {
            "message-start" => {
                call.reply.id = data.string("id");
                Step::default()
            }
            "content-delta" => Step::content(message.is_some_and(|message| message.has("content"))),
            "tool-plan-delta" | "text-generation" => Step::content(true),
            "tool-call-start" => {
                if let Some(raw) = message.and_then(|message| message.object("tool_calls")) {
                    self.tools.insert(data.count("index").unwrap_or(0), tool(&raw));
                }
                Step::content(true)
            }
            "tool-call-delta" => {
                let part = message
                    .and_then(|message| message.object("tool_calls"))
                    .and_then(|raw| raw.object("function"))
                    .and_then(|function| function.string("arguments"));
                if let (Some(part), Some(tool)) = (part, self.tools.get_mut(&data.count("index").unwrap_or(0))) {
                    tool.arguments.push_str(&part);
                }
                Step::content(true)
            }
            "message-end" => {
                if let Some(delta) = delta {
                    call.reply.finish_reasons.extend(delta.string("finish_reason"));
                    call.usage = usage(&delta).unwrap_or(call.usage);
                    if delta.has("error") {
                        call.error = Some(failure::of_event(&delta));
                    }
                }
                Step::TERMINAL
            }
            "stream-start" => {
                call.reply.id = data.string("generation_id");
                Step::default()
            }
            "stream-end" => {
                if let Some(response) = data.object("response") {
                    whole(&response, call);
                }
                if call.reply.finish_reasons.is_empty() {
                    call.reply.finish_reasons.extend(data.string("finish_reason"));
                }
                Step::TERMINAL
            }
            _ => Step::default(),
        }
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        call.tool_calls.extend(self.tools.into_values());
        false
    }
}
