//! The keys of the `replay` receiver.

use std::path::PathBuf;

use pipeline::config::Component;
use serde::Deserialize;

/// Configuration of `replay`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The recording, as `onlooker run --record FILE` wrote it. `onlooker replay FILE` goes before it.
    pub file: Option<PathBuf>,
}

impl Component for Config {}
