//! One direction of a connection.

use memchr::memchr;
use pipeline::Timestamp;

use crate::streams::{
    chunked::Chunked,
    head::{self, Begins},
};

/// Bytes of a head that a lane keeps room for.
const USUAL_HEAD: usize = 4 * 1024;

/// Where in the messages of a direction.
#[derive(Debug)]
pub(super) enum State {
    /// Between messages, or in a first line that may be one. In step if it must be; else it must begin with a call.
    Start { in_step: bool },
    /// After a first line.
    Head,
    /// In a body of which so many bytes are left.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunked),
    /// In a body that ends with the connection.
    Close,
    /// In a chunked body whose framing is lost: a call may begin with a chunk.
    Rejoin,
    /// Not known; to the end of this call.
    Skip,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    /// Bytes of the present call, and how many of them came.
    pub(super) call: (u64, u64),
    /// When the first of them came.
    pub(super) began: Timestamp,
    pub(super) state: State,
    /// What there is of a head.
    pub(super) head: Vec<u8>,
    /// When its first byte came.
    pub(super) started: Timestamp,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self { call: (0, 0), began: Timestamp(0), state: State::Skip, head: Vec::new(), started: Timestamp(0) }
    }

    pub(super) fn lose(&mut self) {
        self.state = State::Skip;
        self.clear_head();
    }

    /// Forgets the head; a connection at rest holds little.
    pub(super) fn clear_head(&mut self) {
        self.head.clear();
        self.head.shrink_to(USUAL_HEAD);
    }

    /// Bytes that the present body is known to be short of.
    pub(super) fn left(&self) -> u64 {
        match &self.state {
            State::Length(left) => *left,
            State::Chunked(chunked) => chunked.left(),
            _ => 0,
        }
    }

    /// Collects a first line from the front of `bytes`. `Yes`: it is in `head`. `No`: it begins no message.
    pub(super) fn first_line(
        &mut self,
        bytes: &mut &[u8],
        border: bool,
        time: Timestamp,
        look: fn(&[u8], usize) -> Begins,
    ) -> Begins {
        loop {
            if self.head.is_empty() {
                // RFC 9112, section 2.2: a line end before a message is passed over.
                let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                *bytes = bytes.get(blank..).unwrap_or_default();
                self.started = time;
            }
            let had = self.head.len();
            let take = memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            // Almost all that is no message shows it at once: do not collect it.
            if had == 0 && take > 16 && look(bytes.get(..16).unwrap_or_default(), 16) == Begins::No {
                return Begins::No;
            }
            let (now, rest) = bytes.split_at(take.min(bytes.len()));
            self.head.extend_from_slice(now);
            match look(&self.head, now.len()) {
                Begins::No => {
                    self.head.clear();
                    if had > 0 && border {
                        // What an earlier call began was nothing; this call may be.
                        continue;
                    }
                    return Begins::No;
                }
                found => {
                    *bytes = rest;
                    return found;
                }
            }
        }
    }

    /// Collects the rest of a head. `None`: more must come; false: it is too long.
    pub(super) fn rest_of_head(&mut self, bytes: &mut &[u8]) -> Option<bool> {
        while !bytes.is_empty() {
            let end = memchr(b'\n', bytes);
            let (now, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1).min(bytes.len()));
            self.head.extend_from_slice(now);
            *bytes = rest;
            if end.is_some() && (self.head.ends_with(b"\n\r\n") || self.head.ends_with(b"\n\n")) {
                return Some(true);
            }
            if self.head.len() > head::LONGEST {
                return Some(false);
            }
        }
        None
    }
}
