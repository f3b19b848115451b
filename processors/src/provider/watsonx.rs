//! IBM watsonx.ai (`POST /ml/v1/text/chat`, `chat_stream`, `generation`, `generation_stream`, `embeddings`; also below
//! `/ml/v1/deployments/{id}`). Facts from IBM's API reference: `chat` is OpenAI's with `model_id` for the model;
//! `generation` takes one text and gives `results`, of which a stream's pieces have the counts so far and the stop reason
//! `not_finished` until the last. Errors are a list, `errors`.

use pipeline::observation::{Api, ModelCall, Operation};

use super::{
    failure,
    format::{Format, NoStream, Step, Stream},
    json::Object,
    openai_chat,
    said::{self, Said},
};

/// Chat.
pub const CHAT: Format = Format {
    api: Api::WatsonxChat,
    operation: Operation::Chat,
    provider: "ibm.watsonx.ai",
    shape: |body| body.array("messages").is_some() && (body.has("model_id") || body.has("project_id")),
    request: |body, call| {
        let done = (openai_chat::FORMAT.request)(body, call);
        call.parameters.model = body.string("model_id").or(call.parameters.model.take());
        done
    },
    plain: |body, call| {
        (openai_chat::FORMAT.plain)(body, call);
        named(body, call);
    },
    stream: || Box::new(ChatStream((openai_chat::FORMAT.stream)())),
};

/// Generation.
pub const GENERATION: Format = Format {
    api: Api::WatsonxGeneration,
    operation: Operation::TextCompletion,
    provider: "ibm.watsonx.ai",
    shape: |body| body.has("input") && (body.has("model_id") || body.has("project_id")),
    request,
    plain: |body, call| {
        let mut results = Box::<Results>::default();
        results.event(None, body, call);
        results.finish(call);
    },
    stream: || Box::<Results>::default(),
};

/// Embeddings.
pub const EMBEDDINGS: Format = Format {
    api: Api::WatsonxEmbeddings,
    operation: Operation::Embeddings,
    provider: "ibm.watsonx.ai",
    shape: |body| body.has("model_id") && body.array("inputs").is_some(),
    request: |body, call| {
        call.parameters.model = body.string("model_id");
        true
    },
    plain: |body, call| {
        named(body, call);
        call.usage.input = body.count("input_token_count");
    },
    stream: || Box::new(NoStream),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model_id").or(asked.model.take());
    if let Some(parameters) = body.object("parameters") {
        asked.max_tokens = parameters.int("max_new_tokens");
        asked.temperature = parameters.float("temperature");
        asked.top_p = parameters.float("top_p");
        asked.top_k = parameters.int("top_k");
        asked.seed = parameters.int("random_seed");
        asked.stop_sequences = parameters.strings("stop_sequences");
    }
    if let Some(text) = body.string("input") {
        said::prompt(call, &[text]);
    }
    true
}

fn named(body: &Object<'_>, call: &mut ModelCall) {
    call.reply.model = body.string("model_id").or_else(|| body.string("model")).or(call.reply.model.take());
}

/// OpenAI's stream, which here ends without `[DONE]`.
struct ChatStream(Box<dyn Stream>);

impl Stream for ChatStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if data.has("errors") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        let step = self.0.event(name, data, call);
        named(data, call);
        step
    }

    fn cut(&mut self) {
        self.0.cut();
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        self.0.finish(call)
    }
}

#[derive(Default)]
struct Results {
    said: Said,
}

impl Stream for Results {
    fn event(&mut self, _: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if data.has("errors") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        named(data, call);
        let mut content = false;
        for result in data.objects("results") {
            content |= self.said.text(call, &result.str("generated_text").unwrap_or_default());
            // The first piece tells the prompt's count, later ones 0 for it.
            call.usage.input = call.usage.input.max(result.count("input_token_count"));
            call.usage.output = call.usage.output.max(result.count("generated_token_count"));
            if let Some(reason) = result.string("stop_reason").filter(|reason| reason != "not_finished") {
                self.said.reason = Some(reason);
            }
        }
        Step::content(content)
    }

    fn cut(&mut self) {
        self.said.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        let whole = self.said.reason.is_some();
        self.said.finish(call);
        whole
    }
}
