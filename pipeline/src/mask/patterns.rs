//! The kinds of secrets, a row each.

use std::sync::LazyLock;

use regex::Regex;

use super::After;

/// What else a find must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing; the find is a value up to its delimiter.
    Value,
    /// Not a reference to a variable (`$TOKEN`, `${TOKEN}`, `$(pass …)`) nor an option.
    Assigned,
    /// Long or with a digit, so that prose is left alone.
    Opaque,
    /// Looks like base64 of `user:password`.
    Base64,
}

impl Check {
    pub(super) fn passes(self, secret: &str) -> bool {
        let digit = || secret.bytes().any(|byte| byte.is_ascii_digit());
        match self {
            Check::Value => true,
            Check::Assigned => {
                let bare = secret.trim_start_matches(['"', '\'']);
                !bare.is_empty() && !bare.starts_with('-') && !is_variable(bare.trim_end_matches(['"', '\'']))
            }
            Check::Opaque => secret.len() >= 20 || (secret.len() >= 6 && digit()),
            Check::Base64 => secret.ends_with('=') || (digit() && secret.bytes().any(|byte| byte.is_ascii_uppercase())),
        }
    }
}

fn is_variable(text: &str) -> bool {
    let Some(name) = text.strip_prefix('$') else { return false };
    if name.starts_with('(') {
        return true;
    }
    let name = name.strip_prefix('{').map_or(name, |inner| inner.strip_suffix('}').unwrap_or(inner));
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'))
}

/// A kind of secret. The group `s` is what is masked.
pub(super) struct Pattern {
    pub(super) kind: &'static str,
    pub(super) regex: &'static str,
    pub(super) check: Check,
}

/// Names whose values are secrets. `tokens` is not one, nor `PWD`.
pub(super) const SECRET_NAME: &str = "(?:[a-z0-9_.-]*(?:(?:api|access|secret|private|auth|encryption|signing|master|account|storage|license|admin|shared|webhook|deploy)[_-]?key|token|secret|passwd|password|passphrase|credentials?|_pwd|_pass|-pass)|apikey|pass)";

/// No pattern matches less than this.
pub(super) const SHORTEST: usize = 5;

/// A byte of a word.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// In order of preference for the same place.
pub(super) const PATTERNS: &[Pattern] = &[
    Pattern {
        kind: "PrivateKey",
        regex: r"(?s)(?P<s>-----BEGIN [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----|\z))",
        check: Check::Value,
    },
    Pattern {
        kind: "AnthropicKey",
        regex: r"(?i)(?:^|[^A-Za-z0-9_-])(?P<s>sk-ant-[A-Za-z0-9_-]+)",
        check: Check::Value,
    },
    Pattern {
        kind: "OpenAiKey",
        regex: r"(?i)(?:^|[^A-Za-z0-9_-])(?P<s>sk-(?:[A-Za-z0-9_-]{12,}|[A-Za-z_-]{0,11}[0-9][A-Za-z0-9_-]{5,}))",
        check: Check::Value,
    },
    Pattern {
        kind: "AwsAccessKey",
        regex: r"(?:^|[^A-Za-z0-9_-])(?P<s>(?:AKIA|ASIA)[A-Z0-9]{12,})",
        check: Check::Value,
    },
    Pattern {
        kind: "GitHubToken",
        regex: r"(?i)(?:^|[^A-Za-z0-9_-])(?P<s>(?:gh[psour]_|github_pat_)[A-Za-z0-9_]{6,})",
        check: Check::Value,
    },
    Pattern { kind: "GitLabToken", regex: r"(?:^|[^A-Za-z0-9_-])(?P<s>glpat-[A-Za-z0-9_-]{8,})", check: Check::Value },
    Pattern {
        kind: "SlackToken",
        regex: r"(?i)(?:^|[^A-Za-z0-9_-])(?P<s>(?:xox[abeprs]|xapp)-[A-Za-z0-9-]{6,})",
        check: Check::Value,
    },
    Pattern { kind: "GoogleApiKey", regex: r"(?:^|[^A-Za-z0-9_-])(?P<s>AIza[A-Za-z0-9_-]{20,})", check: Check::Value },
    Pattern {
        kind: "ProviderKey",
        regex: r"(?:^|[^A-Za-z0-9_-])(?P<s>(?:gsk_|xai-|pplx-|hf_|r8_|npm_|pypi-|sk_live_|sk_test_|rk_live_)[A-Za-z0-9_-]{16,})",
        check: Check::Value,
    },
    Pattern {
        kind: "Jwt",
        regex: r"(?:^|[^A-Za-z0-9_-])(?P<s>eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?)",
        check: Check::Value,
    },
    Pattern {
        kind: "DatabaseUrl",
        regex: r#"(?i)(?:^|[^A-Za-z0-9_-])(?P<s>(?:postgres|postgresql|mysql|mariadb|mongodb|mongodb\+srv|redis|rediss|amqp|amqps)://[^\s"'<>@/]*:[^\s"'<>/]+@[^\s"'<>]*)"#,
        check: Check::Value,
    },
    Pattern {
        kind: "UrlPassword",
        regex: r#"(?i)[a-z0-9+.-]://[^\s"'<>@/:?#]*:(?P<s>[^\s"'<>/?#]+)@"#,
        check: Check::Value,
    },
    Pattern {
        kind: "AzureConnectionString",
        regex: r#"(?i)(?:AccountKey|SharedAccessKey|SharedAccessSignature)=(?P<s>[^\s"';]+)"#,
        check: Check::Assigned,
    },
    Pattern {
        kind: "GcpServiceAccount",
        regex: r#"(?s)(?P<s>\{[^{}]*"type"\s*:\s*"service_account"[^{}]*\}?)"#,
        check: Check::Value,
    },
    Pattern {
        kind: "Authorization",
        regex: r#"(?i)(?:^|[^A-Za-z0-9])(?:authorization|(?:set-)?cookie)\\?["']?\s*[:=]\s*\\?["']?(?P<s>[^\s"'\\][^"'\r\n]*)"#,
        check: Check::Assigned,
    },
    Pattern {
        kind: "BearerToken",
        regex: r"(?i)(?:^|[^A-Za-z0-9_-])bearer\s+(?P<s>[A-Za-z0-9._~+/=-]+)",
        check: Check::Opaque,
    },
    Pattern {
        kind: "BasicAuth",
        regex: r"(?i)(?:^|[^A-Za-z0-9_-])basic\s+(?P<s>[A-Za-z0-9+/]{8,}={0,2})",
        check: Check::Base64,
    },
    Pattern {
        kind: "QueryKey",
        regex: r#"(?i)[?&](?:key|api[_-]?key|x-api-key|token|access_token|refresh_token|id_token|auth|sig|signature|x-amz-signature|x-amz-credential|x-amz-security-token|x-goog-signature|secret|client_secret|password|passwd|code)=(?P<s>[^&\s"'#;<>]+)"#,
        check: Check::Assigned,
    },
    Pattern {
        kind: "SecretValue",
        regex: r#"(?i)(?:^|[^a-z0-9_.]){NAME}=(?P<s>"[^"]+"?|'[^']+'?|[^\s"'&;,|)}\]]+)"#,
        check: Check::Assigned,
    },
    // JSON, YAML and header fields.
    Pattern {
        kind: "SecretValue",
        regex: r#"(?i)(?:^|[^a-z0-9_.]){NAME}\\?["']?\s*:\s*\\?["']?(?P<s>[^\s"'\\&;,|)}\]]+)"#,
        check: Check::Assigned,
    },
    Pattern {
        kind: "SecretValue",
        regex: r#"(?i)(?:^|[\s"'])--?{NAME}\s+(?P<s>"[^"]+"?|'[^']+'?|[^\s"'&;,|)}\]]+)"#,
        check: Check::Assigned,
    },
    Pattern {
        kind: "Password",
        regex: r#"(?:^|[^a-z])(?:curl|wget|http|https)\s(?:[^\n|;&]*?\s)?(?:-u|--user|--proxy-user)[ =]?["']?[^\s:"'=-][^\s:"']*:(?P<s>[^\s"']+)"#,
        check: Check::Assigned,
    },
];

static OPTION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("(?i)^--?{SECRET_NAME}$")).ok());

static ASSIGNMENT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("(?i)^(?:--?)?{SECRET_NAME}=")).ok());

/// Where the value begins in an argument that is one assignment to a secret name and nothing else.
pub(super) fn assigned(arg: &str) -> Option<usize> {
    let start = ASSIGNMENT.as_ref()?.find(arg)?.end();
    let value = arg.get(start..)?;
    (!value.contains(char::is_whitespace) && Check::Assigned.passes(value)).then_some(start)
}

/// What follows an argument of this tool.
pub(super) fn after(tool: &str, arg: &str) -> After {
    if !arg.starts_with('-') {
        return After::Nothing;
    }
    match (tool, arg) {
        ("curl" | "wget" | "http" | "https", "-u" | "--user" | "--proxy-user" | "-U") => After::UserPassword,
        ("curl", "-b" | "--cookie" | "--oauth2-bearer") | ("sshpass", "-p") => After::Secret,
        _ if OPTION.as_ref().is_some_and(|option| option.is_match(arg)) => After::Secret,
        _ => After::Nothing,
    }
}
