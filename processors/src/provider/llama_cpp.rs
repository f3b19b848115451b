//! llama.cpp's server (`POST /completion`). Facts from its README (tools/server): the prompt is a text, or a list of texts and
//! tokens; each event of a stream has a piece of `content`, the last has `stop: true`, the counts and `timings`.

use pipeline::observation::{Api, ModelCall, Operation};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::Object,
    said::{self, Said},
};

/// This format.
pub const COMPLETION: Format = Format {
    api: Api::LlamaCppCompletion,
    operation: Operation::TextCompletion,
    provider: "llama_cpp",
    shape: |body| body.has("prompt"),
    request,
    plain: |body, call| {
        let mut pieces = Box::<Pieces>::default();
        pieces.event(None, body, call);
        pieces.finish(call);
    },
    stream: || Box::<Pieces>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model");
    asked.stream |= body.bool("stream") == Some(true);
    asked.max_tokens = body.int("n_predict").or_else(|| body.int("max_tokens")).filter(|most| *most >= 0);
    asked.temperature = body.float("temperature");
    asked.top_p = body.float("top_p");
    asked.top_k = body.int("top_k");
    asked.frequency_penalty = body.float("frequency_penalty");
    asked.presence_penalty = body.float("presence_penalty");
    asked.stop_sequences = body.strings("stop");
    asked.seed = body.int("seed").filter(|seed| *seed >= 0);
    if body.has("json_schema") {
        asked.output_type = Some("json".into());
    }
    said::prompt(call, &body.strings("prompt"));
    true
}

#[derive(Default)]
struct Pieces {
    said: Said,
}

impl Stream for Pieces {
    fn event(&mut self, _: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if data.has("error") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        let content = self.said.text(call, &data.str("content").unwrap_or_default());
        if data.bool("stop") != Some(true) {
            return Step::content(content);
        }
        call.reply.model = data.string("model");
        call.usage.input = data.count("tokens_evaluated");
        call.usage.output = data.count("tokens_predicted");
        call.usage.cache_read = data.object("timings").and_then(|timings| timings.count("cache_n"));
        let flag = |name: &str| data.bool(name) == Some(true);
        // Older servers have a flag for each reason.
        let older = || {
            let limit = flag("stopped_limit").then(|| "limit".to_owned());
            limit
                .or_else(|| flag("stopped_eos").then(|| "eos".into()))
                .or_else(|| flag("stopped_word").then(|| "word".into()))
        };
        self.said.reason = data.string("stop_type").filter(|kind| kind != "none").or_else(older);
        Step { content, terminal: true }
    }

    fn cut(&mut self) {
        self.said.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        self.said.finish(call);
        false
    }
}
