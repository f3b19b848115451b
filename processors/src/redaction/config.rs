//! Configuration of `redaction`.

use pipeline::config::{Component, Problem, Problems};
use regex::Regex;
use serde::Deserialize;

/// `redaction: {patterns: [{name: CustomerId, regex: 'CUST-\d+'}]}`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What else is to be masked. The known kinds of secrets always are.
    pub patterns: Vec<PatternConfig>,
}

/// One more kind of text to mask.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PatternConfig {
    /// What stands in its place: `[REDACTED:name]`. Letters and digits.
    pub name: String,
    /// What to mask, in the syntax of Rust's `regex` crate (linear in time; no look-around, no back references). If it
    /// has a group `(?P<secret>…)`, only that is masked.
    pub regex: String,
}

/// Room for one compiled pattern; ordinary ones take some KiB.
const SIZE_LIMIT: usize = 1 << 20;

impl PatternConfig {
    pub(super) fn compile(&self) -> Result<Regex, String> {
        if self.regex.is_empty() {
            return Err("is empty".into());
        }
        let regex =
            regex::RegexBuilder::new(&self.regex).size_limit(SIZE_LIMIT).build().map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => "is too big; make its repetitions smaller".to_owned(),
                // The crate draws the place in several lines; the last one says what is wrong.
                error => {
                    error.to_string().lines().last().unwrap_or("is wrong").trim_start_matches("error: ").to_owned()
                }
            })?;
        if regex.is_match("") {
            return Err("matches the empty text, and so everywhere; use + instead of *".into());
        }
        Ok(regex)
    }
}

impl Component for Config {
    fn validate(&self, path: &str, problems: &mut Problems) {
        for (at, pattern) in self.patterns.iter().enumerate() {
            let path = format!("{path}::patterns::{at}");
            let name = &pattern.name;
            if name.is_empty() || name.len() > 64 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                let problem = Problem::new(format!("{path}::name"), "is not a name");
                problems.push(problem.hint("1 to 64 letters and digits, as CustomerId"));
            } else if self.patterns.iter().take(at).any(|other| other.name == *name) {
                problems.push(Problem::new(format!("{path}::name"), format!("{name:?} is there twice")));
            }
            if let Err(error) = pattern.compile() {
                problems.push(Problem::new(format!("{path}::regex"), error));
            }
        }
    }
}
