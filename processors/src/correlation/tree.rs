//! Processes: their places in traces, and the tool calls that they run.

use pipeline::{
    Kind, Observation, ProcessKey, SpanContext, Timestamp,
    observation::{Exit, Match, Process, ProcessInfo, ProcessPhase, TurnEnd},
};
use std::sync::Arc;

use super::{
    Correlation, ids,
    state::{Held, Linked, Place, Proc, ToolRef},
};
use crate::identity::agents;

/// Most ancestors that are remembered.
const LINEAGE: usize = 64;
/// Most processes that are remembered.
const PROCESSES: usize = 65_536;
/// Most programs that are remembered for a call that is seen late.
const RECENT: usize = 512;
/// Most observations that wait for decisions.
const HELD: usize = 8_192;

/// What calls say of a new process.
enum Verdict {
    /// Nothing.
    None,
    /// It fits several calls, or one that has its process already.
    Ambiguous,
    /// It runs this call.
    Runs(ToolRef, Match),
}

impl Correlation {
    /// Remembers a process.
    pub(super) fn ensure(&mut self, info: &Arc<ProcessInfo>) -> &mut Proc {
        let key = info.key;
        self.clock += 1;
        let used = self.clock;
        if let Some(proc) = self.processes.get(&key) {
            self.order.remove(&proc.used);
        }
        self.order.insert(used, key);
        if !self.processes.contains_key(&key) {
            self.make_room();
        }
        let (lineage, origin) = match info.parent.filter(|parent| *parent != key) {
            Some(parent) if !self.processes.contains_key(&key) => {
                let above = self.processes.get(&parent);
                let further = above.map(|proc| proc.lineage.as_slice()).unwrap_or_default();
                let lineage = std::iter::once(parent).chain(further.iter().copied()).take(LINEAGE).collect();
                (lineage, above.and_then(Proc::place))
            }
            _ => (Vec::new(), None),
        };
        let proc = self.processes.entry(key).or_insert_with(|| Proc {
            info: info.clone(),
            lineage,
            origin,
            own: None,
            barred: false,
            turns: Vec::new(),
            number: 0,
            exit: None,
            session: None,
            used,
        });
        proc.used = used;
        proc.info = info.clone();
        proc
    }

    fn make_room(&mut self) {
        let mut tries = self.order.len();
        while self.processes.len() >= PROCESSES && tries > 0 {
            tries -= 1;
            let Some((_, key)) = self.order.pop_first() else { return };
            match self.processes.get_mut(&key) {
                Some(proc) if !proc.turns.is_empty() => {
                    self.clock += 1;
                    proc.used = self.clock;
                    self.order.insert(self.clock, key);
                }
                _ => {
                    self.processes.remove(&key);
                    self.evicted_processes.add(1);
                }
            }
        }
    }

    /// Forgets a process that ended a while ago.
    pub(super) fn forget(&mut self, key: ProcessKey) {
        if let Some(proc) = self.processes.remove(&key) {
            self.order.remove(&proc.used);
        }
        self.members.remove(&key);
        self.verdicts.remove(&key);
    }

    /// All known ancestors, nearest first.
    fn ancestors(&self, key: ProcessKey) -> Vec<ProcessKey> {
        let mut all: Vec<ProcessKey> = Vec::new();
        let mut next = Some(key);
        while let Some(proc) = next.and_then(|key| self.processes.get(&key))
            && all.len() < LINEAGE
            && !proc.lineage.is_empty()
        {
            all.extend(proc.lineage.iter().take(LINEAGE - all.len()));
            next = all.last().copied();
        }
        all
    }

    /// The place of a process that nothing is known of but itself: the root of a trace.
    pub(super) fn root(info: &ProcessInfo) -> Place {
        let context =
            SpanContext { trace_id: ids::process_trace(info), span_id: ids::process_span(info), parent_span_id: None };
        Place { context, in_turn: false, tool: None, owner: info.key }
    }

    /// The place of a process; if it has none, it becomes a root.
    pub(super) fn place_of(&mut self, info: &Arc<ProcessInfo>) -> Place {
        let proc = self.ensure(info);
        if let Some(place) = proc.place() {
            return place;
        }
        let place = Self::root(info);
        proc.own = Some((place, info.exec_count));
        place
    }

    /// Takes what happened to a process.
    pub(super) fn process_event(
        &mut self,
        mut observation: Observation,
        phase: ProcessPhase,
        out: &mut Vec<Observation>,
    ) {
        let info = observation.process.clone();
        match phase {
            ProcessPhase::Fork => {
                // Without a known parent it gets a place of its own when it executes something.
                let place = self.ensure(&info).place().unwrap_or_else(|| Self::root(&info));
                observation.context = Some(place.context);
                self.stir(&info, place);
                out.push(observation);
            }
            ProcessPhase::Exec | ProcessPhase::Found => self.executed(observation, &info, out),
            ProcessPhase::Replaced => {
                observation.context = Some(self.place_of(&info).context);
                out.push(observation);
            }
            ProcessPhase::Exit(exit) => self.exited(observation, &info, exit, out),
        }
    }

    fn executed(&mut self, mut observation: Observation, info: &Arc<ProcessInfo>, out: &mut Vec<Observation>) {
        let time = observation.time;
        let before = self.processes.get(&info.key).and_then(|proc| proc.own.map(|own| (own, proc.info.clone())));
        self.ensure(info);
        self.learn_session(info);
        if let Some(((place, count), _)) = &before
            && *count == info.exec_count
        {
            // Seen before: nothing new but what is known of it.
            observation.context = Some(place.context);
            out.push(observation);
            return;
        }
        let place = match self.decide(info, before.as_ref().map(|((place, _), _)| *place), time, out) {
            Ok(place) => place,
            Err(tool) => {
                self.hold(observation, tool, out);
                return;
            }
        };
        if let Some(((old, _), old_info)) = before {
            // A new program in the same process: an agent that was there is gone.
            self.close_all(info.key, TurnEnd::Exit, time, out);
            let phase = ProcessPhase::Replaced;
            let mut replaced = Observation::new(time, old_info, Kind::Process(Box::new(Process { phase })));
            replaced.context = Some(old.context);
            out.push(replaced);
        }
        if let Some(proc) = self.processes.get_mut(&info.key) {
            proc.own = Some((place, info.exec_count));
        }
        self.stir(info, place);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(info.clone());
        observation.context = Some(place.context);
        out.push(observation);
    }

    /// Looks for processes of a turn's new calls among those that started since the last piece of the answer: agents
    /// begin to work before the answer's end is seen.
    pub(super) fn adopt(&mut self, id: u64, out: &mut Vec<Observation>) {
        let Some(turn) = self.turns.get(&id) else { return };
        let since = turn.last.asked;
        if !turn.tools.values().any(|tool| tool.asked == since && !tool.commands.is_empty()) {
            return;
        }
        let late: Vec<_> = self.recent.iter().filter(|info| info.started >= since).cloned().collect();
        for info in late {
            let Some(proc) = self.processes.get(&info.key) else { continue };
            let inherited = proc.origin.and_then(|origin| origin.tool);
            let Some((own, count)) = proc.own.filter(|(own, _)| own.tool == inherited) else { continue };
            let exit = proc.exit;
            let ancestors = self.below(self.ancestors(info.key), inherited);
            let Verdict::Runs(tool, matched) = self.verdict(&info, &ancestors) else { continue };
            if tool.turn != id {
                continue;
            }
            let Some(context) = self.link(tool, &info, matched, out) else { continue };
            if let Some(linked) =
                self.turns.get_mut(&id).and_then(|turn| turn.tools.get_mut(&tool.ordinal)?.process.as_mut())
            {
                linked.exit = exit;
            }
            // What it and its children tell from now on stands under the call.
            let moved = SpanContext {
                trace_id: context.trace_id,
                span_id: own.context.span_id,
                parent_span_id: Some(context.span_id),
            };
            let old = own.context.trace_id;
            if let Some(proc) = self.processes.get_mut(&info.key) {
                proc.own = Some((Place { context: moved, in_turn: true, tool: Some(tool), ..own }, count));
            }
            for proc in self.processes.values_mut().filter(|proc| proc.lineage.contains(&info.key)) {
                let (origin, own) = (proc.origin.as_mut(), proc.own.as_mut().map(|(place, _)| place));
                for place in [origin, own].into_iter().flatten() {
                    if place.context.trace_id == old && place.tool == inherited {
                        (place.context.trace_id, place.in_turn, place.tool) = (context.trace_id, true, Some(tool));
                    }
                }
            }
        }
    }

    /// Where a new program stands, or the call for which it must wait.
    fn decide(
        &mut self,
        info: &Arc<ProcessInfo>,
        before: Option<Place>,
        time: Timestamp,
        out: &mut Vec<Observation>,
    ) -> Result<Place, ToolRef> {
        let origin = self.processes.get(&info.key).and_then(|proc| proc.origin);
        let span_id = ids::process_span(info);
        let under = |parent: SpanContext, in_turn: bool, tool: Option<ToolRef>| Place {
            context: SpanContext { trace_id: parent.trace_id, span_id, parent_span_id: Some(parent.span_id) },
            in_turn,
            tool,
            owner: info.key,
        };
        let again = |old: Place| Place {
            context: SpanContext { span_id, ..old.context },
            in_turn: old.in_turn,
            tool: old.tool,
            owner: info.key,
        };
        // What a call's process starts belongs to the call; only agents below it can still claim it.
        let inherited = origin.and_then(|origin| origin.tool);
        if let Some(old) = before.filter(|old| old.tool.is_some() && old.tool != inherited) {
            return Ok(again(old));
        }
        let ancestors = self.below(self.ancestors(info.key), inherited);
        let forced = self.verdicts.remove(&info.key);
        if forced == Some(None)
            && let Some(proc) = self.processes.get_mut(&info.key)
        {
            proc.barred = true;
        }
        let verdict = match forced {
            Some(Some(tool)) => Verdict::Runs(tool, Match::Sole),
            _ => self.verdict(info, &ancestors),
        };
        match verdict {
            Verdict::Runs(tool, matched) => {
                if let Some(context) = self.link(tool, info, matched, out) {
                    return Ok(under(context, true, Some(tool)));
                }
            }
            Verdict::Ambiguous => {}
            Verdict::None => {
                if let Some(tool) = self.sole(info, &ancestors, origin) {
                    let waiting = self.held.iter().find(|(_, held)| held.tool == tool).map(|(root, _)| *root);
                    match waiting {
                        None => return Err(tool),
                        // Two that might be it: neither is.
                        Some(root) => {
                            self.with_tool(tool, |tool| tool.ambiguous = true);
                            self.release(root, None, out);
                        }
                    }
                }
            }
        }
        if let Some(old) = before {
            return Ok(again(old));
        }
        let Some(origin) = origin else { return Ok(Self::root(info)) };
        // A child of the agent itself is its housekeeping: part of the turn, if there is exactly one.
        if let Some(agent) = self.agent_between(&ancestors, origin.owner)
            && let Some(proc) = self.processes.get(&agent)
            && let [turn] = proc.turns.as_slice()
            && let Some(turn) = self.turns.get_mut(turn)
        {
            turn.ended = turn.ended.max(time);
            turn.deadline = turn.deadline.max(time.plus(self.config.turn_idle_timeout.0));
            return Ok(under(turn.context, true, inherited));
        }
        Ok(under(origin.context, origin.in_turn, inherited))
    }

    /// The ancestors below the agent that made a call.
    fn below(&self, mut ancestors: Vec<ProcessKey>, tool: Option<ToolRef>) -> Vec<ProcessKey> {
        let end = tool.and_then(|tool| ancestors.iter().position(|key| *key == tool.agent));
        ancestors.truncate(end.unwrap_or(ancestors.len()));
        ancestors
    }

    /// The agent that started a process: the owner of the program that it was forked from, or a fork of that one.
    fn agent_between(&self, ancestors: &[ProcessKey], owner: ProcessKey) -> Option<ProcessKey> {
        let end = ancestors.iter().position(|key| *key == owner).map_or(0, |at| at + 1);
        let between = ancestors.get(..end)?;
        between.iter().copied().find(|key| self.processes.get(key).is_some_and(|proc| !proc.turns.is_empty()))
    }

    /// Which open call of its ancestors a process runs, by the call's id or by its command.
    fn verdict(&mut self, info: &ProcessInfo, ancestors: &[ProcessKey]) -> Verdict {
        let call_id = info.markers.get("CODEX_TOOL_CALL_ID");
        for agent in ancestors {
            let Some(proc) = self.processes.get(agent) else { continue };
            let mut by_id = None;
            let mut best = None;
            let mut fitting: Vec<ToolRef> = Vec::new();
            for turn in &proc.turns {
                let tools = self.turns.get(turn).into_iter().flat_map(|turn| &turn.tools);
                for (ordinal, tool) in tools.filter(|(_, tool)| tool.asked <= info.started) {
                    let place = ToolRef { turn: *turn, ordinal: *ordinal, agent: *agent };
                    if call_id.is_some() && tool.id.as_ref() == call_id {
                        by_id = Some((place, tool.process.is_some()));
                    }
                    match tool.commands.fit(info) {
                        Some(fit) if best.is_none_or(|best| fit > best) => {
                            best = Some(fit);
                            fitting = vec![place];
                        }
                        Some(fit) if best == Some(fit) => fitting.push(place),
                        _ => {}
                    }
                }
            }
            match (by_id, fitting.as_slice()) {
                (Some((tool, false)), _) => return Verdict::Runs(tool, Match::CallId),
                (Some((_, true)), _) => return Verdict::Ambiguous,
                (None, []) => {}
                (None, [tool]) => {
                    let free = self.tool(*tool).is_some_and(|tool| tool.process.is_none() && !tool.ambiguous);
                    return if free { Verdict::Runs(*tool, Match::Command) } else { Verdict::Ambiguous };
                }
                (None, _) => {
                    for tool in fitting {
                        self.with_tool(tool, |tool| tool.ambiguous = true);
                    }
                    return Verdict::Ambiguous;
                }
            }
        }
        Verdict::None
    }

    /// The call for which this process is a candidate because no other is open.
    fn sole(&self, info: &ProcessInfo, ancestors: &[ProcessKey], origin: Option<Place>) -> Option<ToolRef> {
        let proc = self.processes.get(&info.key).filter(|proc| !proc.barred && proc.own.is_none())?;
        let agent = self.agent_between(ancestors, proc.origin.or(origin)?.owner)?;
        let mut open = self.processes.get(&agent)?.turns.iter().flat_map(|turn| {
            let tools = self.turns.get(turn).into_iter().flat_map(|turn| &turn.tools);
            tools.map(|(ordinal, tool)| (ToolRef { turn: *turn, ordinal: *ordinal, agent }, tool))
        });
        let mut running = open.by_ref().filter(|(_, tool)| !tool.commands.is_empty());
        let (place, tool) = running.next()?;
        let fits = tool.process.is_none() && !tool.ambiguous && tool.asked <= info.started;
        (fits && running.next().is_none() && tool.commands.may_run(info)).then_some(place)
    }

    /// Ties a process to a call. `None` if the call is closed or has one already.
    fn link(
        &mut self,
        place: ToolRef,
        info: &ProcessInfo,
        matched: Match,
        out: &mut Vec<Observation>,
    ) -> Option<SpanContext> {
        let turn = self.turns.get_mut(&place.turn)?;
        let tool = turn.tools.get_mut(&place.ordinal).filter(|tool| tool.process.is_none())?;
        tool.process = Some(Linked { key: info.key, started: info.started, matched, exit: None });
        let context = tool.context;
        if matched != Match::Sole
            && let Some(root) = self.held.iter().find(|(_, held)| held.tool == place).map(|(root, _)| *root)
        {
            self.release(root, None, out);
        }
        Some(context)
    }

    /// Keeps an observation until it is known whether the agent had already gone on when it happened.
    fn hold(&mut self, observation: Observation, tool: ToolRef, out: &mut Vec<Observation>) {
        let root = observation.process.key;
        self.members.insert(root, root);
        let held = Held { tool, executed: observation.time, observations: vec![observation] };
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
            self.release(root, None, out);
        }
    }

    /// Decides on a held process and lets its observations go on.
    pub(super) fn release(&mut self, root: ProcessKey, tool: Option<ToolRef>, out: &mut Vec<Observation>) {
        let Some(held) = self.held.remove(&root) else { return };
        self.members.retain(|_, of| *of != root);
        self.held_count = self.held_count.saturating_sub(held.observations.len());
        self.verdicts.insert(root, tool);
        for observation in held.observations {
            self.take(observation, out);
        }
        self.verdicts.remove(&root);
    }

    /// Notes for open calls of the agents above that a process started which none of them claims.
    fn stir(&mut self, info: &ProcessInfo, place: Place) {
        self.process_events = true;
        if self.turns.is_empty() {
            return;
        }
        for agent in self.below(self.ancestors(info.key), place.tool) {
            let turns = self.processes.get(&agent).map(|proc| proc.turns.clone()).unwrap_or_default();
            for turn in turns {
                let tools = self.turns.get_mut(&turn).into_iter().flat_map(|turn| turn.tools.values_mut());
                tools.for_each(|tool| tool.stirred = true);
            }
        }
    }

    /// Children are told the session of the agent above them.
    fn learn_session(&mut self, info: &ProcessInfo) {
        if info.markers.is_empty() {
            return;
        }
        for above in self.ancestors(info.key) {
            let Some(proc) = self.processes.get(&above) else { continue };
            let Some(agent) = proc.info.agent.as_ref().filter(|agent| agent.known) else { continue };
            let variable = agents::by_name(&agent.name).and_then(|row| row.session);
            let told = variable.and_then(|variable| info.markers.get(variable));
            let own = variable.and_then(|variable| proc.info.markers.get(variable));
            // What the agent itself inherited is not its own.
            if let Some(told) = told.filter(|told| !told.is_empty() && Some(*told) != own)
                && let Some(proc) = self.processes.get_mut(&above)
            {
                proc.session = Some(told.clone());
            }
            return;
        }
    }

    /// The session in an agent's own environment, unless an agent of the same kind above it put it there.
    pub(super) fn own_session(&self, info: &ProcessInfo) -> Option<String> {
        let agent = info.agent.as_ref().filter(|agent| agent.known)?;
        let value = info.markers.get(agents::by_name(&agent.name)?.session?).filter(|value| !value.is_empty())?;
        let inherited = self.ancestors(info.key).iter().any(|above| {
            let above = self.processes.get(above).and_then(|proc| proc.info.agent.as_ref());
            above.is_some_and(|above| above.known && above.name == agent.name)
        });
        (!inherited).then(|| value.clone())
    }

    fn exited(
        &mut self,
        mut observation: Observation,
        info: &Arc<ProcessInfo>,
        exit: Exit,
        out: &mut Vec<Observation>,
    ) {
        let time = observation.time;
        let proc = self.ensure(info);
        if proc.own.is_none() && info.exec_count > 0 {
            // Its exec was not seen or is forgotten.
            let mut place = Self::root(info);
            if let Some(origin) = proc.origin {
                place.context.trace_id = origin.context.trace_id;
                place.context.parent_span_id = Some(origin.context.span_id);
                (place.in_turn, place.tool) = (origin.in_turn, origin.tool);
            }
            proc.own = Some((place, info.exec_count));
        }
        let own = proc.own.map(|(place, _)| place);
        if let Some(tool) = proc.place().and_then(|place| place.tool)
            && let Some(turn) = self.turns.get_mut(&tool.turn)
            && let Some(linked) = turn.tools.get_mut(&tool.ordinal).and_then(|tool| tool.process.as_mut())
            && linked.key == info.key
            && linked.exit.is_none()
        {
            linked.exit = Some((time, exit));
            turn.ended = turn.ended.max(time);
            turn.deadline = turn.deadline.max(time.plus(self.config.turn_idle_timeout.0));
        }
        if let Some(proc) = self.processes.get_mut(&info.key) {
            proc.exit = Some((time, exit));
        }
        self.close_all(info.key, TurnEnd::Exit, time, out);
        // One that only forked has no span that could end.
        observation.context = own.map(|place| place.context);
        out.push(observation);
        self.ended.insert((time, info.key));
    }
}
