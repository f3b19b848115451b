//! Why a call failed, from an error's JSON.

use pipeline::{mask, observation::CallError};

use super::json::{self, Object};

/// The response's event stream ended before its terminal event.
pub const STREAM_INTERRUPTED: &str = "stream_interrupted";
/// The connection ended before a response, or before the end of one that is no event stream.
pub const CONNECTION_CLOSED: &str = "connection_closed";
/// The convention's fallback.
pub const OTHER: &str = "_OTHER";
/// A provider's message is cut here (characters).
const MESSAGE_MAX: usize = 512;

/// An error of this kind without a message.
pub fn plain(kind: &str) -> CallError {
    CallError { kind: kind.to_owned(), message: None }
}

/// The error of an answer with this status and body (`{"error": {…}}`, `{"error": "…"}`, or the members themselves).
pub fn of_status(status: u16, body: Option<&Object<'_>>) -> CallError {
    let found = body.map(of_body);
    let kind = found.as_ref().and_then(|error| error.0.clone()).unwrap_or_else(|| status.to_string());
    CallError { kind, message: found.and_then(|error| error.1) }
}

/// The error in a body or an event of a successful answer.
pub fn of_event(body: &Object<'_>) -> CallError {
    let (kind, message) = of_body(body);
    CallError { kind: kind.unwrap_or_else(|| OTHER.to_owned()), message }
}

/// Kind and message of what an error's body says.
fn of_body(body: &Object<'_>) -> (Option<String>, Option<String>) {
    let wrapped = body.raw("error");
    if let Some(text) = wrapped.and_then(json::string) {
        // Some servers: {"error": "model not found"}; others: {"error": "not_found", "message": "…"}.
        let message = body.str("message");
        let kind = body
            .string("code")
            .and_then(word)
            .or_else(|| word(text.clone().into_owned()).filter(|_| message.is_some()));
        return (kind, Some(clean(message.as_deref().unwrap_or(&text))));
    }
    let inner = wrapped.and_then(Object::parse);
    let error = inner.as_ref().unwrap_or(body);
    let kind = error.string("code").and_then(word).or_else(|| {
        let kind = error.string("type").and_then(word);
        // The type of a bare event says only that it is one.
        kind.filter(|kind| inner.is_some() || kind != "error")
    });
    let message = error.str("message").or_else(|| body.str("message")).or_else(|| body.str("detail"));
    (kind, message.filter(|text| !text.is_empty()).map(|text| clean(&text)))
}

/// A code as a word of low cardinality, or nothing.
fn word(text: String) -> Option<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c);
    (!text.is_empty() && text.len() <= 80 && text.chars().all(fine)).then_some(text)
}

fn clean(text: &str) -> String {
    let cut = text.char_indices().nth(4 * MESSAGE_MAX).map_or(text, |(at, _)| text.get(..at).unwrap_or(text));
    mask::text(cut).chars().take(MESSAGE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_wins_over_type_and_type_over_status() {
        for (body, status, kind, message) in [
            (r#"{"error":{"message":"no","type":"t_error","code":"c"}}"#, 400, "c", Some("no")),
            (r#"{"error":{"message":"no","type":"t_error","code":null}}"#, 400, "t_error", Some("no")),
            (r#"{"error":{"message":"no","code":429}}"#, 429, "429", Some("no")),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                529,
                "overloaded_error",
                Some("Overloaded"),
            ),
            (r#"{"error":"model not found"}"#, 404, "404", Some("model not found")),
            (r#"{"detail":"nope"}"#, 422, "422", Some("nope")),
            (r#"{}"#, 500, "500", None),
            (r#"{"error":{"code":"has spaces and prose"}}"#, 500, "500", None),
        ] {
            let error = of_status(status, Object::parse(body).as_ref());
            assert_eq!((error.kind.as_str(), error.message.as_deref()), (kind, message), "{body}");
        }
        assert_eq!(of_status(502, None), plain("502"));
    }
}
