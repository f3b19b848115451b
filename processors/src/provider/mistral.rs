//! What Mistral has beside chat completions and embeddings. Facts from Mistral's API reference and its SDK's types:
//! `POST /v1/fim/completions` fills in the middle and answers as a chat; `POST /v1/conversations` (also `/{id}`, which goes
//! on, and `/{id}/restart`) takes `inputs` and gives `outputs`, entries with a `type`; its stream has named events.

use std::collections::BTreeMap;

use pipeline::observation::{Api, Message, MessagePart, ModelCall, Operation, RequestedTool, ToolResult, Usage};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::{self, Object},
    media,
    openai_chat::{self, content as chat},
    said::{self, Said},
    thread::MessageDigest,
};

/// Filling in the middle.
pub const FIM: Format = Format {
    api: Api::MistralFim,
    operation: Operation::TextCompletion,
    provider: "mistral_ai",
    shape: |body| body.has("model") && body.has("prompt"),
    request: |body, call| {
        (openai_chat::FORMAT.request)(body, call);
        call.parameters.seed = body.int("random_seed").or(call.parameters.seed);
        said::prompt(call, &body.strings("prompt"));
        // What comes before the gap, and what after.
        if let (Some(content), Some(suffix)) = (&mut call.content, body.string("suffix"))
            && let Some(message) = content.input.last_mut()
        {
            message.parts.push(MessagePart::text(suffix));
        }
        true
    },
    plain: |body, call| (openai_chat::FORMAT.plain)(body, call),
    stream: || (openai_chat::FORMAT.stream)(),
};

/// Conversations.
pub const CONVERSATIONS: Format = Format {
    api: Api::MistralConversations,
    operation: Operation::Chat,
    provider: "mistral_ai",
    shape: |body| body.has("inputs") && (body.has("model") || body.has("agent_id")),
    request,
    plain,
    stream: || Box::<Events>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model");
    asked.stream |= body.bool("stream") == Some(true);
    if let Some(args) = body.object("completion_args") {
        asked.max_tokens = args.int("max_tokens");
        asked.temperature = args.float("temperature");
        asked.top_p = args.float("top_p");
        asked.frequency_penalty = args.float("frequency_penalty");
        asked.presence_penalty = args.float("presence_penalty");
        asked.stop_sequences = args.strings("stop");
        asked.seed = args.int("random_seed");
        asked.reasoning_level = args.string("reasoning_effort");
        asked.output_type = args.object("response_format").and_then(|format| openai_chat::format_type(&format));
    }
    call.thread.has_tools = body.array("tools").is_some_and(|tools| !tools.is_empty());
    if let Some(text) = body.str("instructions").filter(|text| !text.is_empty()) {
        let mut digest = MessageDigest::new();
        digest.text(&text);
        call.thread.system = Some(digest.finish("system"));
    }
    if let Some(content) = &mut call.content {
        content.tools = chat::tools(body);
        content.system_instructions = body.string("instructions").map(MessagePart::text).into_iter().collect();
    }
    if let Some(text) = body.string("inputs") {
        said::prompt(call, &[text]);
    }
    for entry in body.objects("inputs") {
        given(&entry, call);
    }
    true
}

/// An entry of the request.
fn given(entry: &Object<'_>, call: &mut ModelCall) {
    let mut digest = MessageDigest::new();
    let capture = call.content.is_some();
    let (role, part) = match entry.str("type").as_deref() {
        Some("function.result") => {
            let id = entry.string("tool_call_id");
            digest.id(id.clone().unwrap_or_default());
            let response = capture.then(|| chat::result(entry.raw("result")));
            call.thread.from_user = false;
            call.thread.tool_results.push(ToolResult {
                id: id.clone().unwrap_or_default(),
                is_error: false,
                response: response.clone(),
            });
            ("tool".to_owned(), response.map(|response| vec![MessagePart::ToolCallResponse { id, response }]))
        }
        Some("function.call") => {
            digest.id(entry.str("tool_call_id").unwrap_or_default());
            let tool = function(entry);
            call.thread.tool_results.clear();
            ("assistant".to_owned(), Some(vec![MessagePart::tool_call(tool.id, tool.name, &tool.arguments)]))
        }
        Some("tool.execution") => ("assistant".to_owned(), Some(executed(entry))),
        _ => {
            let role = entry.string("role").unwrap_or_else(|| "user".into());
            digest.content(entry.raw("content"), |_, _, _| false);
            call.thread.from_user = role == "user";
            (role, capture.then(|| chat::parts(entry.raw("content"))))
        }
    };
    digest.add_to(&mut call.thread, &role);
    if let (Some(content), Some(parts)) = (&mut call.content, part) {
        content.input.push(Message { role, parts, ..Message::default() });
    }
}

fn function(entry: &Object<'_>) -> RequestedTool {
    let arguments = entry.raw("arguments").unwrap_or_default();
    RequestedTool {
        id: entry.string("tool_call_id").or_else(|| entry.string("id")),
        name: entry.string("name").unwrap_or_default(),
        arguments: json::string(arguments).map_or_else(|| arguments.to_owned(), std::borrow::Cow::into_owned),
    }
}

/// A tool that Mistral ran: what was asked, and what is told of the outcome.
fn executed(entry: &Object<'_>) -> Vec<MessagePart> {
    let name = entry.string("name").unwrap_or_else(|| "tool".into());
    let id = entry.string("id");
    let mut parts = vec![MessagePart::ServerToolCall {
        id: id.clone(),
        server_tool_call: media::typed(&name, entry, &["info", "object", "id"]),
        name: name.clone(),
    }];
    if let Some(info) = entry.object("info").filter(|info| !info.0.is_empty()) {
        let server_tool_call_response = media::typed(&name, &info, &[]);
        parts.push(MessagePart::ServerToolCallResponse { id, server_tool_call_response });
    }
    parts
}

fn usage(body: &Object<'_>) -> Option<Usage> {
    body.object("usage").map(|usage| openai_chat::usage::read(&usage))
}

/// An answer has no finish reason: it stopped, or asks for a tool.
fn reason(said: &Said) -> String {
    if said.tools.is_empty() { "stop".into() } else { "tool_calls".into() }
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    call.conversation_id = body.string("conversation_id").or(call.conversation_id.take());
    call.usage = usage(body).unwrap_or(call.usage);
    let mut said = Said::default();
    for entry in body.objects("outputs") {
        call.reply.model = entry.string("model").or(call.reply.model.take());
        match entry.str("type").as_deref() {
            Some("function.call") => said.tools.push(function(&entry)),
            _ if call.content.is_none() => {}
            Some("tool.execution") => said.parts.extend(executed(&entry)),
            _ => said.parts.extend(chat::parts(entry.raw("content"))),
        }
    }
    // The usage comes last: one without it was cut.
    said.reason = body.has("usage").then(|| reason(&said));
    said.finish(call);
}

#[derive(Default)]
struct Events {
    said: Said,
    tools: BTreeMap<u64, RequestedTool>,
    done: bool,
}

impl Stream for Events {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let kind = data.str("type");
        match kind.as_deref().or(name).unwrap_or_default() {
            "conversation.response.started" => {
                call.conversation_id = data.string("conversation_id").or(call.conversation_id.take());
                Step::default()
            }
            "message.output.delta" => {
                call.reply.model = data.string("model").or(call.reply.model.take());
                if let Some(text) = data.str("content") {
                    return Step::content(self.said.text(call, &text));
                }
                let Some(piece) = data.object("content") else { return Step::default() };
                match piece.str("type").as_deref() {
                    Some("text") => {
                        self.said.text(call, &piece.str("text").unwrap_or_default());
                    }
                    Some("thinking") => {
                        self.said.thought(call, &chat::thought(&piece).unwrap_or_default());
                    }
                    _ => self.said.part(call, || chat::part(&piece)),
                }
                Step::content(true)
            }
            "function.call.delta" => {
                let piece = function(data);
                let next = self.tools.len() as u64;
                let tool = self.tools.entry(data.count("output_index").unwrap_or(next)).or_default();
                tool.id = tool.id.take().or(piece.id);
                if tool.name.is_empty() {
                    tool.name = piece.name;
                }
                tool.arguments.push_str(&piece.arguments);
                Step::content(true)
            }
            "tool.execution.done" => {
                if call.content.is_some() {
                    self.said.parts.extend(executed(data));
                }
                Step::default()
            }
            "conversation.response.done" => {
                call.usage = usage(data).unwrap_or(call.usage);
                self.done = true;
                Step::TERMINAL
            }
            "conversation.response.error" => {
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
        said.reason = self.done.then(|| reason(&said));
        said.finish(call);
        false
    }
}
