//! Processes: their places in traces, and the tool calls that they run.

use pipeline::{
    Kind, Observation, ProcessKey, SpanContext, Timestamp,
    observation::{Exit, Link, Match, Process, ProcessInfo, ProcessPhase, TurnEnd},
};
use std::{collections::VecDeque, sync::Arc};

use super::{
    Correlation,
    heirs::same_agent,
    ids,
    linking::Verdict,
    state::{Decided, Place, Proc, ToolRef, Waits},
};

/// Most ancestors that are remembered.
const LINEAGE: usize = 64;
/// Most processes that are remembered.
const PROCESSES: usize = 65_536;
/// Most programs that are remembered for a call that is seen late.
const RECENT: usize = 512;

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
            spawned: VecDeque::new(),
            prompted: false,
            turns: Vec::new(),
            shapes: Vec::new(),
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
        // What has ended goes first: of what still runs, more may come.
        while self.processes.len() >= PROCESSES
            && let Some((_, key)) = self.ended.pop_first()
        {
            if self.processes.contains_key(&key) {
                self.forget(key);
                self.evicted_processes.add(1);
            }
        }
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
        self.forget_server(key);
    }

    /// All known ancestors, nearest first.
    pub(super) fn ancestors(&self, key: ProcessKey) -> Vec<ProcessKey> {
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
        let spanless = info.exec_count == 0 && info.parent.is_some();
        Place { context, spanless, in_turn: false, tool: None, owner: info.key, link: None }
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
                let place = self.place_of(&info);
                (observation.context, observation.link) = (Some(place.context), place.link);
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
            (observation.context, observation.link) = (Some(place.context), place.link);
            out.push(observation);
            return;
        }
        let origin = self.processes.get(&info.key).and_then(|proc| proc.origin);
        if let (None, Some(origin), 0) = (&before, origin, info.exec_count) {
            // It was found running its parent's program.
            observation.context = Some(origin.context);
            out.push(observation);
            return;
        }
        self.note_own_command(info, out);
        let place = match self.decide(info, before.as_ref().map(|((place, _), _)| *place), time, out) {
            Ok(place) => place,
            Err(waits) => {
                self.hold(observation, waits, out);
                return;
            }
        };
        let again = before.is_some();
        if let Some(((old, _), old_info)) = before {
            // A new program in the same process: an agent that was there is gone, unless it is the same one again.
            if same_agent(&old_info, info) {
                self.hand(info.key);
            } else {
                self.close_all(info.key, TurnEnd::Exit, time, out);
            }
            let phase = ProcessPhase::Replaced;
            let mut replaced = Observation::new(time, old_info, Kind::Process(Box::new(Process { phase })));
            (replaced.context, replaced.link) = (Some(old.context), old.link);
            out.push(replaced);
        }
        if let Some(proc) = self.processes.get_mut(&info.key) {
            proc.own = Some((place, info.exec_count));
        }
        self.stir(info, place);
        if !again {
            self.note_unasked(info, place, time);
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(info.clone());
        (observation.context, observation.link) = (Some(place.context), place.link);
        out.push(observation);
    }

    /// Where a new program stands, or the call for which it must wait.
    fn decide(
        &mut self,
        info: &Arc<ProcessInfo>,
        before: Option<Place>,
        time: Timestamp,
        out: &mut Vec<Observation>,
    ) -> Result<Place, Waits> {
        let origin = self.processes.get(&info.key).and_then(|proc| proc.origin);
        let span_id = ids::process_span(info);
        let under = |parent: SpanContext, in_turn: bool, tool: Option<ToolRef>, link: Option<Link>| Place {
            context: SpanContext { trace_id: parent.trace_id, span_id, parent_span_id: Some(parent.span_id) },
            spanless: false,
            in_turn,
            tool,
            owner: info.key,
            link,
        };
        let again = |old: Place| Place {
            context: SpanContext { span_id, ..old.context },
            spanless: false,
            in_turn: old.in_turn,
            tool: old.tool,
            owner: info.key,
            link: old.link,
        };
        // What a call's process starts belongs to the call; only agents below it can still claim it.
        let inherited = origin.and_then(|origin| origin.tool);
        if let Some(old) = before.filter(|old| old.tool.is_some() && old.tool != inherited) {
            return Ok(again(old));
        }
        let ancestors = self.below(self.ancestors(info.key), inherited);
        let forced = self.verdicts.remove(&info.key);
        if forced.is_some()
            && let Some(proc) = self.processes.get_mut(&info.key)
        {
            proc.barred = true;
        }
        let verdict = match forced {
            Some(Decided::Under(request)) => return Ok(under(request, true, inherited, Some(Link::Sole))),
            Some(Decided::Runs(tool)) => {
                // A server may run several programs for one request: the first stands for the call.
                if let Some(context) = self.tool(tool).filter(|tool| tool.process.is_some()).map(|tool| tool.context) {
                    return Ok(under(context, true, Some(tool), Some(Link::Sole)));
                }
                Verdict::Runs(tool, Match::Sole)
            }
            _ => self.verdict(info, &ancestors),
        };
        match verdict {
            Verdict::Runs(tool, matched) => {
                if let Some(context) = self.link(tool, info, matched, out) {
                    return Ok(under(context, true, Some(tool), Some(matched.into())));
                }
            }
            Verdict::Ambiguous => {}
            Verdict::None => {
                if let Some(tool) = self.sole(info, &ancestors, origin) {
                    let waiting = self.held.iter().find(|(_, held)| held.waits.is_call(tool)).map(|(root, _)| *root);
                    match waiting {
                        None => return Err(Waits::Call(tool)),
                        // Two that might be it: neither is.
                        Some(root) => {
                            self.with_tool(tool, |tool| tool.ambiguous = true);
                            self.release(root, Decided::Nothing, out);
                        }
                    }
                } else if let Some(waits) = self.serves(info, &ancestors) {
                    return Err(waits);
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
            return Ok(under(turn.place(), true, inherited, Some(Link::Turn)));
        }
        let mut place = under(origin.context, origin.in_turn, inherited, None);
        if origin.spanless {
            place.context.parent_span_id = None;
        }
        Ok(place)
    }

    /// The ancestors below the agent that made a call.
    pub(super) fn below(&self, mut ancestors: Vec<ProcessKey>, tool: Option<ToolRef>) -> Vec<ProcessKey> {
        let end = tool.and_then(|tool| ancestors.iter().position(|key| *key == tool.agent));
        ancestors.truncate(end.unwrap_or(ancestors.len()));
        ancestors
    }

    /// The agent that started a process: the owner of the program that it was forked from, or a fork of that one.
    pub(super) fn agent_between(&self, ancestors: &[ProcessKey], owner: ProcessKey) -> Option<ProcessKey> {
        let end = ancestors.iter().position(|key| *key == owner).map_or(0, |at| at + 1);
        let between = ancestors.get(..end)?;
        between.iter().copied().find(|key| self.processes.get(key).is_some_and(|proc| !proc.turns.is_empty()))
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
        match self.heir(info.key) {
            Some(heir) => self.inherit_all(info.key, heir, time),
            None => self.close_all(info.key, TurnEnd::Exit, time, out),
        }
        // One that only forked has no span that could end.
        observation.context = own.map(|place| place.context);
        observation.link = own.and_then(|place| place.link);
        out.push(observation);
        self.ended.insert((time, info.key));
    }
}
