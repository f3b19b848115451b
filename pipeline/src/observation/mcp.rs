//! A request of the Model Context Protocol and its answer, or a notification (modelcontextprotocol.io, specifications
//! 2024-11-05 to 2026-07-28), as seen on a server's standard streams or in HTTP.
//!
//! Arguments and results are content: `provider` keeps them only where their capture is switched on.

use std::net::SocketAddr;

use crate::{
    ids::{ProcessKey, SpanContext, SpanId, Timestamp},
    observation::{
        content::{ContentMode, ToolContent, parsed},
        exchange::{Loss, Protocol, Role},
        model::ServerAddress,
    },
};

/// Longest arguments of which a digest is made.
const LONGEST: usize = 1 << 20;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpTarget {
    /// `params.name` of `tools/call`: `gen_ai.tool.name`.
    Tool(String),
    /// `params.name` of `prompts/get`, `params.ref.name` of `completion/complete`: `gen_ai.prompt.name`.
    Prompt(String),
    /// `params.uri` of `resources/…`, `params.ref.uri` of `completion/complete`: `mcp.resource.uri`. Secrets in it are masked.
    Resource(String),
}

/// Name and version that a side gives itself when the session begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Implementation {
    /// `name` of `clientInfo` or `serverInfo`.
    pub name: Option<String>,
    /// `version` of it.
    pub version: Option<String>,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpError {
    /// `error.type`: the code as text, `tool_error` where a tool's result says so, `cancelled` where the asker gave up.
    pub kind: String,
    /// `rpc.response.status_code`: `error.code` of the answer (JSON-RPC 2.0, section 5.1).
    pub code: Option<i64>,
    /// `error.message`, masked and shortened.
    pub message: Option<String>,
}

/// How a request was found to carry out a call of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum McpMatch {
    /// The only open call of the tool's name.
    Name,
    /// Of several of that name, or where only its end fits: the one with the same arguments.
    Arguments,
    /// Of several with the same arguments, the next.
    Order,
}

impl McpMatch {
    /// The value of `onlooker.mcp.match`.
    pub fn as_str(self) -> &'static str {
        match self {
            McpMatch::Name => "name",
            McpMatch::Arguments => "arguments",
            McpMatch::Order => "order",
        }
    }
}

/// What carried a message, if it was HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct McpHttp {
    /// `network.protocol.version`
    pub protocol: Protocol,
    /// `server.address` and `server.port`, where the session's client is observed and sent the message.
    pub server: Option<ServerAddress>,
    /// `client.address` and `client.port`, where the session's server is observed and was sent the message.
    pub client: Option<SocketAddr>,
    /// Status of the HTTP response that carried the answer, or refused to.
    pub status: Option<u16>,
}

impl McpHttp {
    /// `1.1` or `2`.
    pub fn version(&self) -> &'static str {
        match self.protocol {
            Protocol::Http1 | Protocol::WebSocket => "1.1",
            Protocol::Http2 => "2",
        }
    }
}

/// A request and its answer, or a notification.
#[derive(Clone, Debug)]
pub struct McpCall {
    /// `Client`: the observed process sent it; `Server`: it was sent to it. Either peer of a session asks the other.
    pub role: Role,
    /// `mcp.method.name`
    pub method: String,
    /// `jsonrpc.request.id` as text; a notification has none.
    pub id: Option<String>,
    /// What it is about, if the method has something that it is about.
    pub target: Option<McpTarget>,
    /// `jsonrpc.protocol.version`, if it is not 2.0.
    pub jsonrpc_version: Option<String>,
    /// `mcp.protocol.version`: the server's answer to `initialize`, if the beginning of the session was seen.
    pub protocol_version: Option<String>,
    /// `mcp.session.id`
    pub session_id: Option<String>,
    /// The HTTP that carried it; `None` for standard streams, whatever they are connected by.
    pub http: Option<McpHttp>,
    /// The session's client.
    pub client: Implementation,
    /// The session's server.
    pub server: Implementation,
    /// The process at the other end, if it is seen too.
    pub peer: Option<ProcessKey>,
    /// `Server` only: `started` and `ordinal` of the same message as the peer sent it, if that is seen too. The peer's
    /// call is told before this one.
    pub caller: Option<(Timestamp, u32)>,
    /// Tells messages of one moment apart: counts the earlier ones.
    pub ordinal: u32,
    /// First byte of the request.
    pub started: Timestamp,
    /// Last byte of the answer; without one, when waiting for it ended.
    pub ended: Timestamp,
    /// Digest of `params.arguments` ([`McpCall::digest`]), to tell calls of one tool apart. Never leaves the program.
    pub arguments: Option<[u8; 8]>,
    /// `params.arguments` of `tools/call` as they were written, until `provider` decided on content.
    pub raw_arguments: Option<String>,
    /// `result` of `tools/call` as it was written, until `provider` decided on content.
    pub raw_result: Option<String>,
    /// What the tool was given and gave, if content is captured.
    pub content: Option<Box<ToolContent>>,
    /// Bytes of the request.
    pub request_size: u64,
    /// Bytes of the answer; absent without one.
    pub response_size: Option<u64>,
    /// Why it failed, if it did.
    pub error: Option<McpError>,
    /// `traceparent` of `params._meta`.
    pub remote_parent: Option<SpanContext>,
    /// What is missing, if anything: an answer that never came, or was too long to be read.
    pub losses: Vec<Loss>,
    /// The first program that its server ran for it, found by its being the only request under way. Set by `correlation`.
    pub program: Option<ProcessKey>,
    /// How it was found to carry out a call of the model, if it does. Set by `correlation`.
    pub matched: Option<McpMatch>,
}

impl McpCall {
    /// One of which nothing else is known.
    pub fn new(role: Role, method: impl Into<String>, started: Timestamp) -> Self {
        Self {
            role,
            method: method.into(),
            id: None,
            target: None,
            jsonrpc_version: None,
            protocol_version: None,
            session_id: None,
            http: None,
            client: Implementation::default(),
            server: Implementation::default(),
            peer: None,
            caller: None,
            ordinal: 0,
            started,
            ended: started,
            arguments: None,
            raw_arguments: None,
            raw_result: None,
            content: None,
            request_size: 0,
            response_size: None,
            error: None,
            remote_parent: None,
            losses: Vec::new(),
            program: None,
            matched: None,
        }
    }

    /// `network.transport`: `pipe` for standard streams, whatever they are connected by.
    pub fn transport(&self) -> &'static str {
        if self.http.is_some() { "tcp" } else { "pipe" }
    }

    /// Decides on content: what was said is kept as such, or forgotten.
    pub fn decide_content(&mut self, mode: ContentMode) {
        let (arguments, result) = (self.raw_arguments.take(), self.raw_result.take());
        if mode.captures() && self.tool().is_some() {
            let json = |text: Option<String>| text.as_deref().map(parsed);
            self.content = Some(Box::new(ToolContent { mode, arguments: json(arguments), result: json(result) }));
        }
    }

    /// A digest of a JSON value that does not depend on how it is written. `None`: the text is no JSON, or it is very long.
    pub fn digest(json: &str) -> Option<[u8; 8]> {
        if json.len() > LONGEST {
            return None;
        }
        // Members of objects are sorted by the parser.
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        Some(SpanId::derive(&[b"arguments", value.to_string().as_bytes()]).0)
    }

    /// Name of the tool that was called, if one was.
    pub fn tool(&self) -> Option<&str> {
        match &self.target {
            Some(McpTarget::Tool(name)) => Some(name),
            _ => None,
        }
    }
}
