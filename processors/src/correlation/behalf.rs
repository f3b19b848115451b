//! On whose behalf things are done: the agent's name and its conversation, for everything in a trace of its turns.
//!
//! Backends that group by agent or conversation need both on every span, not only on those of the agent itself.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use pipeline::{Kind, Observation, ProcessKey, TraceId, observation::OnBehalf};

use super::Correlation;

/// Most traces that are remembered, by the time of their first call.
const TRACES: usize = 4_096;
/// Most agents of one trace.
const AGENTS: usize = 16;

/// The agents that work in each trace.
#[derive(Debug, Default)]
pub struct Agents {
    traces: BTreeMap<TraceId, Vec<(ProcessKey, Arc<OnBehalf>)>>,
    order: VecDeque<TraceId>,
    /// Known agents by their process, for what happens outside of turns.
    known: BTreeMap<ProcessKey, Arc<OnBehalf>>,
}

impl Agents {
    fn learn(&mut self, trace: TraceId, key: ProcessKey, agent: OnBehalf) {
        if !self.traces.contains_key(&trace) {
            if self.order.len() >= TRACES
                && let Some(oldest) = self.order.pop_front()
            {
                self.traces.remove(&oldest);
            }
            self.order.push_back(trace);
        }
        let known = self.traces.entry(trace).or_default();
        let full = known.len() >= AGENTS;
        match known.iter_mut().find(|(other, _)| *other == key) {
            // A conversation's id may come with a later call; it does not go away.
            Some((_, old)) if **old != agent => {
                let conversation_id = agent.conversation_id.or_else(|| old.conversation_id.clone());
                *old = Arc::new(OnBehalf { conversation_id, ..agent });
            }
            Some(_) => {}
            None if full => {}
            None => known.push((key, Arc::new(agent))),
        }
    }

    /// The agent nearest to a process, whose ancestors are given nearest first.
    fn nearest(&self, trace: TraceId, key: ProcessKey, lineage: &[ProcessKey]) -> Option<&Arc<OnBehalf>> {
        let known = self.traces.get(&trace)?;
        let of = |key: &ProcessKey| known.iter().find(|(other, _)| other == key).map(|(_, agent)| agent);
        let near = of(&key).or_else(|| lineage.iter().find_map(of));
        // With one agent in the trace it can only be that one.
        near.or_else(|| known.first().filter(|_| known.len() == 1).map(|(_, agent)| agent))
    }
}

impl Correlation {
    /// Tells each of these observations on whose behalf it was done.
    pub(super) fn tell_behalf(&mut self, observations: &mut [Observation]) {
        for observation in observations {
            let process = &observation.process;
            if let Kind::ModelCall(call) = &observation.kind
                && let Some(turn) = call.turn
            {
                let name = process.agent.as_ref().map(|agent| agent.name.clone());
                let agent = OnBehalf { name, conversation_id: call.conversation_id.clone() };
                self.agents.learn(turn.trace_id, process.key, agent);
            }
            let lineage = self.processes.get(&process.key).map(|proc| proc.lineage.as_slice()).unwrap_or_default();
            let trace = observation.context.map(|context| context.trace_id);
            let nearest = trace.and_then(|trace| self.agents.nearest(trace, process.key, lineage)).cloned();
            // Before its first call, and between turns: what a known agent and its children do. Of which conversation that
            // is nobody can tell.
            let agent = std::iter::once(&process.key).chain(lineage).find(|key| self.is_agent(**key)).copied();
            observation.agent = nearest.or_else(|| self.known_agent(agent?));
        }
    }

    fn known_agent(&mut self, key: ProcessKey) -> Option<Arc<OnBehalf>> {
        if let Some(known) = self.agents.known.get(&key) {
            return Some(Arc::clone(known));
        }
        let name = self.processes.get(&key)?.info.agent.as_ref()?.name.clone();
        if self.agents.known.len() >= TRACES {
            self.agents.known.clear();
        }
        let known = Arc::new(OnBehalf { name: Some(name), conversation_id: None });
        self.agents.known.insert(key, Arc::clone(&known));
        Some(known)
    }

    fn is_agent(&self, key: ProcessKey) -> bool {
        self.processes.get(&key).is_some_and(|proc| proc.info.agent.as_ref().is_some_and(|agent| agent.known))
    }
}
