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
}
