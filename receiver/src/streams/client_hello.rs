//! The ClientHello (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2): the server's name and the protocols that it offers.
//!
//! It may be cut into records, and the records into calls, in any way. Of one whose end is missing, what came counts.

/// Longest that is collected: a handshake message of a record's largest size, a little more than real ones.
const LONGEST: usize = 16 << 10;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What a ClientHello offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The server's name in lower case, without a trailing dot (RFC 6066, section 3).
    pub server_name: Option<String>,
    /// Protocols in the client's order (RFC 7301). Those that are no text (RFC 8701) are left out.
    pub alpn: Vec<String>,
}

/// What there is so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// More must come.
    More,
    /// It is complete.
    Offer(Offer),
    /// It is no ClientHello.
    No,
}

/// Collects a ClientHello from the bytes that a client sends.
#[derive(Debug, Default)]
pub struct Hello {
    /// A record's header, as far as it came.
    header: Vec<u8>,
    /// Bytes that are left of the record.
    left: usize,
    /// The handshake message.
    message: Vec<u8>,
    over: bool,
}

impl Hello {
    /// Takes the next bytes. After anything but `More` there is nothing to come.
    pub fn push(&mut self, mut bytes: &[u8]) -> Found {
        while !self.over {
            let wanted = self.message.get(1..4).map(|length| 4 + be(length));
            if wanted.is_some_and(|wanted| self.message.len() >= wanted) {
                return self.end();
            }
            let Some((first, rest)) = bytes.split_first() else { return Found::More };
            if self.left == 0 {
                self.header.push(*first);
                bytes = rest;
                let fits = match self.header.as_slice() {
                    [kind, rest @ ..] => *kind == HANDSHAKE && rest.first().is_none_or(|major| *major == 3),
                    [] => true,
                };
                if !fits {
                    return self.no();
                }
                if let Some(length) = self.header.get(3..5) {
                    self.left = be(length);
                    self.header.clear();
                    // RFC 8446, section 5.1: records of this kind are never empty.
                    if self.left == 0 {
                        return self.no();
                    }
                }
                continue;
            }
            let take = self.left.min(bytes.len());
            let (now, rest) = bytes.split_at(take);
            self.message.extend_from_slice(now);
            self.left -= take;
            bytes = rest;
            let wanted = self.message.get(1..4).map_or(0, be);
            if self.message.first() != Some(&CLIENT_HELLO) || wanted > LONGEST {
                return self.no();
            }
        }
        Found::No
    }

    /// The rest is missing: what came counts, if there is a name in it.
    pub fn cut(&mut self) -> Found {
        match self.end() {
            Found::Offer(offer) if offer.server_name.is_some() => Found::Offer(offer),
            _ => Found::No,
        }
    }

    fn no(&mut self) -> Found {
        self.over = true;
        self.message = Vec::new();
        Found::No
    }

    fn end(&mut self) -> Found {
        let message = std::mem::take(&mut self.message);
        if std::mem::replace(&mut self.over, true) || message.first() != Some(&CLIENT_HELLO) {
            return Found::No;
        }
        let mut offer = Offer::default();
        // A message that says something impossible about itself offers what came before that.
        let _ = read(&message, &mut offer);
        Found::Offer(offer)
    }
}

/// Big endian.
fn be(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Takes so many bytes from the front.
fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (now, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(now)
}

/// Takes a list that begins with its length in so many bytes; of one that is cut, what there is.
fn list<'a>(bytes: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let length = be(take(bytes, width)?);
    take(bytes, length.min(bytes.len()))
}

fn read(message: &[u8], offer: &mut Offer) -> Option<()> {
    let mut rest = message.get(4..)?;
    // Version and random.
    take(&mut rest, 2 + 32)?;
    // Session, cipher suites, compression methods.
    list(&mut rest, 1)?;
    list(&mut rest, 2)?;
    list(&mut rest, 1)?;
    let mut extensions = list(&mut rest, 2)?;
    loop {
        let kind = be(take(&mut extensions, 2)?);
        let length = be(take(&mut extensions, 2)?);
        // One that is cut may hold half a name.
        let mut body = take(&mut extensions, length)?;
        if kind == usize::from(SERVER_NAME) && offer.server_name.is_none() {
            offer.server_name = server_name(&mut body);
        } else if kind == usize::from(ALPN) && offer.alpn.is_empty() {
            let mut names = list(&mut body, 2).unwrap_or_default();
            while let Some(name) = list(&mut names, 1) {
                let text = name.iter().all(u8::is_ascii_graphic) && !name.is_empty();
                offer.alpn.extend(text.then(|| String::from_utf8_lossy(name).into_owned()));
            }
        }
    }
}

/// The first host name of the list (type 0). Only what may be a name of a host: it goes into telemetry.
fn server_name(body: &mut &[u8]) -> Option<String> {
    let mut names = list(body, 2)?;
    loop {
        let kind = be(take(&mut names, 1)?);
        let length = be(take(&mut names, 2)?);
        let name = take(&mut names, length)?;
        if kind != 0 {
            continue;
        }
        let fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || name.len() > 255 || !name.iter().all(fine) {
            return None;
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        return Some(name.strip_suffix('.').unwrap_or(&name).to_owned());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    fn sized(width: usize, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_be_bytes();
        [&length[4 - width..], body].concat()
    }

    /// A ClientHello in records of at most so many bytes. `padding`: an extension before the names.
    pub(crate) fn hello(name: Option<&str>, alpn: &[&str], padding: usize, record: usize) -> Vec<u8> {
        let mut extensions = [vec![0x2a, 0x2a], sized(2, &vec![0; padding])].concat();
        if let Some(name) = name {
            let entry = [vec![0], sized(2, name.as_bytes())].concat();
            extensions.extend([vec![0, 0], sized(2, &sized(2, &entry))].concat());
        }
        let names: Vec<u8> = alpn.iter().flat_map(|name| sized(1, name.as_bytes())).collect();
        extensions.extend([vec![0, 16], sized(2, &sized(2, &names))].concat());
        let body = [
            vec![3, 3],
            vec![7; 32],
            sized(1, &[8; 32]),
            sized(2, &[0x13, 0x01, 0x13, 0x02]),
            sized(1, &[0]),
            sized(2, &extensions),
        ]
        .concat();
        let message = [vec![CLIENT_HELLO], sized(3, &body)].concat();
        message.chunks(record).flat_map(|part| [vec![HANDSHAKE, 3, 1], sized(2, part)].concat()).collect()
    }

    fn offer(name: Option<&str>, alpn: &[&str]) -> Offer {
        Offer { server_name: name.map(str::to_owned), alpn: alpn.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn names_are_read_and_lowered() {
        let bytes = hello(Some("API.OpenAI.com."), &["h2", "http/1.1"], 0, 16_000);
        let found = Hello::default().push(&bytes);
        assert_eq!(found, Found::Offer(offer(Some("api.openai.com"), &["h2", "http/1.1"])));
        assert_eq!(Hello::default().push(&hello(None, &[], 2_000, 700)), Found::Offer(Offer::default()));
        let odd = hello(Some("a\nb"), &["x\u{7f}", "h2"], 0, 16_000);
        assert_eq!(Hello::default().push(&odd), Found::Offer(offer(None, &["h2"])));
    }

    #[test]
    fn other_bytes_are_none() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x00\x04\x02\0\0\0", b"\x17\x03\x03", b"\x16\x03\x01\0\0"]
        {
            let mut hello = Hello::default();
            assert_eq!(hello.push(bytes), Found::No, "{bytes:?}");
            assert_eq!(hello.push(b"\x16\x03\x01"), Found::No);
        }
        assert_eq!(Hello::default().push(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"), Found::No);
    }

    #[test]
    fn what_came_of_a_cut_one_counts() {
        let bytes = hello(Some("api.anthropic.com"), &["h2"], 0, 16_000);
        let mut whole = Hello::default();
        assert_eq!(whole.push(&bytes[..bytes.len() - 3]), Found::More);
        assert_eq!(whole.cut(), Found::Offer(offer(Some("api.anthropic.com"), &[])));
        let mut early = Hello::default();
        assert_eq!(early.push(&bytes[..100]), Found::More);
        assert_eq!(early.cut(), Found::No);
        assert_eq!(Hello::default().cut(), Found::No);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(padding in 0usize..9_000, record in 1usize..5_000, cuts in vec(any::<Index>(), 0..20)) {
            let bytes = hello(Some("api.openai.com"), &["h2"], padding, record);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut hello = Hello::default();
            let found: Vec<_> = cuts.windows(2).map(|part| hello.push(&bytes[part[0]..part[1]])).collect();
            prop_assert_eq!(found.last(), Some(&Found::Offer(offer(Some("api.openai.com"), &["h2"]))));
        }

        #[test]
        fn nothing_panics(mut bytes in vec(any::<u8>(), 0..400), changes in vec((any::<Index>(), any::<u8>()), 0..8)) {
            Hello::default().push(&bytes);
            bytes.splice(0..0, [HANDSHAKE, 3, 1, 1, 0x90, CLIENT_HELLO, 0, 1, 0x80]);
            Hello::default().push(&bytes);
            let mut real = hello(Some("a.b"), &["h2"], 10, 60);
            for (at, byte) in changes {
                let at = at.index(real.len());
                real[at] = byte;
            }
            let mut hello = Hello::default();
            hello.push(&real);
            hello.cut();
        }
    }
}
