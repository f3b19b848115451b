//! The keys of `kubernetes`.

use std::{fmt, time::Duration};

use pipeline::config::{Problem, Problems, values::GoDuration};
use reqwest::Url;
use serde::Deserialize;

/// Where Kubernetes puts the token of a pod's service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// Where it puts the authority of the cluster.
const AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
/// Most labels.
const LABELS: usize = 64;

/// Every key of `kubernetes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// `k8s.node.name`. Without it that of the environment (`K8S_NODE_NAME`, `NODE_NAME`), else the kubelet's.
    pub node: String,
    /// Keys of the pods' labels that are told, as `k8s.pod.label.<key>`.
    pub labels: Vec<String>,
    /// The kubelet to ask. `null`: none.
    pub kubelet: Option<Kubelet>,
}

/// How to ask the kubelet.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubelet {
    /// Where it is: `https://<node>:10250`.
    pub endpoint: String,
    /// How onlooker says who it is.
    pub auth_type: AuthType,
    /// File of the token. Read anew for each request: tokens change.
    pub token_file: String,
    /// PEM file of the authorities to trust; by default the cluster's for `serviceAccount`, else the system's.
    pub ca_file: Option<String>,
    /// PEM file of the client's certificate chain, for `tls`.
    pub cert_file: Option<String>,
    /// PEM file of the client's key, for `tls`.
    pub key_file: Option<String>,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// How often it is asked when there is nothing new to ask.
    pub interval: GoDuration,
    /// Longest time of one request.
    pub timeout: GoDuration,
}

/// How onlooker says who it is, in the words of the Collector's kubeletstats receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum AuthType {
    /// By the token of a service account.
    #[default]
    #[serde(rename = "serviceAccount")]
    ServiceAccount,
    /// By a certificate.
    #[serde(rename = "tls")]
    Tls,
    /// Not at all.
    #[serde(rename = "none")]
    None,
}

impl fmt::Display for AuthType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServiceAccount => "serviceAccount",
            Self::Tls => "tls",
            Self::None => "none",
        })
    }
}

impl Default for Kubelet {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            auth_type: AuthType::default(),
            token_file: TOKEN.into(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            insecure_skip_verify: false,
            interval: GoDuration(Duration::from_secs(60)),
            timeout: GoDuration(Duration::from_secs(5)),
        }
    }
}

impl Kubelet {
    /// The one address that is asked.
    ///
    /// # Errors
    /// What is wrong with `endpoint`.
    pub fn url(&self) -> Result<Url, &'static str> {
        let scheme = match self.auth_type {
            _ if self.endpoint.contains("://") => "",
            AuthType::None => "http://",
            AuthType::ServiceAccount | AuthType::Tls => "https://",
        };
        let url = Url::parse(&format!("{scheme}{}", self.endpoint.trim_end_matches('/')));
        let mut url = url.map_err(|_| "must be a URL, as https://10.0.0.7:10250 (an IPv6 address in brackets)")?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("must begin with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user or a password: use auth_type");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("must be scheme, host and port only: /pods is added");
        }
        url.set_path("/pods");
        Ok(url)
    }

    /// The file of the authorities to trust; `None`: the system's.
    pub fn authority(&self) -> Option<&str> {
        self.ca_file.as_deref().or((self.auth_type == AuthType::ServiceAccount).then_some(AUTHORITY))
    }
}

/// True if what is sent to a host stays on this machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Kubernetes {
    /// Adds what is wrong.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        let key = |key: &str| format!("{path}::{key}");
        for (at, label) in self.labels.iter().enumerate() {
            if label.is_empty() || label.len() > 317 || !label.bytes().all(|byte| byte.is_ascii_graphic()) {
                let problem = Problem::new(key(&format!("labels::{at}")), "is no key of a label");
                problems.push(problem.hint("as app.kubernetes.io/name"));
            }
        }
        if self.labels.len() > LABELS {
            problems.push(Problem::new(key("labels"), format!("at most {LABELS}")));
        }
        let Some(kubelet) = &self.kubelet else {
            if !self.labels.is_empty() {
                let problem = Problem::new(key("labels"), "only the kubelet knows labels");
                problems.push(problem.hint("add kubelet: {endpoint: \"https://${env:NODE_IP}:10250\"}"));
            }
            return;
        };
        match kubelet.url() {
            Err(problem) => problems.push(Problem::new(key("kubelet::endpoint"), problem)),
            Ok(url) => {
                if kubelet.auth_type == AuthType::ServiceAccount && url.scheme() == "http" && !is_loopback(&url) {
                    let problem = "would send the token over the network in the clear";
                    problems.push(Problem::new(key("kubelet::endpoint"), problem).hint("use https://"));
                }
            }
        }
        let certificate = kubelet.cert_file.is_some() && kubelet.key_file.is_some();
        if kubelet.auth_type == AuthType::Tls && !certificate {
            problems.push(Problem::new(key("kubelet"), "auth_type: tls needs cert_file and key_file"));
        }
        if kubelet.auth_type != AuthType::Tls && (kubelet.cert_file.is_some() || kubelet.key_file.is_some()) {
            let problem = format!("cert_file and key_file are not used with auth_type: {}", kubelet.auth_type);
            problems.push(Problem::new(key("kubelet"), problem).hint("use auth_type: tls"));
        }
        if kubelet.auth_type == AuthType::ServiceAccount && kubelet.token_file.is_empty() {
            problems.push(Problem::new(key("kubelet::token_file"), "must not be empty"));
        }
        if kubelet.interval.0 < Duration::from_secs(1) {
            problems.push(Problem::new(key("kubelet::interval"), "must be at least 1s"));
        }
        if kubelet.timeout.0.is_zero() || kubelet.timeout.0 > Duration::from_secs(60) {
            problems.push(Problem::new(key("kubelet::timeout"), "must be above 0 and at most 60s"));
        }
    }
}
