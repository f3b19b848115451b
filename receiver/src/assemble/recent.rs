//! What processes that are not watched did lately: told if they turn out to be an agent's.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use pipeline::{Observation, ProcessKey, Timestamp};

/// How long it is kept.
const KEPT: Duration = Duration::from_secs(30);

/// How many are kept, of all processes together.
const MOST: usize = 8192;

/// A bounded memory of process observations, in order of time.
#[derive(Default)]
pub struct Recent(VecDeque<Observation>);

impl Recent {
    /// Remembers one.
    pub fn push(&mut self, observation: Observation) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(observation);
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: Timestamp) {
        while self.0.front().is_some_and(|first| now.since(first.time) > KEPT) {
            self.0.pop_front();
        }
    }

    /// Takes out what these processes did, and their children of that time if they are wanted.
    pub fn take(&mut self, processes: &[ProcessKey], children: bool) -> Vec<Observation> {
        let mut wanted: BTreeSet<ProcessKey> = processes.iter().copied().collect();
        let mut taken = Vec::new();
        let mut kept = VecDeque::with_capacity(self.0.len());
        for observation in self.0.drain(..) {
            let process = &observation.process;
            let child = children && process.parent.is_some_and(|parent| wanted.contains(&parent));
            if child || wanted.contains(&process.key) {
                wanted.insert(process.key);
                taken.push(observation);
            } else {
                kept.push_back(observation);
            }
        }
        self.0 = kept;
        taken
    }
}
