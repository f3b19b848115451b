//! WebSocket (RFC 6455) after its upgrade, or joined in the middle: frames → messages → the exchanges of a model's API.
//!
//! Each direction is cut into frames by itself. A direction whose place is lost waits for a call that begins with a
//! frame. Where compression carries its context from message to message (RFC 7692), what is lost once cannot be read
//! until the connection ends: its calls say so in their losses.

mod calls;
mod deflate;
mod frame;
mod peek;
#[cfg(test)]
mod tests;

use pipeline::{
    ConnectionKey, Timestamp,
    observation::{Exchange, Headers, LossReason, Part, Role},
};

use crate::event::Direction;

use super::connection::Next;
use calls::Calls;
pub(super) use calls::Upgrade;
use frame::{Lane, Parsed, Told};

/// Bytes of a client's first message that are looked at to know the protocol.
const LOOK: usize = 64 * 1024;

/// True if the answer to an upgrade begins a WebSocket.
pub(super) fn is_websocket(answer: &Headers) -> bool {
    answer.get("upgrade").is_some_and(|value| value.trim().eq_ignore_ascii_case("websocket"))
}

/// True if a call with these bytes begins with a message of a client's to a model's API: masked text, not compressed, that
/// is JSON with a known `type`. By this a connection is recognised whose upgrade was not seen.
pub(super) fn begins_client_message(bytes: &[u8]) -> bool {
    let Parsed::Header(header) = frame::header(bytes) else { return false };
    let (Some(mask), 1, false) = (header.mask, header.opcode, header.compressed) else { return false };
    let payload = bytes.get(header.size..).unwrap_or_default();
    let length = payload.len().min(LOOK).min(usize::try_from(header.length).unwrap_or(LOOK));
    let mut start = payload.get(..length).unwrap_or_default().to_vec();
    frame::unmask(&mut start, mask, 0);
    peek::peek(&start, true).is_some_and(|said| calls::is_known(&said.kind))
}

/// Which connection, as it was before.
#[derive(Clone, Debug)]
pub(super) struct Of {
    pub(super) key: ConnectionKey,
    pub(super) role: Role,
    pub(super) tls: bool,
    /// Which exchange of the connection the first call will be.
    pub(super) first_index: u32,
    /// Most bytes of a message that are kept, as `max_body_size`.
    pub(super) limit: u64,
}

/// A connection that speaks WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket {
    role: Role,
    /// The client's messages.
    asks: Lane,
    /// The server's messages.
    answers: Lane,
    calls: Calls,
    limit: u64,
    told: Vec<Told>,
}

impl WebSocket {
    /// After an upgrade.
    pub(super) fn upgraded(of: &Of, upgrade: Upgrade) -> Self {
        let agreed = deflate::agreed(&upgrade.answer);
        let asks = Lane::new(true, agreed.map(|agreed| !agreed.client_no_takeover));
        let answers = Lane::new(false, agreed.map(|agreed| !agreed.server_no_takeover));
        Self::new(of, upgrade, asks, answers)
    }

    /// A connection of which nothing was seen before this call of the client's ([`begins_client_message`]).
    pub(super) fn joined(of: &Of) -> Self {
        Self::new(of, Upgrade::default(), Lane::joined(true), Lane::joined(false))
    }

    fn new(of: &Of, upgrade: Upgrade, asks: Lane, answers: Lane) -> Self {
        Self { role: of.role, asks, answers, calls: Calls::new(of, upgrade), limit: of.limit, told: Vec::new() }
    }

    /// Bytes held.
    pub(super) fn size(&self) -> u64 {
        self.asks.size() + self.answers.size() + self.calls.size()
    }

    /// Sizes of the bodies that are held: (bytes, which call, response). A message that is not whole stands after all calls.
    pub(super) fn bodies(&self) -> impl Iterator<Item = (u64, usize, bool)> {
        let arriving = [(self.asks.arriving(), usize::MAX, false), (self.answers.arriving(), usize::MAX, true)];
        self.calls.bodies().chain(arriving)
    }

    /// Throws a body away. Gives the bytes that it held.
    pub(super) fn forget(&mut self, at: usize, response: bool) -> u64 {
        match (at, response) {
            (usize::MAX, false) => self.asks.forget(),
            (usize::MAX, true) => self.answers.forget(),
            _ => self.calls.forget(at, response),
        }
    }

    /// Takes a piece of a direction. `border`: it begins a call.
    pub(super) fn feed(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        border: bool,
        time: Timestamp,
        out: &mut Vec<Exchange>,
    ) -> Next {
        let mut told = std::mem::take(&mut self.told);
        let (lane, part) = self.lane(direction);
        lane.feed(bytes, border, time, part.1, &mut told);
        let next = self.take(part.0, &mut told, out);
        self.told = told;
        next
    }

    /// So many bytes of a direction are missing here.
    pub(super) fn hole(&mut self, direction: Direction, bytes: u64, time: Timestamp, out: &mut Vec<Exchange>) -> Next {
        let mut told = std::mem::take(&mut self.told);
        let (lane, part) = self.lane(direction);
        lane.hole(bytes, time, &mut told);
        let next = self.take(part.0, &mut told, out);
        self.told = told;
        next
    }

    /// The connection ended: gives out what is open, for this reason.
    pub(super) fn end(&mut self, reason: LossReason, out: &mut Vec<Exchange>) {
        self.calls.end(reason, out);
    }

    fn lane(&mut self, direction: Direction) -> (&mut Lane, (Part, u64)) {
        let asks = (direction == Direction::Write) == (self.role == Role::Client);
        let limit = self.limit;
        if asks { (&mut self.asks, (Part::Request, limit)) } else { (&mut self.answers, (Part::Response, limit)) }
    }

    fn take(&mut self, part: Part, told: &mut Vec<Told>, out: &mut Vec<Exchange>) -> Next {
        for told in told.drain(..) {
            match (told, part) {
                (Told::Message(message), Part::Request) => self.calls.sent(&message, out),
                (Told::Message(message), Part::Response) => {
                    self.calls.received(&message, self.answers.blind(), out);
                }
                (Told::Lost(bytes), _) => self.calls.lost(part, bytes),
                (Told::Close, _) => self.calls.close(out),
            }
        }
        if self.calls.foreign() { Next::Foreign } else { Next::More }
    }
}
