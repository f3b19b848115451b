//! The errors of this crate.

/// What can go wrong while events are captured, recorded or replayed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused something. The text says what, and what to do.
    #[error("{0}")]
    Kernel(String),
    /// A recording cannot be read.
    #[error("{0}")]
    Recording(String),
    /// Input or output failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
