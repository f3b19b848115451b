//! A request of the Model Context Protocol and its answer (modelcontextprotocol.io, specification 2025-06-18), as seen on a
//! server's standard streams.
//!
//! Arguments and results are content: of them only the sizes are kept.

use crate::{
    ids::{ProcessKey, SpanContext, SpanId, Timestamp},
    observation::exchange::{Loss, Role},
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

/// A request and its answer.
#[derive(Clone, Debug)]
pub struct McpCall {
    /// `Client`: the observed process asked; `Server`: it answered. Either peer of a session asks the other.
    pub role: Role,
    /// `mcp.method.name`
    pub method: String,
    /// `jsonrpc.request.id` as text.
    pub id: String,
    /// What it is about, if the method has something that it is about.
    pub target: Option<McpTarget>,
    /// `jsonrpc.protocol.version`, if it is not 2.0.
    pub jsonrpc_version: Option<String>,
    /// `mcp.protocol.version`: the server's answer to `initialize`, if the beginning of the session was seen.
    pub protocol_version: Option<String>,
    /// `network.transport`: `pipe` for standard streams, whatever they are connected by.
    pub transport: &'static str,
    /// The session's client.
    pub client: Implementation,
    /// The session's server.
    pub server: Implementation,
    /// The process at the other end, if it is seen too.
    pub peer: Option<ProcessKey>,
    /// First byte of the request.
    pub started: Timestamp,
    /// Last byte of the answer; without one, when waiting for it ended.
    pub ended: Timestamp,
    /// Digest of `params.arguments` ([`McpCall::digest`]), to tell calls of one tool apart. Never leaves the program.
    pub arguments: Option<[u8; 8]>,
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
}

impl McpCall {
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
