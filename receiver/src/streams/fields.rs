//! Header fields: which carry credentials, and which are kept as they are.

use pipeline::observation::Headers;

/// Parts of names that say that the value is a credential.
const WORDS: &[&str] = &[
    "token",
    "secret",
    "auth",
    "password",
    "passwd",
    "cookie",
    "credential",
    "apikey",
    // Browsers put a key among the protocols that they offer.
    "websocket-protocol",
    "csrf",
    "xsrf",
    "jwt",
    "signature",
];

/// Names with one of [`WORDS`] (or ending in `key`) that carry none.
const HARMLESS: &[&str] = &[
    ":authority",
    "authority",
    "idempotency-key",
    "x-idempotency-key",
    "surrogate-key",
    "sec-websocket-key",
    // Counts of a server of Hugging Face.
    "x-prompt-tokens",
    "x-generated-tokens",
];

/// Beginnings of names that carry none: counters, quotas and descriptions of content.
const HARMLESS_FAMILIES: &[&str] = &["x-ratelimit-", "ratelimit", "anthropic-ratelimit-", "content-", "x-stainless-"];

/// True if the value of a header field with this name (any case) is a credential, or may be one.
pub fn is_sensitive_header(name: &str) -> bool {
    let lower;
    let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        lower = name.to_ascii_lowercase();
        lower.as_str()
    } else {
        name
    };
    if HARMLESS.contains(&name)
        || HARMLESS_FAMILIES.iter().any(|family| name.starts_with(family))
        || name.ends_with("-token-count")
    {
        return false;
    }
    // A field is named for its key at the end (`x-api-key`, `x-portkey`) or in a part (`x-key-id`).
    WORDS.iter().any(|word| name.contains(word))
        || name.ends_with("key")
        || name.split(['-', '_']).any(|part| matches!(part, "key" | "keys"))
}

/// What stands for a credential.
const REDACTED: &str = "<redacted>";

/// Fields whose values are addresses, which may hold secrets in their queries.
const ADDRESSES: &[&str] = &["location", "content-location", "referer", "link", "refresh"];

/// The fields of a head: names in lower case, credentials taken out.
pub(super) fn headers(fields: &[httparse::Header<'_>]) -> Headers {
    let fields = fields.iter().filter(|field| !field.name.is_empty());
    Headers(fields.map(|field| self::field(field.name, field.value)).collect())
}

/// A field: its name in lower case, no credential.
pub(super) fn field(name: &str, value: &[u8]) -> (String, String) {
    let name = name.to_ascii_lowercase();
    if is_sensitive_header(&name) {
        return (name, REDACTED.to_owned());
    }
    let value = String::from_utf8_lossy(value);
    let value = value.trim();
    let value =
        if ADDRESSES.contains(&name.as_str()) { pipeline::mask::target(value).into_owned() } else { value.to_owned() };
    (name, value)
}

/// Bytes that the fields hold.
pub(super) fn size(headers: &Headers) -> u64 {
    let entry = size_of::<(String, String)>();
    headers.0.iter().map(|(name, value)| (name.len() + value.len() + entry) as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_name() {
        for name in [
            "authorization",
            "Proxy-Authorization",
            "cookie",
            "set-cookie",
            "X-API-Key",
            "api-key",
            "x-goog-api-key",
            "x-amz-security-token",
            "x-auth",
            "x-my-secret",
            "x-password",
            "ocp-apim-subscription-key",
            "x-session-token",
            "helicone-auth",
            "Sec-WebSocket-Protocol",
            "x-csrf-token",
            "cf-access-client-secret",
            "x-portkey-api-key",
        ] {
            assert!(is_sensitive_header(name), "{name}");
        }
    }

    #[test]
    fn what_is_needed_downstream_survives() {
        for name in [
            "host",
            "x-stainless-retry-count",
            "traceparent",
            "tracestate",
            "x-claude-code-session-id",
            "session_id",
            "openai-organization",
            "openai-processing-ms",
            "x-request-id",
            "request-id",
            "anthropic-version",
            "anthropic-beta",
            "content-type",
            "content-length",
            "x-ratelimit-remaining-tokens",
            "user-agent",
            "anthropic-ratelimit-input-tokens-remaining",
            ":authority",
            "x-amzn-bedrock-input-token-count",
            "x-prompt-tokens",
            "retry-after",
            "sec-websocket-extensions",
            "conversation_id",
            "originator",
            "x-amzn-requestid",
            "location",
        ] {
            assert!(!is_sensitive_header(name), "{name}");
        }
    }
}
