//! LM Studio's own API (`POST /api/v1/chat`). Facts from LM Studio's REST API documentation: the answer is a list of messages,
//! thoughts and calls of tools that the server ran itself; a stream has named events and the whole answer in the last,
//! `chat.end`.

use pipeline::observation::{Api, Message, MessagePart, ModelCall, Operation, ToolDefinition};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::Object,
    media,
    openai_chat::content as chat,
    said::{self, Said},
    thread::MessageDigest,
};

/// This format.
pub const CHAT: Format = Format {
    api: Api::LmStudioChat,
    operation: Operation::Chat,
    provider: "lm_studio",
    shape: |body| body.has("model") && body.has("input"),
    request,
    plain: |body, call| whole(body, call).finish(call),
    stream: || Box::<Events>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model");
    asked.stream |= body.bool("stream") == Some(true);
    asked.max_tokens = body.int("max_output_tokens");
    asked.temperature = body.float("temperature");
    asked.top_p = body.float("top_p");
    asked.top_k = body.int("top_k");
    asked.reasoning_level = body.string("reasoning");
    asked.previous_response_id = body.string("previous_response_id");
    if let Some(text) = body.str("system_prompt").filter(|text| !text.is_empty()) {
        let mut digest = MessageDigest::new();
        digest.text(&text);
        call.thread.system = Some(digest.finish("system"));
    }
    if let Some(content) = &mut call.content {
        content.system_instructions = body.string("system_prompt").map(MessagePart::text).into_iter().collect();
        // Servers of MCP that the server may use.
        let kind = |of: &Object<'_>| of.string("type").unwrap_or_else(|| "plugin".into());
        content.tools = body
            .objects("integrations")
            .filter_map(|of| {
                let name = of.string("server_label").or_else(|| of.string("id"))?;
                Some(ToolDefinition { kind: kind(&of), name, ..ToolDefinition::default() })
            })
            .collect();
    }
    if let Some(text) = body.string("input") {
        said::prompt(call, &[text]);
        return true;
    }
    let mut digest = MessageDigest::new();
    digest.content(body.raw("input"), |_, _, _| false);
    call.thread.from_user = true;
    digest.add_to(&mut call.thread, "user");
    if let Some(content) = &mut call.content {
        let part = |part: Object<'_>| match (part.string("content"), part.string("data_url")) {
            (Some(text), _) => MessagePart::text(text),
            (None, Some(url)) => chat::address(&url, "image"),
            (None, None) => chat::part(&part),
        };
        let parts = body.objects("input").map(part).collect();
        content.input.push(Message { role: "user".into(), parts, ..Message::default() });
    }
    true
}

/// A whole answer.
fn whole(body: &Object<'_>, call: &mut ModelCall) -> Said {
    call.reply.id = body.string("response_id");
    call.reply.model = body.string("model_instance_id");
    if let Some(stats) = body.object("stats") {
        call.usage.input = stats.count("input_tokens");
        call.usage.output = stats.count("total_output_tokens");
        call.usage.reasoning = stats.count("reasoning_output_tokens");
    }
    // An answer says no reason; one that was cut has not ended.
    let ended = body.has("stats") && body.has("response_id");
    let mut said = Said { reason: ended.then(|| "stop".into()), ..Said::default() };
    for entry in body.objects("output").filter(|_| call.content.is_some()) {
        match entry.str("type").as_deref() {
            Some("reasoning") => {
                said.parts.extend(entry.string("content").map(|content| MessagePart::Reasoning { content }))
            }
            Some("tool_call") => {
                let name = entry.string("tool").unwrap_or_default();
                let kind = "tool_call";
                said.parts.push(MessagePart::ServerToolCall {
                    id: None,
                    server_tool_call: media::typed(kind, &entry, &["output", "tool"]),
                    name,
                });
                let server_tool_call_response = media::typed(kind, &entry, &["arguments"]);
                said.parts.push(MessagePart::ServerToolCallResponse { id: None, server_tool_call_response });
            }
            _ => said.parts.extend(entry.string("content").map(MessagePart::text)),
        }
    }
    said
}

#[derive(Default)]
struct Events {
    said: Said,
}

impl Stream for Events {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let kind = data.str("type");
        match kind.as_deref().or(name).unwrap_or_default() {
            "chat.start" => {
                call.reply.model = data.string("model_instance_id");
                Step::default()
            }
            "message.delta" => Step::content(self.said.text(call, &data.str("content").unwrap_or_default())),
            "reasoning.delta" => Step::content(self.said.thought(call, &data.str("content").unwrap_or_default())),
            "error" => {
                call.error = Some(failure::of_event(data));
                Step::TERMINAL
            }
            "chat.end" => {
                if let Some(result) = data.object("result") {
                    self.said = whole(&result, call);
                }
                Step::TERMINAL
            }
            _ => Step::default(),
        }
    }

    fn cut(&mut self) {
        self.said.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        self.said.finish(call);
        false
    }
}
