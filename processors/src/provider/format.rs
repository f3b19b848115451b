//! What a decoder of one wire format gives. A new API is a new file with one [`Format`], and a row in `table.rs`.

use pipeline::observation::{Api, ModelCall, Operation};

use super::json::Object;

/// A wire format.
pub struct Format {
    /// Which one.
    pub api: Api,
    /// What its calls do.
    pub operation: Operation,
    /// `gen_ai.provider.name` where the host does not tell.
    pub provider: &'static str,
    /// True if a request's body is of this format; asked for hosts that are not known.
    pub shape: fn(&Object<'_>) -> bool,
    /// Reads a request's body. False if it is no call of a model after all.
    pub request: fn(&Object<'_>, &mut ModelCall) -> bool,
    /// Reads the body of a successful answer that is no stream.
    pub plain: fn(&Object<'_>, &mut ModelCall),
    /// Begins to read a stream.
    pub stream: fn() -> Box<dyn Stream>,
}

/// What an event of a stream was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// It brought text, reasoning or a part of a tool call.
    pub content: bool,
    /// It was the stream's last.
    pub terminal: bool,
}

impl Step {
    /// The stream's last event.
    pub const TERMINAL: Step = Step { content: false, terminal: true };

    /// An event with or without content.
    pub fn content(content: bool) -> Self {
        Step { content, terminal: false }
    }
}

/// Reads the events of one stream, in order.
pub trait Stream {
    /// Takes one event: its SSE name, and its data.
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step;

    /// Tells, before `finish`, that the stream broke off before its terminal event, and not because onlooker missed it.
    fn cut(&mut self) {}

    /// Puts what was assembled into the call. True if the answer is whole even without a terminal event.
    fn finish(self: Box<Self>, call: &mut ModelCall) -> bool;
}

/// For formats that never stream.
pub struct NoStream;

impl Stream for NoStream {
    fn event(&mut self, _: Option<&str>, _: &Object<'_>, _: &mut ModelCall) -> Step {
        Step::default()
    }
    fn finish(self: Box<Self>, _: &mut ModelCall) -> bool {
        true
    }
}
