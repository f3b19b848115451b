//! Configuration: YAML to a value, substitution, merging, strict typing; every problem at once with its
//! `a::b::c` path and a hint.

mod decode;
mod load;
mod node;
mod service;
pub mod values;

pub use decode::{Component, decode};
pub use load::{Env, Sources};
pub use node::Node;
pub use service::{Config, Encoding, Level, Pipeline, SelfOtlp, SelfTelemetry, Service, find};

/// Something wrong in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as `exporters::otlp_grpc::sending_queue::queue_size`. Empty for the whole file.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Every problem found so far.
pub type Problems = Vec<Problem>;

impl Problem {
    /// A problem at a path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// One line per problem.
pub fn render(problems: &[Problem]) -> String {
    let line = |problem: &Problem| {
        let mut line = if problem.path.is_empty() {
            problem.message.clone()
        } else {
            format!("{}: {}", problem.path, problem.message)
        };
        if let Some(hint) = &problem.hint {
            line.push_str(&format!(" ({hint})"));
        }
        line
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}
