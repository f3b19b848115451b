//! `onlooker --config F`: the service; and the start that all commands share.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use pipeline::{
    Mode,
    config::{Config, Level, Node},
    graph::{Graph, Running},
    ledger::{self, Account},
    telemetry::Telemetry,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{alive, cli::ConfigArgs, error::Error, registry::registry, telemetry::SelfTelemetry};

/// A started graph with what must outlive it.
pub struct Started {
    running: Running,
    telemetry: SelfTelemetry,
    counters: Arc<Telemetry>,
    limit: std::time::Duration,
    alive: tokio::task::JoinHandle<()>,
    liveness_file: Option<PathBuf>,
}

impl Started {
    /// Checks, builds and starts. Must be called inside the runtime.
    pub async fn start(root: &Node, mode: Mode, record: Option<PathBuf>, level: Level) -> Result<Started, Error> {
        let registry = registry();
        let config = Config::check(root, &registry)?;
        let counters = Arc::new(Telemetry::default());
        let telemetry = SelfTelemetry::start(&config.service.telemetry, level, &counters)?;
        let graph = Graph::build(&config, &registry, &mode, record, &counters)?;
        let running = graph.start().await?;
        let liveness_file = config.service.liveness_file.clone();
        let alive = tokio::spawn(alive::say(Arc::clone(&counters), liveness_file.clone()));
        Ok(Started { running, telemetry, counters, limit: config.service.shutdown_timeout.0, alive, liveness_file })
    }

    /// Resolves when the receivers have nothing more to give.
    pub async fn finished(&mut self) {
        self.running.finished().await;
    }

    /// Stops everything in order; the error tells what was lost.
    pub async fn stop(self) -> Result<(), Error> {
        self.alive.abort();
        if let Some(path) = &self.liveness_file {
            // It may never have been written.
            let _ = std::fs::remove_file(path);
        }
        let result = self.running.shutdown(self.limit).await;
        tell_accounts(&self.counters);
        self.telemetry.stop();
        Ok(result?)
    }
}

/// The last word: what became of all that was seen. What stays unexplained is onlooker's own defect.
fn tell_accounts(counters: &Telemetry) {
    for (stage, account) in ledger::accounts(&counters.snapshot()) {
        let Account { given, passed, dropped, pending } = account;
        // A queue that did not end in time is told by the stop itself.
        match account.unexplained() {
            0 => tracing::info!(stage, given, passed, dropped, pending, "Everything is accounted for."),
            unexplained => tracing::error!(
                stage,
                given,
                passed,
                dropped,
                pending,
                unexplained = %unexplained,
                "Not everything is accounted for. Please report this."
            ),
        }
    }
}

/// The runtime of a command.
pub fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Runs until SIGTERM or SIGINT; a second one does not wait for the queues.
pub fn service(args: &ConfigArgs) -> Result<ExitCode, Error> {
    let root = args.load(None)?;
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut started = Started::start(&root, Mode::Service, None, Level::Info).await?;
        alive::ready();
        tracing::info!("Everything is ready. Begin running and processing data.");
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => tracing::warn!("SIGHUP: reloading is not available yet; restart to use a new configuration."),
                () = started.finished() => break,
            }
        }
        alive::stopping();
        tracing::info!("Starting shutdown...");
        tokio::select! {
            result = started.stop() => result?,
            _ = terminate.recv() => return Err(Error::Message("stopped at once by a second signal; queued data is lost".into())),
            _ = interrupt.recv() => return Err(Error::Message("stopped at once by a second signal; queued data is lost".into())),
        }
        Ok(ExitCode::SUCCESS)
    })
}
