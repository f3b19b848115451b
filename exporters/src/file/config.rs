//! Configuration of the `file` exporter.

use std::time::Duration;

use pipeline::{
    config::{Component, Problem, Problems, values::GoDuration},
    semconv::Profile,
};
use serde::Deserialize;

use crate::encode::{
    limits::Limits,
    options::{Compatibility, Options},
};

/// Form of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineFormat {
    /// OTLP/JSON, one export request per line.
    #[default]
    Json,
    /// CloudEvents 1.0, one envelope per line; the signed one behind a `signing` processor.
    Cloudevents,
}

/// Every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to write. Required.
    pub path: String,
    /// Form of the lines.
    pub format: LineFormat,
    /// Whether lines are added to a file that is there; otherwise it is emptied at start.
    pub append: bool,
    /// Whether missing directories of `path` are made.
    pub create_directory: bool,
    /// What was written is flushed at least this often.
    pub flush_interval: GoDuration,
    /// State of the conventions' names: `2026-08` or `next`.
    pub semconv: Profile,
    /// Longest values and most attributes.
    pub limits: Limits,
    /// What some backends need.
    pub compatibility: Compatibility,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: String::new(),
            format: LineFormat::Json,
            append: false,
            create_directory: false,
            flush_interval: GoDuration(Duration::from_secs(1)),
            semconv: Profile::default(),
            limits: Limits::default(),
            compatibility: Compatibility::default(),
        }
    }
}

impl Config {
    /// The form of what is written.
    pub fn options(&self) -> Options<'_> {
        Options { semconv: self.semconv, limits: &self.limits, compatibility: &self.compatibility }
    }
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        if self.path.is_empty() {
            problems.push(
                Problem::new(format!("{path}::path"), "must not be empty")
                    .hint("as path: /var/log/onlooker/traces.jsonl"),
            );
        }
        if self.flush_interval.0.is_zero() {
            problems.push(Problem::new(format!("{path}::flush_interval"), "must be positive"));
        }
        self.options().validate(path, problems);
    }
}
