//! What a request's header fields tell of the call.

use pipeline::{SpanContext, observation::Headers};

use super::json::Object;

/// The context of a `traceparent` (W3C Trace Context, section 3.2): the trace and, as `span_id`, the remote parent.
pub fn remote_parent(headers: &Headers) -> Option<SpanContext> {
    let mut fields = headers.0.iter().filter(|(name, _)| name == "traceparent");
    let (_, value) = fields.next()?;
    // Section 3.2: more than one is as good as none.
    if fields.next().is_some() {
        return None;
    }
    SpanContext::from_traceparent(value)
}

/// The same of a message on a WebSocket, which has no header fields: codex puts it into `client_metadata`.
pub fn remote_parent_in(body: &Object<'_>) -> Option<SpanContext> {
    SpanContext::from_traceparent(&body.object("client_metadata")?.str("ws_request_header_traceparent")?)
}

/// How often the client tried before, by its own count (`x-stainless-retry-count` of the SDKs of OpenAI, Anthropic, Groq,
/// Together and others; `amz-sdk-request: attempt=2; max=4` of Amazon's). Absent for a first try.
pub fn resend_count(headers: &Headers) -> Option<u64> {
    let counted = || headers.get("x-stainless-retry-count")?.trim().parse::<u64>().ok();
    let attempt = || {
        let fields = headers.get("amz-sdk-request")?.split(';');
        let attempt: u64 = fields.filter_map(|field| field.trim().strip_prefix("attempt=")).next()?.parse().ok()?;
        attempt.checked_sub(1)
    };
    counted().or_else(attempt).filter(|count| *count > 0)
}

/// The conversation that the agent names in a header: Claude Code's and Codex's.
pub fn conversation(headers: &Headers) -> Option<String> {
    const NAMES: &[&str] =
        &["x-claude-code-session-id", "conversation_id", "session_id", "conversation-id", "session-id"];
    let values = NAMES.iter().filter_map(|name| headers.get(name));
    let fine = |text: &&str| {
        !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    values.map(str::trim).find(fine).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn traceparent_is_taken_once() {
        let field = |value: &str| ("traceparent".to_owned(), value.to_owned());
        let of = |fields: Vec<(String, String)>| remote_parent(&Headers(fields));
        assert!(of(vec![field(GOOD)]).is_some_and(|parent| parent.parent_span_id.is_none()));
        assert!(of(vec![field(&format!(" {GOOD} "))]).is_some());
        assert!(of(vec![field(GOOD), field(GOOD)]).is_none());
        assert!(of(vec![field(&GOOD.to_uppercase())]).is_none());
        assert!(of(Vec::new()).is_none());
    }

    #[test]
    fn clients_count_their_tries() {
        for (name, value, count) in [
            ("x-stainless-retry-count", "2", Some(2)),
            ("x-stainless-retry-count", "0", None),
            ("x-stainless-retry-count", "x", None),
            ("amz-sdk-request", "attempt=3; max=4", Some(2)),
            ("amz-sdk-request", "ttl=20201231T120000Z; attempt=2", Some(1)),
            ("amz-sdk-request", "attempt=1", None),
            ("amz-sdk-request", "attempt=0", None),
        ] {
            let headers = Headers(vec![(name.into(), value.into())]);
            assert_eq!(resend_count(&headers), count, "{name}: {value}");
        }
    }

    #[test]
    fn only_agents_own_headers_name_a_conversation() {
        let of = |name: &str, value: &str| conversation(&Headers(vec![(name.into(), value.into())]));
        assert_eq!(of("x-claude-code-session-id", "5e0d-1").as_deref(), Some("5e0d-1"));
        assert_eq!(of("session_id", "t_1").as_deref(), Some("t_1"));
        assert_eq!(of("session_id", "<redacted>"), None);
        assert_eq!(of("x-request-id", "r"), None);
    }
}
