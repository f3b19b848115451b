//! Metric points → OTLP.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{
        AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
        Sum, metric, number_data_point,
    },
};
use pipeline::{
    Kind, Observation,
    observation::metrics::{self as points, Data, Temporality},
    semconv,
};

/// Metrics of observations; `None` if there are none. The count is that of the points.
pub fn metrics<'a>(
    observations: impl IntoIterator<Item = &'a Observation>,
) -> Option<(ExportMetricsServiceRequest, usize)> {
    let mut resource_metrics = Vec::new();
    let mut count = 0;
    for observation in observations {
        let Kind::Metrics(found) = &observation.kind else { continue };
        count += found.metrics.iter().map(|metric| metric.points.len()).sum::<usize>();
        resource_metrics.push(ResourceMetrics {
            resource: Some(super::resource::service(&observation.process)),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(super::scope()),
                metrics: found.metrics.iter().map(metric).collect(),
                schema_url: semconv::GEN_AI_SCHEMA_URL.into(),
            }],
            schema_url: semconv::CORE_SCHEMA_URL.into(),
        });
    }
    (count > 0).then_some((ExportMetricsServiceRequest { resource_metrics }, count))
}

/// Points in these observations.
pub fn items(observation: &Observation) -> usize {
    match &observation.kind {
        Kind::Metrics(found) => found.metrics.iter().map(|metric| metric.points.len()).sum(),
        _ => 0,
    }
}

fn metric(found: &points::Metric) -> Metric {
    let aggregation_temporality = match found.temporality {
        Temporality::Cumulative => AggregationTemporality::Cumulative,
        Temporality::Delta => AggregationTemporality::Delta,
    }
    .into();
    // All points of a metric are of one kind.
    let counter = matches!(found.points.first().map(|point| &point.data), Some(Data::Counter(_)));
    let data = if counter {
        let data_points = found.points.iter().filter_map(number).collect();
        metric::Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true })
    } else {
        let data_points = found.points.iter().filter_map(histogram).collect();
        metric::Data::Histogram(Histogram { data_points, aggregation_temporality })
    };
    Metric {
        name: found.name.into(),
        description: found.description.into(),
        unit: found.unit.into(),
        data: Some(data),
        ..Metric::default()
    }
}

fn number(point: &points::Point) -> Option<NumberDataPoint> {
    let Data::Counter(total) = point.data else { return None };
    Some(NumberDataPoint {
        attributes: point.attributes.iter().map(|(name, value)| super::key_value(name, value)).collect(),
        start_time_unix_nano: point.start.nanos(),
        time_unix_nano: point.time.nanos(),
        value: Some(number_data_point::Value::AsInt(i64::try_from(total).unwrap_or(i64::MAX))),
        ..NumberDataPoint::default()
    })
}

fn histogram(point: &points::Point) -> Option<HistogramDataPoint> {
    let Data::Histogram { bounds, buckets, sum, range } = &point.data else { return None };
    Some(HistogramDataPoint {
        attributes: point.attributes.iter().map(|(name, value)| super::key_value(name, value)).collect(),
        start_time_unix_nano: point.start.nanos(),
        time_unix_nano: point.time.nanos(),
        count: buckets.iter().sum(),
        sum: Some(*sum),
        bucket_counts: buckets.clone(),
        explicit_bounds: bounds.to_vec(),
        min: Some(range.0),
        max: Some(range.1),
        ..HistogramDataPoint::default()
    })
}
