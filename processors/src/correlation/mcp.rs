//! Requests of the Model Context Protocol.
//!
//! The request that carries out a tool call of the model has no span of its own: the call's span tells of it. Others
//! stand under the turn that is open for the process that asked, else under its program; what the other end of a request
//! tells stands under what its sender does.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use pipeline::{
    Kind, Observation, ProcessKey, SpanContext, SpanId, Timestamp,
    observation::{Link, McpCall, McpMatch, OpaqueCall, ProcessInfo, Role},
};

use super::{
    Correlation,
    config::Instrumented,
    served::Request,
    state::{Decided, Tool, ToolRef, Turn},
};

/// Requests whose places are remembered for their other ends.
const PLACES: usize = 4_096;

/// The places of requests that were sent.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: BTreeMap<SpanId, SpanContext>,
    order: VecDeque<SpanId>,
}

impl Places {
    fn keep(&mut self, span: SpanId, place: SpanContext) {
        if self.known.insert(span, place).is_none() {
            self.order.push_back(span);
        }
        if self.order.len() > PLACES
            && let Some(first) = self.order.pop_front()
        {
            self.known.remove(&first);
        }
    }
}

impl Correlation {
    /// Takes a request or a notification.
    pub(super) fn mcp_call(
        &mut self,
        mut observation: Observation,
        mut call: Box<McpCall>,
        out: &mut Vec<Observation>,
    ) {
        let info = Arc::clone(&observation.process);
        let own = span(&info, &call);
        self.learn_server(&info, &call);
        let turn = self.turn_of(&info, &call);
        if let Some(turn) = turn.and_then(|turn| self.turns.get_mut(&turn)) {
            turn.ended = turn.ended.max(call.ended);
            turn.deadline = turn.deadline.max(call.ended.plus(self.config.turn_idle_timeout.0));
        }
        if call.role == Role::Client
            && let Some((place, matched)) = self.tool_of(&info, &call)
        {
            call.matched = Some(matched);
            let mut first = false;
            self.with_tool(place, |tool| {
                tool.requests = tool.requests.saturating_add(1);
                first = tool.mcp.is_none();
            });
            if let Some(tool) = self.tool(place).map(|tool| tool.context) {
                if first {
                    self.mcp_places.keep(own, tool);
                    // What the agent itself ran meanwhile was something else.
                    let sole = self.held.iter().find(|(_, held)| held.waits.is_call(place)).map(|(root, _)| *root);
                    if let Some(root) = sole {
                        self.release(root, Decided::Nothing, out);
                    }
                    self.with_tool(place, |tool| tool.mcp = Some(call.clone()));
                    self.answered(&info, &call, Request::Tool(place), out);
                    self.tally.merged += 1;
                    return;
                }
                return self.tell_mcp(observation, call, under(own, tool), Some(Link::Call), out);
            }
        }
        let sender = call.caller.map(|moment| sent_span(&info, &call, call.peer.unwrap_or(info.key), moment));
        if let Some(sender) = sender.and_then(|sender| self.mcp_places.known.get(&sender)) {
            let place = under(own, *sender);
            return self.tell_mcp(observation, call, place, Some(Link::Message), out);
        }
        let turn = turn.and_then(|turn| self.turns.get(&turn)).map(Turn::place);
        // In the trace of an agent that traces itself, what is nearer than the agent's span is known here.
        let remote = call.remote_parent.filter(|remote| turn.is_none_or(|turn| turn.trace_id != remote.trace_id));
        match (remote, self.config.instrumented, call.role) {
            (Some(remote), Instrumented::Suppress, Role::Client) => {
                self.mcp_places.keep(own, remote);
                self.tally.merged += 1;
            }
            (Some(remote), Instrumented::Attach | Instrumented::Suppress, _)
            | (Some(remote), Instrumented::Duplicate, Role::Server) => {
                self.tell_mcp(observation, call, under(own, remote), Some(Link::Traceparent), out);
            }
            (None, ..) | (Some(_), Instrumented::Duplicate, Role::Client) => {
                let (place, link) = turn.map_or_else(
                    || {
                        let place = self.place_of(&info);
                        let parent_span_id = (!place.spanless).then_some(place.context.span_id);
                        let above = SpanContext { parent_span_id, ..under(own, place.context) };
                        (above, parent_span_id.map(|_| Link::Program))
                    },
                    |turn| (under(own, turn), Some(Link::Turn)),
                );
                observation.context = None;
                self.tell_mcp(observation, call, place, link, out);
            }
        }
    }

    fn tell_mcp(
        &mut self,
        mut observation: Observation,
        mut call: Box<McpCall>,
        place: SpanContext,
        link: Option<Link>,
        out: &mut Vec<Observation>,
    ) {
        if call.role == Role::Client {
            self.mcp_places.keep(place.span_id, place);
        }
        let info = Arc::clone(&observation.process);
        call.program = self.answered(&info, &call, Request::Own(place), out);
        (observation.context, observation.link) = (Some(place), link);
        observation.kind = Kind::McpCall(call);
        out.push(observation);
    }

    /// Where a connection that could not be read stands: in the turn that was open when it began, if there is one.
    pub(super) fn opaque_call(&mut self, info: &Arc<ProcessInfo>, call: &OpaqueCall) -> (SpanContext, Option<Link>) {
        let place = self.place_of(info);
        let open = self.open_turns(info, |turn| turn.started <= call.ended);
        match open.as_slice() {
            [turn] => self.turns.get(turn).map_or((place.context, None), |turn| (turn.place(), Some(Link::Turn))),
            _ => (place.context, None),
        }
    }

    fn open_turns(&self, info: &ProcessInfo, fits: impl Fn(&Turn) -> bool) -> Vec<u64> {
        let turns = self.processes.get(&info.key).map(|proc| proc.turns.as_slice()).unwrap_or_default();
        turns.iter().filter(|id| self.turns.get(id).is_some_and(&fits)).copied().collect()
    }

    /// The one open turn; of several, the one that all others are below of.
    fn turn_of(&self, info: &ProcessInfo, call: &McpCall) -> Option<u64> {
        let open = self.open_turns(info, |turn| turn.started <= call.started);
        let first = self.turns.get(open.first()?)?;
        let alone =
            open.iter().filter_map(|id| self.turns.get(id)).all(|turn| turn.context.trace_id == first.context.trace_id);
        alone.then(|| open.first().copied()).flatten()
    }

    /// The open tool call that this request carries out. Several of one name are told apart by their arguments; those
    /// with the same arguments are taken in order.
    fn tool_of(&self, info: &ProcessInfo, call: &McpCall) -> Option<(ToolRef, McpMatch)> {
        let asked = call.tool()?;
        let server = call.server.name.as_deref();
        let turns = &self.processes.get(&info.key)?.turns;
        let open: Vec<(ToolRef, &Tool)> = turns
            .iter()
            .filter_map(|id| self.turns.get(id).map(|turn| (*id, turn)))
            .flat_map(|(id, turn)| {
                let place = move |ordinal| ToolRef { turn: id, ordinal, agent: info.key };
                turn.tools.iter().map(move |(ordinal, tool)| (place(*ordinal), tool))
            })
            .filter(|(_, tool)| tool.asked <= call.started)
            .collect();
        let same = |tool: &Tool| call.arguments.is_some() && McpCall::digest(&tool.arguments) == call.arguments;
        let named: Vec<_> = open.iter().filter(|(_, tool)| is_named(&tool.name, asked, server)).collect();
        if let [(place, _)] = named.as_slice() {
            return Some((*place, McpMatch::Name));
        }
        if named.is_empty() {
            // The server's name is the user's choice; the same arguments speak for the same call.
            let mut like = open.iter().filter(|(_, tool)| is_like(&tool.name, asked) && says(tool) && same(tool));
            let (place, _) = like.next()?;
            return like.next().is_none().then_some((*place, McpMatch::Arguments));
        }
        let fitting: Vec<_> = named.iter().filter(|(_, tool)| same(tool)).collect();
        let (place, _) = fitting.iter().min_by_key(|(place, tool)| (tool.requests, *place))?;
        Some((*place, if fitting.len() == 1 { McpMatch::Arguments } else { McpMatch::Order }))
    }
}

fn under(span_id: SpanId, parent: SpanContext) -> SpanContext {
    SpanContext { trace_id: parent.trace_id, span_id, parent_span_id: Some(parent.span_id) }
}

/// The span of a call as its own end tells it.
fn span(info: &ProcessInfo, call: &McpCall) -> SpanId {
    derive(info, call, call.role, info.key, (call.started, call.ordinal))
}

/// The span of the same call as its sender tells it.
fn sent_span(info: &ProcessInfo, call: &McpCall, sender: ProcessKey, moment: (Timestamp, u32)) -> SpanId {
    derive(info, call, Role::Client, sender, moment)
}

fn derive(
    info: &ProcessInfo,
    call: &McpCall,
    role: Role,
    process: ProcessKey,
    (started, ordinal): (Timestamp, u32),
) -> SpanId {
    SpanId::derive(&[
        b"mcp",
        info.host.boot_id.as_bytes(),
        &process.tgid.to_be_bytes(),
        &process.start.to_be_bytes(),
        &started.nanos().to_be_bytes(),
        &ordinal.to_be_bytes(),
        role.as_str().as_bytes(),
        call.method.as_bytes(),
        call.id.as_deref().unwrap_or_default().as_bytes(),
    ])
}

/// Whether a tool that the model called by this name is a server's tool: agents put the server before it, as
/// `mcp__server__tool`, `server__tool`, `server_tool`. The name of a server is the user's choice; where only one character
/// stands between, it must be the one that the server gives itself.
fn is_named(called: &str, tool: &str, server: Option<&str>) -> bool {
    if called == tool {
        return true;
    }
    let (called, tool) = (plain(called), plain(tool));
    let Some(before) = called.strip_suffix(&tool).filter(|_| !tool.is_empty()) else { return false };
    if before.is_empty() || before.ends_with("__") {
        return true;
    }
    let Some(before) = before.strip_suffix('_') else { return false };
    let server = server.map(plain).filter(|server| !server.is_empty());
    server.is_some_and(|server| before == server || before == format!("mcp_{server}"))
}

/// Whether it may be, by its end alone.
fn is_like(called: &str, tool: &str) -> bool {
    let (called, tool) = (plain(called), plain(tool));
    called.strip_suffix(&tool).is_some_and(|before| !tool.is_empty() && before.ends_with('_'))
}

/// Whether a call has arguments to be known by.
fn says(tool: &Tool) -> bool {
    !matches!(tool.arguments.trim(), "" | "{}" | "null")
}

/// Agents replace what a provider does not allow in the name of a tool.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_put_the_server_before_the_tool() {
        for (called, tool, server, fits) in [
            ("add", "add", None, true),
            ("mcp__calc__add", "add", None, true),
            ("calc__add", "add", None, true),
            ("calc_add", "add", Some("calc"), true),
            ("mcp_calc_add", "add", Some("calc"), true),
            ("calc_add", "add", None, false),
            ("file_read", "read", Some("calc"), false),
            ("mcp__my-server__do.it", "do.it", None, true),
            ("do_it", "do.it", None, true),
            ("madd", "add", Some("calc"), false),
            ("add", "", Some("calc"), false),
        ] {
            assert_eq!(is_named(called, tool, server), fits, "{called} {tool} {server:?}");
        }
    }
}
