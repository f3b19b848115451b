//! Heads of messages: where one begins, its fields, and how its body is framed (RFC 9112, sections 2 to 6).

use std::borrow::Cow;

use memchr::{memchr, memmem};
use pipeline::observation::Headers;

use super::fields;

/// Longest first line.
const LONGEST_LINE: usize = 64 * 1024;

/// Longest head.
pub(super) const LONGEST: usize = 256 * 1024;

/// Most fields of a head.
const MOST_FIELDS: usize = 2048;

/// Methods by which a request is known (the registry of RFC 9110 and those of WebDAV that are in use).
const METHODS: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"PUT ",
    b"PATCH ",
    b"DELETE ",
    b"HEAD ",
    b"OPTIONS ",
    b"CONNECT ",
    b"TRACE ",
    b"QUERY ",
    b"PURGE ",
    b"SEARCH ",
    b"REPORT ",
    b"PROPFIND ",
    b"PROPPATCH ",
    b"MKCOL ",
    b"COPY ",
    b"MOVE ",
    b"LOCK ",
    b"UNLOCK ",
];

/// First line of HTTP/2's preface (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Whether bytes begin a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// So far they might.
    Maybe,
    /// They do: the whole first line is there.
    Yes,
    /// They do not.
    No,
    /// They begin HTTP/2.
    Http2,
}

/// Whether bytes begin a request. They hold no LF but at their end; `new` of them were not there at the last look.
pub(super) fn request(bytes: &[u8], new: usize) -> Begins {
    let Some(method) = METHODS.iter().find(|method| bytes.starts_with(method)) else {
        return if bytes == PREFACE {
            Begins::Http2
        } else if PREFACE.starts_with(bytes) || METHODS.iter().any(|method| method.starts_with(bytes)) {
            Begins::Maybe
        } else {
            Begins::No
        };
    };
    let Some(line) = bytes.strip_suffix(b"\n") else {
        let fresh = bytes.get(bytes.len().saturating_sub(new)..).unwrap_or_default();
        return if bytes.len() > LONGEST_LINE || fresh.iter().any(|byte| *byte < b' ' && *byte != b'\r') {
            Begins::No
        } else {
            Begins::Maybe
        };
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let target = line
        .strip_suffix(b" HTTP/1.1")
        .or_else(|| line.strip_suffix(b" HTTP/1.0"))
        .and_then(|line| line.get(method.len()..))
        .map(<[u8]>::trim_ascii);
    match target {
        Some(target) if !target.is_empty() && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f) => Begins::Yes,
        _ => Begins::No,
    }
}

/// Whether bytes begin a response; see [`request`].
pub(super) fn response(bytes: &[u8], _new: usize) -> Begins {
    const VERSION: &[u8] = b"HTTP/1.";
    let fits = |at: usize, byte: u8| match at {
        0..7 => VERSION.get(at) == Some(&byte),
        7 => matches!(byte, b'0' | b'1'),
        8 => byte == b' ',
        9 => matches!(byte, b'1'..=b'9'),
        10 | 11 => byte.is_ascii_digit(),
        12 => matches!(byte, b' ' | b'\r' | b'\n'),
        _ => true,
    };
    if !bytes.iter().take(13).enumerate().all(|(at, byte)| fits(at, *byte)) || bytes.len() > LONGEST_LINE {
        Begins::No
    } else if bytes.len() > 12 && bytes.ends_with(b"\n") {
        Begins::Yes
    } else {
        Begins::Maybe
    }
}

/// Whether the piece holds the whole first line of a message at its beginning.
pub(super) fn begins_with(bytes: &[u8], look: fn(&[u8], usize) -> Begins) -> bool {
    // The cheap look first: almost no piece does.
    if !matches!(look(bytes.get(..4).unwrap_or_default(), 0), Begins::Maybe | Begins::Yes) {
        return false;
    }
    let line = bytes.get(..bytes.len().min(LONGEST_LINE)).unwrap_or_default();
    memchr(b'\n', line).and_then(|end| line.get(..=end)).is_some_and(|line| look(line, line.len()) == Begins::Yes)
}

/// Head of a request.
#[derive(Debug, Default)]
pub(super) struct RequestHead {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Headers,
}

impl RequestHead {
    /// Parses a head that ends in a blank line.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (bytes, most) = prepare(bytes);
        let mut fields = vec![httparse::EMPTY_HEADER; most];
        let mut request = httparse::Request::new(&mut fields);
        let mut config = httparse::ParserConfig::default();
        config.ignore_invalid_headers_in_requests(true).allow_multiple_spaces_in_request_line_delimiters(true);
        if !config.parse_request(&mut request, &bytes).ok()?.is_complete() {
            return None;
        }
        let method = request.method?.to_owned();
        let target = pipeline::mask::target(request.path?).into_owned();
        Some(Self { method, target, headers: fields::headers(request.headers) })
    }

    /// Parses what there is of a head: its whole lines.
    pub(super) fn parse_part(bytes: &[u8]) -> Option<Self> {
        Self::parse(&closed(bytes)?)
    }

    /// `Host`, else the authority of an absolute target.
    pub(super) fn host(&self) -> Option<&str> {
        let of_target = || {
            let (_, rest) = self.target.split_once("://")?;
            let authority = rest.split(['/', '?', '#']).next()?;
            Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
        };
        match self.headers.get("host").map(str::trim) {
            Some(host) if !host.is_empty() => Some(host),
            _ if self.method == "CONNECT" => Some(&self.target),
            _ => of_target(),
        }
    }
}

/// Head of a response.
#[derive(Debug, Default)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) headers: Headers,
}

impl ResponseHead {
    /// Parses a head that ends in a blank line.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (bytes, most) = prepare(bytes);
        let mut fields = vec![httparse::EMPTY_HEADER; most];
        let mut response = httparse::Response::new(&mut fields);
        let mut config = httparse::ParserConfig::default();
        config
            .ignore_invalid_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true);
        if !config.parse_response(&mut response, &bytes).ok()?.is_complete() {
            return None;
        }
        Some(Self { status: response.code?, headers: fields::headers(response.headers) })
    }

    /// Parses what there is of a head: its whole lines.
    pub(super) fn parse_part(bytes: &[u8]) -> Option<Self> {
        Self::parse(&closed(bytes)?)
    }
}

/// The whole lines of a part of a head, with a blank line.
fn closed(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = memchr::memrchr(b'\n', bytes)?;
    let mut lines = bytes.get(..=end)?.to_vec();
    lines.extend_from_slice(b"\r\n");
    Some(lines)
}

/// Joins folded lines (RFC 9112, section 5.2: each fold is as good as blanks); tells how many fields there can be.
fn prepare(bytes: &[u8]) -> (Cow<'_, [u8]>, usize) {
    let lines = memchr::memchr_iter(b'\n', bytes).count().min(MOST_FIELDS);
    if memmem::find(bytes, b"\n ").is_none() && memmem::find(bytes, b"\n\t").is_none() {
        return (Cow::Borrowed(bytes), lines);
    }
    let mut joined = bytes.to_vec();
    for at in 0..joined.len() {
        if joined.get(at) == Some(&b'\n') && matches!(joined.get(at + 1), Some(b' ' | b'\t')) {
            for place in [Some(at), at.checked_sub(1)].into_iter().flatten() {
                if let Some(byte) = joined.get_mut(place).filter(|byte| matches!(**byte, b'\n' | b'\r')) {
                    *byte = b' ';
                }
            }
        }
    }
    (Cow::Owned(joined), lines)
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Close,
    /// The fields that say so contradict each other or make no sense.
    Bad,
}

/// Elements of a field that is a list, in lower case.
fn list(headers: &Headers, name: &str) -> Vec<String> {
    headers
        .0
        .iter()
        .filter(|(key, _)| key == name)
        .flat_map(|(_, value)| value.split(','))
        .map(|element| element.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .filter(|element| !element.is_empty())
        .collect()
}

/// Codings of the body in the order in which they were applied, without the chunked one.
pub(super) fn codings(headers: &Headers) -> Vec<String> {
    let mut codings = list(headers, "content-encoding");
    codings.extend(list(headers, "transfer-encoding").into_iter().filter(|coding| coding != "chunked"));
    codings
}

/// Framing by `Transfer-Encoding` and `Content-Length` (RFC 9112, section 6.3); the latter gives way.
fn framing(headers: &Headers, otherwise: Framing) -> Framing {
    let transfer = list(headers, "transfer-encoding");
    match transfer.last().map(String::as_str) {
        Some("chunked") if transfer.iter().filter(|coding| *coding == "chunked").count() == 1 => {
            return Framing::Chunked;
        }
        Some("identity") | None => {}
        Some(_) => return if otherwise == Framing::Close { Framing::Close } else { Framing::Bad },
    }
    let mut length = None;
    for (_, value) in headers.0.iter().filter(|(key, _)| key == "content-length") {
        for value in value.split(',').map(str::trim) {
            // `parse` would accept a sign.
            match value.parse::<u64>() {
                Ok(value) if !matches!(length, Some(before) if before != value) && value <= i64::MAX as u64 => {
                    length = Some(value);
                }
                _ => return Framing::Bad,
            }
            if !value.bytes().all(|byte| byte.is_ascii_digit()) {
                return Framing::Bad;
            }
        }
    }
    length.map_or(otherwise, Framing::Length)
}

/// How a request's body ends.
pub(super) fn request_framing(head: &RequestHead) -> Framing {
    framing(&head.headers, Framing::None)
}

/// How the body of a final response to a request with this method ends.
pub(super) fn response_framing(method: &str, head: &ResponseHead) -> Framing {
    match head.status {
        100..200 | 204 | 304 => Framing::None,
        _ if method == "HEAD" => Framing::None,
        200..300 if method == "CONNECT" => Framing::None,
        _ => framing(&head.headers, Framing::Close),
    }
}
