//! What stands for a secret: `[REDACTED:<Kind>]`. Only a known kind makes it one: else a secret could be written as a kind.

use super::{Rules, kinds};

/// What a mask begins with.
pub(super) const MARKER: &str = "[REDACTED:";

/// Longest name of a kind.
pub(super) const LONGEST: usize = 64;

/// The length of the mask that the text begins with.
pub(super) fn length(text: &[u8], rules: &Rules) -> Option<usize> {
    let kind = text.strip_prefix(MARKER.as_bytes())?;
    let length = kind.iter().take(LONGEST + 1).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let name = kind.get(..length)?;
    let known = kind.get(length) == Some(&b']')
        && (kinds::is_kind(name) || rules.names.iter().any(|own| own.as_bytes() == name));
    known.then_some(MARKER.len() + length + 1)
}

/// True if the text is a mask and nothing else.
pub(super) fn is_marker(text: &str, rules: &Rules) -> bool {
    length(text.as_bytes(), rules) == Some(text.len())
}
