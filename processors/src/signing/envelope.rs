//! From an observation to a CloudEvents 1.0 envelope, not signed yet.

use pipeline::{
    Observation,
    observation::Host,
    record::{Record, Value as Attribute},
};
use serde_json::{Map, Value};

use super::canonical::MAX_SAFE;

/// Begins the type of every event; the event's name without `onlooker.` follows, as `io.onlooker.process.exec`.
pub const TYPE_PREFIX: &str = "io.onlooker.";

/// `source`: `/onlooker/` and the host's name, else its id, escaped as a path segment (RFC 3986 section 3.3).
pub fn source(host: &Host) -> String {
    let host = match (&*host.name, &host.id) {
        ("", Some(id)) => id,
        ("", None) => "unknown",
        (name, _) => name,
    };
    let mut source = String::from("/onlooker/");
    for byte in host.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            source.push(char::from(byte));
        } else {
            source.push_str(&format!("%{byte:02X}"));
        }
    }
    source
}

/// `type` of an event of this name.
pub fn event_type(name: &str) -> String {
    format!("{TYPE_PREFIX}{}", name.strip_prefix("onlooker.").unwrap_or(name))
}

/// The members that tell what happened: all but `id`, `source` and those of the chain.
pub fn envelope(observation: &Observation, record: &Record) -> Map<String, Value> {
    let process = &*observation.process;
    let mut data = Map::new();
    for (name, value) in &record.attributes {
        data.insert((*name).to_owned(), attribute(value));
    }
    // Last, so that no attribute can pretend another origin.
    let mut identity = |name: &str, value: Value| data.insert(name.to_owned(), value);
    let service = process.service_name.as_deref().unwrap_or_else(|| process.executable_name());
    if process.key.tgid != 0 {
        identity("service.name", service.into());
        identity("process.pid", process.key.tgid.into());
        identity("process.creation.time", process.started.rfc3339().into());
        identity("process.executable.name", process.executable_name().into());
        if !process.executable.is_empty() {
            identity("process.executable.path", process.executable.as_str().into());
        }
    }
    let mut envelope = Map::new();
    let mut member = |name: &str, value: Value| envelope.insert(name.to_owned(), value);
    member("specversion", "1.0".into());
    member("type", event_type(record.name).into());
    member("time", record.time.rfc3339().into());
    let subject = if process.key.tgid == 0 { "onlooker".to_owned() } else { format!("{service}/{}", process.key.tgid) };
    member("subject", subject.into());
    member("datacontenttype", "application/json".into());
    member("data", Value::Object(data));
    if let Some(context) = &observation.context {
        member("traceparent", format!("00-{}-{}-01", context.trace_id, context.span_id).into());
    }
    envelope
}

/// Integers that a double cannot hold become text (RFC 8785 section 3.2.2.3).
fn attribute(value: &Attribute) -> Value {
    match value {
        Attribute::Str(text) => text.as_str().into(),
        Attribute::Int(integer) if integer.unsigned_abs() > MAX_SAFE => integer.to_string().into(),
        Attribute::Int(integer) => (*integer).into(),
        Attribute::Double(double) => (*double).into(),
        Attribute::Bool(truth) => (*truth).into(),
        Attribute::Strings(texts) => texts.iter().map(String::as_str).collect(),
        Attribute::Json(json) => safe(json),
    }
}

/// The same for every number within.
fn safe(json: &Value) -> Value {
    match json {
        Value::Number(number) => match number.as_i64() {
            Some(integer) if integer.unsigned_abs() > MAX_SAFE => integer.to_string().into(),
            None if number.is_u64() => number.to_string().into(),
            _ => json.clone(),
        },
        Value::Array(values) => values.iter().map(safe).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), safe(value))).collect(),
        other => other.clone(),
    }
}
