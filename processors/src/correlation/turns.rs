//! Model calls: the turns that they make, and the tools that they ask for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pipeline::{
    Kind, Observation, ProcessKey, SpanContext, Timestamp,
    observation::{
        AgentTurn, Evidence, Finding, Link, LossReason, Match, ModelCall, Part, ProcessInfo, Severity, ToolCall,
        ToolContent, ToolResult, TurnEnd, Usage, parsed_json,
    },
};

use super::{
    Correlation,
    command::{Commands, starts_agent},
    config::Instrumented,
    gateway, ids,
    state::{Decided, LastCall, Linked, Tool, ToolRef, Turn, Waits},
    subagents,
};

/// Most open turns of all agents.
const TURNS: usize = 4_096;
/// Most open tool calls of a turn.
const TOOLS: usize = 1_024;

/// What a call is in an open turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The same request again.
    Retry,
    /// The next step.
    Next,
    /// The user's next message.
    User,
}

impl Correlation {
    /// The call that a place names, if it is open.
    pub(super) fn tool(&self, place: ToolRef) -> Option<&Tool> {
        self.turns.get(&place.turn)?.tools.get(&place.ordinal)
    }

    /// Changes a call, if it is open.
    pub(super) fn with_tool(&mut self, place: ToolRef, change: impl FnOnce(&mut Tool)) {
        if let Some(tool) = self.turns.get_mut(&place.turn).and_then(|turn| turn.tools.get_mut(&place.ordinal)) {
            change(tool);
        }
    }

    /// Takes a call to a model.
    pub(super) fn model_call(&mut self, observation: Observation, call: ModelCall, out: &mut Vec<Observation>) {
        let info = observation.process.clone();
        self.place_of(&info);
        let found = self.find(info.key, &call);
        if gateway::is_gateway(&info) && found.is_none() && !self.ran_itself(&info, &call) {
            return self.gateway_call(observation, call, out);
        }
        self.agents_call(observation, call, found, out);
    }

    /// Takes a call that an agent makes for itself, and what it is found to be in an open turn.
    pub(super) fn agents_call(
        &mut self,
        observation: Observation,
        mut call: ModelCall,
        found: Option<(u64, Step, Link)>,
        out: &mut Vec<Observation>,
    ) {
        let info = observation.process.clone();
        let found = found.or_else(|| self.take_over(&info, &call).map(|turn| (turn, Step::Next, Link::Heir)));
        if let Some((turn, ..)) = found {
            self.settle(turn, Some(call.started), false, out);
        }
        let id = match found {
            Some((turn, Step::User, _)) => {
                self.close(turn, TurnEnd::Superseded, call.started, out);
                self.open(&observation, &call, out)
            }
            Some((turn, ..)) => {
                self.answer_tools(turn, &call, out);
                turn
            }
            None => self.open(&observation, &call, out),
        };
        let conversation = self.conversation(id, &info, &call);
        let idle = self.config.turn_idle_timeout.0;
        let Some(turn) = self.turns.get_mut(&id) else { return };
        let asked = asked(&call);
        let handed = std::mem::take(&mut turn.handed);
        let link = found.filter(|(_, step, _)| *step != Step::User).map(|(.., link)| link);
        let mut link = if handed { link.map(|_| Link::Heir) } else { link };
        let outcome = outcome(&call);
        turn.info = info.clone();
        turn.left = None;
        turn.conversation.clone_from(&conversation);
        turn.provider = Some(call.provider.clone());
        turn.calls = turn.calls.saturating_add(1);
        turn.sum_up(&call);
        turn.ended = turn.ended.max(call.ended);
        turn.deadline = turn.deadline.max(call.ended.plus(idle));
        turn.messages.clone_from(&call.thread.messages);
        turn.keep_content(&call);
        if let Some(reply) = &call.reply.id {
            turn.remember(reply);
        }
        let failed = call.error.as_ref().map(|error| Some(error.kind.clone()));
        turn.last = LastCall {
            started: call.started,
            asked,
            failed: failed.or((outcome == Outcome::Broken).then_some(None)),
            operation: call.operation,
            model: call.parameters.model.clone(),
            previous: call.parameters.previous_response_id.clone(),
        };
        for requested in &call.tool_calls {
            let known = requested.id.is_some() && turn.tools.values().any(|tool| tool.id == requested.id);
            if known || turn.tools.len() >= TOOLS {
                continue;
            }
            let ordinal = turn.tool_count;
            turn.tool_count = turn.tool_count.saturating_add(1);
            let starts = starts_agent(&requested.name, &requested.arguments);
            let tool = Tool {
                id: requested.id.clone(),
                name: requested.name.clone(),
                arguments: requested.arguments.clone(),
                commands: Commands::of(&requested.name, &requested.arguments),
                asked,
                answered: call.ended,
                context: turn.under(ids::tool(turn.context, ordinal)),
                process: None,
                ambiguous: false,
                stirred: false,
                starts_agent: starts,
                prompts: if starts { subagents::prompts(&requested.arguments) } else { Vec::new() },
                prompted: false,
                has_turn: false,
                requests: 0,
                mcp: None,
            };
            turn.tools.insert(ordinal, tool);
        }
        let own = ids::call(turn.context, &call);
        let context = match (call.remote_parent, self.config.instrumented) {
            (Some(remote), Instrumented::Attach) => {
                link = Some(Link::Traceparent);
                SpanContext { trace_id: remote.trace_id, span_id: own.span_id, parent_span_id: Some(remote.span_id) }
            }
            _ => own,
        };
        let told = call.remote_parent.is_none() || self.config.instrumented != Instrumented::Suppress;
        call.turn = Some(turn.context);
        self.deadline = self.deadline.min(turn.deadline);
        call.conversation_id = conversation;
        let ended = call.ended;
        if told {
            self.asked(info.key, &call, context);
        }
        self.adopt(id, out);
        if told {
            let kind = Kind::ModelCall(Box::new(call));
            out.push(Observation { context: Some(context), link, kind, ..observation });
        } else {
            self.tally.merged += 1;
        }
        if outcome == Outcome::Answered {
            self.close(id, TurnEnd::Answered, ended, out);
        } else if self.processes.get(&info.key).is_some_and(|proc| proc.exit.is_some()) {
            // What was broken off by the agent's end.
            self.close(id, TurnEnd::Exit, ended, out);
        }
    }

    /// The open turn that a call goes on with.
    pub(super) fn find(&self, agent: ProcessKey, call: &ModelCall) -> Option<(u64, Step, Link)> {
        let turns = &self.processes.get(&agent)?.turns;
        let open = || turns.iter().rev().filter_map(|id| self.turns.get(id).map(|turn| (*id, turn)));
        if let Some((id, _)) = open().find(|(_, turn)| turn.awaits(call)) {
            return Some((id, Step::Next, Link::Result));
        }
        let messages = &call.thread.messages;
        let user = if call.thread.from_user { Step::User } else { Step::Next };
        // The next request is made after the answer, but a broken call may be seen to end late.
        let after = |turn: &Turn| match turn.last.failed {
            Some(_) => call.started > turn.last.started,
            None => call.started >= turn.last.asked,
        };
        if let Some(previous) = &call.parameters.previous_response_id {
            let next = open().find(|(_, turn)| turn.replies.contains(previous)).map(|(id, turn)| {
                let again = turn.last.previous.as_ref() == Some(previous) && turn.messages == *messages;
                if again { (id, Step::Retry, Link::Retry) } else { (id, user, Link::ResponseId) }
            });
            let retry = || {
                let same = |turn: &Turn| turn.last.previous.as_ref() == Some(previous) && turn.messages == *messages;
                open().find(|(_, turn)| same(turn) && after(turn)).map(|(id, _)| (id, Step::Retry, Link::Retry))
            };
            return next.or_else(retry);
        }
        // Of what serves a model's API not every thread has a turn: one that began alike may have had other calls.
        let serves = self.processes.get(&agent).is_some_and(|proc| proc.info.serves_models);
        let others_results = |turn: &Turn| {
            serves && !call.thread.tool_results.is_empty() && turn.tools.values().any(|tool| tool.id.is_some())
        };
        let continued = open()
            .filter(|(_, turn)| !turn.messages.is_empty() && messages.starts_with(&turn.messages) && after(turn))
            // The same again after an answer is another thread that was told the same.
            .filter(|(_, turn)| messages.len() > turn.messages.len() || turn.last.failed.is_some())
            .filter(|(_, turn)| !others_results(turn))
            // `max_by_key` takes the last of equals: the list is newest first, so it is turned round.
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .max_by_key(|(_, turn)| turn.messages.len())
            .map(|(id, turn)| match turn.messages.len() == messages.len() {
                true => (id, Step::Retry, Link::Retry),
                false => (id, user, Link::Messages),
            });
        if continued.is_some() {
            return continued;
        }
        // A server that does not know the previous response (any more) is sent the whole list instead.
        let resent = |turn: &Turn| {
            turn.last.previous.is_some()
                && turn.last.failed.is_some()
                && !turn.messages.is_empty()
                && messages.ends_with(&turn.messages)
                && after(turn)
        };
        if let Some((id, _)) = open().find(|(_, turn)| resent(turn)) {
            return Some((id, Step::Retry, Link::Retry));
        }
        // Calls without messages (embeddings): the client says that it tried before.
        call.resend_count.filter(|count| *count > 0)?;
        let same = |turn: &Turn| {
            turn.last.failed.is_some()
                && turn.last.operation == call.operation
                && turn.last.model == call.parameters.model
                && turn.messages == *messages
                && after(turn)
        };
        open().find(|(_, turn)| same(turn)).map(|(id, _)| (id, Step::Retry, Link::Retry))
    }

    fn open(&mut self, observation: &Observation, call: &ModelCall, out: &mut Vec<Observation>) -> u64 {
        let info = &observation.process;
        if self.turns.len() >= TURNS
            && let Some((id, turn)) = self.turns.iter().min_by_key(|(id, turn)| (turn.ended, **id))
        {
            let (id, ended) = (*id, turn.ended);
            self.evicted_turns.add(1);
            self.close(id, TurnEnd::Idle, ended, out);
        }
        let place = self.place_of(info);
        let remote = call.remote_parent.filter(|_| self.config.instrumented != Instrumented::Duplicate);
        let above = if remote.is_none() { self.sub_agent(info.key, call) } else { None };
        let mut conversation = None;
        self.next_turn += 1;
        let id = self.next_turn;
        let mut number = 0;
        if let Some(proc) = self.processes.get_mut(&info.key) {
            number = proc.number;
            proc.number = proc.number.saturating_add(1);
            proc.turns.push(id);
        }
        let mut context = ids::turn(info, number);
        let under = |parent: SpanContext| SpanContext {
            trace_id: parent.trace_id,
            span_id: context.span_id,
            parent_span_id: Some(parent.span_id),
        };
        let (mut told, mut link) = (true, None);
        if let Some(remote) = remote {
            (context, link) = (under(remote), Some(Link::Traceparent));
            told = self.config.instrumented != Instrumented::Suppress;
        } else if let Some(above) = above {
            (context, link) = (under(above.context), Some(above.link));
            conversation = above.conversation;
        } else if place.in_turn {
            // An agent that another agent's tool started.
            (context, link) = (under(place.context), Some(Link::Program));
        }
        let turn = Turn {
            agent: info.key,
            info: info.clone(),
            number,
            context,
            link,
            told,
            started: call.started,
            ended: call.started,
            deadline: call.started.plus(self.config.turn_idle_timeout.0),
            provider: None,
            conversation,
            calls: 0,
            tool_count: 0,
            left: None,
            handed: false,
            messages: Vec::new(),
            replies: VecDeque::new(),
            last: LastCall {
                started: call.started,
                asked: call.started,
                failed: None,
                operation: call.operation,
                model: None,
                previous: None,
            },
            tools: BTreeMap::new(),
            content: None,
            model: None,
            finish_reasons: Vec::new(),
            usage: Usage::default(),
        };
        self.turns.insert(id, turn);
        id
    }

    fn conversation(&self, turn: u64, info: &ProcessInfo, call: &ModelCall) -> Option<String> {
        let known = || self.turns.get(&turn).and_then(|turn| turn.conversation.clone());
        let told = || self.processes.get(&info.key).and_then(|proc| proc.session.clone());
        let made = || self.config.synthesize_conversation_id.then(|| ids::conversation(info));
        call.conversation_id.clone().or_else(known).or_else(told).or_else(|| self.own_session(info)).or_else(made)
    }

    /// Closes the calls whose results this request carries.
    fn answer_tools(&mut self, id: u64, call: &ModelCall, out: &mut Vec<Observation>) {
        let results = &call.thread.tool_results;
        let Some(turn) = self.turns.get(&id) else { return };
        let agent = turn.agent;
        let result_of = |ordinal: u32, tool: &Tool| match &tool.id {
            Some(id) => results.iter().find(|result| result.id == *id).cloned(),
            // No ids on this wire: results come together, those of one name in the order of its calls.
            None => {
                let alike =
                    |other: &Tool| other.id.is_none() && other.name == tool.name && other.answered == tool.answered;
                let before = turn.tools.range(..ordinal).filter(|(_, other)| alike(other)).count();
                let named = results.iter().filter(|result| result.id == tool.name).nth(before);
                named.cloned().or_else(|| results.first().map(|_| ToolResult::default()))
            }
        };
        let answered: Vec<(u32, ToolResult)> =
            turn.tools.iter().filter_map(|(ordinal, tool)| Some((*ordinal, result_of(*ordinal, tool)?))).collect();
        // An agent goes on when it has all results of an answer; one that is not found here was not recognised.
        let batches: BTreeSet<Timestamp> =
            answered.iter().filter_map(|(ordinal, _)| Some(turn.tools.get(ordinal)?.answered)).collect();
        let rest = turn.tools.iter().filter(|(ordinal, tool)| {
            batches.contains(&tool.answered) && !answered.iter().any(|(answered, _)| answered == *ordinal)
        });
        let rest: Vec<u32> = rest.map(|(ordinal, _)| *ordinal).collect();
        for (ordinal, result) in answered {
            self.close_tool(ToolRef { turn: id, ordinal, agent }, Some(&result), call.started, out);
        }
        for ordinal in rest {
            self.close_tool(ToolRef { turn: id, ordinal, agent }, None, call.started, out);
        }
    }

    /// Decides on processes that wait for calls of this turn. `gone_on`: when the agent's next request began.
    fn settle(&mut self, id: u64, gone_on: Option<Timestamp>, exit: bool, out: &mut Vec<Observation>) {
        let waiting: Vec<_> = self
            .held
            .iter()
            .filter_map(|(root, held)| match &held.waits {
                Waits::Call(tool) if tool.turn == id => Some((*root, *tool, held)),
                Waits::Call(_) | Waits::Server { .. } => None,
            })
            // A shell that still waits for more to run is the agent's own: calls to come are run by it as well.
            .map(|(root, tool, held)| {
                let before = gone_on.map_or(exit, |gone_on| held.executed <= gone_on);
                (root, if before && !held.waits_for_more() { Decided::Runs(tool) } else { Decided::Nothing })
            })
            .collect();
        for (root, decided) in waiting {
            self.release(root, decided, out);
        }
        self.settle_served(id, out);
    }

    fn close_tool(&mut self, place: ToolRef, result: Option<&ToolResult>, at: Timestamp, out: &mut Vec<Observation>) {
        let Some(turn) = self.turns.get_mut(&place.turn) else { return };
        let Some(mut tool) = turn.tools.remove(&place.ordinal) else { return };
        self.may_start(place, &tool, result, at);
        let Some(turn) = self.turns.get_mut(&place.turn) else { return };
        // The request that carries it out is nearer to the tool than what the model is asked and told, and than a program
        // that its server ran meanwhile.
        let whole = |process: &Linked| process.matched != Match::Sole || tool.mcp.is_none();
        let runs = tool.process.filter(whole);
        let asked = tool.mcp.as_deref().filter(|_| runs.is_none());
        let told = asked.map_or(tool.answered, |call| call.started);
        let started = runs.map_or(told, |process| process.started);
        let exit = runs.and_then(|process| process.exit);
        let at = asked.map_or(at, |call| call.ended);
        let ended = exit.map_or(at, |(time, _)| time).max(started);
        let agent_name = turn.info.agent.as_ref().map(|agent| agent.name.clone());
        // One that says that it failed may never have begun: it was denied, or there is no such tool.
        let missing = result.is_some_and(|result| !result.is_error)
            && tool.process.is_none()
            && tool.mcp.is_none()
            && tool.commands.explicit
            && !tool.ambiguous
            && !tool.stirred
            && self.process_events;
        let info = turn.info.clone();
        let name = tool.name.clone();
        let call_id = tool.id.clone();
        let content = turn.content.as_ref().map(|content| {
            Box::new(ToolContent {
                mode: content.mode,
                arguments: (!tool.arguments.is_empty()).then(|| parsed_json(&tool.arguments)),
                result: result.and_then(|result| result.response.clone()),
            })
        });
        let of_server = tool.mcp.as_mut().and_then(|call| call.content.take());
        let content = match (content, of_server) {
            (Some(own), Some(other)) if own.result.is_none() => {
                Some(Box::new(ToolContent { result: other.result, ..*own }))
            }
            (own, other) => own.or(other),
        };
        let kind = Kind::ToolCall(Box::new(ToolCall {
            id: tool.id,
            name: tool.name,
            arguments: tool.arguments,
            started,
            ended,
            evidence: match (&runs, &tool.mcp) {
                (Some(_), _) => Evidence::Process,
                (None, Some(_)) => Evidence::Mcp,
                (None, None) => Evidence::Wire,
            },
            matched: tool.process.map(|process| process.matched),
            process: tool.process.map(|process| process.key),
            exit: exit.map(|(_, exit)| exit),
            result_error: result.is_some_and(|result| result.is_error),
            result_seen: result.is_some(),
            agent_name,
            conversation_id: turn.conversation.clone(),
            content,
            mcp: tool.mcp,
        }));
        out.push(Observation { context: Some(tool.context), ..Observation::new(ended, info.clone(), kind) });
        if missing {
            let mut attributes = vec![("gen_ai.tool.name", name.into())];
            attributes.extend(call_id.map(|id| ("gen_ai.tool.call.id", id.into())));
            let kind = Kind::Finding(Box::new(Finding {
                name: "onlooker.finding.tool_without_process",
                severity: Severity::Warn,
                message: "the agent sent a result for a tool that runs a command, but no process ran it".into(),
                attributes,
            }));
            out.push(Observation { context: Some(tool.context), ..Observation::new(ended, info, kind) });
        }
    }

    /// Ends a turn: its open calls first, then itself.
    pub(super) fn close(&mut self, id: u64, end: TurnEnd, at: Timestamp, out: &mut Vec<Observation>) {
        let gone_on = matches!(end, TurnEnd::Answered | TurnEnd::Superseded).then_some(at);
        self.settle(id, gone_on, end == TurnEnd::Exit, out);
        let Some(turn) = self.turns.get_mut(&id) else { return };
        // Nobody went on with it: it ended with its process.
        let (end, at) = turn.left.map_or((end, at), |left| (TurnEnd::Exit, left));
        let ended = match end {
            TurnEnd::Exit | TurnEnd::Shutdown => turn.ended.max(at),
            TurnEnd::Answered | TurnEnd::Idle | TurnEnd::Superseded => turn.ended,
        };
        let agent = turn.agent;
        for ordinal in turn.tools.keys().copied().collect::<Vec<_>>() {
            self.close_tool(ToolRef { turn: id, ordinal, agent }, None, ended, out);
        }
        let Some(turn) = self.turns.remove(&id) else { return };
        if let Some(proc) = self.processes.get_mut(&turn.agent) {
            proc.turns.retain(|open| *open != id);
        }
        let agent = turn.info.agent.as_ref();
        let kind = Kind::AgentTurn(Box::new(AgentTurn {
            number: turn.number,
            agent_name: agent.map_or_else(|| turn.info.executable_name().to_owned(), |agent| agent.name.clone()),
            agent_version: agent.and_then(|agent| agent.version.clone()),
            conversation_id: turn.conversation,
            provider: turn.provider,
            started: turn.started,
            ended,
            model_calls: turn.calls,
            tool_calls: turn.tool_count,
            end,
            error: turn.last.failed.flatten(),
            content: turn.content,
            model: turn.model,
            finish_reasons: turn.finish_reasons,
            usage: turn.usage,
        }));
        if turn.told {
            let (context, link) = (Some(turn.context), turn.link);
            out.push(Observation { context, link, ..Observation::new(ended, turn.info, kind) });
        }
    }

    /// Ends all turns of a process, the latest first: a sub-agent's before the one that it works for.
    pub(super) fn close_all(&mut self, key: ProcessKey, end: TurnEnd, at: Timestamp, out: &mut Vec<Observation>) {
        let turns = self.processes.get(&key).map(|proc| proc.turns.clone()).unwrap_or_default();
        for turn in turns.into_iter().rev() {
            self.close(turn, end, at, out);
        }
    }

    /// Ends turns in which nothing happened for too long.
    pub(super) fn expire(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        self.expire_served(now, out);
        self.tell_unasked(now, out);
        self.tell_gateways(now, out);
        if now < self.deadline {
            return;
        }
        let running = |turn: &Turn| turn.tools.values().any(|tool| tool.process.is_some_and(|p| p.exit.is_none()));
        let mut idle = Vec::new();
        for (id, turn) in self.turns.iter_mut().filter(|(_, turn)| turn.deadline <= now) {
            if running(turn) || self.held.values().any(|held| held.waits.is_turn(*id) && !held.ended()) {
                turn.deadline = now.plus(self.config.turn_idle_timeout.0);
            } else {
                idle.push((*id, turn.ended));
            }
        }
        for (id, ended) in idle.into_iter().rev() {
            self.close(id, TurnEnd::Idle, ended, out);
        }
        self.deadline = self.turns.values().map(|turn| turn.deadline).min().unwrap_or(Timestamp(u64::MAX));
    }
}

/// When the last piece of the answer came: what it asks for does not start before.
pub(super) fn asked(call: &ModelCall) -> Timestamp {
    call.reply.last_chunk.unwrap_or(call.ended).min(call.ended)
}

/// What an answer means for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// No tool is asked for: the turn is over.
    Answered,
    /// The agent has something to do, or the provider has.
    Goes,
    /// It failed or was broken off: the agent may try again.
    Broken,
}

fn outcome(call: &ModelCall) -> Outcome {
    if call.error.is_some() {
        return Outcome::Broken;
    }
    let reasons = &call.reply.finish_reasons;
    let goes_on =
        |reason: &String| matches!(reason.as_str(), "tool_calls" | "tool_use" | "function_call" | "pause_turn");
    if !call.tool_calls.is_empty() || reasons.iter().any(goes_on) {
        return Outcome::Goes;
    }
    let cut = |reason| matches!(reason, LossReason::Closed | LossReason::Dropped | LossReason::Unobserved);
    let lost = call.losses.iter().any(|loss| loss.part == Part::Response && cut(loss.reason));
    if reasons.is_empty() && (lost || call.reply.status.is_none()) { Outcome::Broken } else { Outcome::Answered }
}
