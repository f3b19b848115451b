//! Files that processes map executable, by perf's records of mappings (perf_event_open(2)): they cost who maps, and nobody
//! else. A tracepoint at `mmap` would send all system calls of the host the kernel's slow way.

use std::{
    collections::HashSet,
    io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering, fence},
    },
    time::{Duration, Instant},
};

use pipeline::ProcessKey;

use super::pages::{Pages, page_size};
use crate::event::{Event, EventKind};

/// Bytes of a processor's ring: some thousand mappings. A power of two.
const RING: usize = 128 << 10;

/// Files whose mapping was told already, at most; then they are told again.
const TOLD: usize = 16384;

/// `PERF_RECORD_LOST`, `PERF_RECORD_MMAP2`, include/uapi/linux/perf_event.h
const LOST: u32 = 2;
const MMAP2: u32 = 10;

/// `PROT_EXEC`, include/uapi/asm-generic/mman-common.h
const EXECUTABLE: u32 = 4;

/// Processors that are online.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// How often it is looked whether there are others.
const LOOK: Duration = Duration::from_secs(10);

/// All processors' mappings.
pub struct Mappings {
    rings: Vec<(u32, Ring)>,
    looked: Instant,
    told: HashSet<(u64, u64)>,
    lost: Arc<AtomicU64>,
    record: Vec<u8>,
}

impl Mappings {
    /// Begins on each processor that is online. Why not, if it cannot be done on one.
    pub fn open(lost: Arc<AtomicU64>) -> Result<Self, String> {
        let online = std::fs::read_to_string(ONLINE).map_err(|error| format!("{ONLINE}: {error}"))?;
        let ring = |cpu| match Ring::open(cpu) {
            Ok(ring) => Ok((cpu, ring)),
            Err(error) => Err(format!("perf events of mappings on processor {cpu}: {error}")),
        };
        let rings = processors(&online).into_iter().map(ring).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { rings, looked: Instant::now(), told: HashSet::new(), lost, record: Vec::new() })
    }

    /// Follows processors that are switched on and off.
    fn look(&mut self) {
        self.looked = Instant::now();
        let Ok(online) = std::fs::read_to_string(ONLINE) else { return };
        let online = processors(&online);
        self.rings.retain(|(cpu, _)| online.contains(cpu));
        for cpu in online {
            if self.rings.iter().any(|(known, _)| *known == cpu) {
                continue;
            }
            match Ring::open(cpu) {
                Ok(ring) => self.rings.push((cpu, ring)),
                Err(error) => tracing::warn!(cpu, %error, "Files that are mapped on a new processor are not seen."),
            }
        }
    }

    /// Reads what there is, and tells each file once. True if there was anything.
    pub fn drain(&mut self, mut tell: impl FnMut(&Event)) -> bool {
        if self.looked.elapsed() >= LOOK {
            self.look();
        }
        let own = std::process::id();
        let mut any = false;
        for (_, ring) in &mut self.rings {
            while ring.next(&mut self.record) {
                any = true;
                match decode(&self.record) {
                    Some(Record::Lost(count)) => {
                        self.lost.fetch_add(count, Ordering::Relaxed);
                    }
                    Some(Record::Mapped(event)) if event.process.tgid != own => {
                        let EventKind::Map { dev, inode } = event.kind else { continue };
                        if self.told.len() >= TOLD {
                            self.told.clear();
                        }
                        if self.told.insert((dev, inode)) {
                            tell(&event);
                        }
                    }
                    _ => {}
                }
            }
        }
        any
    }
}

/// A record.
#[derive(Debug, PartialEq, Eq)]
enum Record {
    /// So many were lost.
    Lost(u64),
    /// A file was mapped executable.
    Mapped(Event),
}

/// A record with `struct sample_id` of thread and time at its end.
fn decode(bytes: &[u8]) -> Option<Record> {
    let u32_at = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    match u32_at(0)? {
        // Header, id, count.
        LOST => Some(Record::Lost(u64_at(16)?)),
        // Header, pid, tid, addr, len, pgoff, maj, min, ino, ino_generation, prot, flags, filename, sample_id.
        MMAP2 => {
            let (major, minor, inode, protection) = (u32_at(40)?, u32_at(44)?, u64_at(48)?, u32_at(64)?);
            if inode == 0 || protection & EXECUTABLE == 0 {
                return None;
            }
            let (process, tid) = (ProcessKey { tgid: u32_at(8)?, start: 0 }, u32_at(12)?);
            let kind = EventKind::Map { dev: libc::makedev(major, minor), inode };
            Some(Record::Mapped(Event { time: u64_at(bytes.len().checked_sub(8)?)?, process, tid, kind }))
        }
        _ => None,
    }
}

/// The numbers in a list as `0-3,8`, cpuset(7).
fn processors(list: &str) -> Vec<u32> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<u32>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// One processor's ring.
struct Ring {
    _event: OwnedFd,
    /// `struct perf_event_mmap_page`, and behind it the data.
    pages: Pages,
    /// Where the data begins.
    data: usize,
}

impl Ring {
    /// Where in the first page the kernel's position is, and where ours (`data_head`, `data_tail`).
    const HEAD: usize = 1024;
    const TAIL: usize = 1032;

    fn open(cpu: u32) -> io::Result<Self> {
        let attributes = Attributes::mappings();
        let cpu = libc::c_int::try_from(cpu).map_err(io::Error::other)?;
        // SAFETY: the kernel reads the attributes, as many bytes as they say; what it gives is a new descriptor or an error.
        let event = unsafe {
            const CLOSE_ON_EXEC: libc::c_ulong = 8;
            let (any, alone) = (-1 as libc::c_int, -1 as libc::c_int);
            let fd = libc::syscall(libc::SYS_perf_event_open, &raw const attributes, any, cpu, alone, CLOSE_ON_EXEC);
            match RawFd::try_from(fd) {
                Ok(fd) if fd >= 0 => OwnedFd::from_raw_fd(fd),
                _ => return Err(io::Error::last_os_error()),
            }
        };
        let data = page_size()?;
        let pages = Pages::map(&event, data + RING, libc::PROT_READ | libc::PROT_WRITE)?;
        Ok(Self { _event: event, pages, data })
    }

    /// Takes the next record out of the ring. False: there is none.
    fn next(&mut self, record: &mut Vec<u8>) -> bool {
        let head = self.pages.number(Self::HEAD).load(Ordering::Acquire);
        let tail = self.pages.number(Self::TAIL).load(Ordering::Relaxed);
        record.clear();
        let mut header = [0; 8];
        if head.wrapping_sub(tail) < header.len() as u64 {
            return false;
        }
        self.copy(tail, &mut header);
        // `struct perf_event_header`: type, misc, size.
        let size = u64::from(u16::from_ne_bytes([header[6], header[7]]));
        // One that cannot be is the end of all that is there.
        let size = if size < 8 || size > head - tail { head - tail } else { size };
        record.resize(usize::try_from(size).unwrap_or(RING).min(RING), 0);
        self.copy(tail, record);
        fence(Ordering::SeqCst);
        self.pages.number(Self::TAIL).store(tail + size, Ordering::Release);
        true
    }

    fn copy(&self, from: u64, to: &mut [u8]) {
        let at = usize::try_from(from % RING as u64).unwrap_or_default();
        let first = to.len().min(RING - at);
        let (first, rest) = to.split_at_mut(first);
        self.pages.copy(self.data + at, first);
        self.pages.copy(self.data, rest);
    }
}

/// The first version of `struct perf_event_attr` that knows clocks, include/uapi/linux/perf_event.h.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    period: u64,
    sample: u64,
    read: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    breakpoint_at: u64,
    breakpoint_length: u64,
    branches: u64,
    registers: u64,
    stack: u32,
    clock: i32,
    interrupted: u64,
    auxiliary: u32,
    deepest: u16,
    reserved: u16,
}

impl Attributes {
    /// Executable mappings, by boot time; nothing is woken by them.
    fn mappings() -> Self {
        const SOFTWARE: u32 = 1;
        const DUMMY: u64 = 9;
        const THREAD: u64 = 1 << 1;
        const TIME: u64 = 1 << 2;
        /// exclude_kernel, exclude_hv, mmap, watermark, sample_id_all, mmap2, use_clockid
        const FLAGS: u64 = 1 << 5 | 1 << 6 | 1 << 8 | 1 << 14 | 1 << 18 | 1 << 23 | 1 << 25;
        Self {
            kind: SOFTWARE,
            size: u32::try_from(size_of::<Self>()).unwrap_or_default(),
            config: DUMMY,
            sample: THREAD | TIME,
            flags: FLAGS,
            wakeup: u32::MAX,
            clock: libc::CLOCK_BOOTTIME,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u32, protection: u32, inode: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let words = |bytes: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
        let longs = |bytes: &mut Vec<u8>, longs: &[u64]| longs.iter().for_each(|long| bytes.extend(long.to_ne_bytes()));
        words(&mut bytes, &[kind, 104 << 16, 7, 8]);
        longs(&mut bytes, &[0x7f00_0000_0000, 4096, 0]);
        words(&mut bytes, &[254, 1]);
        longs(&mut bytes, &[inode, 3]);
        words(&mut bytes, &[protection, 2]);
        bytes.extend(b"/lib/x.so\0\0\0\0\0\0\0");
        words(&mut bytes, &[7, 8]);
        longs(&mut bytes, &[99]);
        bytes
    }

    #[test]
    fn executable_files_are_told() {
        let kind = EventKind::Map { dev: libc::makedev(254, 1), inode: 12 };
        let event = Event { time: 99, process: ProcessKey { tgid: 7, start: 0 }, tid: 8, kind };
        assert_eq!(decode(&record(MMAP2, 5, 12)), Some(Record::Mapped(event)));
        assert_eq!(decode(&record(MMAP2, 1, 12)), None);
        // Memory that is no file's.
        assert_eq!(decode(&record(MMAP2, 5, 0)), None);
        assert_eq!(decode(&record(3, 5, 12)), None);
        let lost: Vec<u8> = [LOST, 32 << 16, 0, 0, 41, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(decode(&lost), Some(Record::Lost(41)));
        assert_eq!(size_of::<Attributes>(), 112);
    }

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(processors("0-1,4\n"), [0, 1, 4]);
        assert_eq!(processors("0\n"), [0]);
        assert!(processors("\n").is_empty());
    }

    proptest! {
        #[test]
        fn no_record_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128), kind in 0u32..12) {
            let mut bytes = bytes;
            if bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&kind.to_ne_bytes());
            }
            decode(&bytes);
        }
    }
}
