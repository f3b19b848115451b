//! HTTP/2 (RFC 9113) → exchanges: frames of each direction, header blocks, streams.
//!
//! Flow control, priorities and pushed answers are passed over. A direction whose place in the frames is not known (joined
//! in the middle, bytes lost) waits for a call that begins with frames. What its headers refer to from before is not
//! invented: the exchange says that it is not whole.

mod fields;
mod frame;
mod hpack;
mod huffman;
mod lane;
mod streams;
#[cfg(test)]
mod tests;

/// What the recorder needs to overwrite credentials.
pub(crate) mod coding {
    pub(crate) use super::{
        frame::{
            CONTINUATION, Chain, DATA, END_HEADERS, END_STREAM, HEAD, HEADERS, Head, PADDED, PREFACE, PRIORITIZED,
            PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, USUAL_LENGTH, WINDOW_UPDATE, begins,
        },
        hpack::{PSEUDO, STATIC},
        huffman::{STAR, overwrite},
    };

    /// Decodes a string in Huffman's code; false if it is not.
    pub(crate) fn decode(coded: &[u8], out: &mut Vec<u8>) -> bool {
        super::huffman::decode(coded, out).is_ok()
    }
}

use pipeline::{
    ConnectionKey,
    observation::{LossReason, Protocol, Role},
};

use super::{
    connection::{Context, Next},
    pending::Carrier,
};
use crate::event::Direction;
pub(super) use frame::{PREFACE, begins};
use lane::Lane;
use streams::Streams;

/// Directions lose their place so often without any request or response between before this is no HTTP/2.
const MOST_LOSSES: u32 = 16;

/// A connection that speaks HTTP/2.
#[derive(Debug)]
pub(super) struct Http2 {
    read: Lane,
    write: Lane,
    streams: Streams,
}

/// How a connection was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// By the preface that the client sends; `fresh` if nothing had come the other way.
    Preface {
        /// Which end is observed.
        role: Role,
        /// Nothing had come from the server before.
        fresh: bool,
    },
    /// By frames.
    Frames,
}

impl Http2 {
    /// One whose first exchange has this index.
    pub(super) fn new(key: ConnectionKey, seen: Seen, tls: bool, next_index: u32) -> Self {
        let (mut read, mut write) = (Lane::new(), Lane::new());
        let role = match seen {
            Seen::Frames => None,
            Seen::Preface { role, fresh } => {
                let (asks, answers) = match role {
                    Role::Client => (&mut write, &mut read),
                    Role::Server => (&mut read, &mut write),
                };
                asks.begin(true);
                if fresh {
                    answers.begin(false);
                }
                Some(role)
            }
        };
        let on = Carrier { key, role: role.unwrap_or(Role::Client), tls, protocol: Protocol::Http2 };
        Self { read, write, streams: Streams::new(on, role.is_some(), next_index) }
    }

    /// Takes a piece of a direction. `border`: it begins a call.
    pub(super) fn feed(&mut self, direction: Direction, bytes: &[u8], border: bool, context: &mut Context<'_>) -> Next {
        self.pass(direction, context, |lane, time, told| lane.feed(bytes, border, time, told))
    }

    /// So many bytes of a direction are missing here.
    pub(super) fn hole(&mut self, direction: Direction, bytes: u64, context: &mut Context<'_>) -> Next {
        self.pass(direction, context, |lane, _, told| lane.hole(bytes, told))
    }

    fn pass(
        &mut self,
        direction: Direction,
        context: &mut Context<'_>,
        work: impl FnOnce(&mut Lane, pipeline::Timestamp, &mut dyn FnMut(lane::Told<'_>)),
    ) -> Next {
        let (lane, other) = match direction {
            Direction::Read => (&mut self.read, &mut self.write),
            Direction::Write => (&mut self.write, &mut self.read),
        };
        let streams = &mut self.streams;
        work(lane, context.time, &mut |told| match told {
            lane::Told::Longest(longest) => other.longest = longest.max(frame::USUAL_LENGTH),
            told => streams.take(direction, told, context),
        });
        if lane.from_start && streams.role_is_unknown() {
            // A lane that was joined is followed from its start if it has the preface, which a client sends.
            streams.learn(direction);
        }
        if streams.losses > MOST_LOSSES { Next::Foreign } else { Next::More }
    }

    /// True if a call of this direction may begin another connection: this one began, and no frame is open.
    pub(super) fn may_end(&self, direction: Direction) -> bool {
        let lane = match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        };
        lane.at_rest() && (lane.from_start || self.streams.began())
    }

    /// The connection ended: gives out what is open, for this reason.
    pub(super) fn end(&mut self, reason: LossReason, context: &mut Context<'_>) {
        self.streams.end(reason, context);
    }

    /// Bytes held.
    pub(super) fn size(&self) -> u64 {
        self.read.size() + self.write.size() + self.streams.held
    }

    /// Sizes of the bodies that are held: (bytes, which stream, response).
    pub(super) fn bodies(&self) -> impl Iterator<Item = (u64, usize, bool)> {
        self.streams.bodies()
    }

    /// Throws a body away. Gives the bytes that it held.
    pub(super) fn forget(&mut self, at: usize, response: bool) -> u64 {
        self.streams.forget(at, response)
    }
}
