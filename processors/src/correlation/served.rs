//! Programs that an agent's MCP server runs: they belong to the request that it was carrying out when they started.
//!
//! A request is told when it has been answered, so they wait until then. Which one it was is only certain if no other
//! call of the agent's model can have been with a server at that time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pipeline::{
    Observation, ProcessKey, SpanContext, Timestamp,
    observation::{McpCall, ProcessInfo, Role},
};

use super::{
    Correlation,
    state::{Decided, ToolRef, Waits},
};

/// Most servers that are remembered.
const SERVERS: usize = 4_096;

/// How long it is waited for the answer to a request that no call of a model is behind.
const LATE: Duration = Duration::from_secs(10);

/// Servers and the agents that use them.
#[derive(Debug, Default)]
pub(super) struct Servers {
    agents: BTreeMap<ProcessKey, ProcessKey>,
    /// Programs that wait, by the time when they started.
    pub waiting: BTreeSet<(Timestamp, ProcessKey)>,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    /// It carries out this call.
    Tool(ToolRef),
    /// It has a span of its own.
    Own(SpanContext),
}

impl Correlation {
    /// Notes which process is the server of which: only clients ask this.
    pub(super) fn learn_server(&mut self, info: &ProcessInfo, call: &McpCall) {
        let asks = ["initialize", "server/discover", "tools/", "prompts/", "resources/"];
        let Some(peer) = call.peer.filter(|_| asks.iter().any(|ask| call.method.starts_with(ask))) else { return };
        let (agent, server) = match call.role {
            Role::Client => (info.key, peer),
            Role::Server => (peer, info.key),
        };
        if self.servers.agents.len() >= SERVERS && !self.servers.agents.contains_key(&server) {
            self.servers.agents.clear();
        }
        self.servers.agents.insert(server, agent);
    }

    /// Forgets a server that ended.
    pub(super) fn forget_server(&mut self, key: ProcessKey) {
        self.servers.agents.remove(&key);
    }

    /// What a new program of a server waits for: the server may be at work for a call that is open.
    pub(super) fn serves(&self, info: &ProcessInfo, ancestors: &[ProcessKey]) -> Option<Waits> {
        let proc = self.processes.get(&info.key).filter(|proc| !proc.barred && proc.own.is_none())?;
        // One that a program of the server started hangs below that one.
        let owner = proc.origin?.owner;
        let (server, agent) = (owner, *self.servers.agents.get(&owner)?);
        ancestors.contains(&agent).then(|| Waits::Server { server, agent, requests: Vec::new() })
    }

    /// Lets go what no request was told for: nothing more is under way.
    pub(super) fn expire_served(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        while let Some((time, root)) = self.servers.waiting.first().copied()
            && time.plus(LATE) <= now
        {
            self.servers.waiting.pop_first();
            let Some(held) = self.held.get(&root) else { continue };
            let Waits::Server { agent, .. } = held.waits else { continue };
            let possible =
                held.observations.first().is_some_and(|first| self.possible(agent, &first.process).next().is_some());
            if !possible {
                self.release(root, Decided::Nothing, out);
            }
        }
    }

    fn is_served(&self, key: ProcessKey) -> bool {
        let owner = self.processes.get(&key).and_then(|proc| proc.origin).map(|origin| origin.owner);
        owner.is_some_and(|owner| self.servers.agents.contains_key(&owner))
    }

    /// Open calls of an agent that a server may have been at work for when this process started.
    fn possible(&self, agent: ProcessKey, info: &ProcessInfo) -> impl Iterator<Item = ToolRef> {
        let started = info.started;
        let turns = self.processes.get(&agent).map(|proc| proc.turns.as_slice()).unwrap_or_default();
        let turns = turns.iter().filter_map(|id| self.turns.get(id).map(|turn| (*id, turn)));
        turns.flat_map(move |(id, turn)| {
            let open = turn.tools.iter().filter(move |(_, tool)| {
                // Over before it started, or with a process that is not this server's.
                let over = tool.mcp.as_ref().is_some_and(|call| call.ended < started || call.started > started);
                let elsewhere = tool.process.is_some_and(|process| !self.is_served(process.key)) && tool.mcp.is_none();
                tool.asked <= started && !over && !elsewhere && !tool.prompted
            });
            open.map(move |(ordinal, _)| ToolRef { turn: id, ordinal: *ordinal, agent })
        })
    }

    /// A request was answered: what its server started meanwhile belongs to it, if nothing else can have been the reason.
    pub(super) fn answered(
        &mut self,
        info: &ProcessInfo,
        call: &McpCall,
        place: Request,
        out: &mut Vec<Observation>,
    ) -> Option<ProcessKey> {
        let peer = call.peer.filter(|_| call.role == Role::Client)?;
        let waiting: Vec<ProcessKey> = self
            .held
            .iter()
            .filter(|(_, held)| {
                let started = held.observations.first().map(|first| first.process.started);
                matches!(held.waits, Waits::Server { server, agent, .. } if server == peer && agent == info.key)
                    && started.is_some_and(|started| call.started <= started && started <= call.ended)
            })
            .map(|(root, _)| *root)
            .collect();
        let mut first = None;
        for root in waiting {
            let Some(held) = self.held.get(&root) else { continue };
            let Some(started) = held.observations.first().map(|first| first.process.clone()) else { continue };
            let Waits::Server { requests, .. } = &held.waits else { continue };
            let known = requests.clone();
            let other = |other: ToolRef| match place {
                Request::Tool(tool) => other != tool,
                Request::Own(_) => true,
            };
            let only = known.is_empty() && !self.possible(info.key, &started).any(other);
            match (place, only) {
                (Request::Tool(tool), true) => self.release(root, Decided::Runs(tool), out),
                (Request::Own(context), true) => {
                    first = first.or(Some(root));
                    self.release(root, Decided::Under(context), out);
                }
                (Request::Tool(tool), false) => {
                    if let Some(held) = self.held.get_mut(&root)
                        && let Waits::Server { requests, .. } = &mut held.waits
                    {
                        requests.push(tool);
                    }
                }
                (Request::Own(_), false) => self.release(root, Decided::Nothing, out),
            }
        }
        first
    }

    /// Decides on what servers started, before calls of this turn close.
    pub(super) fn settle_served(&mut self, turn: u64, out: &mut Vec<Observation>) {
        let Some(key) = self.turns.get(&turn).map(|turn| turn.agent) else { return };
        let waiting: Vec<(ProcessKey, Decided)> = self
            .held
            .iter()
            .filter_map(|(root, held)| match &held.waits {
                Waits::Server { agent, requests, .. } if *agent == key => {
                    let started = &held.observations.first()?.process;
                    let elsewhere = self.possible(key, started).any(|other| other.turn != turn);
                    match requests.as_slice() {
                        // Another thread's request may be under way.
                        [] if elsewhere => None,
                        [tool] if tool.turn == turn && !elsewhere => Some((*root, Decided::Runs(*tool))),
                        _ => Some((*root, Decided::Nothing)),
                    }
                }
                _ => None,
            })
            .collect();
        for (root, decided) in waiting {
            self.release(root, decided, out);
        }
    }
}
