//! What a message says, as far as a call tells it, whatever carried it.

use pipeline::{
    SpanContext, mask,
    observation::{Implementation, McpCall, McpError, McpTarget},
};

use crate::streams::jsonrpc::{
    Framed,
    message::{Id, Message},
};

/// Longest texts that go out, in characters.
const LONGEST_NAME: usize = 256;
const LONGEST_MESSAGE: usize = 512;

/// Longest arguments and results that are kept as content, in bytes.
const LONGEST_CONTENT: usize = 256 << 10;

/// Requests that only a session's client sends, and notifications.
const CLIENT: &[&str] = &[
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "server/discover",
    "subscriptions/listen",
    "notifications/initialized",
    "notifications/roots/list_changed",
];

/// Those that only its server sends.
const SERVER: &[&str] = &[
    "sampling/createMessage",
    "roots/list",
    "elicitation/create",
    "notifications/message",
    "notifications/elicitation/complete",
    "notifications/tools/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/prompts/list_changed",
    "notifications/subscriptions/acknowledged",
];

/// Whether the sender of this message is the session's client; `None` if either may be.
pub(super) fn from_client(message: &Message<'_>) -> Option<bool> {
    let method = message.text("method")?;
    // Editors' and other agents' protocols begin with `initialize` too; only here its version is a date.
    if (method == "initialize" && message.text("params.protocolVersion").is_some()) || CLIENT.contains(&method) {
        return Some(true);
    }
    SERVER.contains(&method).then_some(false)
}

/// A request or a notification.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Absent for a notification.
    pub id: Option<String>,
    pub method: String,
    pub target: Option<McpTarget>,
    pub jsonrpc_version: Option<String>,
    pub protocol_version: Option<String>,
    pub client: Implementation,
    pub arguments: Option<[u8; 8]>,
    pub raw_arguments: Option<String>,
    pub remote_parent: Option<SpanContext>,
    pub size: u64,
    /// In whatever unit the message's times are.
    pub started: u64,
    pub cut: bool,
    /// Tells notifications of one moment apart.
    pub ordinal: u32,
    /// Its number among those whose other end may be seen too.
    pub sent: Option<u64>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub id: Id,
    pub ended: u64,
    pub size: u64,
    pub error: Option<McpError>,
    pub protocol_version: Option<String>,
    pub server: Implementation,
    pub raw_result: Option<String>,
    pub cut: bool,
}

impl Asked {
    /// Of a message that has a method.
    pub(super) fn of(framed: &Framed, message: &Message<'_>) -> Self {
        let method = message.text("method").unwrap_or_default();
        let name = |path| message.text(path).map(|text| masked(text, LONGEST_NAME));
        let uri =
            |path| message.text(path).map(|text| McpTarget::Resource(shorten(&mask::target(text), LONGEST_MESSAGE)));
        let target = match method {
            "tools/call" => name("params.name").map(McpTarget::Tool),
            "prompts/get" => name("params.name").map(McpTarget::Prompt),
            "completion/complete" => name("params.ref.name").map(McpTarget::Prompt).or_else(|| uri("params.ref.uri")),
            _ if method.starts_with("resources/") || method == "notifications/resources/updated" => uri("params.uri"),
            _ => None,
        };
        let call = method == "tools/call";
        let arguments = message.arguments.filter(|_| call);
        Self {
            id: message.id("id").map(|id| masked(&id.text, LONGEST_NAME)),
            method: masked(method, LONGEST_NAME),
            target,
            jsonrpc_version: name("jsonrpc").filter(|version| version != "2.0"),
            protocol_version: name("params.protocolVersion")
                .or_else(|| name("params._meta.io.modelcontextprotocol/protocolVersion")),
            client: Implementation {
                name: name("params.clientInfo.name")
                    .or_else(|| name("params._meta.io.modelcontextprotocol/clientInfo.name")),
                version: name("params.clientInfo.version")
                    .or_else(|| name("params._meta.io.modelcontextprotocol/clientInfo.version")),
            },
            arguments: arguments.and_then(McpCall::digest),
            raw_arguments: content(arguments),
            remote_parent: message.text("params._meta.traceparent").and_then(SpanContext::from_traceparent),
            size: framed.size,
            started: framed.started,
            cut: framed.tail.is_some(),
            ordinal: 0,
            sent: None,
        }
    }
}

impl Answer {
    /// Of a message that has a result or an error.
    pub(super) fn of(framed: &Framed, message: &Message<'_>) -> Option<Self> {
        let id = message.id("id").filter(|_| message.answer)?;
        let name = |path| message.text(path).map(|text| masked(text, LONGEST_NAME));
        Some(Self {
            id,
            ended: framed.ended,
            size: framed.size,
            error: failure(message),
            protocol_version: name("result.protocolVersion"),
            server: Implementation {
                name: name("result.serverInfo.name")
                    .or_else(|| name("result._meta.io.modelcontextprotocol/serverInfo.name")),
                version: name("result.serverInfo.version")
                    .or_else(|| name("result._meta.io.modelcontextprotocol/serverInfo.version")),
            },
            raw_result: content(message.result),
            cut: framed.tail.is_some(),
        })
    }
}

/// Why an answer is a failure, if it is.
pub(super) fn failure(message: &Message<'_>) -> Option<McpError> {
    if message.failed {
        let code = message.integer("error.code");
        let text = message.text("error.message").map(|text| masked(text, LONGEST_MESSAGE));
        return Some(McpError {
            kind: code.map_or_else(|| "_OTHER".into(), |code| code.to_string()),
            code,
            message: text,
        });
    }
    let says = || "the tool's result says that it failed".to_owned();
    message.truth("result.isError").then(|| McpError { kind: "tool_error".into(), code: None, message: Some(says()) })
}

fn content(json: Option<&str>) -> Option<String> {
    json.filter(|json| json.len() <= LONGEST_CONTENT).map(str::to_owned)
}

fn masked(text: &str, longest: usize) -> String {
    shorten(&mask::text(text), longest)
}

/// After masking: half of a secret may not look like one.
fn shorten(text: &str, longest: usize) -> String {
    text.chars().take(longest).collect()
}
