//! Answers of DNS (RFC 1035, section 4; RFC 3596): which addresses a name has.

use std::net::IpAddr;

/// Most names that are followed from the one that was asked for.
const LONGEST_CHAIN: usize = 16;

/// Most pointers that one name may follow (section 4.1.4): 255 bytes have no more labels.
const MOST_POINTERS: usize = 128;

/// Most records that are read.
const MOST_RECORDS: usize = 512;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;

/// What a message answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name that was asked for, in lower case, without a trailing dot.
    pub name: String,
    /// Its addresses, aliases followed.
    pub addresses: Vec<IpAddr>,
}

/// Reads a message. `None`: it is no answer, or has no address.
pub fn read(message: &[u8]) -> Option<Answer> {
    let word = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let flags = word(2)?;
    // A response to a standard query, without an error; one question, as resolvers ask.
    if flags & 0x8000 == 0 || flags & 0x7800 != 0 || flags & 0xf != 0 || word(4)? != 1 {
        return None;
    }
    let (asked, mut at) = name(message, 12)?;
    if word(at + 2)? != INTERNET {
        return None;
    }
    at += 4;
    let mut aliases = Vec::new();
    let mut found = Vec::new();
    for _ in 0..usize::from(word(6)?).min(MOST_RECORDS) {
        let Some((owner, next)) = name(message, at) else { break };
        let (Some(kind), Some(class), Some(length)) = (word(next), word(next + 2), word(next + 8)) else { break };
        let start = next + 10;
        let Some(data) = message.get(start..start + usize::from(length)) else { break };
        at = start + usize::from(length);
        match (kind, class) {
            (A, INTERNET) => found.extend(<[u8; 4]>::try_from(data).ok().map(|bytes| (owner, IpAddr::from(bytes)))),
            (AAAA, INTERNET) => found.extend(<[u8; 16]>::try_from(data).ok().map(|bytes| (owner, IpAddr::from(bytes)))),
            (CNAME, INTERNET) => aliases.extend(name(message, start).map(|(target, _)| (owner, target))),
            _ => {}
        }
    }
    let mut names = vec![asked.as_str()];
    while let Some((_, target)) = aliases.iter().find(|(owner, _)| Some(owner.as_str()) == names.last().copied())
        && names.len() < LONGEST_CHAIN
        && !names.contains(&target.as_str())
    {
        names.push(target);
    }
    let addresses: Vec<IpAddr> =
        found.iter().filter(|(owner, _)| names.contains(&owner.as_str())).map(|(_, address)| *address).collect();
    (!addresses.is_empty()).then_some(Answer { name: asked.clone(), addresses })
}

/// The name at an offset, and where the next field is. `None`: it is none, or none of a host.
fn name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let (mut at, mut next) = (start, None);
    for _ in 0..MOST_POINTERS {
        let length = *message.get(at)?;
        match length {
            0 => return Some((text, next.unwrap_or(at + 1))),
            0xc0.. => {
                let low = *message.get(at + 1)?;
                next = next.or(Some(at + 2));
                at = usize::from(length & 0x3f) << 8 | usize::from(low);
            }
            1..=63 => {
                let label = message.get(at + 1..at + 1 + usize::from(length))?;
                if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                    return None;
                }
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                if text.len() > 255 {
                    return None;
                }
                at += 1 + usize::from(length);
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    fn plain(name: &str) -> Vec<u8> {
        let mut out: Vec<u8> =
            name.split('.').flat_map(|label| [vec![label.len() as u8], label.as_bytes().to_vec()].concat()).collect();
        out.push(0);
        out
    }

    fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
        let (kind, length) = (kind.to_be_bytes(), (data.len() as u16).to_be_bytes());
        [owner, &kind, &[0, 1, 0, 0, 1, 0], &length, data].concat()
    }

    fn message(question: &str, answers: &[Vec<u8>]) -> Vec<u8> {
        let count = (answers.len() as u16).to_be_bytes();
        let head = [&[0, 7, 0x81, 0x80, 0, 1], &count[..], &[0, 0, 0, 0]].concat();
        [head, plain(question), vec![0, 1, 0, 1], answers.concat()].concat()
    }

    /// An answer with one address.
    pub(crate) fn answer(name: &str, address: [u8; 4]) -> Vec<u8> {
        message(name, &[record(&[0xc0, 12], A, &address)])
    }

    #[test]
    fn aliases_are_followed_and_pointers_resolved() {
        let bytes = message(
            "API.openai.com",
            &[
                record(&[0xc0, 12], CNAME, &plain("edge.example.net")),
                record(&plain("edge.example.net"), CNAME, &[1, b'z', 0xc0, 16]),
                record(&plain("z.openai.com"), A, &[10, 0, 0, 1]),
                record(&plain("z.OPENAI.com"), AAAA, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
                record(&plain("other.example"), A, &[10, 0, 0, 2]),
                record(&plain("z.openai.com"), 99, &[1, 2, 3]),
            ],
        );
        let found = read(&bytes).unwrap();
        assert_eq!(found.name, "api.openai.com");
        assert_eq!(found.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        for end in 0..bytes.len() {
            read(&bytes[..end]);
        }
    }

    #[test]
    fn loops_and_questions_are_none() {
        let mut asking = answer("a.b", [1, 2, 3, 4]);
        assert!(read(&asking).is_some());
        asking[2] = 0x01;
        assert_eq!(read(&asking), None);
        let mut looping = answer("a.b", [1, 2, 3, 4]);
        looping[12] = 0xc0;
        looping[13] = 12;
        assert_eq!(read(&looping), None);
        let round = [record(&plain("a"), CNAME, &plain("b")), record(&plain("b"), CNAME, &plain("a"))];
        assert_eq!(read(&message("a", &round)), None);
        assert_eq!(read(&message("a", &[record(&plain("a"), A, &[1, 2, 3])])), None);
        assert_eq!(read(b""), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in vec(any::<u8>(), 0..200), changes in vec((any::<Index>(), any::<u8>()), 0..8)) {
            read(&bytes);
            let mut real = message("a.b", &[record(&[0xc0, 12], CNAME, &plain("c.d")), record(&plain("c.d"), A, &[1, 2, 3, 4])]);
            for (at, byte) in changes {
                let at = at.index(real.len());
                real[at] = byte;
            }
            read(&real);
        }
    }
}
