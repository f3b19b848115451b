//! What an operator can choose about the form of what an exporter sends.

use pipeline::{
    config::Problems,
    observation::{Kind, McpTarget, Observation, Operation},
    record::{Attributes, Value},
    semconv::{self as name, Profile},
};
use serde::Deserialize;

use super::{
    Encoder,
    limits::{Bounds, Limits},
};

/// Every key of `compatibility`: what some backends need beyond the conventions, or have trouble with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compatibility {
    /// `openinference.span.kind` on every span (Arize).
    pub openinference: bool,
    /// The details of an inference as an event of its span too (Langfuse reads content there). Only with content.
    pub span_events: bool,
    /// The older name of `gen_ai.provider.name`.
    pub gen_ai_system: bool,
    /// Tokens and finish reasons of a turn on its `invoke_agent` span, as the conventions recommend. Where a backend adds up
    /// all spans of a trace they count twice.
    pub agent_usage: bool,
    /// `gen_ai.client.inference.operation.details` events. Default: what `OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT` says in
    /// onlooker's own environment, else for calls whose content goes to events.
    pub inference_events: Option<bool>,
    /// `gen_ai.client.operation.exception` events of calls that failed.
    pub exception_events: bool,
}

impl Default for Compatibility {
    fn default() -> Self {
        Self {
            openinference: false,
            span_events: false,
            gen_ai_system: false,
            agent_usage: true,
            inference_events: None,
            exception_events: true,
        }
    }
}

/// The three keys that every exporter has.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// `semconv`
    pub semconv: Profile,
    /// `limits`
    pub limits: &'a Limits,
    /// `compatibility`
    pub compatibility: &'a Compatibility,
}

impl Options<'_> {
    /// Checks what can be wrong.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        self.limits.validate(path, problems);
    }

    /// The encoder that does so.
    pub fn encoder(&self) -> Encoder {
        let mut compatibility = self.compatibility.clone();
        compatibility.inference_events = compatibility.inference_events.or_else(emit_event);
        Encoder {
            profile: self.semconv,
            spans: self.limits.bounds(true),
            events: self.limits.bounds(false),
            compatibility,
        }
    }
}

fn emit_event() -> Option<bool> {
    match std::env::var("OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT").ok()?.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

impl Default for Encoder {
    /// Everything as it is, under the names of the default profile.
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            spans: Bounds::NONE,
            events: Bounds::NONE,
            compatibility: Compatibility::default(),
        }
    }
}

impl Compatibility {
    /// Adds and takes away attributes of a span.
    pub(super) fn span(&self, observation: &Observation, attributes: &mut Attributes) {
        if !self.agent_usage && matches!(observation.kind, Kind::AgentTurn(_)) {
            attributes.retain(|(name, _)| !name.starts_with("gen_ai.usage."));
        }
        if self.openinference
            && let Some(kind) = openinference_kind(&observation.kind)
        {
            attributes.push((name::OPENINFERENCE_SPAN_KIND, kind.into()));
        }
        if self.gen_ai_system {
            let provider = attributes.iter().find(|(name, _)| *name == name::GEN_AI_PROVIDER_NAME);
            if let Some((_, Value::Str(provider))) = provider {
                // The one value that had another form (semantic conventions 1.36).
                let system = if provider == "x_ai" { "xai" } else { provider.as_str() };
                attributes.push((name::GEN_AI_SYSTEM, system.into()));
            }
        }
    }
}

/// Arize's kinds of spans (OpenInference specification, "OpenInference Span Kinds").
fn openinference_kind(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::ModelCall(call) => match call.operation {
            Operation::Embeddings => "EMBEDDING",
            Operation::Retrieval => "RETRIEVER",
            _ => "LLM",
        },
        Kind::ToolCall(_) => "TOOL",
        Kind::McpCall(call) if matches!(call.target, Some(McpTarget::Tool(_))) => "TOOL",
        Kind::AgentTurn(_) => "AGENT",
        Kind::McpCall(_) | Kind::Process(_) => "CHAIN",
        _ => return None,
    })
}
