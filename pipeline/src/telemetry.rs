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

    /// Moves a gauge from what one of its parts was to what that part is now.
    pub fn shift(&self, from: u64, to: u64) {
        self.0.fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
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
    /// Events that were read from the kernel's rings. Label: receiver.
    pub const READ: &str = "onlooker.events.read";
    /// Events that were assembled: read, and not dropped for want of room before. Label: receiver.
    pub const ASSEMBLED: &str = "onlooker.events.assembled";
    /// The reason of [`KERNEL_DROPPED`] for events that were read and found no room.
    pub const QUEUE_FULL: &str = "queue_full";
    /// Observations that entered the pipelines. Label: receiver.
    pub const SEEN: &str = "onlooker.observations.seen";
    /// Observations that a processor was given. Label: processor.
    pub const INCOMING: &str = "onlooker.processor.incoming";
    /// Observations that a processor gave on. Label: processor.
    pub const OUTGOING: &str = "onlooker.processor.outgoing";
    /// Observations that a processor made itself, as turns and findings. Label: processor.
    pub const MADE: &str = "onlooker.processor.made";
    /// Observations that a processor took in for good, as an exchange with no model. Label: processor.
    pub const MERGED: &str = "onlooker.processor.merged";
    /// Observations that a processor holds now. Label: processor.
    pub const HELD: &str = "onlooker.processor.held";
    /// Observations that met a defect of a processor. Label: processor.
    pub const FAILURES: &str = "onlooker.processor.failures";
    /// Items that wait in an exporter now (one that writes lines: observations). Labels: exporter, signal.
    pub const PENDING: &str = "onlooker.exporter.pending";
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
    /// Those that tell what became of all that was seen; `pipeline::ledger` has their balance. What the kernel dropped
    /// comes before: it was never read.
    pub const CHAIN: [&str; 13] = [
        READ,
        ASSEMBLED,
        SEEN,
        INCOMING,
        OUTGOING,
        MADE,
        MERGED,
        HELD,
        FAILURES,
        OFFERED,
        EXPORTED,
        EXPORT_DROPPED,
        PENDING,
    ];
    /// Those of [`CHAIN`] that rise and fall.
    pub const GAUGES: [&str; 2] = [HELD, PENDING];
    /// Requests to the kubelet. Labels: receiver, outcome (answered, failed).
    pub const KUBELET_REQUESTS: &str = "onlooker.kubelet.requests";
    /// Secrets masked in outgoing fields. Label: kind.
    pub const REDACTED: &str = "onlooker.redacted";
}
