//! `metrics`: measures calls, tools and turns, and gives out metric points. Nothing else passes: it is for metrics
//! pipelines, and one that does not name it gets it at its end.

mod aggregate;
mod config;
mod instruments;
mod sessions;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use pipeline::{
    Factory, Observation, Processor, Signal, Tally, Timestamp,
    observation::{
        AgentTurn, Kind, McpCall, McpTarget, ModelCall, ProcessInfo, ProcessPhase, Role, ToolCall, Usage,
        metrics::{Metrics, Temporality},
    },
    record, semconv as name,
};

use self::{
    aggregate::{Attributes, Service},
    instruments::Instrument,
    sessions::{Ended, Sessions},
};

pub use config::Config;
pub use instruments::ALL;
pub use pipeline::semconv::Profile as ProfileName;

/// Services that are measured at once; of more, the one that was measured longest ago is told and forgotten.
const MOST_SERVICES: usize = 1024;

/// The factory of this processor.
pub fn factory() -> Factory<dyn Processor> {
    Factory::new("metrics", "measures calls to models, tools and turns", &[Signal::Metrics], |config, _| {
        Ok(Box::new(Measure::new(config)))
    })
}

/// The processor.
pub struct Measure {
    config: Config,
    /// By `service.name`.
    services: BTreeMap<String, (Timestamp, Service)>,
    /// Since when the next points are measured.
    since: Option<Timestamp>,
    /// When points were last given out, or the first measurement was taken.
    told: Timestamp,
    /// Open sessions of the Model Context Protocol.
    sessions: Sessions,
    /// All that came is in the points, or measures nothing; the points are made.
    tally: Tally,
}

/// What one measurement needs.
struct Taken<'a> {
    service: &'a mut Service,
    start: Timestamp,
    limit: usize,
}

impl Taken<'_> {
    fn record(&mut self, instrument: &'static Instrument, attributes: &Attributes, value: f64) {
        self.service.record(instrument, attributes.clone(), value, self.start, self.limit);
    }

    fn count(&mut self, instrument: &'static Instrument, attributes: &Attributes, count: Option<u64>) {
        if let Some(count) = count {
            self.record(instrument, attributes, count as f64);
        }
    }
}

impl Measure {
    /// Nothing was measured yet.
    pub fn new(config: Config) -> Self {
        let (services, sessions) = (BTreeMap::new(), Sessions::default());
        Self { config, services, since: None, told: Timestamp(0), sessions, tally: Tally::default() }
    }

    fn has(&self, profile: ProfileName) -> bool {
        self.config.profiles.contains(&profile)
    }

    /// The measurements of a service.
    fn service(&mut self, name: &str, process: &ProcessInfo, begun: Timestamp, time: Timestamp) -> Taken<'_> {
        if self.since.is_none() {
            self.told = begun;
        }
        let start = *self.since.get_or_insert(begun);
        if !self.services.contains_key(name) && self.services.len() >= MOST_SERVICES {
            let oldest = self.services.iter().min_by_key(|(_, (used, _))| *used).map(|(name, _)| name.clone());
            oldest.map(|name| self.services.remove(&name));
        }
        let entry = self
            .services
            .entry(name.to_owned())
            .or_insert_with(|| (time, Service::new(Arc::new(service(process, name.to_owned())))));
        entry.0 = time;
        Taken { service: &mut entry.1, start, limit: self.config.cardinality_limit }
    }

    fn take(&mut self, observation: &Observation) {
        let process = &observation.process;
        let name = process.service_name.clone().unwrap_or_else(|| process.executable_name().to_owned());
        let (today, next) = (self.has(ProfileName::V2026_08), self.has(ProfileName::Next));
        let mut over = Vec::new();
        let begun = match &observation.kind {
            Kind::ModelCall(call) => call.started,
            Kind::ToolCall(call) => call.started,
            Kind::AgentTurn(turn) => turn.started,
            Kind::McpCall(call) => {
                over.extend(self.sessions.request(process.key, &name, call, session_attributes(call)));
                call.started
            }
            _ => observation.time,
        };
        let mut taken = self.service(&name, process, begun, observation.time);
        match &observation.kind {
            Kind::ModelCall(call) => model_call(call, today, next, &mut taken),
            Kind::ToolCall(call) => tool_call(call, &mut taken),
            Kind::AgentTurn(turn) => agent_turn(turn, &mut taken),
            Kind::McpCall(call) => mcp_call(call, &mut taken),
            _ => {}
        }
        over.iter().for_each(|ended| session(ended, &mut taken));
    }

    /// Ends the sessions of a process.
    fn exit(&mut self, observation: &Observation) {
        for ended in self.sessions.exit(observation.process.key, observation.time) {
            let mut taken = self.service(&ended.service, &observation.process, observation.time, observation.time);
            session(&ended, &mut taken);
        }
    }

    fn collect(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        self.told = now;
        for (_, service) in self.services.values_mut() {
            if !service.is_fresh() && self.config.temporality == Temporality::Delta {
                continue;
            }
            let metrics = service.collect(now, self.config.temporality);
            if !metrics.is_empty() {
                let kind = Kind::Metrics(Box::new(Metrics { metrics }));
                out.push(Observation::new(now, service.process.clone(), kind));
                self.tally.made += 1;
            }
        }
        if self.config.temporality == Temporality::Delta {
            self.services.clear();
            self.since = Some(now);
        }
    }
}

impl Processor for Measure {
    fn process(&mut self, observation: Observation, _: &mut Vec<Observation>) {
        self.tally.merged += 1;
        if matches!(observation.kind, Kind::ModelCall(_) | Kind::ToolCall(_) | Kind::AgentTurn(_) | Kind::McpCall(_)) {
            self.take(&observation);
        } else if matches!(&observation.kind, Kind::Process(process) if matches!(process.phase, ProcessPhase::Exit(_)))
        {
            self.exit(&observation);
        }
    }

    fn advance(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        // Aligned to the interval, so that a replay gives the same whatever the watermark's steps.
        let interval = u64::try_from(self.config.interval.0.as_nanos()).unwrap_or(u64::MAX).max(1);
        let due = self.since.is_some() && now.nanos() / interval > self.told.nanos() / interval;
        // Cumulative points are told again, as SDKs do: a series that pauses would look like one that ended.
        let cumulative = self.config.temporality == Temporality::Cumulative;
        if due && (cumulative || self.services.values().any(|(_, service)| service.is_fresh())) {
            self.collect(now, out);
        }
    }

    fn finish(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        if self.services.values().any(|(_, service)| service.is_fresh()) {
            let last = self.services.values().map(|(used, _)| *used).max().unwrap_or(now);
            self.collect(now.max(last), out);
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

/// A service's own resource: points are not of one process.
fn service(process: &ProcessInfo, service_name: String) -> ProcessInfo {
    ProcessInfo {
        service_name: Some(service_name),
        host: process.host.clone(),
        agent: process.agent.clone(),
        ..ProcessInfo::default()
    }
}

fn attributes(pairs: impl IntoIterator<Item = (&'static str, Option<record::Value>)>) -> Attributes {
    pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn model_call(call: &ModelCall, today: bool, next: bool, taken: &mut Taken<'_>) {
    use instruments as i;
    let text = |text: &Option<String>| text.as_deref().map(record::Value::from);
    let server = !call.server.address.is_empty();
    let mut common = attributes([
        (name::GEN_AI_OPERATION_NAME, Some(call.operation.as_str().into())),
        (name::GEN_AI_PROVIDER_NAME, Some(call.provider.as_str().into())),
        (name::GEN_AI_REQUEST_MODEL, text(&call.parameters.model)),
        (name::GEN_AI_RESPONSE_MODEL, text(&call.reply.model)),
        (name::SERVER_ADDRESS, server.then(|| call.server.address.as_str().into())),
        (name::SERVER_PORT, server.then(|| i64::from(call.server.port).into())),
    ]);
    let without_error = common.clone();
    if let Some(error) = &call.error {
        common.push((name::ERROR_TYPE, error.kind.as_str().into()));
    }
    let seconds = call.ended.since(call.started).as_secs_f64();
    let inference = call.operation.is_inference();
    // The next profile renames what it says of inferences only.
    if today || !inference {
        taken.record(&i::OPERATION_DURATION, &common, seconds);
    }
    if next && inference {
        taken.record(&i::NEXT_DURATION, &common, seconds);
    }
    if let Some(first) = call.reply.time_to_first_chunk {
        let first = first.as_secs_f64();
        let chunks = call.reply.chunks.unwrap_or(0);
        let rest = call
            .reply
            .last_chunk
            .filter(|_| chunks > 1)
            .map(|last| (last.since(call.started).as_secs_f64() - first).max(0.0) / (chunks - 1) as f64);
        for (wanted, to_first, per_chunk) in [
            (today, &i::TIME_TO_FIRST_CHUNK, &i::TIME_PER_OUTPUT_CHUNK),
            (next, &i::NEXT_TIME_TO_FIRST_CHUNK, &i::NEXT_TIME_PER_OUTPUT_CHUNK),
        ] {
            if wanted {
                taken.record(to_first, &without_error, first);
                if let Some(rest) = rest {
                    taken.record(per_chunk, &without_error, rest);
                }
            }
        }
    }
    let usage = &call.usage;
    if today {
        for (kind, count) in [("input", usage.input), ("output", usage.output)] {
            let mut attributes = without_error.clone();
            attributes.push((name::GEN_AI_TOKEN_TYPE, kind.into()));
            taken.count(&i::TOKEN_USAGE, &attributes, count);
        }
    }
    if next && inference {
        taken.count(&i::NEXT_OPERATION_INPUT_TOKENS, &without_error, usage.input);
        taken.count(&i::NEXT_OPERATION_OUTPUT_TOKENS, &without_error, usage.output);
        counters(usage, &without_error, taken);
    }
}

/// Tokens by kind and modality. Of an operation without any usage, a failed one for example, each is 0: the conventions ask
/// for it, so that a rate of tokens per operation comes out right.
fn counters(usage: &Usage, attributes: &Attributes, taken: &mut Taken<'_>) {
    use instruments as i;
    let split = &usage.modalities;
    let silent = *usage == Usage::default();
    for (instrument, total, parts) in [
        (&i::NEXT_INPUT_TOKENS, usage.input, [split.text_input, split.image_input, split.audio_input]),
        (&i::NEXT_OUTPUT_TOKENS, usage.output, [split.text_output, split.image_output, split.audio_output]),
        (
            &i::NEXT_CACHE_READ_TOKENS,
            usage.cache_read,
            [split.text_cache_read, split.image_cache_read, split.audio_cache_read],
        ),
        (&i::NEXT_CACHE_WRITE_TOKENS, usage.cache_creation, [None; 3]),
        (&i::NEXT_REASONING_TOKENS, usage.reasoning, [None; 3]),
    ] {
        let mut count = |modality: &'static str, count: Option<u64>| {
            let mut attributes = attributes.clone();
            attributes.push((name::GEN_AI_TOKEN_MODALITY, modality.into()));
            taken.count(instrument, &attributes, count);
        };
        let known: u64 = parts.iter().flatten().fold(0, |sum, part| sum.saturating_add(*part));
        for (modality, part) in ["text", "image", "audio"].into_iter().zip(parts) {
            count(modality, part);
        }
        // What the provider does not split.
        let rest = total.map(|total| total.saturating_sub(known)).filter(|rest| known == 0 || *rest > 0);
        count("unknown", rest.or(silent.then_some(0)));
    }
}

fn tool_call(call: &ToolCall, taken: &mut Taken<'_>) {
    let attributes = attributes([
        (name::GEN_AI_TOOL_NAME, Some(call.name.as_str().into())),
        (name::GEN_AI_TOOL_TYPE, Some("function".into())),
        (name::GEN_AI_AGENT_NAME, call.agent_name.as_deref().map(Into::into)),
        (name::ERROR_TYPE, record::tool_error(call).map(Into::into)),
    ]);
    taken.record(&instruments::TOOL_DURATION, &attributes, call.ended.since(call.started).as_secs_f64());
    // It has no span of its own.
    if let Some(mcp) = &call.mcp {
        mcp_call(mcp, taken);
    }
}

fn agent_turn(turn: &AgentTurn, taken: &mut Taken<'_>) {
    let agent = attributes([(name::GEN_AI_AGENT_NAME, Some(turn.agent_name.as_str().into()))]);
    let mut with_error = agent.clone();
    with_error.extend(turn.model.as_deref().map(|model| (name::GEN_AI_REQUEST_MODEL, model.into())));
    if let Some(error) = &turn.error {
        with_error.push((name::ERROR_TYPE, error.as_str().into()));
    }
    taken.record(&instruments::AGENT_DURATION, &with_error, turn.ended.since(turn.started).as_secs_f64());
    taken.record(&instruments::AGENT_INFERENCE_CALLS, &agent, f64::from(turn.model_calls));
    taken.record(&instruments::AGENT_TOOL_CALLS, &agent, f64::from(turn.tool_calls));
}

fn mcp_call(call: &McpCall, taken: &mut Taken<'_>) {
    let prompt = match &call.target {
        Some(McpTarget::Prompt(prompt)) => Some(prompt.as_str().into()),
        _ => None,
    };
    let error = call.error.as_ref();
    let mut attributes = attributes([
        (name::MCP_METHOD_NAME, Some(call.method.as_str().into())),
        (name::GEN_AI_OPERATION_NAME, call.tool().map(|_| "execute_tool".into())),
        (name::GEN_AI_TOOL_NAME, call.tool().map(Into::into)),
        (name::GEN_AI_PROMPT_NAME, prompt),
        (name::ERROR_TYPE, error.map(|error| error.kind.as_str().into())),
        (name::RPC_RESPONSE_STATUS_CODE, error.and_then(|error| error.code).map(|code| code.to_string().into())),
    ]);
    attributes.extend(session_attributes(call));
    let instrument = match call.role {
        Role::Client => &instruments::MCP_CLIENT_DURATION,
        Role::Server => &instruments::MCP_SERVER_DURATION,
    };
    taken.record(instrument, &attributes, call.ended.since(call.started).as_secs_f64());
}

/// What the metrics of a request and of its session have in common.
fn session_attributes(call: &McpCall) -> Attributes {
    // Of a server's own metrics, whom the client asked for is no part.
    let server = call.http.as_ref().filter(|_| call.role == Role::Client).and_then(|http| http.server.as_ref());
    attributes([
        (name::JSONRPC_PROTOCOL_VERSION, call.jsonrpc_version.as_deref().map(Into::into)),
        (name::MCP_PROTOCOL_VERSION, call.protocol_version.as_deref().map(Into::into)),
        (name::NETWORK_TRANSPORT, Some(call.transport().into())),
        (name::NETWORK_PROTOCOL_NAME, call.http.as_ref().map(|_| "http".into())),
        (name::NETWORK_PROTOCOL_VERSION, call.http.as_ref().map(|http| http.version().into())),
        (name::SERVER_ADDRESS, server.map(|server| server.address.as_str().into())),
        (name::SERVER_PORT, server.map(|server| i64::from(server.port).into())),
    ])
}

fn session(ended: &Ended, taken: &mut Taken<'_>) {
    let instrument = if ended.served {
        &instruments::MCP_SERVER_SESSION_DURATION
    } else {
        &instruments::MCP_CLIENT_SESSION_DURATION
    };
    taken.record(instrument, &ended.attributes, ended.seconds);
}
