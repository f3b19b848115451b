//! How the pieces of a streamed answer stand in its body: server-sent events, JSON documents one after the other (NDJSON,
//! or the elements of one array), or Amazon's event stream.

use std::borrow::Cow;

use pipeline::{observation::Response, sse};

/// One piece.
pub struct Piece<'a> {
    /// The event's name; empty if it has none.
    pub name: Cow<'a, str>,
    /// A JSON document, or `[DONE]`.
    pub data: Cow<'a, str>,
    /// Offset after it in the body.
    pub end: u64,
}

/// The pieces of a body that is a stream; none if it is one document. `listed`: a list of documents is a stream too, as
/// Gemini's without `alt=sse`.
pub fn pieces(response: &Response, listed: bool) -> Option<Box<dyn Iterator<Item = Piece<'_>> + '_>> {
    let body: &[u8] = &response.body.bytes;
    let kind = response.headers.get("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is = |wanted: &str| kind.eq_ignore_ascii_case(wanted);
    if is("application/vnd.amazon.eventstream") {
        return Some(Box::new(Amazon { body, at: 0 }));
    }
    if ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/stream+json"]
        .into_iter()
        .any(is)
    {
        return Some(Box::new(documents(body, 0)));
    }
    // Some servers name no type, or a wrong one.
    let bare = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if is("text/event-stream") || bare.starts_with(b"data:") || bare.starts_with(b"event:") {
        return Some(Box::new(sse::events(body).map(|event| Piece {
            name: event.event,
            data: event.data,
            end: event.end as u64,
        })));
    }
    let start = body.iter().position(|byte| !byte.is_ascii_whitespace())?;
    (listed && body.get(start) == Some(&b'['))
        .then(|| Box::new(documents(body, start + 1)) as Box<dyn Iterator<Item = Piece<'_>>>)
}

/// JSON objects one after the other, whatever blanks, commas and brackets stand between them. Ends at one that is cut.
fn documents(body: &[u8], from: usize) -> impl Iterator<Item = Piece<'_>> {
    let mut at = from;
    std::iter::from_fn(move || {
        at += body.get(at..)?.iter().position(|byte| *byte == b'{')?;
        let rest = body.get(at..)?;
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&serde_json::value::RawValue>();
        let value = values.next()?.ok()?;
        at += values.byte_offset();
        Some(Piece { name: Cow::Borrowed(""), data: Cow::Borrowed(value.get()), end: at as u64 })
    })
}

/// `application/vnd.amazon.eventstream` (Smithy's "Amazon Event Stream Specification"): lengths of message and headers, their
/// CRC-32, headers, payload, the CRC-32 of all; big endian. It ends at a message that is cut or whose checksums are wrong:
/// what stands after it cannot be told apart.
struct Amazon<'a> {
    body: &'a [u8],
    at: usize,
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

impl<'a> Iterator for Amazon<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let rest = self.body.get(self.at..)?;
        let length = |at| usize::try_from(be32(rest, at)?).ok();
        let (total, headers) = (length(0)?, length(4)?);
        if crc32fast::hash(rest.get(..8)?) != be32(rest, 8)? {
            return None;
        }
        let message = rest.get(..total)?;
        let payload_end = total.checked_sub(4)?;
        if crc32fast::hash(message.get(..payload_end)?) != be32(message, payload_end)? {
            return None;
        }
        let payload_at = headers.checked_add(12)?;
        let said = self::headers(message.get(12..payload_at)?);
        let payload = message.get(payload_at..payload_end)?;
        self.at = self.at.checked_add(total)?;
        let data = match said.error {
            Some(text) => Cow::Owned(serde_json::json!({"message": text}).to_string()),
            None if payload.is_empty() => Cow::Borrowed("{}"),
            None => String::from_utf8_lossy(payload),
        };
        Some(Piece { name: said.name, data, end: self.at as u64 })
    }
}

/// What the headers of a message say.
struct Said<'a> {
    /// The event's type, that of an exception, or `:` and the code of an error of the stream itself.
    name: Cow<'a, str>,
    /// Such an error's message: it has no payload.
    error: Option<String>,
}

fn headers(headers: &[u8]) -> Said<'_> {
    let mut at = 0usize;
    let mut read = || {
        let length = usize::from(*headers.get(at)?);
        let name = headers.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        let kind = *headers.get(at)?;
        // Sizes of the value types: booleans none, byte, short, int, long, bytes, string, time, UUID.
        let size = match kind {
            0 | 1 => 0,
            2 => 1,
            3 => 2,
            4 => 4,
            5 | 8 => 8,
            9 => 16,
            _ => {
                let length: [u8; 2] = headers.get(at + 1..at + 3)?.try_into().ok()?;
                at += 2;
                usize::from(u16::from_be_bytes(length))
            }
        };
        let value = headers.get(at + 1..at + 1 + size)?;
        at += 1 + size;
        Some((name, value))
    };
    let mut said = Said { name: Cow::Borrowed(""), error: None };
    while let Some((name, value)) = read() {
        match name {
            b":event-type" | b":exception-type" => said.name = String::from_utf8_lossy(value),
            b":error-code" => said.name = Cow::Owned(format!(":{}", String::from_utf8_lossy(value))),
            b":error-message" => said.error = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
    }
    said
}

#[cfg(test)]
pub mod tests {
    use bytes::Bytes;
    use pipeline::observation::{Body, Headers};
    use proptest::prelude::*;

    use super::*;

    fn response(kind: &str, body: Vec<u8>) -> Response {
        Response {
            status: 200,
            headers: Headers(vec![("content-type".into(), kind.into())]),
            body: Body { bytes: Bytes::from(body), ..Body::default() },
            ..Response::default()
        }
    }

    /// An event of Amazon's event stream.
    pub fn amazon(name: &str, payload: &str) -> Vec<u8> {
        amazon_message(&[(":message-type", "event"), (":event-type", name)], payload)
    }

    /// A message of Amazon's event stream.
    pub fn amazon_message(fields: &[(&str, &str)], payload: &str) -> Vec<u8> {
        let mut headers = Vec::new();
        for (key, value) in fields {
            headers.push(key.len() as u8);
            headers.extend(key.as_bytes());
            headers.push(7);
            headers.extend((value.len() as u16).to_be_bytes());
            headers.extend(value.as_bytes());
        }
        let total = 16 + headers.len() + payload.len();
        let mut message = Vec::new();
        message.extend((total as u32).to_be_bytes());
        message.extend((headers.len() as u32).to_be_bytes());
        message.extend(crc32fast::hash(&message).to_be_bytes());
        message.extend(headers);
        message.extend(payload.as_bytes());
        message.extend(crc32fast::hash(&message).to_be_bytes());
        message
    }

    fn list(response: &Response) -> Vec<(String, String)> {
        let pieces = pieces(response, true).unwrap();
        pieces.map(|piece| (piece.name.into_owned(), piece.data.into_owned())).collect()
    }

    #[test]
    fn each_framing_is_read() {
        let one = |data: &str| (String::new(), data.to_owned());
        let lines = response("application/x-ndjson", b"{\"a\":1}\n{\"a\":2}\n{\"a\"".to_vec());
        assert_eq!(list(&lines), [one("{\"a\":1}"), one("{\"a\":2}")]);
        let array = response("application/json; charset=UTF-8", b"[{\"a\":1}\n,\r\n{\"a\":{}}]".to_vec());
        assert_eq!(list(&array), [one("{\"a\":1}"), one("{\"a\":{}}")]);
        assert!(pieces(&response("application/json", b"{\"a\":1}".to_vec()), true).is_none());
        let mut body = amazon("messageStart", "{}");
        body.extend(amazon("metadata", "{\"b\":2}"));
        let body = response("application/vnd.amazon.eventstream", body);
        assert_eq!(
            list(&body),
            [("messageStart".into(), "{}".to_owned()), ("metadata".into(), "{\"b\":2}".to_owned())]
        );
    }

    #[test]
    fn amazons_checksums_and_errors_are_heeded() {
        let kind = "application/vnd.amazon.eventstream";
        let first = amazon("messageStart", "{}");
        let mut body = first.clone();
        body.extend(amazon("messageStop", "{\"a\":1}"));
        for at in first.len()..body.len() {
            let mut damaged = body.clone();
            damaged[at] ^= 1;
            assert_eq!(list(&response(kind, damaged)), [("messageStart".into(), "{}".to_owned())], "{at}");
        }
        let fields = [(":message-type", "error"), (":error-code", "InternalFailure"), (":error-message", "no")];
        let failed = response(kind, amazon_message(&fields, ""));
        assert_eq!(list(&failed), [(":InternalFailure".into(), "{\"message\":\"no\"}".to_owned())]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..200), kind in 0usize..3) {
            let kind = ["application/vnd.amazon.eventstream", "application/x-ndjson", ""][kind];
            let response = response(kind, body);
            let count = pieces(&response, true).map_or(0, Iterator::count);
            prop_assert!(count <= 200);
        }
    }
}
