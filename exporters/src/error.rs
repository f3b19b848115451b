//! The errors of this crate.

use std::time::Duration;

/// Why something could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Trying again may help. A server may say when.
    #[error("{message}")]
    Retryable {
        /// What happened.
        message: String,
        /// Not before this long.
        after: Option<Duration>,
    },
    /// Trying again cannot help.
    #[error("{0}")]
    Permanent(String),
    /// Writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
