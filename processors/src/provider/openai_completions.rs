//! OpenAI's older completions (`POST …/completions`), which local servers offer too. Facts from OpenAI's API reference,
//! "Completions": the answer is that of a chat, with `text` instead of a message.

use pipeline::observation::{Api, ModelCall, Operation};

use super::{format::Format, json::Object, openai_chat, thread::MessageDigest};

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
    call.thread.messages.push(digest.finish("user"));
    true
}
