//! Configuration of the queue and the retries, as in the Collector's exporterhelper.

use std::time::Duration;

use pipeline::config::{Problem, Problems, values::GoDuration};
use serde::Deserialize;

use crate::encode::Encoder;

/// Every key of `sending_queue`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SendingQueue {
    /// Whether batches may wait. If not, a batch is taken only while a consumer is free.
    pub enabled: bool,
    /// Requests that are sent at the same time.
    pub num_consumers: usize,
    /// Batches that may wait.
    pub queue_size: usize,
}

impl Default for SendingQueue {
    fn default() -> Self {
        Self { enabled: true, num_consumers: 10, queue_size: 1000 }
    }
}

/// Every key of `retry_on_failure`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Whether failed requests are tried again.
    pub enabled: bool,
    /// Time before the first retry.
    pub initial_interval: GoDuration,
    /// Each interval is varied by up to this part of it, from 0 to 1.
    pub randomization_factor: f64,
    /// Each interval is this times the one before.
    pub multiplier: f64,
    /// Longest interval.
    pub max_interval: GoDuration,
    /// A request that has failed for this long is dropped. 0: never.
    pub max_elapsed_time: GoDuration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            enabled: true,
            initial_interval: GoDuration(Duration::from_secs(5)),
            randomization_factor: 0.5,
            multiplier: 1.5,
            max_interval: GoDuration(Duration::from_secs(30)),
            max_elapsed_time: GoDuration(Duration::from_secs(300)),
        }
    }
}

/// What an exporter's configuration says about queue, retries and time-out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest time of one try.
    pub timeout: Duration,
    /// The queue. `sending_queue: null` turns it off.
    pub queue: SendingQueue,
    /// The retries.
    pub retry: Retry,
    /// What makes requests of observations.
    pub encoder: Encoder,
}

impl Settings {
    /// From the keys that every network exporter has.
    pub fn new(timeout: GoDuration, queue: Option<&SendingQueue>, retry: &Retry, encoder: Encoder) -> Self {
        let off = || SendingQueue { enabled: false, ..SendingQueue::default() };
        Self { timeout: timeout.0, queue: queue.cloned().unwrap_or_else(off), retry: retry.clone(), encoder }
    }

    /// Checks them; the messages are the Collector's where it has one.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        let mut wrong = |key: &str, message: &str| problems.push(Problem::new(format!("{path}::{key}"), message));
        if self.timeout.is_zero() {
            wrong("timeout", "must be positive");
        }
        if self.queue.num_consumers == 0 {
            wrong("sending_queue", "`num_consumers` must be positive");
        }
        if self.queue.queue_size == 0 {
            wrong("sending_queue", "`queue_size` must be positive");
        }
        let retry = &self.retry;
        if !retry.enabled {
            return;
        }
        if !(0.0..=1.0).contains(&retry.randomization_factor) {
            wrong("retry_on_failure", "'randomization_factor' must be within [0, 1]");
        }
        if !(retry.multiplier.is_finite() && retry.multiplier >= 0.0) {
            wrong("retry_on_failure", "'multiplier' must be non-negative");
        }
        if !retry.max_elapsed_time.0.is_zero() {
            if retry.max_elapsed_time < retry.initial_interval {
                wrong("retry_on_failure", "'max_elapsed_time' must not be less than 'initial_interval'");
            }
            if retry.max_elapsed_time < retry.max_interval {
                wrong("retry_on_failure", "'max_elapsed_time' must not be less than 'max_interval'");
            }
        }
    }
}
