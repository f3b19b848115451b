//! Scenario tests of the graph with small components.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::{
    component::{BoxFuture, Output},
    config::{Component, Sources},
    observation::{Heartbeat, Kind},
};

#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nothing {
    fail: bool,
}
impl Component for Nothing {}

/// Sends three heartbeats at start.
struct Three(Option<Output>);
impl Receiver for Three {
    fn start(&mut self, output: Output) -> Result<(), ComponentError> {
        let observations = (0..3)
            .map(|at| {
                Observation::new(
                    Timestamp(at),
                    Default::default(),
                    Kind::Heartbeat(Box::new(Heartbeat { sequence: at, ..Default::default() })),
                )
            })
            .collect();
        output
            .try_send(Batch { observations, watermark: Timestamp(10) })
            .map_err(|error| ComponentError::new(error.to_string()))?;
        self.0 = Some(output);
        Ok(())
    }
    fn stop(&mut self) -> BoxFuture<'_, Result<(), ComponentError>> {
        self.0 = None;
        Box::pin(async { Ok(()) })
    }
}

static MADE: AtomicUsize = AtomicUsize::new(0);

/// Panics on the second one, passes the rest.
struct Fragile;
impl Processor for Fragile {
    fn process(&mut self, observation: Observation, out: &mut Vec<Observation>) {
        assert!(observation.time != Timestamp(1), "a defect");
        out.push(observation);
    }
}

static GOT: Mutex<Vec<(Signal, u64)>> = Mutex::new(Vec::new());

struct Collect;
impl Exporter for Collect {
    fn export(&self, signal: Signal, batch: Arc<Vec<Observation>>) {
        GOT.lock().unwrap().extend(batch.iter().map(|observation| (signal, observation.time.0)));
    }
    fn shutdown(&self) -> BoxFuture<'_, Result<(), ComponentError>> {
        Box::pin(async { Ok(()) })
    }
}

const ALL: &[Signal] = &[Signal::Traces, Signal::Logs, Signal::Metrics];

fn registry() -> Registry {
    Registry {
        receivers: vec![Factory::new("three", "", ALL, |_: Nothing, _| Ok(Box::new(Three(None))))],
        processors: vec![Factory::new("fragile", "", ALL, |config: Nothing, _| {
            if config.fail {
                return Err(ComponentError::new("told to fail"));
            }
            MADE.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Fragile))
        })],
        exporters: vec![Factory::new("collect", "", &[Signal::Traces, Signal::Logs], |_: Nothing, _| {
            Ok(Box::new(Collect))
        })],
    }
}

fn check(text: &str) -> Result<Config, crate::config::Problems> {
    let sources = Sources { files: vec![("test".into(), text.into())], sets: vec![] };
    Config::check(&sources.load(&|_| None)?, &registry())
}

/// Scenario: two pipelines share a beginning, one goes on; a processor fails on one observation.
/// Guarantees: the shared processor exists once, the defect costs that observation only, both sinks get the rest.
#[tokio::test(flavor = "multi_thread")]
async fn pipelines_share_their_common_beginning_and_survive_a_defect() {
    let config = check(
        "receivers: {three: }\nprocessors: {fragile: , fragile/2: {}}\nexporters: {collect: }\nservice: {pipelines: {\
         traces: {receivers: [three], processors: [fragile], exporters: [collect]}, \
         logs: {receivers: [three], processors: [fragile, fragile/2], exporters: [collect]}}}",
    )
    .unwrap();
    let telemetry = Arc::new(Telemetry::default());
    let graph = Graph::build(&config, &registry(), &Mode::Service, None, &telemetry)
        .map_err(|errors| errors[0].to_string())
        .unwrap();
    assert_eq!(MADE.load(Ordering::SeqCst), 2);
    let running = graph.start().await.unwrap();
    running.shutdown(Duration::from_secs(20)).await.unwrap();
    let mut got = GOT.lock().unwrap().clone();
    got.sort_unstable();
    assert_eq!(got, [(Signal::Traces, 0), (Signal::Traces, 2), (Signal::Logs, 0), (Signal::Logs, 2)]);
    let failures = telemetry
        .snapshot()
        .into_iter()
        .find(|((name, _), value)| *name == "onlooker.processor.failures" && *value == 1);
    assert!(failures.is_some());
}

/// Scenario: a configuration with many mistakes.
/// Guarantees: each is reported with its path in one go.
#[test]
fn every_mistake_of_a_configuration_is_reported_at_once() {
    let problems = check(
        "receiver: {}\nreceivers: {tree: }\nprocessors: {fragile: {fial: true}}\nexporters: {collect: , 9x: }\nextensions: {health_check: }\n\
         service: {piplines: {}, pipelines: {traces: {receivers: [three], exporters: [colect]}, metrics: {receivers: [], exporters: [collect]}, spans: {}}}",
    )
    .unwrap_err();
    let text = crate::config::render(&problems);
    for expected in [
        "receiver: unknown key \"receiver\" (did you mean \"receivers\"?)",
        "receivers::tree: unknown type: \"tree\" for id: \"tree\" (valid values: [three])",
        "processors::fragile::fial: unknown key \"fial\" (did you mean \"fail\"?)",
        "exporters::9x: in \"9x\" id",
        "extensions::health_check: unknown type",
        "service::piplines: unknown key",
        "service::pipelines::traces: references receiver \"three\" which is not configured",
        "references exporter \"colect\" which is not configured (did you mean \"collect\"?)",
        "service::pipelines::metrics: must have at least one receiver",
        "exporter \"collect\" does not support metrics",
        "unknown signal \"spans\"",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

/// Scenario: a component cannot be built.
/// Guarantees: the error names it.
#[test]
fn a_component_that_cannot_be_built_is_named() {
    let config = check("receivers: {three: }\nprocessors: {fragile: {fail: true}}\nexporters: {collect: }\nservice: {pipelines: {traces: {receivers: [three], processors: [fragile], exporters: [collect]}}}").unwrap();
    let errors =
        Graph::build(&config, &registry(), &Mode::Service, None, &Arc::new(Telemetry::default())).err().unwrap();
    assert_eq!(errors[0].to_string(), "processors::fragile: told to fail");
}
