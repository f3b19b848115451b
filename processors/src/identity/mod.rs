//! `identity`: who a process is. Completes each observation's `ProcessInfo` with the agent's name and
//! `service.name`; all observations of a process between two execs share one `Arc`.

pub mod agents;
pub mod config;
pub mod program;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pipeline::{
    BuildContext, ComponentError, Factory, Kind, Observation, ProcessKey, Processor, Signal, Timestamp,
    observation::{Agent, ProcessInfo, ProcessPhase},
};

use agents::{AGENTS, Row};
use config::Config;
use program::{Program, base_name, called_as, program, stem};

/// Most processes that are kept.
const CAPACITY: usize = 16_384;
/// How long a process is kept after its end: what it did last may still be on its way.
const GRACE: Duration = Duration::from_secs(30);
/// How far up a version that a child tells is carried.
const DEPTH: usize = 64;

/// The factory of `identity`.
pub fn factory() -> Factory<dyn Processor> {
    Factory::new(
        "identity",
        "Names the agent and the service of each process",
        &[Signal::Traces, Signal::Logs, Signal::Metrics],
        |_: Config, context: &BuildContext| -> Result<Box<dyn Processor>, ComponentError> {
            Ok(Box::new(Identity {
                evicted: context.telemetry.counter("onlooker.identity.evicted", &[]),
                ..Identity::default()
            }))
        },
    )
}

/// One state of a process.
#[derive(Debug)]
struct Entry {
    source: Arc<ProcessInfo>,
    enriched: Arc<ProcessInfo>,
    inserted: u64,
}

/// The processor.
#[derive(Debug, Default)]
pub struct Identity {
    entries: BTreeMap<(ProcessKey, u32), Entry>,
    /// Oldest first, for eviction.
    order: BTreeMap<u64, (ProcessKey, u32)>,
    ended: BTreeMap<(Timestamp, ProcessKey), ()>,
    next: u64,
    evicted: pipeline::telemetry::Counter,
}

impl Identity {
    /// The completed form of what is known of a process.
    fn enrich(&mut self, info: &Arc<ProcessInfo>) -> Arc<ProcessInfo> {
        let key = (info.key, info.exec_count);
        if let Some(entry) = self.entries.get(&key)
            && (Arc::ptr_eq(&entry.source, info) || entry.source == *info || Arc::ptr_eq(&entry.enriched, info))
        {
            return entry.enriched.clone();
        }
        let mut new = ProcessInfo::clone(info);
        let mut agent = name(info);
        if let Some(old) = self.entries.get(&key).and_then(|entry| entry.enriched.agent.as_ref())
            && old.name == agent.name
            && agent.version.is_none()
        {
            // Told by a child before.
            agent.version.clone_from(&old.version);
        }
        new.service_name =
            info.markers.get("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()).cloned().or(Some(agent.name.clone()));
        new.agent = Some(agent);
        let enriched = Arc::new(new);
        self.insert(key, info.clone(), enriched.clone());
        if let Some((name, version)) = info.markers.get("AI_AGENT").and_then(|value| parse_marker(value)) {
            self.learn(info.parent, name, &version);
        }
        enriched
    }

    fn insert(&mut self, key: (ProcessKey, u32), source: Arc<ProcessInfo>, enriched: Arc<ProcessInfo>) {
        self.next += 1;
        if let Some(old) = self.entries.insert(key, Entry { source, enriched, inserted: self.next }) {
            self.order.remove(&old.inserted);
        }
        self.order.insert(self.next, key);
        while self.entries.len() > CAPACITY
            && let Some((_, key)) = self.order.pop_first()
        {
            self.entries.remove(&key);
            self.evicted.add(1);
        }
    }

    /// A child's marker tells the version of the nearest agent of that name above it.
    fn learn(&mut self, mut above: Option<ProcessKey>, name: &str, version: &str) {
        for _ in 0..DEPTH {
            let Some(key) = above else { return };
            let Some((_, entry)) = self.entries.range_mut((key, 0)..=(key, u32::MAX)).next_back() else { return };
            if let Some(agent) = &entry.enriched.agent
                && agent.known
                && agent.name == name
            {
                if agent.version.is_none() {
                    let mut info = ProcessInfo::clone(&entry.enriched);
                    info.agent = Some(Agent { version: Some(version.to_owned()), ..agent.clone() });
                    entry.enriched = Arc::new(info);
                }
                return;
            }
            above = entry.source.parent;
        }
    }

    fn forget(&mut self, key: ProcessKey) {
        let states: Vec<_> = self.entries.range((key, 0)..=(key, u32::MAX)).map(|(state, _)| *state).collect();
        for state in states {
            if let Some(entry) = self.entries.remove(&state) {
                self.order.remove(&entry.inserted);
            }
        }
    }
}

impl Processor for Identity {
    fn process(&mut self, mut observation: Observation, out: &mut Vec<Observation>) {
        observation.process = self.enrich(&observation.process);
        if let Kind::Process(process) = &observation.kind
            && matches!(process.phase, ProcessPhase::Exit(_))
        {
            self.ended.insert((observation.time, observation.process.key), ());
        }
        out.push(observation);
    }

    fn advance(&mut self, now: Timestamp, _: &mut Vec<Observation>) {
        while let Some(entry) = self.ended.first_entry()
            && entry.key().0.plus(GRACE) <= now
        {
            let ((_, key), ()) = entry.remove_entry();
            self.forget(key);
        }
    }
}

/// The agent that a process is.
pub fn name(info: &ProcessInfo) -> Agent {
    let program = program(info);
    if let Some(row) = recognise(info, program) {
        return Agent { name: row.name.to_owned(), version: version_in_path(&info.executable), known: true };
    }
    let helper = || helper_name(info).unwrap_or_else(|| called_as(info));
    let name = match program {
        Program::Script(path) => script_name(path),
        Program::Module(module) => module.strip_suffix(".__main__").unwrap_or(module),
        Program::Executable => helper(),
    };
    let name = if name.is_empty() { info.executable_name() } else { name };
    Agent { name: name.to_owned(), version: None, known: false }
}

fn recognise(info: &ProcessInfo, program: Program<'_>) -> Option<&'static Row> {
    AGENTS.iter().find(|row| match program {
        Program::Script(path) => {
            let stem = stem(path);
            row.names.contains(&stem) || row.scripts.contains(&stem) || in_package(path, row.packages)
        }
        Program::Module(module) => row.modules.contains(&module),
        Program::Executable => is_executable_of(row, info) && !is_helper(row, info),
    })
}

/// The native installer of claude-code puts the executable at `…/claude/versions/2.1.197`.
fn is_executable_of(row: &Row, info: &ProcessInfo) -> bool {
    let name = info.executable_name();
    // Packages of npm put their program under one name for all systems.
    row.names.contains(&name.strip_suffix(".exe").unwrap_or(name))
        || (row.name == "claude-code" && info.executable.contains("/claude/versions/"))
}

fn is_helper(row: &Row, info: &ProcessInfo) -> bool {
    info.args.first().is_some_and(|arg| row.helpers.contains(&base_name(arg)))
}

/// The name by which an agent's executable was called, if it acts as a helper.
fn helper_name(info: &ProcessInfo) -> Option<&str> {
    let row = AGENTS.iter().find(|row| is_executable_of(row, info))?;
    is_helper(row, info).then(|| info.args.first().map(|arg| base_name(arg)))?
}

/// True if the script is the package's own, not one of a dependency below it.
fn in_package(path: &str, packages: &[&str]) -> bool {
    packages.iter().any(|package| {
        path.split_once(package).is_some_and(|(_, rest)| !rest.contains("node_modules/") && !rest.contains("/vendor/"))
    })
}

/// The script's name; where that says nothing (`index.js`, `__main__.py`), its package's or folder's.
fn script_name(path: &str) -> &str {
    let name = stem(path);
    if !matches!(name, "index" | "cli" | "main" | "__main__") {
        return name;
    }
    if let Some((_, rest)) = path.rsplit_once("node_modules/") {
        let mut parts = rest.split('/');
        let package = match parts.next() {
            Some(scope) if scope.starts_with('@') => parts.next(),
            package => package,
        };
        return package.filter(|package| !package.is_empty()).unwrap_or(name);
    }
    if name == "__main__"
        && let Some((folder, _)) = path.rsplit_once('/')
        && !base_name(folder).is_empty()
    {
        return base_name(folder);
    }
    name
}

fn version_in_path(path: &str) -> Option<String> {
    let (_, rest) = path.split_once("/claude/versions/")?;
    let version = rest.split('/').next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

/// `claude-code_2-1-197_agent` → (`claude-code`, `2.1.197`).
fn parse_marker(value: &str) -> Option<(&str, String)> {
    let mut parts = value.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    let digits = version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    (digits && version.len() <= 64 && version.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty())
        .then(|| (name, version.replace('-', ".")))
}
