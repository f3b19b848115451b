//! `batch`: holds observations back and hands them on together. Exporters batch by themselves; this is here so that
//! a Collector's configuration works as it is.

mod config;
#[cfg(test)]
mod tests;

use pipeline::{Factory, Observation, Processor, Signal, Tally, Timestamp};

pub use config::Config;

/// The factory of this processor.
pub fn factory() -> Factory<dyn Processor> {
    Factory::new(
        "batch",
        "hands observations on in batches, as the Collector's processor of this name",
        &[Signal::Traces, Signal::Logs, Signal::Metrics],
        |config, _| Ok(Box::new(Batch::new(config))),
    )
}

/// Held while neither size nor time is set: a stalled watermark must not fill the memory.
const MOST: usize = 65_536;

/// The processor.
pub struct Batch {
    config: Config,
    held: Vec<Observation>,
    /// The watermark when the oldest held one was seen first; none if it came after the latest one.
    since: Option<Timestamp>,
}

impl Batch {
    /// An empty one.
    pub fn new(config: Config) -> Self {
        Self { config, held: Vec::new(), since: None }
    }

    fn size(&self) -> usize {
        match self.config.send_batch_size {
            0 => MOST,
            size => size.min(MOST),
        }
    }
}

impl Processor for Batch {
    fn process(&mut self, observation: Observation, out: &mut Vec<Observation>) {
        self.held.push(observation);
        if self.config.timeout.0.is_zero() || self.held.len() >= self.size() {
            self.since = None;
            out.append(&mut self.held);
        }
    }

    fn advance(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        if self.held.is_empty() {
            return;
        }
        let since = *self.since.get_or_insert(now);
        if now.since(since) >= self.config.timeout.0 {
            self.since = None;
            out.append(&mut self.held);
        }
    }

    fn finish(&mut self, _: Timestamp, out: &mut Vec<Observation>) {
        out.append(&mut self.held);
    }

    fn tally(&self) -> Tally {
        Tally { held: self.held.len() as u64, ..Tally::default() }
    }
}
