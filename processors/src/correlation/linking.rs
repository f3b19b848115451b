//! Which call a process runs: by the call's id, by its command, or because no other is open.

use pipeline::{
    Observation, ProcessKey, SpanContext,
    observation::{Match, ProcessInfo},
};

use super::{
    Correlation,
    command::Fit,
    state::{Decided, Linked, Place, ToolRef},
};

/// What calls say of a new process.
pub enum Verdict {
    /// Nothing.
    None,
    /// It fits several calls, or one that has its process already.
    Ambiguous,
    /// It runs this call.
    Runs(ToolRef, Match),
}

impl Correlation {
    /// Which open call of its ancestors a process runs, by the call's id or by its command.
    pub(super) fn verdict(&mut self, info: &ProcessInfo, ancestors: &[ProcessKey]) -> Verdict {
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
    pub(super) fn sole(&self, info: &ProcessInfo, ancestors: &[ProcessKey], origin: Option<Place>) -> Option<ToolRef> {
        let proc = self.processes.get(&info.key).filter(|proc| !proc.barred && proc.own.is_none())?;
        let agent = self.agent_between(ancestors, proc.origin.or(origin)?.owner)?;
        let mut open = self.processes.get(&agent)?.turns.iter().flat_map(|turn| {
            let tools = self.turns.get(turn).into_iter().flat_map(|turn| &turn.tools);
            tools.map(|(ordinal, tool)| (ToolRef { turn: *turn, ordinal: *ordinal, agent }, tool))
        });
        let mut running = open.by_ref().filter(|(_, tool)| !tool.commands.is_empty());
        let (place, tool) = running.next()?;
        let fits = tool.process.is_none() && tool.mcp.is_none() && !tool.ambiguous && tool.asked <= info.started;
        (fits && running.next().is_none() && tool.commands.may_run(info)).then_some(place)
    }

    /// Ties a process to a call. `None` if the call is closed or has one already.
    pub(super) fn link(
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
        let fit = tool.commands.fit(info);
        if matched != Match::Sole
            && let Some(fit) = fit
        {
            self.learn_shape(place, info, matches!(fit, Fit::Equal(_)));
        }
        if matched != Match::Sole
            && let Some(root) = self.held.iter().find(|(_, held)| held.waits.is_call(place)).map(|(root, _)| *root)
        {
            self.release(root, Decided::Nothing, out);
        }
        Some(context)
    }

    /// Looks for processes of a turn's new calls among those that started since the last piece of the answer: agents
    /// begin to work before the answer's end is seen.
    pub(super) fn adopt(&mut self, id: u64, out: &mut Vec<Observation>) {
        let Some(turn) = self.turns.get(&id) else { return };
        let since = turn.last.asked;
        if !turn.tools.values().any(|tool| tool.asked == since) {
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
            let link = Some(matched.into());
            if let Some(proc) = self.processes.get_mut(&info.key) {
                proc.own = Some((Place { context: moved, in_turn: true, tool: Some(tool), link, ..own }, count));
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
}
