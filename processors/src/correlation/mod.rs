//! `correlation`: ties model calls, tools and processes together. Sets the `context` of every observation and adds
//! `ToolCall`, `AgentTurn` and `Finding` observations.
//!
//! `turns` has the rules for model calls, `tree` those for processes, `linking` and `held` those for what runs a tool;
//! `command` tells whether a process runs a tool's command. All is driven by the times of the events, so a replay gives the same.

mod behalf;
mod command;
pub mod config;
mod deeds;
mod gateway;
mod heirs;
mod held;
mod ids;
mod linking;
mod mcp;
mod served;
mod session;
mod state;
mod subagents;
#[cfg(test)]
mod tests;
mod tree;
mod turns;
mod unasked;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use pipeline::{
    BuildContext, ComponentError, Factory, Kind, Observation, ProcessKey, Processor, Signal, Tally, Timestamp,
    observation::{ProcessInfo, ProcessPhase, TurnEnd},
    telemetry::Counter,
};

use config::Config;
use state::{Decided, Held, Proc, Turn};

/// How long a process is remembered after its end.
const GRACE: Duration = Duration::from_secs(60);

/// The factory of `correlation`.
pub fn factory() -> Factory<dyn Processor> {
    Factory::new(
        "correlation",
        "Ties model calls, tools and processes to turns: one trace each",
        &[Signal::Traces, Signal::Logs, Signal::Metrics],
        |config: Config, context: &BuildContext| -> Result<Box<dyn Processor>, ComponentError> {
            let evicted = |what| context.telemetry.counter("onlooker.correlation.evicted", &[("what", what)]);
            Ok(Box::new(Correlation {
                evicted_processes: evicted("process"),
                evicted_turns: evicted("turn"),
                evicted_held: evicted("held"),
                ..Correlation::new(config)
            }))
        },
    )
}

/// The processor.
#[derive(Debug)]
pub struct Correlation {
    config: Config,
    processes: BTreeMap<ProcessKey, Proc>,
    /// Processes by last use.
    order: BTreeMap<u64, ProcessKey>,
    clock: u64,
    /// Processes that ended, to be forgotten.
    ended: BTreeSet<(Timestamp, ProcessKey)>,
    turns: BTreeMap<u64, Turn>,
    next_turn: u64,
    /// No turn is idle before this.
    deadline: Timestamp,
    /// Processes that may be a call's, by the first of each tree.
    held: BTreeMap<ProcessKey, Held>,
    /// Which tree a held process belongs to.
    members: BTreeMap<ProcessKey, ProcessKey>,
    held_count: usize,
    /// Decisions on held processes, while their observations are taken up again.
    verdicts: BTreeMap<ProcessKey, Decided>,
    /// Programs that no call claimed, latest last: the answer that asks for one may be complete after it started.
    recent: VecDeque<Arc<ProcessInfo>>,
    /// True once a process was seen to start: then a missing one means something.
    process_events: bool,
    unasked: unasked::Unasked,
    /// Calls of gateways.
    waiting: Vec<gateway::Waiting>,
    mcp_places: mcp::Places,
    servers: served::Servers,
    agents: behalf::Agents,
    /// What was made and what became part of something else; `held` is counted where it is.
    tally: Tally,
    evicted_processes: Counter,
    evicted_turns: Counter,
    evicted_held: Counter,
}

impl Correlation {
    /// A processor that has seen nothing.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            processes: BTreeMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            ended: BTreeSet::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            deadline: Timestamp(u64::MAX),
            held: BTreeMap::new(),
            members: BTreeMap::new(),
            held_count: 0,
            verdicts: BTreeMap::new(),
            recent: VecDeque::new(),
            process_events: false,
            unasked: unasked::Unasked::default(),
            waiting: Vec::new(),
            mcp_places: mcp::Places::default(),
            servers: served::Servers::default(),
            agents: behalf::Agents::default(),
            tally: Tally::default(),
            evicted_processes: Counter::default(),
            evicted_turns: Counter::default(),
            evicted_held: Counter::default(),
        }
    }

    /// Completes what goes on from `before`.
    fn told(&mut self, out: &mut [Observation], before: usize) {
        let new = out.get_mut(before..).unwrap_or_default();
        self.tally.made += new.iter().filter(|observation| is_made(observation)).count() as u64;
        self.tell_behalf(new);
    }

    /// Takes an observation that nothing holds back.
    fn take(&mut self, mut observation: Observation, out: &mut Vec<Observation>) {
        match observation.kind {
            Kind::ModelCall(call) => {
                observation.kind = Kind::Heartbeat(Box::default());
                self.model_call(observation, *call, out);
            }
            Kind::Process(ref process) => {
                let phase = process.phase.clone();
                self.process_event(observation, phase, out);
            }
            // About onlooker, not about a process.
            Kind::Heartbeat(_) | Kind::Metrics(_) => out.push(observation),
            Kind::McpCall(call) => {
                observation.kind = Kind::Heartbeat(Box::default());
                self.mcp_call(observation, call, out);
            }
            Kind::OpaqueCall(ref call) => {
                let (context, link) = self.opaque_call(&observation.process, call);
                (observation.context, observation.link) = (Some(context), link);
                self.excuse(observation.process.key);
                out.push(observation);
            }
            // What processes do: in the span of who did it.
            Kind::File(_) | Kind::Security(_) | Kind::Connection(_) | Kind::Dns(_) => {
                let (context, link) = self.deed(&observation);
                (observation.context, observation.link) = (Some(context), link);
                out.push(observation);
            }
            Kind::Exchange(_) | Kind::ToolCall(_) | Kind::AgentTurn(_) | Kind::Finding(_) => {
                if observation.context.is_none() {
                    let known = self.processes.get(&observation.process.key).and_then(Proc::place);
                    observation.context = known.map(|place| place.context);
                }
                out.push(observation);
            }
        }
    }
}

impl Processor for Correlation {
    fn process(&mut self, observation: Observation, out: &mut Vec<Observation>) {
        let before = out.len();
        self.expire(observation.time, out);
        if let Some(observation) = self.keep(observation, out) {
            self.take(observation, out);
        }
        self.told(out, before);
    }

    fn advance(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        let before = out.len();
        self.expire(now, out);
        self.told(out, before);
        while let Some((time, key)) = self.ended.first().copied()
            && time.plus(GRACE) <= now
        {
            self.ended.pop_first();
            self.forget(key);
        }
    }

    fn finish(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        let before = out.len();
        while let Some(root) = self.held.keys().next().copied() {
            self.release(root, Decided::Nothing, out);
        }
        self.tell_gateways(Timestamp(u64::MAX), out);
        self.tell_unasked(Timestamp(u64::MAX), out);
        while let Some(turn) = self.turns.keys().next_back().copied() {
            self.close(turn, TurnEnd::Shutdown, now, out);
        }
        self.told(out, before);
    }

    fn tally(&self) -> Tally {
        Tally { held: (self.held_count + self.waiting.len()) as u64, ..self.tally }
    }
}

/// What only correlation makes.
fn is_made(observation: &Observation) -> bool {
    match &observation.kind {
        Kind::ToolCall(_) | Kind::AgentTurn(_) | Kind::Finding(_) => true,
        Kind::Process(process) => matches!(process.phase, ProcessPhase::Replaced),
        _ => false,
    }
}
