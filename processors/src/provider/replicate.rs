//! Replicate (`POST /v1/models/{owner}/{name}/predictions`, `/v1/deployments/…/predictions`, `/v1/predictions`). Facts from
//! Replicate's HTTP API reference: with `Prefer: wait` the answer has the output, else it only says that the work began; a
//! model of language gives its output as a list of texts, and the counts in `metrics`.

use pipeline::observation::{Api, CallError, MessagePart, ModelCall, Operation};

use super::{
    failure,
    format::{Format, NoStream},
    json::{self, Object},
    media,
    said::{self, Said},
};

/// This format.
pub const PREDICTIONS: Format = Format {
    api: Api::ReplicatePredictions,
    operation: Operation::GenerateContent,
    provider: "replicate",
    shape: |body| body.object("input").is_some(),
    request,
    plain,
    stream: || Box::new(NoStream),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = asked.model.take().or_else(|| body.string("version"));
    let input = body.object("input").unwrap_or_default();
    asked.max_tokens = input.int("max_tokens").or_else(|| input.int("max_new_tokens"));
    asked.temperature = input.float("temperature");
    asked.top_p = input.float("top_p");
    asked.top_k = input.int("top_k");
    asked.frequency_penalty = input.float("frequency_penalty");
    asked.presence_penalty = input.float("presence_penalty");
    asked.seed = input.int("seed");
    if let Some(text) = input.string("prompt") {
        said::prompt(call, &[text]);
    }
    if let Some(content) = &mut call.content {
        content.system_instructions = input.string("system_prompt").map(MessagePart::text).into_iter().collect();
    }
    true
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    call.reply.id = body.string("id");
    call.reply.model = body.string("model");
    if let Some(metrics) = body.object("metrics") {
        call.usage.input = metrics.count("input_token_count");
        call.usage.output = metrics.count("output_token_count");
    }
    let status = body.string("status").unwrap_or_default();
    if matches!(status.as_str(), "failed" | "canceled") {
        let message = failure::of_event(body).message.or_else(|| body.string("error"));
        call.error = Some(CallError { kind: status, message });
        return;
    }
    let mut said = Said::default();
    for text in body.strings("output") {
        match text.starts_with("https://") || text.starts_with("http://") || text.starts_with("data:") {
            true => said.part(call, || media::uri(None, "document", text)),
            false => {
                said.text(call, &text);
            }
        }
    }
    if let Some(raw) = body.raw("output").filter(|raw| json::string(raw).is_none() && raw.starts_with('{')) {
        said.text(call, raw);
    }
    said.reason = (status == "succeeded").then(|| "stop".into());
    said.finish(call);
}
