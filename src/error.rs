//! The errors of the commands.

/// Why a command failed. Its text is the whole message for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong, or a component failed.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// Several components failed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<pipeline::Error>),
    /// Input or output failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Anything else, said in full.
    #[error("{0}")]
    Message(String),
}

impl From<pipeline::config::Problems> for Error {
    fn from(problems: pipeline::config::Problems) -> Self {
        Error::Pipeline(pipeline::Error::Config(problems))
    }
}

impl From<Vec<pipeline::Error>> for Error {
    fn from(errors: Vec<pipeline::Error>) -> Self {
        Error::Several(errors)
    }
}
