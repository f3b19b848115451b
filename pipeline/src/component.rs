//! The component traits, and the factories by which components are registered.
//!
//! Observations flow one way: receivers → processors → exporters. Processors are synchronous and are driven by
//! the times of the events (never by the clock), so that a replay gives what the live run gave.

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    config::{self, Node, Problems},
    error::ComponentError,
    ids::Timestamp,
    observation::Observation,
    providers,
    telemetry::Telemetry,
};

/// A boxed future, so that the traits stay object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The three signals of OTLP. A pipeline carries one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records (events).
    Logs,
    /// Metric points.
    Metrics,
}

impl Signal {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
        }
    }
}

/// Observations in the order in which they happened, and the time up to which none is missing.
#[derive(Debug, Default)]
pub struct Batch {
    /// What was seen.
    pub observations: Vec<Observation>,
    /// Everything that happened before this time has been handed over. Never goes back.
    pub watermark: Timestamp,
}

/// Where a receiver puts its batches. Bounded: a full channel makes the sender wait.
pub type Output = mpsc::Sender<Batch>;

/// How the program was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `onlooker --config`: watch the host by the configured rules.
    #[default]
    Service,
    /// `onlooker validate`: built and thrown away. Files may be read; nothing may be made, locked or attached.
    Validate,
    /// `onlooker run -- CMD`: watch only what this process starts after the receivers are ready.
    Run {
        /// The command and its arguments, so that its libraries can be looked at before it starts.
        command: Vec<String>,
    },
    /// `onlooker replay FILE`: no kernel; the `replay` receiver reads this file.
    Replay {
        /// The recorded events.
        file: PathBuf,
    },
}

/// What every component may use while it is built.
#[derive(Clone, Debug)]
pub struct BuildContext {
    /// How the program was started.
    pub mode: Mode,
    /// `--record FILE`: keep the raw events here.
    pub record: Option<PathBuf>,
    /// The component's id, as `otlp_grpc/2`.
    pub id: String,
    /// onlooker's own counters.
    pub telemetry: Arc<Telemetry>,
    /// What the configurations of all components tell the others.
    pub shared: Arc<Shared>,
}

/// What configurations tell components that do not know each other. Complete before the first one is built.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// The operator's own hosts and paths of models.
    pub providers: providers::Table,
}

/// A source of observations.
pub trait Receiver: Send {
    /// Opens and attaches what it needs and begins to send. When this returns, nothing that happens later is missed.
    /// An error ends the start of the program; a part that is merely degraded is logged and goes on.
    fn start(&mut self, output: Output) -> Result<(), ComponentError>;

    /// Resolves when the receiver has nothing more to give (a replayed file). Live receivers never do.
    fn finished(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Stops. When the future is done, all that was seen has been sent and the [`Output`] is dropped.
    fn stop(&mut self) -> BoxFuture<'_, Result<(), ComponentError>>;
}

/// A stage that completes, adds, drops or holds back observations.
pub trait Processor: Send {
    /// Takes one observation; pushes what goes on, in order.
    fn process(&mut self, observation: Observation, out: &mut Vec<Observation>);

    /// The watermark moved: nothing earlier than `now` is still to come. Time-outs belong here.
    fn advance(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        let _ = (now, out);
    }

    /// The last call: give out everything that is still held.
    fn finish(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        let _ = (now, out);
    }

    /// What became of the observations that did not simply go on.
    fn tally(&self) -> Tally {
        Tally::default()
    }
}

/// A processor's account: what it was given and made is what it gave on, merged and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Observations that it made itself, so far.
    pub made: u64,
    /// Observations that it took in for good, so far.
    pub merged: u64,
    /// Observations that it holds now.
    pub held: u64,
}

/// A destination. One instance serves all pipelines that name it.
pub trait Exporter: Send + Sync {
    /// Starts workers. An unreachable endpoint is not an error here: the queue and the retries are for that.
    fn start(&self) -> Result<(), ComponentError> {
        Ok(())
    }

    /// Takes a batch into its own bounded queue without waiting. What it cannot take it counts as dropped and logs.
    fn export(&self, signal: Signal, batch: Arc<Vec<Observation>>);

    /// Stops retrying, drains the queue with one more try each, closes. The error says what was lost.
    fn shutdown(&self) -> BoxFuture<'_, Result<(), ComponentError>>;
}

type Build<T> = Box<dyn Fn(&Node, &BuildContext) -> Result<Box<T>, ComponentError> + Send + Sync>;
type Share = Box<dyn Fn(&Node, &mut Shared) + Send + Sync>;

/// A kind of component that the configuration can name.
pub struct Factory<T: ?Sized> {
    /// The type in the configuration.
    pub kind: &'static str,
    /// Other accepted spellings.
    pub aliases: &'static [&'static str],
    /// One line for `onlooker components`.
    pub description: &'static str,
    /// Signals whose pipelines may use it.
    pub signals: &'static [Signal],
    /// Decodes and validates a configuration; every problem is added with its path.
    pub check: fn(&Node, &str, &mut Problems),
    build: Build<T>,
    share: Option<Share>,
}

impl<T: ?Sized + 'static> Factory<T> {
    /// A factory for components configured by `C`.
    pub fn new<C: config::Component>(
        kind: &'static str,
        description: &'static str,
        signals: &'static [Signal],
        build: fn(C, &BuildContext) -> Result<Box<T>, ComponentError>,
    ) -> Self {
        Self {
            kind,
            aliases: &[],
            description,
            signals,
            check: |node, path, problems| {
                config::decode::<C>(node, path, problems);
            },
            build: Box::new(move |node, context| {
                let mut problems = Problems::new();
                match config::decode::<C>(node, &context.id, &mut problems) {
                    Some(config) if problems.is_empty() => build(config, context),
                    _ => Err(ComponentError::new(config::render(&problems))),
                }
            }),
            share: None,
        }
    }

    /// Adds what a configuration tells other components before any is built.
    #[must_use]
    pub fn shares<C: config::Component>(mut self, share: fn(C, &mut Shared)) -> Self {
        self.share = Some(Box::new(move |node, shared| {
            // A configuration that is wrong is told of when it is checked or built.
            let mut problems = Problems::new();
            if let Some(config) = config::decode::<C>(node, "", &mut problems)
                && problems.is_empty()
            {
                share(config, shared);
            }
        }));
        self
    }

    /// Adds what this configuration tells other components.
    pub fn share(&self, node: &Node, shared: &mut Shared) {
        if let Some(share) = &self.share {
            share(node, shared);
        }
    }

    /// Adds other accepted spellings of the type.
    #[must_use]
    pub fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Builds an instance.
    pub fn build(&self, node: &Node, context: &BuildContext) -> Result<Box<T>, ComponentError> {
        (self.build)(node, context)
    }
}

/// Every component that this binary has. Filled in one explicit list (`src/components.rs`).
#[derive(Default)]
pub struct Registry {
    /// Sources.
    pub receivers: Vec<Factory<dyn Receiver>>,
    /// Stages.
    pub processors: Vec<Factory<dyn Processor>>,
    /// Destinations.
    pub exporters: Vec<Factory<dyn Exporter>>,
}
