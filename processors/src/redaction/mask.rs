//! Masks texts in place, and counts what it masked.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use pipeline::{
    mask::{self, Rules},
    telemetry::{Counter, Telemetry, names},
};
use regex::Regex;

use super::config::Config;

/// What a mask begins with.
const MARKER: &str = "[REDACTED:";

/// What has a secret's name and no form of its own.
const VALUE: &str = "SecretValue";

/// A text that still changes after so many rounds is masked as a whole.
const ROUNDS: usize = 8;

/// The known kinds of secrets, and the operator's patterns.
pub(super) struct Masker {
    rules: Rules,
    patterns: Vec<(String, Regex)>,
    telemetry: Arc<Telemetry>,
    counters: BTreeMap<String, Counter>,
}

impl Masker {
    pub fn new(config: &Config, telemetry: Arc<Telemetry>) -> Result<Self, String> {
        let patterns = config.patterns.iter().map(|pattern| match pattern.compile() {
            Ok(regex) => Ok((pattern.name.clone(), regex)),
            Err(error) => Err(format!("pattern {:?}: {error}", pattern.name)),
        });
        let names = config.patterns.iter().map(|pattern| pattern.name.clone()).collect();
        let rules = Rules { extra: config.extra(), names };
        Ok(Self { rules, patterns: patterns.collect::<Result<_, _>>()?, telemetry, counters: BTreeMap::new() })
    }

    fn count(&mut self, kind: &str) {
        if let Some(counter) = self.counters.get(kind) {
            return counter.add(1);
        }
        let counter = self.telemetry.counter(names::REDACTED, &[("kind", kind)]);
        counter.add(1);
        self.counters.insert(kind.to_owned(), counter);
    }

    fn count_all(&mut self, kinds: Vec<&'static str>) {
        for kind in kinds {
            self.count(kind);
        }
    }

    /// The masked text, if there is anything to mask.
    pub fn masked(&mut self, text: &str) -> Option<String> {
        let (known, kinds) = mask::text_with(text, &self.rules);
        let known = match known {
            Cow::Borrowed(_) => None,
            Cow::Owned(known) => Some(known),
        };
        self.count_all(kinds);
        if self.patterns.is_empty() {
            return known;
        }
        self.settle(text, known)
    }

    /// Applies the operator's patterns, and what their masks uncover, until nothing changes any more.
    fn settle(&mut self, text: &str, mut masked: Option<String>) -> Option<String> {
        for _ in 0..ROUNDS {
            let Some(own) = self.own(masked.as_deref().unwrap_or(text)) else { return masked };
            let (known, kinds) = mask::text_with(&own, &self.rules);
            let known = known.into_owned();
            self.count_all(kinds);
            masked = Some(known);
        }
        Some(self.whole())
    }

    /// A mask for something that is masked as a whole.
    pub fn whole(&mut self) -> String {
        self.count(VALUE);
        format!("{MARKER}{VALUE}]")
    }

    /// The mask of a number, if it is a card's.
    pub fn number(&mut self, digits: &str) -> Option<String> {
        // Shorter ones are none, and most are.
        if digits.len() < 13 && self.patterns.is_empty() { None } else { self.masked(digits) }
    }

    /// Masks a text.
    pub fn text(&mut self, text: &mut String) {
        if let Some(masked) = self.masked(text) {
            *text = masked;
        }
    }

    /// Masks a text that may be absent.
    pub fn optional(&mut self, text: &mut Option<String>) {
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// Masks each text by itself.
    pub fn each(&mut self, texts: &mut [String]) {
        for text in texts {
            self.text(text);
        }
    }

    /// Masks a URL or a request target.
    pub fn target(&mut self, target: &mut String) {
        self.text(target);
    }

    /// Masks the value of a header, a variable or a member of this name.
    pub fn value(&mut self, name: &str, value: &mut String) {
        let (masked, kinds) = mask::value_with(name, value, &self.rules);
        if let Cow::Owned(masked) = masked {
            *value = masked;
        }
        self.count_all(kinds);
        if !self.patterns.is_empty()
            && let Some(masked) = self.settle(value, None)
        {
            *value = masked;
        }
    }

    /// Masks a command's arguments, where one tells what the next one is.
    pub fn args(&mut self, args: &mut Vec<String>) {
        let (masked, kinds) = mask::args_with(std::mem::take(args), &self.rules);
        *args = masked;
        self.count_all(kinds);
        if !self.patterns.is_empty() {
            for arg in args {
                if let Some(masked) = self.settle(arg, None) {
                    *arg = masked;
                }
            }
        }
    }

    /// Applies the operator's patterns, one after the other, outside of masks. `None` if they find nothing.
    fn own(&mut self, text: &str) -> Option<String> {
        let patterns = std::mem::take(&mut self.patterns);
        let mut result: Option<String> = None;
        for (name, regex) in &patterns {
            let text = result.as_deref().unwrap_or(text);
            let found = self.find(text, regex);
            if found.is_empty() {
                continue;
            }
            let (mut masked, mut from) = (String::with_capacity(text.len()), 0);
            for (start, end) in found {
                masked.push_str(text.get(from..start).unwrap_or_default());
                masked.push_str(MARKER);
                masked.push_str(name);
                masked.push(']');
                from = end;
                self.count(name);
            }
            masked.push_str(text.get(from..).unwrap_or_default());
            result = Some(masked);
        }
        self.patterns = patterns;
        result
    }

    /// Start and end of each match outside of masks, in order.
    fn find(&self, text: &str, regex: &Regex) -> Vec<(usize, usize)> {
        // Most texts have nothing to mask; this needs no captures.
        if !regex.is_match(text) {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut from = 0;
        for mask in mask::masks(text, &self.rules).chain(std::iter::once(text.len()..text.len())) {
            let piece = text.get(from..mask.start).unwrap_or_default();
            for captures in regex.captures_iter(piece) {
                if let Some(secret) = captures.name("secret").or_else(|| captures.get(0))
                    && !secret.is_empty()
                {
                    found.push((from + secret.start(), from + secret.end()));
                }
            }
            from = mask.end;
        }
        found
    }
}
