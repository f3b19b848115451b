//! Arguments of a command, where one tells what the next one is.

use std::borrow::Cow;

use super::{CREDENTIALS, Rules, kinds::Kind, marker::MARKER, names::secret_name, text_with, values};

/// What the argument after an option is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Secret,
    UserPassword,
}

/// Masks credentials in a command's arguments: known kinds, values of secret options (`--api-key X`, `--token=X`,
/// `-H 'Authorization: …'`), passwords in URLs, `KEY=value` of secret names.
pub fn args(args: Vec<String>) -> Vec<String> {
    args_with(args, &CREDENTIALS).0
}

/// As [`args`], by other rules, with the kind of each secret that was masked.
pub fn args_with(args: Vec<String>, rules: &Rules) -> (Vec<String>, Vec<&'static str>) {
    let tool = args.first().map_or("", |path| path.rsplit('/').next().unwrap_or(path)).to_owned();
    let mut after = After::Nothing;
    let mut kinds = Vec::new();
    let mut put = |before: &str, kind: Kind| {
        kinds.push(kind.name());
        format!("{before}{MARKER}{}]", kind.name())
    };
    let mut rest = Vec::new();
    let mut masked = Vec::with_capacity(args.len());
    for arg in args {
        let now = std::mem::replace(&mut after, following(&tool, &arg));
        let own = |value: &str| !value.is_empty() && !super::is_mask(value, rules);
        masked.push(match now {
            After::Secret if own(&arg) && is_value(&arg) => {
                after = After::Nothing;
                put("", Kind::SecretValue)
            }
            After::Secret if super::is_mask(&arg, rules) => arg,
            After::UserPassword if arg.split_once(':').is_some_and(|(_, password)| own(password)) => {
                let user = arg.split(':').next().unwrap_or_default();
                put(&format!("{user}:"), Kind::Password)
            }
            _ => match assigned(&arg).map(|at| arg.split_at(at)) {
                // The whole rest is the value, delimiters included.
                Some((name, value)) if own(value) => put(name, Kind::SecretValue),
                _ => {
                    let (text, found) = text_with(&arg, rules);
                    rest.extend(found);
                    match text {
                        Cow::Borrowed(_) => arg,
                        Cow::Owned(text) => text,
                    }
                }
            },
        });
    }
    kinds.extend(rest);
    (masked, kinds)
}

/// True if this can be a value: not an option, nor a reference to a variable.
fn is_value(text: &str) -> bool {
    let bare = text.trim_matches(['"', '\'']);
    !bare.is_empty() && !bare.starts_with('-') && !values::is_reference(bare.as_bytes())
}

/// Where the value begins in an argument that is one assignment to a secret name and nothing else.
fn assigned(arg: &str) -> Option<usize> {
    let at = arg.find('=')?;
    let (name, value) = (arg.get(..at)?, arg.get(at + 1..)?);
    (secret_name(name) && !value.contains(char::is_whitespace) && is_value(value)).then_some(at + 1)
}

/// What follows an argument of this tool.
fn following(tool: &str, arg: &str) -> After {
    if !arg.starts_with('-') {
        return After::Nothing;
    }
    match (tool, arg) {
        ("curl" | "wget" | "http" | "https", "-u" | "--user" | "--proxy-user" | "-U") => After::UserPassword,
        ("curl", "-b" | "--cookie" | "--oauth2-bearer") | ("sshpass", "-p") => After::Secret,
        _ if secret_name(arg) => After::Secret,
        _ => After::Nothing,
    }
}
