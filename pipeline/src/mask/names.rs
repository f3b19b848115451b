//! Names whose values are secrets.

/// Words that a secret's name ends with.
const ENDINGS: &[&str] = &[
    "secret",
    "passwd",
    "password",
    "passphrase",
    "passcode",
    "credential",
    "credentials",
    "_pwd",
    "-pwd",
    "_pass",
    "-pass",
];

/// What stands before `key` if that opens something. A `sort_key` or a `public_key` does not.
const KEYS: &[&str] = &[
    "api",
    "access",
    "secret",
    "private",
    "auth",
    "encryption",
    "signing",
    "master",
    "account",
    "storage",
    "license",
    "admin",
    "shared",
    "webhook",
    "deploy",
    "subscription",
    "consumer",
    "session",
    "service_role",
    "integration",
    "bearer",
    "jwt",
    "decryption",
];

/// What stands before `token` if that is a piece of text, a position or a count.
const TEXT_TOKENS: &[&str] = &[
    "max",
    "min",
    "num",
    "pad",
    "eos",
    "bos",
    "unk",
    "sep",
    "cls",
    "mask",
    "stop",
    "special",
    "page",
    "next",
    "continuation",
    "sync",
    "cancellation",
    "cancel",
    "per",
    "first",
    "last",
    "input",
    "output",
    "prompt",
    "completion",
    "total",
    "new",
    "cached",
    "reasoning",
    "begin",
    "end",
    "start",
    "previous",
    "prev",
    "by",
    "image",
    "text",
    "audio",
    "design",
    "lookahead",
    "current",
    "invalid",
    "unexpected",
];

/// Longest name that is looked at.
pub(super) const LONGEST: usize = 64;

pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// True if what has this name (any case, as `OPENAI_API_KEY`, `clientSecret`, `x-api-key`) is a secret.
pub fn secret_name(name: &str) -> bool {
    let name = name.trim_start_matches('-');
    if name.is_empty() || name.len() > 2 * LONGEST || !name.bytes().all(is_name) {
        return false;
    }
    let lower = name.to_ascii_lowercase();
    if lower == "pass" || ENDINGS.iter().any(|ending| lower.ends_with(ending)) {
        return true;
    }
    let separators = ['_', '-', '.'];
    if let Some(before) = lower.strip_suffix("token") {
        let before = before.trim_end_matches(separators);
        let word = before.rsplit(separators).next().unwrap_or(before);
        // `nextPageToken`: humps are borders too.
        let text = TEXT_TOKENS.iter().any(|text| word == *text || (text.len() > 2 && hump(name, before.len(), text)));
        return !text;
    }
    if let Some(before) = lower.strip_suffix("key") {
        let before = before.trim_end_matches(separators);
        return KEYS.iter().any(|key| before.ends_with(key));
    }
    false
}

/// True if the name up to `end` ends with this word as a hump: `nextPage` with `page`.
fn hump(name: &str, end: usize, word: &str) -> bool {
    let Some(start) = end.checked_sub(word.len()) else { return false };
    let Some(last) = name.get(start..end) else { return false };
    last.eq_ignore_ascii_case(word) && last.starts_with(|c: char| c.is_ascii_uppercase())
}

/// Names that carry secrets in queries, besides those of [`secret_name`].
const QUERY: &[&str] = &[
    "key",
    "auth",
    "authorization",
    "sig",
    "signature",
    "x-amz-signature",
    "x-amz-credential",
    "x-goog-signature",
    "x-goog-credential",
    "code",
    "code_verifier",
    "assertion",
    "client_assertion",
];

/// True if the value of this query key is a secret.
pub(super) fn secret_query(name: &str) -> bool {
    QUERY.iter().any(|key| name.eq_ignore_ascii_case(key)) || secret_name(name)
}

/// `token` alone is also what log probabilities call a piece of text.
pub(super) fn is_ambiguous(name: &str) -> bool {
    name.eq_ignore_ascii_case("token") || name.eq_ignore_ascii_case("pass")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        for name in [
            "OPENAI_API_KEY",
            "apikey",
            "apiKey",
            "x-api-key",
            "accessToken",
            "access_token",
            "client_secret",
            "--token",
            "aws_secret_access_key",
            "PGPASSWORD",
            "DB_PASS",
            "db-pwd",
            "pass",
            "X-Auth-Token",
            "_authToken",
            "ocp-apim-subscription-key",
            "privateKey",
            "config.apiKey",
            "SUPABASE_SERVICE_ROLE_KEY",
            "credentials",
            "HF_TOKEN",
            "passphrase",
            "sessionKey",
            "csrf_token",
        ] {
            assert!(secret_name(name), "{name}");
        }
        for name in [
            "",
            "-",
            "PWD",
            "OLDPWD",
            "key",
            "keys",
            "primary_key",
            "public_key",
            "sort-key",
            "tokens",
            "max_tokens",
            "eos_token",
            "nextPageToken",
            "next_page_token",
            "tokenizer",
            "compass",
            "bypass",
            "password_hash_rounds",
            "monkey",
            "keyboard",
            "CancellationToken",
            "secretary",
            "token_type",
            "api key",
        ] {
            assert!(!secret_name(name), "{name}");
        }
    }
}
