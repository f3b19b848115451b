//! What the tests of Anthropic, Google and Amazon share.

use super::*;

/// The call of an exchange, with its content.
pub fn captured(exchange: &Exchange) -> ModelCall {
    let config = Config { capture_content: Some(ContentMode::SpanOnly), ..Config::default() };
    Provider::new(&config).understand(exchange).expect("a call")
}

/// As it is written.
pub fn said(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("JSON")
}

/// One member of each message of the answer.
pub fn output(call: &ModelCall, member: &str) -> Value {
    let content = call.content.as_deref().expect("content");
    content.output.iter().map(|message| said(message)[member].clone()).collect()
}

/// The parts of one message of the answer.
pub fn parts_of(call: &ModelCall, at: usize) -> Vec<Value> {
    let content = call.content.as_deref().expect("content");
    content.output[at].parts.iter().map(said).collect()
}
