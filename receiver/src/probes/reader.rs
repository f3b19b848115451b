//! The thread that drains the rings.
//!
//! Events of both rings are put in order by their times. A round gives out what is older than its own beginning, and
//! only if nothing older can still come: a record is stamped after its room was reserved, so once everything that was
//! reserved before the round began has been read, all that comes is younger. A probe may be preempted while it writes;
//! then the rounds wait for it.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{Array, MapData, RingBuf},
};
use rustix::event::epoll;

use super::{abi, mappings::Mappings, positions::Positions};
use crate::{
    Error,
    event::{Event, EventKind},
};

/// Takes what the reader read. Must not block for long: the rings fill meanwhile.
pub trait Delivery: Send {
    /// Process events as soon as they are read, out of order with payload: for what must be quick, as attaching.
    fn urgent(&mut self, event: &Event);

    /// Events in the order of their times. None before `watermark` (ns since boot) is still to come.
    fn ordered(&mut self, events: Vec<Event>, watermark: u64);

    /// The reader stopped; everything was delivered.
    fn end(&mut self) {}
}

/// A running reader.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What one processor has reserved, another one sees at most this much later, ns; generous.
const SLACK: u64 = 10_000;

/// How long the thread sleeps when nothing wakes it: payload mostly does not.
const TIMEOUT: Duration = Duration::from_millis(5);

/// After this long without any event the kernel side is asked to wake the thread at the first one.
const QUIET: Duration = Duration::from_secs(1);

/// How long it sleeps then. Bounded, because an event that is written while the thread falls asleep does not wake it.
const SLEEP: Duration = Duration::from_millis(100);

/// Nanoseconds since boot, as `bpf_ktime_get_boot_ns` counts them.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

impl Reader {
    /// Starts the thread. `limit` bounds the bytes of events that are held back.
    pub(super) fn start(
        ebpf: &mut Ebpf,
        mappings: Option<Mappings>,
        limit: u64,
        delivery: Box<dyn Delivery>,
    ) -> Result<Self, Error> {
        let mut map =
            |name: &str| ebpf.take_map(name).ok_or_else(|| Error::Kernel(format!("the map {name} is in use already")));
        let failed = |error: aya::maps::MapError| Error::Kernel(super::chain(&error));
        let lifecycle = Ring::new(RingBuf::try_from(map("LIFECYCLE")?).map_err(failed)?)?;
        let network = Ring::new(RingBuf::try_from(map("NETWORK")?).map_err(failed)?)?;
        let files = Ring::new(RingBuf::try_from(map("FILES")?).map_err(failed)?)?;
        let security = Ring::new(RingBuf::try_from(map("SECURITY")?).map_err(failed)?)?;
        let payload = Ring::new(RingBuf::try_from(map("PAYLOAD")?).map_err(failed)?)?;
        let asleep = Array::try_from(map("ASLEEP")?).map_err(failed)?;
        // Edge-triggered: a ring that holds something is no reason to wake up, only the kernel side's wish is.
        let wakes = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
        for ring in [&lifecycle, &payload] {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&wakes, &ring.records, epoll::EventData::new_u64(0), flags).map_err(std::io::Error::from)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let held = Held { events: Vec::new(), bytes: 0, limit };
        let stopping = Arc::clone(&stop);
        let rounds = Rounds {
            lifecycle,
            network,
            files,
            security,
            payload,
            mappings,
            asleep,
            wakes,
            held,
            watermark: 0,
            busy: Instant::now(),
            stop: stopping,
        };
        let thread = std::thread::Builder::new().name("rings".into()).spawn(move || rounds.run(delivery))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Reads what is left and ends the thread.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic there was told by the hook already.
            let _ = thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

/// A ring and how far it is.
struct Ring {
    records: RingBuf<MapData>,
    positions: Positions,
}

impl Ring {
    fn new(records: RingBuf<MapData>) -> Result<Self, Error> {
        let positions = Positions::map(&records)?;
        Ok(Self { records, positions })
    }
}

/// What the thread works with.
struct Rounds {
    lifecycle: Ring,
    /// Connections. It never wakes the thread, which looks often enough.
    network: Ring,
    /// Files, and changes of rights. They do not wake it either.
    files: Ring,
    security: Ring,
    payload: Ring,
    /// Files that are mapped. They do not wake it either, and are no events of a run: only what is found in them matters.
    mappings: Option<Mappings>,
    asleep: Array<MapData, u32>,
    wakes: OwnedFd,
    held: Held,
    watermark: u64,
    /// When the last event came.
    busy: Instant,
    stop: Arc<AtomicBool>,
}

impl Rounds {
    fn run(mut self, mut delivery: Box<dyn Delivery>) {
        loop {
            let last = self.stop.load(Ordering::SeqCst);
            // In this order: what is reserved after the two positions were taken, is stamped after `began`.
            let began = now();
            let (payload, lifecycle) = (self.payload.positions.reserved(), self.lifecycle.positions.reserved());
            let network = self.network.positions.reserved();
            let (files, security) = (self.files.positions.reserved(), self.security.positions.reserved());
            // Payload first, process events without a limit: their ring is small, and they may not wait behind payload.
            // But only those that are there: attaching to what they bring takes time, in which payload piles up.
            let before = self.held.events.len();
            let newest = self.held.drain(&mut self.payload);
            self.held.drain_until(&mut self.network, network);
            self.held.drain_until(&mut self.security, security);
            self.held.drain_until(&mut self.files, files);
            self.held.drain_urgent(&mut self.lifecycle, lifecycle, delivery.as_mut());
            let mapped = self.mappings.as_mut().is_some_and(|mappings| mappings.drain(|event| delivery.urgent(event)));
            if mapped || self.held.events.len() > before {
                self.busy = Instant::now();
            }
            let whole = self.payload.positions.read_until(payload)
                && self.lifecycle.positions.read_until(lifecycle)
                && self.network.positions.read_until(network)
                && self.files.positions.read_until(files)
                && self.security.positions.read_until(security);
            if whole {
                self.watermark = self.watermark.max(began.saturating_sub(SLACK));
            } else if self.held.bytes >= self.held.limit {
                // There is more than may be held: give out what was read, in the order in which rooms were reserved.
                self.watermark = self.watermark.max(newest.unwrap_or(began).saturating_sub(SLACK));
            }
            if last {
                let events = self.held.release(u64::MAX);
                delivery.ordered(events, now());
                break;
            }
            let events = self.held.release(self.watermark);
            delivery.ordered(events, self.watermark);
            if self.held.bytes < self.held.limit {
                self.wait();
            }
        }
        delivery.end();
    }

    /// Sleeps until a ring wakes the thread or the time is over.
    fn wait(&mut self) {
        let quiet = self.held.events.is_empty() && self.busy.elapsed() >= QUIET;
        if quiet && self.asleep.set(0, 1, 0).is_ok() {
            self.poll(SLEEP);
            // Left set, each event would wake the thread: dear, not wrong.
            let _ = self.asleep.set(0, 0, 0);
        } else {
            self.poll(TIMEOUT);
        }
    }

    fn poll(&self, timeout: Duration) {
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 2];
        let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: i64::from(timeout.subsec_nanos()) as _ };
        // Interrupted or not, the rings are looked at next.
        let _ = epoll::wait(&self.wakes, &mut events, Some(&timeout));
    }
}

struct Held {
    events: Vec<Event>,
    bytes: u64,
    limit: u64,
}

impl Held {
    /// Reads payload until there is none, a record is still being written, or the limit is reached; what stays in the
    /// ring is the kernel's to count. Gives the time of the last event.
    fn drain(&mut self, ring: &mut Ring) -> Option<u64> {
        let mut newest = None;
        while self.bytes < self.limit {
            let Some(item) = ring.records.next() else { break };
            newest = self.take(&item).map(|event| event.time).or(newest);
        }
        newest
    }

    /// Reads what is of no urgency up to a position.
    fn drain_until(&mut self, ring: &mut Ring, until: u64) {
        while !ring.positions.read_until(until) {
            let Some(item) = ring.records.next() else { break };
            self.take(&item);
        }
    }

    /// Reads process events up to a position.
    fn drain_urgent(&mut self, ring: &mut Ring, until: u64, delivery: &mut dyn Delivery) {
        while !ring.positions.read_until(until) {
            let Some(item) = ring.records.next() else { break };
            if let Some(event) = self.take(&item) {
                delivery.urgent(event);
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Option<&Event> {
        let Some(event) = abi::decode(bytes) else {
            tracing::error!("The kernel side gave an event that cannot be decoded.");
            return None;
        };
        self.bytes += size(&event);
        self.events.push(event);
        self.events.last()
    }

    /// Takes out what is older than the watermark, in order.
    fn release(&mut self, watermark: u64) -> Vec<Event> {
        // Stable: events of one time stay in ring order.
        self.events.sort_by_key(|event| event.time);
        let at = self.events.partition_point(|event| event.time < watermark);
        let rest = self.events.split_off(at);
        self.bytes = rest.iter().map(size).sum();
        std::mem::replace(&mut self.events, rest)
    }
}

/// What an event takes, roughly.
fn size(event: &Event) -> u64 {
    let plaintext = match &event.kind {
        EventKind::Data(chunk) => chunk.bytes.len() as u64,
        _ => 0,
    };
    abi::DATA as u64 + plaintext
}
