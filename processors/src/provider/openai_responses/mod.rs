//! OpenAI responses (`POST …/responses`, or over a WebSocket, where a request is a message `response.create` with the same
//! fields beside its type). Facts from OpenAI's API reference, "Responses" and "Streaming events".
//!
//! The API has no finish reason. Told is: `tool_calls` if a completed answer asks for tools, `stop` if it asks for
//! none, `incomplete_details.reason` (else `incomplete`) of an incomplete one, nothing of any other.

pub mod content;
mod stream;

use std::collections::{BTreeMap, BTreeSet};

use pipeline::observation::{
    Api, CallError, Message, MessagePart, Modalities, ModelCall, Operation, RequestedTool, Thread, ToolResult, Usage,
};

use super::{
    failure,
    format::Format,
    json::Object,
    media,
    openai_chat::{self, format_type, usage::modalities},
    thread::MessageDigest,
};

pub use stream::ResponseStream;

/// This format.
pub const FORMAT: Format = Format {
    api: Api::Responses,
    operation: Operation::Chat,
    provider: "openai",
    shape: |body| body.has("model") && (body.has("input") || body.has("prompt") || body.has("previous_response_id")),
    request,
    plain,
    stream: || Box::<ResponseStream>::default(),
};

/// Reads a response object that is the whole answer.
pub fn plain(body: &Object<'_>, call: &mut ModelCall) {
    let (mut tools, mut said) = (Tools::default(), Said::default());
    response(body, &mut tools, &mut said, call);
    let status = match status(body) {
        // The rest of the document was lost, and with it what the model said.
        Status::Completed if !body.has("output") => Status::Open,
        status => status,
    };
    conclude(tools, said, status, call);
    if !body.has("status") && !body.has("output") && body.has("error") {
        call.error = Some(failure::of_event(body));
    }
}

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    // Codex warms a connection up so.
    if body.bool("generate") == Some(false) {
        return false;
    }
    if call.conversation_id.is_none() {
        // Codex names its session there too.
        let metadata = || body.object("client_metadata").and_then(|metadata| metadata.string("session_id"));
        call.conversation_id = conversation(body).or_else(metadata);
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
    if let Some(prompt) = body.object("prompt") {
        asked.prompt_name = prompt.string("id");
        asked.prompt_version = prompt.string("version");
    }
    if body.objects("input").any(|item| item.str("type").is_some_and(|kind| kind.starts_with("compaction"))) {
        asked.compacted = Some(true);
    }
    thread(body, call);
    if let Some(content) = &mut call.content {
        content::request(body, content);
    }
    true
}

/// `conversation`: an id, or an object with one.
fn conversation(body: &Object<'_>) -> Option<String> {
    body.string("conversation").or_else(|| body.object("conversation").and_then(|of| of.string("id")))
}

fn thread(body: &Object<'_>, call: &mut ModelCall) {
    let capture = call.content.is_some();
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
        digest.add_to(thread, "user");
    }
    for given in body.objects("input") {
        item(&given, capture, &mut system, thread);
    }
    thread.system = system.map(|digest| digest.finish("system"));
}

/// Takes an item of a request's input. With `capture`, results of tools are kept.
///
/// The model's items stand there one by one, its calls perhaps each before its own result. So a call alone does not tell
/// that results before it belong to an earlier answer; a message or thoughts after a result do.
pub fn item(item: &Object<'_>, capture: bool, system: &mut Option<MessageDigest>, thread: &mut Thread) {
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
            digest.add_to(thread, &role);
        }
        // Left out of later requests by some clients.
        "reasoning" => thread.tool_results.clear(),
        "item_reference" | "compaction" => {}
        kind if content::is_output(kind) => {
            let id = item.string("call_id").unwrap_or_default();
            digest.id(id.as_str());
            thread.from_user = false;
            if !id.is_empty() {
                let response = capture.then(|| content::result(item));
                thread.tool_results.push(ToolResult { id, is_error: false, response });
            }
            digest.add_to(thread, "tool");
        }
        _ => {
            // A call of the model's: the agent's or the provider's.
            digest.id(item.str("call_id").or_else(|| item.str("id")).unwrap_or_default());
            thread.from_user = false;
            digest.add_to(thread, "assistant");
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
        "shell_call" if content::at_provider(item) => return None,
        "shell_call" => ("shell".into(), raw("action")),
        "apply_patch_call" => ("apply_patch".into(), raw("operation")),
        "computer_call" => ("computer".into(), raw("action")),
        _ => return None,
    };
    Some(RequestedTool { id: item.string("call_id").or_else(|| item.string("id")), name, arguments })
}

/// Reads a response object: the whole of a plain answer, or that of an event.
fn response(body: &Object<'_>, tools: &mut Tools, said: &mut Said, call: &mut ModelCall) {
    let reply = &mut call.reply;
    let keep = |slot: &mut Option<String>, found: Option<String>| *slot = found.or(slot.take());
    keep(&mut reply.id, body.string("id"));
    keep(&mut reply.model, body.string("model"));
    keep(&mut reply.service_tier, body.string("service_tier"));
    if call.conversation_id.is_none() {
        call.conversation_id = conversation(body);
    }
    if let Some(usage) = body.object("usage") {
        call.usage = counts(&usage);
    }
    for (place, item) in body.objects("output").enumerate() {
        let place = place as u64;
        tools.take(place, &item);
        if call.content.is_some() {
            said.items.insert(place, content::parts(&item));
        }
        if item.str("type").is_some_and(|kind| kind.starts_with("compaction")) {
            call.parameters.compacted = Some(true);
        }
    }
}

/// The counts of a response; also those of images, sound and realtime, whose names differ a little.
pub fn counts(usage: &Object<'_>) -> Usage {
    let details = |keys: [&str; 2]| keys.iter().find_map(|key| usage.object(key));
    let input = details(["input_tokens_details", "input_token_details"]);
    let output = details(["output_tokens_details", "output_token_details"]);
    let cached = input.as_ref().and_then(|input| input.object("cached_tokens_details"));
    let of = |details: &Option<Object<'_>>, key: &str| details.as_ref().and_then(|details| details.count(key));
    Usage {
        input: usage.count("input_tokens"),
        output: usage.count("output_tokens"),
        cache_read: of(&input, "cached_tokens"),
        cache_creation: of(&input, "cache_write_tokens"),
        reasoning: of(&output, "reasoning_tokens"),
        modalities: Modalities {
            text_cache_read: of(&cached, "text_tokens"),
            image_cache_read: of(&cached, "image_tokens"),
            audio_cache_read: of(&cached, "audio_tokens"),
            ..modalities(&input, &output)
        },
    }
}

/// What the model said, by its item's place in the output; only while content is captured.
#[derive(Default)]
struct Said {
    items: BTreeMap<u64, Vec<MessagePart>>,
}

/// How an answer ended.
enum Status {
    Completed,
    Incomplete(String),
    Failed(CallError),
    /// By the client's wish.
    Cancelled,
    /// Its end never came.
    Cut,
    /// It goes on, or its end was not seen.
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
        Some("cancelled") => Status::Cancelled,
        _ => Status::Open,
    }
}

fn conclude(tools: Tools, said: Said, status: Status, call: &mut ModelCall) {
    // Events without places can tell of one call twice.
    let mut ids = BTreeSet::new();
    let once = |tool: &RequestedTool| tool.id.as_ref().is_none_or(|id| ids.insert(id.clone()));
    call.tool_calls = tools.items.into_values().filter(once).collect();
    let reason = match &status {
        Status::Completed if call.tool_calls.is_empty() => Some("stop".to_owned()),
        Status::Completed => Some("tool_calls".into()),
        Status::Incomplete(reason) => Some(reason.clone()),
        Status::Cut => Some(media::CUT.into()),
        Status::Failed(_) | Status::Cancelled | Status::Open => None,
    };
    if let Some(content) = &mut call.content {
        let parts: Vec<MessagePart> = said.items.into_values().flatten().collect();
        if !parts.is_empty() {
            let reason = reason.as_deref().map_or(media::CUT, openai_chat::content::finish_reason);
            content.output.push(Message {
                role: "assistant".into(),
                parts,
                name: None,
                finish_reason: Some(reason.to_owned()),
            });
        }
    }
    call.reply.finish_reasons = reason.into_iter().collect();
    if let Status::Failed(error) = status {
        call.error = Some(error);
    }
}
