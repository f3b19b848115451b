//! Hosts and paths as they stand on the wire, and how a pattern fits them.
//!
//! Hosts are compared label by label after lower-casing and without port and trailing dot, so that neither
//! `evil-openai.com` nor `openai.com.evil.net` is OpenAI. Paths are compared segment by segment.

use std::borrow::Cow;

/// Splits an authority (`Host` header) into the normalised host and the port. Lower case, without one trailing dot;
/// a literal IPv6 address loses its brackets. User information before an `@` is dropped. A part that is not a port is no
/// port.
pub fn split_authority(authority: &str) -> (String, Option<u16>) {
    let authority = authority.trim();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // More than one colon without brackets: an address, not a port.
        None if authority.matches(':').count() > 1 => (authority, None),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (host, port.and_then(|port| port.parse().ok()))
}

/// True if the host is what the pattern says or stands below it; a `*` stands for any characters within one label. The
/// host is normalised ([`split_authority`]).
pub fn host_matches(host: &str, pattern: &str) -> bool {
    let mut labels = host.rsplit('.');
    pattern.rsplit('.').all(|wanted| labels.next().is_some_and(|label| part_matches(label, wanted)))
        && labels.all(|label| !label.is_empty())
}

/// One label or one segment; one `*` in it stands for any characters.
fn part_matches(part: &str, wanted: &str) -> bool {
    match wanted.split_once('*') {
        None => part == wanted,
        Some((head, tail)) => {
            !part.is_empty() && part.len() >= head.len() + tail.len() && part.starts_with(head) && part.ends_with(tail)
        }
    }
}

/// The path of a request target (origin or absolute form), without query and fragment.
pub fn path_of(target: &str) -> &str {
    let rest = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
        _ => target,
    };
    rest.find(['?', '#']).map_or(rest, |at| &rest[..at])
}

/// The path of a request target as patterns are compared with it: escapes of letters, digits, `-._~` and `:@` decoded
/// (RFC 3986, section 6.2.2.2; an escaped slash stays one), doubled slashes made one, no slash at the end.
pub fn normal_path(target: &str) -> Cow<'_, str> {
    let path = path_of(target);
    let bare = path.trim_end_matches('/');
    if !bare.contains('%') && !bare.contains("//") {
        return Cow::Borrowed(bare);
    }
    let mut bytes: Vec<u8> = Vec::with_capacity(bare.len());
    let mut rest = bare.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = (*first == b'%').then(|| after.get(..2)).flatten();
        let value = escape
            .filter(|hex| hex.iter().all(u8::is_ascii_hexdigit))
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok())
            .filter(|byte| byte.is_ascii_alphanumeric() || b"-._~:@".contains(byte));
        if let Some(value) = value {
            bytes.push(value);
            rest = after.get(2..).unwrap_or_default();
            continue;
        }
        if !(*first == b'/' && bytes.last() == Some(&b'/')) {
            bytes.push(*first);
        }
        rest = after;
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// True if a path ([`normal_path`]) ends as the pattern says, by whole segments. A `*` stands for any characters within
/// one segment. `/` is the empty path alone.
pub fn path_ends(path: &str, pattern: &str) -> bool {
    if pattern == "/" {
        return path.is_empty();
    }
    let mut segments = path.rsplit('/');
    let mut wanted = pattern.split('/').skip(1).collect::<Vec<_>>();
    while let Some(wanted) = wanted.pop() {
        if !segments.next().is_some_and(|segment| part_matches(segment, wanted)) {
            return false;
        }
    }
    // What stands before the first slash of the pattern is the rest of the path, at least its own first slash.
    segments.next().is_some()
}

/// True if a path ([`normal_path`]) is the pattern or stands below it, by whole segments; `*` as in [`path_ends`].
pub fn path_begins(path: &str, pattern: &str) -> bool {
    let mut segments = path.split('/');
    pattern.split('/').all(|wanted| segments.next().is_some_and(|segment| part_matches(segment, wanted)))
}

/// True if the whole path ([`normal_path`]) fits; a `*` stands for any characters, also slashes.
pub fn path_fits(path: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(rest) = path.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_split() {
        for (authority, host, port) in [
            ("LocalHost:8080", "localhost", Some(8080)),
            ("[::1]:8443", "::1", Some(8443)),
            ("[2001:DB8::1]", "2001:db8::1", None),
            ("::1", "::1", None),
            ("a.example.", "a.example", None),
            ("a.example.:80", "a.example", Some(80)),
            ("a:99999", "a", None),
            ("api.openai.com:@evil.net", "evil.net", None),
            ("user:word@A.example:81", "a.example", Some(81)),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example", None),
            ("", "", None),
        ] {
            assert_eq!(split_authority(authority), (host.to_owned(), port), "{authority}");
        }
    }

    #[test]
    fn paths_are_made_comparable() {
        for (target, path) in [
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("/v1/chat/completions/", "/v1/chat/completions"),
            ("//v1///chat/completions//?a=/b", "/v1/chat/completions"),
            ("/v1/ch%61t/completions", "/v1/chat/completions"),
            ("/v1/chat%2Fcompletions", "/v1/chat%2Fcompletions"),
            ("/models/m%3AgenerateContent", "/models/m:generateContent"),
            ("/a%", "/a%"),
            ("/a%4", "/a%4"),
            ("/a%+1b", "/a%+1b"),
            ("/a%zz%2e", "/a%zz."),
            ("http://h.example:80/v1/responses#x", "/v1/responses"),
            ("https://h.example", ""),
            ("https://h.example?a=/v1/responses", ""),
            ("/r?u=https://h.example/v1/responses", "/r"),
            ("/", ""),
            ("", ""),
        ] {
            assert_eq!(normal_path(target), path, "{target}");
        }
    }

    #[test]
    fn patterns_of_paths() {
        for (path, pattern, fits) in [
            ("/v1/messages", "/v1/messages", true),
            ("/a/v1/messages", "/v1/messages", true),
            ("/av1/messages", "/v1/messages", false),
            ("/v1/messages/x", "/v1/messages", false),
            ("/models/m:generateContent", "/*:generateContent", true),
            ("/models/:generateContent", "/*:generateContent", true),
            ("/model/x/invoke", "/model/*/invoke", true),
            ("/model//invoke", "/model/*/invoke", false),
            ("/model/x/y/invoke", "/model/*/invoke", false),
            ("", "/", true),
            ("/x", "/", false),
            ("messages", "/messages", false),
            ("", "/messages", false),
        ] {
            assert_eq!(path_ends(path, pattern), fits, "{path} {pattern}");
        }
        for (path, pattern, fits) in [
            ("/openai/v1/x", "/openai", true),
            ("/openai", "/openai", true),
            ("/openais/v1", "/openai", false),
            ("/v1/a/b/openai/c", "/v1/*/*/openai", true),
            ("/v1/a/openai", "/v1/*/*/openai", false),
        ] {
            assert_eq!(path_begins(path, pattern), fits, "{path} {pattern}");
        }
        for (path, pattern, fits) in [
            ("/llm/chat", "/llm/chat", true),
            ("/x/llm/chat", "/llm/chat", false),
            ("/x/llm/chat", "*/llm/chat", true),
            ("/llm/a/b", "/llm/*", true),
            ("/llm", "/llm/*", false),
            ("/a/x/b/y/c", "/a/*/b/*/c", true),
            ("/a/b", "/a*b", true),
            ("/ab", "/ab*b", false),
            ("", "", true),
            ("/a", "", false),
        ] {
            assert_eq!(path_fits(path, pattern), fits, "{path} {pattern}");
        }
    }
}
