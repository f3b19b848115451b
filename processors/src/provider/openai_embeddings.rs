//! OpenAI embeddings (`POST …/embeddings`). Facts from OpenAI's API reference, "Embeddings".

use pipeline::observation::{Api, ModelCall, Operation};

use super::{
    failure,
    format::{Format, NoStream},
    json::Object,
};

/// This format.
pub const FORMAT: Format = Format {
    api: Api::Embeddings,
    operation: Operation::Embeddings,
    provider: "openai",
    shape: |body| body.has("input") && body.has("model"),
    request,
    plain,
    stream: || Box::new(NoStream),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model").or(asked.model.take());
    asked.encoding_formats = body.strings("encoding_format");
    asked.dimensions = body.int("dimensions");
    true
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    call.reply.id = body.string("id");
    call.reply.model = body.string("model");
    call.usage.input = body.object("usage").and_then(|usage| usage.count("prompt_tokens"));
    if body.has("error") && !body.has("data") {
        call.error = Some(failure::of_event(body));
    }
}
