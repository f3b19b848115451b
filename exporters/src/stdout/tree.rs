//! One tree per trace, printed when its root ends. Spans come in any order, children mostly before their parents.

use std::{collections::BTreeMap, io::Write};

use pipeline::{Kind, Observation, Signal, SpanId, TraceId};

use self::{deeds::Deeds, network::Network};
use super::text::{self, Line};
use crate::writer::Format;

mod deeds;
mod network;

/// Spans that may wait for their roots; beyond it the oldest trace is printed as it is.
const MOST: usize = 50_000;

struct Node {
    span: SpanId,
    parent: Option<SpanId>,
    start: u64,
    line: Line,
}

/// Waiting spans, by trace.
pub struct Tree {
    traces: BTreeMap<TraceId, Vec<Node>>,
    /// Traces in the order in which they were first met.
    order: Vec<TraceId>,
    count: usize,
    network: Network,
    deeds: Deeds,
    color: bool,
}

impl Tree {
    /// With or without colours.
    pub fn new(color: bool) -> Self {
        Self {
            traces: BTreeMap::new(),
            order: Vec::new(),
            count: 0,
            network: Network::default(),
            deeds: Deeds::default(),
            color,
        }
    }

    /// Prints what hangs under `root`, and forgets it.
    fn print(&mut self, trace: TraceId, root: SpanId, out: &mut dyn Write) -> std::io::Result<()> {
        let Some(mut nodes) = self.traces.remove(&trace) else { return Ok(()) };
        // The root may have come early; its children are sorted by their starts, not by their ends.
        nodes.sort_by_key(|node| node.start);
        let mut rest = nodes;
        let at = rest.iter().position(|node| node.span == root);
        if let Some(at) = at {
            let node = rest.remove(at);
            self.count -= 1;
            self.node(&node, "", "", &mut rest, out)?;
        }
        if rest.is_empty() {
            self.order.retain(|other| *other != trace);
        } else {
            self.traces.insert(trace, rest);
        }
        out.flush()
    }

    fn node(
        &mut self,
        node: &Node,
        first: &str,
        more: &str,
        rest: &mut Vec<Node>,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        let (bold, red, plain) = if self.color { ("\x1b[1m", "\x1b[31m", "\x1b[0m") } else { ("", "", "") };
        let tone = if node.line.failed { red } else { "" };
        writeln!(out, "{first}{bold}{tone}{}{plain}  {tone}{}{plain}", node.line.head, node.line.rest)?;
        let mut children: Vec<Node> = Vec::new();
        let mut at = 0;
        while at < rest.len() {
            if rest[at].parent == Some(node.span) {
                children.push(rest.remove(at));
                self.count -= 1;
            } else {
                at += 1;
            }
        }
        let mut lines = self.deeds.lines(node.span);
        lines.extend(self.network.lines(node.span));
        let line = if lines.is_empty() && children.is_empty() { "   " } else { "│  " };
        for note in &node.line.notes {
            writeln!(out, "{more}{line}{note}")?;
        }
        let last = (lines.len() + children.len()).saturating_sub(1);
        let branch = |at: usize| if at == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        for (at, (line, failed)) in lines.iter().enumerate() {
            let tone = if *failed { red } else { "" };
            writeln!(out, "{more}{}{tone}{line}{plain}", branch(at).0)?;
        }
        for (at, child) in children.iter().enumerate() {
            let (corner, line) = branch(lines.len() + at);
            self.node(child, &format!("{more}{corner}"), &format!("{more}{line}"), rest, out)?;
        }
        Ok(())
    }

    /// Prints every root of a trace whose own root never came.
    fn print_rest(&mut self, trace: TraceId, out: &mut dyn Write) -> std::io::Result<()> {
        while let Some(nodes) = self.traces.get(&trace) {
            let orphan = nodes
                .iter()
                .find(|node| node.parent.is_none_or(|parent| nodes.iter().all(|other| other.span != parent)));
            let Some(root) = orphan.or(nodes.first()).map(|node| node.span) else { break };
            self.print(trace, root, out)?;
        }
        Ok(())
    }
}

impl Format for Tree {
    fn write(&mut self, signal: Signal, batch: &[Observation], out: &mut dyn Write) -> std::io::Result<usize> {
        let mut count = 0;
        for observation in batch {
            if let Kind::Finding(finding) = &observation.kind
                && signal == Signal::Traces
            {
                writeln!(out, "! {}: {}", finding.name, text::escape(&finding.message))?;
            }
            if let Kind::OpaqueCall(call) = &observation.kind
                && signal == Signal::Traces
            {
                writeln!(out, "! not readable: {}", text::opaque_call(call))?;
            }
            if signal == Signal::Traces {
                self.network.take(observation);
                self.deeds.take(observation);
            }
            let (Some(mut context), Some(line)) = (observation.context, text::line(observation)) else { continue };
            // A call below a span of the agent's own is shown in its turn: that other span is not here.
            if let Kind::ModelCall(call) = &observation.kind
                && let Some(turn) = call.turn
            {
                (context.trace_id, context.parent_span_id) = (turn.trace_id, Some(turn.span_id));
            }
            if signal != Signal::Traces {
                continue;
            }
            count += 1;
            self.count += 1;
            let nodes = self.traces.entry(context.trace_id).or_insert_with(|| {
                self.order.push(context.trace_id);
                Vec::new()
            });
            let start = crate::encode::span_times(observation).0;
            nodes.push(Node { span: context.span_id, parent: context.parent_span_id, start, line });
            if matches!(observation.kind, Kind::AgentTurn(_)) || context.parent_span_id.is_none() {
                self.print(context.trace_id, context.span_id, out)?;
            }
            while self.count > MOST {
                let Some(oldest) = self.order.first().copied() else { break };
                self.print_rest(oldest, out)?;
            }
        }
        Ok(count)
    }

    fn finish(&mut self, out: &mut dyn Write) -> std::io::Result<()> {
        for trace in std::mem::take(&mut self.order) {
            self.print_rest(trace, out)?;
        }
        for (line, _) in self.deeds.rest().into_iter().chain(self.network.rest()) {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
