//! `struct file_event` and `struct security_event`, with the texts behind them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{HEADER, text_at, u32_at, u64_at};
use crate::{
    event::deeds::{FileDeed, FileEvent, Place, Rights, SecurityEvent},
    probes::calls,
};

/// Size of `struct file_event`.
pub(super) const FILE: usize = HEADER + 88;
/// Size of `struct security_event`.
pub(super) const SECURITY: usize = HEADER + 168;

/// `enum path_state`.
const CUT: u32 = 2;
const FOREIGN: u32 = 3;
const NAMELESS: u32 = 4;
const UNREADABLE: u32 = 5;

/// `enum file_bits`.
const CREATED: u32 = 1;
const OPENED: u32 = 2;
const CLOSED: u32 = 4;
const MAPPED: u32 = 8;

/// `CALL_MEMFD_EXEC`.
const MEMFD_EXEC: u32 = u32::MAX;
/// `CALL_RING`.
const RING: u32 = u32::MAX - 1;

/// A system call on a file.
pub(super) fn file(bytes: &[u8]) -> Option<FileEvent> {
    let word = |at: usize| u32_at(bytes, HEADER + at);
    let deed = match word(56)? {
        0 => FileDeed::Open,
        1 => FileDeed::Use,
        2 => FileDeed::Create,
        3 => FileDeed::Delete,
        4 => FileDeed::Rename,
        5 => FileDeed::Link,
        6 => FileDeed::Symlink,
        7 => FileDeed::Truncate,
        8 => FileDeed::Chmod,
        9 => FileDeed::Chown,
        10 => FileDeed::Mkdir,
        11 => FileDeed::Rmdir,
        12 => FileDeed::Setxattr,
        13 => FileDeed::Removexattr,
        _ => return None,
    };
    let verbatim = matches!(deed, FileDeed::Symlink | FileDeed::Setxattr | FileDeed::Removexattr);
    let (place, other) = places(bytes, FILE, verbatim)?;
    let bits = word(80)?;
    Some(FileEvent {
        deed,
        // A name that cannot be read, from a directory that is the root.
        place: place.unwrap_or_else(|| Place { path: "…/".into(), resolved: false }),
        other,
        error: word(60)?,
        flags: word(64)?,
        mode: word(68)?,
        uid: word(72)?,
        gid: word(76)?,
        length: u64_at(bytes, HEADER + 32)?,
        reads: word(48)?,
        writes: word(52)?,
        read: u64_at(bytes, HEADER + 16)?,
        written: u64_at(bytes, HEADER + 24)?,
        began: u64_at(bytes, HEADER + 40)?,
        created: bits & CREATED != 0,
        opened: bits & OPENED != 0,
        closed: bits & CLOSED != 0,
        mapped: bits & MAPPED != 0,
    })
}

/// A system call that matters for security.
pub(super) fn security(bytes: &[u8]) -> Option<SecurityEvent> {
    let word = |at: usize| u32_at(bytes, HEADER + at);
    let long = |at: usize| u64_at(bytes, HEADER + at);
    let rights = |ids: usize, capabilities: usize| {
        Some(Rights {
            user: [word(ids)?, word(ids + 4)?, word(ids + 8)?],
            group: [word(ids + 12)?, word(ids + 16)?, word(ids + 20)?],
            capabilities: long(capabilities)?,
        })
    };
    let number = word(120)?;
    let call = match number {
        MEMFD_EXEC => "memfd_exec",
        RING => "io_uring_enter",
        number => calls::security_name(number)?,
    };
    let verbatim = matches!(call, "memfd_create" | "delete_module" | "add_key");
    let (place, other) = places(bytes, SECURITY, true)?;
    let place = if verbatim { verbatim_place(bytes, SECURITY) } else { place };
    Some(SecurityEvent {
        call: call.to_owned(),
        error: word(124)?,
        result: long(56 - 8)?.cast_signed(),
        arguments: [long(16)?, long(24)?, long(32)?, long(40)?],
        level: word(128)?,
        old: rights(72, 56)?,
        new: rights(96, 64)?,
        place,
        other: if call == "move_mount" { places(bytes, SECURITY, false)?.1 } else { other },
        text: match call {
            "mount" | "sethostname" | "setdomainname" => text_at(bytes, HEADER + 136, 32)?,
            "setgroups" => groups(bytes.get(HEADER + 136..HEADER + 168)?, long(16)?),
            _ => String::new(),
        },
        address: if call == "bind" { address(bytes.get(HEADER + 136..HEADER + 168)?) } else { None },
    })
}

/// Group ids as a text.
fn groups(bytes: &[u8], count: u64) -> String {
    let told = bytes.as_chunks::<4>().0.iter().map(|group| u32::from_ne_bytes(*group).to_string());
    told.take(usize::try_from(count).unwrap_or(usize::MAX)).collect::<Vec<_>>().join(",")
}

/// A sockaddr of AF_INET or AF_INET6.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let ip = match i32::from(family) {
        libc::AF_INET => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(4..8)?).ok()?)),
        libc::AF_INET6 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// The two paths of an event; with `verbatim`, the second is a text as it stands.
fn places(bytes: &[u8], begin: usize, verbatim: bool) -> Option<(Option<Place>, Option<Place>)> {
    let first = size(bytes, HEADER)?;
    let second = size(bytes, HEADER + 8)?;
    let middle = begin.checked_add(first.0)?.checked_add(first.1)?;
    let place = place(bytes.get(begin..)?, first, false);
    let other = self::place(bytes.get(middle..)?, second, verbatim);
    Some((place, other))
}

fn verbatim_place(bytes: &[u8], begin: usize) -> Option<Place> {
    place(bytes.get(begin..)?, size(bytes, HEADER)?, true)
}

/// `struct path_size`
fn size(bytes: &[u8], at: usize) -> Option<(usize, usize, u32)> {
    let sizes = u32_at(bytes, at)?;
    Some((usize::try_from(sizes & 0xffff).ok()?, usize::try_from(sizes >> 16).ok()?, u32_at(bytes, at + 4)?))
}

fn place(bytes: &[u8], (names, text, state): (usize, usize, u32), verbatim: bool) -> Option<Place> {
    let told = bytes.get(..names)?;
    let text = bytes.get(names..names.checked_add(text)?)?;
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if told.is_empty() && text.is_empty() && matches!(state, 0 | UNREADABLE) {
        return None;
    }
    let text = String::from_utf8_lossy(text);
    if verbatim {
        return Some(Place { path: text.into_owned(), resolved: false });
    }
    let mut parts: Vec<String> =
        told.split(|byte| *byte == 0).map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    parts.retain(|name| !name.is_empty());
    parts.reverse();
    if state == NAMELESS {
        return Some(Place { path: parts.join("/"), resolved: true });
    }
    let known = !matches!(state, CUT | FOREIGN | UNREADABLE) || text.starts_with('/');
    // As the kernel goes: `..` of the root is the root.
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    let top = if known { "/" } else { "…/" };
    Some(Place { path: format!("{top}{}", parts.join("/")), resolved: text.is_empty() && known })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[u8], text: &[u8], state: u32) -> Option<Place> {
        let bytes = [names, text].concat();
        place(&bytes, (names.len(), text.len(), state), false)
    }

    fn path(path: &str, resolved: bool) -> Option<Place> {
        Some(Place { path: path.into(), resolved })
    }

    #[test]
    fn paths_are_put_together() {
        assert_eq!(told(b"c\0b\0a\0", b"", 1), path("/a/b/c", true));
        assert_eq!(told(b"", b"", 1), path("/", true));
        assert_eq!(told(b"b\0a\0", b"./x//y/../z\0", 1), path("/a/b/x/z", false));
        assert_eq!(told(b"", b"/etc/passwd\0", 1), path("/etc/passwd", false));
        assert_eq!(told(b"a\0", b"../../../x\0", 1), path("/x", false));
        assert_eq!(told(b"c\0b\0", b"x\0", CUT), path("…/b/c/x", false));
        assert_eq!(told(b"", b"x\0", UNREADABLE), path("…/x", false));
        assert_eq!(told(b"memfd:x\0", b"", NAMELESS), path("memfd:x", true));
        assert_eq!(told(b"", b"", UNREADABLE), None);
        assert_eq!(told(b"", b"", 0), None);
    }

    #[test]
    fn addresses_are_read() {
        let mut bytes = [0u8; 32];
        bytes[0] = 2;
        bytes[2..8].copy_from_slice(&[0x1f, 0x90, 10, 0, 0, 1]);
        assert_eq!(address(&bytes), "10.0.0.1:8080".parse().ok());
        bytes[0] = 10;
        bytes[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(address(&bytes), "0.0.0.0:8080".parse().ok());
        assert_eq!(address(&bytes[..20]), None);
    }
}
