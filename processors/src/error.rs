//! The errors of this crate.

/// What a processor can say when it is built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key or another file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file as the operator named it.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A signing key has too few bytes.
    #[error("the key has {length} bytes; it needs at least 32, as `openssl rand -hex 32` makes them")]
    ShortKey {
        /// Bytes of the key, without the line end.
        length: usize,
    },
    /// The key in a file is of no use.
    #[error("key file {path}: {source}")]
    KeyFile {
        /// The file as the operator named it.
        path: String,
        /// Why not.
        source: Box<Error>,
    },
    /// A chain's state file cannot be used.
    #[error("state file {path}: {reason}")]
    State {
        /// The file as the operator named it.
        path: String,
        /// Why not, and what to do.
        reason: String,
    },
}
