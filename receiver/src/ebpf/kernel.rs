//! The kernel side, shared by the threads of the receiver.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pipeline::ProcessKey;

use super::config::Config;
use crate::{
    Error,
    assemble::Command,
    event::Program,
    probes::{Delivery, Options, Probes, Reader, Scope, Switch, socket::Capture, tls::Links},
    targets::{discovery::Attach, plan::Plan},
};

/// Bytes of events that the reader holds back to put them in order.
const HELD: u64 = 64 << 20;

/// A kernel side that several threads use.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Loaded>>, Option<Switch>);

struct Loaded {
    probes: Probes,
}

impl Shared {
    /// Loads and attaches the process probes. `tree`: only what this process forks from now on.
    pub fn load(config: &Config, tree: bool) -> Result<Self, Error> {
        let options = Options {
            scope: if tree { Scope::Tree } else { Scope::Host },
            payload_ring: config.rings.payload.0,
            lifecycle_ring: config.rings.lifecycle.0,
            network_ring: config.rings.network.0,
            file_ring: config.rings.files.0,
            security_ring: config.rings.security.0,
            watch_children: tree,
            capture: Capture {
                http: config.capture.http,
                mcp: config.capture.mcp,
                network: config.capture.network,
                // Names of providers' addresses, too.
                dns: config.capture.dns || config.capture.network,
                sockets: config.capture.tls,
            },
            files: config.capture.files.probes(),
            security: config.capture.security,
            lookback: if tree { Duration::ZERO } else { config.candidates_for() },
        };
        let probes = Probes::load(options)?;
        let switch = probes.switch();
        Ok(Self(Arc::new(Mutex::new(Loaded { probes })), switch))
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to read the rings.
    pub fn read(&self, delivery: Box<dyn Delivery>) -> Result<Reader, Error> {
        self.lock().probes.start_reader(HELD, delivery)
    }

    /// Tells the kernel what assembly has found out. What it cannot do only costs time: the events are dropped later.
    pub fn obey(&self, commands: impl Iterator<Item = Command>) {
        let mut loaded = self.lock();
        for command in commands {
            let outcome = match command {
                Command::Watch(process) => loaded.probes.watch(process),
                Command::Exclude(process) => loaded.probes.exclude(process),
                Command::Ignore { process: ProcessKey { tgid, .. }, object } => loaded.probes.ignore(tgid, object),
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, ?command, "The kernel side did not take a command.");
            }
        }
    }

    /// A program is likely to become an agent.
    pub fn candidate_program(&self, program: Program) {
        if let Err(error) = self.lock().probes.candidate_program(program) {
            tracing::debug!(%error, "The kernel side did not take a program.");
        }
    }

    /// Nobody needs to learn at once who executes this program.
    pub fn ordinary_program(&self, program: Program) {
        if let Err(error) = self.lock().probes.ordinary_program(program) {
            tracing::debug!(%error, "The kernel side did not take a program.");
        }
    }

    /// A process runs such a program, until this time (ns since boot) treated as watched.
    pub fn candidate(&self, process: ProcessKey, until: u64) {
        self.lock().probes.candidate(process, until);
    }

    /// The kernel side itself found a candidate: its system calls are to be seen.
    pub fn wake(&self) {
        if let Some(switch) = &self.1 {
            switch.on();
        }
    }

    /// Whether system calls of watched processes are seen now; none if nothing is to be seen of them.
    pub fn sees_calls(&self) -> Option<bool> {
        self.1.as_ref().map(Switch::is_on)
    }

    /// Takes out of the kernel side what was a candidate and is none any more.
    pub fn sweep(&self) {
        self.lock().probes.sweep();
    }

    /// Per probe: its name, and why it does not work, if it does not.
    pub fn status(&self) -> Vec<(String, Option<String>)> {
        self.lock().probes.status().into_iter().map(|probe| (probe.name, probe.error)).collect()
    }

    /// Losses so far, by reason.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        self.lock().probes.drops()
    }
}

impl Attach for Shared {
    type Links = Links;

    fn attach(&mut self, path: &Path, plan: &Plan) -> Result<Links, String> {
        self.lock().probes.attach_tls(path, &plan.sites).map_err(|error| error.to_string())
    }
}
