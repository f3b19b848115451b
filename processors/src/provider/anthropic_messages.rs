//! Anthropic messages (`POST …/v1/messages`).
//!
//! Facts from Anthropic's API reference, "Messages", "Streaming messages" and "Prompt caching": `input_tokens` leaves
//! out what was read from or written to the cache; the usage of `message_delta` is cumulative; what a compaction used
//! stands in `iterations` only, though it is billed.

use std::collections::BTreeMap;

use pipeline::observation::{Api, Modalities, ModelCall, Operation, RequestedTool, ToolResult, Usage};

use super::{
    anthropic_content::{self, Deltas},
    failure,
    format::{Format, Step, Stream},
    json::{self, Object},
    media,
    openai_chat::format_type,
    thread::MessageDigest,
};

/// This format.
pub const FORMAT: Format = Format {
    api: Api::Messages,
    operation: Operation::Chat,
    provider: "anthropic",
    // On Vertex the path names the model.
    shape: |body| (body.has("model") || body.has("anthropic_version")) && body.array("messages").is_some(),
    request,
    plain,
    stream: || Box::<MessageStream>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model").or(asked.model.take());
    asked.stream |= body.bool("stream") == Some(true);
    asked.max_tokens = body.int("max_tokens");
    asked.temperature = body.float("temperature");
    asked.top_p = body.float("top_p");
    asked.top_k = body.int("top_k");
    asked.stop_sequences = body.strings("stop_sequences");
    let output = body.object("output_config");
    asked.reasoning_level = output.as_ref().and_then(|config| config.string("effort"));
    asked.output_type = output
        .and_then(|config| config.object("format"))
        .or_else(|| body.object("output_format"))
        .and_then(|format| format_type(&format));
    asked.service_tier = body.string("service_tier").filter(|tier| tier != "auto");
    if call.conversation_id.is_none() {
        call.conversation_id =
            body.object("metadata").and_then(|metadata| metadata.string("user_id")).and_then(|user| session(&user));
    }
    thread(body, call);
    if let Some(content) = &mut call.content {
        anthropic_content::request(body, content);
    }
    true
}

/// The session in Claude Code's `metadata.user_id`: `user_…_account_…_session_<uuid>`, or a JSON text with a
/// `session_id`.
fn session(user: &str) -> Option<String> {
    let found = match user.rsplit_once("session_") {
        Some((_, id)) if !user.starts_with('{') => id.to_owned(),
        _ => Object::parse(user)?.string("session_id")?,
    };
    is_uuid(&found).then_some(found)
}

fn is_uuid(text: &str) -> bool {
    let mut groups = text.split('-');
    [8, 4, 4, 4, 12].iter().all(|length| {
        groups.next().is_some_and(|group| group.len() == *length && group.bytes().all(|b| b.is_ascii_hexdigit()))
    }) && groups.next().is_none()
}

fn thread(body: &Object<'_>, call: &mut ModelCall) {
    let thread = &mut call.thread;
    let (captured, compacted) = (call.content.is_some(), &mut call.parameters.compacted);
    thread.has_tools = body.array("tools").is_some_and(|tools| !tools.is_empty());
    if body.has("system") {
        let mut system = MessageDigest::new();
        system.content(body.raw("system"), |_, _, _| false);
        thread.system = Some(system.finish("system"));
    }
    for message in body.objects("messages") {
        let role = message.str("role").unwrap_or_default();
        let assistant = role == "assistant";
        if assistant {
            thread.tool_results.clear();
        }
        let mut results = false;
        let mut digest = MessageDigest::new();
        digest.content(message.raw("content"), |digest, kind, part| match kind {
            "tool_use" => {
                digest.id(part.str("id").unwrap_or_default());
                true
            }
            "tool_result" => {
                results = true;
                let id = part.string("tool_use_id").unwrap_or_default();
                digest.id(id.as_str());
                if !id.is_empty() {
                    thread.tool_results.push(ToolResult {
                        id,
                        is_error: part.bool("is_error") == Some(true),
                        response: captured.then(|| anthropic_content::result(part)),
                    });
                }
                true
            }
            // Clients leave these out of later requests.
            "thinking" | "redacted_thinking" => true,
            "compaction" => {
                *compacted = Some(true);
                false
            }
            _ => false,
        });
        // Claude Code puts system messages after the user's.
        if role != "system" {
            thread.from_user = !assistant && digest.own && !results;
        }
        digest.add_to(thread, &role);
    }
}

/// Tokens as the wire tells them.
#[derive(Clone, Copy, Default)]
struct WireUsage {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_creation: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
    /// What compactions used, beside the rest: input with what was cached, and output.
    compaction: (u64, u64),
}

impl WireUsage {
    /// Takes over what is there.
    fn update(&mut self, usage: &Object<'_>) {
        let set = |slot: &mut Option<u64>, key| *slot = usage.count(key).or(*slot);
        set(&mut self.input, "input_tokens");
        set(&mut self.cache_read, "cache_read_input_tokens");
        set(&mut self.cache_creation, "cache_creation_input_tokens");
        set(&mut self.output, "output_tokens");
        if let Some(details) = usage.object("output_tokens_details") {
            self.reasoning = details.count("thinking_tokens").or(details.count("reasoning_tokens")).or(self.reasoning);
        }
        let compactions = usage.objects("iterations").filter(|of| of.str("type").as_deref() == Some("compaction"));
        if usage.has("iterations") {
            self.compaction = (0, 0);
        }
        for of in compactions {
            let count = |key| of.count(key).unwrap_or(0);
            let cached = count("cache_read_input_tokens").saturating_add(count("cache_creation_input_tokens"));
            let (input, output) = (count("input_tokens").saturating_add(cached), count("output_tokens"));
            self.compaction = (self.compaction.0.saturating_add(input), self.compaction.1.saturating_add(output));
        }
    }

    /// By the convention's counting.
    fn convert(self) -> Usage {
        let cached = self.cache_read.unwrap_or(0).saturating_add(self.cache_creation.unwrap_or(0));
        Usage {
            input: self.input.map(|input| input.saturating_add(cached).saturating_add(self.compaction.0)),
            output: self.output.map(|output| output.saturating_add(self.compaction.1)),
            cache_read: self.cache_read,
            cache_creation: self.cache_creation,
            reasoning: self.reasoning,
            modalities: Modalities::default(),
        }
    }
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    if body.str("type").as_deref() == Some("error") {
        call.error = Some(failure::of_event(body));
        return;
    }
    call.reply.id = body.string("id");
    call.reply.model = body.string("model");
    let reason = body.string("stop_reason");
    let mut usage = WireUsage::default();
    if let Some(found) = body.object("usage") {
        usage.update(&found);
        call.reply.service_tier = found.string("service_tier");
    }
    call.usage = usage.convert();
    for block in body.objects("content") {
        match block.str("type").as_deref() {
            Some("tool_use") => call.tool_calls.push(RequestedTool {
                id: block.string("id"),
                name: block.string("name").unwrap_or_default(),
                arguments: block.raw("input").unwrap_or_default().to_owned(),
            }),
            Some("compaction") => call.parameters.compacted = Some(true),
            _ => {}
        }
    }
    if let Some(content) = &mut call.content {
        let finish = reason.as_deref().map_or(media::CUT, anthropic_content::finish_reason);
        content.output = vec![media::answer(anthropic_content::parts(body.raw("content")), finish.to_owned())];
    }
    call.reply.finish_reasons.extend(reason);
}

#[derive(Default)]
struct MessageStream {
    usage: WireUsage,
    /// Tokens of the answer as `message_start` guesses them: one or so, replaced by `message_delta`.
    first_output: Option<u64>,
    stop_reason: Option<String>,
    ended: bool,
    cut: bool,
    /// Requested tools by block: the call, and its input as the block's start gave it.
    tools: BTreeMap<u64, (RequestedTool, String)>,
    /// Blocks as they began, and what was added to each; only if content is captured.
    blocks: BTreeMap<u64, (String, Deltas)>,
}

impl MessageStream {
    fn block_start(&mut self, data: &Object<'_>, call: &mut ModelCall) -> bool {
        let Some(block) = data.object("content_block") else { return false };
        if call.content.is_some()
            && let Some(raw) = data.raw("content_block")
        {
            self.blocks.insert(data.count("index").unwrap_or(0), (raw.to_owned(), Deltas::default()));
        }
        match block.str("type").as_deref() {
            Some("tool_use") => {
                let tool = RequestedTool {
                    id: block.string("id"),
                    name: block.string("name").unwrap_or_default(),
                    arguments: String::new(),
                };
                let input = block.raw("input").unwrap_or_default().to_owned();
                self.tools.insert(data.count("index").unwrap_or(0), (tool, input));
                true
            }
            Some("redacted_thinking") => true,
            Some("compaction") => {
                call.parameters.compacted = Some(true);
                block.string("content").is_some()
            }
            Some("text") => block.string("text").is_some(),
            _ => false,
        }
    }

    fn block_delta(&mut self, data: &Object<'_>) -> bool {
        let Some(delta) = data.object("delta") else { return false };
        let filled = |key| delta.raw(key).is_some_and(|raw| raw.starts_with('"') && raw != "\"\"");
        let mut text = |key| {
            if let Some((_, added)) = self.blocks.get_mut(&data.count("index").unwrap_or(0)) {
                added.text.push_str(&delta.str(key).unwrap_or_default());
            }
            filled(key)
        };
        match delta.str("type").as_deref() {
            Some("text_delta") => text("text"),
            Some("thinking_delta") => text("thinking"),
            Some("compaction_delta") => text("content"),
            Some("input_json_delta") => {
                // A server's own tool has a block too, but no entry.
                let (index, part) =
                    (data.count("index").unwrap_or(0), delta.raw("partial_json").and_then(json::string));
                let part = part.unwrap_or_default();
                if let Some((tool, _)) = self.tools.get_mut(&index) {
                    tool.arguments.push_str(&part);
                }
                if let Some((_, added)) = self.blocks.get_mut(&index) {
                    added.input.push_str(&part);
                }
                filled("partial_json")
            }
            _ => false,
        }
    }
}

impl Stream for MessageStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let kind = data.str("type");
        match kind.as_deref().or(name).unwrap_or_default() {
            "message_start" => {
                let Some(message) = data.object("message") else { return Step::default() };
                call.reply.id = message.string("id");
                call.reply.model = message.string("model");
                self.stop_reason = message.string("stop_reason");
                if let Some(usage) = message.object("usage") {
                    self.usage.update(&usage);
                    call.reply.service_tier = usage.string("service_tier");
                    self.first_output = self.usage.output.take();
                }
                Step::default()
            }
            "content_block_start" => Step::content(self.block_start(data, call)),
            "content_block_delta" => Step::content(self.block_delta(data)),
            "message_delta" => {
                if let Some(reason) = data.object("delta").and_then(|delta| delta.string("stop_reason")) {
                    self.stop_reason = Some(reason);
                }
                if let Some(usage) = data.object("usage") {
                    self.usage.update(&usage);
                }
                Step::default()
            }
            "message_stop" => {
                self.ended = true;
                Step::TERMINAL
            }
            "error" => {
                call.error = Some(failure::of_event(data));
                Step::TERMINAL
            }
            _ => Step::default(),
        }
    }

    fn cut(&mut self) {
        self.cut = true;
    }

    fn finish(mut self: Box<Self>, call: &mut ModelCall) -> bool {
        if self.ended {
            self.usage.output = self.usage.output.or(self.first_output);
        }
        call.usage = self.usage.convert();
        if let Some(content) = &mut call.content
            && (self.ended || !self.blocks.is_empty())
        {
            let parts = self.blocks.values().filter_map(|(start, added)| {
                Object::parse(start).and_then(|block| anthropic_content::part(&block, added))
            });
            let finish = self.stop_reason.as_deref().map_or(media::CUT, anthropic_content::finish_reason);
            content.output = vec![media::answer(parts.collect(), finish.to_owned())];
        }
        let unseen = || (self.cut && call.reply.id.is_some()).then(|| media::CUT.to_owned());
        call.reply.finish_reasons = self.stop_reason.or_else(unseen).into_iter().collect();
        call.tool_calls = self
            .tools
            .into_values()
            .map(|(mut tool, input)| {
                if tool.arguments.is_empty() {
                    tool.arguments = input;
                }
                tool
            })
            .collect();
        false
    }
}
