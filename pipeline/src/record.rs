//! Records: an observation as a named event with attributes, the common ground of log records, CloudEvents and
//! signatures.

mod deeds;
mod network;
mod profile;

use crate::{
    ids::Timestamp,
    observation::{
        AgentTurn, Api, ConnectionFacts, Content, ContentMode, Exit, Finding, Heartbeat, Kind, Loss, Match, McpCall,
        McpTarget, ModelCall, Observation, OpaqueCall, Process, ProcessInfo, ProcessPhase, Severity, ToolCall,
        ToolContent, parsed_json,
    },
    semconv::{self as name, event},
};

pub use deeds::{namespaces, ring_operation};
pub use profile::adapt;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Str(String),
    /// Integer.
    Int(i64),
    /// Floating point; never NaN or infinite.
    Double(f64),
    /// Truth.
    Bool(bool),
    /// List of texts.
    Strings(Vec<String>),
    /// Content: JSON text on spans, structured on events.
    Json(serde_json::Value),
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Str(value.to_owned())
    }
}
impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Str(value)
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Double(value)
    }
}
impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        Value::Json(value)
    }
}
impl From<Vec<String>> for Value {
    fn from(value: Vec<String>) -> Self {
        Value::Strings(value)
    }
}

/// Attributes in the order in which they are written. Names come from [`crate::semconv`].
pub type Attributes = Vec<(&'static str, Value)>;

/// An observation as an event.
#[derive(Clone, Debug)]
pub struct Record {
    /// Event name, as `onlooker.process.exec`.
    pub name: &'static str,
    /// When it happened.
    pub time: Timestamp,
    /// How much it matters.
    pub severity: Severity,
    /// Attributes.
    pub attributes: Attributes,
}

/// A signed CloudEvents 1.0 envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The envelope with its signature, as canonical JSON (RFC 8785) on one line.
    pub json: String,
    /// Position in the chain.
    pub sequence: u64,
    /// Name of the key.
    pub key_id: String,
}

/// An observation as an event; `None` for a plain exchange, which is nobody's business.
pub fn record(observation: &Observation) -> Option<Record> {
    let (name, severity) = match &observation.kind {
        Kind::Exchange(_) | Kind::Metrics(_) => return None,
        Kind::ModelCall(call) => {
            let details = call.content.as_ref().is_some_and(|content| content.mode.on_events());
            let name =
                if details && call.operation.is_inference() { event::INFERENCE_DETAILS } else { event::MODEL_CALL };
            (name, failed(call.error.is_some()))
        }
        Kind::ToolCall(call) => (event::TOOL_CALL, failed(tool_error(call).is_some())),
        Kind::AgentTurn(turn) => (event::AGENT_TURN, failed(turn.error.is_some())),
        Kind::McpCall(call) => (event::MCP_CALL, failed(call.error.is_some())),
        Kind::OpaqueCall(_) => (event::LLM_CONNECTION, Severity::Info),
        Kind::Process(process) => (
            match process.phase {
                ProcessPhase::Found => event::PROCESS_FOUND,
                ProcessPhase::Fork => event::PROCESS_FORK,
                ProcessPhase::Exec => event::PROCESS_EXEC,
                ProcessPhase::Replaced | ProcessPhase::Exit(_) => event::PROCESS_EXIT,
            },
            Severity::Info,
        ),
        Kind::File(file) => deeds::file_event(file),
        Kind::Security(security) => deeds::security_event(security),
        Kind::Connection(connection) => network::connection_event(connection),
        Kind::Dns(_) => (event::DNS_LOOKUP, Severity::Info),
        Kind::Finding(finding) => (finding.name, finding.severity),
        Kind::Heartbeat(_) => (event::HEARTBEAT, Severity::Info),
    };
    let mut attributes = attributes(observation);
    attributes.extend(content(observation, ContentMode::on_events));
    let time = match &observation.kind {
        Kind::Connection(connection) => network::time(connection, observation.time),
        _ => observation.time,
    };
    Some(Record { name, time, severity, attributes })
}

fn failed(failed: bool) -> Severity {
    if failed { Severity::Warn } else { Severity::Info }
}

/// The attributes of an observation, the same on its span and on its event. Never credentials, and content only by
/// [`content`].
pub fn attributes(observation: &Observation) -> Attributes {
    let mut out = List(Vec::new());
    let process = &*observation.process;
    match &observation.kind {
        Kind::Exchange(_) => {}
        Kind::ModelCall(call) => model_call(&mut out, call, process),
        Kind::ToolCall(call) => tool_call(&mut out, call),
        Kind::AgentTurn(turn) => agent_turn(&mut out, turn),
        Kind::McpCall(call) => mcp_call(&mut out, call),
        Kind::OpaqueCall(call) => opaque_call(&mut out, call),
        Kind::Process(event) => process_event(&mut out, event, process),
        Kind::File(file) => deeds::file(&mut out, file, process),
        Kind::Security(security) => deeds::security(&mut out, security, process),
        Kind::Connection(connection) => network::connection(&mut out, connection, process),
        Kind::Dns(dns) => network::dns(&mut out, dns, process),
        Kind::Finding(finding) => self::finding(&mut out, finding),
        Kind::Heartbeat(heartbeat) => self::heartbeat(&mut out, heartbeat),
        // Their attributes are those of each point.
        Kind::Metrics(_) => {}
    }
    out.maybe(name::ONLOOKER_LINK, &observation.link.map(|link| link.as_str()));
    if let Some(agent) = &observation.agent {
        out.fill(name::GEN_AI_AGENT_NAME, agent.name.as_deref());
        out.fill(name::GEN_AI_CONVERSATION_ID, agent.conversation_id.as_deref());
    }
    out.0
}

struct List(Attributes);

impl List {
    fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push((name, value.into()));
    }
    /// Absent stays absent.
    fn maybe<T: Into<Value> + Clone>(&mut self, name: &'static str, value: &Option<T>) {
        if let Some(value) = value {
            self.set(name, value.clone());
        }
    }
    /// Adds what is not there yet.
    fn fill(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value
            && !self.0.iter().any(|(other, _)| *other == name)
        {
            self.set(name, value);
        }
    }
    fn count(&mut self, name: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.set(name, i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    /// A list in the conventions' JSON shape; nothing if it is empty.
    fn json<T: serde::Serialize>(&mut self, name: &'static str, values: &[T]) {
        if !values.is_empty()
            && let Ok(json) = serde_json::to_value(values)
        {
            self.set(name, json);
        }
    }
    fn list(&mut self, name: &'static str, values: &[String]) {
        if !values.is_empty() {
            self.set(name, values.to_vec());
        }
    }
}

/// What was said, where the mode of its capture lets it be written.
pub fn content(observation: &Observation, written: impl Fn(ContentMode) -> bool) -> Attributes {
    let mut out = List(Vec::new());
    match &observation.kind {
        Kind::ModelCall(call) => said(&mut out, call.content.as_deref().filter(|content| written(content.mode))),
        Kind::AgentTurn(turn) => said(&mut out, turn.content.as_deref().filter(|content| written(content.mode))),
        Kind::ToolCall(call) => {
            if let Some(content) = call.content.as_deref().filter(|content| written(content.mode)) {
                tool_content(&mut out, content);
            }
        }
        Kind::McpCall(call) => {
            if let Some(content) = call.content.as_deref().filter(|content| written(content.mode)) {
                tool_content(&mut out, content);
            }
        }
        _ => {}
    }
    out.0
}

/// Objects, as the conventions' schemas want them (gen-ai-tool-call-arguments.json, gen-ai-tool-call-result.json): a text
/// that is one is parsed, anything else becomes the member `content` of one.
fn tool_content(out: &mut List, content: &ToolContent) {
    let object = |value: &serde_json::Value| match value {
        serde_json::Value::Object(_) => value.clone(),
        serde_json::Value::String(text) => match parsed_json(text) {
            parsed @ serde_json::Value::Object(_) => parsed,
            _ => serde_json::json!({"content": text}),
        },
        other => serde_json::json!({"content": other}),
    };
    out.maybe(name::GEN_AI_TOOL_CALL_ARGUMENTS, &content.arguments.as_ref().map(object));
    out.maybe(name::GEN_AI_TOOL_CALL_RESULT, &content.result.as_ref().map(object));
}

fn said(out: &mut List, content: Option<&Content>) {
    let Some(content) = content else { return };
    out.json(name::GEN_AI_SYSTEM_INSTRUCTIONS, &content.system_instructions);
    out.json(name::GEN_AI_INPUT_MESSAGES, &content.input);
    out.json(name::GEN_AI_OUTPUT_MESSAGES, &content.output);
    out.json(name::GEN_AI_TOOL_DEFINITIONS, &content.tools);
    out.maybe(name::GEN_AI_RETRIEVAL_QUERY_TEXT, &content.query);
    out.json(name::GEN_AI_RETRIEVAL_DOCUMENTS, &content.documents);
}

fn model_call(out: &mut List, call: &ModelCall, process: &ProcessInfo) {
    let (asked, reply, usage) = (&call.parameters, &call.reply, &call.usage);
    out.set(name::GEN_AI_OPERATION_NAME, call.operation.as_str());
    out.set(name::GEN_AI_PROVIDER_NAME, call.provider.as_str());
    out.maybe(name::GEN_AI_REQUEST_MODEL, &asked.model);
    out.maybe(name::GEN_AI_AGENT_NAME, &process.agent.as_ref().map(|agent| agent.name.clone()));
    out.maybe(name::GEN_AI_CONVERSATION_ID, &call.conversation_id);
    if !call.server.address.is_empty() {
        out.set(name::SERVER_ADDRESS, call.server.address.as_str());
        out.set(name::SERVER_PORT, i64::from(call.server.port));
    }
    if let Some(facts) = &call.facts {
        connection(out, facts);
    }
    if asked.stream {
        out.set(name::GEN_AI_REQUEST_STREAM, true);
    }
    out.maybe(name::GEN_AI_REQUEST_MAX_TOKENS, &asked.max_tokens);
    out.maybe(name::GEN_AI_REQUEST_TEMPERATURE, &asked.temperature);
    out.maybe(name::GEN_AI_REQUEST_TOP_P, &asked.top_p);
    out.maybe(name::GEN_AI_REQUEST_TOP_K, &asked.top_k);
    out.maybe(name::GEN_AI_REQUEST_FREQUENCY_PENALTY, &asked.frequency_penalty);
    out.maybe(name::GEN_AI_REQUEST_PRESENCE_PENALTY, &asked.presence_penalty);
    out.list(name::GEN_AI_REQUEST_STOP_SEQUENCES, &asked.stop_sequences);
    out.maybe(name::GEN_AI_REQUEST_SEED, &asked.seed);
    out.maybe(name::GEN_AI_REQUEST_CHOICE_COUNT, &asked.choice_count);
    out.maybe(name::GEN_AI_OUTPUT_TYPE, &asked.output_type);
    out.maybe(name::GEN_AI_REQUEST_REASONING_LEVEL, &asked.reasoning_level);
    out.maybe(name::GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID, &asked.previous_response_id);
    out.maybe(name::GEN_AI_REQUEST_STREAM_CURSOR, &asked.stream_cursor);
    out.maybe(name::GEN_AI_PROMPT_NAME, &asked.prompt_name);
    out.maybe(name::GEN_AI_PROMPT_VERSION, &asked.prompt_version.clone().filter(|_| asked.prompt_name.is_some()));
    out.maybe(name::GEN_AI_CONVERSATION_COMPACTED, &asked.compacted);
    out.maybe(name::GEN_AI_DATA_SOURCE_ID, &asked.data_source_id);
    out.maybe(name::GEN_AI_RETRIEVAL_TOP_K, &asked.retrieval_top_k);
    out.list(name::GEN_AI_REQUEST_ENCODING_FORMATS, &asked.encoding_formats);
    out.maybe(name::GEN_AI_EMBEDDINGS_DIMENSION_COUNT, &asked.dimensions);
    out.maybe(name::GEN_AI_RESPONSE_ID, &reply.id);
    out.maybe(name::GEN_AI_RESPONSE_MODEL, &reply.model);
    out.maybe(name::GEN_AI_RESPONSE_STATUS, &reply.response_status);
    out.list(name::GEN_AI_RESPONSE_FINISH_REASONS, &reply.finish_reasons);
    out.maybe(name::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, &reply.time_to_first_chunk.map(|time| time.as_secs_f64()));
    out.count(name::GEN_AI_USAGE_INPUT_TOKENS, usage.input);
    out.count(name::GEN_AI_USAGE_OUTPUT_TOKENS, usage.output);
    out.count(name::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, usage.cache_read);
    out.count(name::GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS, usage.cache_creation);
    out.count(name::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, usage.reasoning);
    // The conventions tie these to the provider's own name.
    if call.provider == "openai" {
        match call.api {
            Api::ChatCompletions => out.set(name::OPENAI_API_TYPE, "chat_completions"),
            Api::Responses | Api::FetchResponse => out.set(name::OPENAI_API_TYPE, "responses"),
            _ => {}
        }
        out.maybe(name::OPENAI_REQUEST_SERVICE_TIER, &asked.service_tier);
        out.maybe(name::OPENAI_RESPONSE_SERVICE_TIER, &reply.service_tier);
        out.maybe(name::OPENAI_RESPONSE_SYSTEM_FINGERPRINT, &reply.system_fingerprint);
    }
    match call.provider.as_str() {
        "aws.bedrock" => {
            out.maybe(name::AWS_BEDROCK_GUARDRAIL_ID, &asked.guardrail_id);
            out.maybe(name::AWS_BEDROCK_KNOWLEDGE_BASE_ID, &asked.knowledge_base_id);
        }
        "azure.ai.inference" | "azure.ai.openai" => {
            out.set(name::AZURE_RESOURCE_PROVIDER_NAMESPACE, "Microsoft.CognitiveServices");
        }
        _ => {}
    }
    if let Some(error) = &call.error {
        out.set(name::ERROR_TYPE, error.kind.as_str());
    }
    out.maybe(name::HTTP_RESPONSE_STATUS_CODE, &reply.status.map(i64::from));
    out.count(name::HTTP_REQUEST_RESEND_COUNT, call.resend_count.filter(|count| *count > 0));
    out.maybe(
        name::ONLOOKER_RESPONSE_LAST_CHUNK_TIME,
        &reply.last_chunk.map(|last| last.since(call.started).as_secs_f64()),
    );
    out.count(name::ONLOOKER_RESPONSE_CHUNKS, reply.chunks);
    losses(out, &call.losses);
}

/// The connection under a call. The peer may be a proxy: whom the call is for is `server.address`.
fn connection(out: &mut List, facts: &ConnectionFacts) {
    for (address, port, known) in [
        (name::NETWORK_PEER_ADDRESS, name::NETWORK_PEER_PORT, facts.peer),
        (name::NETWORK_LOCAL_ADDRESS, name::NETWORK_LOCAL_PORT, facts.local),
    ] {
        if let Some(known) = known {
            out.set(address, known.ip().to_string());
            out.set(port, i64::from(known.port()));
        }
    }
    out.maybe(name::ONLOOKER_TLS_SERVER_NAME, &facts.server_name);
}

/// A span that is not whole says so.
fn losses(out: &mut List, losses: &[Loss]) {
    let Some(first) = losses.first() else { return };
    out.set(name::ONLOOKER_CAPTURE_COMPLETE, false);
    out.set(name::ONLOOKER_CAPTURE_LOST_PART, first.part.as_str());
    out.set(name::ONLOOKER_CAPTURE_LOST_REASON, first.reason.as_str());
    let bytes = losses.iter().map(|loss| loss.bytes).sum::<u64>();
    out.count(name::ONLOOKER_CAPTURE_LOST_BYTES, Some(bytes).filter(|bytes| *bytes > 0));
}

/// `error.type` of a tool call: the exit code, the signal's name, why the request to its server failed, or `tool_error` if
/// only its result says so.
pub fn tool_error(call: &ToolCall) -> Option<String> {
    let asked = || call.mcp.as_ref().and_then(|call| call.error.as_ref()).map(|error| error.kind.clone());
    call.exit.and_then(exit_error).or_else(asked).or_else(|| call.result_error.then(|| "tool_error".to_owned()))
}

/// `error.type` of a process: the exit code, or the signal's name.
pub fn exit_error(exit: Exit) -> Option<String> {
    match exit.signal {
        Some(signal) => Some(signal_name(signal)),
        None if exit.code != 0 => Some(exit.code.to_string()),
        None => None,
    }
}

/// `SIGKILL` for 9; `signal 40` for those without a name (signal(7), x86 and ARM).
pub fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let known = usize::try_from(signal - 1).ok().and_then(|at| NAMES.get(at));
    known.map_or_else(|| format!("signal {signal}"), |name| format!("SIG{name}"))
}

fn tool_call(out: &mut List, call: &ToolCall) {
    out.set(name::GEN_AI_OPERATION_NAME, "execute_tool");
    out.set(name::GEN_AI_TOOL_NAME, call.name.as_str());
    out.maybe(name::GEN_AI_TOOL_CALL_ID, &call.id);
    out.set(name::GEN_AI_TOOL_TYPE, "function");
    out.maybe(name::GEN_AI_AGENT_NAME, &call.agent_name);
    out.maybe(name::GEN_AI_CONVERSATION_ID, &call.conversation_id);
    out.maybe(name::ERROR_TYPE, &tool_error(call));
    out.set(name::ONLOOKER_TOOL_EVIDENCE, call.evidence.as_str());
    out.maybe(name::ONLOOKER_TOOL_MATCH, &call.matched.map(|matched| matched.as_str()));
    out.maybe(name::ONLOOKER_TOOL_PROCESS_PID, &call.process.map(|process| i64::from(process.tgid)));
    out.maybe(
        name::ONLOOKER_TOOL_EXIT_CODE,
        &call.exit.filter(|exit| exit.signal.is_none()).map(|exit| i64::from(exit.code)),
    );
    out.set(name::ONLOOKER_TOOL_RESULT_SEEN, call.result_seen);
    if let Some(call) = &call.mcp {
        mcp(out, call);
    }
}

fn agent_turn(out: &mut List, turn: &AgentTurn) {
    out.set(name::GEN_AI_OPERATION_NAME, "invoke_agent");
    out.set(name::GEN_AI_AGENT_NAME, turn.agent_name.as_str());
    out.maybe(name::GEN_AI_CONVERSATION_ID, &turn.conversation_id);
    out.maybe(name::GEN_AI_REQUEST_MODEL, &turn.model);
    out.list(name::GEN_AI_RESPONSE_FINISH_REASONS, &turn.finish_reasons);
    out.count(name::GEN_AI_USAGE_INPUT_TOKENS, turn.usage.input);
    out.count(name::GEN_AI_USAGE_OUTPUT_TOKENS, turn.usage.output);
    out.maybe(name::ERROR_TYPE, &turn.error);
    out.maybe(name::ONLOOKER_AGENT_VERSION, &turn.agent_version);
    out.set(name::ONLOOKER_TURN_NUMBER, i64::from(turn.number));
    out.set(name::ONLOOKER_TURN_MODEL_CALLS, i64::from(turn.model_calls));
    out.set(name::ONLOOKER_TURN_TOOL_CALLS, i64::from(turn.tool_calls));
    out.set(name::ONLOOKER_TURN_END, turn.end.as_str());
}

fn mcp_call(out: &mut List, call: &McpCall) {
    if call.tool().is_some() {
        out.set(name::GEN_AI_OPERATION_NAME, "execute_tool");
    }
    if let Some(tool) = call.tool() {
        out.set(name::GEN_AI_TOOL_NAME, tool);
    }
    if let Some(error) = &call.error {
        out.set(name::ERROR_TYPE, error.kind.as_str());
    }
    if let Some(program) = call.program {
        out.set(name::ONLOOKER_TOOL_MATCH, Match::Sole.as_str());
        out.set(name::ONLOOKER_TOOL_PROCESS_PID, i64::from(program.tgid));
    }
    mcp(out, call);
    losses(out, &call.losses);
}

/// What a request of the Model Context Protocol adds to the span that stands for it.
fn mcp(out: &mut List, call: &McpCall) {
    out.set(name::MCP_METHOD_NAME, call.method.as_str());
    match &call.target {
        Some(McpTarget::Prompt(prompt)) => out.set(name::GEN_AI_PROMPT_NAME, prompt.as_str()),
        Some(McpTarget::Resource(uri)) => out.set(name::MCP_RESOURCE_URI, uri.as_str()),
        Some(McpTarget::Tool(_)) | None => {}
    }
    out.maybe(name::JSONRPC_REQUEST_ID, &call.id);
    out.maybe(name::JSONRPC_PROTOCOL_VERSION, &call.jsonrpc_version);
    out.maybe(name::MCP_PROTOCOL_VERSION, &call.protocol_version);
    out.maybe(name::MCP_SESSION_ID, &call.session_id);
    out.set(name::NETWORK_TRANSPORT, call.transport());
    if let Some(http) = &call.http {
        out.set(name::NETWORK_PROTOCOL_NAME, "http");
        out.set(name::NETWORK_PROTOCOL_VERSION, http.version());
        if let Some(server) = &http.server {
            out.set(name::SERVER_ADDRESS, server.address.as_str());
            out.set(name::SERVER_PORT, i64::from(server.port));
        }
        if let Some(client) = &http.client {
            out.set(name::CLIENT_ADDRESS, client.ip().to_string());
            out.set(name::CLIENT_PORT, i64::from(client.port()));
        }
        // Of a request that HTTP refused, this says how.
        if let Some(status) = http.status.filter(|status| *status >= 400) {
            out.set(name::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
        }
    }
    if let Some(code) = call.error.as_ref().and_then(|error| error.code) {
        out.set(name::RPC_RESPONSE_STATUS_CODE, code.to_string());
    }
    out.maybe(name::ONLOOKER_MCP_CLIENT_NAME, &call.client.name);
    out.maybe(name::ONLOOKER_MCP_CLIENT_VERSION, &call.client.version);
    out.maybe(name::ONLOOKER_MCP_SERVER_NAME, &call.server.name);
    out.maybe(name::ONLOOKER_MCP_SERVER_VERSION, &call.server.version);
    out.maybe(name::ONLOOKER_MCP_MATCH, &call.matched.map(|matched| matched.as_str()));
    out.maybe(name::ONLOOKER_MCP_PEER_PID, &call.peer.map(|peer| i64::from(peer.tgid)));
    out.count(name::ONLOOKER_MCP_REQUEST_SIZE, Some(call.request_size));
    out.count(name::ONLOOKER_MCP_RESPONSE_SIZE, call.response_size);
}

fn opaque_call(out: &mut List, call: &OpaqueCall) {
    out.maybe(name::GEN_AI_PROVIDER_NAME, &call.provider);
    out.set(name::SERVER_ADDRESS, call.server_name.as_str());
    out.maybe(name::SERVER_PORT, &call.facts.peer.map(|peer| i64::from(peer.port())));
    connection(out, &call.facts);
    out.set(name::ONLOOKER_LLM_CONNECTION_NAME_SOURCE, call.name_source.as_str());
    out.list(name::ONLOOKER_LLM_CONNECTION_ALPN, &call.facts.alpn);
    out.count(name::ONLOOKER_LLM_CONNECTION_SENT_BYTES, Some(call.sent));
    out.count(name::ONLOOKER_LLM_CONNECTION_RECEIVED_BYTES, Some(call.received));
    out.maybe(name::ONLOOKER_LLM_CONNECTION_TIME_TO_FIRST_BYTE, &call.first_byte.map(|time| time.as_secs_f64()));
    out.set(name::ONLOOKER_LLM_CONNECTION_DURATION, call.ended.since(call.started).as_secs_f64());
}

fn process_event(out: &mut List, event: &Process, process: &ProcessInfo) {
    out.set(name::PROCESS_EXECUTABLE_NAME, process.executable_name());
    out.set(name::PROCESS_PID, i64::from(process.key.tgid));
    match event.phase {
        ProcessPhase::Exit(exit) => {
            // A shell's number for a process that a signal ended; the signal itself is told too.
            let code = exit.signal.map_or(exit.code, |signal| 128 + signal);
            out.set(name::PROCESS_EXIT_CODE, i64::from(code));
            out.maybe(name::ONLOOKER_PROCESS_EXIT_SIGNAL, &exit.signal.map(signal_name));
            out.maybe(name::ERROR_TYPE, &exit_error(exit));
        }
        ProcessPhase::Replaced => out.set(name::ONLOOKER_PROCESS_REPLACED, true),
        ProcessPhase::Found | ProcessPhase::Fork | ProcessPhase::Exec => {}
    }
    if !process.executable.is_empty() {
        out.set(name::PROCESS_EXECUTABLE_PATH, process.executable.as_str());
    }
    if let Some(build) = &process.build {
        out.maybe(name::PROCESS_EXECUTABLE_BUILD_ID_GNU, &build.gnu);
        out.set(name::PROCESS_EXECUTABLE_BUILD_ID_HTLHASH, build.hash.as_str());
    }
    out.list(name::PROCESS_COMMAND_ARGS, &process.args);
    if process.args_truncated {
        out.set(name::ONLOOKER_PROCESS_ARGS_TRUNCATED, true);
    }
    out.maybe(name::PROCESS_PARENT_PID, &process.parent.map(|parent| i64::from(parent.tgid)));
    out.maybe(name::PROCESS_WORKING_DIRECTORY, &process.cwd);
    out.set(name::PROCESS_USER_ID, i64::from(process.uid));
    out.maybe(name::PROCESS_USER_NAME, &process.user);
    out.maybe(
        name::GEN_AI_AGENT_NAME,
        &process.agent.as_ref().filter(|agent| agent.known).map(|agent| agent.name.clone()),
    );
}

fn finding(out: &mut List, finding: &Finding) {
    out.set(name::ONLOOKER_FINDING_MESSAGE, finding.message.as_str());
    out.0.extend(finding.attributes.iter().cloned());
}

fn heartbeat(out: &mut List, heartbeat: &Heartbeat) {
    let probes = |working: bool| -> Vec<String> {
        let chosen = heartbeat.probes.iter().filter(|(_, error)| error.is_none() == working);
        chosen
            .map(|(name, error)| error.as_ref().map_or_else(|| name.clone(), |error| format!("{name}: {error}")))
            .collect()
    };
    out.count(name::ONLOOKER_HEARTBEAT_SEQUENCE, Some(heartbeat.sequence));
    out.set(name::ONLOOKER_HEARTBEAT_LAST, heartbeat.last);
    out.list(name::ONLOOKER_HEARTBEAT_WORKING_PROBES, &probes(true));
    out.list(name::ONLOOKER_HEARTBEAT_FAILED_PROBES, &probes(false));
    let counts: Vec<String> = heartbeat.counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
    out.list(name::ONLOOKER_HEARTBEAT_COUNTS, &counts);
    let deltas: Vec<String> = heartbeat.deltas.iter().map(|(name, count)| format!("{name}={count}")).collect();
    out.list(name::ONLOOKER_HEARTBEAT_DELTAS, &deltas);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tools_are_given_and_give_objects() {
        let told = |arguments, result| {
            let mut out = List(Vec::new());
            tool_content(&mut out, &ToolContent { mode: ContentMode::SpanOnly, arguments, result });
            out.0.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        let expected = vec![Value::Json(json!({"a": 1})), Value::Json(json!({"content": "hello"}))];
        assert_eq!(told(Some(json!({"a": 1})), Some(json!("hello"))), expected);
        let expected = vec![Value::Json(json!({"a": 1})), Value::Json(json!({"content": [1]}))];
        assert_eq!(told(Some(json!("{\"a\":1}")), Some(json!([1]))), expected);
        assert!(told(None, None).is_empty());
    }
}
