//! Server-sent events while they arrive (WHATWG HTML, section 9.2.6): what [`pipeline::sse`] makes of a whole body, piece by
//! piece. Any split of the bytes gives the same events.

use memchr::memchr2;
use pipeline::Timestamp;

/// An event that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type; empty if none was given.
    pub kind: String,
    /// Its data; lines joined by LF.
    pub data: Vec<u8>,
    /// When its first line began.
    pub started: Timestamp,
    /// When the blank line that ends it came.
    pub ended: Timestamp,
}

/// One event stream.
#[derive(Debug)]
pub struct Cutter {
    /// The present line.
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    kind: Vec<u8>,
    started: Option<Timestamp>,
    /// Bytes so far, as far as a byte order mark may still come.
    begun: bool,
    /// The last byte was CR: a LF now is of the same line end.
    returned: bool,
    /// The present event is too long, or bytes of it are missing.
    broken: bool,
    /// Most bytes that are held.
    limit: usize,
}

impl Cutter {
    /// A stream whose events have at most so many bytes; longer ones are passed over.
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            data: None,
            kind: Vec::new(),
            started: None,
            begun: false,
            returned: false,
            broken: false,
            limit,
        }
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.line.capacity() + self.data.as_ref().map_or(0, Vec::capacity) + self.kind.capacity()
    }

    /// Bytes are missing here: the present event is lost, and of the next one too if its beginning is.
    pub fn hole(&mut self) {
        self.clear();
        self.broken = true;
    }

    fn clear(&mut self) {
        self.line = Vec::new();
        self.data = None;
        self.kind.clear();
        self.started = None;
        self.broken = false;
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8], time: Timestamp, out: &mut Vec<Event>) {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.returned) && *first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let end = memchr2(b'\n', b'\r', bytes);
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.is_empty() && !line.is_empty() && self.started.is_none() {
                self.started = Some(time);
            }
            let held = self.line.len() + self.data.as_ref().map_or(0, Vec::len) + line.len();
            if held > self.limit {
                self.broken = true;
                self.data = None;
                // So much that the line is not taken for a blank one.
                self.line = vec![b':'];
            } else {
                self.line.extend_from_slice(line);
            }
            let Some(end) = rest.first() else { return };
            self.returned = *end == b'\r';
            bytes = rest.get(1..).unwrap_or_default();
            self.end_of_line(time, out);
        }
    }

    fn end_of_line(&mut self, time: Timestamp, out: &mut Vec<Event>) {
        let line = std::mem::take(&mut self.line);
        let mark = if std::mem::replace(&mut self.begun, true) { None } else { line.strip_prefix(b"\xef\xbb\xbf") };
        let line = mark.unwrap_or(&line);
        if line.is_empty() {
            let (data, started, broken) = (self.data.take(), self.started, self.broken);
            let kind = String::from_utf8_lossy(&self.kind).into_owned();
            self.clear();
            if let Some(data) = data.filter(|data| !data.is_empty() && !broken) {
                out.push(Event { kind, data, started: started.unwrap_or(time), ended: time });
            }
            return;
        }
        let (name, value) = match memchr::memchr(b':', line) {
            // A comment begins no event.
            Some(0) => {
                if self.data.is_none() && self.kind.is_empty() {
                    self.started = None;
                }
                return;
            }
            Some(colon) => {
                let (name, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match name {
            b"data" if !self.broken => match &mut self.data {
                None => self.data = Some(value.to_vec()),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            b"event" => self.kind = value.to_vec(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::sse;
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    fn cut(body: &[u8], cuts: &[Index]) -> Vec<(String, Vec<u8>)> {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        places.extend([0, body.len()]);
        places.sort_unstable();
        let (mut cutter, mut out) = (Cutter::new(1 << 20), Vec::new());
        for piece in places.windows(2) {
            cutter.push(&body[piece[0]..piece[1]], Timestamp(1), &mut out);
        }
        out.into_iter().map(|event| (event.kind, event.data)).collect()
    }

    #[test]
    fn times_are_those_of_the_first_and_the_last_byte() {
        let (mut cutter, mut out) = (Cutter::new(100), Vec::new());
        for (time, piece) in
            [(1, ": ping\n\n"), (2, "event: me"), (3, "ssage\ndata: {}\n"), (4, "\n"), (5, "data: x\r\n\r")]
        {
            cutter.push(piece.as_bytes(), Timestamp(time), &mut out);
        }
        let told: Vec<_> = out.iter().map(|event| (event.kind.as_str(), event.started.0, event.ended.0)).collect();
        assert_eq!(told, [("message", 2, 4), ("", 5, 5)]);
    }

    #[test]
    fn what_is_too_long_or_holed_is_passed_over() {
        let (mut cutter, mut out) = (Cutter::new(64), Vec::new());
        for _ in 0..100 {
            cutter.push(b"data: xxxxxxxxxxxxxxx", Timestamp(1), &mut out);
            assert!(cutter.held() < 256);
        }
        cutter.push(b"\ndata: more\n\ndata: a\n\ndata: b", Timestamp(1), &mut out);
        cutter.hole();
        cutter.push(b"c\ndata: d\n\ndata: e\n\n", Timestamp(1), &mut out);
        let told: Vec<_> = out.iter().map(|event| event.data.as_slice()).collect();
        assert_eq!(told, [b"a", b"e"]);
    }

    proptest! {
        #[test]
        fn any_split_gives_what_the_whole_gives(parts in vec(prop::sample::select(vec![
            "data: {\"a\":1}", "event: endpoint", "data:x", "data", ": c", "\n", "\r", "\r\n", "\n\n", "id: 7", "\u{feff}", "d",
        ]), 0..30), cuts in vec(any::<Index>(), 0..10)) {
            let body = parts.concat().into_bytes();
            let whole: Vec<_> = sse::events(&body)
                .filter(|event| event.complete)
                .map(|event| (event.event.into_owned(), event.data.into_owned().into_bytes()))
                .collect();
            prop_assert_eq!(cut(&body, &cuts), whole);
        }

        #[test]
        fn nothing_panics(pieces in vec(vec(any::<u8>(), 0..40), 0..20), limit in 0usize..40) {
            let (mut cutter, mut out) = (Cutter::new(limit), Vec::new());
            for piece in pieces {
                cutter.push(&piece, Timestamp(1), &mut out);
                cutter.push(b"\r\n", Timestamp(1), &mut out);
            }
        }
    }
}
