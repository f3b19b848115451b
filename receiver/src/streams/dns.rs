//! Messages of DNS (RFC 1035, section 4; RFC 3596): what was asked, and which addresses a name has.

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

/// What a message asks or answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Ties an answer to its question.
    pub id: u16,
    /// True for an answer.
    pub response: bool,
    /// The code of an answer (RCODE); 0: no error.
    pub code: u8,
    /// True if the answer was cut.
    pub truncated: bool,
    /// The name that was asked for, in lower case, without a trailing dot.
    pub name: String,
    /// The type of the records asked for.
    pub kind: u16,
    /// Its addresses, aliases followed.
    pub addresses: Vec<IpAddr>,
    /// The aliases that were followed, in order.
    pub aliases: Vec<String>,
}

/// What a message answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name that was asked for, in lower case, without a trailing dot.
    pub name: String,
    /// Its addresses, aliases followed.
    pub addresses: Vec<IpAddr>,
}

/// Reads a message. `None`: it is no answer, or has no address.
pub fn read(bytes: &[u8]) -> Option<Answer> {
    let message = message(bytes).filter(|message| message.response && message.code == 0)?;
    (!message.addresses.is_empty()).then_some(Answer { name: message.name, addresses: message.addresses })
}

/// Reads a standard query or its answer, with one question, as resolvers ask. `None`: it is none.
pub fn message(message: &[u8]) -> Option<Message> {
    let word = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let flags = word(2)?;
    if flags & 0x7800 != 0 || word(4)? != 1 {
        return None;
    }
    let (asked, mut at) = name(message, 12)?;
    let kind = word(at)?;
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
    let aliases = names.iter().skip(1).map(|name| (*name).to_owned()).collect();
    Some(Message {
        id: word(0)?,
        response: flags & 0x8000 != 0,
        code: (flags & 0xf) as u8,
        truncated: flags & 0x200 != 0,
        name: asked,
        kind,
        addresses,
        aliases,
    })
}

/// Name of a type of records (the IANA registry "DNS Parameters"); `TYPE64` for rare ones (RFC 3597, section 5).
pub fn type_name(kind: u16) -> String {
    let name = match kind {
        A => "A",
        2 => "NS",
        CNAME => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        AAAA => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        43 => "DS",
        48 => "DNSKEY",
        52 => "TLSA",
        64 => "SVCB",
        65 => "HTTPS",
        252 => "AXFR",
        255 => "ANY",
        257 => "CAA",
        _ => return format!("TYPE{kind}"),
    };
    name.into()
}

/// Name of an answer's code (the same registry).
pub fn code_name(code: u8) -> String {
    let names = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
        "NOTZONE",
    ];
    names.get(usize::from(code)).map_or_else(|| format!("RCODE{code}"), |name| (*name).to_owned())
}

/// The name at an offset, and where the next field is; bytes that stand in no host's name as `\ddd` (RFC 4343).
/// `None`: it is none.
fn name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let (mut at, mut next, mut size) = (start, None, 0);
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
                if !text.is_empty() {
                    text.push('.');
                }
                for byte in label {
                    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                        text.push(char::from(byte.to_ascii_lowercase()));
                    } else {
                        text.push_str(&format!("\\{byte:03}"));
                    }
                }
                size += label.len() + 1;
                if size > 255 {
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

    #[test]
    fn questions_and_failures_are_read() {
        let mut bytes = message("a.b", &[]);
        bytes[3] = 0x83;
        let failed = super::message(&bytes).unwrap();
        assert_eq!((failed.id, failed.response, failed.truncated), (7, true, false));
        assert_eq!(
            (failed.name.as_str(), type_name(failed.kind), code_name(failed.code)),
            ("a.b", "A".into(), "NXDOMAIN".into())
        );
        bytes[2] = 0x01;
        assert!(!super::message(&bytes).unwrap().response);
        assert_eq!(
            (type_name(64), type_name(1234), code_name(15)),
            ("SVCB".into(), "TYPE1234".into(), "RCODE15".into())
        );
        assert_eq!(super::message(&message("a b.\u{1b}", &[])).unwrap().name, "a\\032b.\\027");
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
