//! Configuration of `signing`.

use std::path::PathBuf;

use pipeline::config::{Component, Problem, Problems, values::Secret};
use serde::Deserialize;

/// `signing: {key_file: /etc/onlooker/signing.key}`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// File with the key: its bytes as they are, less one line end. At least 32 bytes.
    pub key_file: Option<PathBuf>,
    /// The key itself, as `${env:ONLOOKER_KEY}`. Either this or `key_file`.
    pub key: Option<Secret>,
    /// Name of the key in the records (`keyid`), so that keys can be changed. Default: 8 hex digits of a hash of the
    /// key.
    pub key_id: Option<String>,
    /// File that keeps the position in the chain, so that a restart goes on with it. Without it each run is a
    /// chain of its own.
    pub state_file: Option<PathBuf>,
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        let example = "as key_file: /etc/onlooker/signing.key, made by `openssl rand -hex 32`";
        match (&self.key_file, &self.key) {
            (Some(_), Some(_)) => {
                problems.push(Problem::new(path, "has both key_file and key").hint("keep one of them"));
            }
            (None, None) => problems.push(Problem::new(path, "has no key").hint(example)),
            (Some(file), None) if file.as_os_str().is_empty() => {
                problems.push(Problem::new(format!("{path}::key_file"), "is empty").hint(example));
            }
            (None, Some(key)) => {
                if let Err(error) = super::Key::new(key.expose().as_bytes()) {
                    problems.push(Problem::new(format!("{path}::key"), error.to_string()));
                }
            }
            (Some(_), None) => {}
        }
        if let Some(id) = &self.key_id
            && (id.is_empty() || id.len() > 64 || !id.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)))
        {
            let problem = Problem::new(format!("{path}::key_id"), "is not a name");
            problems.push(problem.hint("1 to 64 letters, digits, dots, dashes or underscores, as node-1"));
        }
        if self.state_file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            problems
                .push(Problem::new(format!("{path}::state_file"), "is empty").hint("leave it out to keep no state"));
        }
    }
}
