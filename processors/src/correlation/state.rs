//! What correlation remembers: processes, turns, open tool calls.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use pipeline::{
    Observation, ProcessKey, SpanContext, Timestamp,
    observation::{Content, Exit, Link, Match, McpCall, ModelCall, Operation, ProcessInfo, Usage},
};

use super::{command::Commands, subagents::Spawned, unasked::Shape};

/// Ids of replies that a turn remembers.
const REPLIES: usize = 64;

/// A tool call: its turn and its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToolRef {
    pub turn: u64,
    pub ordinal: u32,
    /// The process that made the call.
    pub agent: ProcessKey,
}

/// Where a program stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its span.
    pub context: SpanContext,
    /// True if nobody exports that span: the program was running before and its start is not known.
    pub spanless: bool,
    /// True if that span is below some turn.
    pub in_turn: bool,
    /// The tool call that it belongs to.
    pub tool: Option<ToolRef>,
    /// The process whose program the span is.
    pub owner: ProcessKey,
    /// How the span above was found, if it is not the program's that started this one.
    pub link: Option<Link>,
}

/// A process.
#[derive(Debug)]
pub struct Proc {
    /// Its latest state.
    pub info: Arc<ProcessInfo>,
    /// Its ancestors, nearest first, as far as known when it was first seen.
    pub lineage: Vec<ProcessKey>,
    /// The place of the program that it was forked from.
    pub origin: Option<Place>,
    /// The place of its own program, and which `exec_count` that is.
    pub own: Option<(Place, u32)>,
    /// True if it was once considered as the sole child of a call and was not.
    pub barred: bool,
    /// Its open turns, oldest first.
    pub turns: Vec<u64>,
    /// Calls of its tools that may still start a sub-agent, oldest first.
    pub spawned: VecDeque<Spawned>,
    /// True once a sub-agent of its own was found by its prompt: then those of others are no sub-agents.
    pub prompted: bool,
    /// How it runs the commands of its tools.
    pub shapes: Vec<Shape>,
    /// Turns so far.
    pub number: u32,
    /// How it ended.
    pub exit: Option<(Timestamp, Exit)>,
    /// The session that its children were told.
    pub session: Option<String>,
    /// Its place in the order of use.
    pub used: u64,
}

impl Proc {
    /// Its own place, or before it executes anything, that of the program that it was forked from.
    pub fn place(&self) -> Option<Place> {
        self.own.map(|(place, _)| place).or(self.origin)
    }
}

/// The process of a tool call.
#[derive(Clone, Copy, Debug)]
pub struct Linked {
    pub key: ProcessKey,
    pub started: Timestamp,
    pub matched: Match,
    pub exit: Option<(Timestamp, Exit)>,
}

/// A tool call without its result so far.
#[derive(Debug)]
pub struct Tool {
    pub id: Option<String>,
    pub name: String,
    pub arguments: String,
    pub commands: Commands,
    /// No child that runs it starts before this: the last piece of the answer that asked for it.
    pub asked: Timestamp,
    /// The end of that answer.
    pub answered: Timestamp,
    pub context: SpanContext,
    pub process: Option<Linked>,
    /// True if more than one process or call fitted.
    pub ambiguous: bool,
    /// True if some process that no call claims started below the agent meanwhile.
    pub stirred: bool,
    /// True if the tool starts another agent.
    pub starts_agent: bool,
    /// What it may give the other agent as its first message, as digests.
    pub prompts: Vec<u64>,
    /// True if a sub-agent was told one of them: then no server carries the call out.
    pub prompted: bool,
    /// True if a turn was hung under it.
    pub has_turn: bool,
    /// Requests of the Model Context Protocol that carry it out.
    pub requests: u32,
    /// The first of them.
    pub mcp: Option<Box<McpCall>>,
}

/// The latest call of a turn.
#[derive(Clone, Debug)]
pub struct LastCall {
    pub started: Timestamp,
    pub asked: Timestamp,
    /// It failed or was broken off: `error.type`, where there is one.
    pub failed: Option<Option<String>>,
    pub operation: Operation,
    pub model: Option<String>,
    pub previous: Option<String>,
}

/// An open turn.
#[derive(Debug)]
pub struct Turn {
    pub agent: ProcessKey,
    pub info: Arc<ProcessInfo>,
    pub number: u32,
    pub context: SpanContext,
    /// How the span above was found.
    pub link: Option<Link>,
    /// False if the agent's own spans take its place.
    pub told: bool,
    pub started: Timestamp,
    /// The last thing that happened in it.
    pub ended: Timestamp,
    /// When it is idle.
    pub deadline: Timestamp,
    pub provider: Option<String>,
    pub conversation: Option<String>,
    pub calls: u32,
    pub tool_count: u32,
    /// When its process ended, if another one may go on with it and did not so far.
    pub left: Option<Timestamp>,
    /// True if another process or program than the one that made its last call has it now.
    pub handed: bool,
    pub messages: Vec<u64>,
    pub replies: VecDeque<String>,
    pub last: LastCall,
    pub tools: BTreeMap<u32, Tool>,
    /// What the user asked and the model answered last, if content is captured.
    pub content: Option<Box<Content>>,
    /// The model of its first call.
    pub model: Option<String>,
    /// Why the last answer ended.
    pub finish_reasons: Vec<String>,
    /// Tokens of its calls, added up.
    pub usage: Usage,
}

impl Turn {
    /// Keeps a reply's id.
    pub fn remember(&mut self, reply: &str) {
        if self.replies.len() == REPLIES {
            self.replies.pop_front();
        }
        self.replies.push_back(reply.to_owned());
    }

    /// The span below which its deeds hang: its own, or the agent's that takes its place.
    pub fn place(&self) -> SpanContext {
        match (self.told, self.context.parent_span_id) {
            (false, Some(span_id)) => SpanContext { span_id, parent_span_id: None, ..self.context },
            _ => self.context,
        }
    }

    /// Where something below the turn stands: below its parent, if the turn itself is not told.
    pub fn under(&self, below: SpanContext) -> SpanContext {
        if self.told { below } else { SpanContext { parent_span_id: self.context.parent_span_id, ..below } }
    }

    /// Keeps what was said for the turn's own span: the user's first message and the last answer.
    pub fn keep_content(&mut self, call: &ModelCall) {
        let Some(said) = &call.content else { return };
        let kept = self.content.get_or_insert_with(|| {
            let asked = said.input.iter().rfind(|message| message.role == "user").cloned();
            Box::new(Content { mode: said.mode, input: asked.into_iter().collect(), ..Content::default() })
        });
        kept.output.clone_from(&said.output);
    }

    /// Keeps what the turn's own span tells of its calls.
    pub fn sum_up(&mut self, call: &ModelCall) {
        if self.model.is_none() {
            self.model.clone_from(&call.parameters.model);
        }
        if call.operation.is_inference() {
            self.finish_reasons.clone_from(&call.reply.finish_reasons);
        }
        // What was not reported is absent, also from a sum.
        let add = |sum: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        };
        add(&mut self.usage.input, call.usage.input);
        add(&mut self.usage.output, call.usage.output);
    }

    /// True if one of these results answers an open call.
    pub fn awaits(&self, call: &ModelCall) -> bool {
        let results = &call.thread.tool_results;
        self.tools.values().any(|tool| results.iter().any(|result| tool.id.as_deref() == Some(result.id.as_str())))
    }
}

/// What a held process waits for.
#[derive(Clone, Debug)]
pub enum Waits {
    /// Whether this call was still open when it started: it is a child of the agent itself.
    Call(ToolRef),
    /// Which requests its server was carrying out for this agent when it started: those told so far.
    Server { server: ProcessKey, agent: ProcessKey, requests: Vec<ToolRef> },
}

impl Waits {
    /// True if it waits for this call only.
    pub fn is_call(&self, tool: ToolRef) -> bool {
        matches!(self, Waits::Call(of) if *of == tool)
    }

    /// True if it waits for a call of this turn only.
    pub fn is_turn(&self, turn: u64) -> bool {
        matches!(self, Waits::Call(of) if of.turn == turn)
    }
}

/// What is decided on a held process.
#[derive(Clone, Copy, Debug)]
pub enum Decided {
    /// It belongs to no call.
    Nothing,
    /// It runs this call, or a part of it.
    Runs(ToolRef),
    /// It was started for a request that has a span of its own.
    Under(SpanContext),
}

/// Observations of a process and its descendants that wait for a decision: it may be the process of a call.
#[derive(Debug)]
pub struct Held {
    pub waits: Waits,
    /// When it executed its program.
    pub executed: Timestamp,
    pub observations: Vec<Observation>,
}
