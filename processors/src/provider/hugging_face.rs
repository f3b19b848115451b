//! Hugging Face's text generation inference (`POST /generate`, `/generate_stream`, `/`, and a model's own path at Hugging
//! Face). Facts from its OpenAPI document: the answer is an object or a list of one; `details` come if they are asked for; a
//! stream has a token an event, the last with `generated_text` and `details`; the server tells counts in header fields.

use pipeline::observation::{Api, Exchange, ModelCall, Operation};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::Object,
    said::{self, Said},
};

/// This format.
pub const GENERATE: Format = Format {
    api: Api::TgiGenerate,
    operation: Operation::TextCompletion,
    provider: "huggingface",
    shape: |body| body.str("inputs").is_some(),
    request,
    plain: |body, call| {
        let mut tokens = Box::<Tokens>::default();
        tokens.said.text(call, &body.str("generated_text").unwrap_or_default());
        tokens.details(body, call);
        tokens.said.finish(call);
    },
    stream: || Box::<Tokens>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model").or(asked.model.take());
    asked.stream |= body.bool("stream") == Some(true);
    if let Some(parameters) = body.object("parameters") {
        asked.max_tokens = parameters.int("max_new_tokens");
        asked.temperature = parameters.float("temperature");
        asked.top_p = parameters.float("top_p");
        asked.top_k = parameters.int("top_k");
        asked.frequency_penalty = parameters.float("frequency_penalty");
        asked.seed = parameters.int("seed");
        asked.stop_sequences = parameters.strings("stop");
    }
    if let Some(text) = body.string("inputs") {
        said::prompt(call, &[text]);
    }
    true
}

/// Counts and the model, which the body leaves out unless details are asked for.
pub fn header_fields(exchange: &Exchange, call: &mut ModelCall) {
    let Some(response) = exchange.response.as_ref().filter(|response| response.status < 400) else { return };
    let count = |name: &str| response.headers.get(name).and_then(|text| text.trim().parse().ok());
    call.usage.input = call.usage.input.or_else(|| count("x-prompt-tokens"));
    call.usage.output = call.usage.output.or_else(|| count("x-generated-tokens"));
}

#[derive(Default)]
struct Tokens {
    said: Said,
}

impl Tokens {
    fn details(&mut self, body: &Object<'_>, call: &mut ModelCall) {
        let Some(details) = body.object("details") else { return };
        self.said.reason = details.string("finish_reason");
        call.usage.output = details.count("generated_tokens");
        let prefill = details.array("prefill").map(|tokens| tokens.len() as u64).filter(|count| *count > 0);
        call.usage.input = details.count("input_length").or(prefill);
    }
}

impl Stream for Tokens {
    fn event(&mut self, _: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if data.has("error") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        let token = data.object("token").filter(|token| token.bool("special") != Some(true));
        let text = token.and_then(|token| token.string("text")).unwrap_or_default();
        let content = self.said.text(call, &text);
        let terminal = data.has("generated_text");
        self.details(data, call);
        Step { content, terminal }
    }

    fn cut(&mut self) {
        self.said.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        self.said.finish(call);
        false
    }
}
