//! Masking of secrets in text that will be seen: messages, arguments, URLs, error messages.
//!
//! A secret becomes `[REDACTED:<Kind>]` ([`KINDS`]). Kinds are found by their own form (`sk-ant-…`, PEM) or by their place
//! (value of `API_KEY=`, of `--token`, of `Authorization:`, password in a URL). A text is gone over a fixed number of
//! times, each in time linear in its length, and masking what is masked changes nothing.

use std::borrow::Cow;

mod args;
mod context;
mod forms;
mod kinds;
mod marker;
mod names;
mod numbers;
mod scan;
#[cfg(test)]
mod tests;
mod url;
mod values;

pub use args::{args, args_with};
pub use kinds::{Class, Example, Info, KINDS};
pub use names::secret_name;

use marker::MARKER;
use scan::Found;

/// Kinds that are no credentials, and are masked only where that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra(u8);

impl Extra {
    /// None of them.
    pub const NONE: Extra = Extra(0);
    pub(crate) const CARD: Extra = Extra(1);
    pub(crate) const SSN: Extra = Extra(2);
    pub(crate) const EMAIL: Extra = Extra(4);
    pub(crate) const ENTROPY: Extra = Extra(8);
    pub(crate) const HEX: Extra = Extra(16);
    /// What says something about a person.
    pub const PERSONAL: Extra = Extra(1 | 2 | 4);

    /// The kind of this name; `None` for credentials, which nobody switches off, and for names of nothing.
    pub fn named(name: &str) -> Option<Extra> {
        match name {
            "CreditCardLuhn" => Some(Self::CARD),
            "SsnPattern" => Some(Self::SSN),
            "EmailAddress" => Some(Self::EMAIL),
            "GenericHighEntropy" => Some(Self::ENTROPY),
            "GenericHex" => Some(Self::HEX),
            _ => None,
        }
    }

    /// These and the other ones.
    #[must_use]
    pub fn with(self, other: Extra) -> Extra {
        Extra(self.0 | other.0)
    }

    /// These without the other ones.
    #[must_use]
    pub fn without(self, other: Extra) -> Extra {
        Extra(self.0 & !other.0)
    }

    fn has(self, other: Extra) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What is masked besides credentials.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Other known kinds.
    pub extra: Extra,
    /// Names of the operator's kinds: their masks count as masks.
    pub names: Vec<String>,
}

/// Credentials only.
static CREDENTIALS: Rules = Rules { extra: Extra::NONE, names: Vec::new() };

/// Masks credentials in free text as `[REDACTED:<Kind>]`.
pub fn text(text: &str) -> Cow<'_, str> {
    text_counted(text).0
}

/// As [`text`], with the kind of each secret that was masked.
pub fn text_counted(text: &str) -> (Cow<'_, str>, Vec<&'static str>) {
    text_with(text, &CREDENTIALS)
}

/// Masks credentials in a URL or a request target.
pub fn target(target: &str) -> Cow<'_, str> {
    text(target)
}

/// More than this many passes only hostile text would need. It is masked as a whole.
const PASSES: usize = 6;

/// As [`text_counted`], by other rules.
pub fn text_with<'a>(text: &'a str, rules: &Rules) -> (Cow<'a, str>, Vec<&'static str>) {
    let mut kinds = Vec::new();
    let mut masked = Cow::Borrowed(text);
    // What one pass took can have hidden another secret's name or border: until nothing more is found.
    for _ in 0..PASSES {
        let found = find(&masked, rules);
        if found.is_empty() {
            return (masked, kinds);
        }
        kinds.extend(found.iter().map(|found| found.kind.name()));
        masked = Cow::Owned(replace(&masked, &found));
    }
    if find(&masked, rules).is_empty() {
        return (masked, kinds);
    }
    kinds.push(kinds::Kind::SecretValue.name());
    (Cow::Owned(format!("{MARKER}{}]", kinds::Kind::SecretValue.name())), kinds)
}

/// Masks the value of a member, a header or a variable of this name: all of it if the name is a secret's.
pub fn value_with<'a>(name: &str, value: &'a str, rules: &Rules) -> (Cow<'a, str>, Vec<&'static str>) {
    let header = ["authorization", "cookie"].into_iter().find(|ending| {
        let start = name.len().checked_sub(ending.len());
        start.and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(ending))
    });
    let short = names::is_ambiguous(name) && value.len() < context::SHORT;
    let (masked, kinds) = text_with(value, rules);
    let own = header.is_some() || (secret_name(name) && !short);
    if !own || value.is_empty() || values::is_reference(value.as_bytes()) || is_mask(&masked, rules) {
        return (masked, kinds);
    }
    let kind = match header {
        Some("cookie") => kinds::Kind::Cookie,
        Some(_) => kinds::Kind::Authorization,
        None => kinds::Kind::SecretValue,
    };
    (Cow::Owned(format!("{MARKER}{}]", kind.name())), vec![kind.name()])
}

/// True if a number of this name is a secret: a PIN, but not a count.
pub fn secret_number(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    secret_name(name) && context::NUMBERS.iter().any(|word| lower.contains(word))
}

/// True if the text is a mask and nothing else.
pub fn is_mask(text: &str, rules: &Rules) -> bool {
    marker::is_marker(text, rules)
}

/// The masks in a text, as ranges, in order.
pub fn masks<'a>(text: &'a str, rules: &'a Rules) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
    let found = memchr::memmem::find_iter(text.as_bytes(), MARKER.as_bytes()).filter_map(|start| {
        let length = marker::length(text.as_bytes().get(start..)?, rules)?;
        Some(start..start + length)
    });
    found.collect::<Vec<_>>().into_iter()
}

/// Finds in order that do not overlap.
fn find(text: &str, rules: &Rules) -> Vec<Found> {
    let mut found = scan::scan(text, rules);
    // Overlapping ones become one; its kind is the most specific, and of equal ones the first.
    found.sort_by_key(|found| (found.start, std::cmp::Reverse(found.end)));
    let mut merged: Vec<Found> = Vec::with_capacity(found.len());
    for next in found {
        match merged.last_mut() {
            Some(last) if next.start < last.end => {
                last.end = last.end.max(next.end);
                if next.rank > last.rank {
                    (last.kind, last.rank) = (next.kind, next.rank);
                }
            }
            _ => merged.push(next),
        }
    }
    merged
}

fn replace(text: &str, found: &[Found]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for found in found {
        out.push_str(text.get(from..found.start).unwrap_or_default());
        let quote = |out: &mut String| {
            if let Some((slashes, quote)) = found.quote {
                out.extend(std::iter::repeat_n('\\', slashes));
                out.push(char::from(quote));
            }
        };
        quote(&mut out);
        out.push_str(MARKER);
        out.push_str(found.kind.name());
        out.push(']');
        quote(&mut out);
        from = found.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}
