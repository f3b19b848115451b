//! Snowflake Cortex (`POST /api/v2/cortex/inference:complete`). Facts from Snowflake's REST API reference: OpenAI's chat with
//! pieces of its own (`content_list`, and a delta that is the piece itself); a stream has no finish reason and no `[DONE]`, its
//! last event has the usage.

use pipeline::observation::{Api, ModelCall, Operation, RequestedTool};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::{self, Object},
    openai_chat,
    said::Said,
};

/// This format.
pub const COMPLETE: Format = Format {
    api: Api::CortexComplete,
    operation: Operation::Chat,
    provider: "snowflake",
    shape: |body| body.has("model") && body.array("messages").is_some(),
    request: |body, call| (openai_chat::FORMAT.request)(body, call),
    plain: |body, call| {
        let mut pieces = Box::<Pieces>::default();
        pieces.event(None, body, call);
        pieces.ended = true;
        pieces.finish(call);
    },
    stream: || Box::<Pieces>::default(),
};

#[derive(Default)]
struct Pieces {
    said: Said,
    ended: bool,
}

impl Pieces {
    fn tool(&mut self, piece: &Object<'_>) {
        let input = piece.raw("input").unwrap_or_default();
        let input = json::string(input).map_or_else(|| input.to_owned(), std::borrow::Cow::into_owned);
        match (piece.string("tool_use_id"), self.said.tools.last_mut()) {
            // The input comes in pieces, the first with the name.
            (id, Some(last)) if !piece.has("name") && (id.is_none() || id == last.id) => {
                last.arguments.push_str(&input)
            }
            (id, _) => {
                let name = piece.string("name").unwrap_or_default();
                self.said.tools.push(RequestedTool { id, name, arguments: input });
            }
        }
    }
}

impl Stream for Pieces {
    fn event(&mut self, _: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        if data.has("error") || data.has("error_code") {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        call.reply.id = data.string("id").or(call.reply.id.take());
        call.reply.model = data.string("model").or(call.reply.model.take());
        if let Some(found) = data.object("usage").filter(|usage| !usage.0.is_empty()) {
            call.usage = openai_chat::usage::read(&found);
            self.ended = true;
        }
        let mut content = false;
        for choice in data.objects("choices") {
            self.said.reason = choice.string("finish_reason").or(self.said.reason.take());
            let Some(piece) = choice.object("delta").or_else(|| choice.object("message")) else { continue };
            let text = piece.str("content").or_else(|| piece.str("text")).unwrap_or_default();
            content |= self.said.text(call, &text);
            if piece.str("type").as_deref() == Some("tool_use") {
                content = true;
                self.tool(piece.object("tool_use").as_ref().unwrap_or(&piece));
                continue;
            }
            for listed in piece.objects("content_list") {
                match listed.str("type").as_deref() {
                    Some("tool_use") => {
                        content = true;
                        self.tool(listed.object("tool_use").as_ref().unwrap_or(&listed));
                    }
                    // The text stands in `content` too.
                    _ if !text.is_empty() => {}
                    _ => content |= self.said.text(call, &listed.str("text").unwrap_or_default()),
                }
            }
        }
        Step::content(content)
    }

    fn cut(&mut self) {
        self.said.cut = true;
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        let mut said = self.said;
        if self.ended && said.reason.is_none() {
            said.reason = Some(if said.tools.is_empty() { "stop" } else { "tool_calls" }.into());
        }
        said.finish(call);
        self.ended
    }
}
