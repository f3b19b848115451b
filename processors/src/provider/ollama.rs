//! Ollama (`POST /api/chat`, `/api/generate`, `/api/embed`). Facts from Ollama's API reference: a stream, which is the
//! default, is one JSON document a line, the last with `done: true`, `done_reason` and the counts; there are no ids.

use pipeline::observation::{Api, ModelCall, Operation, RequestedTool, ToolResult};

use super::{
    failure,
    format::{Format, NoStream, Step, Stream},
    json::Object,
    thread::MessageDigest,
};

/// `/api/chat`
pub const CHAT: Format = Format {
    api: Api::OllamaChat,
    operation: Operation::Chat,
    provider: "ollama",
    shape: |body| body.has("model") && body.array("messages").is_some(),
    request,
    plain: |body, call| one(body, call),
    stream: || Box::<Lines>::default(),
};

/// `/api/generate`
pub const GENERATE: Format = Format {
    api: Api::OllamaGenerate,
    operation: Operation::TextCompletion,
    provider: "ollama",
    shape: |body| body.has("model") && body.has("prompt"),
    request,
    plain: |body, call| one(body, call),
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

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
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
    if body.has("format") {
        asked.output_type = Some("json".into());
    }
    let thread = &mut call.thread;
    thread.has_tools = body.array("tools").is_some_and(|tools| !tools.is_empty());
    let mut system: Option<MessageDigest> = None;
    for message in body.objects("messages") {
        let role = message.str("role").unwrap_or_default();
        let mut digest = MessageDigest::new();
        digest.text(&message.str("content").unwrap_or_default());
        match role.as_ref() {
            "system" if thread.messages.is_empty() => {
                system.get_or_insert_with(MessageDigest::new).text(&message.str("content").unwrap_or_default());
                continue;
            }
            "tool" => {
                let id = message.string("tool_name").or_else(|| message.string("name")).unwrap_or_default();
                thread.tool_results.push(ToolResult { id, ..ToolResult::default() });
            }
            "assistant" => thread.tool_results.clear(),
            _ => {}
        }
        thread.from_user = role == "user";
        thread.messages.push(digest.finish(&role));
    }
    if let Some(prompt) = body.str("prompt") {
        let mut digest = MessageDigest::new();
        digest.text(&prompt);
        thread.from_user = true;
        thread.messages.push(digest.finish("user"));
    }
    thread.system = system.map(|digest| digest.finish("system"));
    true
}

/// A whole answer is one line.
fn one(body: &Object<'_>, call: &mut ModelCall) {
    let mut lines = Box::<Lines>::default();
    lines.event(None, body, call);
    lines.finish(call);
}

#[derive(Default)]
struct Lines {
    tools: Vec<RequestedTool>,
}

impl Stream for Lines {
    fn event(&mut self, _: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if data.has("error") && !data.has("message") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        call.reply.model = data.string("model").or(call.reply.model.take());
        let mut content = data.string("response").is_some() || data.string("thinking").is_some();
        if let Some(message) = data.object("message") {
            content |= message.string("content").is_some() || message.string("thinking").is_some();
            for tool in message.objects("tool_calls") {
                content = true;
                let Some(function) = tool.object("function") else { continue };
                self.tools.push(RequestedTool {
                    id: tool.string("id"),
                    name: function.string("name").unwrap_or_default(),
                    arguments: function.raw("arguments").unwrap_or_default().to_owned(),
                });
            }
        }
        if data.bool("done") != Some(true) {
            return Step::content(content);
        }
        call.reply.finish_reasons = data.string("done_reason").into_iter().collect();
        call.usage.input = data.count("prompt_eval_count");
        call.usage.output = data.count("eval_count");
        Step { content, terminal: true }
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        call.tool_calls = self.tools;
        false
    }
}
