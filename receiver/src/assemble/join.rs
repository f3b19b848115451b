//! Brings together what belongs to one connection: TLS objects and their sockets, and the two directions of libraries that
//! protect each direction on its own.
//!
//! A connection of such a library is known by its socket (with [`BY_SOCKET`] set, so that it is no object's address). What
//! it writes is seen before the socket is known: it waits until the thread has sent it, for a while.

use std::collections::BTreeMap;

use pipeline::ProcessKey;

use crate::event::{Chunk, Direction, Source};

/// Set in the key of a connection that is known by its socket. Addresses of user space never have it.
pub const BY_SOCKET: u64 = 1 << 63;

/// How long written plaintext waits for its socket, ns.
const PATIENCE: u64 = 1_000_000_000;

/// How many bytes of one object wait, and of all objects together.
const MOST_OF_ONE: usize = 4 << 20;
const MOST: usize = 64 << 20;

/// A piece of plaintext that is ready for the streams.
#[derive(Debug, PartialEq, Eq)]
pub struct Ready {
    /// Who read or wrote it.
    pub process: ProcessKey,
    /// When, in ns since boot.
    pub time: u64,
    /// The piece; its object is the connection's key.
    pub chunk: Chunk,
}

/// What an object was tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tie {
    /// 0: none was told in time.
    socket: u64,
    source: Source,
    /// True: by what was sent, which is certain; false: by what was received before.
    sent: bool,
}

#[derive(Debug, Default)]
struct Held {
    chunks: Vec<(u64, Chunk)>,
    bytes: usize,
}

/// All ties.
#[derive(Debug, Default)]
pub struct Join {
    ties: BTreeMap<(ProcessKey, u64), Tie>,
    held: BTreeMap<(ProcessKey, u64), Held>,
    bytes: usize,
}

impl Join {
    /// Takes a piece of plaintext. `told`: whether sockets of this process are told at all.
    pub fn data(&mut self, process: ProcessKey, time: u64, chunk: &Chunk, told: bool, out: &mut Vec<Ready>) {
        let key = (process, chunk.object);
        let ready = |object: u64| Ready { process, time, chunk: Chunk { object, ..chunk.clone() } };
        let tie = self.ties.get_mut(&key).map(|tie| {
            // A pair does not say which kind of object it is about.
            tie.source = chunk.source;
            *tie
        });
        match chunk.source {
            Source::Record if chunk.direction == Direction::Write => match tie {
                Some(tie) => out.push(ready(connection(chunk.object, tie))),
                None if !told => out.push(ready(chunk.object)),
                None => self.hold(key, time, chunk, out),
            },
            Source::Record => {
                let mut tie = tie.unwrap_or(Tie { socket: 0, source: Source::Record, sent: false });
                if tie.socket == 0 && chunk.socket != 0 {
                    tie.socket = chunk.socket;
                    self.ties.insert(key, tie);
                }
                out.push(ready(connection(chunk.object, tie)));
            }
            Source::Socket => {
                let tie = Tie { socket: chunk.object, source: Source::Socket, sent: true };
                self.ties.entry(key).or_insert(tie);
                out.push(ready(chunk.object));
            }
            _ => {
                if chunk.socket != 0 {
                    let tie = Tie { socket: chunk.socket, source: Source::Tls, sent: false };
                    self.ties.entry(key).or_insert(tie);
                }
                out.push(ready(chunk.object));
            }
        }
    }

    /// A TLS object's records went out through a socket.
    pub fn pair(&mut self, process: ProcessKey, object: u64, socket: u64, out: &mut Vec<Ready>) {
        let key = (process, object);
        let held = self.held.remove(&key);
        let before = self.ties.get(&key).map(|tie| tie.source);
        // Only what protects one direction waits for its socket.
        let source = if held.is_some() { Source::Record } else { before.unwrap_or_default() };
        let tie = Tie { socket, source, sent: true };
        self.ties.insert(key, tie);
        self.release(process, connection(object, tie), held, out);
    }

    /// The connection's socket, and whether it carries plaintext as it is.
    pub fn socket(&self, process: ProcessKey, object: u64) -> Option<(u64, bool)> {
        if object & BY_SOCKET != 0 {
            return Some((object & !BY_SOCKET, false));
        }
        let tie = self.ties.get(&(process, object)).filter(|tie| tie.socket != 0)?;
        Some((tie.socket, tie.source == Source::Socket))
    }

    /// What the kernel side knows a connection by.
    pub fn objects(&self, process: ProcessKey, object: u64) -> Vec<u64> {
        if object & BY_SOCKET == 0 {
            return vec![object];
        }
        let of_process = self.ties.range((process, 0)..=(process, u64::MAX));
        of_process.filter(|(key, tie)| connection(key.1, **tie) == object).map(|(key, _)| key.1).collect()
    }

    /// A TLS object is gone, or its address is used for another one. Gives the connection that ended with it, if one did.
    pub fn close(&mut self, process: ProcessKey, object: u64, out: &mut Vec<Ready>) -> Option<u64> {
        let key = (process, object);
        let held = self.held.remove(&key);
        self.release(process, object, held, out);
        // The other direction lives on, and so may this one under new keys.
        let tie = self.ties.get(&key);
        tie.is_none_or(|tie| connection(object, *tie) == object).then_some(object)
    }

    /// A TLS object's tie is no longer needed.
    pub fn untie(&mut self, process: ProcessKey, object: u64) {
        self.ties.remove(&(process, object));
    }

    /// The connections that end with a socket.
    pub fn connections(&self, process: ProcessKey, socket: u64) -> Vec<u64> {
        let of_process = self.ties.range((process, 0)..=(process, u64::MAX));
        let mut ended: Vec<u64> = of_process
            .filter(|(_, tie)| tie.socket == socket && (tie.sent || tie.source == Source::Record))
            .map(|(key, tie)| connection(key.1, *tie))
            .collect();
        ended.sort_unstable();
        ended.dedup();
        ended
    }

    /// A socket was closed: nothing is tied to it any more.
    pub fn closed(&mut self, process: ProcessKey, socket: u64) {
        self.ties.retain(|key, tie| key.0 != process || tie.socket != socket);
    }

    /// A process ended: what waited is ready.
    pub fn exit(&mut self, process: ProcessKey, out: &mut Vec<Ready>) {
        let waiting: Vec<_> = self.held.range((process, 0)..=(process, u64::MAX)).map(|(key, _)| *key).collect();
        for key in waiting {
            self.alone(key, out);
        }
    }

    /// Forgets what a process was tied to.
    pub fn exited(&mut self, process: ProcessKey) {
        self.ties.retain(|key, _| key.0 != process);
    }

    /// What has waited in vain is ready, as a connection of one direction. `now`: ns since boot; `None`: nothing more comes.
    pub fn expire(&mut self, now: Option<u64>, out: &mut Vec<Ready>) {
        if self.held.is_empty() {
            return;
        }
        let late = |held: &Held| {
            let first = held.chunks.first().map_or(0, |(time, _)| *time);
            now.is_none_or(|now| now.saturating_sub(first) > PATIENCE)
        };
        let late: Vec<_> = self.held.iter().filter(|(_, held)| late(held)).map(|(key, _)| *key).collect();
        for key in late {
            self.alone(key, out);
        }
    }

    fn hold(&mut self, key: (ProcessKey, u64), time: u64, chunk: &Chunk, out: &mut Vec<Ready>) {
        let held = self.held.entry(key).or_default();
        held.bytes += chunk.bytes.len();
        held.chunks.push((time, chunk.clone()));
        self.bytes += chunk.bytes.len();
        if held.bytes > MOST_OF_ONE || self.bytes > MOST {
            self.alone(key, out);
        }
    }

    /// An object whose socket was not told.
    fn alone(&mut self, key: (ProcessKey, u64), out: &mut Vec<Ready>) {
        self.ties.insert(key, Tie { socket: 0, source: Source::Record, sent: false });
        let held = self.held.remove(&key);
        self.release(key.0, key.1, held, out);
    }

    fn release(&mut self, process: ProcessKey, object: u64, held: Option<Held>, out: &mut Vec<Ready>) {
        let Some(held) = held else { return };
        self.bytes = self.bytes.saturating_sub(held.bytes);
        let ready = |(time, chunk): (u64, Chunk)| Ready { process, time, chunk: Chunk { object, ..chunk } };
        out.extend(held.chunks.into_iter().map(ready));
    }
}

/// The key of the connection of a tied object.
fn connection(object: u64, tie: Tie) -> u64 {
    if tie.source == Source::Record && tie.socket != 0 { tie.socket | BY_SOCKET } else { object }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: ProcessKey = ProcessKey { tgid: 7, start: 1 };

    fn chunk(source: Source, object: u64, socket: u64, direction: Direction) -> Chunk {
        Chunk { source, object, socket, direction, total: 1, offset: 0, bytes: vec![b'x'].into() }
    }

    fn objects(ready: &mut Vec<Ready>) -> Vec<u64> {
        ready.drain(..).map(|ready| ready.chunk.object).collect()
    }

    #[test]
    fn two_directions_meet_at_their_socket() {
        let (mut join, mut out) = (Join::default(), Vec::new());
        let write = chunk(Source::Record, 100, 0, Direction::Write);
        let read = chunk(Source::Record, 200, 9, Direction::Read);
        join.data(PROCESS, 1, &write, true, &mut out);
        join.data(PROCESS, 2, &write, true, &mut out);
        assert_eq!(out, []);
        join.pair(PROCESS, 100, 9, &mut out);
        join.data(PROCESS, 3, &read, true, &mut out);
        join.data(PROCESS, 4, &write, true, &mut out);
        assert_eq!(out.iter().map(|ready| ready.time).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(objects(&mut out), [9 | BY_SOCKET; 4]);
        assert_eq!(join.socket(PROCESS, 9 | BY_SOCKET), Some((9, false)));
        assert_eq!(join.objects(PROCESS, 9 | BY_SOCKET), [100, 200]);
        assert_eq!(join.connections(PROCESS, 9), [9 | BY_SOCKET]);
        join.closed(PROCESS, 9);
        // The same addresses on another connection.
        join.data(PROCESS, 5, &write, true, &mut out);
        assert_eq!(out, []);
        join.pair(PROCESS, 100, 10, &mut out);
        assert_eq!(objects(&mut out), [10 | BY_SOCKET]);
    }

    #[test]
    fn what_waits_in_vain_goes_alone_until_its_socket_is_told() {
        let (mut join, mut out) = (Join::default(), Vec::new());
        let write = chunk(Source::Record, 100, 0, Direction::Write);
        join.data(PROCESS, 1, &write, true, &mut out);
        join.expire(Some(1 + PATIENCE), &mut out);
        assert_eq!(out, []);
        join.expire(Some(2 + PATIENCE), &mut out);
        join.data(PROCESS, 2 + PATIENCE, &write, true, &mut out);
        assert_eq!(objects(&mut out), [100, 100]);
        join.pair(PROCESS, 100, 9, &mut out);
        join.data(PROCESS, 3 + PATIENCE, &write, true, &mut out);
        assert_eq!(objects(&mut out), [9 | BY_SOCKET]);
        let other = chunk(Source::Record, 300, 0, Direction::Write);
        join.data(PROCESS, 1, &other, false, &mut out);
        assert_eq!(objects(&mut out), [300]);
        join.data(PROCESS, 1, &other, true, &mut out);
        join.expire(None, &mut out);
        assert_eq!((objects(&mut out), join.bytes), (vec![300], 0));
    }

    #[test]
    fn a_tls_object_keeps_its_key_and_what_was_sent_decides() {
        let (mut join, mut out) = (Join::default(), Vec::new());
        join.data(PROCESS, 1, &chunk(Source::Tls, 5, 8, Direction::Read), true, &mut out);
        assert_eq!(join.socket(PROCESS, 5), Some((8, false)));
        assert_eq!(join.connections(PROCESS, 8), [0u64; 0]);
        join.pair(PROCESS, 5, 9, &mut out);
        join.data(PROCESS, 2, &chunk(Source::Tls, 5, 8, Direction::Read), true, &mut out);
        assert_eq!((join.socket(PROCESS, 5), objects(&mut out)), (Some((9, false)), vec![5, 5]));
        assert_eq!(join.connections(PROCESS, 9), [5]);
        assert_eq!(join.close(PROCESS, 5, &mut out), Some(5));
    }

    #[test]
    fn the_end_of_one_direction_s_keys_ends_no_connection() {
        let (mut join, mut out) = (Join::default(), Vec::new());
        join.data(PROCESS, 1, &chunk(Source::Record, 200, 9, Direction::Read), true, &mut out);
        assert_eq!(join.close(PROCESS, 200, &mut out), None);
        join.data(PROCESS, 1, &chunk(Source::Socket, 11, 11, Direction::Write), true, &mut out);
        assert_eq!(join.socket(PROCESS, 11), Some((11, true)));
        assert_eq!(join.connections(PROCESS, 11), [11]);
    }
}
