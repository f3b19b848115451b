//! What a request's header fields tell of the call.

use pipeline::{SpanContext, SpanId, TraceId, observation::Headers};

use super::json::Object;

/// The context of a `traceparent` (W3C Trace Context, section 3.2): the trace and, as `span_id`, the remote parent.
pub fn remote_parent(headers: &Headers) -> Option<SpanContext> {
    let mut fields = headers.0.iter().filter(|(name, _)| name == "traceparent");
    let (_, value) = fields.next()?;
    // Section 3.2: more than one is as good as none.
    if fields.next().is_some() {
        return None;
    }
    traceparent(value.trim())
}

fn traceparent(value: &str) -> Option<SpanContext> {
    let mut parts = value.splitn(5, '-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str| text.len() == 2 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !hex(version) || version == "ff" || !hex(flags) || (version == "00" && parts.next().is_some()) {
        return None;
    }
    Some(SpanContext { trace_id: TraceId::parse(trace)?, span_id: SpanId::parse(span)?, parent_span_id: None })
}

/// The same of a message on a WebSocket, which has no header fields: codex puts it into `client_metadata`.
pub fn remote_parent_in(body: &Object<'_>) -> Option<SpanContext> {
    traceparent(body.object("client_metadata")?.str("ws_request_header_traceparent")?.trim())
}

/// How often the client tried before, by its own count (`x-stainless-retry-count` of OpenAI's and Anthropic's SDKs).
/// Absent for a first try.
pub fn resend_count(headers: &Headers) -> Option<u64> {
    headers.get("x-stainless-retry-count")?.trim().parse().ok().filter(|count| *count > 0)
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
    fn traceparent_is_strict() {
        assert!(traceparent(GOOD).is_some());
        assert!(traceparent(&GOOD.replacen("00", "01", 1)).is_some());
        assert!(traceparent(&format!("{}-more", GOOD.replacen("00", "cc", 1))).is_some());
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &format!("{GOOD}-more"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert!(traceparent(bad).is_none(), "{bad}");
        }
        let twice = Headers(vec![("traceparent".into(), GOOD.into()), ("traceparent".into(), GOOD.into())]);
        assert!(remote_parent(&twice).is_none());
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
