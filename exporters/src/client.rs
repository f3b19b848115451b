//! What the two OTLP exporters have in common: headers, TLS keys, and texts that servers send.

use std::collections::BTreeMap;

use pipeline::{
    ComponentError,
    config::{Problem, Problems, values::Secret},
};
use serde::Deserialize;

/// Names and values of headers. The values are secrets.
pub type Headers = BTreeMap<String, Secret>;

/// Compression of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// gzip.
    #[default]
    Gzip,
    /// None.
    None,
}

/// Every key of `tls`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// No TLS, for an endpoint without `https://`.
    pub insecure: bool,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// PEM file of the authorities to trust, instead of the system's.
    pub ca_file: Option<String>,
    /// PEM file of the client's certificate chain.
    pub cert_file: Option<String>,
    /// PEM file of the client's key.
    pub key_file: Option<String>,
    /// Name that the server's certificate must have, instead of the endpoint's.
    pub server_name_override: Option<String>,
}

/// A certificate chain and its key, as PEM. Not `Debug`: the key is a secret.
pub struct Pem {
    /// The chain.
    pub cert: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

impl Tls {
    /// What holds for both exporters.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        if self.cert_file.is_some() != self.key_file.is_some() {
            problems.push(Problem::new(format!("{path}::tls"), "cert_file and key_file must be set together"));
        }
    }

    /// Reads `ca_file`, if it is set.
    pub fn ca(&self) -> Result<Option<Vec<u8>>, ComponentError> {
        self.ca_file.as_deref().map(|path| read("tls::ca_file", path)).transpose()
    }

    /// Reads the client's certificate and key, if they are set.
    pub fn identity(&self) -> Result<Option<Pem>, ComponentError> {
        let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) else { return Ok(None) };
        Ok(Some(Pem { cert: read("tls::cert_file", cert)?, key: read("tls::key_file", key)? }))
    }
}

fn read(key: &str, path: &str) -> Result<Vec<u8>, ComponentError> {
    std::fs::read(path).map_err(|error| ComponentError::new(format!("{key}: cannot read {path}: {error}")))
}

/// An error and its causes in one line: the outermost alone often says only "transport error".
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

/// A server's text, fit to be logged: short, one line, without the values of our headers.
pub fn server_text(text: &str, headers: &Headers) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for value in headers.values().map(Secret::expose) {
        // `Bearer TOKEN`: a server may repeat only the token.
        let last = value.rsplit(' ').next().unwrap_or_default();
        for value in [value, last].into_iter().filter(|value| value.len() >= 4) {
            text = text.replace(value, "[REDACTED]");
        }
    }
    if text.chars().count() > 300 {
        text = text.chars().take(300).chain("…".chars()).collect();
    }
    text
}

/// Makes ring the process's TLS implementation, unless there is one.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
