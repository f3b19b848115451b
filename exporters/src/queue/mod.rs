//! The bounded queue, the retries and the workers of the exporters that send over the network.
//!
//! Order: queue → encode → retry → time-out → send. Batches of one signal that wait are sent as one request.

mod backoff;
mod config;

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use config::{Retry, SendingQueue, Settings};
use pipeline::{
    BuildContext, ComponentError, Exporter, Observation, Signal,
    component::BoxFuture,
    telemetry::{Telemetry, names},
};
use prost::Message;
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
use crate::{
    Error,
    encode::{self, Encoder, Request},
};

/// Observations in one request, at most.
const REQUEST_ITEMS: usize = 8192;
/// Bytes of one request before compression. gRPC servers take 4 MiB if nothing else is configured.
const REQUEST_BYTES: usize = (4 << 20) - (64 << 10);
/// Longest values, in bytes, of an item that alone would be more than that: tried in order.
const ONE_VALUE: [usize; 3] = [256 << 10, 32 << 10, 4 << 10];
/// Longest last try of a request after the stop.
const LAST_TRY: Duration = Duration::from_secs(5);
/// A full queue is logged once per this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Sends requests; knows no queue and no retry.
pub trait Client: Send + Sync + 'static {
    /// A request made ready to be sent more than once.
    type Body: Send + Sync;

    /// Encodes once, for all tries.
    fn prepare(&self, request: Request) -> Result<Self::Body, Error>;

    /// One try. Gives how many items the server took but rejected (partial success).
    fn send(&self, body: &Self::Body, limit: Duration) -> impl Future<Output = Result<u64, Error>> + Send;
}

/// Makes the client at the start: certificates are read and the runtime is there.
pub type Connect<C> = Box<dyn Fn() -> Result<C, ComponentError> + Send + Sync>;

/// An exporter: a client behind a queue.
pub struct Queued<C> {
    shared: Arc<Shared>,
    connect: Connect<C>,
    workers: Mutex<JoinSet<()>>,
}

impl<C: Client> Queued<C> {
    /// Nothing is opened yet.
    pub fn new(settings: Settings, context: &BuildContext, connect: Connect<C>) -> Self {
        let shared = Shared {
            id: context.id.clone(),
            telemetry: Arc::clone(&context.telemetry),
            settings,
            state: Mutex::default(),
            wake: Notify::new(),
            closing: CancellationToken::new(),
            closed_at: OnceLock::new(),
            hopeless: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), connect, workers: Mutex::default() }
    }
}

impl<C: Client> Exporter for Queued<C> {
    fn start(&self) -> Result<(), ComponentError> {
        let client = Arc::new((self.connect)()?);
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..self.shared.settings.queue.num_consumers {
            workers.spawn(work(Arc::clone(&self.shared), Arc::clone(&client)));
        }
        Ok(())
    }

    fn export(&self, signal: Signal, batch: Arc<Vec<Observation>>) {
        self.shared.put(signal, batch);
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), ComponentError>> {
        Box::pin(async {
            let _ = self.shared.closed_at.set(Instant::now());
            self.shared.lock().closed = true;
            self.shared.closing.cancel();
            let mut workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
            let mut failed = None;
            while let Some(joined) = workers.join_next().await {
                if let Err(error) = joined {
                    failed = Some(ComponentError::new(format!("a worker failed: {error}")));
                }
            }
            // Only if it was never started.
            while let Some(Taken { signal, items, .. }) = self.shared.take() {
                self.shared.dropped(signal, items, Reason::Shutdown, "the exporter was not started");
                self.shared.pending(signal, items, 0);
            }
            failed.map_or_else(|| self.shared.lost(), Err)
        })
    }
}

/// Why items were dropped: the label `reason` of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    QueueFull,
    Permanent,
    RetriesExhausted,
    Rejected,
    Shutdown,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Permanent => "permanent",
            Self::RetriesExhausted => "retries_exhausted",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
        }
    }
}

/// A batch in the queue.
struct Waiting {
    signal: Signal,
    batch: Arc<Vec<Observation>>,
    /// The items that it will become.
    items: usize,
}

/// Batches that go out together.
struct Taken {
    signal: Signal,
    batches: Vec<Arc<Vec<Observation>>>,
    items: usize,
}

#[derive(Default)]
struct State {
    /// When a retry was logged last.
    retry_told: Option<Instant>,
    waiting: VecDeque<Waiting>,
    busy: usize,
    closed: bool,
    /// When a full queue was last logged, and the items dropped since.
    full: Option<(Instant, usize)>,
    /// What the stop could not deliver.
    lost: Option<Lost>,
}

/// What could not be delivered.
#[derive(Default)]
struct Lost {
    spans: usize,
    logs: usize,
    points: usize,
    why: String,
}

struct Shared {
    id: String,
    telemetry: Arc<Telemetry>,
    settings: Settings,
    state: Mutex<State>,
    wake: Notify,
    closing: CancellationToken,
    closed_at: OnceLock<Instant>,
    /// After the stop: the endpoint had its time, nothing more is tried.
    hopeless: AtomicBool,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, signal: Signal, batch: Arc<Vec<Observation>>) {
        let queue = &self.settings.queue;
        let count = self.settings.encoder.items(signal, &batch);
        let labels = [("exporter", self.id.as_str()), ("signal", signal.as_str())];
        self.telemetry.counter(names::OFFERED, &labels).add(count as u64);
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return self.dropped(signal, count, Reason::Shutdown, "the exporter was stopped");
        }
        let room = if queue.enabled {
            state.waiting.len() < queue.queue_size
        } else {
            state.waiting.len() + state.busy < queue.num_consumers
        };
        if room {
            state.waiting.push_back(Waiting { signal, batch, items: count });
            drop(state);
            self.pending(signal, 0, count);
            return self.wake.notify_one();
        }
        drop(state);
        self.dropped(signal, count, Reason::QueueFull, "sending queue is full");
    }

    /// The batches of one signal that wait, oldest first, up to a request's size.
    fn take(&self) -> Option<Taken> {
        let mut state = self.lock();
        let Waiting { signal, batch, items } = state.waiting.pop_front()?;
        let mut size = batch.len();
        let mut taken = Taken { signal, batches: vec![batch], items };
        let mut at = 0;
        while let Some(next) = state.waiting.get(at) {
            if next.signal != signal {
                at += 1;
                continue;
            }
            size += next.batch.len();
            if size > REQUEST_ITEMS {
                break;
            }
            if let Some(next) = state.waiting.remove(at) {
                taken.items += next.items;
                taken.batches.push(next.batch);
            }
        }
        state.busy += 1;
        if !state.waiting.is_empty() {
            self.wake.notify_one();
        }
        Some(taken)
    }

    /// What this much of the queue was, and is now.
    fn pending(&self, signal: Signal, from: usize, to: usize) {
        let labels = [("exporter", self.id.as_str()), ("signal", signal.as_str())];
        self.telemetry.counter(names::PENDING, &labels).shift(from as u64, to as u64);
    }

    fn sent(&self, signal: Signal, count: usize) {
        let labels = [("exporter", self.id.as_str()), ("signal", signal.as_str())];
        self.telemetry.counter(names::EXPORTED, &labels).add(count as u64);
    }

    fn dropped(&self, signal: Signal, count: usize, reason: Reason, error: &str) {
        if count == 0 {
            return;
        }
        let labels = [("exporter", self.id.as_str()), ("signal", signal.as_str()), ("reason", reason.as_str())];
        self.telemetry.counter(names::EXPORT_DROPPED, &labels).add(count as u64);
        match reason {
            Reason::QueueFull => {
                let mut state = self.lock();
                let total = match state.full {
                    Some((last, dropped)) if last.elapsed() < LOG_INTERVAL => {
                        state.full = Some((last, dropped + count));
                        return;
                    }
                    Some((_, dropped)) => dropped + count,
                    None => count,
                };
                state.full = Some((Instant::now(), 0));
                drop(state);
                tracing::error!(exporter = %self.id, error, dropped_items = total, "Exporting failed. Rejecting data.");
            }
            Reason::Shutdown => {
                let mut state = self.lock();
                let lost = state.lost.get_or_insert_default();
                *match signal {
                    Signal::Traces => &mut lost.spans,
                    Signal::Logs => &mut lost.logs,
                    Signal::Metrics => &mut lost.points,
                } += count;
                error.clone_into(&mut lost.why);
            }
            Reason::Permanent | Reason::RetriesExhausted => {
                let reason = reason.as_str();
                tracing::error!(exporter = %self.id, error, reason, dropped_items = count,
                    "Exporting failed. Dropping data.");
            }
            // Logged with the server's message by the client.
            Reason::Rejected => {}
        }
    }

    /// Retries of many requests to one endpoint are one fact: told at most once per [`LOG_INTERVAL`].
    fn tell_retry(&self) -> bool {
        let mut state = self.lock();
        let tell = state.retry_told.is_none_or(|last| last.elapsed() >= LOG_INTERVAL);
        if tell {
            state.retry_told = Some(Instant::now());
        }
        tell
    }

    fn lost(&self) -> Result<(), ComponentError> {
        match self.lock().lost.take() {
            None => Ok(()),
            Some(Lost { spans, logs, points, why }) => {
                let points = if points > 0 { format!(", {points} metric points") } else { String::new() };
                Err(ComponentError::new(format!("{spans} spans, {logs} log records{points} were not delivered: {why}")))
            }
        }
    }

    /// A try, bounded by the time-out; the stop leaves it no more than [`LAST_TRY`].
    async fn attempt<C: Client>(&self, client: &C, body: &C::Body) -> Result<u64, Error> {
        let limit = self.settings.timeout;
        let stopped = async {
            self.closing.cancelled().await;
            tokio::time::sleep(LAST_TRY).await;
        };
        let late = |limit: Duration| Error::Retryable {
            message: format!("no answer within {:.1} s", limit.as_secs_f64()),
            after: None,
        };
        tokio::select! {
            result = tokio::time::timeout(limit, client.send(body, limit)) => result.unwrap_or_else(|_| Err(late(limit))),
            () = stopped => Err(late(LAST_TRY)),
        }
    }

    #[tracing::instrument(skip_all, name = "export", fields(exporter = %self.id, signal = signal.as_str(), items = count))]
    async fn deliver<C: Client>(&self, client: &C, signal: Signal, request: Request, count: usize) {
        let body = match client.prepare(request) {
            Ok(body) => body,
            Err(error) => return self.dropped(signal, count, Reason::Permanent, &error.to_string()),
        };
        let retry = &self.settings.retry;
        let began = Instant::now();
        let mut backoff = Backoff::new(retry);
        loop {
            if self.hopeless.load(Ordering::Relaxed) {
                let error = self.lock().lost.as_ref().map(|lost| lost.why.clone()).unwrap_or_default();
                return self.dropped(signal, count, Reason::Shutdown, &error);
            }
            let (message, after) = match self.attempt(client, &body).await {
                Ok(rejected) => {
                    let rejected = usize::try_from(rejected).unwrap_or(count).min(count);
                    self.dropped(signal, rejected, Reason::Rejected, "partial success");
                    return self.sent(signal, count - rejected);
                }
                Err(Error::Permanent(message)) => {
                    return self.dropped(signal, count, Reason::Permanent, &message);
                }
                Err(Error::Retryable { message, after }) => (message, after),
                Err(Error::Io(error)) => (error.to_string(), None),
            };
            if self.closing.is_cancelled() {
                self.dropped(signal, count, Reason::Shutdown, &message);
                if self.closed_at.get().is_some_and(|at| at.elapsed() >= LAST_TRY.min(self.settings.timeout)) {
                    self.hopeless.store(true, Ordering::Relaxed);
                }
                return;
            }
            let delay = backoff.next().max(after.unwrap_or_default());
            let limit = retry.max_elapsed_time.0;
            if !retry.enabled || (!limit.is_zero() && began.elapsed() + delay > limit) {
                return self.dropped(signal, count, Reason::RetriesExhausted, &message);
            }
            if self.tell_retry() {
                tracing::warn!(exporter = %self.id, error = message, interval = ?delay,
                    "Exporting failed. Will retry the request after interval.");
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.closing.cancelled() => {}
            }
        }
    }
}

async fn work<C: Client>(shared: Arc<Shared>, client: Arc<C>) {
    loop {
        if let Some(Taken { signal, batches, items }) = shared.take() {
            let observations: Vec<&Observation> = batches.iter().flat_map(|batch| batch.iter()).collect();
            // Parts still to send, the next one last.
            let mut parts: Vec<&[&Observation]> = observations.chunks(REQUEST_ITEMS).rev().collect();
            while let Some(part) = parts.pop() {
                let encoder = &shared.settings.encoder;
                let Some((mut request, size, count)) = encode(encoder, signal, part) else { continue };
                if size > REQUEST_BYTES {
                    if part.len() > 1 {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                        continue;
                    }
                    // One item alone: better shortened than refused.
                    for value in ONE_VALUE {
                        let Some((tight, size, _)) = encode(&encoder.tightened(value), signal, part) else { break };
                        request = tight;
                        if size <= REQUEST_BYTES {
                            break;
                        }
                    }
                }
                shared.deliver(client.as_ref(), signal, request, count).await;
            }
            shared.pending(signal, items, 0);
            shared.lock().busy -= 1;
            continue;
        }
        if shared.closing.is_cancelled() {
            return;
        }
        tokio::select! {
            () = shared.wake.notified() => {}
            () = shared.closing.cancelled() => {}
        }
    }
}

/// A request, its encoded size and its items; `None` if these observations have nothing for the signal.
fn encode(encoder: &Encoder, signal: Signal, observations: &[&Observation]) -> Option<(Request, usize, usize)> {
    let observations = observations.iter().copied();
    match signal {
        Signal::Traces => encoder.traces(observations).map(|(request, count)| {
            let size = request.encoded_len();
            (Request::Traces(request), size, count)
        }),
        Signal::Logs => encoder.logs(observations).map(|(request, count)| {
            let size = request.encoded_len();
            (Request::Logs(request), size, count)
        }),
        Signal::Metrics => encode::metrics(observations).map(|(request, count)| {
            let size = request.encoded_len();
            (Request::Metrics(request), size, count)
        }),
    }
}
