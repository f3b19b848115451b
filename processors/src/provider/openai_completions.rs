//! OpenAI's older completions (`POST …/completions`), which local servers offer too. Facts from OpenAI's API reference,
//! "Completions": the answer is that of a chat, with `text` instead of a message.

use pipeline::observation::{Api, Message, MessagePart, ModelCall, Operation};
use serde_json::json as object;

use super::{format::Format, json, json::Object, openai_chat, thread::MessageDigest};

/// This format.
pub const FORMAT: Format = Format {
    api: Api::Completions,
    operation: Operation::TextCompletion,
    provider: "openai",
    shape: |body| body.has("model") && body.has("prompt"),
    request,
    plain: |body, call| (openai_chat::FORMAT.plain)(body, call),
    stream: || (openai_chat::FORMAT.stream)(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    (openai_chat::FORMAT.request)(body, call);
    let mut digest = MessageDigest::new();
    for text in body.strings("prompt") {
        digest.text(&text);
    }
    call.thread.from_user = true;
    digest.add_to(&mut call.thread, "user");
    if let Some(content) = &mut call.content {
        let mut parts = prompt(body);
        if let Some(text) = body.string("suffix") {
            parts.push(MessagePart::Other(object!({"type": "suffix", "content": text})));
        }
        content.input = vec![Message { role: "user".into(), parts, ..Message::default() }];
    }
    true
}

/// A text, several, or lists of tokens, of which only the number is told.
fn prompt(body: &Object<'_>) -> Vec<MessagePart> {
    let texts = body.strings("prompt");
    if !texts.is_empty() {
        return texts.into_iter().map(MessagePart::text).collect();
    }
    let elements = body.array("prompt").unwrap_or_default();
    let lists: Vec<Vec<&str>> = elements.iter().filter_map(|element| json::array(element)).collect();
    let counts = if lists.is_empty() { vec![elements.len()] } else { lists.iter().map(Vec::len).collect() };
    let part = |count: usize| MessagePart::Other(object!({"type": "tokens", "count": count}));
    counts.into_iter().filter(|count| *count > 0).map(part).collect()
}
