//! The headers of TLS records (RFC 8446, section 5.1) in one direction of a connection of which only the beginning of each
//! call is seen.

/// Longest record: the protected one of TLS 1.2 (RFC 5246, section 6.2.3).
const LONGEST: u64 = (1 << 14) + 2_048;

/// Of the handshake records at the beginning, so many bytes are kept.
const OPENING: usize = 1_024;

/// What a record holds, by its header.
pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// A handshake message; in TLS 1.3 only those before the keys are there.
pub const HANDSHAKE: u8 = 22;
/// Application data; in TLS 1.3 everything that is protected.
pub const APPLICATION_DATA: u8 = 23;

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Type.
    pub kind: u8,
    /// Bytes after the header.
    pub length: u64,
}

/// One direction.
#[derive(Debug, Default)]
pub struct Records {
    header: Vec<u8>,
    kind: u8,
    /// Bytes that are left of the present record.
    left: u64,
    /// Where records begin is not known.
    lost: bool,
    missed: u32,
    /// The present call: its size, and how much of it was passed.
    call: (u64, u64),
    opening: Vec<u8>,
}

impl Records {
    /// Takes the beginning of a call, or a part of it. Gives the headers in it.
    pub fn chunk(&mut self, total: u64, offset: u64, bytes: &[u8], out: &mut Vec<Record>) {
        let (size, came) = self.call;
        if offset > 0 && size == total && offset >= came {
            self.pass(offset - came);
        } else {
            self.pass(size.saturating_sub(came));
            if offset == 0 {
                self.lost &= !begins(bytes);
                if self.lost {
                    self.call = (total, bytes.len() as u64);
                    return;
                }
            } else {
                self.pass(offset);
            }
        }
        self.call = (total, offset.saturating_add(bytes.len() as u64));
        self.push(bytes, out);
    }

    /// The bodies of handshake records from the beginning on, as far as they were seen.
    pub fn opening(&self) -> &[u8] {
        &self.opening
    }

    /// How often it became unknown where records begin: some may have been missed then.
    pub fn missed(&self) -> u32 {
        self.missed
    }

    /// Passes over bytes that are not seen.
    fn pass(&mut self, bytes: u64) {
        if bytes == 0 || self.lost {
            return;
        }
        if bytes <= self.left {
            self.left -= bytes;
        } else {
            self.lose();
            self.header.clear();
            self.left = 0;
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        self.missed = self.missed.saturating_add(1);
    }

    fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Record>) {
        while !self.lost && !bytes.is_empty() {
            if self.left > 0 {
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (now, rest) = bytes.split_at(take);
                if self.kind == HANDSHAKE {
                    let room = OPENING.saturating_sub(self.opening.len()).min(now.len());
                    self.opening.extend_from_slice(now.get(..room).unwrap_or_default());
                }
                self.left -= take as u64;
                bytes = rest;
                continue;
            }
            let take = (5 - self.header.len().min(4)).min(bytes.len());
            let (now, rest) = bytes.split_at(take);
            self.header.extend_from_slice(now);
            bytes = rest;
            let [kind, major, _, high, low] = self.header.as_slice() else { continue };
            let record = Record { kind: *kind, length: u64::from(*high) << 8 | u64::from(*low) };
            let none = *major != 3 || !(20..=24).contains(kind) || record.length > LONGEST;
            self.header.clear();
            if none {
                self.lose();
            } else {
                (self.kind, self.left) = (record.kind, record.length);
                out.push(record);
            }
        }
    }
}

/// Whether a call begins with a record's header.
fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=24, 3, 0..=4, ..])
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn records(calls: &[(u64, u64, &[u8])]) -> Vec<(u8, u64)> {
        let (mut records, mut out) = (Records::default(), Vec::new());
        for (total, offset, bytes) in calls {
            records.chunk(*total, *offset, bytes, &mut out);
        }
        out.iter().map(|record| (record.kind, record.length)).collect()
    }

    #[test]
    fn bodies_that_are_not_seen_are_passed_over() {
        // A header by itself, a body of which the beginning is seen, a header across calls, two records in a call.
        let calls: &[(u64, u64, &[u8])] = &[
            (5, 0, &[22, 3, 3, 1, 0]),
            (256, 0, &[2; 64]),
            (3, 0, &[23, 3, 3]),
            (2, 0, &[0, 9]),
            (15, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 21, 3, 3, 0, 1, 7]),
        ];
        assert_eq!(records(calls), [(22, 256), (23, 9), (21, 1)]);
    }

    #[test]
    fn a_call_that_begins_a_record_is_found_again() {
        let calls: &[(u64, u64, &[u8])] = &[
            (100, 0, &[23, 3, 3, 0, 10]),
            (64, 0, &[9; 64]),
            (15, 0, &[23, 3, 3, 0, 10, 1, 1]),
            (15, 0, &[23, 3, 3, 0, 10]),
        ];
        assert_eq!(records(calls), [(23, 10), (23, 10), (23, 10)]);
    }

    proptest! {
        #[test]
        fn nothing_panics(calls in vec((any::<u16>(), any::<u16>(), vec(prop::sample::select(vec![20u8, 22, 23, 3, 0, 1, 255]), 0..40)), 0..30)) {
            let (mut records, mut out) = (Records::default(), Vec::new());
            for (total, offset, bytes) in calls {
                records.chunk(total.into(), offset.into(), &bytes, &mut out);
            }
        }
    }
}
