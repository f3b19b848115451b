//! OpenAI responses (`POST …/responses`, or over a WebSocket, where a request is a message `response.create` with the same
//! fields beside its type). Facts from OpenAI's API reference, "Responses" and "Streaming events".
//!
//! The API has no finish reason. Told is: `tool_calls` if a completed answer asks for tools, `stop` if it asks for
//! none, `incomplete_details.reason` (else `incomplete`) of an incomplete one, nothing of any other.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::observation::{
    Api, CallError, Modalities, ModelCall, Operation, RequestedTool, Thread, ToolResult, Usage,
};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::Object,
    openai_chat::format_type,
    thread::MessageDigest,
};

/// This format.
pub const FORMAT: Format = Format {
    api: Api::Responses,
    operation: Operation::Chat,
    provider: "openai",
    shape: |body| body.has("model") && (body.has("input") || body.has("prompt") || body.has("previous_response_id")),
    request,
    plain: |body, call| {
        let mut tools = Tools::default();
        response(body, &mut tools, call);
        conclude(tools, status(body), call);
        if !body.has("status") && !body.has("output") && body.has("error") {
            call.error = Some(failure::of_event(body));
        }
    },
    stream: || Box::<ResponseStream>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    // Codex warms a connection up so.
    if body.bool("generate") == Some(false) {
        return false;
    }
    let asked = &mut call.parameters;
    asked.model = body.string("model").or(asked.model.take());
    asked.stream |= body.bool("stream") == Some(true);
    asked.max_tokens = body.int("max_output_tokens");
    asked.temperature = body.float("temperature");
    asked.top_p = body.float("top_p");
    asked.output_type =
        body.object("text").and_then(|text| text.object("format")).and_then(|format| format_type(&format));
    asked.reasoning_level = body.object("reasoning").and_then(|reasoning| reasoning.string("effort"));
    asked.previous_response_id = body.string("previous_response_id");
    asked.service_tier = body.string("service_tier").filter(|tier| tier != "auto");
    if call.conversation_id.is_none() {
        // Codex names its session there too.
        let metadata = || body.object("client_metadata").and_then(|metadata| metadata.string("session_id"));
        call.conversation_id = conversation(body).or_else(metadata);
    }
    thread(body, call);
    true
}

/// `conversation`: an id, or an object with one.
fn conversation(body: &Object<'_>) -> Option<String> {
    body.string("conversation").or_else(|| body.object("conversation").and_then(|of| of.string("id")))
}

fn thread(body: &Object<'_>, call: &mut ModelCall) {
    let thread = &mut call.thread;
    thread.has_tools = body.array("tools").is_some_and(|tools| !tools.is_empty());
    let mut system: Option<MessageDigest> = None;
    if let Some(text) = body.str("instructions") {
        system.get_or_insert_with(MessageDigest::new).text(&text);
    }
    if let Some(text) = body.str("input") {
        let mut digest = MessageDigest::new();
        digest.text(&text);
        thread.from_user = true;
        thread.messages.push(digest.finish("user"));
    }
    for given in body.objects("input") {
        item(&given, &mut system, thread);
    }
    thread.system = system.map(|digest| digest.finish("system"));
}

/// Takes an item of a request's input.
pub fn item(item: &Object<'_>, system: &mut Option<MessageDigest>, thread: &mut Thread) {
    let kind = item.str("type").unwrap_or("message".into());
    let mut digest = MessageDigest::new();
    match kind.as_ref() {
        "message" => {
            let role = item.str("role").unwrap_or_default();
            if matches!(role.as_ref(), "system" | "developer") && thread.messages.is_empty() {
                system.get_or_insert_with(MessageDigest::new).content(item.raw("content"), |_, _, _| false);
                return;
            }
            digest.content(item.raw("content"), |_, _, _| false);
            match role.as_ref() {
                "user" => thread.from_user = true,
                "assistant" => {
                    thread.from_user = false;
                    thread.tool_results.clear();
                }
                _ => {}
            }
            thread.messages.push(digest.finish(&role));
        }
        // Left out of later requests by some clients.
        "reasoning" | "item_reference" | "compaction" => {}
        kind if kind.ends_with("_call_output") => {
            let id = item.string("call_id").unwrap_or_default();
            digest.id(id.as_str());
            thread.from_user = false;
            if !id.is_empty() {
                thread.tool_results.push(ToolResult { id, ..ToolResult::default() });
            }
            thread.messages.push(digest.finish("tool"));
        }
        kind => {
            // A call of the model's: the agent's or the provider's.
            digest.id(item.str("call_id").or_else(|| item.str("id")).unwrap_or_default());
            thread.from_user = false;
            if kind.ends_with("_call") {
                thread.tool_results.clear();
            }
            thread.messages.push(digest.finish("assistant"));
        }
    }
}

/// Requested tools by their item's place in the output.
#[derive(Default)]
struct Tools {
    items: BTreeMap<u64, RequestedTool>,
    /// Place by item id, for events that name no place.
    places: BTreeMap<String, u64>,
}

impl Tools {
    /// Takes an output item; false if it is no tool that the agent runs.
    fn take(&mut self, place: u64, item: &Object<'_>) -> bool {
        let Some(tool) = requested(item) else { return false };
        if let Some(id) = item.string("id") {
            self.places.insert(id, place);
        }
        let slot = self.items.entry(place).or_default();
        // A finished item has the whole arguments; one just begun has none yet.
        let arguments = if tool.arguments.is_empty() { std::mem::take(&mut slot.arguments) } else { tool.arguments };
        *slot = RequestedTool { arguments, ..tool };
        true
    }

    fn find(&mut self, data: &Object<'_>) -> Option<&mut RequestedTool> {
        let place = data.count("output_index").or_else(|| self.places.get(data.str("item_id")?.as_ref()).copied())?;
        self.items.get_mut(&place)
    }
}

/// A tool that the agent is to run; `None` for text, reasoning and the provider's own tools.
fn requested(item: &Object<'_>) -> Option<RequestedTool> {
    let kind = item.str("type")?;
    let raw = |key| item.raw(key).unwrap_or_default().to_owned();
    let (name, arguments) = match kind.as_ref() {
        "function_call" => {
            (item.string("name").unwrap_or_default(), item.str("arguments").unwrap_or_default().into_owned())
        }
        "custom_tool_call" => {
            (item.string("name").unwrap_or_default(), item.str("input").unwrap_or_default().into_owned())
        }
        "local_shell_call" => ("local_shell".into(), raw("action")),
        "shell_call" => {
            // One that names a container ran at the provider.
            let place = item.object("environment").and_then(|environment| environment.string("type"));
            if place.is_some_and(|place| place.starts_with("container")) {
                return None;
            }
            ("shell".into(), raw("action"))
        }
        "apply_patch_call" => ("apply_patch".into(), raw("operation")),
        "computer_call" => ("computer".into(), raw("action")),
        _ => return None,
    };
    Some(RequestedTool { id: item.string("call_id").or_else(|| item.string("id")), name, arguments })
}

/// Reads a response object: the whole of a plain answer, or that of an event.
fn response(body: &Object<'_>, tools: &mut Tools, call: &mut ModelCall) {
    let reply = &mut call.reply;
    let keep = |slot: &mut Option<String>, found: Option<String>| *slot = found.or(slot.take());
    keep(&mut reply.id, body.string("id"));
    keep(&mut reply.model, body.string("model"));
    keep(&mut reply.service_tier, body.string("service_tier"));
    if call.conversation_id.is_none() {
        call.conversation_id = conversation(body);
    }
    if let Some(usage) = body.object("usage") {
        // The latter of each pair is realtime's.
        let details = |keys: [&str; 2], count| {
            keys.iter().find_map(|key| usage.object(key)).and_then(|details| details.count(count))
        };
        let (input, output) =
            (["input_tokens_details", "input_token_details"], ["output_tokens_details", "output_token_details"]);
        call.usage = Usage {
            input: usage.count("input_tokens"),
            output: usage.count("output_tokens"),
            cache_read: details(input, "cached_tokens"),
            cache_creation: details(input, "cache_write_tokens"),
            reasoning: details(output, "reasoning_tokens"),
            modalities: Modalities::default(),
        };
    }
    for (place, item) in body.objects("output").enumerate() {
        tools.take(place as u64, &item);
    }
}

/// How an answer ended.
enum Status {
    Completed,
    Incomplete(String),
    Failed(CallError),
    Open,
}

fn status(body: &Object<'_>) -> Status {
    // Realtime has `status_details` for all.
    let details = || body.object("status_details");
    match body.str("status").as_deref() {
        Some("completed") => Status::Completed,
        Some("incomplete") => Status::Incomplete(
            body.object("incomplete_details")
                .or_else(details)
                .and_then(|details| details.string("reason"))
                .unwrap_or_else(|| "incomplete".into()),
        ),
        Some("failed") => Status::Failed(failure::of_event(details().as_ref().unwrap_or(body))),
        _ => Status::Open,
    }
}

fn conclude(tools: Tools, status: Status, call: &mut ModelCall) {
    // Events without places can tell of one call twice.
    let mut ids = BTreeSet::new();
    let once = |tool: &RequestedTool| tool.id.as_ref().is_none_or(|id| ids.insert(id.clone()));
    call.tool_calls = tools.items.into_values().filter(once).collect();
    let reason = match status {
        Status::Completed if call.tool_calls.is_empty() => Some("stop".into()),
        Status::Completed => Some("tool_calls".into()),
        Status::Incomplete(reason) => Some(reason),
        Status::Failed(error) => {
            call.error = Some(error);
            None
        }
        Status::Open => None,
    };
    call.reply.finish_reasons = reason.into_iter().collect();
}

/// Reads the events of a response, of this API and of realtime.
#[derive(Default)]
pub struct ResponseStream {
    tools: Tools,
    status: Option<Status>,
    /// Places of items that were begun or that brought a delta.
    seen: BTreeSet<u64>,
}

impl Stream for ResponseStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let kind = data.str("type");
        let kind = kind.as_deref().or(name).unwrap_or_default();
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                if let Some(body) = data.object("response") {
                    response(&body, &mut self.tools, call);
                }
                Step::default()
            }
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => {
                if let Some(body) = data.object("response") {
                    response(&body, &mut self.tools, call);
                    self.status = Some(match (status(&body), kind) {
                        (Status::Open, "response.completed") => Status::Completed,
                        (Status::Open, "response.failed") => Status::Failed(failure::of_event(&body)),
                        (status, _) => status,
                    });
                }
                Step::TERMINAL
            }
            "error" => {
                let mut error = failure::of_event(data);
                // On a WebSocket there is no other place for a status.
                if let Some(status) = data.int("status").filter(|_| error.kind == failure::OTHER) {
                    error.kind = status.to_string();
                }
                self.status = Some(Status::Failed(error));
                Step::TERMINAL
            }
            "response.output_item.added" | "response.output_item.done" => {
                let Some(item) = data.object("item") else { return Step::default() };
                let known = || self.tools.places.get(item.str("id")?.as_ref()).copied();
                let place = data.count("output_index").or_else(known).unwrap_or(self.seen.len() as u64);
                let tool = self.tools.take(place, &item);
                let new = self.seen.insert(place);
                // Beginning to ask for a tool is content; so is an item that came whole, without deltas.
                Step::content(new && (tool || kind == "response.output_item.done"))
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                let delta = data.str("delta").unwrap_or_default();
                if let Some(tool) = self.tools.find(data) {
                    tool.arguments.push_str(&delta);
                }
                Step::content(!delta.is_empty())
            }
            "response.function_call_arguments.done" | "response.custom_tool_call_input.done" => {
                let whole = data.str("arguments").or_else(|| data.str("input"));
                if let (Some(tool), Some(whole)) = (self.tools.find(data), whole) {
                    tool.arguments = whole.into_owned();
                }
                Step::default()
            }
            kind if kind.starts_with("response.") && kind.ends_with(".delta") => {
                self.seen.extend(data.count("output_index"));
                Step::content(data.raw("delta").is_some_and(|raw| raw != "\"\""))
            }
            _ => Step::default(),
        }
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        conclude(self.tools, self.status.unwrap_or(Status::Open), call);
        false
    }
}
