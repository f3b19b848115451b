//! Requests of the Model Context Protocol: under the tool call that they carry out, else under the turn that is open for
//! the process that asked, else under its program.

use std::sync::Arc;

use pipeline::{
    SpanContext, SpanId,
    observation::{McpCall, OpaqueCall, ProcessInfo},
};

use super::{
    Correlation,
    state::{Tool, ToolRef, Turn},
};

impl Correlation {
    /// Where a request of the Model Context Protocol stands.
    pub(super) fn mcp_call(&mut self, info: &Arc<ProcessInfo>, call: &McpCall) -> SpanContext {
        let place = self.place_of(info);
        let span_id = span(info, call);
        let under = |parent: SpanContext| SpanContext {
            trace_id: parent.trace_id,
            span_id,
            parent_span_id: Some(parent.span_id),
        };
        let turn = self.turn_of(info, call);
        if let Some(turn) = turn.and_then(|turn| self.turns.get_mut(&turn)) {
            turn.ended = turn.ended.max(call.ended);
            turn.deadline = turn.deadline.max(call.ended.plus(self.config.turn_idle_timeout.0));
        }
        if let Some(remote) = call.remote_parent {
            return under(remote);
        }
        if let Some(place) = self.tool_of(info, call) {
            self.with_tool(place, |tool| tool.requests = tool.requests.saturating_add(1));
            if let Some(tool) = self.tool(place) {
                return under(tool.context);
            }
        }
        if let Some(turn) = turn.and_then(|turn| self.turns.get(&turn)) {
            return under(turn.place());
        }
        SpanContext { parent_span_id: (!place.spanless).then_some(place.context.span_id), ..under(place.context) }
    }

    /// Where a connection that could not be read stands: in the turn that was open when it began, if there is one.
    pub(super) fn opaque_call(&mut self, info: &Arc<ProcessInfo>, call: &OpaqueCall) -> SpanContext {
        let place = self.place_of(info);
        let open = self.open_turns(info, |turn| turn.started <= call.ended);
        match open.as_slice() {
            [turn] => self.turns.get(turn).map_or(place.context, Turn::place),
            _ => place.context,
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
    fn tool_of(&self, info: &ProcessInfo, call: &McpCall) -> Option<ToolRef> {
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
            .filter(|(_, tool)| tool.asked <= call.started && is_named(&tool.name, asked, server))
            .collect();
        if let [(place, _)] = open.as_slice() {
            return Some(*place);
        }
        let same = |tool: &Tool| call.arguments.is_some() && McpCall::digest(&tool.arguments) == call.arguments;
        let fitting = open.iter().filter(|(_, tool)| same(tool));
        fitting.min_by_key(|(place, tool)| (tool.requests, *place)).map(|(place, _)| *place)
    }
}

fn span(info: &ProcessInfo, call: &McpCall) -> SpanId {
    SpanId::derive(&[
        b"mcp",
        info.host.boot_id.as_bytes(),
        &info.key.tgid.to_be_bytes(),
        &info.key.start.to_be_bytes(),
        &call.started.nanos().to_be_bytes(),
        call.role.as_str().as_bytes(),
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
