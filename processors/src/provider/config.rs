//! The keys of the `provider` processor.

use pipeline::{
    config::{Component, Problem, Problems},
    observation::{Api, ContentMode},
};
use serde::Deserialize;

/// Configuration of `provider`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Hosts of your own that serve a model, tried before the built-in table.
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

/// A host that serves a model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Custom {
    /// The host, as `llm.corp.example`: it and all hosts below it; `*` stands for any characters within one label.
    /// With a port, as `localhost:8080`, only on that port.
    pub host: String,
    /// `gen_ai.provider.name` of its calls; default: that of the API (openai or anthropic).
    pub provider: Option<String>,
    /// The API of its paths that do not tell by themselves.
    pub api: Option<CustomApi>,
}

/// Names of the APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomApi {
    /// OpenAI chat completions.
    ChatCompletions,
    /// OpenAI responses.
    Responses,
    /// OpenAI embeddings.
    Embeddings,
    /// Anthropic messages.
    Messages,
}

impl From<CustomApi> for Api {
    fn from(api: CustomApi) -> Api {
        match api {
            CustomApi::ChatCompletions => Api::ChatCompletions,
            CustomApi::Responses => Api::Responses,
            CustomApi::Embeddings => Api::Embeddings,
            CustomApi::Messages => Api::Messages,
        }
    }
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        for (at, row) in self.custom.iter().enumerate() {
            if row.host.trim().is_empty() {
                problems.push(Problem::new(format!("{path}::custom::{at}::host"), "must not be empty"));
            } else if row.host.contains(['/', ' ']) {
                problems.push(
                    Problem::new(format!("{path}::custom::{at}::host"), format!("{:?} is not a host", row.host))
                        .hint("a host without scheme and path, as llm.corp.example or localhost:8080"),
                );
            }
            if row.provider.as_deref() == Some("") {
                problems.push(
                    Problem::new(format!("{path}::custom::{at}::provider"), "must not be empty")
                        .hint("leave it out for the API's own provider"),
                );
            }
        }
    }
}
