//! OTLP/JSON, one export request per line (opentelemetry-proto, docs/specification.md, "JSON Protobuf Encoding").

use serde_json::Value;

use super::Request;

/// A request as one line without its newline. `None` cannot happen for requests that this crate made.
pub fn line(request: &Request) -> Option<String> {
    let mut value = match request {
        Request::Traces(request) => serde_json::to_value(request),
        Request::Logs(request) => serde_json::to_value(request),
        Request::Metrics(request) => serde_json::to_value(request),
    }
    .ok()?;
    prune(&mut value);
    serde_json::to_string(&value).ok()
}

/// Leaves out fields that have their default value, as protobuf's JSON mapping does. Values of attributes stay.
fn prune(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Object(fields) => {
            fields.retain(|name, value| {
                // An attribute's value, also an empty one, is what it is. A span's kind is always written.
                if name.ends_with("Value") || name == "value" || name == "key" || name == "kind" {
                    return true;
                }
                match value {
                    Value::Null => false,
                    Value::String(text) => !text.is_empty(),
                    Value::Number(number) => number.as_f64() != Some(0.0),
                    Value::Array(items) => !items.is_empty(),
                    _ => true,
                }
            });
            fields.iter_mut().filter(|(name, _)| !name.ends_with("Value")).for_each(|(_, value)| prune(value));
        }
        _ => {}
    }
}
