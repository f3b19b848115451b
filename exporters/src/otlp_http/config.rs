//! Configuration of the `otlp_http` exporter.

use std::time::Duration;

use pipeline::{
    Signal,
    config::{Component, Problem, Problems, values::GoDuration},
    semconv::Profile,
};
use reqwest::{
    Url,
    header::{HeaderName, HeaderValue},
};
use serde::Deserialize;

use crate::{
    client::{Compression, Headers, Tls},
    encode::{
        limits::Limits,
        options::{Compatibility, Options},
    },
    queue::{Retry, SendingQueue, Settings},
};

/// Form of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Protobuf.
    #[default]
    Proto,
    /// OTLP/JSON.
    Json,
}

/// Every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Base URL; `/v1/traces`, `/v1/logs` and `/v1/metrics` are added.
    pub endpoint: String,
    /// URL for spans, used as it is.
    pub traces_endpoint: String,
    /// URL for log records, used as it is.
    pub logs_endpoint: String,
    /// URL for metric points, used as it is.
    pub metrics_endpoint: String,
    /// Form of the requests.
    pub encoding: Encoding,
    /// TLS.
    pub tls: Tls,
    /// Headers sent with every request.
    pub headers: Headers,
    /// Compression of requests.
    pub compression: Compression,
    /// Longest time of one try.
    pub timeout: GoDuration,
    /// What may wait. `null`: nothing.
    pub sending_queue: Option<SendingQueue>,
    /// What happens after a failure.
    pub retry_on_failure: Retry,
    /// State of the conventions' names: `2026-08` or `next`.
    pub semconv: Profile,
    /// Longest values and most attributes.
    pub limits: Limits,
    /// What some backends need.
    pub compatibility: Compatibility,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            traces_endpoint: String::new(),
            logs_endpoint: String::new(),
            metrics_endpoint: String::new(),
            encoding: Encoding::Proto,
            tls: Tls::default(),
            headers: Headers::new(),
            compression: Compression::Gzip,
            timeout: GoDuration(Duration::from_secs(30)),
            sending_queue: Some(SendingQueue::default()),
            retry_on_failure: Retry::default(),
            semconv: Profile::default(),
            limits: Limits::default(),
            compatibility: Compatibility::default(),
        }
    }
}

impl Config {
    /// Queue, retries, time-out.
    pub fn settings(&self) -> Settings {
        Settings::new(self.timeout, self.sending_queue.as_ref(), &self.retry_on_failure, self.options().encoder())
    }

    /// The form of what is sent.
    fn options(&self) -> Options<'_> {
        Options { semconv: self.semconv, limits: &self.limits, compatibility: &self.compatibility }
    }

    /// Where a signal goes; `None` if no endpoint is set for it.
    pub fn url(&self, signal: Signal) -> Option<Result<Url, String>> {
        let own = match signal {
            Signal::Traces => &self.traces_endpoint,
            Signal::Logs => &self.logs_endpoint,
            Signal::Metrics => &self.metrics_endpoint,
        };
        if !own.is_empty() {
            Some(parse(own))
        } else if !self.endpoint.is_empty() {
            Some(parse(&format!("{}/v1/{}", self.endpoint.trim_end_matches('/'), signal.as_str())))
        } else {
            None
        }
    }
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "must be a URL, as http://localhost:4318")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or a password: use headers".into());
    }
    Ok(url)
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        let endpoints = [
            ("endpoint", &self.endpoint),
            ("traces_endpoint", &self.traces_endpoint),
            ("logs_endpoint", &self.logs_endpoint),
            ("metrics_endpoint", &self.metrics_endpoint),
        ];
        if endpoints.iter().all(|(_, value)| value.is_empty()) {
            problems.push(
                Problem::new(path, "at least one endpoint must be specified")
                    .hint("as endpoint: http://localhost:4318"),
            );
        }
        for (key, value) in endpoints.into_iter().filter(|(_, value)| !value.is_empty()) {
            if let Err(message) = parse(value) {
                problems.push(Problem::new(format!("{path}::{key}"), message));
            }
        }
        self.tls.validate(path, problems);
        if self.tls.server_name_override.is_some() {
            problems.push(
                Problem::new(format!("{path}::tls::server_name_override"), "is not supported by this exporter")
                    .hint("use otlp_grpc, or an endpoint with the name of the certificate"),
            );
        }
        for (name, value) in &self.headers {
            let place = format!("{path}::headers::{name}");
            let own = ["content-type", "content-encoding", "content-length", "transfer-encoding"];
            if own.contains(&name.to_ascii_lowercase().as_str()) {
                problems.push(Problem::new(place, "is set by the exporter itself"));
            } else if HeaderName::from_bytes(name.as_bytes()).is_err() {
                problems.push(Problem::new(place, "is no name of a header"));
            } else if HeaderValue::from_str(value.expose()).is_err() {
                problems.push(Problem::new(place, "has a value that is not visible ASCII"));
            }
        }
        self.settings().validate(path, problems);
        self.options().validate(path, problems);
    }
}
