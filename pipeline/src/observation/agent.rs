//! Turns of an agent and the tools it ran. Made by `correlation`.

use crate::{
    ids::{ProcessKey, Timestamp},
    observation::{
        content::{Content, ToolContent},
        mcp::McpCall,
        model::Usage,
        process::Exit,
    },
};

/// What the start, the end and the outcome of a tool call rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The process that ran it.
    Process,
    /// The request of the Model Context Protocol that carried it out.
    Mcp,
    /// The wire only: the answer that asked for it and the request that carried its result.
    Wire,
}

impl Evidence {
    /// The value of `onlooker.tool.evidence`.
    pub fn as_str(self) -> &'static str {
        match self {
            Evidence::Process => "process",
            Evidence::Mcp => "mcp",
            Evidence::Wire => "wire",
        }
    }
}

/// How a tool call was tied to its process, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// The child's environment names the call.
    CallId,
    /// The command of the arguments stands in the child's argv.
    Command,
    /// It was the only open call when the child appeared.
    Sole,
}

impl Match {
    /// The value of `onlooker.tool.match`.
    pub fn as_str(self) -> &'static str {
        match self {
            Match::CallId => "call_id",
            Match::Command => "command",
            Match::Sole => "sole",
        }
    }
}

/// How the span above an observation was found (of an event: the span that it is in), where it is not simply that of the
/// program which started it or of the turn which it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// The process's environment names the call.
    CallId,
    /// The process runs the command of the call's arguments.
    Command,
    /// Of all calls and requests, no other was open that it could belong to.
    Sole,
    /// The open turn of the agent that did it: nothing nearer is known.
    Turn,
    /// The program that did it, or that the agent is: no turn of its own is above it.
    Program,
    /// A sub-agent whose first message is the prompt of the call; under the turn if several of its calls have that prompt.
    Prompt,
    /// The messages of a request are those of the call that a gateway makes it for, or go on with those of the turn's last
    /// request.
    Messages,
    /// A request carries a tool's result that the turn waits for.
    Result,
    /// A request names a response of the turn.
    ResponseId,
    /// The turn's last request failed, and this is the same again.
    Retry,
    /// Another process or program of the same agent goes on with the turn.
    Heir,
    /// A request of the Model Context Protocol that carries out a call of the model once more.
    Call,
    /// The same message, as the process told it that sent it.
    Message,
    /// The call's arguments name the path.
    Arguments,
    /// The request carries the context of the agent's own span.
    Traceparent,
}

impl Link {
    /// All of them.
    pub const ALL: &[Link] = &[
        Link::CallId,
        Link::Command,
        Link::Sole,
        Link::Turn,
        Link::Program,
        Link::Prompt,
        Link::Messages,
        Link::Result,
        Link::ResponseId,
        Link::Retry,
        Link::Heir,
        Link::Call,
        Link::Message,
        Link::Arguments,
        Link::Traceparent,
    ];

    /// The value of `onlooker.link`.
    pub fn as_str(self) -> &'static str {
        match self {
            Link::CallId => "call_id",
            Link::Command => "command",
            Link::Sole => "sole",
            Link::Turn => "turn",
            Link::Program => "program",
            Link::Prompt => "prompt",
            Link::Messages => "messages",
            Link::Result => "result",
            Link::ResponseId => "response_id",
            Link::Retry => "retry",
            Link::Heir => "heir",
            Link::Call => "call",
            Link::Message => "message",
            Link::Arguments => "arguments",
            Link::Traceparent => "traceparent",
        }
    }
}

impl From<Match> for Link {
    fn from(matched: Match) -> Self {
        match matched {
            Match::CallId => Link::CallId,
            Match::Command => Link::Command,
            Match::Sole => Link::Sole,
        }
    }
}

/// A tool that the model asked for.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// `gen_ai.tool.call.id`
    pub id: Option<String>,
    /// `gen_ai.tool.name`
    pub name: String,
    /// Arguments as the model sent them. Content: not exported by default.
    pub arguments: String,
    /// Start: the process's, else the end of the answer that asked for it.
    pub started: Timestamp,
    /// End: the process's, else the start of the request with the result.
    pub ended: Timestamp,
    /// What times and outcome rest on.
    pub evidence: Evidence,
    /// How the process was found.
    pub matched: Option<Match>,
    /// The process that ran it.
    pub process: Option<ProcessKey>,
    /// How that process ended, if it did before the call closed.
    pub exit: Option<Exit>,
    /// True if the result said that the tool failed.
    pub result_error: bool,
    /// True if a request carried the result back.
    pub result_seen: bool,
    /// `gen_ai.agent.name`
    pub agent_name: Option<String>,
    /// `gen_ai.conversation.id`
    pub conversation_id: Option<String>,
    /// What it was given and gave, if content is captured.
    pub content: Option<Box<ToolContent>>,
    /// The request of the Model Context Protocol that carried it out.
    pub mcp: Option<Box<McpCall>>,
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnEnd {
    /// The model answered without asking for a tool.
    Answered,
    /// The agent's process ended.
    Exit,
    /// Nothing happened for `turn_idle_timeout`.
    Idle,
    /// A new user message opened the next turn.
    Superseded,
    /// onlooker stopped.
    Shutdown,
}

impl TurnEnd {
    /// The value of `onlooker.turn.end`.
    pub fn as_str(self) -> &'static str {
        match self {
            TurnEnd::Answered => "answered",
            TurnEnd::Exit => "exit",
            TurnEnd::Idle => "idle",
            TurnEnd::Superseded => "superseded",
            TurnEnd::Shutdown => "shutdown",
        }
    }
}

/// From a user's message to the agent's answer.
#[derive(Clone, Debug)]
pub struct AgentTurn {
    /// Counts the turns of a process from 0.
    pub number: u32,
    /// `gen_ai.agent.name`
    pub agent_name: String,
    /// `gen_ai.agent.version`
    pub agent_version: Option<String>,
    /// `gen_ai.conversation.id`
    pub conversation_id: Option<String>,
    /// `gen_ai.provider.name` of its calls.
    pub provider: Option<String>,
    /// First byte of its first request.
    pub started: Timestamp,
    /// Last byte of its last answer, or the event that ended it.
    pub ended: Timestamp,
    /// Model calls made.
    pub model_calls: u32,
    /// Tool calls made.
    pub tool_calls: u32,
    /// Why it ended.
    pub end: TurnEnd,
    /// `error.type` of its last call, if the turn ended on a failure.
    pub error: Option<String>,
    /// The user's message and the last answer, if content is captured.
    pub content: Option<Box<Content>>,
    /// `gen_ai.request.model` of its first call.
    pub model: Option<String>,
    /// `gen_ai.response.finish_reasons` of its last call.
    pub finish_reasons: Vec<String>,
    /// Tokens of its calls, added up: what was reported.
    pub usage: Usage,
}

/// The agent on whose behalf something was done, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnBehalf {
    /// `gen_ai.agent.name`
    pub name: Option<String>,
    /// `gen_ai.conversation.id`
    pub conversation_id: Option<String>,
}
