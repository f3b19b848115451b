//! Amazon Bedrock (`POST /model/{id}/converse`, `converse-stream`, `invoke`, `invoke-with-response-stream`).
//!
//! Facts from the Bedrock Runtime API reference, "Converse", "ConverseStream", "InvokeModel": usage leaves out what was
//! read from or written to the cache; a stream ends with `messageStop` and then `metadata` with the usage. `invoke` carries
//! the model's own format; Anthropic's is read, of others what the headers tell (`x-amzn-bedrock-*-token-count`).

use std::collections::BTreeMap;

use base64::Engine as _;
use pipeline::observation::{Api, Modalities, ModelCall, Operation, RequestedTool, ToolResult, Usage};

use super::{
    anthropic_messages, failure,
    format::{Format, Step, Stream},
    json::Object,
    thread::MessageDigest,
};

/// `converse`, `converse-stream`
pub const CONVERSE: Format = Format {
    api: Api::BedrockConverse,
    operation: Operation::Chat,
    provider: "aws.bedrock",
    shape: |body| body.array("messages").is_some(),
    request,
    plain,
    stream: || Box::<ConverseStream>::default(),
};

/// `invoke`, `invoke-with-response-stream`
pub const INVOKE: Format = Format {
    api: Api::BedrockInvoke,
    operation: Operation::Chat,
    provider: "aws.bedrock",
    shape: |body| body.has("anthropic_version") || (body.has("messages") && body.has("max_tokens")),
    request: |body, call| {
        let model = call.parameters.model.take();
        (anthropic_messages::FORMAT.request)(body, call);
        call.parameters.model = model;
        true
    },
    plain: |body, call| (anthropic_messages::FORMAT.plain)(body, call),
    stream: || Box::new(InvokeStream((anthropic_messages::FORMAT.stream)())),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    if let Some(config) = body.object("inferenceConfig") {
        asked.max_tokens = config.int("maxTokens");
        asked.temperature = config.float("temperature");
        asked.top_p = config.float("topP");
        asked.stop_sequences = config.strings("stopSequences");
    }
    let thread = &mut call.thread;
    let tools = body.object("toolConfig").and_then(|config| config.array("tools"));
    thread.has_tools = tools.is_some_and(|tools| !tools.is_empty());
    if body.has("system") {
        let mut digest = MessageDigest::new();
        for part in body.objects("system") {
            digest.text(&part.str("text").unwrap_or_default());
        }
        thread.system = Some(digest.finish("system"));
    }
    for message in body.objects("messages") {
        let role = message.str("role").unwrap_or_default();
        let assistant = role == "assistant";
        if assistant {
            thread.tool_results.clear();
        }
        let (mut results, mut digest) = (false, MessageDigest::new());
        for part in message.objects("content") {
            if let Some(text) = part.str("text") {
                digest.text(&text);
            } else if let Some(used) = part.object("toolUse") {
                digest.id(used.str("toolUseId").unwrap_or_default());
            } else if let Some(result) = part.object("toolResult") {
                results = true;
                let id = result.string("toolUseId").unwrap_or_default();
                digest.id(id.as_str());
                let is_error = result.str("status").as_deref() == Some("error");
                thread.tool_results.push(ToolResult { id, is_error, response: None });
            } else if !part.has("reasoningContent") && !part.has("cachePoint") {
                digest.part(&part);
            }
        }
        thread.from_user = !assistant && digest.own && !results;
        thread.messages.push(digest.finish(&role));
    }
    true
}

/// By the convention's counting: input includes the cache.
fn usage(usage: &Object<'_>) -> Usage {
    let (read, written) = (usage.count("cacheReadInputTokens"), usage.count("cacheWriteInputTokens"));
    let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
    Usage {
        input: usage.count("inputTokens").map(|input| input.saturating_add(cached)),
        output: usage.count("outputTokens"),
        cache_read: read,
        cache_creation: written,
        reasoning: None,
        modalities: Modalities::default(),
    }
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    call.reply.finish_reasons.extend(body.string("stopReason"));
    if let Some(found) = body.object("usage") {
        call.usage = usage(&found);
    }
    let message = body.object("output").and_then(|output| output.object("message"));
    let used = message.iter().flat_map(|message| message.objects("content")).filter_map(|part| part.object("toolUse"));
    call.tool_calls.extend(used.map(|used| RequestedTool {
        id: used.string("toolUseId"),
        name: used.string("name").unwrap_or_default(),
        arguments: used.raw("input").unwrap_or_default().to_owned(),
    }));
}

/// An event that is an exception: `throttlingException` and the like.
fn exception(name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> bool {
    let Some(name) = name.filter(|name| name.ends_with("Exception")) else { return false };
    let mut error = failure::of_event(data);
    error.kind = name.to_owned();
    call.error = Some(error);
    true
}

#[derive(Default)]
struct ConverseStream {
    tools: BTreeMap<u64, RequestedTool>,
    stopped: bool,
}

impl Stream for ConverseStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if exception(name, data, call) {
            return Step::TERMINAL;
        }
        let block = data.count("contentBlockIndex").unwrap_or(0);
        match name.unwrap_or_default() {
            "contentBlockStart" => {
                let used = data.object("start").and_then(|start| start.object("toolUse"));
                let content = used.is_some();
                if let Some(used) = used {
                    self.tools.insert(
                        block,
                        RequestedTool {
                            id: used.string("toolUseId"),
                            name: used.string("name").unwrap_or_default(),
                            arguments: String::new(),
                        },
                    );
                }
                Step::content(content)
            }
            "contentBlockDelta" => {
                let Some(delta) = data.object("delta") else { return Step::default() };
                let input = delta.object("toolUse").and_then(|used| used.string("input"));
                if let (Some(input), Some(tool)) = (&input, self.tools.get_mut(&block)) {
                    tool.arguments.push_str(input);
                }
                Step::content(input.is_some() || delta.string("text").is_some() || delta.has("reasoningContent"))
            }
            "messageStop" => {
                self.stopped = true;
                call.reply.finish_reasons = data.string("stopReason").into_iter().collect();
                Step::default()
            }
            "metadata" => {
                if let Some(found) = data.object("usage") {
                    call.usage = usage(&found);
                }
                Step::TERMINAL
            }
            _ => Step::default(),
        }
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        call.tool_calls = self.tools.into_values().collect();
        self.stopped
    }
}

/// Events `chunk` carry the model's own events in base64.
struct InvokeStream(Box<dyn Stream>);

impl Stream for InvokeStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if exception(name, data, call) {
            return Step::TERMINAL;
        }
        let decoded = data.str("bytes").and_then(|text| base64::prelude::BASE64_STANDARD.decode(text.as_bytes()).ok());
        let Some(inner) = decoded.as_deref().and_then(Object::from_bytes) else { return Step::default() };
        self.0.event(None, &inner, call)
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        self.0.finish(call)
    }
}
