//! The process filter: a byte a process id, shared with the kernel programs.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use gohang_common::map::filter;

/// The filter's bytes, mapped from the kernel's array.
#[derive(Debug)]
pub struct Filter {
    base: NonNull<AtomicU8>,
    length: usize,
}

// SAFETY: the mapping is shared memory that is only touched through atomics,
// and it lives as long as the value.
unsafe impl Send for Filter {}

/// Maps the array's bytes.
fn map(fd: i32, length: usize) -> io::Result<NonNull<AtomicU8>> {
    // SAFETY: a fresh shared mapping of a descriptor that we hold.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))
}

impl Filter {
    /// Maps the filter's array map, `blocks` blocks long.
    pub(super) fn new(fd: impl AsFd, blocks: u32) -> io::Result<Self> {
        let length = blocks as usize * filter::BLOCK;
        let base = map(fd.as_fd().as_raw_fd(), length)?;
        Ok(Self { base, length })
    }

    fn byte(&self, pid: u32) -> Option<&AtomicU8> {
        let index = pid as usize;
        // SAFETY: inside the mapping; a byte is always aligned.
        (index < self.length).then(|| unsafe { self.base.add(index).as_ref() })
    }

    /// What the filter says of a process id.
    #[must_use]
    pub fn get(&self, pid: u32) -> u8 {
        self.byte(pid)
            .map_or(filter::FOREIGN, |byte| byte.load(Ordering::Acquire))
    }

    /// Traces a process id from now on, whatever was decided before.
    pub fn trace(&self, pid: u32) {
        if let Some(byte) = self.byte(pid) {
            byte.store(filter::TRACED, Ordering::Release);
        }
    }

    /// Says of a traced process id that the maps of Go programs hold something of it. One that the
    /// kernel side has let through provisionally is looked for there all the same.
    pub(super) fn is_go(&self, pid: u32) {
        if let Some(byte) = self.byte(pid) {
            let (from, to) = (filter::TRACED, filter::GO);
            // Another value stands for a later program, or for nobody.
            let _ = byte.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Stops letting a process id through.
    pub fn ignore(&self, pid: u32) {
        if let Some(byte) = self.byte(pid) {
            byte.store(filter::FOREIGN, Ordering::Release);
        }
    }

    /// Decides about a process that the kernel side let through provisionally
    /// with this byte. False if it has executed another program, or ended,
    /// since: the decision is void then, and another record is under way.
    #[must_use]
    pub fn decide(&self, pid: u32, provisional: u8, traced: bool) -> bool {
        let to = if traced {
            filter::TRACED
        } else {
            filter::FOREIGN
        };
        self.byte(pid).is_some_and(|byte| {
            byte.compare_exchange(provisional, to, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        })
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, not used any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}
