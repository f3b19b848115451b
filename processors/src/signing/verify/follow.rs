//! Follows one chain through the records of good signature.

use std::collections::BTreeMap;

use super::{
    Place,
    report::{ChainSummary, What},
};
use crate::signing::GENESIS;

/// What tells chains apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChainKey {
    pub source: String,
    pub key_id: String,
    pub id: String,
}

/// A run of numbers that were jumped over.
#[derive(Debug)]
struct Gap {
    last: u64,
    /// The record after it.
    place: Place,
    before: u64,
}

/// A chain so far.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Highest number seen.
    highest: u64,
    first: u64,
    records: u64,
    closed: bool,
    /// Hash of the record of the highest number; none if that one was changed.
    hash: Option<String>,
    place: Option<Place>,
    /// By their first number. One may still be filled by a record that comes late.
    gaps: BTreeMap<u64, Gap>,
}

impl Followed {
    /// A record of good signature. Tells what is wrong with its place; missing ones are told by [`Self::missing`].
    pub fn next(&mut self, place: Place, sequence: u64, previous: &str, hash: String, closes: bool) -> Option<What> {
        self.records += 1;
        self.first = if self.first == 0 { sequence } else { self.first.min(sequence) };
        if sequence <= self.highest {
            return Some(if self.fill(sequence) { What::Reordered } else { What::Doubled });
        }
        let expected = self.highest.saturating_add(1);
        let mut found = None;
        if sequence > expected {
            self.gaps.insert(expected, Gap { last: sequence - 1, place, before: sequence });
        } else {
            let before = if sequence == 1 { Some(GENESIS) } else { self.hash.as_deref() };
            if before.is_some_and(|before| before != previous) {
                found = Some(What::Broken);
            }
        }
        (self.highest, self.hash, self.closed, self.place) = (sequence, Some(hash), closes, Some(place));
        found
    }

    /// A record of bad signature that claims this number.
    pub fn changed(&mut self, sequence: u64) {
        if self.highest.checked_add(1) == Some(sequence) {
            (self.highest, self.hash, self.closed) = (sequence, None, false);
        }
    }

    /// Takes a number out of the gap that it is in.
    fn fill(&mut self, sequence: u64) -> bool {
        let Some((&first, gap)) = self.gaps.range_mut(..=sequence).next_back() else { return false };
        if sequence > gap.last {
            return false;
        }
        let rest = Gap { last: gap.last, place: gap.place, before: gap.before };
        if sequence == first {
            self.gaps.remove(&first);
        } else {
            gap.last = sequence - 1;
        }
        if sequence < rest.last {
            self.gaps.insert(sequence + 1, rest);
        }
        true
    }

    /// Where records are missing: at the record after them.
    pub fn missing(&self) -> impl Iterator<Item = (Place, u64, What)> {
        self.gaps.iter().map(|(first, gap)| {
            let what = if *first == 1 { What::StartMissing } else { What::Removed { first: *first, last: gap.last } };
            (gap.place, gap.before, what)
        })
    }

    /// Where the record of the highest number stands.
    pub fn last_place(&self) -> Option<Place> {
        self.place
    }

    pub fn summary(&self, key: ChainKey) -> ChainSummary {
        ChainSummary {
            source: key.source,
            key_id: key.key_id,
            id: key.id,
            first: self.first,
            last: self.highest,
            records: self.records,
            closed: self.closed,
        }
    }
}
