//! The chunked transfer coding (RFC 9112, section 7.1), taken off byte by byte. Extensions and trailers are passed over.

use memchr::memchr;

/// Longest line of a chunk's size with its extensions, and all trailers together.
const LONGEST: usize = 64 * 1024;

/// Where in the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the digits of a chunk's size.
    Size,
    /// After the digits, up to the line's end.
    Extension,
    /// In a chunk; `size` bytes are left of it.
    Data,
    /// In the line end after a chunk.
    DataEnd,
    /// After the last chunk; true at the start of a line.
    Trailer(bool),
    /// In a blank line after the last chunk, before its LF.
    TrailerEnd,
}

/// How far a piece of the body brought the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More must come.
    More,
    /// The message ended after so many bytes of the piece.
    Done(usize),
    /// These bytes are not in the chunked coding.
    Bad,
}

/// True if a piece looks as if it began with a chunk: its size, and a line end where it should be. For finding the way
/// back when framing was lost.
pub(super) fn begins_chunk(bytes: &[u8]) -> bool {
    let digits = bytes.iter().take(9).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let size = bytes.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
    let Some(size) = size.filter(|digits| digits.len() < 9).and_then(|size| usize::from_str_radix(size, 16).ok())
    else {
        return false;
    };
    let rest = bytes.get(digits..).unwrap_or_default();
    let Some(rest) = rest.strip_prefix(b"\r\n") else { return false };
    rest.get(size..).is_none_or(|end| end.starts_with(b"\r\n") || b"\r\n".starts_with(end))
}

/// State of the decoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    phase: Phase,
    size: u64,
    digits: u8,
    line: usize,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Size, size: 0, digits: 0, line: 0 }
    }

    /// Bytes left of the present chunk.
    pub(super) fn left(&self) -> u64 {
        if self.phase == Phase::Data { self.size } else { 0 }
    }

    /// So many bytes of a call are missing. False if they were not all within one chunk: framing is lost.
    pub(super) fn hole(&mut self, bytes: u64) -> bool {
        if self.phase != Phase::Data || bytes > self.size {
            return false;
        }
        self.size -= bytes;
        if self.size == 0 {
            self.phase = Phase::DataEnd;
        }
        true
    }

    /// Takes a piece, hands the data in it to `sink`.
    pub(super) fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) -> Progress {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.phase {
                Phase::Data => {
                    let take = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest.len());
                    let (data, _) = rest.split_at(take);
                    sink(data);
                    at += take;
                    self.size -= take as u64;
                    if self.size == 0 {
                        self.phase = Phase::DataEnd;
                    }
                }
                Phase::Extension => {
                    let end = memchr(b'\n', rest);
                    let take = end.map_or(rest.len(), |end| end + 1);
                    at += take;
                    self.line += take;
                    if self.line > LONGEST {
                        return Progress::Bad;
                    }
                    if end.is_some() {
                        self.size_ends();
                    }
                }
                Phase::Trailer(start) => {
                    if start && rest.starts_with(b"\n") {
                        return Progress::Done(at + 1);
                    }
                    if start && rest.starts_with(b"\r") {
                        at += 1;
                        self.phase = Phase::TrailerEnd;
                        continue;
                    }
                    let end = memchr(b'\n', rest);
                    let take = end.map_or(rest.len(), |end| end + 1);
                    at += take;
                    self.line += take;
                    if self.line > LONGEST {
                        return Progress::Bad;
                    }
                    self.phase = Phase::Trailer(end.is_some());
                }
                Phase::Size | Phase::DataEnd | Phase::TrailerEnd => {
                    let byte = rest.first().copied().unwrap_or_default();
                    at += 1;
                    match (self.phase, byte) {
                        (Phase::Size, b'\n') if self.digits > 0 => self.size_ends(),
                        (Phase::Size, b';' | b' ' | b'\t' | b'\r') if self.digits > 0 => {
                            self.phase = Phase::Extension;
                        }
                        (Phase::Size, _) => {
                            let Some(digit) = char::from(byte).to_digit(16).filter(|_| self.digits < 16) else {
                                return Progress::Bad;
                            };
                            self.digits += 1;
                            self.size = self.size << 4 | u64::from(digit);
                        }
                        (Phase::DataEnd, b'\r') if self.line == 0 => self.line = 1,
                        (Phase::DataEnd, b'\n') => *self = Self::new(),
                        (Phase::TrailerEnd, b'\n') => return Progress::Done(at),
                        _ => return Progress::Bad,
                    }
                }
            }
        }
        Progress::More
    }

    fn size_ends(&mut self) {
        self.line = 0;
        self.phase = if self.size == 0 { Phase::Trailer(true) } else { Phase::Data };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(wire: &[u8]) -> (Vec<u8>, Progress) {
        let mut out = Vec::new();
        let progress = Chunked::new().feed(wire, |data| out.extend_from_slice(data));
        (out, progress)
    }

    #[test]
    fn extensions_and_trailers_are_passed_over() {
        let wire = b"4;a=\"b\"\r\nWiki\r\n00005 ;x\r\npedia\r\n0;y\r\nExpires: x\r\nA: b\r\n\r\nNEXT";
        assert_eq!(all(wire), (b"Wikipedia".to_vec(), Progress::Done(wire.len() - 4)));
        assert_eq!(all(b"1\na\n0\n\n"), (b"a".to_vec(), Progress::Done(7)));
    }

    #[test]
    fn what_is_not_chunked_is_told() {
        for wire in
            [&b"\r\n"[..], b"x\r\n", b"fffffffffffffffff\r\n", b"1\r\nab", b"-1\r\n", b"1\r\na\r\r\n", b"0\r\n\rx"]
        {
            assert_eq!(all(wire).1, Progress::Bad, "{wire:?}");
        }
    }

    #[test]
    fn a_hole_within_a_chunk_keeps_the_framing() {
        let mut chunked = Chunked::new();
        let mut out = Vec::new();
        assert_eq!(chunked.feed(b"a\r\n01", |data| out.extend_from_slice(data)), Progress::More);
        assert!(chunked.hole(8));
        assert_eq!(chunked.feed(b"\r\n1\r\nx\r\n0\r\n\r\n", |data| out.extend_from_slice(data)), Progress::Done(13));
        assert_eq!(out, b"01x");
        assert!(!Chunked::new().hole(1));
    }
}
