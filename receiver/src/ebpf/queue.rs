//! The queue between the reader of the rings and assembly: bounded in bytes, never waiting for room.
//!
//! When it is full, plaintext is dropped and counted; process events are few and have as much room again.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{event::EventKind, record::Frame};

/// What an entry costs beside its plaintext, roughly.
const ENTRY: usize = 256;

/// A bounded queue of frames.
pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    limit: usize,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Vec<Frame>>,
    bytes: usize,
    closed: bool,
}

/// What was taken out.
pub enum Taken {
    /// Frames, in order.
    Frames(Vec<Frame>),
    /// Nothing came in time.
    Nothing,
    /// Closed, and empty.
    Closed,
}

impl Queue {
    /// A queue for this many bytes.
    pub fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes frames without waiting. Gives the number of events that had to be dropped.
    pub fn push(&self, mut frames: Vec<Frame>) -> u64 {
        let events = |frames: &[Frame]| frames.iter().filter(|frame| matches!(frame, Frame::Event(_))).count();
        let before = events(&frames);
        let mut state = self.lock();
        let mut bytes = size(&frames);
        if state.bytes.saturating_add(bytes) > self.limit {
            frames.retain(|frame| !is_data(frame));
            bytes = size(&frames);
            if state.bytes.saturating_add(bytes) > self.limit.saturating_mul(2) {
                frames.clear();
                bytes = 0;
            }
        }
        let dropped = before.saturating_sub(events(&frames));
        if !frames.is_empty() {
            state.bytes += bytes;
            state.frames.push_back(frames);
            self.filled.notify_one();
        }
        dropped as u64
    }

    /// Waits for frames, at most this long.
    pub fn pop(&self, wait: Duration) -> Taken {
        let empty = |state: &mut State| state.frames.is_empty() && !state.closed;
        let (mut state, _) =
            self.filled.wait_timeout_while(self.lock(), wait, empty).unwrap_or_else(PoisonError::into_inner);
        match state.frames.pop_front() {
            Some(frames) => {
                state.bytes = state.bytes.saturating_sub(size(&frames));
                Taken::Frames(frames)
            }
            None if state.closed => Taken::Closed,
            None => Taken::Nothing,
        }
    }

    /// Nothing more comes.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }
}

fn is_data(frame: &Frame) -> bool {
    matches!(frame, Frame::Event(event) if matches!(event.kind, EventKind::Data(_)))
}

fn size(frames: &[Frame]) -> usize {
    let plaintext = |frame: &Frame| match frame {
        Frame::Event(event) => match &event.kind {
            EventKind::Data(chunk) => chunk.bytes.len(),
            _ => 0,
        },
        // As many bytes as names, labels and images of a pod have, roughly.
        Frame::Pods(told) => ENTRY.saturating_mul(2 * told.pods.len()),
        _ => 0,
    };
    frames.iter().map(|frame| ENTRY + plaintext(frame)).sum()
}

#[cfg(test)]
mod tests {
    use pipeline::ProcessKey;

    use super::*;
    use crate::event::{Chunk, Direction, Event};

    fn data(bytes: usize) -> Frame {
        let chunk = Chunk {
            source: crate::event::Source::Tls,
            socket: 0,
            object: 1,
            direction: Direction::Read,
            total: 1,
            offset: 0,
            bytes: vec![0; bytes].into(),
        };
        Frame::Event(Event { time: 0, process: ProcessKey::default(), tid: 0, kind: EventKind::Data(chunk) })
    }

    #[test]
    fn plaintext_gives_way_to_process_events() {
        let exit =
            Event { time: 0, process: ProcessKey::default(), tid: 0, kind: EventKind::Exit { code: 0, signal: 0 } };
        let queue = Queue::new(2000);
        assert_eq!(queue.push(vec![data(1000)]), 0);
        assert_eq!(queue.push(vec![data(1000), Frame::Tick(1)]), 1);
        let exits = (0..20).map(|time| Event { time, ..exit.clone() });
        assert_eq!(queue.push(exits.map(Frame::Event).collect()), 20);
        assert!(matches!(queue.pop(Duration::ZERO), Taken::Frames(frames) if frames.len() == 1));
        assert!(matches!(queue.pop(Duration::ZERO), Taken::Frames(frames) if matches!(frames[..], [Frame::Tick(1)])));
        assert!(matches!(queue.pop(Duration::ZERO), Taken::Nothing));
        queue.close();
        assert!(matches!(queue.pop(Duration::ZERO), Taken::Closed));
        assert_eq!(queue.lock().bytes, 0);
    }
}
