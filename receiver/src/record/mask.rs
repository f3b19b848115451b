//! Overwrites credentials in plaintext with `*`, keeping every length.
//!
//! It does not parse messages, so that no framing error can let a credential through. It works on lines, in heads and
//! bodies alike: the value of a header line with a secret name ([`is_sensitive_header`]), the value of a secret query key
//! after `?` or `&`, the value of a JSON string member with a secret name (the answers of token endpoints). HTTP/2 compresses
//! its headers, so there they are found by its frames ([`http2`]). Bytes of another connection are overwritten entirely. JSON-RPC on pipes is
//! treated as lines of a body; what is encrypted, and look-ups of names, are kept as they are.
//!
//! The state is one byte machine per connection and direction: any split of a call into chunks gives the same bytes.

mod fields;
mod http2;

use std::collections::HashMap;

use pipeline::ProcessKey;

use crate::{
    event::{Chunk, Direction, Source},
    streams::{http2_coding, is_sensitive_header},
};
use http2::Frames;

/// Query keys that carry credentials.
const QUERY: &[&str] = &[
    "key",
    "api_key",
    "apikey",
    "api-key",
    "access_token",
    "refresh_token",
    "id_token",
    "token",
    "auth",
    "authorization",
    "password",
    "secret",
    "client_secret",
    "sig",
    "signature",
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-credential",
    "x-goog-signature",
    "x-goog-credential",
    "code",
    "code_verifier",
    "assertion",
    "client_assertion",
    "auth_token",
    "session_token",
    "private_token",
    "passwd",
];

/// Members of JSON objects that carry credentials. Exact names: `"token"` is a piece of text in log probabilities.
const MEMBERS: &[&str] = &[
    "access_token",
    "refresh_token",
    "id_token",
    "session_token",
    "client_secret",
    "api_key",
    "apikey",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "clientsecret",
    "password",
    "authorization",
    "code_verifier",
    "device_code",
    "secret",
    "secret_key",
    "secretkey",
    "secret_access_key",
    "secretaccesskey",
    "aws_secret_access_key",
    "sessiontoken",
    "private_key",
    "privatekey",
    "auth_token",
    "authtoken",
    "bearer_token",
    "passwd",
    "passphrase",
    "client_assertion",
    "cookie",
    "set-cookie",
    "x-api-key",
];

/// What a call that begins an HTTP/1 message begins with.
const BEGINNINGS: &[&[u8]] =
    &[b"GET ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"HEAD ", b"OPTIONS ", b"CONNECT ", b"TRACE ", b"HTTP/1."];

/// The preface of HTTP/2 (RFC 9113, section 3.4), as far as it is needed to know it.
const PREFACE: &[u8] = b"PRI * HTTP/2";

/// Longest name that is collected. Longer ones are no names: lines of base64, mostly.
const LONGEST: usize = 64;

/// A name that is being collected, in lower case.
#[derive(Clone, Copy)]
struct Name {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Name {
    const EMPTY: Name = Name { bytes: [0; LONGEST], length: 0 };

    /// Adds a byte; false if it is full.
    fn push(&mut self, byte: u8) -> bool {
        let Some(slot) = self.bytes.get_mut(self.length) else { return false };
        *slot = byte.to_ascii_lowercase();
        self.length += 1;
        true
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
enum State {
    /// Not (yet) HTTP/1. `Some(n)`: the call so far equals the first n bytes of a beginning.
    Opaque(Option<Name>),
    /// After a loss, at the beginning of a call: a new message, or the rest of a line that may be secret.
    Resume(Name),
    /// HTTP/2: not to be read here.
    Locked,
    /// At the start of a line; true after a secret one, which a blank continues (RFC 9112, section 5.2).
    Start(bool),
    /// In what may be a header's name.
    Header(Name),
    /// Plain, to the end of the line.
    Plain,
    /// Secret, to the end of the line.
    Secret,
    /// In what may be a query key.
    Key(Name),
    /// In the value of a secret query key.
    Value,
    /// In what may be a JSON member's name.
    Member(Name),
    /// After a secret member's name; true after its colon.
    Colon(bool),
    /// In the value of a secret member; true after a backslash.
    Text(bool),
}

/// One direction of a connection.
struct Lane {
    state: State,
    /// What the chunk after the last one must say: (total of its call, offset). Offset = total: a new call.
    next: (u64, u64),
}

impl Lane {
    const NEW: Lane = Lane { state: State::Opaque(None), next: (0, 0) };
}

struct Connection {
    read: Lane,
    write: Lane,
    /// Read, write, if it speaks HTTP/2.
    http2: Option<Box<[Frames; 2]>>,
}

impl Connection {
    const NEW: Connection = Connection { read: Lane::NEW, write: Lane::NEW, http2: None };

    /// The masked bytes, if the connection speaks HTTP/2. `gap`: bytes that are missing before them; `None` if none are,
    /// `Some(None)` if their number is not known.
    fn http2(&mut self, chunk: &Chunk, gap: Option<Option<u64>>) -> Option<Vec<u8>> {
        let border = chunk.offset == 0;
        let opaque = |lane: &Lane| matches!(lane.state, State::Opaque(_));
        if self.http2.is_none()
            && border
            && opaque(&self.read)
            && opaque(&self.write)
            && http2_coding::begins(&chunk.bytes)
        {
            self.http2 = Some(Box::new([Frames::new(), Frames::new()]));
        }
        let [read, write] = &mut **self.http2.as_mut()?;
        let frames = if chunk.direction == Direction::Read { read } else { write };
        if border && frames.at_rest() && BEGINNINGS.iter().any(|beginning| chunk.bytes.starts_with(beginning)) {
            // The address serves another connection.
            self.http2 = None;
            self.read.state = State::Opaque(None);
            self.write.state = State::Opaque(None);
            return None;
        }
        if let Some(gap) = gap {
            frames.hole(gap);
        }
        let mut out = chunk.bytes.to_vec();
        frames.mask(&mut out, border);
        Some(out)
    }
}

/// Masks the plaintext of all connections.
#[derive(Default)]
pub struct Masker {
    connections: HashMap<(ProcessKey, u64), Connection>,
}

impl Masker {
    /// The bytes of a chunk without credentials. Chunks of a connection must come in order.
    pub fn mask(&mut self, process: ProcessKey, chunk: &Chunk) -> Vec<u8> {
        // The beginnings of TLS connections are no secret, their records are encrypted, and a look-up holds a name.
        if matches!(chunk.source, Source::Handshake | Source::Dns) {
            return chunk.bytes.to_vec();
        }
        let connection = self.connections.entry((process, chunk.object)).or_insert(Connection::NEW);
        let (total, offset) = match chunk.direction {
            Direction::Read => connection.read.next,
            Direction::Write => connection.write.next,
        };
        let whole = if chunk.offset == 0 { offset == total } else { (chunk.total, chunk.offset) == (total, offset) };
        let gap = match total.checked_sub(offset) {
            Some(left) if chunk.offset == 0 => Some(left),
            _ if chunk.total == total => chunk.offset.checked_sub(offset),
            left => left.map(|left| left.saturating_add(chunk.offset)),
        };
        let masked = if chunk.source == Source::Pipe { None } else { connection.http2(chunk, (!whole).then_some(gap)) };
        let (lane, other) = match chunk.direction {
            Direction::Read => (&mut connection.read, &mut connection.write),
            Direction::Write => (&mut connection.write, &mut connection.read),
        };
        if let Some(masked) = masked {
            lane.next = (chunk.total, chunk.offset.saturating_add(chunk.bytes.len() as u64));
            return masked;
        }
        if !whole && !matches!(lane.state, State::Opaque(_) | State::Locked) {
            // The lost bytes may have been the beginning of a secret line; or a new call begins a new message.
            lane.state = if chunk.offset == 0 { State::Resume(Name::EMPTY) } else { State::Secret };
        }
        // The kernel side knows JSON-RPC before it copies anything.
        if chunk.source == Source::Pipe && matches!(lane.state, State::Opaque(_)) {
            lane.state = State::Start(false);
        }
        if let State::Opaque(matched) = &mut lane.state {
            if chunk.offset == 0 {
                *matched = Some(Name::EMPTY);
            } else if !whole {
                *matched = None;
            }
        }
        lane.next = (chunk.total, chunk.offset.saturating_add(chunk.bytes.len() as u64));
        let mut out = Vec::with_capacity(chunk.bytes.len());
        let mut rest = chunk.bytes.as_ref();
        while let Some((byte, after)) = rest.split_first() {
            if matches!(lane.state, State::Plain) {
                let plain =
                    rest.iter().position(|byte| matches!(byte, b'\n' | b'?' | b'&' | b'"')).unwrap_or(rest.len());
                if plain > 0 {
                    let (head, tail) = rest.split_at(plain);
                    out.extend_from_slice(head);
                    rest = tail;
                    continue;
                }
            }
            out.push(step(&mut lane.state, *byte));
            rest = after;
            if matches!(lane.state, State::Locked) {
                // The client's preface: what follows are frames, and what comes the other way too.
                let mut own = Frames::in_preface(PREFACE.len());
                let theirs = if other.next == (0, 0) { Frames::at_first() } else { Frames::new() };
                let done = out.len();
                out.extend_from_slice(rest);
                own.mask(out.get_mut(done..).unwrap_or_default(), false);
                connection.http2 = Some(Box::new(match chunk.direction {
                    Direction::Read => [own, theirs],
                    Direction::Write => [theirs, own],
                }));
                break;
            }
        }
        out
    }

    /// A TLS object was freed: its address may serve another connection.
    pub fn close(&mut self, process: ProcessKey, object: u64) {
        self.connections.remove(&(process, object));
    }

    /// A process ended.
    pub fn exit(&mut self, process: ProcessKey) {
        self.connections.retain(|(owner, _), _| *owner != process);
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'!' | b'#' | b'$' | b'%' | b'\'' | b'*')
}

/// A byte of a plain line.
fn plain(byte: u8) -> State {
    match byte {
        b'\n' => State::Start(false),
        b'?' | b'&' => State::Key(Name::EMPTY),
        b'"' => State::Member(Name::EMPTY),
        _ => State::Plain,
    }
}

/// A byte of a secret line.
fn secret(byte: u8, written: &mut u8) -> State {
    match byte {
        b'\n' => return State::Start(true),
        b'\r' | b' ' => {}
        _ => *written = b'*',
    }
    State::Secret
}

/// Moves on by one byte and gives what is to be written for it.
fn step(state: &mut State, byte: u8) -> u8 {
    let mut written = byte;
    *state = match *state {
        State::Locked => {
            written = b'*';
            State::Locked
        }
        State::Opaque(matched) => match matched.and_then(|name| begin(name, byte)) {
            Some(next) => next,
            None => {
                written = b'*';
                State::Opaque(None)
            }
        },
        State::Resume(so_far) => match begin(so_far, byte) {
            Some(State::Opaque(Some(so_far))) => State::Resume(so_far),
            Some(next) => next,
            None => secret(byte, &mut written),
        },
        State::Start(true) if matches!(byte, b' ' | b'\t') => State::Secret,
        State::Start(_) if is_token(byte) => {
            let mut name = Name::EMPTY;
            name.push(byte);
            State::Header(name)
        }
        State::Start(_) | State::Plain => plain(byte),
        State::Header(mut name) => match byte {
            b':' if is_sensitive_header(name.as_str()) => State::Secret,
            _ if is_token(byte) => {
                if name.push(byte) {
                    State::Header(name)
                } else {
                    State::Plain
                }
            }
            _ => plain(byte),
        },
        State::Secret => secret(byte, &mut written),
        State::Key(mut name) => match byte {
            b'=' if QUERY.contains(&name.as_str()) => State::Value,
            _ if is_token(byte) && name.push(byte) => State::Key(name),
            _ => plain(byte),
        },
        State::Value => match byte {
            b'\r' | b'\n' | b'&' | b' ' | b'#' | b'"' | b'\'' | b'\\' | b'<' | b'>' => plain(byte),
            _ => {
                written = b'*';
                State::Value
            }
        },
        State::Member(mut name) => match byte {
            b'"' if MEMBERS.contains(&name.as_str()) => State::Colon(false),
            // It may have been the end of a string, and this one the beginning of the next.
            _ if is_token(byte) && name.push(byte) => State::Member(name),
            _ => plain(byte),
        },
        State::Colon(seen) => match byte {
            b' ' | b'\t' => State::Colon(seen),
            b':' if !seen => State::Colon(true),
            b'"' if seen => State::Text(false),
            _ => plain(byte),
        },
        State::Text(escaped) => match byte {
            b'"' if !escaped => State::Plain,
            b'\n' => State::Start(false),
            _ => {
                written = b'*';
                State::Text(byte == b'\\' && !escaped)
            }
        },
    };
    written
}

/// The next state of a call that so far equals the beginning of a message; `None` if it does not any more.
fn begin(mut so_far: Name, byte: u8) -> Option<State> {
    let slot = so_far.bytes.get_mut(so_far.length)?;
    *slot = byte;
    so_far.length += 1;
    let text = so_far.bytes.get(..so_far.length)?;
    if BEGINNINGS.contains(&text) {
        return Some(State::Plain);
    }
    if text == PREFACE {
        return Some(State::Locked);
    }
    let possible = PREFACE.starts_with(text) || BEGINNINGS.iter().any(|beginning| beginning.starts_with(text));
    possible.then_some(State::Opaque(Some(so_far)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROCESS: ProcessKey = ProcessKey { tgid: 1, start: 2 };

    /// Masks calls, each cut at these places.
    fn mask(calls: &[&[u8]], cuts: &[usize]) -> String {
        let mut masker = Masker::default();
        let mut out = Vec::new();
        for call in calls {
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (call.len() + 1)).collect();
            places.extend([0, call.len()]);
            places.sort_unstable();
            places.dedup();
            for pair in places.windows(2) {
                let chunk = Chunk {
                    source: crate::event::Source::Tls,
                    socket: 0,
                    object: 9,
                    direction: Direction::Write,
                    total: call.len() as u64,
                    offset: pair[0] as u64,
                    bytes: call[pair[0]..pair[1]].to_vec().into(),
                };
                out.extend(masker.mask(PROCESS, &chunk));
            }
        }
        String::from_utf8(out).unwrap()
    }

    const REQUEST: &[u8] = b"POST /v1/x?key=SECRETQ&alt=sse HTTP/1.1\r\nHost: api.openai.com\r\n\
        Authorization: Bearer SECRET-A\r\nX-Goog-Api-Key:SECRETG\r\nCookie: a=SECRETC;\r\n  SECRETF\r\n\
        x-ratelimit-remaining-tokens: 12\r\nContent-Length: 99\r\n\r\n";
    const BODY: &[u8] =
        b"{\"model\":\"m\",\"refresh_token\" : \"SECRET\\\"R\",\"text\":\"key: value\",\"token\":\"Hi\"}";
    const MASKED: &str = "POST /v1/x?key=*******&alt=sse HTTP/1.1\r\nHost: api.openai.com\r\n\
        Authorization: ****** ********\r\nX-Goog-Api-Key:*******\r\nCookie: **********\r\n  *******\r\n\
        x-ratelimit-remaining-tokens: 12\r\nContent-Length: 99\r\n\r\n\
        {\"model\":\"m\",\"refresh_token\" : \"*********\",\"text\":\"key: value\",\"token\":\"Hi\"}";

    #[test]
    fn credentials_are_overwritten_and_nothing_else() {
        assert_eq!(mask(&[REQUEST, BODY], &[]), MASKED);
    }

    #[test]
    fn the_next_request_of_a_connection_is_masked_too() {
        let masked = mask(&[REQUEST, BODY, REQUEST, BODY], &[]);
        assert_eq!(masked, MASKED.repeat(2));
        let glued = [REQUEST, BODY, REQUEST].concat();
        assert!(!mask(&[&glued], &[]).contains("SECRET"));
    }

    #[test]
    fn what_is_not_http_1_is_overwritten_entirely() {
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(mask(&[preface.as_bytes(), b"SECRET no frame"], &[]), format!("{preface}***************"));
        let again = [preface.as_bytes(), b"GET /?key=SECRET HTTP/1.1\r\n"];
        assert_eq!(mask(&again, &[]), format!("{preface}GET /?key=****** HTTP/1.1\r\n"));
        assert_eq!(mask(&[b"\x16\x03binary"], &[]), "********");
        assert_eq!(mask(&[b"tail of something", b"GET /a HTTP/1.1\r\n"], &[]), "*****************GET /a HTTP/1.1\r\n");
    }

    #[test]
    fn after_a_loss_the_rest_of_the_line_is_overwritten() {
        let mut masker = Masker::default();
        let mut chunk = |offset: u64, bytes: &'static [u8]| {
            let chunk = Chunk {
                source: crate::event::Source::Tls,
                socket: 0,
                object: 1,
                direction: Direction::Write,
                total: 99,
                offset,
                bytes: bytes.into(),
            };
            String::from_utf8(masker.mask(PROCESS, &chunk)).unwrap()
        };
        assert_eq!(chunk(0, b"GET /a HTTP/1.1\r\nauthoriz"), "GET /a HTTP/1.1\r\nauthoriz");
        assert_eq!(chunk(40, b"SECRET\r\nhost: x"), "******\r\nhost: x");
        assert_eq!(chunk(0, b"GET /b?key=SECRET HTTP/1.1\r\n"), "GET /b?key=****** HTTP/1.1\r\n");
        assert_eq!(chunk(0, b"PSECRET\r\nhost: x"), "P******\r\nhost: x");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_bytes(cuts in proptest::collection::vec(0usize..400, 0..12)) {
            prop_assert_eq!(mask(&[REQUEST, BODY], &cuts), MASKED);
        }

        #[test]
        fn lengths_are_kept_for_any_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            cut in 0usize..300,
            started in any::<bool>(),
        ) {
            let mut call = if started { b"POST / HTTP/1.1\r\n".to_vec() } else { Vec::new() };
            call.extend(bytes);
            let mut whole = Masker::default();
            let mut split = Masker::default();
            let total = call.len() as u64;
            let cut = cut.min(call.len());
            let chunk = |from: usize, to: usize| Chunk {
                source: crate::event::Source::Tls,
                socket: 0,
                object: 1, direction: Direction::Read, total, offset: from as u64, bytes: call[from..to].to_vec().into(),
            };
            let one = whole.mask(PROCESS, &chunk(0, call.len()));
            let mut two = split.mask(PROCESS, &chunk(0, cut));
            if cut > 0 && cut < call.len() {
                two.extend(split.mask(PROCESS, &chunk(cut, call.len())));
                prop_assert_eq!(&one, &two);
            }
            prop_assert_eq!(one.len(), call.len());
        }
    }
}
