//! Configuration of `batch`.

use std::time::Duration;

use pipeline::config::{Component, Problem, Problems, values::GoDuration};
use serde::Deserialize;

/// `batch: {send_batch_size: 8192, timeout: 200ms}`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Observations are handed on when this many are held; 0 = only by `timeout`.
    pub send_batch_size: usize,
    /// And when the oldest one has been held this long, by the time of the events; 0 = at once.
    pub timeout: GoDuration,
    /// Never more than this many in one batch; 0 = no limit. Not below `send_batch_size`.
    pub send_batch_max_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { send_batch_size: 8192, timeout: GoDuration(Duration::from_millis(200)), send_batch_max_size: 0 }
    }
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        if self.send_batch_max_size > 0 && self.send_batch_max_size < self.send_batch_size {
            let problem =
                Problem::new(format!("{path}::send_batch_max_size"), "must be greater or equal to send_batch_size");
            problems.push(problem.hint("0 sets no limit"));
        }
    }
}
