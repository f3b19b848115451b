//! The kubelet of this node, asked for its pods: on a thread of its own, seldom, and bounded in time and memory. What it
//! tells goes into the stream of frames, so that a replay tells the same.
//!
//! Only `/pods` is read. The API server is never asked.

mod answer;
pub mod config;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pipeline::{
    observation::Workload,
    telemetry::{Telemetry, names},
};
use reqwest::{
    Certificate, Identity, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::config::{AuthType, Kubelet as Config};
use crate::targets::pods::{Pod, Told};

/// Longest answer: a node's pods with all their fields are a few MiB.
const LONGEST: usize = 32 << 20;
/// Longest token or certificate.
const FILE: u64 = 1 << 20;
/// Time between two requests, at least.
const LEAST: Duration = Duration::from_secs(1);
/// Most containers that are asked for at a time.
const WANTED: usize = 1024;
/// Answers after which one is not asked for any more: a pod's sandbox is in none.
const TRIES: u32 = 5;
/// Most that are remembered as not to be had.
const HOPELESS: usize = 4096;

/// Takes what is new; false if it found no room.
pub type Deliver = Box<dyn Fn(Told) -> bool + Send>;

/// A thread that asks. It ends when this is dropped.
pub struct Kubelet {
    shared: Arc<Shared>,
    _end: DropGuard,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Something is wanted.
    wanted: Notify,
    /// The first request is over.
    first: Condvar,
}

#[derive(Default)]
struct State {
    known: HashMap<String, Pod>,
    /// Pods and containers that processes live in and no answer had yet, with the number of answers since.
    wanted: HashMap<(String, String), u32>,
    hopeless: HashSet<(String, String)>,
    asked: bool,
    error: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is wanted.
    async fn wanting(&self) {
        while self.lock().wanted.is_empty() {
            self.wanted.notified().await;
        }
    }
}

impl State {
    /// Takes over an answer. Gives what is new in it.
    fn learn(&mut self, pods: Vec<Pod>) -> Told {
        let now: HashMap<String, Pod> = pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
        let mut told = Told::default();
        told.pods.extend(now.values().filter(|pod| self.known.get(&pod.uid) != Some(pod)).cloned());
        told.gone.extend(self.known.keys().filter(|uid| !now.contains_key(*uid)).cloned());
        told.pods.sort_unstable_by(|a, b| a.uid.cmp(&b.uid));
        told.gone.sort_unstable();
        self.known = now;
        for (wanted, tries) in std::mem::take(&mut self.wanted) {
            if self.knows(&wanted) {
                continue;
            }
            if tries + 1 < TRIES {
                self.wanted.insert(wanted, tries + 1);
            } else {
                if self.hopeless.len() >= HOPELESS {
                    self.hopeless.clear();
                }
                self.hopeless.insert(wanted);
            }
        }
        told
    }

    fn knows(&self, (uid, id): &(String, String)) -> bool {
        let known = self.known.get(uid);
        known.is_some_and(|pod| id.is_empty() || pod.containers.iter().any(|container| container.id == *id))
    }
}

impl Kubelet {
    /// Starts to ask. `receiver` is the id for the counters.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub fn start(
        config: Config,
        labels: Vec<String>,
        telemetry: &Telemetry,
        receiver: &str,
        deliver: Deliver,
    ) -> std::io::Result<Self> {
        // There may be another, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let end = CancellationToken::new();
        let shared = Arc::new(Shared::default());
        let count =
            |outcome| telemetry.counter(names::KUBELET_REQUESTS, &[("receiver", receiver), ("outcome", outcome)]);
        let (answered, failed) = (count("answered"), count("failed"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (known, ended) = (shared.clone(), end.clone());
        let work = async move {
            let mut pause = LEAST;
            loop {
                let outcome = fetch(&config, &labels).await;
                let asked = Instant::now();
                let done = outcome.is_ok();
                if done {
                    answered.add(1)
                } else {
                    failed.add(1)
                }
                settle(&known, outcome, &deliver);
                // What is new on the node may need some seconds until the kubelet tells it.
                let more = !known.lock().wanted.is_empty();
                pause = if more || !done { (pause * 2).min(config.interval.0) } else { LEAST };
                let wanted = async {
                    known.wanting().await;
                    tokio::time::sleep_until(asked + pause).await;
                };
                tokio::select! {
                    () = tokio::time::sleep_until(asked + config.interval.0) => {}
                    () = wanted => {}
                }
            }
        };
        let thread = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = ended.cancelled() => {}
                    () = work => {}
                }
            });
            // A look-up of a name may hang.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("onlooker-kubelet".into()).spawn(thread)?;
        Ok(Self { shared, _end: end.drop_guard() })
    }

    /// A process lives here: if it is in a pod that is not known yet, the kubelet is asked. Never waits.
    pub fn want(&self, workload: &Workload) {
        let Some(uid) = &workload.pod_uid else { return };
        let wanted = (uid.clone(), workload.container_id.clone().unwrap_or_default());
        let mut state = self.shared.lock();
        if state.wanted.len() < WANTED
            && !state.knows(&wanted)
            && !state.hopeless.contains(&wanted)
            && !state.wanted.contains_key(&wanted)
        {
            state.wanted.insert(wanted, 0);
            drop(state);
            self.shared.wanted.notify_one();
        }
    }

    /// Waits for the outcome of the first request, at most this long.
    pub fn wait(&self, most: Duration) {
        let open = |state: &mut State| !state.asked;
        drop(self.shared.first.wait_timeout_while(self.shared.lock(), most, open));
    }

    /// For the heartbeat: its name, and why it does not work, if it does not.
    pub fn status(&self) -> (String, Option<String>) {
        ("kubernetes/kubelet".to_owned(), self.shared.lock().error.clone())
    }
}

fn settle(shared: &Shared, outcome: Result<Vec<Pod>, String>, deliver: &Deliver) {
    let mut state = shared.lock();
    match outcome {
        Ok(pods) => {
            let told = state.learn(pods);
            if state.error.take().is_some() {
                tracing::info!(pods = state.known.len(), "The kubelet answers again.");
            } else if !state.asked {
                tracing::info!(pods = state.known.len(), "The kubelet answers.");
            }
            let nothing = told.pods.is_empty() && told.gone.is_empty();
            if !nothing && !deliver(told) {
                // It is told again with the next answer.
                state.known.clear();
            }
        }
        Err(error) => {
            if state.error.as_ref() != Some(&error) {
                tracing::warn!(
                    error,
                    "The kubelet does not tell its pods; cgroups and files still do, and it is asked again."
                );
            }
            state.error = Some(error);
        }
    }
    state.asked = true;
    drop(state);
    shared.first.notify_all();
}

/// Asks once. Files are read anew each time: tokens and certificates change.
async fn fetch(config: &Config, labels: &[String]) -> Result<Vec<Pod>, String> {
    let url = config.url().map_err(|problem| format!("endpoint {problem}"))?;
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("onlooker/", env!("CARGO_PKG_VERSION")))
        // A redirect would send the token to a place that nobody configured, and so might a proxy.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(config.timeout.0);
    let wrong = |key: &str, error: &reqwest::Error| format!("{key}: {}", causes(error));
    if config.insecure_skip_verify || url.scheme() == "http" {
        // A container may have no authorities at all; none is needed here.
        builder = builder.tls_certs_only([]).tls_danger_accept_invalid_certs(config.insecure_skip_verify);
    } else if let Some(path) = config.authority() {
        let pem = read("ca_file", path)?;
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(&pem).map_err(|error| wrong("ca_file", &error))?);
    }
    if let (AuthType::Tls, Some(cert), Some(key)) = (config.auth_type, &config.cert_file, &config.key_file) {
        let mut pem = read("cert_file", cert)?;
        pem.push(b'\n');
        pem.extend(read("key_file", key)?);
        builder = builder.identity(Identity::from_pem(&pem).map_err(|error| wrong("cert_file, key_file", &error))?);
    }
    let client = builder.build().map_err(|error| wrong("tls", &error))?;
    let mut request = client.get(url);
    if config.auth_type == AuthType::ServiceAccount {
        request = request.header(AUTHORIZATION, token(&config.token_file)?);
    }
    let mut response = request.send().await.map_err(|error| {
        let text = causes(&error.without_url());
        let hint = if text.contains("certificate") && !config.insecure_skip_verify {
            "; set ca_file to the authority of the kubelet's certificate, or insecure_skip_verify if it has none"
        } else {
            ""
        };
        format!("{}: {text}{hint}", config.endpoint)
    })?;
    let status = response.status();
    if status != StatusCode::OK {
        let hint = match status {
            StatusCode::UNAUTHORIZED => ": it does not know who asks; see auth_type and token_file",
            StatusCode::FORBIDDEN => {
                ": grant the service account get on nodes/pods (before Kubernetes 1.33: nodes/proxy)"
            }
            _ => "",
        };
        return Err(format!("{}: HTTP status {status}{hint}", config.endpoint));
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > LONGEST => {
                return Err(format!("{}: the answer is longer than {} MiB", config.endpoint, LONGEST >> 20));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Err(format!("{}: {}", config.endpoint, causes(&error.without_url()))),
        }
    }
    answer::pods(&body, labels).map_err(|problem| format!("{}: {problem}", config.endpoint))
}

/// The header of a token. No error holds any of it.
fn token(path: &str) -> Result<HeaderValue, String> {
    let mut bytes = b"Bearer ".to_vec();
    let text = read("token_file", path)?;
    bytes.extend_from_slice(text.trim_ascii());
    let mut value = HeaderValue::from_bytes(&bytes).map_err(|_| format!("token_file: {path} holds no token"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(key: &str, path: &str) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    file.and_then(|file| file.take(FILE).read_to_end(&mut bytes))
        .map_err(|error| format!("{key}: cannot read {path}: {error}"))?;
    Ok(bytes)
}

/// An error and its causes in one line: the outermost alone often says nothing.
fn causes(error: &dyn std::error::Error) -> String {
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
