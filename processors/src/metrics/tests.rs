//! Measurements of made-up calls.

use std::{sync::Arc, time::Duration};

use pipeline::{
    ConnectionKey, ProcessKey, Processor, Timestamp,
    config::{Node, Problems, decode, values::GoDuration},
    observation::{
        Api, CallError, Exit, Kind, McpCall, ModelCall, Observation, Operation, Parameters, Process, ProcessInfo,
        ProcessPhase, Reply, Role, ServerAddress, Thread, Usage,
        metrics::{Data, Metric, Temporality},
    },
};

use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000_000)
}

fn call(model: &str, begun: u64, took: u64, error: Option<&str>) -> Observation {
    let call = ModelCall {
        operation: Operation::Chat,
        provider: "openai".into(),
        api: Api::ChatCompletions,
        server: ServerAddress { address: "api.openai.com".into(), port: 443 },
        parameters: Parameters { model: Some(model.into()), stream: true, ..Parameters::default() },
        reply: Reply {
            time_to_first_chunk: Some(Duration::from_millis(500)),
            last_chunk: Some(at(begun + took)),
            chunks: Some(6),
            ..Reply::default()
        },
        usage: Usage { input: Some(100), output: Some(7), cache_read: Some(40), ..Usage::default() },
        error: error.map(|kind| CallError { kind: kind.into(), message: None }),
        conversation_id: None,
        thread: Thread::default(),
        tool_calls: Vec::new(),
        started: at(begun),
        ended: at(begun + took),
        remote_parent: None,
        resend_count: None,
        connection: ConnectionKey::default(),
        index: 0,
        losses: Vec::new(),
        content: None,
        turn: None,
        facts: None,
    };
    let info = ProcessInfo { service_name: Some("agent".into()), ..ProcessInfo::default() };
    Observation::new(at(begun + took), Arc::new(info), Kind::ModelCall(Box::new(call)))
}

fn metrics(out: &[Observation]) -> Vec<&Metric> {
    let found = out.iter().filter_map(|observation| match &observation.kind {
        Kind::Metrics(metrics) => Some(&metrics.metrics),
        _ => None,
    });
    found.flatten().collect()
}

fn named<'a>(metrics: &[&'a Metric], name: &str) -> &'a Metric {
    metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"))
}

fn run(config: Config, calls: &[Observation]) -> Vec<Observation> {
    let (mut measure, mut out) = (Measure::new(config), Vec::new());
    for call in calls {
        measure.advance(call.time, &mut out);
        measure.process(call.clone(), &mut out);
    }
    measure.finish(at(100_000), &mut out);
    out
}

#[test]
fn calls_become_histograms() {
    let out = run(Config::default(), &[call("m", 10, 3, None), call("m", 11, 1, None), call("m", 12, 2, Some("429"))]);
    let metrics = metrics(&out);
    let duration = named(&metrics, "gen_ai.client.operation.duration");
    assert_eq!((duration.unit, duration.points.len()), ("s", 2));
    let Data::Histogram { bounds, buckets, sum, range } = &duration.points[1].data else { panic!() };
    assert_eq!((bounds.len() + 1, buckets.iter().sum::<u64>()), (buckets.len(), 2));
    // Bounds are inclusive: 1 s is in (0.64, 1.28], 3 s in (2.56, 5.12].
    assert_eq!((buckets[7], buckets[9]), (1, 1));
    assert_eq!((*sum, *range), (4.0, (1.0, 3.0)));
    assert_eq!(named(&metrics, "gen_ai.client.token.usage").points.len(), 2);
    let chunk = &named(&metrics, "gen_ai.client.operation.time_per_output_chunk").points[0];
    let Data::Histogram { range, .. } = chunk.data else { panic!() };
    assert_eq!(range.1, 0.5);
    assert!(metrics.iter().all(|metric| metric.temporality == Temporality::Cumulative));
}

#[test]
fn deltas_begin_anew_and_silence_tells_nothing() {
    let config = Config { temporality: Temporality::Delta, ..Config::default() };
    let out = run(config, &[call("m", 10, 1, None), call("m", 70, 1, None), call("m", 200, 1, None)]);
    let times: Vec<u64> = out.iter().map(|observation| observation.time.nanos() / 1_000_000_000).collect();
    assert_eq!(times, [71, 201, 100_000]);
    for observation in &out {
        let metrics = metrics(std::slice::from_ref(observation));
        let point = &named(&metrics, "gen_ai.client.operation.duration").points[0];
        let Data::Histogram { buckets, .. } = &point.data else { panic!() };
        assert_eq!(buckets.iter().sum::<u64>(), 1);
        assert!(point.start < point.time);
    }
}

#[test]
fn what_is_over_the_limit_overflows() {
    let calls: Vec<Observation> = (0..50).map(|n| call(&format!("m{n}"), n, 1, None)).collect();
    let out = run(
        Config { cardinality_limit: 10, interval: GoDuration(Duration::from_secs(3600)), ..Config::default() },
        &calls,
    );
    let metrics = metrics(&out);
    let points = &named(&metrics, "gen_ai.client.operation.duration").points;
    assert_eq!(points.len(), 10);
    let over = points.iter().find(|point| point.attributes[0].0 == "otel.metric.overflow").unwrap();
    let Data::Histogram { buckets, .. } = &over.data else { panic!() };
    assert_eq!(buckets.iter().sum::<u64>(), 41);
}

#[test]
fn the_next_profile_counts_tokens() {
    let profiles = vec![ProfileName::V2026_08, ProfileName::Next];
    let out = run(Config { profiles, ..Config::default() }, &[call("m", 1, 1, None), call("m", 2, 1, None)]);
    let metrics = metrics(&out);
    let counter = &named(&metrics, "gen_ai.client.inference.usage.cache_read.input_tokens").points[0];
    assert_eq!(counter.data, Data::Counter(80));
    assert!(counter.attributes.iter().any(|(name, _)| *name == "gen_ai.token.modality"));
    named(&metrics, "gen_ai.client.inference.duration");
    named(&metrics, "gen_ai.client.operation.duration");
}

#[test]
fn the_readme_has_a_row_for_each_key() {
    let readme = include_str!("README.md");
    for key in ["temporality", "interval", "cardinality_limit", "profiles"] {
        assert!(readme.contains(&format!("| `{key}` |")), "{key}");
    }
    let mut problems = Problems::new();
    let node = Node::Map(vec![("cardinality_limit".into(), Node::Int(1.into())), ("x".into(), Node::Null)]);
    decode::<Config>(&node, "processors::metrics", &mut problems);
    assert!(!problems.is_empty());
}

/// Buckets, units and attributes as the conventions' tables have them.
#[test]
fn every_metric_has_growing_bounds() {
    for instrument in ALL {
        if let instruments::Kind::Histogram(bounds) = instrument.kind {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{}", instrument.name);
        }
        assert!(!instrument.description.is_empty() && !instrument.unit.is_empty());
    }
}

fn mcp(method: &str, begun: u64, key: ProcessKey, peer: Option<ProcessKey>) -> Observation {
    let mut call = McpCall::new(Role::Client, method, at(begun));
    (call.ended, call.peer) = (at(begun + 1), peer);
    call.protocol_version = Some("2025-06-18".into());
    let info = ProcessInfo { key, service_name: Some("agent".into()), ..ProcessInfo::default() };
    Observation::new(at(begun + 1), Arc::new(info), Kind::McpCall(Box::new(call)))
}

fn exit(key: ProcessKey, time: u64) -> Observation {
    let exit = Process { phase: ProcessPhase::Exit(Exit::default()) };
    let info = ProcessInfo { key, service_name: Some("server".into()), ..ProcessInfo::default() };
    Observation::new(at(time), Arc::new(info), Kind::Process(Box::new(exit)))
}

#[test]
fn sessions_end_with_a_process_or_with_the_next_one() {
    let (agent, server) = (ProcessKey { tgid: 1, start: 1 }, ProcessKey { tgid: 2, start: 2 });
    let out = run(
        Config::default(),
        &[
            mcp("initialize", 10, agent, Some(server)),
            mcp("tools/list", 12, agent, Some(server)),
            exit(ProcessKey { tgid: 3, start: 3 }, 15),
            exit(server, 30),
            exit(agent, 40),
            // In HTTP the other end is no process of this host.
            mcp("initialize", 50, agent, None),
            mcp("tools/list", 52, agent, None),
            mcp("initialize", 55, agent, None),
        ],
    );
    let metrics = metrics(&out);
    let session = named(&metrics, "mcp.client.session.duration");
    let Data::Histogram { sum, range, buckets, .. } = &session.points[0].data else { panic!() };
    assert_eq!((*sum, *range, buckets.iter().sum::<u64>(), session.points.len()), (23.0, (3.0, 20.0), 2, 1));
    assert!(session.points[0].attributes.iter().any(|(name, _)| *name == "mcp.protocol.version"));
    assert!(metrics.iter().all(|metric| metric.name != "mcp.server.session.duration"));
}

#[test]
fn the_next_profile_counts_failed_operations_and_modalities() {
    let mut failed = call("m", 1, 1, Some("429"));
    let mut split = call("m", 3, 1, None);
    if let Kind::ModelCall(call) = &mut failed.kind {
        call.usage = Usage::default();
    }
    if let Kind::ModelCall(call) = &mut split.kind {
        call.usage.modalities.text_input = Some(60);
        call.usage.modalities.audio_input = Some(30);
    }
    let config = Config { profiles: vec![ProfileName::Next], ..Config::default() };
    let counted = |calls: &[Observation], name: &str| -> Vec<(String, Data)> {
        let out = run(config.clone(), calls);
        let metrics = metrics(&out);
        let modality = |point: &pipeline::observation::metrics::Point| {
            let found = point.attributes.iter().find(|(name, _)| *name == name::GEN_AI_TOKEN_MODALITY);
            found.map(|(_, value)| format!("{value:?}")).unwrap_or_default()
        };
        named(&metrics, name).points.iter().map(|point| (modality(point), point.data.clone())).collect()
    };
    let input = "gen_ai.client.inference.usage.input_tokens";
    let word = |word: &str| format!("Str({word:?})");
    assert_eq!(counted(std::slice::from_ref(&failed), input), [(word("unknown"), Data::Counter(0))]);
    assert_eq!(
        counted(&[failed, split], input),
        [(word("audio"), Data::Counter(30)), (word("text"), Data::Counter(60)), (word("unknown"), Data::Counter(10)),]
    );
}

#[test]
fn cumulative_points_are_told_once_an_interval() {
    let (mut measure, mut out) = (Measure::new(Config::default()), Vec::new());
    measure.process(call("m", 10, 1, None), &mut out);
    for second in 11..300 {
        measure.advance(at(second), &mut out);
    }
    measure.process(call("m", 301, 1, None), &mut out);
    measure.finish(at(302), &mut out);
    let times: Vec<u64> = out.iter().map(|observation| observation.time.nanos() / 1_000_000_000).collect();
    assert_eq!(times, [60, 120, 180, 240, 302]);
    for observation in &out {
        let metrics = metrics(std::slice::from_ref(observation));
        assert!(metrics.iter().flat_map(|metric| &metric.points).all(|point| point.start == at(10)));
    }
}

/// Name, instrument and unit as in the list of the conventions.
#[test]
fn every_metric_is_one_of_the_conventions() {
    let list = include_str!("../../../pipeline/registry/semconv.txt");
    for instrument in ALL {
        let kind = match instrument.kind {
            instruments::Kind::Histogram(_) => "histogram",
            instruments::Kind::Counter => "counter",
        };
        let row = format!("{} {kind} {}", instrument.name, instrument.unit);
        assert!(list.lines().any(|line| line == row), "{row}");
    }
}
