//! How far the two sides of a ring are: aya reads a ring but does not tell what is still on its way in it.

use std::{
    os::fd::{AsFd, AsRawFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::Error;

/// The two positions of a ring (kernel/bpf/ringbuf.c: the first page is the consumer's, the second the producer's; each
/// begins with a position that only grows).
pub struct Positions {
    consumer: NonNull<AtomicU64>,
    producer: NonNull<AtomicU64>,
    page: usize,
}

// SAFETY: the pages belong to this value alone, are mapped as long as it lives, and hold atomics.
unsafe impl Send for Positions {}

impl Positions {
    /// Maps the position pages of a ring, to be read only.
    pub fn map(ring: &impl AsFd) -> Result<Self, Error> {
        // SAFETY: takes no pointer.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| std::io::Error::last_os_error())?;
        // SAFETY: the kernel chooses the address, so no memory of ours is touched; the result is checked.
        let start = unsafe {
            let fd = ring.as_fd().as_raw_fd();
            libc::mmap(std::ptr::null_mut(), 2 * page, libc::PROT_READ, libc::MAP_SHARED, fd, 0)
        };
        if start == libc::MAP_FAILED {
            let error = std::io::Error::last_os_error();
            return Err(Error::Kernel(format!("the positions of a ring cannot be mapped: {error}")));
        }
        let at = |address: *mut libc::c_void| {
            NonNull::new(address.cast::<AtomicU64>()).ok_or_else(|| Error::Kernel("a ring was mapped nowhere".into()))
        };
        let consumer = at(start)?;
        // SAFETY: the mapping is two pages long.
        let producer = at(unsafe { start.byte_add(page) })?;
        Ok(Self { consumer, producer, page })
    }

    /// Where the next record will begin. What is reserved after this call begins there or later.
    pub fn reserved(&self) -> u64 {
        // SAFETY: mapped as long as `self` lives, aligned to a page.
        unsafe { self.producer.as_ref() }.load(Ordering::Acquire)
    }

    /// Whether everything before a position has been read. False while a record before it is still being written.
    pub fn read_until(&self, position: u64) -> bool {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }.load(Ordering::Acquire) >= position
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped, and nobody else has it.
        unsafe { libc::munmap(self.consumer.as_ptr().cast(), 2 * self.page) };
    }
}
