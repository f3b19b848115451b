//! The errors of this crate.

use crate::config::Problem;

/// What can go wrong while a configuration is loaded, built or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file as the operator named it.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The configuration is wrong; every problem that was found, in file order.
    #[error("{}", crate::config::render(.0))]
    Config(Vec<Problem>),
    /// A component could not be built or started.
    #[error("{id}: {source}")]
    Component {
        /// The component, as `exporters::otlp_grpc/2`.
        id: String,
        /// What it said.
        source: ComponentError,
    },
}

/// What a component says when it cannot be built, started or stopped.
///
/// The text is for operators: lower case, no full stop, and it says what to do where that is known.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ComponentError {
    /// What happened and what to do.
    pub message: String,
}

impl ComponentError {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl From<std::io::Error> for ComponentError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
