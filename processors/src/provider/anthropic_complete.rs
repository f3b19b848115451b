//! Anthropic's older text completions (`POST …/v1/complete`), which Bedrock's `invoke` takes too.
//!
//! Facts from Anthropic's API reference, "Text Completions (legacy)": `prompt` and `max_tokens_to_sample`; a stream is
//! events `completion`, the last of which has a `stop_reason`. No tokens are told.

use pipeline::observation::{Api, Message, MessagePart, ModelCall, Operation};

use super::{
    anthropic_content, failure,
    format::{Format, Step, Stream},
    json::Object,
    media,
    thread::MessageDigest,
};

/// This format.
pub const FORMAT: Format = Format {
    api: Api::AnthropicComplete,
    operation: Operation::TextCompletion,
    provider: "anthropic",
    shape: |body| body.has("prompt") && body.has("max_tokens_to_sample"),
    request,
    plain: |body, call| {
        let mut stream = Box::<CompletionStream>::default();
        stream.event(None, body, call);
        stream.finish(call);
    },
    stream: || Box::<CompletionStream>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model").or(asked.model.take());
    asked.stream |= body.bool("stream") == Some(true);
    asked.max_tokens = body.int("max_tokens_to_sample");
    asked.temperature = body.float("temperature");
    asked.top_p = body.float("top_p");
    asked.top_k = body.int("top_k");
    asked.stop_sequences = body.strings("stop_sequences");
    prompt(&body.str("prompt").unwrap_or_default(), call);
    true
}

/// A prompt that is one text.
pub fn prompt(prompt: &str, call: &mut ModelCall) {
    let mut digest = MessageDigest::new();
    digest.text(prompt);
    call.thread.from_user = digest.own;
    digest.add_to(&mut call.thread, "user");
    if let Some(content) = &mut call.content {
        let parts = vec![MessagePart::text(prompt)];
        content.input = vec![Message { role: "user".to_owned(), parts, ..Message::default() }];
    }
}

#[derive(Default)]
struct CompletionStream {
    text: String,
    reason: Option<String>,
    /// Something came.
    begun: bool,
    cut: bool,
}

impl Stream for CompletionStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let kind = data.str("type");
        if kind.as_deref().or(name) == Some("error") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        self.begun = true;
        call.reply.id = data.string("id").or(call.reply.id.take());
        call.reply.model = data.string("model").or(call.reply.model.take());
        let text = data.str("completion").unwrap_or_default();
        if call.content.is_some() {
            self.text.push_str(&text);
        }
        self.reason = data.string("stop_reason").or(self.reason.take());
        Step { content: !text.is_empty(), terminal: self.reason.is_some() }
    }

    fn cut(&mut self) {
        self.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        if let Some(content) = &mut call.content
            && (self.reason.is_some() || !self.text.is_empty())
        {
            let reason = self.reason.as_deref().map_or(media::CUT, anthropic_content::finish_reason).to_owned();
            let mut parts = Vec::new();
            media::add_text(&mut parts, &self.text);
            content.output = vec![media::answer(parts, reason)];
        }
        let unseen = || (self.cut && self.begun).then(|| media::CUT.to_owned());
        call.reply.finish_reasons = self.reason.or_else(unseen).into_iter().collect();
        false
    }
}
