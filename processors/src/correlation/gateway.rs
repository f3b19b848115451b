//! Gateways: processes that serve a model's API and make calls to models for those who ask them. Their calls make no
//! turns. One that has the messages of another process's call, during that call, was made for it.
//!
//! An agent may serve such an API too. What tells it from a gateway is that it carries out what its model asks for itself:
//! it starts the process that runs the command, where a gateway hands the answer on. Its thread is then an agent's.

use std::{sync::Arc, time::Duration};

use pipeline::{
    Kind, Observation, ProcessKey, SpanContext, Timestamp,
    observation::{Link, ModelCall, ProcessInfo},
};

use super::{
    Correlation,
    command::Commands,
    config::Instrumented,
    ids,
    turns::{Step, asked},
};

/// How long the answer to the one who asked may come after that of the provider.
const LATE: Duration = Duration::from_secs(10);
/// Most calls that wait.
const WAITING: usize = 1_024;

/// A gateway's call that waits for the call which it was made for.
#[derive(Debug)]
pub(super) struct Waiting {
    until: Timestamp,
    observation: Observation,
    call: Box<ModelCall>,
    /// Calls that it may have been made for.
    askers: Vec<SpanContext>,
    /// What it asks to run.
    commands: Vec<Commands>,
}

/// True if this process runs something that a call asks for: by the call's id, or by its command.
fn runs(call: &ModelCall, commands: &[Commands], info: &ProcessInfo) -> bool {
    let id = info.markers.get("CODEX_TOOL_CALL_ID");
    let named = id.is_some() && call.tool_calls.iter().any(|tool| tool.id.as_ref() == id);
    asked(call) <= info.started && (named || commands.iter().any(|commands| commands.fit(info).is_some()))
}

fn commands(call: &ModelCall) -> Vec<Commands> {
    call.tool_calls.iter().map(|tool| Commands::of(&tool.name, &tool.arguments)).collect()
}

/// True if the calls of this process are made for others.
pub(super) fn is_gateway(info: &ProcessInfo) -> bool {
    info.serves_models && info.agent.as_ref().is_none_or(|agent| !agent.known)
}

impl Correlation {
    /// Takes a gateway's call.
    pub(super) fn gateway_call(&mut self, mut observation: Observation, call: ModelCall, out: &mut Vec<Observation>) {
        match (call.remote_parent, self.config.instrumented) {
            (Some(_), Instrumented::Suppress) => {
                self.tally.merged += 1;
                return;
            }
            (Some(remote), Instrumented::Attach) => {
                (observation.context, observation.link) = (Some(ids::call(remote, &call)), Some(Link::Traceparent));
                observation.kind = Kind::ModelCall(Box::new(call));
                return out.push(observation);
            }
            (None, _) | (Some(_), Instrumented::Duplicate) => {}
        }
        if self.waiting.len() >= WAITING {
            self.tell_gateway(0, out);
        }
        let until = call.ended.plus(LATE);
        let commands = commands(&call);
        self.waiting.push(Waiting { until, observation, call: Box::new(call), askers: Vec::new(), commands });
    }

    /// True if a process began to run what this answer asks for before the answer's end was seen, and this process started it.
    pub(super) fn ran_itself(&self, info: &ProcessInfo, call: &ModelCall) -> bool {
        if call.tool_calls.is_empty() || self.has_asked(info.key, call) {
            return false;
        }
        let commands = commands(call);
        self.recent.iter().any(|program| self.starter(program) == Some(info.key) && runs(call, &commands, program))
    }

    /// A program starts: if it is what a gateway's call asks for and the gateway itself started it, then the call is an
    /// agent's own.
    pub(super) fn note_own_command(&mut self, info: &ProcessInfo, out: &mut Vec<Observation>) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(starter) = self.starter(info) else { return };
        let mut fitting = self.waiting.iter().enumerate().filter(|(_, waiting)| {
            waiting.observation.process.key == starter
                && waiting.askers.is_empty()
                && runs(&waiting.call, &waiting.commands, info)
                && !self.has_asked(starter, &waiting.call)
        });
        let (Some((at, _)), None) = (fitting.next(), fitting.next()) else { return };
        let Waiting { observation, call, .. } = self.waiting.remove(at);
        let found = self.find(starter, &call).filter(|(_, step, _)| *step != Step::Retry);
        self.agents_call(observation, *call, found, out);
    }

    /// The process whose program a process was forked from, or its fork that did it, if that made calls as a gateway.
    fn starter(&self, info: &ProcessInfo) -> Option<ProcessKey> {
        let proc = self.processes.get(&info.key)?;
        let owner = proc.origin?.owner;
        let end = proc.lineage.iter().position(|key| *key == owner).map_or(0, |at| at + 1);
        let between = proc.lineage.get(..end)?;
        between.iter().copied().find(|key| self.processes.get(key).is_some_and(|above| above.info.serves_models))
    }

    /// True if another process has an open call of a model with the id of one of these: it was asked through this gateway.
    fn has_asked(&self, gateway: ProcessKey, call: &ModelCall) -> bool {
        let ids: Vec<&String> = call.tool_calls.iter().filter_map(|tool| tool.id.as_ref()).collect();
        let others = self.turns.values().filter(|turn| turn.agent != gateway);
        others.flat_map(|turn| turn.tools.values()).any(|tool| tool.id.as_ref().is_some_and(|id| ids.contains(&id)))
    }

    /// Notes for which of the waiting calls this one may be the reason.
    pub(super) fn asked(&mut self, process: ProcessKey, call: &ModelCall, context: SpanContext) {
        for waiting in &mut self.waiting {
            let (made, messages) = (&waiting.call, &call.thread.messages);
            let during = call.started <= made.started && made.ended <= call.ended;
            if during
                && waiting.observation.process.key != process
                && !messages.is_empty()
                && made.thread.messages == *messages
            {
                waiting.askers.push(context);
            }
        }
    }

    /// Tells those for which nothing more can come.
    pub(super) fn tell_gateways(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        while let Some(at) = self.waiting.iter().position(|waiting| waiting.until <= now) {
            self.tell_gateway(at, out);
        }
    }

    fn tell_gateway(&mut self, at: usize, out: &mut Vec<Observation>) {
        let Waiting { mut observation, call, askers, .. } = self.waiting.remove(at);
        let info = Arc::clone(&observation.process);
        let (context, link) = match askers.as_slice() {
            [asker] => (ids::call(*asker, &call), Some(Link::Messages)),
            _ => {
                let place = self.place_of(&info);
                let context = ids::call(place.context, &call);
                let parent_span_id = context.parent_span_id.filter(|_| !place.spanless);
                (SpanContext { parent_span_id, ..context }, parent_span_id.map(|_| Link::Program))
            }
        };
        (observation.context, observation.link) = (Some(context), link);
        observation.kind = Kind::ModelCall(call);
        out.push(observation);
    }
}
