//! OpenAI Realtime: a WebSocket on which each `response.create`, or the end of the user's voice, brings a response. Facts
//! from OpenAI's API reference, "Realtime: client events" and "server events". The events of a response are those of the
//! responses API, but for the last one, `response.done`. The model is that of the connection, in its target.

use pipeline::observation::{Api, ModelCall, Operation};

use super::{
    format::Format,
    json::Object,
    openai_responses::{self, ResponseStream},
    thread::MessageDigest,
};

/// This format.
pub const FORMAT: Format = Format {
    api: Api::Realtime,
    operation: Operation::Chat,
    provider: "openai",
    shape: |body| body.str("type").as_deref() == Some("response.create"),
    request,
    // Answers are events only.
    plain: |_, _| {},
    stream: || Box::<ResponseStream>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let Some(asked) = body.object("response") else { return true };
    let parameters = &mut call.parameters;
    parameters.model = asked.string("model").or(parameters.model.take());
    parameters.max_tokens = asked.int("max_output_tokens").or_else(|| asked.int("max_response_output_tokens"));
    parameters.temperature = asked.float("temperature");
    let mut modalities = asked.strings("output_modalities");
    modalities.extend(asked.strings("modalities"));
    let named = |name: &str| modalities.iter().any(|modality| modality == name);
    parameters.output_type = if named("audio") { Some("speech".into()) } else { named("text").then(|| "text".into()) };
    if let Some(content) = &mut call.content {
        openai_responses::content::request(&asked, content);
    }
    let capture = call.content.is_some();
    let thread = &mut call.thread;
    thread.has_tools = asked.array("tools").is_some_and(|tools| !tools.is_empty());
    let mut system: Option<MessageDigest> = None;
    if let Some(text) = asked.str("instructions") {
        system.get_or_insert_with(MessageDigest::new).text(&text);
    }
    for item in asked.objects("input") {
        openai_responses::item(&item, capture, &mut system, thread);
    }
    thread.system = system.map(|digest| digest.finish("system"));
    true
}

/// Takes what was handed in before the message that asked: one `conversation.item.create` a line. `asked` is false if no
/// message did: the server heard the user's voice.
pub fn items(before: &[u8], asked: bool, call: &mut ModelCall) {
    let capture = call.content.is_some();
    let thread = &mut call.thread;
    let mut system: Option<MessageDigest> = None;
    let mut handed_in = Vec::new();
    for line in before.split(|byte| *byte == b'\n').filter_map(Object::from_bytes) {
        if let Some(item) = line.object("item") {
            openai_responses::item(&item, capture, &mut system, thread);
            if capture {
                openai_responses::content::input(&item, &mut handed_in);
            }
        }
    }
    if let Some(content) = &mut call.content {
        handed_in.append(&mut content.input);
        content.input = handed_in;
    }
    if let Some(digest) = system {
        thread.system = thread.system.or(Some(digest.finish("system")));
    }
    // Voice is handed in by messages of its own.
    thread.from_user |= !asked || thread.messages.is_empty();
}
