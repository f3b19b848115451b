//! The keys of the `provider` processor.

use pipeline::{
    config::{Component, Problem, Problems},
    observation::ContentMode,
    providers,
};
use serde::Deserialize;

pub use pipeline::providers::Custom;

/// Configuration of `provider`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Hosts and paths of your own that serve a model, tried before the built-in table.
    pub custom: Vec<Custom>,
    /// Where messages, instructions, tool definitions, arguments and results are written: `no_content`, `span_only`,
    /// `event_only` or `span_and_event`. Default: the environment's `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`,
    /// else `no_content`.
    pub capture_content: Option<ContentMode>,
}

impl Config {
    /// Where content is written. The variable is read of onlooker's own environment, never of an observed process's.
    pub fn mode(&self) -> ContentMode {
        let said = || std::env::var("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT").ok();
        self.capture_content.unwrap_or_else(|| said().map_or(ContentMode::NoContent, |text| mode_of(&text)))
    }
}

/// The mode that the variable's value means; `true` is what older instrumentations knew. Anything else captures nothing.
pub(super) fn mode_of(text: &str) -> ContentMode {
    match text.trim().to_ascii_lowercase().as_str() {
        "span_only" | "true" => ContentMode::SpanOnly,
        "event_only" => ContentMode::EventOnly,
        "span_and_event" => ContentMode::SpanAndEvent,
        _ => ContentMode::NoContent,
    }
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        for (at, row) in self.custom.iter().enumerate() {
            check(row, &format!("{path}::custom::{at}"), problems);
        }
    }
}

fn check(row: &Custom, path: &str, problems: &mut Problems) {
    let mut wrong = |key: &str, message: String, hint: &str| {
        let place = if key.is_empty() { path.to_owned() } else { format!("{path}::{key}") };
        problems.push(Problem::new(place, message).hint(hint));
    };
    if row.host.is_none() && row.path.is_none() {
        wrong("", "has neither host nor path".into(), "name the host, as llm.corp.example, or the path, as /llm/chat");
    }
    if let Some(host) = &row.host {
        let (name, port) = providers::split_authority(host);
        let colons = name.matches(':').count();
        if host.trim().is_empty() {
            wrong("host", "must not be empty".into(), "leave it out for any host");
        } else if host.contains("://") || host.contains(['/', '?', '#', '@', ' ']) {
            let hint = "a host without scheme and path, as llm.corp.example or localhost:8080; a path goes into `path`";
            wrong("host", format!("{host:?} is not a host"), hint);
        } else if !host.is_ascii() {
            wrong("host", format!("{host:?} is not as it goes over the wire"), "write it in its xn-- form (punycode)");
        } else if name.is_empty() || name.split('.').any(str::is_empty) {
            wrong(
                "host",
                format!("{host:?} has an empty label"),
                "as llm.corp.example, without a dot at its beginning",
            );
        } else if port.is_none() && colons == 0 && host.contains(':') {
            wrong("host", format!("{host:?} has a port that is none"), "a number from 1 to 65535, as localhost:8080");
        } else if name.split('.').any(|label| label.matches('*').count() > 1) {
            wrong("host", format!("{host:?} has two * in one label"), "one in each label, as *.corp.example");
        } else if name.split('.').all(|label| label == "*") {
            wrong("host", format!("{host:?} fits every host"), "leave it out for any host");
        }
    }
    if let Some(pattern) = &row.path {
        if !pattern.starts_with(['/', '*']) {
            wrong(
                "path",
                format!("{pattern:?} is not a path"),
                "it begins with / or *, as /llm/chat, /llm/* or */chat",
            );
        } else if pattern.contains(['?', '#', ' ']) {
            wrong("path", format!("{pattern:?} is not a path"), "a path without the query");
        } else if row.host.is_none() && pattern.bytes().all(|byte| byte == b'*' || byte == b'/') && pattern != "/" {
            wrong("path", format!("{pattern:?} fits every request to any host"), "name a host, or more of the path");
        }
        if row.host.is_none() && row.api.is_none() && row.provider.is_none() {
            wrong("", "says nothing of its path".into(), "say which `api` it speaks, or the `provider` of its calls");
        }
    }
    if row.provider.as_deref().is_some_and(|name| name.trim().is_empty()) {
        wrong("provider", "must not be empty".into(), "leave it out for the API's own provider");
    }
}
