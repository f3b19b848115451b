//! Raw bytes from the rings → [`Event`]. The layouts are `bpf/include/events.h`; fields are read by their offsets.

mod deeds;

use bytes::Bytes;
use pipeline::{
    ProcessKey,
    observation::{Endpoint, Failure, Transport},
};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::event::{
    Action, Chunk, Direction, Event, EventKind, Exec, Network, Program, Socket, SocketKind, Source, user_dev,
};

const ARGS_SIZE: usize = 4096;
const FILENAME_SIZE: usize = 512;
const CWD_LEVELS: usize = 12;
const CWD_NAME_SIZE: usize = 128;

/// Size of `struct event_header`.
pub const HEADER: usize = 32;
/// Size of `struct data_event`, after which its bytes begin.
pub const DATA: usize = HEADER + 48;
const EXEC_FILENAME: usize = HEADER + 56;
const EXEC_CWD: usize = EXEC_FILENAME + FILENAME_SIZE;
const EXEC_ARGS: usize = EXEC_CWD + CWD_LEVELS * CWD_NAME_SIZE;
/// Size of `struct network_event`, after which a path may begin.
const NETWORK: usize = HEADER + 96;
/// Size of `struct exec_event`.
pub const EXEC: usize = EXEC_ARGS + ARGS_SIZE;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

/// Text up to the first NUL.
fn text_at(bytes: &[u8], at: usize, size: usize) -> Option<String> {
    let field = bytes.get(at..at + size)?;
    let end = memchr::memchr(0, field).unwrap_or(size);
    Some(String::from_utf8_lossy(&field[..end]).into_owned())
}

/// Decodes one event; `None` if the bytes are not one.
pub fn decode(bytes: &[u8]) -> Option<Event> {
    let process = ProcessKey { tgid: u32_at(bytes, 4)?, start: u64_at(bytes, 16)? };
    let kind = match u32_at(bytes, 0)? {
        1 => EventKind::Exec(exec(bytes)?),
        2 => EventKind::Fork { child: ProcessKey { tgid: u32_at(bytes, HEADER + 8)?, start: u64_at(bytes, HEADER)? } },
        3 => EventKind::Exit {
            code: i32::try_from(u32_at(bytes, HEADER)?).ok()?,
            signal: i32::try_from(u32_at(bytes, HEADER + 4)?).ok()?,
        },
        4 => EventKind::Map { dev: user_dev(u32_at(bytes, HEADER + 8)?), inode: u64_at(bytes, HEADER)? },
        5 => {
            let length = usize::try_from(u32_at(bytes, HEADER + 24)?).ok()?;
            EventKind::Data(Chunk {
                source: source(u32_at(bytes, HEADER + 40)?)?,
                socket: u64_at(bytes, HEADER + 32)?,
                object: u64_at(bytes, HEADER)?,
                direction: direction(u32_at(bytes, HEADER + 28)?),
                total: u64_at(bytes, HEADER + 8)?,
                offset: u64_at(bytes, HEADER + 16)?,
                bytes: Bytes::copy_from_slice(bytes.get(DATA..DATA.checked_add(length)?)?),
            })
        }
        6 => EventKind::Close { object: u64_at(bytes, HEADER)? },
        7 => EventKind::Socket(socket(bytes)?),
        8 => EventKind::Pair {
            object: u64_at(bytes, HEADER)?,
            socket: u64_at(bytes, HEADER + 8)?,
            direction: direction(u32_at(bytes, HEADER + 16)?),
        },
        10 => EventKind::Network(Box::new(network(bytes)?)),
        11 => EventKind::File(Box::new(deeds::file(bytes)?)),
        12 => EventKind::Security(Box::new(deeds::security(bytes)?)),
        9 => EventKind::SocketClose {
            socket: u64_at(bytes, HEADER)?,
            sent: u64_at(bytes, HEADER + 8)?,
            received: u64_at(bytes, HEADER + 16)?,
        },
        _ => return None,
    };
    Some(Event { time: u64_at(bytes, 8)?, process, tid: u32_at(bytes, 24)?, kind })
}

fn direction(write: u32) -> Direction {
    if write == 1 { Direction::Write } else { Direction::Read }
}

/// `enum source`.
fn source(code: u32) -> Option<Source> {
    Some(match code {
        0 => Source::Tls,
        1 => Source::Record,
        2 => Source::Socket,
        3 => Source::Pipe,
        4 => Source::Handshake,
        5 => Source::Dns,
        _ => return None,
    })
}

fn socket(bytes: &[u8]) -> Option<Socket> {
    let kind = match u32_at(bytes, HEADER + 48)? {
        0 => SocketKind::Tcp,
        1 => SocketKind::Udp,
        2 => SocketKind::Unix,
        3 => SocketKind::Pipe,
        _ => return None,
    };
    let family = u32_at(bytes, HEADER + 52)?;
    let port = |at: usize| u32_at(bytes, at).and_then(|port| u16::try_from(port).ok());
    let address = |at: usize, port_at: usize| {
        let port = port(port_at).filter(|port| *port != 0)?;
        Some(SocketAddr::new(ip(bytes, at, i32::try_from(family).ok()?)?, port))
    };
    Some(Socket {
        id: u64_at(bytes, HEADER)?,
        kind,
        local: address(HEADER + 16, HEADER + 56),
        peer: address(HEADER + 32, HEADER + 60),
        other: u64_at(bytes, HEADER + 8).filter(|other| *other != 0),
        received: u32_at(bytes, HEADER + 64)? == 1,
    })
}

/// `struct network_event`, maybe as the beginning of `struct local_network_event`.
fn network(bytes: &[u8]) -> Option<Network> {
    let [sent, received] = [u64_at(bytes, HEADER + 16)?, u64_at(bytes, HEADER + 24)?];
    let error = u32_at(bytes, HEADER + 76)?.cast_signed();
    let family = i32::from(u16_at(bytes, HEADER + 84)?);
    let protocol = u32_at(bytes, HEADER + 88)?;
    let ip = |at: usize, port_at: usize| {
        let port = u32_at(bytes, port_at).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)?;
        Some(Endpoint::Ip(SocketAddr::new(ip(bytes, at, family)?, port)))
    };
    let path = || {
        let size = usize::try_from(u32_at(bytes, HEADER + 92)?).ok()?;
        let path = bytes.get(NETWORK..NETWORK.checked_add(size)?).filter(|path| !path.is_empty())?;
        Some(Endpoint::Unix(match path.strip_prefix(b"\0") {
            // All of it is the name, whatever bytes it has (unix(7)).
            Some(name) => format!("@{}", String::from_utf8_lossy(name)),
            None => text_at(path, 0, path.len())?,
        }))
    };
    let action = match u32_at(bytes, HEADER + 72)? {
        0 => Action::Connect,
        1 => Action::Close { sent, received },
        2 => Action::Listen { backlog: u32_at(bytes, HEADER + 80)? },
        3 => Action::Accept,
        _ => return None,
    };
    let (local, peer) = match (family, action) {
        (libc::AF_UNIX, Action::Connect) => (None, path()),
        (libc::AF_UNIX, _) => (path(), None),
        _ => (ip(HEADER + 32, HEADER + 64), ip(HEADER + 48, HEADER + 68)),
    };
    Some(Network {
        action,
        socket: u64_at(bytes, HEADER)?,
        began: u64_at(bytes, HEADER + 8)?,
        transport: match (family, i32::try_from(protocol).ok()?) {
            (libc::AF_UNIX, _) => Transport::Unix,
            (_, libc::IPPROTO_TCP) => Transport::Tcp,
            (_, libc::IPPROTO_UDP) => Transport::Udp,
            _ => Transport::Other(protocol),
        },
        local,
        // Who listens has no other end yet.
        peer: peer.filter(|_| !matches!(action, Action::Listen { .. })),
        error: match error {
            0 => None,
            1.. => Some(Failure::Errno(error.unsigned_abs())),
            _ => Some(Failure::Aborted),
        },
    })
}

/// An address of 16 bytes, of which IPv4 uses the first four.
fn ip(bytes: &[u8], at: usize, family: i32) -> Option<IpAddr> {
    let bytes: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    let ip = match family {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(bytes)),
        _ => return None,
    };
    Some(ip.to_canonical())
}

fn exec(bytes: &[u8]) -> Option<Exec> {
    let size = usize::try_from(u32_at(bytes, HEADER + 28)?).ok()?.min(ARGS_SIZE);
    let args = bytes.get(EXEC_ARGS..EXEC_ARGS + size)?;
    let args_truncated = u32_at(bytes, HEADER + 32)? == 1;
    let args = args.strip_suffix(b"\0").unwrap_or(args);
    let args = if size == 0 {
        Vec::new()
    } else {
        args.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    };
    let reached_root = u32_at(bytes, HEADER + 36)? == 1;
    let mut names = Vec::new();
    for level in 0..CWD_LEVELS {
        let name = text_at(bytes, EXEC_CWD + level * CWD_NAME_SIZE, CWD_NAME_SIZE)?;
        if !name.is_empty() {
            names.push(name);
        }
    }
    names.reverse();
    // A directory deeper than the walk is not told rather than told wrong.
    let cwd = if reached_root { format!("/{}", names.join("/")) } else { String::new() };
    Some(Exec {
        parent: ProcessKey { tgid: u32_at(bytes, HEADER + 16)?, start: u64_at(bytes, HEADER)? },
        filename: text_at(bytes, EXEC_FILENAME, FILENAME_SIZE)?,
        args,
        args_truncated,
        cwd,
        program: Some(Program { inode: u64_at(bytes, HEADER + 40)?, dev: u32_at(bytes, HEADER + 48)? }),
        uid: u32_at(bytes, HEADER + 20)?,
        gid: u32_at(bytes, HEADER + 24)?,
        cgroup_id: u64_at(bytes, HEADER + 8)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_exec_is_decoded_field_by_field() {
        let mut bytes = vec![0u8; EXEC];
        bytes[0] = 1;
        bytes[4] = 7;
        bytes[8] = 9;
        bytes[16] = 5;
        bytes[HEADER] = 3;
        bytes[HEADER + 16] = 2;
        bytes[HEADER + 20] = 100;
        bytes[HEADER + 28] = 9;
        bytes[HEADER + 36] = 1;
        (bytes[HEADER + 40], bytes[HEADER + 48]) = (11, 12);
        bytes[EXEC_FILENAME..EXEC_FILENAME + 7].copy_from_slice(b"/bin/sh");
        bytes[EXEC_CWD..EXEC_CWD + 3].copy_from_slice(b"lib");
        bytes[EXEC_CWD + 2 * CWD_NAME_SIZE..EXEC_CWD + 2 * CWD_NAME_SIZE + 3].copy_from_slice(b"var");
        bytes[EXEC_ARGS..EXEC_ARGS + 9].copy_from_slice(b"sh\0-c\0\0x\0");
        let event = decode(&bytes).unwrap();
        assert_eq!((event.time, event.process), (9, ProcessKey { tgid: 7, start: 5 }));
        let EventKind::Exec(exec) = event.kind else { panic!("not an exec") };
        assert_eq!(exec.parent, ProcessKey { tgid: 2, start: 3 });
        assert_eq!(exec.program, Some(Program { inode: 11, dev: 12 }));
        assert_eq!((exec.filename.as_str(), exec.cwd.as_str(), exec.uid), ("/bin/sh", "/var/lib", 100));
        assert_eq!(exec.args, ["sh", "-c", "", "x"]);
    }

    /// The members of the object's structs: `struct.member` → offset in bytes, `struct` → size.
    /// Format: Documentation/bpf/btf.rst of the kernel.
    fn layouts() -> std::collections::BTreeMap<String, usize> {
        use object::{
            Endianness,
            elf::FileHeader64,
            read::elf::{FileHeader, SectionHeader},
        };
        let object = crate::probes::OBJECT;
        let header = FileHeader64::<Endianness>::parse(object).unwrap();
        let endian = header.endian().unwrap();
        let sections = header.sections(endian, object).unwrap();
        let (_, section) = sections.section_by_name(endian, b".BTF").unwrap();
        let btf = section.data(endian, object).unwrap();
        let word = |at: usize| usize::try_from(u32_at(btf, at).unwrap()).unwrap();
        let (types, strings) = (word(4) + word(8), word(4) + word(16));
        let end = types + word(12);
        let name = |offset: usize| text_at(btf, strings + offset, btf.len() - strings - offset).unwrap();
        let mut layouts = std::collections::BTreeMap::new();
        let mut at = types;
        while at < end {
            let (info, size) = (word(at + 4), word(at + 8));
            let (kind, members) = (info >> 24 & 0x1f, info & 0xffff);
            let own = name(word(at));
            at += 12;
            if kind == 4 {
                for member in (0..members).map(|n| at + 12 * n) {
                    layouts.insert(format!("{own}.{}", name(word(member))), word(member + 8) / 8);
                }
                layouts.insert(own, size);
            }
            at += match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * members,
                6 | 13 => 8 * members,
                _ => 0,
            };
        }
        layouts
    }

    #[test]
    fn the_decoder_reads_what_the_kernel_side_writes() {
        let layouts = layouts();
        let expected = [
            ("event_header", HEADER),
            ("event_header.type", 0),
            ("event_header.tgid", 4),
            ("event_header.time", 8),
            ("event_header.start", 16),
            ("event_header.tid", 24),
            ("exec_event", EXEC),
            ("exec_event.parent_start", HEADER),
            ("exec_event.cgroup_id", HEADER + 8),
            ("exec_event.parent_tgid", HEADER + 16),
            ("exec_event.uid", HEADER + 20),
            ("exec_event.gid", HEADER + 24),
            ("exec_event.args_size", HEADER + 28),
            ("exec_event.args_truncated", HEADER + 32),
            ("exec_event.cwd_state", HEADER + 36),
            ("exec_event.inode", HEADER + 40),
            ("exec_event.dev", HEADER + 48),
            ("exec_event.filename", EXEC_FILENAME),
            ("exec_event.cwd", EXEC_CWD),
            ("exec_event.args", EXEC_ARGS),
            ("fork_event", HEADER + 16),
            ("fork_event.child_start", HEADER),
            ("fork_event.child_tgid", HEADER + 8),
            ("exit_event", HEADER + 8),
            ("exit_event.code", HEADER),
            ("exit_event.signal", HEADER + 4),
            ("map_event", HEADER + 16),
            ("map_event.inode", HEADER),
            ("map_event.dev", HEADER + 8),
            ("data_event", DATA),
            ("data_event.object", HEADER),
            ("data_event.total", HEADER + 8),
            ("data_event.offset", HEADER + 16),
            ("data_event.length", HEADER + 24),
            ("data_event.write", HEADER + 28),
            ("close_event", HEADER + 8),
            ("data_event.socket", HEADER + 32),
            ("data_event.source", HEADER + 40),
            ("close_event.object", HEADER),
            ("socket_event", HEADER + 72),
            ("socket_event.received", HEADER + 64),
            ("file_event", deeds::FILE),
            ("file_event.path", HEADER),
            ("file_event.other", HEADER + 8),
            ("file_event.read", HEADER + 16),
            ("file_event.written", HEADER + 24),
            ("file_event.length", HEADER + 32),
            ("file_event.began", HEADER + 40),
            ("file_event.reads", HEADER + 48),
            ("file_event.writes", HEADER + 52),
            ("file_event.deed", HEADER + 56),
            ("file_event.error", HEADER + 60),
            ("file_event.flags", HEADER + 64),
            ("file_event.mode", HEADER + 68),
            ("file_event.uid", HEADER + 72),
            ("file_event.gid", HEADER + 76),
            ("file_event.bits", HEADER + 80),
            ("path_size.names", 0),
            ("path_size.text", 2),
            ("path_size.state", 4),
            ("security_event", deeds::SECURITY),
            ("security_event.arguments", HEADER + 16),
            ("security_event.result", HEADER + 48),
            ("security_event.old_capabilities", HEADER + 56),
            ("security_event.new_capabilities", HEADER + 64),
            ("security_event.old_ids", HEADER + 72),
            ("security_event.new_ids", HEADER + 96),
            ("security_event.call", HEADER + 120),
            ("security_event.error", HEADER + 124),
            ("security_event.level", HEADER + 128),
            ("security_event.text", HEADER + 136),
            ("network_event", NETWORK),
            ("network_event.socket", HEADER),
            ("network_event.began", HEADER + 8),
            ("network_event.sent", HEADER + 16),
            ("network_event.received", HEADER + 24),
            ("network_event.local", HEADER + 32),
            ("network_event.peer", HEADER + 48),
            ("network_event.local_port", HEADER + 64),
            ("network_event.peer_port", HEADER + 68),
            ("network_event.action", HEADER + 72),
            ("network_event.error", HEADER + 76),
            ("network_event.backlog", HEADER + 80),
            ("network_event.family", HEADER + 84),
            ("network_event.type", HEADER + 86),
            ("network_event.protocol", HEADER + 88),
            ("network_event.path_size", HEADER + 92),
            ("local_network_event.path", NETWORK),
            ("local_network_event", NETWORK + 112),
            ("socket_event.id", HEADER),
            ("socket_event.other", HEADER + 8),
            ("socket_event.local", HEADER + 16),
            ("socket_event.peer", HEADER + 32),
            ("socket_event.kind", HEADER + 48),
            ("socket_event.family", HEADER + 52),
            ("socket_event.local_port", HEADER + 56),
            ("socket_event.peer_port", HEADER + 60),
            ("pair_event", HEADER + 24),
            ("pair_event.object", HEADER),
            ("pair_event.socket", HEADER + 8),
            ("pair_event.write", HEADER + 16),
            ("socket_close_event", HEADER + 24),
            ("socket_close_event.socket", HEADER),
            ("socket_close_event.sent", HEADER + 8),
            ("socket_close_event.received", HEADER + 16),
        ];
        for (name, at) in expected {
            assert_eq!(layouts.get(name), Some(&at), "{name}");
        }
    }

    #[test]
    fn devices_are_converted() {
        assert_eq!(user_dev(254 << 20 | 3), libc::makedev(254, 3));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(kind in 0u8..14, rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![kind, 0, 0, 0];
            bytes.extend(rest);
            let _ = decode(&bytes);
        }
    }
}
