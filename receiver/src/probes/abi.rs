//! Raw bytes from the rings → [`Event`]. The layouts are `bpf/include/events.h`; fields are read by their offsets.

use bytes::Bytes;
use pipeline::ProcessKey;

use crate::event::{Chunk, Direction, Event, EventKind, Exec};

const ARGS_SIZE: usize = 4096;
const FILENAME_SIZE: usize = 256;
const CWD_LEVELS: usize = 12;
const CWD_NAME_SIZE: usize = 128;

/// Size of `struct event_header`.
pub const HEADER: usize = 32;
/// Size of `struct data_event`, after which its bytes begin.
pub const DATA: usize = HEADER + 32;
const EXEC_FILENAME: usize = HEADER + 40;
const EXEC_CWD: usize = EXEC_FILENAME + FILENAME_SIZE;
const EXEC_ARGS: usize = EXEC_CWD + CWD_LEVELS * CWD_NAME_SIZE;
/// Size of `struct exec_event`.
pub const EXEC: usize = EXEC_ARGS + ARGS_SIZE;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
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
                object: u64_at(bytes, HEADER)?,
                direction: if u32_at(bytes, HEADER + 28)? == 1 { Direction::Write } else { Direction::Read },
                total: u64_at(bytes, HEADER + 8)?,
                offset: u64_at(bytes, HEADER + 16)?,
                bytes: Bytes::copy_from_slice(bytes.get(DATA..DATA.checked_add(length)?)?),
            })
        }
        6 => EventKind::Close { object: u64_at(bytes, HEADER)? },
        _ => return None,
    };
    Some(Event { time: u64_at(bytes, 8)?, process, tid: u32_at(bytes, 24)?, kind })
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
        uid: u32_at(bytes, HEADER + 20)?,
        gid: u32_at(bytes, HEADER + 24)?,
        cgroup_id: u64_at(bytes, HEADER + 8)?,
    })
}

/// The kernel's `dev_t` (12 bits major, 20 bits minor: include/linux/kdev_t.h) as `stat` gives it.
fn user_dev(dev: u32) -> u64 {
    libc::makedev(dev >> 20, dev & 0xf_ffff)
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
        bytes[EXEC_FILENAME..EXEC_FILENAME + 7].copy_from_slice(b"/bin/sh");
        bytes[EXEC_CWD..EXEC_CWD + 3].copy_from_slice(b"lib");
        bytes[EXEC_CWD + 2 * CWD_NAME_SIZE..EXEC_CWD + 2 * CWD_NAME_SIZE + 3].copy_from_slice(b"var");
        bytes[EXEC_ARGS..EXEC_ARGS + 9].copy_from_slice(b"sh\0-c\0\0x\0");
        let event = decode(&bytes).unwrap();
        assert_eq!((event.time, event.process), (9, ProcessKey { tgid: 7, start: 5 }));
        let EventKind::Exec(exec) = event.kind else { panic!("not an exec") };
        assert_eq!(exec.parent, ProcessKey { tgid: 2, start: 3 });
        assert_eq!((exec.filename.as_str(), exec.cwd.as_str(), exec.uid), ("/bin/sh", "/var/lib", 100));
        assert_eq!(exec.args, ["sh", "-c", "", "x"]);
    }

    #[test]
    fn devices_are_converted() {
        assert_eq!(user_dev(254 << 20 | 3), libc::makedev(254, 3));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(kind in 0u8..8, rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![kind, 0, 0, 0];
            bytes.extend(rest);
            let _ = decode(&bytes);
        }
    }
}
