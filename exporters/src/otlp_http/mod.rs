//! The `otlp_http` exporter: OTLP over HTTP (opentelemetry-proto, docs/specification.md, "OTLP/HTTP").

mod config;
mod date;

use std::{
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
pub use config::{Config, Encoding};
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
    trace::v1::ExportTraceServiceResponse,
};
use pipeline::{BuildContext, ComponentError, Exporter, Signal};
use prost::Message;
use reqwest::{
    Certificate, Identity, Response, Url,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};

use crate::{
    Error,
    client::{Compression, Headers, Pem, causes, install_provider, server_text},
    encode::{Request, json},
    queue::{Client, Queued},
};

/// Bytes of a response that are read.
const RESPONSE_BYTES: usize = 64 << 10;

/// Builds the exporter. Certificates are read and the client is made at the start.
pub fn build(config: Config, context: &BuildContext) -> Result<Box<dyn Exporter>, ComponentError> {
    let settings = config.settings();
    let id = context.id.clone();
    Ok(Box::new(Queued::new(settings, context, Box::new(move || Http::new(&config, &id)))))
}

struct Http {
    id: String,
    client: reqwest::Client,
    traces: Option<Url>,
    logs: Option<Url>,
    metrics: Option<Url>,
    encoding: Encoding,
    compression: Compression,
    headers: Headers,
}

struct Body {
    signal: Signal,
    url: Url,
    bytes: Bytes,
}

impl Http {
    fn new(config: &Config, id: &str) -> Result<Self, ComponentError> {
        install_provider();
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let (Ok(key), Ok(mut value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.expose()))
            else {
                return Err(ComponentError::new(format!("headers::{name} cannot be sent")));
            };
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let content_type = match config.encoding {
            Encoding::Proto => "application/x-protobuf",
            Encoding::Json => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if config.compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let url = |signal| config.url(signal).transpose().map_err(ComponentError::new);
        let (traces, logs, metrics) = (url(Signal::Traces)?, url(Signal::Logs)?, url(Signal::Metrics)?);
        let wrong = |key: &str, error: &reqwest::Error| ComponentError::new(format!("{key}: {}", causes(error)));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("onlooker/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            // A redirect would send the headers, with their secrets, to a place that nobody configured.
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(Duration::from_secs(90))
            .connect_timeout(config.timeout.0);
        // As Go does: a proxy of the environment is not for this machine.
        if [&traces, &logs, &metrics].into_iter().flatten().all(is_loopback) {
            builder = builder.no_proxy();
        }
        if let Some(pem) = config.tls.ca()? {
            let roots = Certificate::from_pem_bundle(&pem).map_err(|error| wrong("tls::ca_file", &error))?;
            builder = builder.tls_certs_only(roots);
        } else if [&traces, &logs, &metrics].into_iter().flatten().all(|url| url.scheme() == "http") {
            // A container may have no authorities at all; without TLS that must not fail the start.
            builder = builder.tls_certs_only([]);
        }
        if let Some(Pem { cert: mut pem, key }) = config.tls.identity()? {
            pem.push(b'\n');
            pem.extend_from_slice(&key);
            builder = builder.identity(Identity::from_pem(&pem).map_err(|error| wrong("tls::cert_file", &error))?);
        }
        if config.tls.insecure_skip_verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let client = builder.build().map_err(|error| wrong("tls", &error))?;
        Ok(Self {
            id: id.to_owned(),
            client,
            traces,
            logs,
            metrics,
            encoding: config.encoding,
            compression: config.compression,
            headers: config.headers.clone(),
        })
    }

    fn accepted(&self, signal: Signal, body: &[u8]) -> u64 {
        let partial = match self.encoding {
            Encoding::Proto => partial(signal, body),
            Encoding::Json => partial_json(body),
        };
        let Some((rejected, message)) = partial.filter(|(rejected, message)| *rejected > 0 || !message.is_empty())
        else {
            return 0;
        };
        let message = server_text(&message, &self.headers);
        tracing::warn!(exporter = %self.id, message, rejected, "Partial success response");
        u64::try_from(rejected).unwrap_or(0)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn partial(signal: Signal, body: &[u8]) -> Option<(i64, String)> {
    match signal {
        Signal::Traces => {
            let partial = ExportTraceServiceResponse::decode(body).ok()?.partial_success?;
            Some((partial.rejected_spans, partial.error_message))
        }
        Signal::Logs => {
            let partial = ExportLogsServiceResponse::decode(body).ok()?.partial_success?;
            Some((partial.rejected_log_records, partial.error_message))
        }
        Signal::Metrics => {
            let partial = ExportMetricsServiceResponse::decode(body).ok()?.partial_success?;
            Some((partial.rejected_data_points, partial.error_message))
        }
    }
}

fn partial_json(body: &[u8]) -> Option<(i64, String)> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let partial = value.get("partialSuccess")?;
    let rejected = ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"];
    let rejected = rejected.iter().find_map(|name| partial.get(name));
    // 64-bit numbers are strings in protobuf's JSON.
    let rejected = rejected.and_then(|count| count.as_i64().or_else(|| count.as_str()?.parse().ok())).unwrap_or(0);
    let message = partial.get("errorMessage").and_then(serde_json::Value::as_str).unwrap_or_default();
    Some((rejected, message.to_owned()))
}

async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = RESPONSE_BYTES - body.len();
        body.extend(chunk.iter().take(room));
        if body.len() >= RESPONSE_BYTES {
            break;
        }
    }
    body
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(date::parse(text)?))?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// The message of a `google.rpc.Status`, which OTLP servers send with an error; the code alone without one.
fn error_text(encoding: Encoding, body: &[u8]) -> String {
    #[derive(Clone, PartialEq, Message)]
    struct Status {
        #[prost(string, tag = "2")]
        message: String,
    }
    match encoding {
        Encoding::Proto => Status::decode(body).map(|status| status.message).unwrap_or_default(),
        Encoding::Json => serde_json::from_slice::<serde_json::Value>(body)
            .ok()
            .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()))
            .unwrap_or_default(),
    }
}

impl Client for Http {
    type Body = Body;

    fn prepare(&self, request: Request) -> Result<Body, Error> {
        let (signal, url) = match &request {
            Request::Traces(_) => (Signal::Traces, &self.traces),
            Request::Logs(_) => (Signal::Logs, &self.logs),
            Request::Metrics(_) => (Signal::Metrics, &self.metrics),
        };
        let Some(url) = url.clone() else {
            return Err(Error::Permanent(format!(
                "no endpoint for {0}: set endpoint or {0}_endpoint",
                signal.as_str()
            )));
        };
        let bytes = match (self.encoding, &request) {
            (Encoding::Proto, Request::Traces(request)) => request.encode_to_vec(),
            (Encoding::Proto, Request::Logs(request)) => request.encode_to_vec(),
            (Encoding::Proto, Request::Metrics(request)) => request.encode_to_vec(),
            (Encoding::Json, request) => json::line(request)
                .ok_or_else(|| Error::Permanent("the request cannot be written as JSON".into()))?
                .into_bytes(),
        };
        let bytes = match self.compression {
            Compression::None => bytes,
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(&bytes)?;
                encoder.finish()?
            }
        };
        Ok(Body { signal, url, bytes: bytes.into() })
    }

    async fn send(&self, body: &Body, _limit: Duration) -> Result<u64, Error> {
        let request = self.client.post(body.url.clone()).body(body.bytes.clone());
        let response = request.send().await.map_err(|error| {
            let message = server_text(&causes(&error), &self.headers);
            if error.is_builder() { Error::Permanent(message) } else { Error::Retryable { message, after: None } }
        })?;
        let status = response.status();
        let after = retry_after(response.headers(), SystemTime::now());
        let answer = read(response).await;
        if status.is_success() {
            return Ok(self.accepted(body.signal, &answer));
        }
        let text = server_text(&error_text(self.encoding, &answer), &self.headers);
        let separator = if text.is_empty() { "" } else { ": " };
        let message = format!("HTTP status {status}{separator}{text}");
        // The specification's list, "Retryable Response Codes".
        if matches!(status.as_u16(), 429 | 502 | 503 | 504) {
            Err(Error::Retryable { message, after })
        } else {
            Err(Error::Permanent(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).ok()?);
            retry_after(&headers, UNIX_EPOCH + Duration::from_secs(784_111_770)).map(|after| after.as_secs())
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(after("soon"), None);
        assert_eq!(after("Sun, 06 Nov 99999999999999999999 08:00:00 GMT"), None);
    }
}
