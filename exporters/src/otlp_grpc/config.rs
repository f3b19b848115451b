//! Configuration of the `otlp_grpc` exporter.

use std::time::Duration;

use pipeline::{
    config::{Component, Problem, Problems, values::GoDuration},
    semconv::Profile,
};
use serde::Deserialize;
use tonic::{
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
    transport::Uri,
};

use crate::{
    client::{Compression, Headers, Tls},
    encode::{
        limits::Limits,
        options::{Compatibility, Options},
    },
    queue::{Retry, SendingQueue, Settings},
};

/// Every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to send: `host:port`. `http://` before it means no TLS, `https://` means TLS. Required.
    pub endpoint: String,
    /// TLS.
    pub tls: Tls,
    /// Metadata sent with every request.
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
            tls: Tls::default(),
            headers: Headers::new(),
            compression: Compression::Gzip,
            timeout: GoDuration(Duration::from_secs(5)),
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

    /// The endpoint with its scheme, which says whether TLS is used.
    pub fn uri(&self) -> Result<Uri, String> {
        let (secure, address) = match self.endpoint.split_once("://") {
            Some(("http", address)) => (false, address),
            Some(("https", address)) => (true, address),
            Some((scheme, _)) => return Err(format!("unknown scheme {scheme:?}: use host:port, http:// or https://")),
            None => (!self.tls.insecure, self.endpoint.as_str()),
        };
        if address.contains('@') {
            return Err("must not contain a user or a password: use headers".into());
        }
        let wrong = || "must be host:port, as localhost:4317".to_owned();
        let scheme = if secure { "https" } else { "http" };
        let uri: Uri = format!("{scheme}://{}", address.trim_end_matches('/')).parse().map_err(|_| wrong())?;
        if uri.host().is_none_or(str::is_empty) || uri.port_u16().is_none() || uri.path() != "/" {
            return Err(wrong());
        }
        Ok(uri)
    }
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        if self.endpoint.is_empty() {
            problems.push(
                Problem::new(path, "requires a non-empty \"endpoint\"").hint("as endpoint: http://localhost:4317"),
            );
        } else if let Err(message) = self.uri() {
            problems.push(Problem::new(format!("{path}::endpoint"), message));
        }
        self.tls.validate(path, problems);
        if self.tls.insecure_skip_verify {
            problems.push(
                Problem::new(format!("{path}::tls::insecure_skip_verify"), "is not supported by this exporter")
                    .hint("name the server's authority in tls::ca_file, or use otlp_http"),
            );
        }
        for (name, value) in &self.headers {
            let place = format!("{path}::headers::{name}");
            let lower = name.to_ascii_lowercase();
            if lower.starts_with("grpc-") || ["content-type", "te", "user-agent"].contains(&lower.as_str()) {
                problems.push(Problem::new(place, "is set by gRPC itself"));
            } else if lower.ends_with("-bin") || AsciiMetadataKey::from_bytes(lower.as_bytes()).is_err() {
                problems.push(Problem::new(place, "is no name of a text header"));
            } else if AsciiMetadataValue::try_from(value.expose()).is_err() {
                problems.push(Problem::new(place, "has a value that is not visible ASCII"));
            }
        }
        self.settings().validate(path, problems);
        self.options().validate(path, problems);
    }
}
