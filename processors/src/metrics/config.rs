//! Configuration of `metrics`.

use std::time::Duration;

use pipeline::{
    config::{Component, Problem, Problems, values::GoDuration},
    observation::metrics::Temporality,
    semconv::Profile,
};
use serde::Deserialize;

/// `metrics: {temporality: delta, interval: 30s}`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether values stand for everything since the start, or for what came since the last points.
    pub temporality: Temporality,
    /// How often points are given out, by the time of the events; and at the end.
    pub interval: GoDuration,
    /// Sets of attributes per metric and service; what is over it goes into one point with `otel.metric.overflow`.
    pub cardinality_limit: usize,
    /// Under which state of the conventions' names: one or both.
    pub profiles: Vec<Profile>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            temporality: Temporality::Cumulative,
            interval: GoDuration(Duration::from_secs(60)),
            cardinality_limit: 2000,
            profiles: vec![Profile::V2026_08],
        }
    }
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        if self.interval.0 < Duration::from_millis(100) {
            problems.push(Problem::new(format!("{path}::interval"), "must be at least 100ms"));
        }
        if self.cardinality_limit < 2 {
            problems.push(Problem::new(format!("{path}::cardinality_limit"), "must be at least 2"));
        }
        if self.profiles.is_empty() {
            problems.push(Problem::new(format!("{path}::profiles"), "is empty").hint("2026-08, next, or both"));
        }
    }
}
