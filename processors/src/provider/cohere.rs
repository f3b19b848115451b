//! Cohere (`POST /v2/chat`, `/v1/chat`, `/v2/embed`, `/v1/embed`). Facts from Cohere's API reference: v2 streams events
//! `message-start` … `message-end` (finish reason and usage in its `delta`); v1 streams one JSON document a line with
//! `event_type`, the last `stream-end` with the whole `response`. `tokens` are what the model saw, `billed_units` what is
//! paid for.

use std::collections::BTreeMap;

use pipeline::observation::{
    Api, Message, MessagePart, ModelCall, Operation, RequestedTool, ToolDefinition, ToolResult, Usage,
};
use serde_json::{Value as Json, json};

use super::{
    failure,
    format::{Format, NoStream, Step, Stream},
    json::{self, Object},
    media,
    openai_chat::{self, content as chat},
    said::Said,
    thread::MessageDigest,
};

/// Chat, both versions.
pub const FORMAT: Format = Format {
    api: Api::CohereChat,
    operation: Operation::Chat,
    provider: "cohere",
    shape: |body| body.has("model") && (body.array("messages").is_some() || body.has("message")),
    request,
    plain: |body, call| {
        whole(body, call).finish(call);
    },
    stream: || Box::<ChatStream>::default(),
};

/// `embed`, both versions.
pub const EMBED: Format = Format {
    api: Api::CohereEmbed,
    operation: Operation::Embeddings,
    provider: "cohere",
    shape: |body| body.has("model") && ["texts", "images", "inputs"].iter().any(|key| body.array(key).is_some()),
    request: |body, call| {
        call.parameters.model = body.string("model");
        call.parameters.encoding_formats = body.strings("embedding_types");
        call.parameters.dimensions = body.int("output_dimension");
        true
    },
    plain: |body, call| {
        call.reply.id = body.string("id");
        call.usage.input = usage(body).and_then(|usage| usage.input);
    },
    stream: || Box::new(NoStream),
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
    asked.output_type = body.object("response_format").and_then(|format| openai_chat::format_type(&format));
    if let Some(id) = body.string("conversation_id") {
        call.conversation_id = Some(id);
    }
    call.thread.has_tools = body.array("tools").is_some_and(|tools| !tools.is_empty());
    if let Some(content) = &mut call.content {
        content.tools = body.objects("tools").filter_map(|tool| definition(&tool)).collect();
        content.system_instructions = body.string("preamble").map(MessagePart::text).into_iter().collect();
    }
    if let Some(preamble) = body.str("preamble").filter(|text| !text.is_empty()) {
        let mut digest = MessageDigest::new();
        digest.text(&preamble);
        call.thread.system = Some(digest.finish("system"));
    }
    if let Some(message) = body.str("message") {
        older(&message, body, call);
    } else {
        for given in body.objects("messages") {
            message(&given, call);
        }
    }
    true
}

/// A tool of v2, or of v1, which has only its name.
fn definition(tool: &Object<'_>) -> Option<ToolDefinition> {
    match tool.has("function") {
        true => chat::definition(tool),
        false => {
            Some(ToolDefinition { kind: "function".into(), name: tool.string("name")?, ..ToolDefinition::default() })
        }
    }
}

/// A message of v2.
fn message(given: &Object<'_>, call: &mut ModelCall) {
    let role = given.str("role").unwrap_or_default();
    let mut digest = MessageDigest::new();
    if let Some(id) = given.string("tool_call_id") {
        digest.id(id.as_str());
        let response = call.content.is_some().then(|| given_back(given.raw("content")));
        call.thread.tool_results.push(ToolResult { id, response, ..ToolResult::default() });
    } else {
        digest.content(given.raw("content"), |_, kind, _| kind == "thinking");
    }
    if role == "assistant" {
        call.thread.tool_results.clear();
    }
    for tool in given.objects("tool_calls") {
        digest.id(tool.str("id").unwrap_or_default());
    }
    call.thread.from_user = role == "user";
    digest.add_to(&mut call.thread, &role);
    if let Some(content) = &mut call.content {
        let parts = if role == "tool" {
            let response = given_back(given.raw("content"));
            vec![MessagePart::ToolCallResponse { id: given.string("tool_call_id"), response }]
        } else {
            said(given)
        };
        content.input.push(Message { role: role.into_owned(), parts, ..Message::default() });
    }
}

/// What a tool gave: text, or documents whose `data` is JSON in a text.
fn given_back(raw: Option<&str>) -> Json {
    let data = |element: &str| {
        let document = Object::parse(element)?.object("document")?;
        document.raw("data").map(|raw| json::string(raw).map_or_else(|| media::value(raw), |text| media::result(&text)))
    };
    let list = raw.and_then(json::array).unwrap_or_default();
    match list.iter().map(|element| data(element)).collect::<Option<Vec<_>>>() {
        Some(documents) if !documents.is_empty() => Json::Array(documents),
        _ => chat::result(raw),
    }
}

/// The parts of a message of the user's or the model's: the plan comes before the calls.
fn said(given: &Object<'_>) -> Vec<MessagePart> {
    let mut parts = chat::parts(given.raw("content"));
    if let Some(plan) = given.string("tool_plan") {
        parts.push(MessagePart::Reasoning { content: plan });
    }
    parts.extend(given.objects("tool_calls").map(|raw| {
        let tool = tool(&raw);
        MessagePart::tool_call(tool.id, tool.name, &tool.arguments)
    }));
    parts
}

/// A request of v1: the history and one message, or the results of tools.
fn older(text: &str, body: &Object<'_>, call: &mut ModelCall) {
    for given in body.objects("chat_history") {
        let role = match given.str("role").unwrap_or_default().as_ref() {
            "CHATBOT" => "assistant".to_owned(),
            other => other.to_ascii_lowercase(),
        };
        let mut digest = MessageDigest::new();
        digest.text(&given.str("message").unwrap_or_default());
        digest.add_to(&mut call.thread, &role);
        if let Some(content) = &mut call.content {
            let mut parts: Vec<MessagePart> = given.string("message").map(MessagePart::text).into_iter().collect();
            parts.extend(given.objects("tool_calls").map(|raw| {
                let tool = tool(&raw);
                MessagePart::tool_call(tool.id, tool.name, &tool.arguments)
            }));
            parts.extend(results(&given));
            content.input.push(Message { role, parts, ..Message::default() });
        }
    }
    for result in body.objects("tool_results") {
        let name = result.object("call").and_then(|call| call.string("name")).unwrap_or_default();
        let response = call.content.is_some().then(|| result.raw("outputs").map_or(Json::Null, media::value));
        call.thread.tool_results.push(ToolResult { id: name, response, ..ToolResult::default() });
    }
    if let Some(content) = &mut call.content {
        let results = results(body);
        if !results.is_empty() {
            content.input.push(Message { role: "tool".into(), parts: results, ..Message::default() });
        }
        if !text.is_empty() {
            content.input.push(super::said::user(vec![MessagePart::text(text)]));
        }
    }
    let mut digest = MessageDigest::new();
    digest.text(text);
    call.thread.from_user = call.thread.tool_results.is_empty();
    digest.add_to(&mut call.thread, "user");
}

/// Results of tools of v1, which name the tool instead of the call.
fn results(body: &Object<'_>) -> Vec<MessagePart> {
    let part = |result: Object<'_>| {
        let name = result.object("call").and_then(|call| call.string("name")).unwrap_or_default();
        let response = result.raw("outputs").map_or(Json::Null, media::value);
        MessagePart::Other(json!({"type": "tool_call_response", "name": name, "response": response}))
    };
    body.objects("tool_results").map(part).collect()
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

/// A whole answer.
fn whole(body: &Object<'_>, call: &mut ModelCall) -> Said {
    call.reply.id = body
        .string("id")
        .or_else(|| body.string("response_id"))
        .or_else(|| body.string("generation_id"))
        .or(call.reply.id.take());
    call.usage = usage(body).unwrap_or(call.usage);
    let message = body.object("message");
    let of = message.as_ref().unwrap_or(body);
    let mut said = Said { reason: body.string("finish_reason"), ..Said::default() };
    if call.content.is_some() {
        said.parts = chat::parts(of.raw("content"));
        if let Some(plan) = of.string("tool_plan") {
            said.parts.push(MessagePart::Reasoning { content: plan });
        }
        // v1
        said.parts.extend(of.string("text").map(MessagePart::text));
    }
    said.tools = of.objects("tool_calls").map(|raw| tool(&raw)).collect();
    said
}

#[derive(Default)]
struct ChatStream {
    said: Said,
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
            "content-start" | "content-delta" => {
                let Some(content) = message.and_then(|message| message.object("content")) else {
                    return Step::default();
                };
                let text = self.said.text(call, &content.str("text").unwrap_or_default());
                let thought = self.said.thought(call, &content.str("thinking").unwrap_or_default());
                Step::content(text || thought)
            }
            "tool-plan-delta" => {
                let plan = message.and_then(|message| message.string("tool_plan")).unwrap_or_default();
                Step::content(self.said.thought(call, &plan))
            }
            "text-generation" => Step::content(self.said.text(call, &data.str("text").unwrap_or_default())),
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
            // v1: a piece of a call, which `stream-end` has whole.
            "tool-calls-chunk" | "tool-calls-generation" => Step::content(true),
            "message-end" => {
                if let Some(delta) = delta {
                    self.said.reason = delta.string("finish_reason");
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
                let response = data.object("response");
                let whole = response.map(|response| whole(&response, call)).unwrap_or_default();
                self.said.tools = whole.tools;
                self.said.reason = whole.reason.or_else(|| data.string("finish_reason"));
                Step::TERMINAL
            }
            _ if data.has("message") && !data.has("event_type") && delta.is_none() => {
                // An error in the middle of a stream is the message alone.
                call.error = Some(failure::of_event(data));
                Step::TERMINAL
            }
            _ => Step::default(),
        }
    }

    fn cut(&mut self) {
        self.said.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        let mut said = self.said;
        said.tools.extend(self.tools.into_values());
        said.finish(call);
        false
    }
}
