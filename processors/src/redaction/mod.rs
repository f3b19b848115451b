//! `redaction`: masks secrets in every text that leaves, whatever it came from.
//!
//! The receiver masks arguments and credentials as soon as they are decoded; this is the second look, over
//! everything that the processors before it made, and with the operator's own patterns.

mod config;
mod content;
mod deeds;
mod mask;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use pipeline::{
    BuildContext, ComponentError, Factory, Kind, Observation, ProcessKey, Processor, Signal,
    observation::{
        AgentTurn, ConnectionFacts, Exchange, Finding, Heartbeat, McpCall, McpTarget, ModelCall, OnBehalf, OpaqueCall,
        ProcessInfo, ToolCall, metrics::Metrics,
    },
    record::Value,
};

pub use config::{Config, PatternConfig};
use mask::Masker;

/// Masked processes that are kept.
const CAPACITY: usize = 16_384;

/// The factory of this processor.
pub fn factory() -> Factory<dyn Processor> {
    Factory::new(
        "redaction",
        "masks secrets, and what the operator names, in every outgoing text",
        &[Signal::Traces, Signal::Logs, Signal::Metrics],
        |config, context| Ok(Box::new(Redaction::new(&config, context)?)),
    )
}

/// One state of a process.
struct Entry {
    source: Arc<ProcessInfo>,
    masked: Arc<ProcessInfo>,
}

/// The processor.
pub struct Redaction {
    masker: Masker,
    /// By process and count of its programs.
    processes: BTreeMap<(ProcessKey, u32), Entry>,
    /// Oldest first.
    order: VecDeque<(ProcessKey, u32)>,
    /// The agent that was masked last, before and after.
    behalf: Option<[Arc<OnBehalf>; 2]>,
}

impl Redaction {
    /// Compiles the patterns.
    pub fn new(config: &Config, context: &BuildContext) -> Result<Self, ComponentError> {
        let masker = Masker::new(config, Arc::clone(&context.telemetry)).map_err(ComponentError::new)?;
        Ok(Self { masker, processes: BTreeMap::new(), order: VecDeque::new(), behalf: None })
    }

    /// The masked form of what is known of a process: the same `Arc` if there is nothing to mask.
    fn process_info(&mut self, info: &Arc<ProcessInfo>) -> Arc<ProcessInfo> {
        let key = (info.key, info.exec_count);
        if let Some(entry) = self.processes.get(&key)
            && (Arc::ptr_eq(&entry.source, info) || entry.source == *info)
        {
            return Arc::clone(&entry.masked);
        }
        let mut masked = ProcessInfo::clone(info);
        process_info(&mut masked, &mut self.masker);
        let masked = if masked == **info { Arc::clone(info) } else { Arc::new(masked) };
        let entry = Entry { source: Arc::clone(info), masked: Arc::clone(&masked) };
        if self.processes.insert(key, entry).is_none() {
            self.order.push_back(key);
            if self.order.len() > CAPACITY
                && let Some(oldest) = self.order.pop_front()
            {
                self.processes.remove(&oldest);
            }
        }
        masked
    }
}

impl Processor for Redaction {
    fn process(&mut self, mut observation: Observation, out: &mut Vec<Observation>) {
        observation.process = self.process_info(&observation.process);
        let masker = &mut self.masker;
        if let Some(agent) = &mut observation.agent {
            on_behalf(agent, &mut self.behalf, masker);
        }
        match &mut observation.kind {
            Kind::Exchange(exchange) => self::exchange(exchange, masker),
            Kind::ModelCall(call) => model_call(call, masker),
            Kind::ToolCall(call) => tool_call(call, masker),
            Kind::AgentTurn(turn) => agent_turn(turn, masker),
            Kind::McpCall(call) => mcp_call(call, masker),
            Kind::OpaqueCall(call) => opaque_call(call, masker),
            Kind::File(file) => deeds::file(file, masker),
            Kind::Security(security) => deeds::security(security, masker),
            Kind::Connection(connection) => deeds::connection(connection, masker),
            Kind::Dns(dns) => deeds::dns(dns, masker),
            Kind::Finding(finding) => self::finding(finding, masker),
            Kind::Heartbeat(heartbeat) => self::heartbeat(heartbeat, masker),
            Kind::Metrics(metrics) => self::metrics(metrics, masker),
            // Numbers only.
            Kind::Process(_) => {}
        }
        out.push(observation);
    }
}

fn process_info(info: &mut ProcessInfo, masker: &mut Masker) {
    masker.text(&mut info.executable);
    masker.args(&mut info.args);
    masker.optional(&mut info.cwd);
    masker.optional(&mut info.user);
    masker.optional(&mut info.cgroup);
    for (name, value) in &mut info.markers {
        masker.value(name, value);
    }
    if let Some(build) = &mut info.build {
        masker.optional(&mut build.gnu);
        masker.text(&mut build.hash);
    }
    if let Some(workload) = &mut info.workload {
        shared(workload, |workload| deeds::workload(workload, masker));
    }
    shared(&mut info.host, |host| {
        for text in [&mut host.name, &mut host.boot_id, &mut host.arch, &mut host.kernel] {
            masker.text(text);
        }
        masker.optional(&mut host.id);
        masker.optional(&mut host.node);
    });
    if let Some(agent) = &mut info.agent {
        masker.text(&mut agent.name);
        masker.optional(&mut agent.version);
    }
    masker.optional(&mut info.service_name);
}

/// Changes what is shared only if there is something to change.
fn shared<T: Clone + PartialEq>(value: &mut Arc<T>, change: impl FnOnce(&mut T)) {
    let mut changed = T::clone(value);
    change(&mut changed);
    if changed != **value {
        *value = Arc::new(changed);
    }
}

/// Bodies are content: no exporter writes them.
fn exchange(exchange: &mut Exchange, masker: &mut Masker) {
    masker.target(&mut exchange.request.target);
    masker.text(&mut exchange.request.method);
    if let Some(facts) = &mut exchange.facts {
        self::facts(facts, masker);
    }
    let response = exchange.response.iter_mut().map(|response| &mut response.headers);
    for headers in std::iter::once(&mut exchange.request.headers).chain(response) {
        for (name, value) in &mut headers.0 {
            masker.value(name, value);
        }
    }
}

fn model_call(call: &mut ModelCall, masker: &mut Masker) {
    masker.text(&mut call.provider);
    masker.text(&mut call.server.address);
    let parameters = &mut call.parameters;
    masker.optional(&mut parameters.model);
    masker.each(&mut parameters.stop_sequences);
    masker.optional(&mut parameters.output_type);
    masker.optional(&mut parameters.reasoning_level);
    masker.optional(&mut parameters.previous_response_id);
    masker.optional(&mut parameters.service_tier);
    masker.each(&mut parameters.encoding_formats);
    masker.optional(&mut parameters.prompt_name);
    masker.optional(&mut parameters.prompt_version);
    masker.optional(&mut parameters.data_source_id);
    masker.optional(&mut parameters.stream_cursor);
    masker.optional(&mut parameters.guardrail_id);
    masker.optional(&mut parameters.knowledge_base_id);
    let reply = &mut call.reply;
    masker.optional(&mut reply.id);
    masker.optional(&mut reply.model);
    masker.each(&mut reply.finish_reasons);
    masker.optional(&mut reply.response_status);
    masker.optional(&mut reply.service_tier);
    masker.optional(&mut reply.system_fingerprint);
    if let Some(error) = &mut call.error {
        masker.text(&mut error.kind);
        masker.optional(&mut error.message);
    }
    masker.optional(&mut call.conversation_id);
    for result in &mut call.thread.tool_results {
        masker.text(&mut result.id);
        content::optional(&mut result.response, masker);
    }
    if let Some(facts) = &mut call.facts {
        self::facts(facts, masker);
    }
    if let Some(content) = &mut call.content {
        content::content(content, masker);
    }
    for tool in &mut call.tool_calls {
        masker.optional(&mut tool.id);
        masker.text(&mut tool.name);
        masker.text(&mut tool.arguments);
    }
}

fn tool_call(call: &mut ToolCall, masker: &mut Masker) {
    masker.optional(&mut call.id);
    masker.text(&mut call.name);
    masker.text(&mut call.arguments);
    masker.optional(&mut call.agent_name);
    masker.optional(&mut call.conversation_id);
    if let Some(call) = &mut call.mcp {
        mcp_call(call, masker);
    }
    if let Some(content) = &mut call.content {
        content::tool_content(content, masker);
    }
}

fn agent_turn(turn: &mut AgentTurn, masker: &mut Masker) {
    masker.text(&mut turn.agent_name);
    masker.optional(&mut turn.agent_version);
    masker.optional(&mut turn.conversation_id);
    masker.optional(&mut turn.provider);
    masker.optional(&mut turn.error);
    masker.optional(&mut turn.model);
    masker.each(&mut turn.finish_reasons);
    if let Some(content) = &mut turn.content {
        content::content(content, masker);
    }
}

/// Most observations in a row are on behalf of the same agent, which is masked once.
fn on_behalf(agent: &mut Arc<OnBehalf>, last: &mut Option<[Arc<OnBehalf>; 2]>, masker: &mut Masker) {
    if let Some([source, masked]) = last
        && Arc::ptr_eq(source, agent)
    {
        *agent = Arc::clone(masked);
        return;
    }
    let mut masked = OnBehalf::clone(agent);
    masker.optional(&mut masked.name);
    masker.optional(&mut masked.conversation_id);
    let masked = Arc::new(masked);
    *last = Some([std::mem::replace(agent, Arc::clone(&masked)), masked]);
}

fn mcp_call(call: &mut McpCall, masker: &mut Masker) {
    masker.text(&mut call.method);
    masker.optional(&mut call.id);
    masker.optional(&mut call.session_id);
    // What no stage decided on does not go on.
    (call.raw_arguments, call.raw_result) = (None, None);
    if let Some(server) = call.http.as_mut().and_then(|http| http.server.as_mut()) {
        masker.text(&mut server.address);
    }
    match &mut call.target {
        Some(McpTarget::Tool(name) | McpTarget::Prompt(name)) => masker.text(name),
        Some(McpTarget::Resource(uri)) => masker.target(uri),
        None => {}
    }
    masker.optional(&mut call.jsonrpc_version);
    masker.optional(&mut call.protocol_version);
    for side in [&mut call.client, &mut call.server] {
        masker.optional(&mut side.name);
        masker.optional(&mut side.version);
    }
    if let Some(error) = &mut call.error {
        masker.text(&mut error.kind);
        masker.optional(&mut error.message);
    }
    if let Some(content) = &mut call.content {
        content::tool_content(content, masker);
    }
}

fn opaque_call(call: &mut OpaqueCall, masker: &mut Masker) {
    masker.optional(&mut call.provider);
    masker.text(&mut call.server_name);
    facts(&mut call.facts, masker);
}

fn facts(facts: &mut Arc<ConnectionFacts>, masker: &mut Masker) {
    shared(facts, |facts| {
        masker.optional(&mut facts.server_name);
        masker.optional(&mut facts.resolved_name);
        masker.each(&mut facts.alpn);
    });
}

fn value(name: &str, value: &mut Value, masker: &mut Masker) {
    match value {
        Value::Str(text) => masker.text(text),
        // Arguments of a command: an option tells what the next one is.
        Value::Strings(texts) if name.ends_with("args") => masker.args(texts),
        Value::Strings(texts) => masker.each(texts),
        Value::Json(json) => content::json(json, masker),
        Value::Int(_) | Value::Double(_) | Value::Bool(_) => {}
    }
}

fn finding(finding: &mut Finding, masker: &mut Masker) {
    masker.text(&mut finding.message);
    for (name, value) in &mut finding.attributes {
        self::value(name, value, masker);
    }
}

fn metrics(metrics: &mut Metrics, masker: &mut Masker) {
    for point in metrics.metrics.iter_mut().flat_map(|metric| &mut metric.points) {
        for (name, value) in &mut point.attributes {
            self::value(name, value, masker);
        }
    }
}

fn heartbeat(heartbeat: &mut Heartbeat, masker: &mut Masker) {
    for (name, reason) in &mut heartbeat.probes {
        masker.text(name);
        masker.optional(reason);
    }
    for (name, _) in heartbeat.counts.iter_mut().chain(&mut heartbeat.deltas) {
        masker.text(name);
    }
}
