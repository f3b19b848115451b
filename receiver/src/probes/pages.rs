//! Memory that is shared with the kernel: the positions of rings, and whole rings.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    ptr::NonNull,
    sync::atomic::AtomicU64,
};

/// Pages of a descriptor, mapped as long as this lives.
pub(super) struct Pages {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: the pages belong to this value alone, and are mapped as long as it lives.
unsafe impl Send for Pages {}

/// Bytes of a page.
pub(super) fn page_size() -> io::Result<usize> {
    // SAFETY: takes no pointer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).map_err(|_| io::Error::last_os_error())
}

impl Pages {
    /// Maps a descriptor from its beginning, `protection` as in mmap(2).
    pub(super) fn map(descriptor: &impl AsFd, size: usize, protection: libc::c_int) -> io::Result<Self> {
        // SAFETY: the kernel chooses the address, so no memory of ours is touched; the result is checked.
        let start = unsafe {
            let fd = descriptor.as_fd().as_raw_fd();
            libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED, fd, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped nowhere"))?;
        Ok(Self { start, size })
    }

    /// A number that both sides change in one piece. It lies within, aligned to its size.
    pub(super) fn number(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.size, "no number lies at {at}");
        // SAFETY: within the mapping, which lives as long as `self`; aligned.
        unsafe { self.start.byte_add(at).cast::<AtomicU64>().as_ref() }
    }

    /// Copies bytes that the kernel does not change any more.
    pub(super) fn copy(&self, from: usize, to: &mut [u8]) {
        assert!(from.checked_add(to.len()).is_some_and(|end| end <= self.size), "beyond what is mapped");
        // SAFETY: within the mapping, and `to` is memory of our own.
        unsafe { std::ptr::copy_nonoverlapping(self.start.as_ptr().add(from), to.as_mut_ptr(), to.len()) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped, and nobody else has it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
    }
}
