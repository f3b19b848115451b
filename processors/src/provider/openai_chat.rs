//! OpenAI chat completions (`POST …/chat/completions`), also as others speak it.
//!
//! Facts from OpenAI's API reference, "Chat Completions" and "Streaming": usage comes in the last chunk, whose
//! `choices` is empty; tool calls come in deltas with an `index`; `[DONE]` ends the stream.

use std::collections::BTreeMap;

use pipeline::observation::{Api, Modalities, ModelCall, Operation, RequestedTool, ToolResult, Usage};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::Object,
    thread::MessageDigest,
};

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
    asked.max_tokens = body.int("max_completion_tokens").or_else(|| body.int("max_tokens"));
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
                        thread.tool_results.push(ToolResult { id, ..ToolResult::default() });
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
        thread.messages.push(digest.finish(&role));
    }
    thread.system = system.map(|digest| digest.finish("system"));
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    head(body, call);
    if let Some(found) = body.object("usage").map(|usage| self::usage(&usage)) {
        call.usage = found;
    }
    let mut choices: Vec<(u64, Object<'_>)> = body
        .objects("choices")
        .enumerate()
        .map(|(at, choice)| (choice.count("index").unwrap_or(at as u64), choice))
        .collect();
    choices.sort_by_key(|(index, _)| *index);
    for (_, choice) in &choices {
        call.reply.finish_reasons.extend(choice.string("finish_reason"));
        let Some(message) = choice.object("message") else { continue };
        call.tool_calls.extend(message.objects("tool_calls").map(|tool| named(&tool)));
        call.tool_calls.extend(message.object("function_call").map(|function| named_function(None, &function)));
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

fn usage(usage: &Object<'_>) -> Usage {
    let input = usage.object("prompt_tokens_details");
    let output = usage.object("completion_tokens_details");
    Usage {
        input: usage.count("prompt_tokens"),
        output: usage.count("completion_tokens"),
        cache_read: input
            .as_ref()
            .and_then(|details| details.count("cached_tokens"))
            // DeepSeek's name for the same.
            .or_else(|| usage.count("prompt_cache_hit_tokens")),
        cache_creation: input.as_ref().and_then(|details| details.count("cache_write_tokens")),
        reasoning: output.and_then(|details| details.count("reasoning_tokens")),
        modalities: Modalities::default(),
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

#[derive(Default)]
struct ChatStream {
    /// Finish reason by choice.
    choices: BTreeMap<u64, Option<String>>,
    /// Calls by choice and index.
    tools: BTreeMap<(u64, u64), RequestedTool>,
}

impl ChatStream {
    fn delta(&mut self, choice: u64, delta: &Object<'_>) -> bool {
        // `reasoning_content` and `reasoning` are DeepSeek's, vLLM's and OpenRouter's names.
        const TEXTS: &[&str] = &["content", "refusal", "reasoning_content", "reasoning"];
        let mut content =
            TEXTS.iter().any(|key| delta.raw(key).is_some_and(|raw| raw.starts_with('"') && raw != "\"\""))
                || delta.has("audio");
        for (at, tool) in delta.objects("tool_calls").enumerate() {
            content = true;
            let index = tool.count("index").unwrap_or(at as u64);
            add(self.tools.entry((choice, index)).or_default(), named(&tool));
        }
        if let Some(function) = delta.object("function_call") {
            content = true;
            add(self.tools.entry((choice, 0)).or_default(), named_function(None, &function));
        }
        content
    }
}

/// Joins a delta to what came before it.
fn add(whole: &mut RequestedTool, delta: RequestedTool) {
    if whole.id.is_none() {
        whole.id = delta.id;
    }
    if whole.name.is_empty() {
        whole.name = delta.name;
    }
    whole.arguments.push_str(&delta.arguments);
}

impl Stream for ChatStream {
    fn event(&mut self, _: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        head(data, call);
        if let Some(found) = data.object("usage") {
            call.usage = usage(&found);
        }
        if data.has("error") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        let mut content = false;
        for (at, choice) in data.objects("choices").enumerate() {
            let index = choice.count("index").unwrap_or(at as u64);
            let reason = self.choices.entry(index).or_default();
            if let Some(said) = choice.string("finish_reason") {
                *reason = Some(said);
            }
            if let Some(delta) = choice.object("delta") {
                content |= self.delta(index, &delta);
            }
        }
        Step::content(content)
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        // Some servers never send `[DONE]`: whole is what gave a reason for every choice.
        let whole = !self.choices.is_empty() && self.choices.values().all(Option::is_some);
        call.reply.finish_reasons = self.choices.into_values().flatten().collect();
        call.tool_calls = self.tools.into_values().collect();
        whole
    }
}
