//! The whole configuration: components, pipelines, `service`.

use serde::Deserialize;

use super::{Component, Node, Problem, Problems, decode, values::GoDuration};
use crate::{
    component::{Factory, Registry, Signal},
    ids::ComponentId,
};

/// A checked configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Sources: id and configuration.
    pub receivers: Vec<(ComponentId, Node)>,
    /// Stages.
    pub processors: Vec<(ComponentId, Node)>,
    /// Destinations.
    pub exporters: Vec<(ComponentId, Node)>,
    /// Pipelines in the order of the file.
    pub pipelines: Vec<Pipeline>,
    /// The `service` section's settings.
    pub service: Service,
}

/// `service::pipelines::<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// As written, `traces/2`.
    pub id: String,
    /// What it carries.
    pub signal: Signal,
    /// Its components by id.
    pub receivers: Vec<ComponentId>,
    /// In order.
    pub processors: Vec<ComponentId>,
    /// Its destinations.
    pub exporters: Vec<ComponentId>,
}

/// `service`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// Extensions to start. There are none yet.
    extensions: Vec<String>,
    /// Kept as nodes: each is checked by hand for its references.
    pipelines: std::collections::BTreeMap<String, RawPipeline>,
    /// onlooker's own logs, metrics and traces.
    pub telemetry: SelfTelemetry,
    /// A file that is rewritten every 10 s (or as often as systemd's watchdog needs) while all receivers work: a probe
    /// may hold one that is older than a minute for dead. Default: none.
    pub liveness_file: Option<std::path::PathBuf>,
    /// Whether a pipeline that names no `redaction` gets it all the same. Default true.
    pub redact: bool,
    /// How long a stop may take before what is still queued is given up. Default 30s.
    pub shutdown_timeout: GoDuration,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            extensions: Vec::new(),
            pipelines: Default::default(),
            telemetry: SelfTelemetry::default(),
            liveness_file: None,
            redact: true,
            shutdown_timeout: GoDuration(std::time::Duration::from_secs(30)),
        }
    }
}

impl Component for Service {}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawPipeline {
    receivers: Vec<String>,
    processors: Vec<String>,
    exporters: Vec<String>,
}

/// `service::telemetry`: what onlooker says about itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfTelemetry {
    /// Its log, on stderr.
    pub logs: Logs,
    /// Its metrics, sent by OTLP.
    pub metrics: SelfMetrics,
    /// Its traces, sent by OTLP.
    pub traces: SelfTraces,
    /// Further resource attributes of its own telemetry.
    pub resource: std::collections::BTreeMap<String, String>,
}

/// `service::telemetry::logs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// Least severity that is written. Default info (warn under `run`).
    pub level: Option<Level>,
    /// `console` (default) or `json`.
    pub encoding: Encoding,
}

/// Least severity of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything.
    Debug,
    /// What an operator wants to know.
    Info,
    /// What somebody should look at.
    Warn,
    /// What is broken.
    Error,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// For people.
    #[default]
    Console,
    /// One JSON object per line.
    Json,
}

/// `service::telemetry::metrics`, in the shape of the Collector's (OpenTelemetry configuration schema).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfMetrics {
    /// `none` turns them off.
    pub level: Option<String>,
    /// Periodic readers that send by OTLP.
    pub readers: Vec<MetricReader>,
}

/// An entry of `service::telemetry::metrics::readers`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricReader {
    /// A reader that sends at an interval.
    pub periodic: Option<PeriodicReader>,
}

/// A reader that sends at an interval.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeriodicReader {
    /// Milliseconds. Default 60000.
    pub interval: u64,
    /// Where to.
    pub exporter: SelfExporter,
}

impl Default for PeriodicReader {
    fn default() -> Self {
        Self { interval: 60_000, exporter: SelfExporter::default() }
    }
}

/// `service::telemetry::traces`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfTraces {
    /// Batch processors that send by OTLP.
    pub processors: Vec<SpanProcessor>,
}

/// An entry of `service::telemetry::traces::processors`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpanProcessor {
    /// A batching processor.
    pub batch: Option<BatchProcessor>,
}

/// A batching processor.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchProcessor {
    /// Where to.
    pub exporter: SelfExporter,
}

/// Where onlooker's own telemetry goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfExporter {
    /// OTLP.
    pub otlp: Option<SelfOtlp>,
}

/// An OTLP endpoint for onlooker's own telemetry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfOtlp {
    /// Only `grpc`.
    pub protocol: Option<String>,
    /// As `http://localhost:4317`.
    pub endpoint: String,
}

impl Config {
    /// Types and checks a merged configuration against the components of this binary. Gives every problem at once.
    pub fn check(root: &Node, registry: &Registry) -> Result<Config, Problems> {
        let mut problems = Problems::new();
        const SECTIONS: [&str; 6] = ["receivers", "processors", "exporters", "connectors", "extensions", "service"];
        for (key, _) in root.entries().iter().filter(|(key, _)| !SECTIONS.contains(&key.as_str())) {
            let problem = Problem::new(key.clone(), format!("unknown key {key:?}"));
            problems.push(match decode::nearest(key, &SECTIONS) {
                Some(near) => problem.hint(format!("did you mean {near:?}?")),
                None => problem.hint(format!("known keys: {}", SECTIONS.join(", "))),
            });
        }
        for section in ["connectors", "extensions"] {
            for (id, _) in root.get(section).map(Node::entries).unwrap_or_default() {
                problems.push(
                    Problem::new(format!("{section}::{id}"), format!("unknown type: {id:?}"))
                        .hint(format!("this version has no {section}")),
                );
            }
        }
        let receivers = section(root, "receivers", &registry.receivers, &mut problems);
        let processors = section(root, "processors", &registry.processors, &mut problems);
        let exporters = section(root, "exporters", &registry.exporters, &mut problems);
        if receivers.is_empty() && !has(root, "receivers") {
            problems.push(
                Problem::new("receivers", "no receiver configuration specified in config")
                    .hint("at least `receivers: {ebpf: {}}`"),
            );
        }
        if exporters.is_empty() && !has(root, "exporters") {
            problems.push(
                Problem::new("exporters", "no exporter configuration specified in config")
                    .hint("as `exporters: {stdout: {format: tree}}`"),
            );
        }
        let service = root.get("service").cloned().unwrap_or_default();
        let decoded = decode::decode_rest::<Service>(&service, "service", &mut problems);
        let mut config =
            Config { receivers, processors, exporters, pipelines: Vec::new(), service: decoded.unwrap_or_default() };
        // Nodes keep the file's order; the typed map does not.
        let order: Vec<String> =
            service.get("pipelines").map(Node::entries).unwrap_or_default().iter().map(|(id, _)| id.clone()).collect();
        if order.is_empty() {
            problems.push(Problem::new("service::pipelines", "service must have at least one pipeline")
                .hint("as `pipelines: {traces: {receivers: [ebpf], processors: [identity, provider, correlation], exporters: [stdout]}}`"));
        }
        config.redact(registry);
        config.measure(registry);
        for id in order {
            if let Some(pipeline) = config.pipeline(&id, registry, &mut problems) {
                config.pipelines.push(pipeline);
            }
        }
        for id in &config.service.extensions {
            problems.push(Problem::new(
                "service::extensions",
                format!("references extension {id:?} which is not configured"),
            ));
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Nothing leaves with its secrets by oversight: a pipeline without `redaction` gets it, before what signs or measures,
    /// unless the operator says `redact: false`.
    fn redact(&mut self, registry: &Registry) {
        const REDACTION: &str = "redaction";
        if !self.service.redact || find(&registry.processors, REDACTION).is_none() {
            return;
        }
        for pipeline in self.service.pipelines.values_mut() {
            if pipeline.processors.iter().any(|name| kind(name) == REDACTION) {
                continue;
            }
            let last = |name: &String| ["signing", "metrics", "batch"].contains(&kind(name));
            let at = pipeline.processors.iter().position(last).unwrap_or(pipeline.processors.len());
            pipeline.processors.insert(at, REDACTION.to_owned());
            add_default(&mut self.processors, REDACTION);
        }
    }

    /// Metrics are measured somewhere: a metrics pipeline without the processor that does it gets it at its end.
    fn measure(&mut self, registry: &Registry) {
        const MEASURE: &str = "metrics";
        if find(&registry.processors, MEASURE).is_none() {
            return;
        }
        for (id, pipeline) in &mut self.service.pipelines {
            if kind(id) != MEASURE || pipeline.processors.iter().any(|name| kind(name) == MEASURE) {
                continue;
            }
            pipeline.processors.push(MEASURE.to_owned());
            add_default(&mut self.processors, MEASURE);
        }
    }

    fn pipeline(&self, id: &str, registry: &Registry, problems: &mut Problems) -> Option<Pipeline> {
        let raw = self.service.pipelines.get(id)?;
        let path = format!("service::pipelines::{id}");
        let signal = match id.split_once('/').map_or(id, |(kind, _)| kind).trim() {
            "traces" => Signal::Traces,
            "logs" => Signal::Logs,
            "metrics" => Signal::Metrics,
            other => {
                problems.push(
                    Problem::new(path, format!("unknown signal {other:?}"))
                        .hint("a pipeline is traces, logs or metrics, as traces or traces/2"),
                );
                return None;
            }
        };
        if raw.receivers.is_empty() {
            problems.push(Problem::new(&path, "must have at least one receiver"));
        }
        if raw.exporters.is_empty() {
            problems.push(Problem::new(&path, "must have at least one exporter"));
        }
        Some(Pipeline {
            id: id.to_owned(),
            signal,
            receivers: references(
                &path,
                "receiver",
                &raw.receivers,
                &self.receivers,
                &registry.receivers,
                signal,
                problems,
            ),
            processors: references(
                &path,
                "processor",
                &raw.processors,
                &self.processors,
                &registry.processors,
                signal,
                problems,
            ),
            exporters: references(
                &path,
                "exporter",
                &raw.exporters,
                &self.exporters,
                &registry.exporters,
                signal,
                problems,
            ),
        })
    }
}

/// The type of a component's id.
fn kind(id: &str) -> &str {
    id.split_once('/').map_or(id, |(kind, _)| kind).trim()
}

/// Configures a component with its defaults, unless it is configured.
fn add_default(components: &mut Vec<(ComponentId, Node)>, name: &str) {
    if let Ok(id) = ComponentId::parse(name)
        && !components.iter().any(|(other, _)| *other == id)
    {
        components.push((id, Node::Map(Vec::new())));
    }
}

fn has(root: &Node, name: &str) -> bool {
    root.get(name).is_some_and(|node| !node.entries().is_empty())
}

/// The factory of a type or of one of its aliases.
pub fn find<'a, T: ?Sized>(factories: &'a [Factory<T>], kind: &str) -> Option<&'a Factory<T>> {
    factories.iter().find(|factory| factory.kind == kind || factory.aliases.contains(&kind))
}

fn section<T: ?Sized>(
    root: &Node,
    name: &str,
    factories: &[Factory<T>],
    problems: &mut Problems,
) -> Vec<(ComponentId, Node)> {
    let mut found: Vec<(ComponentId, Node)> = Vec::new();
    if let Some(node) = root.get(name)
        && !matches!(node, Node::Map(_) | Node::Null)
    {
        problems.push(Problem::new(name, format!("expected a map of component ids, found {}", node.describe())));
    }
    for (text, node) in root.get(name).map(Node::entries).unwrap_or_default() {
        let path = format!("{name}::{text}");
        let id = match ComponentId::parse(text) {
            Ok(id) => id,
            Err(message) => {
                problems.push(Problem::new(path, message));
                continue;
            }
        };
        match find(factories, &id.kind) {
            None => {
                let known: Vec<&str> = factories.iter().map(|factory| factory.kind).collect();
                let problem = Problem::new(
                    path,
                    format!("unknown type: {:?} for id: {text:?} (valid values: [{}])", id.kind, known.join(", ")),
                );
                problems.push(match decode::nearest(&id.kind, &known) {
                    Some(near) => problem.hint(format!("did you mean {near:?}?")),
                    None => problem,
                });
            }
            Some(factory) if found.iter().any(|(other, _)| *other == id) => {
                problems.push(Problem::new(path, format!("duplicate id of type {}", factory.kind)));
            }
            Some(factory) => {
                (factory.check)(node, &path, problems);
                found.push((id, node.clone()));
            }
        }
    }
    found
}

fn references<T: ?Sized>(
    path: &str,
    what: &str,
    names: &[String],
    configured: &[(ComponentId, Node)],
    factories: &[Factory<T>],
    signal: Signal,
    problems: &mut Problems,
) -> Vec<ComponentId> {
    let mut ids: Vec<ComponentId> = Vec::new();
    for name in names {
        let found = ComponentId::parse(name).ok().filter(|id| configured.iter().any(|(other, _)| other == id));
        let Some(id) = found else {
            let problem = Problem::new(path, format!("references {what} {name:?} which is not configured"));
            let known: Vec<String> = configured.iter().map(|(id, _)| id.to_string()).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            problems.push(match decode::nearest(name, &known) {
                Some(near) => problem.hint(format!("did you mean {near:?}?")),
                None => problem.hint(format!("add it under `{what}s:`")),
            });
            continue;
        };
        if let Some(factory) = find(factories, &id.kind)
            && !factory.signals.contains(&signal)
        {
            problems.push(Problem::new(path, format!("{what} {name:?} does not support {}", signal.as_str())));
        }
        if ids.contains(&id) {
            problems.push(Problem::new(path, format!("references {what} {name:?} multiple times")));
        } else {
            ids.push(id);
        }
    }
    ids
}
