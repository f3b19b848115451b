//! Agents that go on as another process or another program: a wrapper that executes the real one, in its place or as a
//! child of its own; a process that makes itself a daemon. The turn and its tools go on with it.

use pipeline::{
    ProcessKey, Timestamp,
    observation::{ModelCall, ProcessInfo},
};

use super::{
    Correlation,
    state::{ToolRef, Waits},
};

/// True if these are programs of the same agent.
pub(super) fn same_agent(one: &ProcessInfo, other: &ProcessInfo) -> bool {
    match (&one.agent, &other.agent) {
        (Some(one), Some(other)) => one.name == other.name && one.known == other.known,
        _ => false,
    }
}

impl Correlation {
    /// The one running process that an agent, which ends now, can have left its work to: a child of the same agent that
    /// no call ran.
    pub(super) fn heir(&self, key: ProcessKey) -> Option<ProcessKey> {
        let proc = self.processes.get(&key).filter(|proc| !proc.turns.is_empty())?;
        let tool = proc.place().and_then(|place| place.tool);
        let mut heirs = self.processes.iter().filter(|(_, other)| {
            other.exit.is_none()
                && other.lineage.first() == Some(&key)
                && same_agent(&proc.info, &other.info)
                && other.place().and_then(|place| place.tool) == tool
        });
        let (heir, _) = heirs.next()?;
        heirs.next().is_none().then_some(*heir)
    }

    /// Another program of the same agent goes on with the turns of its process.
    pub(super) fn hand(&mut self, key: ProcessKey) {
        let turns = self.processes.get(&key).map(|proc| proc.turns.clone()).unwrap_or_default();
        for id in turns {
            if let Some(turn) = self.turns.get_mut(&id) {
                turn.handed = true;
            }
        }
    }

    /// Hands all open turns to another process.
    pub(super) fn inherit_all(&mut self, from: ProcessKey, to: ProcessKey, at: Timestamp) {
        let turns = self.processes.get(&from).map(|proc| proc.turns.clone()).unwrap_or_default();
        for turn in turns {
            self.inherit(turn, to, Some(at));
        }
    }

    /// Hands a turn to another process. `left`: when the one that it was of ended.
    fn inherit(&mut self, id: u64, to: ProcessKey, left: Option<Timestamp>) {
        let Some(turn) = self.turns.get_mut(&id) else { return };
        let from = std::mem::replace(&mut turn.agent, to);
        turn.left = left;
        turn.handed = true;
        if let Some(proc) = self.processes.get_mut(&from) {
            proc.turns.retain(|open| *open != id);
        }
        if let Some(proc) = self.processes.get_mut(&to) {
            proc.turns.push(id);
            proc.turns.sort_unstable();
        }
        for held in self.held.values_mut() {
            match &mut held.waits {
                Waits::Call(tool) if tool.turn == id => tool.agent = to,
                Waits::Call(_) => {}
                Waits::Server { agent, requests, .. } => {
                    if *agent == from {
                        *agent = to;
                    }
                    requests.iter_mut().filter(|tool| tool.turn == id).for_each(|tool| tool.agent = to);
                }
            }
        }
        let moved = |tool: &mut Option<ToolRef>| {
            if let Some(tool) = tool.as_mut().filter(|tool| tool.turn == id) {
                tool.agent = to;
            }
        };
        for proc in self.processes.values_mut() {
            proc.origin.iter_mut().for_each(|place| moved(&mut place.tool));
            proc.own.iter_mut().for_each(|(place, _)| moved(&mut place.tool));
        }
    }

    /// Takes over the turn of the same agent's process above, if this call carries a result that it waits for.
    pub(super) fn take_over(&mut self, info: &ProcessInfo, call: &ModelCall) -> Option<u64> {
        let tool = self.processes.get(&info.key)?.place().and_then(|place| place.tool);
        let found = self.ancestors(info.key).into_iter().find_map(|above| {
            let proc = self.processes.get(&above)?;
            let same = same_agent(&proc.info, info) && proc.place().and_then(|place| place.tool) == tool;
            let turns = proc.turns.iter().filter(|_| same);
            turns.copied().find(|id| self.turns.get(id).is_some_and(|turn| turn.awaits(call)))
        })?;
        self.inherit(found, info.key, None);
        Some(found)
    }
}
