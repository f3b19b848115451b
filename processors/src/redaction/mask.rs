//! Masks texts in place, and counts what it masked.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use pipeline::{
    mask,
    telemetry::{Counter, Telemetry, names},
};
use regex::Regex;

use super::config::Config;

/// What a mask begins with. Nothing is looked for in masks that are there.
const MARKER: &str = "[REDACTED:";

/// The known kinds of secrets, and the operator's patterns.
pub(super) struct Masker {
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
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()?, telemetry, counters: BTreeMap::new() })
    }

    fn count(&mut self, kind: &str) {
        if let Some(counter) = self.counters.get(kind) {
            return counter.add(1);
        }
        let counter = self.telemetry.counter(names::REDACTED, &[("kind", kind)]);
        counter.add(1);
        self.counters.insert(kind.to_owned(), counter);
    }

    /// The masked text, if there is anything to mask.
    pub fn masked(&mut self, text: &str) -> Option<String> {
        let (known, kinds) = mask::text_counted(text);
        let changed = matches!(known, Cow::Owned(_));
        for kind in kinds {
            self.count(kind);
        }
        let own = self.own(&known);
        own.or_else(|| changed.then(|| known.into_owned()))
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
        if let Cow::Owned(masked) = mask::target(target) {
            self.count_new(target, &masked);
            *target = masked;
        }
        self.text(target);
    }

    /// Masks a command's arguments, where one tells what the next one is.
    pub fn args(&mut self, args: &mut Vec<String>) {
        let masked = mask::args(args.clone());
        if masked != *args {
            for (before, after) in args.iter().zip(&masked) {
                self.count_new(before, after);
            }
            *args = masked;
        }
        for arg in args {
            if let Some(masked) = self.own(arg) {
                *arg = masked;
            }
        }
    }

    /// Counts the masks that were not there before.
    fn count_new(&mut self, before: &str, after: &str) {
        if before == after {
            return;
        }
        let mut old: Vec<&str> = kinds(before).collect();
        for kind in kinds(after) {
            match old.iter().position(|other| *other == kind) {
                Some(at) => drop(old.swap_remove(at)),
                None => self.count(kind),
            }
        }
    }

    /// Applies the operator's patterns, one after the other, outside of masks.
    fn own(&mut self, text: &str) -> Option<String> {
        if self.patterns.is_empty() {
            return None;
        }
        let patterns = std::mem::take(&mut self.patterns);
        let mut result: Option<String> = None;
        for (name, regex) in &patterns {
            let text = result.as_deref().unwrap_or(text);
            let found = find(text, regex);
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
}

/// Start and end of each match outside of masks, in order.
fn find(text: &str, regex: &Regex) -> Vec<(usize, usize)> {
    // Most texts have nothing to mask; this needs no captures.
    if !regex.is_match(text) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut from = 0;
    loop {
        let mask = next_mask(text, from);
        let piece = text.get(from..mask.map_or(text.len(), |(start, _)| start)).unwrap_or_default();
        for captures in regex.captures_iter(piece) {
            if let Some(secret) = captures.name("secret").or_else(|| captures.get(0))
                && !secret.is_empty()
            {
                found.push((from + secret.start(), from + secret.end()));
            }
        }
        let Some((_, end)) = mask else { return found };
        from = end;
    }
}

/// Start and end of the first mask from here on. What only begins like one is none: else it would hide what follows.
fn next_mask(text: &str, mut from: usize) -> Option<(usize, usize)> {
    loop {
        let start = from + text.get(from..)?.find(MARKER)?;
        let kind = start + MARKER.len();
        let length = text.get(kind..)?.bytes().take_while(u8::is_ascii_alphanumeric).count();
        if length > 0 && text.as_bytes().get(kind + length) == Some(&b']') {
            return Some((start, kind + length + 1));
        }
        from = kind;
    }
}

/// The kinds of the masks in a text.
fn kinds(text: &str) -> impl Iterator<Item = &str> {
    text.split(MARKER).skip(1).filter_map(|rest| rest.split_once(']')).map(|(kind, _)| kind)
}
