//! HTTP/2 (RFC 9113) → exchanges.

use pipeline::{
    ConnectionKey,
    observation::{LossReason, Protocol, Role},
};

use super::{
    connection::{Context, Next},
    pending::Carrier,
};
use crate::event::Direction;

/// A connection that speaks HTTP/2.
#[derive(Debug)]
pub(super) struct Http2 {
    on: Carrier,
    next_index: u32,
}

impl Http2 {
    /// One whose first exchange has this index. `role`: which end is observed, if that is known.
    pub(super) fn new(key: ConnectionKey, role: Option<Role>, tls: bool, next_index: u32) -> Self {
        let on = Carrier { key, role: role.unwrap_or(Role::Client), tls, protocol: Protocol::Http2 };
        Self { on, next_index }
    }

    /// Takes a piece of a direction. `border`: it begins a call.
    pub(super) fn feed(&mut self, _: Direction, _: &[u8], _: bool, _: &mut Context<'_>) -> Next {
        Next::More
    }

    /// So many bytes of a direction are missing here.
    pub(super) fn hole(&mut self, _: Direction, _: u64, _: &mut Context<'_>) -> Next {
        Next::More
    }

    /// The connection ended: gives out what is open, for this reason.
    pub(super) fn end(&mut self, _: LossReason, _: &mut Context<'_>) {}

    /// Bytes held.
    pub(super) fn size(&self) -> u64 {
        0
    }

    /// Sizes of the bodies that are held: (bytes, which stream, response).
    pub(super) fn bodies(&self) -> impl Iterator<Item = (u64, usize, bool)> {
        std::iter::empty()
    }

    /// Throws a body away. Gives the bytes that it held.
    pub(super) fn forget(&mut self, _: usize, _: bool) -> u64 {
        0
    }
}
