//! onlooker's own counters. Components take handles; the heartbeat and the OpenTelemetry metrics read them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The name and the labels of a counter.
pub type CounterKey = (&'static str, Vec<(&'static str, String)>);

/// A monotonic counter, cheap to add to from any thread.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets the value (for counters that mirror one kept elsewhere, such as in the kernel).
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counters of this process, by name and labels.
#[derive(Debug, Default)]
pub struct Telemetry {
    counters: Mutex<BTreeMap<CounterKey, Counter>>,
}

impl Telemetry {
    /// The counter of this name and these labels; made at first use.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        let labels = labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.entry((name, labels)).or_default().clone()
    }

    /// All counters with their values, sorted by name and labels.
    pub fn snapshot(&self) -> Vec<(CounterKey, u64)> {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.iter().map(|(key, counter)| (key.clone(), counter.get())).collect()
    }
}

/// Names of the counters.
pub mod names {
    /// Observations that entered the pipelines. Label: receiver.
    pub const SEEN: &str = "onlooker.observations.seen";
    /// Items (spans, log records, points) that an exporter was given: what it sent, what it dropped and what still waits
    /// there. Labels: exporter, signal.
    pub const OFFERED: &str = "onlooker.exporter.offered";
    /// Items (spans, log records, points) that an exporter delivered. Labels: exporter, signal.
    pub const EXPORTED: &str = "onlooker.exporter.sent";
    /// Items lost by an exporter. Labels: exporter, signal, reason.
    pub const EXPORT_DROPPED: &str = "onlooker.exporter.dropped";
    /// Events that the kernel could not hand over. Label: reason.
    pub const KERNEL_DROPPED: &str = "onlooker.kernel.dropped";
    /// Turns of a receiver's loop: it lives while this moves. Label: receiver.
    pub const PULSE: &str = "onlooker.receiver.pulse";
    /// Secrets masked in outgoing fields. Label: kind.
    pub const REDACTED: &str = "onlooker.redacted";
}
