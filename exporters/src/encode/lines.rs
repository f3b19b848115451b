//! Line formats: OTLP/JSON and CloudEvents.

use std::io::Write;

use pipeline::{Observation, Signal, ids, record};
use serde_json::{Map, Value, json as object};

use super::{Encoder, Request, json, metrics};
use crate::writer::Format;

/// OTLP/JSON, one export request per line.
pub struct OtlpJson(pub Encoder);

impl Format for OtlpJson {
    fn write(&mut self, signal: Signal, batch: &[Observation], out: &mut dyn Write) -> std::io::Result<usize> {
        let request = match signal {
            Signal::Traces => self.0.traces(batch).map(|(request, count)| (Request::Traces(request), count)),
            Signal::Logs => self.0.logs(batch).map(|(request, count)| (Request::Logs(request), count)),
            Signal::Metrics => metrics(batch).map(|(request, count)| (Request::Metrics(request), count)),
        };
        let Some((request, count)) = request else { return Ok(0) };
        let line = json::line(&request).ok_or_else(|| std::io::Error::other("a request could not be encoded"))?;
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(count)
    }
}

/// CloudEvents 1.0, one envelope per line: the signed one where there is one.
pub struct CloudEvents(pub Encoder);

impl Format for CloudEvents {
    fn write(&mut self, _: Signal, batch: &[Observation], out: &mut dyn Write) -> std::io::Result<usize> {
        let mut count = 0;
        for observation in batch {
            let line = match &observation.envelope {
                Some(envelope) => envelope.json.clone(),
                None => match unsigned(&self.0, observation) {
                    Some(envelope) => envelope.to_string(),
                    None => continue,
                },
            };
            out.write_all(line.as_bytes())?;
            out.write_all(b"\n")?;
            count += 1;
        }
        Ok(count)
    }
}

/// An envelope for a record that nobody signed.
fn unsigned(encoder: &Encoder, observation: &Observation) -> Option<Value> {
    let (record, _) = encoder.record(observation)?;
    let process = &observation.process;
    let data: Map<String, Value> =
        record.attributes.iter().map(|(name, value)| ((*name).to_owned(), plain(value))).collect();
    let span = observation.context.map(|context| context.span_id.to_string()).unwrap_or_default();
    let parts: [&[u8]; 5] = [
        record.name.as_bytes(),
        &record.time.nanos().to_be_bytes(),
        &process.key.tgid.to_be_bytes(),
        &process.key.start.to_be_bytes(),
        span.as_bytes(),
    ];
    let mut envelope = object!({
        "specversion": "1.0",
        "id": ids::TraceId::derive(&parts).to_string(),
        "source": format!("/onlooker/{}", process.host.name),
        "type": format!("io.{}", record.name),
        "time": record.time.rfc3339(),
        "subject": format!("{}/{}", process.service_name.as_deref().unwrap_or_else(|| process.executable_name()), process.key.tgid),
        "datacontenttype": "application/json",
        "data": data,
    });
    if let Some(context) = observation.context {
        envelope["traceparent"] = format!("00-{}-{}-01", context.trace_id, context.span_id).into();
    }
    Some(envelope)
}

fn plain(value: &record::Value) -> Value {
    match value {
        record::Value::Str(text) => text.as_str().into(),
        record::Value::Int(number) => (*number).into(),
        record::Value::Double(number) => (*number).into(),
        record::Value::Bool(truth) => (*truth).into(),
        record::Value::Json(json) => json.clone(),
        record::Value::Strings(texts) => texts.iter().map(String::as_str).collect(),
    }
}
