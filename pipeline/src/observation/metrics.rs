//! Metric points, as the `metrics` processor gives them out.

use crate::{ids::Timestamp, record::Value};

/// Points of several metrics, collected at one time.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Each metric once.
    pub metrics: Vec<Metric>,
}

/// What a value stands for (opentelemetry-proto, metrics.proto, `AggregationTemporality`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    /// Everything since the start.
    #[default]
    Cumulative,
    /// What came since the last points.
    Delta,
}

/// One metric.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name, as `gen_ai.client.operation.duration`.
    pub name: &'static str,
    /// Its unit, as `s`.
    pub unit: &'static str,
    /// What it measures.
    pub description: &'static str,
    /// What its values stand for.
    pub temporality: Temporality,
    /// Its points: each set of attributes once.
    pub points: Vec<Point>,
}

/// A value of a metric for one set of attributes.
#[derive(Clone, Debug)]
pub struct Point {
    /// What it was measured for, sorted by name.
    pub attributes: Vec<(&'static str, Value)>,
    /// Since when.
    pub start: Timestamp,
    /// Until when.
    pub time: Timestamp,
    /// What was measured.
    pub data: Data,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// How values are spread.
    Histogram {
        /// Upper bounds of all buckets but the last, inclusive.
        bounds: &'static [f64],
        /// Values in each bucket; one more than bounds.
        buckets: Vec<u64>,
        /// All values added up.
        sum: f64,
        /// The smallest and the largest value.
        range: (f64, f64),
    },
    /// A sum that only grows.
    Counter(u64),
}
