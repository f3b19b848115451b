//! Measurements → points, bounded in cardinality.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Write,
    sync::Arc,
};

use pipeline::{
    Timestamp,
    observation::{
        ProcessInfo,
        metrics::{Data, Metric, Point, Temporality},
    },
    record::Value,
    semconv::OTEL_METRIC_OVERFLOW,
};

use super::instruments::{Instrument, Kind};

/// Attributes, sorted by name.
pub type Attributes = Vec<(&'static str, Value)>;

/// One set of attributes.
struct Series {
    attributes: Attributes,
    start: Timestamp,
    data: Data,
    /// Something was measured since the last collection.
    fresh: bool,
}

/// The measurements of one service.
pub struct Service {
    /// Whom they are of: service and host only.
    pub process: Arc<ProcessInfo>,
    series: BTreeMap<(&'static str, String), Series>,
    counts: BTreeMap<&'static str, usize>,
}

impl Service {
    /// Nothing was measured yet.
    pub fn new(process: Arc<ProcessInfo>) -> Self {
        Self { process, series: BTreeMap::new(), counts: BTreeMap::new() }
    }

    /// Takes one measurement.
    pub fn record(
        &mut self,
        instrument: &'static Instrument,
        mut attributes: Attributes,
        value: f64,
        start: Timestamp,
        limit: usize,
    ) {
        attributes.sort_by_key(|(name, _)| *name);
        let mut key = (instrument.name, text(&attributes));
        let count = self.counts.entry(instrument.name).or_default();
        // One place is the overflow's (OpenTelemetry SDK specification, "Cardinality limits").
        if !self.series.contains_key(&key) && *count + 1 >= limit {
            attributes = vec![(OTEL_METRIC_OVERFLOW, true.into())];
            key.1 = text(&attributes);
        }
        let series = match self.series.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                *count += 1;
                entry.insert(Series { attributes, start, data: instrument.empty(), fresh: false })
            }
        };
        series.fresh = true;
        match &mut series.data {
            Data::Histogram { bounds, buckets, sum, range } => {
                let at = bounds.partition_point(|bound| *bound < value);
                *range = if buckets.iter().all(|count| *count == 0) {
                    (value, value)
                } else {
                    (range.0.min(value), range.1.max(value))
                };
                if let Some(bucket) = buckets.get_mut(at) {
                    *bucket += 1;
                }
                *sum += value;
            }
            // Counts are whole and not negative.
            Data::Counter(total) => *total = total.saturating_add(value.max(0.0) as u64),
        }
    }

    /// The points at this time; none if nothing is to be told. With delta temporality what was told begins anew.
    pub fn collect(&mut self, now: Timestamp, temporality: Temporality) -> Vec<Metric> {
        let mut metrics: Vec<Metric> = Vec::new();
        for ((name, _), series) in &mut self.series {
            if temporality == Temporality::Delta && !series.fresh {
                continue;
            }
            let Some(instrument) = super::instruments::find(name) else { continue };
            if metrics.last().is_none_or(|metric| metric.name != *name) {
                metrics.push(Metric {
                    name,
                    unit: instrument.unit,
                    description: instrument.description,
                    temporality,
                    points: Vec::new(),
                });
            }
            let data = match temporality {
                Temporality::Cumulative => series.data.clone(),
                Temporality::Delta => std::mem::replace(&mut series.data, instrument.empty()),
            };
            let point =
                Point { attributes: series.attributes.clone(), start: series.start, time: now.max(series.start), data };
            if let Some(metric) = metrics.last_mut() {
                metric.points.push(point);
            }
            series.fresh = false;
        }
        if temporality == Temporality::Delta {
            self.series.clear();
            self.counts.clear();
        }
        metrics
    }

    /// True if something was measured since the last collection.
    pub fn is_fresh(&self) -> bool {
        self.series.values().any(|series| series.fresh)
    }
}

impl Instrument {
    fn empty(&self) -> Data {
        match self.kind {
            Kind::Histogram(bounds) => {
                Data::Histogram { bounds, buckets: vec![0; bounds.len() + 1], sum: 0.0, range: (0.0, 0.0) }
            }
            Kind::Counter => Data::Counter(0),
        }
    }
}

/// Attributes as one text, to compare them by: floating-point numbers have no order.
fn text(attributes: &Attributes) -> String {
    let mut text = String::new();
    for (name, value) in attributes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{name}={value:?}\0");
    }
    text
}
