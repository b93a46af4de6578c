//! A page of memory that a target of the cause test, its injector and the harness share.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use crate::sys;

/// What the programs tell each other. All zero at first; stamps are CLOCK_MONOTONIC in ns.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Page {
    /// By how many times all times are longer than on a fast machine; set before the first round.
    pub pace: AtomicU64,
    /// Number of the round that the injector wants.
    pub ask: AtomicU64,
    /// Number of the round whose condition the target has set up.
    pub ready: AtomicU64,
    /// Number of the round whose signal has been sent.
    pub sent: AtomicU64,
    /// When the target ended the condition, taken just before it did.
    pub ended_ns: AtomicU64,
    /// Signals that the handler has taken.
    pub handled: AtomicU64,
    /// When it took the last one; written before `handled`.
    pub handled_ns: AtomicU64,
    /// The last time the target executed its loop.
    pub beat_ns: AtomicU64,
    /// Not zero once the target is to do nothing more.
    pub stop: AtomicU64,
}

impl Page {
    /// Makes one; other processes open it by the path, as long as the file is open here.
    ///
    /// # Errors
    /// When the kernel gives no memory.
    pub fn create() -> Result<(&'static Self, File, String)> {
        // SAFETY: a constant name and a flag.
        let fd = unsafe { libc::memfd_create(c"causes".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("memfd_create failed");
        }
        // SAFETY: a new descriptor that nobody else owns.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(size_of::<Self>() as u64)
            .context("no memory for a shared page")?;
        let path = format!("/proc/{}/fd/{fd}", std::process::id());
        Ok((map(&file)?, file, path))
    }

    /// Maps the one at this path.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &str) -> Result<&'static Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        map(&file.with_context(|| format!("cannot open {path}"))?)
    }

    /// How long this time, at pace 1, is here, ns.
    pub fn paced(&self, ns: u64) -> u64 {
        ns * self.pace.load(Ordering::Acquire).max(1)
    }

    /// Whether nothing more is to be done.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire) != 0
    }

    /// Says that the target's loop has just been executed.
    pub fn beat(&self) {
        self.beat_ns.store(sys::mono_ns(), Ordering::Release);
    }
}

fn map(file: &File) -> Result<&'static Page> {
    // SAFETY: a shared mapping of a file that is as long as a `Page` and is never unmapped or
    // cut; every bit pattern is a valid `Page`, whose fields are atomic.
    unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            size_of::<Page>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            file.as_raw_fd(),
            0,
        );
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("cannot map the shared page");
        }
        Ok(&*at.cast::<Page>())
    }
}
