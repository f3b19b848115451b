//! What processes that are not watched did lately: told if they turn out to be an agent's, forgotten if not.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use pipeline::{Kind, Observation, ProcessKey, Timestamp, observation::ProcessInfo};

use crate::event::{Event, EventKind};

/// Process observations that are kept, of all processes together.
const MOST: usize = 8192;

/// Deeds that are kept of one process, and of all together.
const MOST_OF_ONE: usize = 1024;
const MOST_DEEDS: usize = 16_384;

/// Bytes of deeds that are kept, of all processes together, and what one takes beside its texts, roughly.
const MOST_BYTES: usize = 16 << 20;
const ENTRY: usize = 384;

/// Something that a process did.
#[derive(Debug)]
pub enum What {
    /// It is told as it is.
    Told(Observation),
    /// It is still to be looked at, as if it happened now.
    Deed(Event),
    /// It was looked at already, and is kept for a recording only.
    Seen(Event),
}

/// What a process did, and when.
#[derive(Debug)]
pub struct Kept {
    /// When.
    pub time: Timestamp,
    /// The process as it was then.
    pub process: Arc<ProcessInfo>,
    /// What.
    pub what: What,
}

/// A bounded memory of what processes did.
#[derive(Default)]
pub struct Recent {
    /// For how long it is kept, ns.
    keep: u64,
    /// Their starts and ends, in order of time.
    processes: VecDeque<Kept>,
    /// All else, in the order in which it came.
    deeds: BTreeMap<u64, Kept>,
    of_process: HashMap<ProcessKey, Deeds>,
    bytes: usize,
    next: u64,
    lost: u64,
}

/// What is kept of one process.
#[derive(Default)]
struct Deeds {
    kept: VecDeque<u64>,
    /// What had to give way to younger ones, and the time of the last.
    evicted: u64,
    last: Timestamp,
}

impl Recent {
    /// Nothing is remembered yet; what is, for so long (ns).
    pub fn new(keep: u64) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Remembers that a process started or ended.
    pub fn process(&mut self, observation: Observation) {
        if self.keep == 0 {
            return;
        }
        if self.processes.len() >= MOST {
            self.processes.pop_front();
        }
        let (time, process) = (observation.time, observation.process.clone());
        self.processes.push_back(Kept { time, process, what: What::Told(observation) });
    }

    /// Remembers something else that a process did.
    pub fn deed(&mut self, time: Timestamp, process: Arc<ProcessInfo>, what: What) {
        if self.keep == 0 {
            return;
        }
        let deeds = self.of_process.entry(process.key).or_default();
        deeds.kept.push_back(self.next);
        let first = if deeds.kept.len() > MOST_OF_ONE { deeds.kept.front().copied() } else { None };
        self.bytes = self.bytes.saturating_add(size(&what));
        self.deeds.insert(self.next, Kept { time, process, what });
        self.next += 1;
        if let Some(first) = first {
            self.evict(first);
        }
        while (self.deeds.len() > MOST_DEEDS || self.bytes > MOST_BYTES)
            && let Some(first) = self.deeds.keys().next().copied()
        {
            self.evict(first);
        }
    }

    /// Something gives way to younger things.
    fn evict(&mut self, id: u64) {
        if let Some(kept) = self.remove(id) {
            let deeds = self.of_process.entry(kept.process.key).or_default();
            deeds.evicted += 1;
            deeds.last = deeds.last.max(kept.time);
        }
    }

    /// Takes out a deed, mostly the oldest of its process.
    fn remove(&mut self, id: u64) -> Option<Kept> {
        let kept = self.deeds.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(size(&kept.what));
        if let Some(deeds) = self.of_process.get_mut(&kept.process.key) {
            if deeds.kept.front() == Some(&id) {
                deeds.kept.pop_front();
            } else {
                deeds.kept.retain(|of| *of != id);
            }
        }
        Some(kept)
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: Timestamp) {
        let old = |time: Timestamp, keep: u64| now.nanos().saturating_sub(time.nanos()) > keep;
        while self.processes.front().is_some_and(|first| old(first.time, self.keep)) {
            self.processes.pop_front();
        }
        while let Some((id, first)) = self.deeds.first_key_value()
            && old(first.time, self.keep)
        {
            let id = *id;
            self.remove(id);
        }
        let keep = self.keep;
        self.of_process.retain(|_, deeds| !deeds.kept.is_empty() || (deeds.evicted > 0 && !old(deeds.last, keep)));
    }

    /// Takes out what these processes did, and their children of that time if they are wanted, in order of time.
    pub fn take(&mut self, processes: &[ProcessKey], children: bool, now: Timestamp) -> Vec<Kept> {
        let mut wanted: BTreeSet<ProcessKey> = processes.iter().copied().collect();
        let mut taken = Vec::new();
        let mut kept = VecDeque::with_capacity(self.processes.len());
        for one in self.processes.drain(..) {
            let child = children && one.process.parent.is_some_and(|parent| wanted.contains(&parent));
            if child || wanted.contains(&one.process.key) {
                wanted.insert(one.process.key);
                taken.push(one);
            } else {
                kept.push_back(one);
            }
        }
        self.processes = kept;
        for key in &wanted {
            let Some(deeds) = self.of_process.remove(key) else { continue };
            if now.nanos().saturating_sub(deeds.last.nanos()) <= self.keep {
                self.lost = self.lost.saturating_add(deeds.evicted);
            }
            taken.extend(deeds.kept.into_iter().filter_map(|id| self.remove(id)));
        }
        // Stable: what was told at one time stays in order, starts of processes first.
        taken.sort_by_key(|one| one.time);
        taken
    }

    /// How much of what would have been told had to give way.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// What it takes, roughly.
fn size(what: &What) -> usize {
    let texts = match what {
        What::Told(observation) => match &observation.kind {
            Kind::Dns(dns) => dns.name.len() + 48 * (dns.addresses.len() + dns.aliases.len()),
            _ => 0,
        },
        What::Deed(event) | What::Seen(event) => match &event.kind {
            EventKind::Data(chunk) => chunk.bytes.len(),
            EventKind::File(file) => file.place.path.len() + file.other.as_ref().map_or(0, |other| other.path.len()),
            _ => 0,
        },
    };
    ENTRY + texts
}
