//! The graph: components wired by pipelines, and its life.
//!
//! Pipelines with the same receivers share each processor as far as their lists agree from the left; where they
//! part, the flow forks. All processors run on one thread of their own, in the order of events, so that nothing
//! depends on scheduling. Exporters have their own queues.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    component::{Batch, BuildContext, Exporter, Factory, Mode, Processor, Receiver, Registry, Shared, Signal, Tally},
    config::{Config, Node, find},
    error::{ComponentError, Error},
    ids::{ComponentId, Timestamp},
    observation::Observation,
    telemetry::{Counter, Telemetry, names},
};

/// Batches that may wait between a receiver and the processors.
const CHANNEL: usize = 64;

/// Everything that is built before the start.
pub struct Graph {
    receivers: Vec<(ComponentId, Box<dyn Receiver>)>,
    exporters: Vec<(ComponentId, Arc<dyn Exporter>)>,
    flows: Vec<Flow>,
    telemetry: Arc<Telemetry>,
}

/// The processors behind one set of receivers.
struct Flow {
    receivers: Vec<usize>,
    root: Stage,
}

/// A processor, and what comes after it. The root has no processor.
#[derive(Default)]
struct Stage {
    processor: Option<(ComponentId, Box<dyn Processor>)>,
    account: Account,
    next: Vec<Stage>,
    sinks: Vec<(Signal, Arc<dyn Exporter>)>,
}

/// The counters of a processor, and what it told last.
#[derive(Default)]
struct Account {
    incoming: Counter,
    outgoing: Counter,
    made: Counter,
    merged: Counter,
    held: Counter,
    failures: Counter,
    told: Tally,
}

impl Account {
    fn of(processor: &ComponentId, telemetry: &Telemetry) -> Self {
        let id = processor.to_string();
        let counter = |name| telemetry.counter(name, &[("processor", &id)]);
        Self {
            incoming: counter(names::INCOMING),
            outgoing: counter(names::OUTGOING),
            made: counter(names::MADE),
            merged: counter(names::MERGED),
            held: counter(names::HELD),
            failures: counter(names::FAILURES),
            told: Tally::default(),
        }
    }

    /// One name may stand for several instances, so each adds what changed.
    fn tell(&mut self, tally: Tally) {
        self.made.shift(self.told.made, tally.made);
        self.merged.shift(self.told.merged, tally.merged);
        self.held.shift(self.told.held, tally.held);
        self.told = tally;
    }
}

/// What to do with the observations that reach a stage.
#[derive(Clone, Copy)]
enum Step {
    Advance(Timestamp),
    Finish(Timestamp),
}

impl Graph {
    /// Builds every component that a pipeline names. Nothing is started. Gives every error.
    pub fn build(
        config: &Config,
        registry: &Registry,
        mode: &Mode,
        record: Option<std::path::PathBuf>,
        telemetry: &Arc<Telemetry>,
    ) -> Result<Graph, Vec<Error>> {
        let mut errors = Vec::new();
        let mut receivers: Vec<(ComponentId, Box<dyn Receiver>)> = Vec::new();
        let mut exporters: Vec<(ComponentId, Arc<dyn Exporter>)> = Vec::new();
        let mut flows: BTreeMap<Vec<usize>, Flow> = BTreeMap::new();
        let shared = Arc::new(shared(config, registry));
        let context = |id: &ComponentId| BuildContext {
            mode: mode.clone(),
            record: record.clone(),
            id: id.to_string(),
            telemetry: Arc::clone(telemetry),
            shared: Arc::clone(&shared),
        };
        for pipeline in &config.pipelines {
            for id in &pipeline.receivers {
                if !receivers.iter().any(|(other, _)| other == id)
                    && let Some(receiver) =
                        build(id, "receivers", &config.receivers, &registry.receivers, &context(id), &mut errors)
                {
                    receivers.push((id.clone(), receiver));
                }
            }
            for id in &pipeline.exporters {
                if !exporters.iter().any(|(other, _)| other == id)
                    && let Some(exporter) =
                        build(id, "exporters", &config.exporters, &registry.exporters, &context(id), &mut errors)
                {
                    exporters.push((id.clone(), exporter.into()));
                }
            }
            let mut key: Vec<usize> = pipeline
                .receivers
                .iter()
                .filter_map(|id| receivers.iter().position(|(other, _)| other == id))
                .collect();
            key.sort_unstable();
            let flow = flows.entry(key.clone()).or_insert_with(|| Flow { receivers: key, root: Stage::default() });
            let mut stage = &mut flow.root;
            for id in &pipeline.processors {
                let at =
                    stage.next.iter().position(|next| next.processor.as_ref().is_some_and(|(other, _)| other == id));
                let at = match at {
                    Some(at) => at,
                    None => {
                        let Some(processor) = build(
                            id,
                            "processors",
                            &config.processors,
                            &registry.processors,
                            &context(id),
                            &mut errors,
                        ) else {
                            break;
                        };
                        stage.next.push(Stage {
                            processor: Some((id.clone(), processor)),
                            account: Account::of(id, telemetry),
                            ..Stage::default()
                        });
                        stage.next.len() - 1
                    }
                };
                stage = &mut stage.next[at];
            }
            for id in &pipeline.exporters {
                if let Some((_, exporter)) = exporters.iter().find(|(other, _)| other == id) {
                    stage.sinks.push((pipeline.signal, Arc::clone(exporter)));
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Graph { receivers, exporters, flows: flows.into_values().collect(), telemetry: Arc::clone(telemetry) })
    }

    /// Starts exporters, then processors, then receivers. When this returns, nothing that happens later is missed.
    #[tracing::instrument(skip_all, name = "start")]
    pub async fn start(self) -> Result<Running, Error> {
        let Graph { mut receivers, exporters, flows, telemetry } = self;
        for (id, exporter) in &exporters {
            exporter.start().map_err(|source| Error::Component { id: format!("exporters::{id}"), source })?;
        }
        let (input, merged) = mpsc::channel::<(usize, Batch)>(CHANNEL);
        let worker = std::thread::Builder::new()
            .name("pipelines".into())
            .spawn(move || work(flows, merged))
            .map_err(|error| Error::Component { id: "service".into(), source: error.into() })?;
        let mut failure = None;
        let mut started = 0;
        for (at, (id, receiver)) in receivers.iter_mut().enumerate() {
            let (output, mut batches) = mpsc::channel::<Batch>(CHANNEL);
            let (input, seen) = (input.clone(), telemetry.counter(names::SEEN, &[("receiver", &id.to_string())]));
            // Ends when the receiver drops its output.
            tokio::spawn(async move {
                while let Some(batch) = batches.recv().await {
                    seen.add(batch.observations.len() as u64);
                    if input.send((at, batch)).await.is_err() {
                        break;
                    }
                }
            });
            // Attaching takes a while and must not hold up the exporters' tasks.
            match tokio::task::block_in_place(|| receiver.start(output)) {
                Ok(()) => started += 1,
                Err(source) => {
                    failure = Some(Error::Component { id: format!("receivers::{id}"), source });
                    break;
                }
            }
        }
        drop(input);
        receivers.truncate(started.max(usize::from(failure.is_none()) * receivers.len()));
        let running = Running { receivers, exporters, worker: Some(worker) };
        match failure {
            None => Ok(running),
            Some(error) => {
                // What did start is stopped again; its own errors add nothing to the first one.
                let _ = running.shutdown(Duration::from_secs(5)).await;
                Err(error)
            }
        }
    }
}

/// What the processors of all pipelines tell the other components, in the order in which pipelines name them.
fn shared(config: &Config, registry: &Registry) -> Shared {
    let mut shared = Shared::default();
    let mut told: Vec<&ComponentId> = Vec::new();
    for id in config.pipelines.iter().flat_map(|pipeline| &pipeline.processors) {
        let node = config.processors.iter().find(|(other, _)| other == id).map(|(_, node)| node);
        if let (false, Some(factory), Some(node)) = (told.contains(&id), find(&registry.processors, &id.kind), node) {
            factory.share(node, &mut shared);
            told.push(id);
        }
    }
    shared
}

fn build<T: ?Sized + 'static>(
    id: &ComponentId,
    section: &str,
    configured: &[(ComponentId, Node)],
    factories: &[Factory<T>],
    context: &BuildContext,
    errors: &mut Vec<Error>,
) -> Option<Box<T>> {
    let node = configured.iter().find(|(other, _)| other == id).map(|(_, node)| node);
    let (Some(factory), Some(node)) = (find(factories, &id.kind), node) else {
        let source = ComponentError::new("is not configured");
        errors.push(Error::Component { id: format!("{section}::{id}"), source });
        return None;
    };
    match factory.build(node, context) {
        Ok(component) => Some(component),
        Err(source) => {
            let error = Error::Component { id: format!("{section}::{id}"), source };
            // A component that several pipelines name is reported once.
            if !errors.iter().any(|other| other.to_string() == error.to_string()) {
                errors.push(error);
            }
            None
        }
    }
}

/// The processors' thread.
fn work(mut flows: Vec<Flow>, mut input: mpsc::Receiver<(usize, Batch)>) {
    let mut now = Timestamp::default();
    while let Some((receiver, batch)) = input.blocking_recv() {
        now = now.max(batch.watermark);
        let mut users: Vec<&mut Flow> = flows.iter_mut().filter(|flow| flow.receivers.contains(&receiver)).collect();
        let last = users.pop();
        for flow in users {
            flow.root.run(batch.observations.clone(), Step::Advance(now));
        }
        if let Some(flow) = last {
            flow.root.run(batch.observations, Step::Advance(now));
        }
    }
    for flow in &mut flows {
        flow.root.run(Vec::new(), Step::Finish(now));
    }
}

impl Stage {
    fn run(&mut self, observations: Vec<Observation>, step: Step) {
        let out = match &mut self.processor {
            None => observations,
            Some((id, processor)) => {
                let mut out = Vec::with_capacity(observations.len());
                self.account.incoming.add(observations.len() as u64);
                let failures = &self.account.failures;
                // A processor's defect costs the observation that met it, not the program.
                let mut guard = |work: &mut dyn FnMut(&mut Vec<Observation>)| {
                    if catch_unwind(AssertUnwindSafe(|| work(&mut out))).is_err() {
                        failures.add(1);
                        tracing::error!(processor = %id, "The processor failed on an observation; it was dropped. Please report this.");
                    }
                };
                for observation in observations {
                    let mut observation = Some(observation);
                    guard(&mut |out| {
                        if let Some(observation) = observation.take() {
                            processor.process(observation, out);
                        }
                    });
                }
                guard(&mut |out| match step {
                    Step::Advance(now) => processor.advance(now, out),
                    Step::Finish(now) => processor.finish(now, out),
                });
                self.account.outgoing.add(out.len() as u64);
                self.account.tell(processor.tally());
                out
            }
        };
        if let Some((last, others)) = self.next.split_last_mut() {
            for stage in others {
                stage.run(out.clone(), step);
            }
            if self.sinks.is_empty() {
                return last.run(out, step);
            }
            last.run(out.clone(), step);
        }
        if !self.sinks.is_empty() && !out.is_empty() {
            let out = Arc::new(out);
            for (signal, exporter) in &self.sinks {
                exporter.export(*signal, Arc::clone(&out));
            }
        }
    }
}

/// A started graph.
pub struct Running {
    receivers: Vec<(ComponentId, Box<dyn Receiver>)>,
    exporters: Vec<(ComponentId, Arc<dyn Exporter>)>,
    worker: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Resolves when every receiver has nothing more to give. Never with a live one.
    pub async fn finished(&mut self) {
        for (_, receiver) in &mut self.receivers {
            receiver.finished().await;
        }
    }

    /// Stops receivers first, lets the processors finish, then drains the exporters' queues. `limit` bounds all of it;
    /// what failed or was lost is in the errors.
    #[tracing::instrument(skip_all, name = "shutdown")]
    pub async fn shutdown(mut self, limit: Duration) -> Result<(), Vec<Error>> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut errors = Vec::new();
        let mut note = |id: String, result: Result<Result<(), ComponentError>, tokio::time::error::Elapsed>| {
            let source = match result {
                Ok(Ok(())) => return,
                Ok(Err(source)) => source,
                Err(_) => ComponentError::new("did not stop in time; what it still held is lost"),
            };
            errors.push(Error::Component { id, source });
        };
        for (id, receiver) in &mut self.receivers {
            note(format!("receivers::{id}"), tokio::time::timeout_at(deadline, receiver.stop()).await);
        }
        // Their outputs go with them, which ends the worker's input.
        drop(std::mem::take(&mut self.receivers));
        if let Some(worker) = self.worker.take() {
            let joined = tokio::task::spawn_blocking(move || {
                worker.join().map_err(|_| ComponentError::new("the pipelines' thread failed"))
            });
            let joined = tokio::time::timeout_at(deadline, async {
                joined.await.unwrap_or_else(|error| Err(ComponentError::new(error.to_string())))
            });
            note("service".into(), joined.await);
        }
        let stops: Vec<_> = self
            .exporters
            .drain(..)
            .map(|(id, exporter)| {
                tokio::spawn(async move { (id, tokio::time::timeout_at(deadline, exporter.shutdown()).await) })
            })
            .collect();
        for stop in stops {
            if let Ok((id, result)) = stop.await {
                note(format!("exporters::{id}"), result);
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests;
