//! Amazon Bedrock's `invoke` (`POST /model/{id}/invoke`, `invoke-with-response-stream`): each model's own format.
//!
//! Facts from the Bedrock user guide, "Inference request parameters and response fields for foundation models": Anthropic's
//! messages, Amazon's Nova, Cohere's chat and those that speak OpenAI's chat have decoders of their own; what else there is
//! takes a prompt (`bedrock_text`), makes vectors, or pictures. An event `chunk` of a stream has the model's own event in
//! base64; the last one says what was used (`amazon-bedrock-invocationMetrics`).

use base64::Engine as _;
use pipeline::observation::{Api, Message, MessagePart, ModelCall, Operation};

use super::{
    anthropic_complete, anthropic_messages,
    bedrock::{self, CONVERSE, ConverseStream},
    bedrock_text, cohere,
    format::{Format, Step, Stream},
    json::Object,
    media, openai_chat,
};

/// `invoke`, `invoke-with-response-stream`
pub const INVOKE: Format = Format {
    api: Api::BedrockInvoke,
    operation: Operation::Chat,
    provider: "aws.bedrock",
    // The path tells much already; this is what models take.
    shape: |body| {
        const FIELDS: &[&str] =
            &["anthropic_version", "messages", "message", "prompt", "inputText", "texts", "taskType", "text_prompts"];
        FIELDS.iter().any(|field| body.has(field))
    },
    request,
    plain,
    stream: || Box::<InvokeStream>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    // The path names the model, whatever the body says.
    let model = call.parameters.model.take();
    let of_embeddings = model.as_deref().is_some_and(|model| model.contains("embed")) || body.has("texts");
    if body.has("anthropic_version") {
        (anthropic_messages::FORMAT.request)(body, call);
    } else if body.has("max_tokens_to_sample") {
        call.operation = Operation::TextCompletion;
        (anthropic_complete::FORMAT.request)(body, call);
    } else if of_embeddings {
        embeddings(body, call);
    } else if body.has("taskType") || body.has("textToImageParams") || body.has("text_prompts") {
        pictures(body, call);
    } else if is_nova(body) {
        (CONVERSE.request)(body, call);
    } else if body.has("message") {
        (cohere::FORMAT.request)(body, call);
    } else if body.has("messages") {
        (openai_chat::FORMAT.request)(body, call);
    } else {
        call.operation = Operation::TextCompletion;
        bedrock_text::request(body, call);
    }
    call.parameters.model = model;
    true
}

/// Nova's blocks have no type.
fn is_nova(body: &Object<'_>) -> bool {
    let untyped = |message: Object<'_>| message.objects("content").next().is_some_and(|block| !block.has("type"));
    body.has("messages")
        && (body.has("schemaVersion")
            || body.has("inferenceConfig")
            || body.objects("messages").next().is_some_and(untyped))
}

fn embeddings(body: &Object<'_>, call: &mut ModelCall) {
    call.operation = Operation::Embeddings;
    let asked = &mut call.parameters;
    let inner = |key, member| body.object(key).and_then(|of| of.int(member));
    asked.dimensions = body
        .int("dimensions")
        .or_else(|| body.int("output_dimension"))
        .or_else(|| inner("embeddingConfig", "outputEmbeddingLength"))
        .or_else(|| inner("singleEmbeddingParams", "embeddingDimension"));
    asked.encoding_formats = body.strings("embeddingTypes");
    asked.encoding_formats.extend(body.strings("embedding_types"));
}

fn pictures(body: &Object<'_>, call: &mut ModelCall) {
    call.operation = Operation::GenerateContent;
    call.parameters.output_type = Some("image".to_owned());
    if let Some(config) = body.object("imageGenerationConfig") {
        call.parameters.choice_count = config.int("numberOfImages").filter(|count| *count != 1);
        call.parameters.seed = config.int("seed");
    }
    // `textToImageParams`, `inPaintingParams`…
    let params = body.0.iter().filter(|(key, _)| key.ends_with("Params")).find_map(|(_, raw)| Object::parse(raw));
    let Some(params) = params else { return };
    let text = params.str("text").or_else(|| params.str("prompt")).unwrap_or_default();
    anthropic_complete::prompt(&text, call);
    if let Some(content) = &mut call.content {
        let mut parts = vec![MessagePart::text(text)];
        parts.extend(params.string("image").map(|image| media::blob(None, "image", image)));
        content.input = vec![Message { role: "user".to_owned(), parts, ..Message::default() }];
    }
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    let choices = body.objects("choices").next();
    if matches!(body.str("type").as_deref(), Some("message" | "error")) {
        (anthropic_messages::FORMAT.plain)(body, call);
    } else if body.object("output").is_some_and(|output| output.has("message")) {
        (CONVERSE.plain)(body, call);
    } else if body.has("embedding") || body.has("embeddings") || body.has("embeddingsByType") {
        call.usage.input = body.count("inputTextTokenCount");
    } else if let Some(images) = body.array("images") {
        let reasons: Vec<Option<String>> = body
            .array("finish_reasons")
            .unwrap_or_default()
            .into_iter()
            .map(|raw| super::json::string(raw).map(|text| text.into_owned()))
            .collect();
        let Some(content) = &mut call.content else { return };
        content.output = images
            .into_iter()
            .enumerate()
            .filter_map(|(at, raw)| {
                let blocked = reasons.get(at).is_some_and(Option::is_some);
                let image = media::blob(None, "image", super::json::string(raw)?.into_owned());
                Some(media::answer(vec![image], if blocked { "content_filter" } else { "stop" }.to_owned()))
            })
            .collect();
    } else if choices.is_some_and(|choice| choice.has("message") && !choice.has("stop_reason")) {
        (openai_chat::FORMAT.plain)(body, call);
    } else if body.has("text") && (body.has("generation_id") || body.has("response_id")) {
        (cohere::FORMAT.plain)(body, call);
    } else {
        let mut stream = Box::<bedrock_text::TextStream>::default();
        stream.event(None, body, call);
        stream.finish(call);
    }
}

/// The decoder that a stream's first event asks for.
fn decoder(first: &Object<'_>) -> Box<dyn Stream> {
    if first.has("type") {
        let completion = first.has("completion");
        return (if completion { anthropic_complete::FORMAT.stream } else { anthropic_messages::FORMAT.stream })();
    }
    let nova = |(key, _): &(std::borrow::Cow<'_, str>, &str)| NOVA.contains(&key.as_ref());
    if first.0.iter().any(nova) {
        return Box::<NovaStream>::default();
    }
    if first.has("event_type") {
        return (cohere::FORMAT.stream)();
    }
    // Mistral's have a `message` in the place of the `delta`.
    if first.objects("choices").next().is_some_and(|choice| choice.has("delta")) {
        return (openai_chat::FORMAT.stream)();
    }
    Box::<bedrock_text::TextStream>::default()
}

/// Events `chunk` carry the model's own events in base64.
#[derive(Default)]
struct InvokeStream {
    inner: Option<Box<dyn Stream>>,
    /// Input and output, as Bedrock itself counted.
    counted: Option<(Option<u64>, Option<u64>)>,
}

impl Stream for InvokeStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if bedrock::exception(name, data, call) {
            return Step::TERMINAL;
        }
        let decoded = data.str("bytes").and_then(|text| base64::prelude::BASE64_STANDARD.decode(text.as_bytes()).ok());
        let Some(event) = decoded.as_deref().and_then(Object::from_bytes) else { return Step::default() };
        let mut step = self.inner.get_or_insert_with(|| decoder(&event)).event(None, &event, call);
        if let Some(metrics) = event.object("amazon-bedrock-invocationMetrics") {
            self.counted = Some((metrics.count("inputTokenCount"), metrics.count("outputTokenCount")));
            step.terminal = true;
        }
        step
    }

    fn cut(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.cut();
        }
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        let whole = self.inner.is_some_and(|inner| inner.finish(call));
        if let Some((input, output)) = self.counted
            && call.usage.input.is_none()
            && call.usage.output.is_none()
        {
            (call.usage.input, call.usage.output) = (input, output);
        }
        whole
    }
}

const NOVA: &[&str] =
    &["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];

/// Nova's events are those of `converse-stream`, each in an object under its name.
#[derive(Default)]
struct NovaStream(ConverseStream);

impl Stream for NovaStream {
    fn event(&mut self, _: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let mut step = Step::default();
        for name in NOVA {
            if let Some(event) = data.object(name) {
                let Step { content, terminal } = self.0.event(Some(name), &event, call);
                step = Step { content: step.content | content, terminal: step.terminal | terminal };
            }
        }
        step
    }

    fn cut(&mut self) {
        self.0.cut();
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        Box::new(self.0).finish(call)
    }
}
