//! Observation → OTLP: the only place that knows both.
//!
//! A resource is an observed process; onlooker itself is the instrumentation scope. GenAI spans and others are in two
//! scopes, because a scope has one schema URL.

pub mod json;
pub mod limits;
pub mod lines;
mod metrics;
pub mod options;
mod resource;

use std::{collections::BTreeMap, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, Link, SpanKind},
        status::StatusCode,
    },
};
use pipeline::{
    Kind, Observation, Signal, SpanContext,
    observation::{ContentMode, McpTarget, Operation, ProcessInfo, ProcessPhase, Role, Severity},
    record::{self, Attributes, Record, Value},
    semconv::{self, Profile},
};

use self::{limits::Bounds, options::Compatibility};

/// One export request of a signal.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Log records.
    Logs(ExportLogsServiceRequest),
    /// Metric points.
    Metrics(ExportMetricsServiceRequest),
}

pub use metrics::metrics;

/// Makes OTLP in the form that one exporter is to send.
#[derive(Clone, Debug)]
pub struct Encoder {
    profile: Profile,
    spans: Bounds,
    events: Bounds,
    compatibility: Compatibility,
}

impl Encoder {
    /// The same with values no longer than this many bytes, if they were allowed to be: for a single item that is more than
    /// a request.
    pub fn tightened(&self, value: usize) -> Self {
        let tight = |bounds: &Bounds| Bounds { value: bounds.value.min(value), ..*bounds };
        Self { spans: tight(&self.spans), events: tight(&self.events), ..self.clone() }
    }

    /// Spans of observations; `None` if there are none. The count is that of the spans.
    pub fn traces<'a>(
        &self,
        observations: impl IntoIterator<Item = &'a Observation>,
    ) -> Option<(ExportTraceServiceRequest, usize)> {
        let mut groups = Groups::default();
        for observation in observations {
            if let Some(span) = self.span(observation) {
                groups.add(observation, matches!(observation.kind, Kind::Process(_)), span);
            }
        }
        let count = groups.count;
        let resource_spans = groups.into_resources(|resource, scopes| ResourceSpans {
            resource: Some(resource),
            scope_spans: scopes
                .into_iter()
                .map(|(core, spans)| ScopeSpans { scope: Some(scope()), spans, schema_url: schema_url(core).into() })
                .collect(),
            schema_url: semconv::CORE_SCHEMA_URL.into(),
        });
        (count > 0).then_some((ExportTraceServiceRequest { resource_spans }, count))
    }

    /// Log records of observations; `None` if there are none. Without a signature only events become records; with one,
    /// everything that was signed does, with the envelope as its body.
    pub fn logs<'a>(
        &self,
        observations: impl IntoIterator<Item = &'a Observation>,
    ) -> Option<(ExportLogsServiceRequest, usize)> {
        let mut groups = Groups::default();
        for observation in observations {
            for record in self.log_records(observation) {
                groups.add(observation, !record.event_name.starts_with("gen_ai."), record);
            }
        }
        let count = groups.count;
        let resource_logs = groups.into_resources(|resource, scopes| ResourceLogs {
            resource: Some(resource),
            scope_logs: scopes
                .into_iter()
                .map(|(core, log_records)| ScopeLogs {
                    scope: Some(scope()),
                    log_records,
                    schema_url: schema_url(core).into(),
                })
                .collect(),
            schema_url: semconv::CORE_SCHEMA_URL.into(),
        });
        (count > 0).then_some((ExportLogsServiceRequest { resource_logs }, count))
    }

    /// How many items of a signal these observations would become, without making them.
    pub fn items(&self, signal: Signal, observations: &[Observation]) -> usize {
        let count = |observation: &Observation| match signal {
            Signal::Traces => usize::from(observation.context.is_some() && has_span(observation)),
            Signal::Logs => {
                usize::from(self.is_log_record(observation)) + usize::from(self.exception(observation).is_some())
            }
            Signal::Metrics => metrics::items(observation),
        };
        observations.iter().map(count).sum()
    }

    /// An observation as an event in this exporter's form; the second number is that of attributes that had no room.
    pub fn record(&self, observation: &Observation) -> Option<(Record, u32)> {
        let mut record = record::record(observation)?;
        if self.is_inference_event(observation) {
            record.name = semconv::event::INFERENCE_DETAILS;
        } else if record.name == semconv::event::INFERENCE_DETAILS {
            record.name = semconv::event::MODEL_CALL;
        }
        record::adapt(self.profile, observation, &mut record.attributes);
        let left_out = self.events.apply(&mut record.attributes);
        Some((record, left_out))
    }

    /// The attributes of a span, and how many had no room. Content is JSON text here: that is what most readers of spans
    /// parse.
    fn attributes(&self, observation: &Observation) -> (Vec<KeyValue>, u32) {
        let mut attributes = record::attributes(observation);
        attributes.extend(record::content(observation, ContentMode::on_spans));
        record::adapt(self.profile, observation, &mut attributes);
        self.compatibility.span(observation, &mut attributes);
        let left_out = self.spans.apply(&mut attributes);
        (texts(attributes), left_out)
    }
}

/// Attributes with content as JSON text.
fn texts(attributes: Attributes) -> Vec<KeyValue> {
    let text = |(name, value)| match value {
        Value::Json(json) => key_value(name, &Value::Str(json.to_string())),
        other => key_value(name, &other),
    };
    attributes.into_iter().map(text).collect()
}

/// Items by scope: `true` for that of the core conventions.
type Scopes<T> = BTreeMap<bool, Vec<T>>;

/// Items by process and scope, in the order in which they were first met.
struct Groups<T> {
    index: BTreeMap<(u32, u64, u32), usize>,
    groups: Vec<(Arc<ProcessInfo>, Scopes<T>)>,
    count: usize,
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self { index: BTreeMap::new(), groups: Vec::new(), count: 0 }
    }
}

impl<T> Groups<T> {
    fn add(&mut self, observation: &Observation, core: bool, item: T) {
        let process = &observation.process;
        let at = *self.index.entry((process.key.tgid, process.key.start, process.exec_count)).or_insert_with(|| {
            self.groups.push((Arc::clone(process), BTreeMap::new()));
            self.groups.len() - 1
        });
        if let Some((_, scopes)) = self.groups.get_mut(at) {
            scopes.entry(core).or_default().push(item);
            self.count += 1;
        }
    }

    fn into_resources<R>(
        self,
        make: impl Fn(opentelemetry_proto::tonic::resource::v1::Resource, Scopes<T>) -> R,
    ) -> Vec<R> {
        self.groups.into_iter().map(|(process, scopes)| make(resource::resource(&process), scopes)).collect()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "onlooker".into(), version: env!("CARGO_PKG_VERSION").into(), ..Default::default() }
}

fn schema_url(core: bool) -> &'static str {
    if core { semconv::CORE_SCHEMA_URL } else { semconv::GEN_AI_SCHEMA_URL }
}

/// An attribute.
pub fn key_value(name: &str, value: &Value) -> KeyValue {
    KeyValue { key: name.into(), value: Some(any(value)), ..Default::default() }
}

fn any(value: &Value) -> AnyValue {
    use any_value::Value as Any;
    let text = |text: &String| AnyValue { value: Some(Any::StringValue(text.clone())) };
    AnyValue {
        value: Some(match value {
            Value::Str(text) => Any::StringValue(text.clone()),
            Value::Int(number) => Any::IntValue(*number),
            Value::Double(number) => Any::DoubleValue(*number),
            Value::Bool(truth) => Any::BoolValue(*truth),
            Value::Json(json) => return structured(json),
            Value::Strings(texts) => Any::ArrayValue(ArrayValue { values: texts.iter().map(text).collect() }),
        }),
    }
}

fn structured(json: &serde_json::Value) -> AnyValue {
    use any_value::Value as Any;
    use serde_json::Value as Json;
    let value = match json {
        Json::Null => None,
        Json::Bool(truth) => Some(Any::BoolValue(*truth)),
        Json::Number(number) => Some(match number.as_i64() {
            Some(whole) => Any::IntValue(whole),
            None => Any::DoubleValue(number.as_f64().unwrap_or_default()),
        }),
        Json::String(text) => Some(Any::StringValue(text.clone())),
        Json::Array(values) => Some(Any::ArrayValue(ArrayValue { values: values.iter().map(structured).collect() })),
        Json::Object(members) => Some(Any::KvlistValue(KeyValueList {
            values: members
                .iter()
                .map(|(key, value)| KeyValue { key: key.clone(), value: Some(structured(value)), ..Default::default() })
                .collect(),
        })),
    };
    AnyValue { value }
}

/// The name of an observation's span; `None` if it has none.
pub fn span_name(observation: &Observation) -> Option<String> {
    let named = |operation: &str, name: Option<&str>| {
        name.map_or_else(|| operation.to_owned(), |name| format!("{operation} {name}"))
    };
    Some(match &observation.kind {
        Kind::ModelCall(call) => {
            let asked = &call.parameters;
            let target = match call.operation {
                Operation::Retrieval => &asked.data_source_id,
                Operation::FetchResponse => &None,
                _ => &asked.model,
            };
            named(call.operation.as_str(), target.as_deref())
        }
        Kind::ToolCall(call) => named("execute_tool", Some(&call.name)),
        // Never the resource: there are too many of them for a name.
        Kind::McpCall(call) => match &call.target {
            Some(McpTarget::Tool(name) | McpTarget::Prompt(name)) => named(&call.method, Some(name)),
            Some(McpTarget::Resource(_)) | None => call.method.clone(),
        },
        Kind::AgentTurn(turn) => named("invoke_agent", Some(&turn.agent_name)),
        Kind::Process(_) if has_span(observation) => observation.process.executable_name().to_owned(),
        _ => return None,
    })
}

/// True if an observation becomes a span, once it has its place in a trace.
fn has_span(observation: &Observation) -> bool {
    match &observation.kind {
        Kind::ModelCall(_) | Kind::ToolCall(_) | Kind::McpCall(_) | Kind::AgentTurn(_) => true,
        // A process that executed nothing has its parent's program and no span of its own.
        Kind::Process(process) => {
            matches!(process.phase, ProcessPhase::Exit(_) | ProcessPhase::Replaced)
                && (observation.process.exec_count > 0 || observation.process.parent.is_none())
        }
        _ => false,
    }
}

/// Start of an observation's span; its end is the observation's own end.
pub fn span_times(observation: &Observation) -> (u64, u64) {
    let (start, end) = match &observation.kind {
        Kind::ModelCall(call) => (call.started, call.ended),
        Kind::ToolCall(call) => (call.started, call.ended),
        Kind::AgentTurn(turn) => (turn.started, turn.ended),
        Kind::McpCall(call) => (call.started, call.ended),
        Kind::Process(_) => (observation.process.executed, observation.time),
        _ => (observation.time, observation.time),
    };
    (start.nanos(), end.nanos().max(start.nanos()))
}

/// Why an observation's span failed; `None` if it did not.
pub fn failure(observation: &Observation) -> Option<String> {
    match &observation.kind {
        Kind::ModelCall(call) => call.error.as_ref().map(|error| error.message.clone().unwrap_or_default()),
        Kind::ToolCall(call) => record::tool_error(call).map(|error| match (call.exit, call.result_error) {
            (Some(exit), _) if exit.signal.is_some() => format!("the tool's process was killed by {error}"),
            (Some(exit), _) if exit.code != 0 => format!("the tool's process exited with code {error}"),
            _ => {
                let told = call.mcp.as_ref().and_then(|call| call.error.as_ref()?.message.clone());
                told.unwrap_or_else(|| "the tool's result says that it failed".into())
            }
        }),
        Kind::McpCall(call) => call.error.as_ref().map(|error| error.message.clone().unwrap_or_default()),
        Kind::AgentTurn(turn) => turn.error.as_ref().map(|_| "the last model call failed".into()),
        Kind::Process(process) => match process.phase {
            ProcessPhase::Exit(exit) => record::exit_error(exit).map(|error| match exit.signal {
                Some(_) => format!("killed by {error}"),
                None => format!("exit code {error}"),
            }),
            _ => None,
        },
        _ => None,
    }
}

impl Encoder {
    fn span(&self, observation: &Observation) -> Option<Span> {
        let name = self.spans.span_name(span_name(observation)?);
        let context = observation.context?;
        let (start_time_unix_nano, end_time_unix_nano) = span_times(observation);
        let kind = match &observation.kind {
            Kind::ModelCall(_) => SpanKind::Client,
            Kind::McpCall(call) if call.role == Role::Client => SpanKind::Client,
            Kind::McpCall(_) => SpanKind::Server,
            _ => SpanKind::Internal,
        };
        // UNSET on success: OK is for applications to set (semantic conventions, recording errors).
        let status = failure(observation).map(|message| Status { message, code: StatusCode::Error.into() });
        let (attributes, dropped_attributes_count) = self.attributes(observation);
        Some(Span {
            trace_id: context.trace_id.0.to_vec(),
            span_id: context.span_id.0.to_vec(),
            parent_span_id: context.parent_span_id.map(|id| id.0.to_vec()).unwrap_or_default(),
            // W3C trace flags: sampled.
            flags: 1,
            name,
            kind: kind.into(),
            start_time_unix_nano,
            end_time_unix_nano,
            attributes,
            dropped_attributes_count,
            events: self.span_event(observation).into_iter().collect(),
            links: links(observation),
            status,
            ..Default::default()
        })
    }

    /// The details of an inference with its content, for backends that read them nowhere else.
    fn span_event(&self, observation: &Observation) -> Option<Event> {
        let Kind::ModelCall(call) = &observation.kind else { return None };
        if !self.compatibility.span_events || call.content.is_none() || !call.operation.is_inference() {
            return None;
        }
        let mut attributes = record::attributes(observation);
        attributes.extend(record::content(observation, ContentMode::captures));
        record::adapt(self.profile, observation, &mut attributes);
        let dropped_attributes_count = self.spans.apply(&mut attributes);
        Some(Event {
            time_unix_nano: span_times(observation).1,
            name: semconv::event::INFERENCE_DETAILS.into(),
            attributes: texts(attributes),
            dropped_attributes_count,
        })
    }
}

/// What a call belongs with but does not hang under: its turn, if it hangs under a span of the agent's own tracing; or
/// that span, if it does not.
fn links(observation: &Observation) -> Vec<Link> {
    let Kind::ModelCall(call) = &observation.kind else { return Vec::new() };
    let parent = observation.context.and_then(|context| Some((context.trace_id, context.parent_span_id?)));
    let elsewhere = |other: &SpanContext| Some((other.trace_id, other.span_id)) != parent;
    let link = |other: SpanContext| Link {
        trace_id: other.trace_id.0.to_vec(),
        span_id: other.span_id.0.to_vec(),
        flags: 1,
        ..Default::default()
    };
    call.turn.into_iter().chain(call.remote_parent).filter(elsewhere).map(link).collect()
}

impl Encoder {
    fn is_inference_event(&self, observation: &Observation) -> bool {
        let Kind::ModelCall(call) = &observation.kind else { return false };
        let content = || call.content.as_ref().is_some_and(|content| content.mode.on_events());
        call.operation.is_inference() && self.compatibility.inference_events.unwrap_or_else(content)
    }

    fn is_log_record(&self, observation: &Observation) -> bool {
        let is_event = match &observation.kind {
            Kind::Process(process) => process.phase == ProcessPhase::Exec,
            Kind::Finding(_) | Kind::Heartbeat(_) | Kind::OpaqueCall(_) => true,
            Kind::File(_) | Kind::Security(_) => true,
            Kind::Connection(_) | Kind::Dns(_) => true,
            Kind::ModelCall(call) => {
                let content = call.content.as_ref().is_some_and(|content| content.mode.on_events());
                self.is_inference_event(observation) || (content && !call.operation.is_inference())
            }
            // Their content has no event in the conventions: they are told as onlooker's own.
            Kind::ToolCall(call) => call.content.as_ref().is_some_and(|content| content.mode.on_events()),
            Kind::McpCall(call) => call.content.as_ref().is_some_and(|content| content.mode.on_events()),
            _ => false,
        };
        is_event || (observation.envelope.is_some() && !matches!(observation.kind, Kind::Exchange(_)))
    }

    /// What is said of a call that failed (GenAI conventions, `gen_ai.client.operation.exception`). With signatures there is
    /// none: nothing goes out that is not signed.
    fn exception(&self, observation: &Observation) -> Option<Attributes> {
        let Kind::ModelCall(call) = &observation.kind else { return None };
        let error = call.error.as_ref()?;
        if !self.compatibility.exception_events || observation.envelope.is_some() {
            return None;
        }
        let mut attributes = vec![(semconv::EXCEPTION_TYPE, Value::from(error.kind.as_str()))];
        attributes.extend(error.message.as_deref().map(|message| (semconv::EXCEPTION_MESSAGE, message.into())));
        Some(attributes)
    }

    fn log_records(&self, observation: &Observation) -> Vec<LogRecord> {
        let mut records = Vec::new();
        if self.is_log_record(observation)
            && let Some((record, left_out)) = self.record(observation)
        {
            let mut found = log_record(observation, &record);
            found.dropped_attributes_count = left_out;
            if let Some(envelope) = &observation.envelope {
                let sequence = i64::try_from(envelope.sequence).unwrap_or(i64::MAX);
                found.attributes.extend([
                    key_value(semconv::ONLOOKER_SIGNATURE_KEY_ID, &envelope.key_id.as_str().into()),
                    key_value(semconv::ONLOOKER_SIGNATURE_SEQUENCE, &sequence.into()),
                ]);
                found.body = Some(AnyValue { value: Some(any_value::Value::StringValue(envelope.json.clone())) });
            }
            records.push(found);
        }
        if let Some(mut attributes) = self.exception(observation) {
            let left_out = self.events.apply(&mut attributes);
            let name = semconv::event::OPERATION_EXCEPTION;
            let record = Record { name, time: observation.time, severity: Severity::Warn, attributes };
            let mut found = log_record(observation, &record);
            found.dropped_attributes_count = left_out;
            records.push(found);
        }
        records
    }
}

fn log_record(observation: &Observation, record: &Record) -> LogRecord {
    let context = observation.context;
    LogRecord {
        time_unix_nano: record.time.nanos(),
        observed_time_unix_nano: record.time.nanos(),
        // opentelemetry-proto, logs.proto, SeverityNumber.
        severity_number: match record.severity {
            Severity::Info => 9,
            Severity::Warn => 13,
            Severity::Error => 17,
        },
        attributes: record.attributes.iter().map(|(name, value)| key_value(name, value)).collect(),
        trace_id: context.map(|context| context.trace_id.0.to_vec()).unwrap_or_default(),
        span_id: context.map(|context| context.span_id.0.to_vec()).unwrap_or_default(),
        flags: u32::from(context.is_some()),
        event_name: record.name.into(),
        ..Default::default()
    }
}

#[cfg(test)]
mod registry_tests;
#[cfg(test)]
pub(crate) mod tests;
