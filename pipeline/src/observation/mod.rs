//! The one record of the house: what was observed, about which process, when, and where it stands in a trace.
//!
//! It becomes more complete stage by stage. Encoders at the exporters' edge turn it into spans, log records and
//! metric points; nothing before that edge knows OTLP.

mod agent;
mod connection;
mod content;
mod dns;
mod exchange;
mod file;
mod mcp;
pub mod metrics;
mod model;
mod opaque;
mod process;
mod security;
mod workload;

use std::sync::Arc;

pub use self::process::{Agent, Build, Exit, Host, Process, ProcessInfo, ProcessPhase};
pub use agent::{AgentTurn, Evidence, Link, Match, OnBehalf, ToolCall, TurnEnd};
pub use connection::{Connection, ConnectionPhase, Endpoint, Failure, Transport};
pub use content::{
    Content, ContentMode, Document, Message, MessagePart, ToolContent, ToolDefinition, parsed as parsed_json,
};
pub use dns::Dns;
pub use exchange::{
    Body, ConnectionFacts, Exchange, Headers, Loss, LossReason, Mark, Part, Protocol, Request, Response, Role,
};
pub use file::{Deed, File, open_flags, rename_flags};
pub use mcp::{Implementation, McpCall, McpError, McpHttp, McpMatch, McpTarget};
pub use model::{
    Api, CallError, Modalities, ModelCall, Operation, Parameters, Reply, RequestedTool, ServerAddress, Thread,
    ToolResult, Usage,
};
pub use opaque::{NameSource, OpaqueCall};
pub use security::{Action, Ids, Security, Target};
pub use workload::{Owner, Workload};

use crate::ids::{SpanContext, Timestamp};

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When it happened; for something with a length, when it ended.
    pub time: Timestamp,
    /// Who did it.
    pub process: Arc<ProcessInfo>,
    /// Its place in a trace; set by `correlation`.
    pub context: Option<SpanContext>,
    /// How the span above it was found, where that needs saying; set by `correlation`.
    pub link: Option<Link>,
    /// What it was.
    pub kind: Kind,
    /// On whose behalf it was done; set by `correlation`.
    pub agent: Option<Arc<OnBehalf>>,
    /// The signed envelope; set by `signing`.
    pub envelope: Option<Arc<crate::record::Envelope>>,
}

impl Observation {
    /// An observation without a place in a trace.
    pub fn new(time: Timestamp, process: Arc<ProcessInfo>, kind: Kind) -> Self {
        Self { time, process, context: None, link: None, kind, agent: None, envelope: None }
    }
}

/// What was observed.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A request and its response, complete or broken off.
    Exchange(Box<Exchange>),
    /// A call to a model that was understood.
    ModelCall(Box<ModelCall>),
    /// A tool that the model asked for and the agent ran.
    ToolCall(Box<ToolCall>),
    /// From a user's message to the agent's answer.
    AgentTurn(Box<AgentTurn>),
    /// A request of the Model Context Protocol and its answer.
    McpCall(Box<McpCall>),
    /// A TLS connection to a known provider whose plaintext was not seen.
    OpaqueCall(Box<OpaqueCall>),
    /// A process started, executed a program or ended.
    Process(Box<Process>),
    /// A process did something to a file.
    File(Box<File>),
    /// A process did something that changes rights or reaches beyond it.
    Security(Box<Security>),
    /// A process connected, listens, or accepted connections.
    Connection(Box<Connection>),
    /// A process looked up a name.
    Dns(Box<Dns>),
    /// Declared and done disagree, or a layer is degraded.
    Finding(Box<Finding>),
    /// onlooker is alive: coverage and counts.
    Heartbeat(Box<Heartbeat>),
    /// Metric points; made by `metrics`.
    Metrics(Box<metrics::Metrics>),
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warn,
    /// Something is wrong.
    Error,
}

/// Declared and done disagree, something was lost, or a layer is degraded.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The event's name, as `onlooker.finding.tool_without_process`.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence for people, without secrets or content.
    pub message: String,
    /// Project attributes (`onlooker.*`) and their values.
    pub attributes: Vec<(&'static str, crate::record::Value)>,
}

/// onlooker is alive. At start, then every 60 s, and at the end.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat {
    /// 0 at start, then counting up.
    pub sequence: u64,
    /// True for the last one of a clean stop.
    pub last: bool,
    /// Per probe: its name and `None` if it works, else why not.
    pub probes: Vec<(String, Option<String>)>,
    /// Cumulative counts by name, as `kernel.dropped.payload_ring_full`.
    pub counts: Vec<(String, u64)>,
    /// What those that grew have grown by since the heartbeat before.
    pub deltas: Vec<(String, u64)>,
}
