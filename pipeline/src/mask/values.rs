//! Where a value ends, and whether it can be a secret.

use super::{
    marker::MARKER,
    names::secret_name,
    scan::{Scan, steps},
};

/// Most backslashes before a quote: JSON in JSON in JSON in JSON.
pub(super) const DEPTH: usize = 7;

/// What else is known of a value.
#[derive(Clone, Copy)]
pub(super) struct Value {
    /// It may be a word of a sentence, or a type.
    pub prose: bool,
    /// It may be an expression.
    pub code: bool,
    /// It follows an option.
    pub option: bool,
    /// It stands in a query.
    pub query: bool,
}

/// Words that stand after a colon in prose, schemas and code, and are no secrets.
const WORDS: &[&str] = &[
    "a",
    "an",
    "and",
    "any",
    "array",
    "as",
    "at",
    "await",
    "be",
    "bool",
    "boolean",
    "by",
    "bytes",
    "can",
    "char",
    "const",
    "default",
    "dict",
    "does",
    "enum",
    "false",
    "final",
    "float",
    "for",
    "from",
    "has",
    "if",
    "in",
    "int",
    "integer",
    "invalid",
    "is",
    "it",
    "its",
    "list",
    "map",
    "may",
    "missing",
    "must",
    "new",
    "nil",
    "no",
    "none",
    "not",
    "null",
    "number",
    "object",
    "of",
    "ok",
    "on",
    "optional",
    "or",
    "our",
    "please",
    "required",
    "secretstr",
    "see",
    "set",
    "should",
    "str",
    "string",
    "that",
    "the",
    "they",
    "this",
    "to",
    "true",
    "undefined",
    "unknown",
    "unset",
    "use",
    "used",
    "uses",
    "using",
    "uuid",
    "varchar",
    "void",
    "was",
    "what",
    "when",
    "where",
    "which",
    "will",
    "with",
    "yes",
    "unexpected",
    "expired",
    "rejected",
    "failed",
    "error",
    "empty",
    "you",
    "your",
    "&str",
    "option",
    "vec",
    "field",
    "type",
];

/// What names of things that hold values begin with.
const ROOTS: &[&str] = &[
    "os.",
    "process.env",
    "env.",
    "self.",
    "this.",
    "config.",
    "cfg.",
    "settings.",
    "args.",
    "opts.",
    "options.",
    "params.",
    "req.",
    "request.",
    "ctx.",
    "context.",
    "event.",
    "session.",
    "secrets.",
    "import.meta",
    "st.secrets",
    "vars.",
    "local.",
    "var.",
    "data.",
    "props.",
    "input.",
    "response.",
    "res.",
    "user.",
    "creds.",
    "credentials.",
];

/// Where the text ends that a quote opened: at the same quote behind no more backslashes; else where its line ends.
pub(super) fn closing(scan: &Scan<'_>, start: usize, slashes: usize, quote: u8) -> usize {
    let mut run = 0;
    let rest = scan.slice(start, scan.len());
    for (at, byte) in rest.iter().enumerate() {
        match *byte {
            b'\\' => run += 1,
            // Two backslashes are one that was escaped, and then the quote is not.
            byte if byte == quote && (run <= slashes || slashes == 0 && run % 2 == 0) => {
                // Those before the quote belong to it.
                steps::add(at);
                return start + at - run.min(slashes);
            }
            _ => run = 0,
        }
    }
    steps::add(rest.len());
    start + memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len())
}

/// Where a run of bytes and masks ends, and whether it is a mask and nothing else.
pub(super) fn span(scan: &Scan<'_>, start: usize, accept: impl Fn(u8) -> bool) -> (usize, bool) {
    let mut at = start;
    let mut masked = false;
    while let Some(byte) = scan.byte(at) {
        if byte == b'['
            && let Some(length) = scan.marker(at)
        {
            masked = at == start;
            at += length;
            continue;
        }
        if !accept(byte) {
            break;
        }
        masked = false;
        at += 1;
    }
    (at, masked && scan.marker(start) == Some(at - start))
}

/// True if a text in quotes can be a secret.
pub(super) fn quoted(scan: &Scan<'_>, start: usize, end: usize) -> bool {
    scan.marker(start) != Some(end - start) && !is_reference(scan.slice(start, end))
}

/// A value without quotes, if it can be a secret.
pub(super) fn plain(scan: &Scan<'_>, at: usize, name: &str, value: Value) -> Option<(usize, usize)> {
    let stop = |byte: u8| {
        byte.is_ascii_whitespace()
            || matches!(byte, b'"' | b'\'' | b'&' | b';' | b'`')
            || if value.query {
                matches!(byte, b'#' | b'<' | b'>')
            } else {
                matches!(byte, b',' | b'|' | b')' | b'}' | b']')
            }
    };
    let first = scan.byte(at)?;
    if stop(first) || (first == b'\\' && is_break(scan, at)) || (first == b'-' && (value.prose || value.option)) {
        return None;
    }
    let head = scan.slice(at, scan.len().min(at + 256));
    // Recordings write stars over a query's secrets: a replay masks them as the run did.
    let overwritten = value.query && first == b'*';
    if (is_reference(head) && !overwritten)
        || (value.prose && is_word(head))
        || (value.code && is_expression(head, name))
    {
        return None;
    }
    let bracket = matches!(first, b'[' | b'{' | b'(');
    // What only begins like a mask is a value with all its brackets.
    let fake = scan.marker(at).is_none() && scan.slice(at, at + MARKER.len()) == MARKER.as_bytes();
    let stop = |byte: u8| stop(byte) && !(fake && byte == b']');
    let (mut end, masked) = bounded(scan, at, stop);
    if masked || end == at {
        return None;
    }
    // A list or an object: what is in it is looked at by itself, unless it is a word with such a beginning.
    if bracket && !fake && scan.marker(at).is_none() && (end - at < 8 || !is_opaque(scan.slice(at + 1, end))) {
        return None;
    }
    // A scheme, and then the secret.
    let scheme = scan.slice(at, end);
    if ["bearer", "basic", "token", "bot", "apikey"].iter().any(|word| scheme.eq_ignore_ascii_case(word.as_bytes())) {
        let next = scan.run(end, |byte| matches!(byte, b' ' | b'\t'));
        if next > end {
            end = bounded(scan, next, stop).0;
        }
    }
    Some((at, end))
}

/// As [`span`], and it ends before a quote's backslash.
fn bounded(scan: &Scan<'_>, at: usize, stop: impl Fn(u8) -> bool) -> (usize, bool) {
    let (end, masked) = span(scan, at, |byte| !stop(byte));
    if masked {
        return (end, true);
    }
    let closed = scan.byte(end).is_some_and(|byte| matches!(byte, b'"' | b'\''));
    let slashes = scan.slice(at, end).iter().rev().take_while(|byte| **byte == b'\\').count();
    let end = if closed { end - slashes } else { end };
    (end, scan.marker(at) == Some(end - at))
}

/// A backslash that ends a line or a text.
fn is_break(scan: &Scan<'_>, at: usize) -> bool {
    matches!(scan.byte(at + 1), Some(b'n' | b'r' | b'"' | b'\'' | b'\n') | None)
}

/// Where a header's value ends: at its line's end, also of one that is written `\n`, and at a quote.
pub(super) fn line(scan: &Scan<'_>, at: usize) -> usize {
    let rest = scan.slice(at, scan.len());
    let mut previous = 0;
    for (length, byte) in rest.iter().enumerate() {
        steps::add(1);
        match *byte {
            b'\r' | b'\n' => return at + length,
            b'"' | b'\'' | b'`' => {
                let slashes =
                    rest.get(..length).unwrap_or_default().iter().rev().take_while(|byte| **byte == b'\\').count();
                return at + length - slashes;
            }
            b'n' | b'r' if previous == b'\\' => return at + length - 1,
            _ => {}
        }
        previous = *byte;
    }
    at + rest.len()
}

/// True if a header's value that begins here can be a secret.
pub(super) fn header(scan: &Scan<'_>, start: usize, code: bool) -> bool {
    let head = scan.slice(start, scan.len().min(start + 256));
    let length = head.iter().position(|byte| matches!(byte, b'\r' | b'\n' | b'"' | b'\'' | b'`')).unwrap_or(head.len());
    let head = head.get(..length).unwrap_or_default().trim_ascii();
    if head.is_empty() || is_reference(head) || is_word(head) || (code && is_expression(head, "")) {
        return false;
    }
    // `Bearer $TOKEN`
    let mut words = head.split(|byte| *byte == b' ');
    match (words.next(), words.next(), words.next()) {
        (Some(_), Some(second), None) => !is_reference(second),
        _ => true,
    }
}

/// True if this stands for a value that is elsewhere: `$TOKEN`, `${TOKEN}`, `$(pass …)`, `%TOKEN%`, `{{token}}`,
/// `{token}`, `<token>`, `****`, `...`. It looks at the first bytes only.
pub(super) fn is_reference(text: &[u8]) -> bool {
    let head = text.get(..text.len().min(128)).unwrap_or_default();
    let ends = |length: usize| {
        // Nothing of a word may follow.
        head.get(length)
            .is_none_or(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'-' | b'$' | b'%' | b'!'))
    };
    let name = |from: usize, accept: fn(u8) -> bool| {
        let rest = head.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| accept(**byte)).count()
    };
    let letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let any = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b' ' | b'$' | b'[' | b']' | b':' | b'?')
    };
    let closed = |from: usize, close: &[u8], accept: fn(u8) -> bool| {
        let length = name(from, accept);
        length > 0
            && head.get(from + length..).is_some_and(|rest| rest.starts_with(close))
            && ends(from + length + close.len())
    };
    match head.first() {
        None => true,
        Some(b'$') => match head.get(1) {
            Some(b'(') => true,
            Some(b'{') => closed(2, b"}", |byte| byte != b'}' && !byte.is_ascii_whitespace()) || closed(2, b"}", any),
            _ => {
                let length = name(1, letter);
                length > 0 && ends(1 + length)
            }
        },
        Some(b'%') => closed(1, b"%", letter),
        Some(b'{') if head.get(1) == Some(&b'{') => closed(2, b"}}", any),
        Some(b'{') => closed(1, b"}", any),
        Some(b'<') => closed(1, b">", |byte| byte != b'>' && byte != b'\n'),
        Some(b'*' | b'.' | b'x' | b'X') => {
            // Somebody masked it already.
            let first = head.first().copied().unwrap_or_default();
            let length = head.iter().take_while(|byte| **byte == first).count();
            length >= 3 && ends(length)
        }
        Some(_) => head.starts_with("…".as_bytes()) || head.starts_with("•".as_bytes()),
    }
}

/// True if this begins with a word of a sentence or with a type.
fn is_word(text: &[u8]) -> bool {
    let length = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'&')).count();
    let Some(word) = text.get(..length).filter(|word| (1..=12).contains(&word.len())) else { return false };
    // A word ends with a blank or a stop, a type perhaps with brackets.
    let fine = |byte: &u8| byte.is_ascii_whitespace() || b".,;:)]}[<|?!\"'`".contains(byte);
    let ended = text.get(length).is_none_or(fine)
        && (text.get(length) != Some(&b'.') || text.get(length + 1).is_none_or(u8::is_ascii_whitespace));
    ended && WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// True if this is a program's expression and not a value: `getpass()`, `os.environ["KEY"]`, `self.token`, `token`.
fn is_expression(text: &[u8], name: &str) -> bool {
    let part = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.');
    let length = text.iter().take_while(|byte| part(byte)).count();
    let Some(path) = text.get(..length).and_then(|path| std::str::from_utf8(path).ok()) else { return false };
    if path.is_empty() || path.starts_with('.') {
        return false;
    }
    match text.get(length) {
        // A call has an end.
        Some(b'(') => text.get(length..).is_some_and(|rest| rest.contains(&b')')),
        Some(b'[') => ROOTS.iter().any(|root| path.starts_with(root)) || path.ends_with("environ"),
        next => {
            let fine = |byte: &u8| byte.is_ascii_whitespace() || b",;:)]}|?!\"'`".contains(byte);
            if !next.is_none_or(fine) {
                return false;
            }
            let last = path.rsplit('.').next().unwrap_or(path);
            let own = name.rsplit('.').next().unwrap_or(name).trim_start_matches('-');
            ROOTS.iter().any(|root| path.starts_with(root))
                || (!own.is_empty() && last.eq_ignore_ascii_case(own))
                || (path.contains(['.', '_']) && secret_name(last))
        }
    }
}

/// Long, or with a digit, so that prose is left alone.
pub(super) fn is_opaque(text: &[u8]) -> bool {
    text.len() >= 20 || (text.len() >= 6 && text.iter().any(u8::is_ascii_digit))
}

pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// Looks like base64 of `user:password`.
pub(super) fn is_user_password(text: &[u8]) -> bool {
    let has = |accept: fn(&u8) -> bool| text.iter().any(accept);
    text.len() >= 8 && (text.ends_with(b"=") || (has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase)))
}
