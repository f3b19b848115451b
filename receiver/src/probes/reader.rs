//! The thread that drains the rings.
//!
//! Events of both rings are put in order by their times. What is newer than the start of a drain is held back for the
//! next one, because an older event may still be on its way from another processor.

use std::{
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};

use super::abi;
use crate::{Error, event::Event};

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

/// An event may be stamped this much before it can be read, ns.
const SLACK: u64 = 2_000_000;

/// How long the thread sleeps when nothing wakes it: payload mostly does not.
const TIMEOUT: Duration = Duration::from_millis(5);

/// Nanoseconds since boot, as `bpf_ktime_get_boot_ns` counts them.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

impl Reader {
    /// Starts the thread. `limit` bounds the bytes of events that are held back.
    pub(super) fn start(ebpf: &mut Ebpf, limit: u64, mut delivery: Box<dyn Delivery>) -> Result<Self, Error> {
        let mut ring = |name: &str| {
            let map = ebpf.take_map(name).ok_or_else(|| Error::Kernel(format!("the ring {name} is in use already")))?;
            RingBuf::try_from(map).map_err(|error| Error::Kernel(super::chain(&error)))
        };
        let (mut lifecycle, mut payload) = (ring("LIFECYCLE")?, ring("PAYLOAD")?);
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("rings".into()).spawn(move || {
            let mut held = Held { events: Vec::new(), bytes: 0, limit };
            loop {
                let last = stopping.load(Ordering::SeqCst);
                let began = now();
                // Payload first: whatever process event came before a piece of payload is then in the other ring.
                held.drain(&mut payload, None);
                held.drain(&mut lifecycle, Some(delivery.as_mut()));
                let watermark = if last { u64::MAX } else { began.saturating_sub(SLACK) };
                delivery.ordered(held.release(watermark), if last { now() } else { watermark });
                if last {
                    break;
                }
                wait(&lifecycle, &payload);
            }
            delivery.end();
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Reads what is left and ends the thread.
    pub fn stop(&mut self) {
        // What the last events' slack holds back is given out by the last round.
        std::thread::sleep(Duration::from_nanos(SLACK));
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

/// Sleeps until a ring wakes us or the time-out.
fn wait(lifecycle: &RingBuf<MapData>, payload: &RingBuf<MapData>) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [
        PollFd::from_borrowed_fd(lifecycle.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(payload.as_fd(), PollFlags::IN),
    ];
    let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: i64::from(TIMEOUT.subsec_nanos()) as _ };
    // Interrupted or not, the rings are looked at next.
    let _ = poll(&mut fds, Some(&timeout));
}

struct Held {
    events: Vec<Event>,
    bytes: u64,
    limit: u64,
}

impl Held {
    /// Reads a ring until it is empty or the limit is reached; what stays in the ring is the kernel's to count.
    fn drain(&mut self, ring: &mut RingBuf<MapData>, mut urgent: Option<&mut dyn Delivery>) {
        while self.bytes < self.limit {
            let Some(item) = ring.next() else { break };
            let Some(event) = abi::decode(&item) else {
                tracing::error!("The kernel side gave an event that cannot be decoded.");
                continue;
            };
            self.bytes += item.len() as u64;
            if let Some(delivery) = urgent.as_deref_mut() {
                delivery.urgent(&event);
            }
            self.events.push(event);
        }
    }

    /// Takes out what is older than the watermark, in order.
    fn release(&mut self, watermark: u64) -> Vec<Event> {
        // Stable: events of one time stay in ring order.
        self.events.sort_by_key(|event| event.time);
        let at = self.events.partition_point(|event| event.time < watermark);
        let rest = self.events.split_off(at);
        self.bytes = rest.iter().map(event_size).sum();
        std::mem::replace(&mut self.events, rest)
    }
}

fn event_size(event: &Event) -> u64 {
    match &event.kind {
        crate::event::EventKind::Data(chunk) => abi::DATA as u64 + chunk.bytes.len() as u64,
        _ => abi::HEADER as u64,
    }
}
