//! Configuration of `correlation`.

use std::time::Duration;

use pipeline::config::{Component, Problem, Problems, values::GoDuration};
use serde::Deserialize;

/// What to do about an agent that traces itself, which a `traceparent` on its request shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instrumented {
    /// Our span of the call is a child of the agent's own.
    #[default]
    Attach,
    /// The agent's own span of the call is enough: ours of the call and its turn are left out; what only the kernel
    /// sees hangs under the agent's span.
    Suppress,
    /// Ours stand in a trace of their own, linked to the agent's.
    Duplicate,
}

/// `correlation: {turn_idle_timeout: 10m}`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A turn in which nothing happens for this long is over. A tool whose process still runs keeps it open.
    pub turn_idle_timeout: GoDuration,
    /// Gives `gen_ai.conversation.id` a value of our own, one per agent process, where neither the wire nor the
    /// environment has one.
    pub synthesize_conversation_id: bool,
    /// What to do about an agent that traces itself.
    pub instrumented: Instrumented,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            turn_idle_timeout: GoDuration(Duration::from_secs(600)),
            synthesize_conversation_id: false,
            instrumented: Instrumented::Attach,
        }
    }
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        if self.turn_idle_timeout.0.is_zero() {
            problems.push(
                Problem::new(format!("{path}::turn_idle_timeout"), "must be more than 0")
                    .hint("10m suits agents that wait for long tools"),
            );
        }
    }
}
