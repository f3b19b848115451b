//! A response fetched again (`GET …/responses/{id}`), as clients do that let one run in the background; with `stream=true` its
//! events, from `starting_after` on. Facts from OpenAI's API reference, "Get a model response".
//!
//! The conventions' `fetch_response`: no inference, so its tokens are not counted again, and a response that failed is no
//! failure of the fetch.

use pipeline::{
    observation::{Api, MessagePart, ModelCall, Operation, Usage},
    providers,
};

use super::{
    format::{Format, Step, Stream},
    json::Object,
    openai_chat,
    openai_responses::{self, ResponseStream},
};

/// This format.
pub const FORMAT: Format = Format {
    api: Api::FetchResponse,
    operation: Operation::FetchResponse,
    provider: "openai",
    shape: |_| false,
    request: |_, _| true,
    plain,
    stream: || Box::<FetchStream>::default(),
};

/// Takes what the target asks for.
pub fn asked(target: &str, call: &mut ModelCall) {
    call.reply.id = providers::normal_path(target).rsplit('/').next().map(str::to_owned);
    let query = target.split_once('?').map(|(_, query)| query.split('#').next().unwrap_or_default());
    let named = |key: &str| query?.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let fine =
        |text: &&str| !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    call.parameters.stream = named("stream") == Some("true");
    call.parameters.stream_cursor = named("starting_after").filter(fine).map(str::to_owned);
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    openai_responses::plain(body, call);
    if body.has("status") {
        call.error = None;
    }
    told(body, call);
}

/// What a response object says of the response, beside what it is for every call.
fn told(body: &Object<'_>, call: &mut ModelCall) {
    call.usage = Usage::default();
    if let Some(status) = body.string("status").filter(|status| known(status)) {
        call.reply.response_status = Some(status);
    }
    if let Some(content) = &mut call.content {
        content.system_instructions = match body.string("instructions") {
            Some(text) => vec![MessagePart::text(text)],
            None => body.objects("instructions").flat_map(|item| openai_responses::content::parts(&item)).collect(),
        };
        content.tools = openai_chat::content::tools(body);
    }
}

/// The convention's values, which are the API's own.
fn known(status: &str) -> bool {
    matches!(status, "queued" | "in_progress" | "completed" | "incomplete" | "failed" | "cancelled")
}

#[derive(Default)]
struct FetchStream {
    inner: Box<ResponseStream>,
    failed: bool,
}

impl Stream for FetchStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let step = self.inner.event(name, data, call);
        if let Some(body) = data.object("response") {
            told(&body, call);
            self.failed = body.str("status").as_deref() == Some("failed");
        }
        step
    }

    fn cut(&mut self) {
        self.inner.cut();
    }

    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool {
        let whole = self.inner.finish(call);
        if self.failed {
            call.error = None;
        }
        whole
    }
}
