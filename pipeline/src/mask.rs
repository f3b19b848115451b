//! Masking of secrets in text that will be seen: arguments, URLs, error messages.
//!
//! A secret becomes `[REDACTED:<Kind>]`. Kinds are found by their own form (`sk-ant-…`, PEM) or by their place (value
//! of `API_KEY=`, of `--token`, of `Authorization:`, password in a URL). All patterns run in time linear in the text,
//! and masking what is masked changes nothing.

use std::{borrow::Cow, ops::Range, sync::LazyLock};

use regex::Regex;

mod patterns;
#[cfg(test)]
mod tests;

use patterns::{Check, PATTERNS, Pattern};

/// What a marker starts with.
const MARKER: &str = "[REDACTED:";

struct Compiled {
    pattern: &'static Pattern,
    regex: Regex,
}

static COMPILED: LazyLock<Vec<Compiled>> = LazyLock::new(|| {
    let compile = |pattern| Some(Compiled { pattern, regex: Regex::new(&pattern_text(pattern)).ok()? });
    PATTERNS.iter().filter_map(compile).collect()
});

fn pattern_text(pattern: &Pattern) -> String {
    pattern.regex.replace("{NAME}", patterns::SECRET_NAME)
}

/// Masks known kinds of secrets in free text as `[REDACTED:<Kind>]`.
pub fn text(text: &str) -> Cow<'_, str> {
    text_counted(text).0
}

/// As [`text`], with the kind of each secret that was masked.
pub fn text_counted(text: &str) -> (Cow<'_, str>, Vec<&'static str>) {
    let (mut masked, mut kinds) = pass(text);
    // What one pass took can have hidden another secret's name or border: until nothing more is found.
    for _ in 1..PASSES {
        if matches!(masked, Cow::Borrowed(_)) {
            break;
        }
        let (next, more) = pass(&masked);
        let Cow::Owned(next) = next else { break };
        masked = Cow::Owned(next);
        kinds.extend(more);
    }
    (masked, kinds)
}

/// More than this many passes only hostile text would need.
const PASSES: usize = 8;

fn pass(text: &str) -> (Cow<'_, str>, Vec<&'static str>) {
    let mut found = Vec::new();
    let mut from = 0;
    // What is masked already stays, and nothing is looked for across it.
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(MARKER)) {
        let start = from + at;
        let Some(length) = marker_length(text.get(start..).unwrap_or_default()) else {
            // Not a marker after all: search goes on as if it were plain, from the segment's beginning.
            let next = start + MARKER.len();
            let end = text.get(next..).and_then(|rest| rest.find(MARKER)).map_or(text.len(), |at| next + at);
            find(text, from..end, &mut found);
            from = end;
            continue;
        };
        find(text, from..start, &mut found);
        from = start + length;
    }
    find(text, from..text.len(), &mut found);
    replace(text, found)
}

/// Masks secrets in a command's arguments: known kinds, values of secret options (`--api-key X`, `--token=X`,
/// `-H 'Authorization: …'`), passwords in URLs, `KEY=value` of secret names.
pub fn args(args: Vec<String>) -> Vec<String> {
    let tool = args.first().map_or("", |path| path.rsplit('/').next().unwrap_or(path)).to_owned();
    let mut after = After::Nothing;
    let mask = |arg: String| {
        let (now, next) = (after, patterns::after(&tool, &arg));
        after = next;
        let marked = arg.starts_with(MARKER);
        match now {
            After::Secret if Check::Assigned.passes(&arg) && !marked => {
                after = After::Nothing;
                format!("{MARKER}SecretValue]")
            }
            After::UserPassword if !marked => match arg.split_once(':') {
                Some((user, password)) if !password.is_empty() && !password.starts_with(MARKER) => {
                    format!("{user}:{MARKER}Password]")
                }
                _ => arg,
            },
            _ => match patterns::assigned(&arg).map(|at| arg.split_at(at)) {
                // The whole rest is the value, delimiters included.
                Some((name, value)) if !value.starts_with(MARKER) => format!("{name}{MARKER}SecretValue]"),
                _ => match text(&arg) {
                    Cow::Borrowed(_) => arg,
                    Cow::Owned(masked) => masked,
                },
            },
        }
    };
    args.into_iter().map(mask).collect()
}

/// What the argument after an option is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Secret,
    UserPassword,
}

/// Masks credentials and secret query keys in a URL or a request target.
pub fn target(target: &str) -> Cow<'_, str> {
    text(target)
}

/// The length of the marker that the text starts with.
fn marker_length(text: &str) -> Option<usize> {
    let kind = text.strip_prefix(MARKER)?;
    let length = kind.bytes().take_while(u8::is_ascii_alphanumeric).count();
    (length > 0 && kind.as_bytes().get(length) == Some(&b']')).then_some(MARKER.len() + length + 1)
}

type Found = (Range<usize>, &'static str);

fn find(text: &str, within: Range<usize>, found: &mut Vec<Found>) {
    let Some(segment) = text.get(within.clone()) else { return };
    if segment.len() < patterns::SHORTEST {
        return;
    }
    for Compiled { pattern, regex } in COMPILED.iter() {
        for captures in regex.captures_iter(segment) {
            // The secret is the group named `s`.
            let Some(secret) = captures.name("s") else { continue };
            if !pattern.check.passes(secret.as_str()) {
                continue;
            }
            // A secret ends where a word ends, so that no rest of it can look like another.
            let rest = segment.as_bytes().get(secret.end()..).unwrap_or_default();
            let end = secret.end() + rest.iter().take_while(|byte| patterns::is_word(**byte)).count();
            found.push((within.start + secret.start()..within.start + end, pattern.kind));
        }
    }
}

fn replace(text: &str, mut found: Vec<Found>) -> (Cow<'_, str>, Vec<&'static str>) {
    if found.is_empty() {
        return (Cow::Borrowed(text), Vec::new());
    }
    // Overlapping finds become one; the kind is that of the first, and of two that start together the longer.
    found.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut merged: Vec<Found> = Vec::new();
    for (range, kind) in found {
        match merged.last_mut() {
            Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
            _ => merged.push((range, kind)),
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (range, kind) in &merged {
        out.push_str(text.get(from..range.start).unwrap_or_default());
        out.push_str(MARKER);
        out.push_str(kind);
        out.push(']');
        from = range.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    (Cow::Owned(out), merged.into_iter().map(|(_, kind)| kind).collect())
}
