//! Configuration of the `stdout` exporter.

use pipeline::{
    config::{Component, Problems},
    semconv::Profile,
};
use serde::Deserialize;

use crate::encode::{
    limits::Limits,
    options::{Compatibility, Options},
};

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// One tree per trace, when its root ends.
    #[default]
    Tree,
    /// OTLP/JSON, one export request per line.
    Json,
    /// CloudEvents 1.0, one envelope per line.
    Cloudevents,
}

/// Where it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

/// Whether the tree has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// Every key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Form of the output.
    pub format: Form,
    /// Where it goes.
    pub output: Output,
    /// Whether the tree has colours.
    pub color: Color,
    /// State of the conventions' names: `2026-08` or `next`.
    pub semconv: Profile,
    /// Longest values and most attributes.
    pub limits: Limits,
    /// What some backends need.
    pub compatibility: Compatibility,
}

impl Config {
    /// The form of what is written.
    pub fn options(&self) -> Options<'_> {
        Options { semconv: self.semconv, limits: &self.limits, compatibility: &self.compatibility }
    }
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        self.options().validate(path, problems);
    }
}
