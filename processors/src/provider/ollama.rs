//! Ollama (`POST /api/chat`, `/api/generate`, `/api/embed`, `/api/embeddings`). Facts from Ollama's API reference and its
//! `api/types.go`: a stream, which is the default, is one JSON document a line, the last with `done: true`, `done_reason`
//! and the counts; an answer has no id; a tool's result names the tool, newer ones also its call. A request without a
//! message or with an empty prompt only loads the model.

use std::borrow::Cow;

use pipeline::observation::{Api, Message, MessagePart, ModelCall, Operation, RequestedTool, ToolResult};
use serde_json::json;

use super::{
    failure,
    format::{Format, NoStream, Step, Stream},
    json::{self, Object},
    media,
    openai_chat::content as chat,
    said::{self, Said},
    thread::MessageDigest,
};

/// `/api/chat`
pub const CHAT: Format = Format {
    api: Api::OllamaChat,
    operation: Operation::Chat,
    provider: "ollama",
    shape: |body| body.has("model") && body.array("messages").is_some(),
    request: |body, call| {
        parameters(body, call);
        messages(body, call);
        body.array("messages").is_none_or(|messages| !messages.is_empty())
    },
    plain: one,
    stream: || Box::<Lines>::default(),
};

/// `/api/generate`
pub const GENERATE: Format = Format {
    api: Api::OllamaGenerate,
    operation: Operation::TextCompletion,
    provider: "ollama",
    shape: |body| body.has("model") && body.has("prompt"),
    request: |body, call| {
        parameters(body, call);
        prompt(body, call);
        body.str("prompt").is_none_or(|prompt| !prompt.is_empty()) || body.has("images")
    },
    plain: one,
    stream: || Box::<Lines>::default(),
};

/// `/api/embed` and `/api/embeddings`
pub const EMBED: Format = Format {
    api: Api::OllamaEmbed,
    operation: Operation::Embeddings,
    provider: "ollama",
    shape: |body| body.has("model") && (body.has("input") || body.has("prompt")),
    request: |body, call| {
        call.parameters.model = body.string("model");
        call.parameters.dimensions = body.int("dimensions");
        true
    },
    plain: |body, call| {
        call.reply.model = body.string("model");
        call.usage.input = body.count("prompt_eval_count");
    },
    stream: || Box::new(NoStream),
};

fn parameters(body: &Object<'_>, call: &mut ModelCall) {
    let asked = &mut call.parameters;
    asked.model = body.string("model");
    asked.stream = body.bool("stream").unwrap_or(true);
    if let Some(options) = body.object("options") {
        asked.max_tokens = options.int("num_predict").filter(|most| *most >= 0);
        asked.temperature = options.float("temperature");
        asked.top_p = options.float("top_p");
        asked.top_k = options.int("top_k");
        asked.frequency_penalty = options.float("frequency_penalty");
        asked.presence_penalty = options.float("presence_penalty");
        asked.stop_sequences = options.strings("stop");
        asked.seed = options.int("seed");
    }
    // "json", or a schema; an empty text is none.
    if body.has("format") && body.str("format").as_deref() != Some("") {
        asked.output_type = Some("json".into());
    }
    // A level, or only whether.
    asked.reasoning_level = body.string("think");
    call.thread.has_tools = body.array("tools").is_some_and(|tools| !tools.is_empty());
    if let Some(content) = &mut call.content {
        content.tools = chat::tools(body);
    }
}

fn messages(body: &Object<'_>, call: &mut ModelCall) {
    let mut system: Option<MessageDigest> = None;
    for message in body.objects("messages") {
        let role = message.str("role").unwrap_or_default();
        let text = message.str("content").unwrap_or_default();
        let tool = message.string("tool_name").or_else(|| message.string("name"));
        let id = message.string("tool_call_id");
        if let Some(content) = &mut call.content {
            let parts = match role.as_ref() {
                "tool" => vec![result(id.clone(), tool.clone(), &text)],
                _ => parts(&message),
            };
            content.input.push(Message { role: role.clone().into_owned(), parts, ..Message::default() });
        }
        let thread = &mut call.thread;
        if role == "system" && thread.messages.is_empty() {
            system.get_or_insert_with(MessageDigest::new).text(&text);
            continue;
        }
        let mut digest = MessageDigest::new();
        digest.text(&text);
        match role.as_ref() {
            "tool" => {
                let response = call.content.is_some().then(|| media::result(&text));
                let id = id.or(tool).unwrap_or_default();
                thread.tool_results.push(ToolResult { id, is_error: false, response });
            }
            "assistant" => thread.tool_results.clear(),
            _ => {}
        }
        thread.from_user = role == "user";
        digest.add_to(thread, &role);
    }
    call.thread.system = system.map(|digest| digest.finish("system"));
}

/// A tool's result: by its call, or by the tool's name where there is no id.
fn result(id: Option<String>, name: Option<String>, text: &str) -> MessagePart {
    let response = media::result(text);
    match (id, name) {
        (None, Some(name)) => {
            MessagePart::Other(json!({"type": "tool_call_response", "name": name, "response": response}))
        }
        (id, _) => MessagePart::ToolCallResponse { id, response },
    }
}

/// Thoughts, text, images and calls of a message.
fn parts(message: &Object<'_>) -> Vec<MessagePart> {
    let mut parts: Vec<MessagePart> = Vec::new();
    parts.extend(message.string("thinking").map(|content| MessagePart::Reasoning { content }));
    parts.extend(message.string("content").map(MessagePart::text));
    parts.extend(images(message));
    parts.extend(message.objects("tool_calls").map(|raw| {
        let tool = tool(&raw);
        MessagePart::tool_call(tool.id, tool.name, &tool.arguments)
    }));
    parts
}

/// Images in base64, of a kind that is not told.
fn images(of: &Object<'_>) -> Vec<MessagePart> {
    of.strings("images").into_iter().map(|data| media::blob(None, "image", data)).collect()
}

fn prompt(body: &Object<'_>, call: &mut ModelCall) {
    let system = body.str("system").filter(|text| !text.is_empty());
    if let Some(system) = &system {
        let mut digest = MessageDigest::new();
        digest.text(system);
        call.thread.system = Some(digest.finish("system"));
    }
    let Some(text) = body.string("prompt") else { return };
    said::prompt(call, &[text]);
    if let Some(content) = &mut call.content {
        content.system_instructions = system.map(Cow::into_owned).map(MessagePart::text).into_iter().collect();
        if let Some(message) = content.input.last_mut() {
            message.parts.extend(images(body));
        }
    }
}

fn tool(raw: &Object<'_>) -> RequestedTool {
    let function = raw.object("function").unwrap_or_default();
    let arguments = function.raw("arguments").unwrap_or_default();
    RequestedTool {
        id: raw.string("id"),
        name: function.string("name").unwrap_or_default(),
        // An object, but some servers in its place send its text.
        arguments: json::string(arguments).map_or_else(|| arguments.to_owned(), Cow::into_owned),
    }
}

/// A whole answer is one line.
fn one(body: &Object<'_>, call: &mut ModelCall) {
    let mut lines = Box::<Lines>::default();
    lines.event(None, body, call);
    lines.finish(call);
}

#[derive(Default)]
struct Lines {
    said: Said,
}

impl Stream for Lines {
    fn event(&mut self, _: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if data.has("error") && !data.has("message") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        call.reply.model = data.string("model").or(call.reply.model.take());
        let message = data.object("message");
        let of = message.as_ref().unwrap_or(data);
        let mut content = self.said.thought(call, &of.str("thinking").unwrap_or_default());
        content |= self.said.text(call, &of.str("content").or_else(|| of.str("response")).unwrap_or_default());
        for raw in of.objects("tool_calls") {
            content = true;
            self.said.tools.push(tool(&raw));
        }
        if data.bool("done") != Some(true) {
            return Step::content(content);
        }
        self.said.reason = data.string("done_reason");
        call.usage.input = data.count("prompt_eval_count");
        call.usage.output = data.count("eval_count");
        Step { content, terminal: true }
    }

    fn cut(&mut self) {
        self.said.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        self.said.finish(call);
        false
    }
}
