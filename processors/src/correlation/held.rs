//! Processes that may be a call's: they wait, with all that descends from them, until the agent has gone on.

use pipeline::{Kind, Observation, ProcessKey, observation::ProcessPhase};

use super::{
    Correlation,
    command::reads_input,
    state::{Decided, Held, Waits},
};

/// Most observations that wait for decisions.
const HELD: usize = 32_768;

impl Held {
    /// True if the process has ended.
    pub(super) fn ended(&self) -> bool {
        self.observations.iter().any(|o| {
            self.observations.first().is_some_and(|first| first.process.key == o.process.key)
                && matches!(&o.kind, Kind::Process(p) if matches!(p.phase, ProcessPhase::Exit(_)))
        })
    }

    /// True for a shell that reads what it runs and has not ended.
    pub(super) fn waits_for_more(&self) -> bool {
        self.observations.first().is_some_and(|first| reads_input(&first.process)) && !self.ended()
    }
}

impl Correlation {
    /// Keeps an observation until it is known whether the agent had already gone on when it happened.
    pub(super) fn hold(&mut self, observation: Observation, waits: Waits, out: &mut Vec<Observation>) {
        let root = observation.process.key;
        self.members.insert(root, root);
        if matches!(waits, Waits::Server { .. }) {
            self.servers.waiting.insert((observation.time, root));
        }
        let held = Held { waits, executed: observation.time, observations: vec![observation] };
        self.held.insert(root, held);
        self.held_count += 1;
        self.bound_held(out);
    }

    /// Keeps an observation of a process that is held. Gives it back if it is not.
    pub(super) fn keep(&mut self, observation: Observation, out: &mut Vec<Observation>) -> Option<Observation> {
        if self.members.is_empty() {
            return Some(observation);
        }
        let key = observation.process.key;
        let parent = observation.process.parent.and_then(|parent| self.members.get(&parent).copied());
        let Some(root) = self.members.get(&key).copied().or(parent) else { return Some(observation) };
        let Some(held) = self.held.get_mut(&root) else { return Some(observation) };
        self.members.insert(key, root);
        held.observations.push(observation);
        self.held_count += 1;
        self.bound_held(out);
        None
    }

    fn bound_held(&mut self, out: &mut Vec<Observation>) {
        while self.held_count > HELD
            && let Some(root) = self.held.keys().next().copied()
        {
            self.evicted_held.add(1);
            self.release(root, Decided::Nothing, out);
        }
    }

    /// Decides on a held process and lets its observations go on.
    pub(super) fn release(&mut self, root: ProcessKey, decided: Decided, out: &mut Vec<Observation>) {
        let Some(held) = self.held.remove(&root) else { return };
        self.members.retain(|_, of| *of != root);
        self.held_count = self.held_count.saturating_sub(held.observations.len());
        self.verdicts.insert(root, decided);
        for observation in held.observations {
            self.take(observation, out);
        }
        self.verdicts.remove(&root);
    }
}
