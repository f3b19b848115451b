//! `ebpf`: watches processes and the plaintext of their TLS connections from the kernel.

mod analyst;
mod candidates;
pub mod config;
pub mod files;
mod host;
mod intake;
pub mod kernel;
pub mod kubelet;
mod pending;
mod queue;
mod session;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use pipeline::{
    BuildContext, ComponentError, Factory, Mode, Output, Receiver, Signal, component::BoxFuture, telemetry::names,
};

use self::{
    analyst::Analyst,
    candidates::Candidates,
    config::Config,
    intake::{Intake, Targets},
    kernel::Shared,
    kubelet::Kubelet,
    pending::Pending,
    queue::Queue,
    session::Session,
};
use crate::{
    Error,
    probes::Reader,
    record::{Facts, Frame, Header, Recorder, Settings},
    targets::{
        commands,
        discovery::{Attach, Attached, Discovery},
        plan::Plan,
        procfs::{Names, Proc},
    },
};

/// Bytes that may wait between the reader and assembly.
const QUEUE: usize = 128 << 20;

/// How long `doctor` searches at most.
const SURVEY: Duration = Duration::from_secs(60);

/// How long a command waits until its files are searched; the rest is done while it runs.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the start waits for the kubelet, so that what runs already is told with its pods from the beginning.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// The factory of `ebpf`.
pub fn factory() -> Factory<dyn Receiver> {
    Factory::new(
        "ebpf",
        "Watches processes and the plaintext of their TLS connections from the kernel",
        &[Signal::Traces, Signal::Logs, Signal::Metrics],
        |config: Config, context: &BuildContext| -> Result<Box<dyn Receiver>, ComponentError> {
            Ok(Box::new(Ebpf { config, context: context.clone(), running: None }))
        },
    )
}

/// The receiver.
pub struct Ebpf {
    config: Config,
    context: BuildContext,
    running: Option<Running>,
}

/// What there is between start and stop.
struct Running {
    reader: Reader,
    kernel: Shared,
    targets: Targets,
    _analyst: Option<Analyst>,
    queue: Arc<Queue>,
    assembly: std::thread::JoinHandle<Result<(), Error>>,
}

impl Receiver for Ebpf {
    fn start(&mut self, output: Output) -> Result<(), ComponentError> {
        let begun = Instant::now();
        let command = match &self.context.mode {
            Mode::Run { command } => Some(command.as_slice()),
            Mode::Service | Mode::Validate | Mode::Replay { .. } => None,
        };
        let settings =
            Settings { providers: self.context.shared.providers.clone(), ..self.config.settings(command.is_some()) };
        let mut host = host::host();
        if let Some(kubernetes) = self.config.kubernetes.as_ref().filter(|kubernetes| !kubernetes.node.is_empty()) {
            host.node = Some(kubernetes.node.clone());
        }
        let header = Header { host, clock: host::clock(), settings };
        let kernel = Shared::load(&self.config, command.is_some()).map_err(plain)?;
        let recorder = match &self.context.record {
            Some(path) => Some(Recorder::create(path, &header).map_err(plain)?),
            None => None,
        };

        let queue = Arc::new(Queue::new(QUEUE));
        let kubelet = self.kubelet(&queue)?.map(Arc::new);
        let proc = Proc::new("/proc");
        let mut names = Names::read(&host::root());
        let mut discovery = Discovery::new(proc.clone(), kernel.clone());
        if self.config.capture.tls {
            attach_at_start(&mut discovery, command);
        }
        let targets = Targets::new(discovery);
        let analyst = if self.config.capture.tls {
            let analyst = Analyst::start(targets.clone(), kernel.clone(), proc.clone())?;
            if command.is_some() {
                targets.wait(PATIENCE);
            }
            Some(analyst)
        } else {
            None
        };
        let attached = targets.lock().table().len();

        if let Some(kubelet) = &kubelet {
            kubelet.wait(FIRST_ANSWER);
        }
        let keep = if command.is_some() { Duration::ZERO } else { self.config.candidates_for() };
        let keep = u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX);
        let mut candidates = Candidates::new(kernel.clone(), keep, !self.config.include.is_empty());
        candidates.survey(&proc, &targets.lock().tls_users());
        // Events of processes that start from here on wait in the rings until the snapshot is taken.
        let only_self = command.is_some().then(std::process::id);
        let found = snapshot(&proc, &mut names, only_self);
        if let Some(kubelet) = &kubelet {
            found.iter().filter_map(|facts| facts.workload.as_ref()).for_each(|workload| kubelet.want(workload));
        }
        queue.push(found.into_iter().map(|facts| Frame::Facts(Box::new(facts))).collect());
        let id = ("receiver", self.context.id.as_str());
        let intake = Intake {
            targets: targets.clone(),
            proc,
            names,
            queue: queue.clone(),
            read: self.context.telemetry.counter(names::READ, &[id]),
            dropped: self.context.telemetry.counter(names::KERNEL_DROPPED, &[id, ("reason", names::QUEUE_FULL)]),
            tls: self.config.capture.tls,
            candidates,
            facts: Pending::default(),
            kubelet: kubelet.clone(),
            ticked: begun,
            waiting: Vec::new(),
        };
        let session = Session::new(
            &header,
            queue.clone(),
            output,
            recorder,
            kernel.clone(),
            targets.clone(),
            kubelet,
            self.context.telemetry.clone(),
            self.context.id.clone(),
        );
        let assembly = std::thread::Builder::new().name("onlooker-assembly".into()).spawn(move || session.run())?;
        let reader = kernel.read(Box::new(intake)).map_err(|error| {
            queue.close();
            plain(error)
        })?;
        tracing::info!(tls_files = attached, millis = begun.elapsed().as_millis() as u64, "Probes are attached.");
        self.running = Some(Running { reader, kernel, targets, _analyst: analyst, queue, assembly });
        Ok(())
    }

    fn stop(&mut self) -> BoxFuture<'_, Result<(), ComponentError>> {
        let running = self.running.take();
        Box::pin(async move {
            let Some(Running { mut reader, kernel, targets, _analyst, queue, assembly }) = running else {
                return Ok(());
            };
            let stopped = tokio::task::spawn_blocking(move || {
                // First what the rings still hold, then what the queue holds.
                reader.stop();
                drop(reader);
                queue.close();
                let outcome = assembly.join();
                targets.release(kernel);
                outcome
            });
            match stopped.await {
                Ok(Ok(outcome)) => outcome.map_err(plain),
                _ => Err(ComponentError::new("the assembly thread failed; please report this")),
            }
        })
    }
}

impl Ebpf {
    /// Starts to ask the kubelet, if the operator wants that.
    fn kubelet(&self, queue: &Arc<Queue>) -> Result<Option<Kubelet>, ComponentError> {
        let Some(kubernetes) = &self.config.kubernetes else { return Ok(None) };
        let Some(config) = kubernetes.kubelet.clone() else { return Ok(None) };
        let queue = queue.clone();
        let deliver = Box::new(move |told| queue.push(vec![Frame::Pods(Box::new(told))]) == 0);
        let (telemetry, id) = (&self.context.telemetry, &self.context.id);
        Ok(Some(Kubelet::start(config, kubernetes.labels.clone(), telemetry, id, deliver)?))
    }
}

fn plain(error: Error) -> ComponentError {
    ComponentError::new(error.to_string())
}

/// Attaches to what is there before anything is watched.
fn attach_at_start<A: Attach>(discovery: &mut Discovery<A>, command: Option<&[String]>) {
    for library in commands::system_libraries() {
        discovery.path(&library);
    }
    match command {
        Some(command) => {
            let variable = |name| std::env::var(name).unwrap_or_default();
            for file in commands::files_of_command(command, &variable("PATH"), &variable("LD_LIBRARY_PATH")) {
                discovery.path(&file);
            }
        }
        None => discovery.scan(std::process::id()),
    }
}

/// Attaches to nothing.
struct Nothing;

impl Attach for Nothing {
    type Links = ();

    fn attach(&mut self, _: &Path, _: &Plan) -> Result<(), String> {
        Ok(())
    }
}

/// The files with TLS functions that a service would attach to now, each with the processes that use it; nothing is
/// attached. For `doctor`.
pub fn survey() -> Vec<(Attached, Vec<u32>)> {
    let mut discovery = Discovery::new(Proc::new("/proc"), Nothing);
    attach_at_start(&mut discovery, None);
    analyst::perform_all(&mut discovery, &mut Nothing, Instant::now() + SURVEY);
    discovery.table().iter().map(|entry| (entry.clone(), discovery.users_of(entry.file))).collect()
}

/// The processes that run already: all of them, or one.
fn snapshot(proc: &Proc, names: &mut Names, only: Option<u32>) -> Vec<Facts> {
    let processes = only.map_or_else(|| proc.processes(), |tgid| vec![tgid]);
    processes.into_iter().filter_map(|tgid| proc.found(tgid, names)).collect()
}
