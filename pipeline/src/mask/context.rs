//! Secrets that are known by their place: values of names, headers, options.

use super::{
    kinds::Kind,
    names::{self, is_ambiguous, is_name, secret_name, secret_query},
    scan::{Scan, steps},
    values::{self, Value},
};

/// How a name and its value stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tie {
    /// `name=value`
    Direct,
    /// `name = value`, `name => value`
    Spaced,
    /// `name: value`
    Colon,
    /// `--name value`
    Option,
}

/// What follows a name.
struct Place {
    tie: Tie,
    /// Where the value begins.
    value: usize,
    /// Backslashes and quote around the name.
    quoted: Option<(usize, u8)>,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Backslashes and the quote after them.
pub(super) fn quote(scan: &Scan<'_>, at: usize) -> Option<(usize, u8)> {
    let slashes = (0..=values::DEPTH).take_while(|by| scan.byte(at + by) == Some(b'\\')).count();
    let quote = scan.byte(at + slashes).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'))?;
    (slashes <= values::DEPTH).then_some((slashes, quote))
}

/// What stands between a name that ends at `end` and its value.
fn place(scan: &Scan<'_>, end: usize) -> Option<Place> {
    let quoted = quote(scan, end);
    let after = quoted.map_or(end, |(slashes, _)| end + slashes + 1);
    // `["name"] = value`, `.get("name")`: only the first is an assignment.
    let after = if quoted.is_some() && scan.byte(after) == Some(b']') { after + 1 } else { after };
    let sign = scan.run(after, is_blank);
    let spaced = sign > after;
    let skip = |from: usize| scan.run(from, is_blank);
    let (tie, value) = match (scan.byte(sign)?, scan.byte(sign + 1)) {
        (b'=', Some(b'=' | b'~')) | (b':', Some(b':' | b'/')) => return None,
        (b'=', Some(b'>')) => (Tie::Spaced, skip(sign + 2)),
        (b':', Some(b'=')) => (Tie::Spaced, skip(sign + 2)),
        (b'=', _) if spaced => (Tie::Spaced, skip(sign + 1)),
        (b'=', Some(byte)) if is_blank(byte) => {
            // `NAME= next`: an empty value, unless it is a text.
            let value = skip(sign + 1);
            quote(scan, value)?;
            (Tie::Spaced, value)
        }
        (b'=', _) => (Tie::Direct, sign + 1),
        (b':', _) => (Tie::Colon, skip(sign + 1)),
        _ if spaced && quoted.is_none() => (Tie::Option, sign),
        _ => return None,
    };
    Some(Place { tie, value, quoted })
}

/// Where the name begins that ends at `end`.
fn beginning(scan: &Scan<'_>, end: usize) -> usize {
    let head = scan.slice(end.saturating_sub(names::LONGEST), end);
    let start = end - head.iter().rev().take_while(|byte| is_name(**byte)).count();
    scan.skip_escape(start, end)
}

/// A word was found that names of secrets end with.
pub(super) fn name(scan: &mut Scan<'_>, start: usize, end: usize) {
    let plural = scan.byte(end) == Some(b's') && scan.slice(start, end).eq_ignore_ascii_case(b"credential");
    let end = if plural { end + 1 } else { end };
    if start < scan.value_end() || start < scan.form_end() || scan.byte(end).is_some_and(is_name) {
        return;
    }
    let Some(place) = place(scan, end) else { return };
    let start = beginning(scan, end);
    let name = String::from_utf8_lossy(scan.slice(start, end)).into_owned();
    let before = start.checked_sub(1).and_then(|at| scan.byte(at));
    let query = matches!(before, Some(b'?' | b'&')) && place.tie == Tie::Direct;
    if !(secret_name(&name) || query && secret_query(&name)) {
        return;
    }
    // `"Password: "`: the quote closes.
    if place.quoted.is_none() && matches!(before, Some(b'"' | b'\'' | b'`')) && scan.byte(place.value) == before {
        return;
    }
    if place.tie == Tie::Option {
        let option = name.starts_with('-')
            && before.is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`' | b'('));
        if option {
            take(scan, &place, &name, Kind::SecretValue);
        } else if name.eq_ignore_ascii_case("password") && is_netrc(scan, start) {
            take(scan, &place, &name, Kind::Password);
        }
        return;
    }
    let kind = if query { Kind::QueryKey } else { kind(&name) };
    take(scan, &place, &name, kind);
}

fn kind(name: &str) -> Kind {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "accountkey" | "sharedaccesskey" | "sharedaccesssignature" => Kind::AzureConnectionString,
        _ if lower.contains("aws") && lower.contains("secret") => Kind::AwsSecretKey,
        _ => Kind::SecretValue,
    }
}

/// `machine host login me password …` (the netrc file of ftp).
fn is_netrc(scan: &Scan<'_>, start: usize) -> bool {
    let head = scan.slice(start.saturating_sub(128), start);
    let mut words = head.split(u8::is_ascii_whitespace).rev().filter(|word| !word.is_empty());
    words.next();
    words.next() == Some(b"login")
}

/// A name that is a secret's only in a query was found.
pub(super) fn query(scan: &mut Scan<'_>, start: usize, end: usize) {
    let end = if scan.byte(end - 1) == Some(b'=') { end - 1 } else { end };
    if start < scan.value_end() || scan.byte(end) != Some(b'=') {
        return;
    }
    let start = beginning(scan, end);
    let name = String::from_utf8_lossy(scan.slice(start, end)).into_owned();
    let before = start.checked_sub(1).and_then(|at| scan.byte(at));
    let place = Place { tie: Tie::Direct, value: end + 1, quoted: None };
    if matches!(before, Some(b'?' | b'&')) && secret_query(&name) {
        take(scan, &place, &name, Kind::QueryKey);
    } else if name.eq_ignore_ascii_case("SharedAccessSignature") {
        take(scan, &place, &name, Kind::AzureConnectionString);
    }
}

/// Takes a value, if it is one.
fn take(scan: &mut Scan<'_>, place: &Place, name: &str, kind: Kind) {
    // A string may say what it is: `b"…"`.
    let prefixed = scan.byte(place.value).is_some_and(|byte| matches!(byte | 0x20, b'b' | b'f' | b'r' | b'u'));
    let at = if prefixed && quote(scan, place.value + 1).is_some() { place.value + 1 } else { place.value };
    let shouted =
        name.bytes().any(|byte| byte.is_ascii_uppercase()) && !name.bytes().any(|byte| byte.is_ascii_lowercase());
    let strict = shouted || matches!(kind, Kind::QueryKey | Kind::AzureConnectionString) || name.starts_with('-');
    if let Some((slashes, mark)) = quote(scan, at) {
        let start = at + slashes + 1;
        let end = values::closing(scan, start, slashes, mark);
        let short = is_ambiguous(name) && !strict && end - start < SHORT;
        if end > start && !short && values::quoted(scan, start, end) {
            scan.value(start, end, kind, None);
        }
        return;
    }
    let value = Value {
        prose: place.tie != Tie::Direct,
        code: !strict || place.tie == Tie::Spaced,
        option: place.tie == Tie::Option,
        query: kind == Kind::QueryKey,
    };
    let Some((start, end)) = values::plain(scan, at, name, value) else { return };
    if is_ambiguous(name) && !strict && end - start < SHORT {
        return;
    }
    let number = scan.slice(start, end).iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    if number && !strict && place.tie != Tie::Direct {
        let lower = name.to_ascii_lowercase();
        if !NUMBERS.iter().any(|word| lower.contains(word)) {
            return;
        }
    }
    // In JSON a mask is a text, also where a number was.
    let quote = place.quoted.filter(|_| place.tie == Tie::Colon && number);
    scan.value(start, end, kind, quote);
}

/// Parts of names whose values are secrets also if they are numbers.
pub(super) const NUMBERS: &[&str] = &["pass", "pin", "secret", "pwd"];

/// A value of `token` that is shorter is a piece of text.
pub(super) const SHORT: usize = 6;

/// `Authorization` or `Cookie` was found; or `"auth"`, as registries' files have it.
pub(super) fn header(scan: &mut Scan<'_>, start: usize, end: usize) {
    let bare = scan.byte(start) == Some(b'"');
    let end = if bare { end - 1 } else { end };
    if start < scan.value_end() || start < scan.form_end() || scan.byte(end).is_some_and(is_name) {
        return;
    }
    let Some(place) = place(scan, end).filter(|place| place.tie != Tie::Option) else { return };
    let opened = quote(scan, place.value);
    let from = opened.map_or(place.value, |(slashes, _)| place.value + slashes + 1);
    // Looked at before its end is searched: most that fail here would have a far one.
    if (bare && opened.is_none()) || !(bare || values::header(scan, from, place.tie == Tie::Spaced)) {
        return;
    }
    let to = match opened {
        Some((slashes, mark)) => values::closing(scan, from, slashes, mark),
        None => values::line(scan, from),
    };
    if to == from || scan.marker(from) == Some(to - from) {
        return;
    }
    if bare {
        if scan.run(from, values::is_base64) == to && values::is_user_password(scan.slice(from, to)) {
            scan.value(from, to, Kind::BasicAuth, None);
        }
        return;
    }
    let cookie = scan.slice(start, end).eq_ignore_ascii_case(b"cookie");
    scan.value(from, to, if cookie { Kind::Cookie } else { Kind::Authorization }, None);
}

/// Where the blanks end that stand here, also as `%20`; `None` if there are none.
fn blanks(scan: &Scan<'_>, at: usize) -> Option<usize> {
    let end = scan.run(at, |byte| byte.is_ascii_whitespace());
    if end > at {
        return Some(end);
    }
    (scan.slice(at, at + 3) == b"%20").then_some(at + 3)
}

/// `Bearer` was found.
pub(super) fn bearer(scan: &mut Scan<'_>, start: usize, end: usize) {
    if start < scan.value_end() || start < scan.form_end() || !scan.begins_word(start, true) {
        return;
    }
    let Some(from) = blanks(scan, end) else { return };
    let accept = |byte: u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte);
    let (to, masked) = values::span(scan, from, accept);
    if !masked && values::is_opaque(scan.slice(from, to)) {
        scan.value(from, to, Kind::BearerToken, None);
    }
}

/// `Basic` was found.
pub(super) fn basic(scan: &mut Scan<'_>, start: usize, end: usize) {
    if start < scan.value_end() || start < scan.form_end() || !scan.begins_word(start, true) {
        return;
    }
    let Some(from) = blanks(scan, end) else { return };
    let (to, masked) = values::span(scan, from, values::is_base64);
    if !masked && values::is_user_password(scan.slice(from, to)) {
        scan.value(from, to, Kind::BasicAuth, None);
    }
}

/// `-u` or `-user` was found: after `curl` and the like, name and password follow.
pub(super) fn user(scan: &mut Scan<'_>, start: usize, end: usize) {
    let Some(command) = scan.command else { return };
    // What was followed up to here need not be followed again.
    let mut between = scan.slice(command, start).iter().enumerate();
    let slice = scan.slice(command, start);
    let other = between.any(|(at, byte)| match byte {
        b'|' | b';' | b'&' => true,
        b'\n' => at.checked_sub(1).and_then(|before| slice.get(before)) != Some(&b'\\'),
        _ => false,
    });
    steps::add(slice.len());
    scan.command = (!other).then_some(command.max(start));
    let long = scan.byte(start) == Some(b'-');
    let back = |by: usize| start.checked_sub(by).and_then(|at| scan.byte(at));
    // `--user`, `--proxy-user`
    let option = !long || back(1) == Some(b'-') || scan.slice(start.saturating_sub(7), start) == b"--proxy";
    if other || !option || start < scan.value_end() {
        return;
    }
    let mut at = end;
    at += usize::from(matches!(scan.byte(at), Some(b' ' | b'=')));
    at += usize::from(matches!(scan.byte(at), Some(b'"' | b'\'')));
    let stop = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
    let limit = scan.slice(at, at + 256).iter().position(|byte| stop(*byte) || *byte == b':').map(|found| at + found);
    let Some(colon) = limit.filter(|colon| scan.byte(*colon) == Some(b':') && *colon > at) else { return };
    if matches!(scan.byte(at), Some(b'-' | b'=')) {
        return;
    }
    let (to, masked) = values::span(scan, colon + 1, |byte| !stop(byte));
    if to > colon + 1 && !masked && !values::is_reference(scan.slice(colon + 1, to)) {
        scan.value(colon + 1, to, Kind::Password, None);
    }
}
