//! Server-sent events in a whole decoded body, as the WHATWG HTML standard says (section 9.2.6, "Interpreting an event
//! stream"): lines end with CR, LF or CRLF; a byte order mark at the beginning is ignored; a blank line ends an event; an
//! event with no data is none. `retry` is of no use here.
//!
//! Nothing is copied but the data of events with several `data` lines and text that is not UTF-8. One pass: linear time.

use std::borrow::Cow;

use memchr::memchr2;

/// An event and where it is in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Offset of its first byte: of its first field, after comments.
    pub offset: usize,
    /// Offset after the blank line that ends it; the body's length if that never came.
    pub end: usize,
    /// Its type; empty if none was given (which means `message`).
    pub event: Cow<'a, str>,
    /// Its data; lines joined by LF.
    pub data: Cow<'a, str>,
    /// Its own `id` field, if it has one.
    pub id: Option<Cow<'a, str>>,
    /// False for a last event whose blank line never came: its data may be cut.
    pub complete: bool,
}

/// The events of a body, in order. A last one without its blank line is given too, with `complete: false`.
pub fn events(body: &[u8]) -> Events<'_> {
    let at = if body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    Events { body, at }
}

/// Iterator over the events of a body, see [`events`].
#[derive(Clone, Debug)]
pub struct Events<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Events<'a> {
    /// The line at the current place, without its end, and whether it had one. Moves on.
    fn line(&mut self) -> Option<(&'a [u8], bool)> {
        let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
        let Some(length) = memchr2(b'\n', b'\r', rest) else {
            self.at = self.body.len();
            return Some((rest, false));
        };
        let (line, end) = rest.split_at_checked(length)?;
        self.at += length + if end.starts_with(b"\r\n") { 2 } else { 1 };
        Some((line, true))
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let mut offset = None;
        let (mut event, mut id) = (Cow::Borrowed(""), None);
        let mut data: Option<Cow<'a, str>> = None;
        loop {
            let start = self.at;
            let Some((line, ended)) = self.line() else {
                // The body ends within an event, or after the last one.
                let (data, offset) = (data?, offset?);
                return Some(Event { offset, end: self.at, event, data, id, complete: false });
            };
            if line.is_empty() && ended {
                match (data.take(), offset.take()) {
                    // By the standard, an event whose data is the empty string is not dispatched.
                    (Some(data), Some(offset)) if !data.is_empty() => {
                        return Some(Event { offset, end: self.at, event, data, id, complete: true });
                    }
                    _ => {
                        event = Cow::Borrowed("");
                        id = None;
                        continue;
                    }
                }
            }
            let (name, value) = match memchr::memchr(b':', line) {
                Some(0) => continue,
                Some(colon) => {
                    let (name, value) = line.split_at(colon);
                    let value = value.get(1..).unwrap_or_default();
                    (name, value.strip_prefix(b" ").unwrap_or(value))
                }
                None => (line, &[][..]),
            };
            offset.get_or_insert(start);
            match name {
                b"data" => {
                    let value = String::from_utf8_lossy(value);
                    data = Some(match data {
                        None => value,
                        Some(before) => {
                            let mut joined = before.into_owned();
                            joined.push('\n');
                            joined.push_str(&value);
                            Cow::Owned(joined)
                        }
                    });
                }
                b"event" => event = String::from_utf8_lossy(value),
                b"id" if !value.contains(&0) => id = Some(String::from_utf8_lossy(value)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(body: &str) -> Vec<(usize, usize, String, String, bool)> {
        events(body.as_bytes())
            .map(|e| (e.offset, e.end, e.event.into_owned(), e.data.into_owned(), e.complete))
            .collect()
    }

    #[test]
    fn fields_and_offsets() {
        let body = "event: a\ndata: {\"x\":1}\n\n: ping\n\ndata:two\ndata: lines\nid: 7\n\n";
        assert_eq!(
            list(body),
            [(0, 24, "a".into(), "{\"x\":1}".into(), true), (32, body.len(), String::new(), "two\nlines".into(), true)]
        );
        assert_eq!(events(body.as_bytes()).nth(1).unwrap().id.as_deref(), Some("7"));
        assert!(matches!(events(body.as_bytes()).next().unwrap().data, Cow::Borrowed(_)));
    }

    #[test]
    fn line_ends_byte_order_mark_and_comments() {
        for end in ["\n", "\r", "\r\n"] {
            let body = format!("\u{feff}:c{end}data:  x{end}{end}event:e{end}data{end}data{end}{end}");
            let got = list(&body);
            assert_eq!(got.len(), 2, "{end:?}");
            assert_eq!((got[0].0, got[0].3.as_str()), (3 + 2 + end.len(), " x"));
            assert_eq!((got[1].2.as_str(), got[1].3.as_str()), ("e", "\n"));
        }
    }

    #[test]
    fn an_event_without_data_is_none() {
        assert_eq!(list("event: x\n\ndata\n\ndata: y\n\n").len(), 1);
    }

    #[test]
    fn an_unterminated_event_is_given_as_such() {
        assert_eq!(
            list("data: a\n\ndata: b"),
            [(0, 9, String::new(), "a".into(), true), (9, 16, String::new(), "b".into(), false)]
        );
        assert_eq!(list("data: b\n"), [(0, 8, String::new(), "b".into(), false)]);
        assert!(list("").is_empty() && list("event: x").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes(body in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..200)) {
            let mut last = 0;
            for event in events(&body) {
                prop_assert!(last <= event.offset && event.offset < event.end && event.end <= body.len());
                last = event.end;
            }
        }

        #[test]
        fn what_is_written_is_read(data in proptest::collection::vec("[^\r\n]{1,20}", 0..20)) {
            let body: String = data.iter().map(|d| format!("event: e\r\ndata: {d}\r\n\r\n")).collect();
            let got: Vec<String> = events(body.as_bytes()).map(|e| e.data.into_owned()).collect();
            prop_assert_eq!(got, data);
        }
    }
}
