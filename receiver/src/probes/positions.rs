//! How far the two sides of a ring are: aya reads a ring but does not tell what is still on its way in it.

use std::{os::fd::AsFd, sync::atomic::Ordering};

use super::pages::{Pages, page_size};
use crate::Error;

/// The two positions of a ring (kernel/bpf/ringbuf.c: the first page is the consumer's, the second the producer's; each
/// begins with a position that only grows).
pub struct Positions {
    pages: Pages,
    /// Where the second page begins.
    producer: usize,
}

impl Positions {
    /// Maps the position pages of a ring, to be read only.
    pub fn map(ring: &impl AsFd) -> Result<Self, Error> {
        let page = page_size()?;
        let pages = Pages::map(ring, 2 * page, libc::PROT_READ)
            .map_err(|error| Error::Kernel(format!("the positions of a ring cannot be mapped: {error}")))?;
        Ok(Self { pages, producer: page })
    }

    /// Where the next record will begin. What is reserved after this call begins there or later.
    pub fn reserved(&self) -> u64 {
        self.pages.number(self.producer).load(Ordering::Acquire)
    }

    /// Whether everything before a position has been read. False while a record before it is still being written.
    pub fn read_until(&self, position: u64) -> bool {
        self.pages.number(0).load(Ordering::Acquire) >= position
    }
}
