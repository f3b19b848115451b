//! The OTLP exporters against servers on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod grpc;
mod http;
mod servers;

use std::{sync::Arc, time::Duration};

use pipeline::{
    BuildContext, Exporter, Kind, Mode, Observation, Signal, SpanContext, SpanId, Timestamp, TraceId,
    config::{Node, Problems, render},
    observation::{Exit, Process, ProcessInfo, ProcessPhase},
    telemetry::{Telemetry, names},
};

/// Invented; must not be in any output.
const CANARY: &str = "canary-4f1d8e";

/// An exporter that was started, and its counters.
struct Running {
    exporter: Box<dyn Exporter>,
    telemetry: Arc<Telemetry>,
}

fn node(yaml: &str) -> Node {
    Node::from_yaml(serde_yaml::from_str(yaml).unwrap()).unwrap()
}

fn problems(kind: &str, yaml: &str) -> String {
    let factories = exporters::factories();
    let factory = factories.iter().find(|factory| factory.kind == kind).unwrap();
    let mut problems = Problems::new();
    (factory.check)(&node(yaml), "exporters::x", &mut problems);
    render(&problems)
}

fn start(kind: &str, yaml: &str) -> Running {
    let factories = exporters::factories();
    let factory = factories.iter().find(|factory| factory.kind == kind || factory.aliases.contains(&kind)).unwrap();
    let telemetry = Arc::new(Telemetry::default());
    let context = BuildContext {
        mode: Mode::Service,
        record: None,
        id: kind.into(),
        telemetry: Arc::clone(&telemetry),
        shared: Arc::default(),
    };
    let exporter = factory.build(&node(yaml), &context).unwrap();
    exporter.start().unwrap();
    Running { exporter, telemetry }
}

impl Running {
    fn export(&self, signal: Signal, count: usize) {
        self.exporter.export(signal, Arc::new((0..count).map(|at| observation(signal, at, "")).collect()));
    }

    /// Sums a counter over its labels; `reason` is one of them.
    fn count(&self, name: &str, reason: Option<&str>) -> u64 {
        let fits = |labels: &[(&str, String)]| {
            reason.is_none_or(|reason| labels.iter().any(|(key, value)| *key == "reason" && value == reason))
        };
        let snapshot = self.telemetry.snapshot();
        snapshot.iter().filter(|((key, labels), _)| *key == name && fits(labels)).map(|(_, count)| count).sum()
    }

    fn sent(&self) -> u64 {
        self.count(names::EXPORTED, None)
    }

    /// What was offered was sent or dropped, and nothing waits.
    fn balanced(&self) -> bool {
        self.count(names::OFFERED, None) == self.sent() + self.count(names::EXPORT_DROPPED, None)
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.count(names::EXPORT_DROPPED, Some(reason))
    }

    async fn until_sent(&self, count: u64) {
        until(|| self.sent() == count).await;
    }
}

async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(done(), "did not happen in time");
}

/// A process that ended (a span) or began (a log record); `cwd` makes it bigger.
fn observation(signal: Signal, at: usize, cwd: &str) -> Observation {
    let phase = if signal == Signal::Traces { ProcessPhase::Exit(Exit::default()) } else { ProcessPhase::Exec };
    let process = ProcessInfo {
        executable: "/usr/bin/true".into(),
        exec_count: u32::try_from(at).unwrap() + 1,
        cwd: (!cwd.is_empty()).then(|| cwd.into()),
        ..ProcessInfo::default()
    };
    let context = SpanContext { trace_id: TraceId([1; 16]), span_id: SpanId([2; 8]), parent_span_id: None };
    let mut observation =
        Observation::new(Timestamp::default(), Arc::new(process), Kind::Process(Box::new(Process { phase })));
    observation.context = Some(context);
    observation
}

#[test]
fn what_is_wrong_in_a_configuration_is_told() {
    let grpc = |yaml: &str| problems("otlp_grpc", yaml);
    let http = |yaml: &str| problems("otlp_http", yaml);
    for (found, expected) in [
        (grpc("{}"), "requires a non-empty \"endpoint\""),
        (grpc("endpoint: localhost"), "must be host:port"),
        (grpc("endpoint: ftp://localhost:1"), "unknown scheme"),
        (grpc("endpoint: http://a:b@localhost:1"), "use headers"),
        (grpc("{endpoint: 'h:1', tls: {insecure_skip_verify: true}}"), "not supported"),
        (grpc("{endpoint: 'h:1', tls: {cert_file: x}}"), "must be set together"),
        (grpc("{endpoint: 'h:1', headers: {te: x}}"), "set by gRPC itself"),
        (grpc("{endpoint: 'h:1', sending_queue: {queue_size: 0}}"), "`queue_size` must be positive"),
        (grpc("{endpoint: 'h:1', sending_queue: {num_consumers: 0}}"), "`num_consumers` must be positive"),
        (
            grpc("{endpoint: 'h:1', retry_on_failure: {max_elapsed_time: 1s}}"),
            "'max_elapsed_time' must not be less than 'initial_interval'",
        ),
        (grpc("{endpoint: 'h:1', timeout: 0}"), "must be positive"),
        (grpc("{endpoint: 'h:1', limits: {attribute_value_length: 10}}"), "must be at least 64"),
        (grpc("{endpoint: 'h:1', limits: {preset: loki}}"), "loki"),
        (http("{endpoint: 'http://h', semconv: 2027-01}"), "2027-01"),
        (http("{endpoint: 'http://h', compatibility: {openinferense: true}}"), "openinference"),
        (http("{}"), "at least one endpoint must be specified"),
        (http("endpoint: localhost:4318"), "must begin with http:// or https://"),
        (http("{endpoint: 'http://h', compression: zstd}"), "zstd"),
        (http("{endpoint: 'http://h', headers: {content-type: x}}"), "set by the exporter itself"),
    ] {
        assert!(found.contains(expected), "{found:?} lacks {expected:?}");
    }
    let wrong = format!("{{endpoint: 'http://h:1', headers: {{x-key: \"{CANARY}\\n\"}}}}");
    for found in [grpc(&wrong), http(&wrong)] {
        assert!(found.contains("not visible ASCII") && !found.contains(CANARY), "{found}");
    }
    assert_eq!(grpc("{endpoint: 'h:1', sending_queue: null}"), "");
    assert_eq!(http("{traces_endpoint: 'https://h/x', tls: {insecure_skip_verify: true}}"), "");
}

#[test]
fn no_header_value_is_shown() {
    let headers = [("authorization".to_owned(), pipeline::config::values::Secret::new(format!("Bearer {CANARY}")))];
    let grpc = exporters::otlp_grpc::Config { headers: headers.clone().into(), ..Default::default() };
    let http = exporters::otlp_http::Config { headers: headers.clone().into(), ..Default::default() };
    assert!(!format!("{grpc:?} {http:?}").contains(CANARY));
    let text = exporters::client::server_text(&format!("wrong token\n{CANARY}"), &headers.into());
    assert_eq!(text, "wrong token [REDACTED]");
}
