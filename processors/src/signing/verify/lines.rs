//! Finds the envelopes in a line: the line itself, or the bodies of an OTLP/JSON export request's log records.

use std::borrow::Cow;

use serde::Deserialize;

/// What a line is.
pub(super) enum Line<'a> {
    /// A CloudEvents envelope.
    Envelope,
    /// Log records: the envelope of each that has one.
    Logs(Vec<Option<Cow<'a, str>>>),
    /// Spans or metrics.
    Other,
    /// None of these.
    Unknown(String),
}

/// Only the members that matter here; others are skipped without being kept.
#[derive(Deserialize)]
struct Top<'a> {
    #[serde(default, rename = "resourceLogs", borrow)]
    resource_logs: Option<Vec<ResourceLogs<'a>>>,
    #[serde(default, rename = "resourceSpans")]
    spans: Option<serde::de::IgnoredAny>,
    #[serde(default, rename = "resourceMetrics")]
    metrics: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    specversion: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    signature: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct ResourceLogs<'a> {
    #[serde(default, rename = "scopeLogs", borrow)]
    scope_logs: Vec<ScopeLogs<'a>>,
}

#[derive(Deserialize)]
struct ScopeLogs<'a> {
    #[serde(default, rename = "logRecords", borrow)]
    log_records: Vec<LogRecord<'a>>,
}

#[derive(Deserialize)]
struct LogRecord<'a> {
    #[serde(default, borrow)]
    body: Option<Body<'a>>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default, rename = "stringValue", borrow)]
    string: Option<Cow<'a, str>>,
}

pub(super) fn classify(line: &str) -> Line<'_> {
    let top: Top<'_> = match serde_json::from_str(line) {
        Ok(top) => top,
        Err(error) if error.is_eof() => return Line::Unknown("the line is cut".into()),
        // The message is serde's own about the place; it holds no value but unknown names.
        Err(error) => return Line::Unknown(format!("not JSON of a known form, column {}", error.column())),
    };
    // What is both is no OTLP: nothing may hide behind an envelope.
    match top.resource_logs {
        _ if top.specversion.is_some() || top.signature.is_some() => Line::Envelope,
        Some(resources) => Line::Logs(
            resources
                .into_iter()
                .flat_map(|resource| resource.scope_logs)
                .flat_map(|scope| scope.log_records)
                .map(|record| record.body.and_then(|body| body.string).filter(|text| text.starts_with('{')))
                .collect(),
        ),
        None if top.spans.is_some() || top.metrics.is_some() => Line::Other,
        None => Line::Unknown("neither a CloudEvents envelope nor OTLP/JSON".into()),
    }
}
