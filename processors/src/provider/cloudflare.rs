//! Cloudflare Workers AI (`POST …/ai/run/{model}`, and the same behind its gateway). Facts from Cloudflare's API reference: the
//! answer stands in `result`, with `success` and `errors` beside it; a stream has pieces of `response`, and ends with `[DONE]`;
//! some models answer as OpenAI's chat completions do. The model stands in the path.

use pipeline::observation::{Api, ModelCall, Operation, RequestedTool};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::{self, Object},
    openai_chat,
    said::{self, Said},
};

/// This format.
pub const RUN: Format = Format {
    api: Api::CloudflareRun,
    operation: Operation::Chat,
    provider: "cloudflare",
    shape: |body| body.array("messages").is_some() || body.has("prompt") || body.has("text"),
    request,
    plain: |body, call| {
        if body.bool("success") == Some(false) {
            call.error = Some(failure::of_event(body));
            return;
        }
        let result = body.object("result");
        let result = result.as_ref().unwrap_or(body);
        if result.array("choices").is_some() {
            return (openai_chat::FORMAT.plain)(result, call);
        }
        let mut pieces = Pieces::default();
        pieces.take(result, call);
        if call.operation != Operation::Embeddings {
            // `success` stands after the result: without it the answer was cut.
            if body.bool("success") == Some(true) {
                pieces.end();
            }
            pieces.said.finish(call);
        }
    },
    stream: || Box::new(Both { chat: (openai_chat::FORMAT.stream)(), is_chat: false, pieces: Pieces::default() }),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let model = call.parameters.model.take();
    (openai_chat::FORMAT.request)(body, call);
    call.parameters.model = model;
    if body.array("messages").is_some() {
        return true;
    }
    if body.has("prompt") {
        call.operation = Operation::TextCompletion;
        said::prompt(call, &body.strings("prompt"));
    } else if body.has("text") {
        call.operation = Operation::Embeddings;
    }
    true
}

#[derive(Default)]
struct Pieces {
    said: Said,
}

impl Pieces {
    /// A whole answer, or a piece.
    fn take(&mut self, data: &Object<'_>, call: &mut ModelCall) -> bool {
        if let Some(found) = data.object("usage") {
            call.usage = openai_chat::usage::read(&found);
        }
        let mut content = match data.str("response") {
            Some(text) => self.said.text(call, &text),
            // What was asked for as JSON.
            None => data.raw("response").is_some_and(|raw| self.said.text(call, raw)),
        };
        for raw in data.objects("tool_calls") {
            content = true;
            let function = raw.object("function");
            let named = function.as_ref().unwrap_or(&raw);
            let arguments = named.raw("arguments").unwrap_or_default();
            self.said.tools.push(RequestedTool {
                id: raw.string("id"),
                name: named.string("name").unwrap_or_default(),
                arguments: json::string(arguments).map_or_else(|| arguments.to_owned(), std::borrow::Cow::into_owned),
            });
        }
        content
    }

    /// The answer is whole: it says no reason.
    fn end(&mut self) {
        let reason = if self.said.tools.is_empty() { "stop" } else { "tool_calls" };
        self.said.reason = Some(reason.into());
    }
}

/// A stream of either kind.
struct Both {
    chat: Box<dyn Stream>,
    is_chat: bool,
    pieces: Pieces,
}

impl Stream for Both {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if data.array("choices").is_some() {
            self.is_chat = true;
        }
        if self.is_chat {
            return self.chat.event(name, data, call);
        }
        if data.array("errors").is_some_and(|errors| !errors.is_empty()) || data.has("error") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        // The last piece is empty and has the counts.
        if data.has("usage") && data.str("response").is_some_and(|text| text.is_empty()) {
            self.pieces.end();
        }
        Step::content(self.pieces.take(data, call))
    }

    fn cut(&mut self) {
        self.chat.cut();
        self.pieces.said.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        if self.is_chat {
            return self.chat.finish(call);
        }
        self.pieces.said.finish(call);
        false
    }
}
