//! Configuration of `redaction`.

use pipeline::config::{Component, Problem, Problems};
use pipeline::mask::{Class, Extra, KINDS};
use regex::Regex;
use serde::Deserialize;

/// `redaction: {patterns: [{name: CustomerId, regex: 'CUST-\d+'}]}`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What else is to be masked. Credentials always are.
    pub patterns: Vec<PatternConfig>,
    /// Known kinds that are not to be masked. None of them may be a credential.
    pub disabled: Vec<String>,
    /// Known kinds that are masked only if they are named here: what may be a secret, and may as well be a digest.
    pub enabled: Vec<String>,
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

impl Config {
    /// Which kinds are masked besides credentials.
    pub(super) fn extra(&self) -> Extra {
        let named =
            |names: &[String]| names.iter().filter_map(|name| Extra::named(name)).fold(Extra::NONE, Extra::with);
        Extra::PERSONAL.with(named(&self.enabled)).without(named(&self.disabled))
    }
}

/// Names of the kinds of these classes.
fn names(wanted: &[Class]) -> String {
    let kinds = KINDS.iter().filter(|kind| wanted.contains(&kind.class));
    kinds.map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

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
        for (key, list) in [("disabled", &self.disabled), ("enabled", &self.enabled)] {
            for (at, name) in list.iter().enumerate() {
                let path = format!("{path}::{key}::{at}");
                let known = KINDS.iter().find(|kind| kind.name == name);
                let optional = names(&[Class::Personal, Class::Generic]);
                match known.map(|kind| kind.class) {
                    Some(Class::Personal | Class::Generic) => {}
                    Some(Class::Credential) => problems.push(
                        Problem::new(path, "is a credential, and those are always masked")
                            .hint(format!("only these can be chosen: {optional}")),
                    ),
                    None => problems.push(
                        Problem::new(path, format!("there is no kind {name:?}")).hint(format!("one of {optional}")),
                    ),
                }
            }
        }
        for (at, pattern) in self.patterns.iter().enumerate() {
            let path = format!("{path}::patterns::{at}");
            let name = &pattern.name;
            if name.is_empty() || name.len() > 64 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                let problem = Problem::new(format!("{path}::name"), "is not a name");
                problems.push(problem.hint("1 to 64 letters and digits, as CustomerId"));
            } else if self.patterns.iter().take(at).any(|other| other.name == *name) {
                problems.push(Problem::new(format!("{path}::name"), format!("{name:?} is there twice")));
            }
            if KINDS.iter().any(|kind| kind.name == name) {
                problems
                    .push(Problem::new(format!("{path}::name"), format!("{name:?} is a kind that is known already")));
            }
            if let Err(error) = pattern.compile() {
                problems.push(Problem::new(format!("{path}::regex"), error));
            }
        }
    }
}
