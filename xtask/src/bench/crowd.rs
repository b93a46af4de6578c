//! Many processes that mostly sleep and get a SIGURG now and then, as a host
//! full of services has them.

use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{io, ptr, thread};

use anyhow::{Context as _, Result};

/// Time between two signals of one process.
pub const PERIOD: Duration = Duration::from_millis(100);

/// The processes, ended when dropped.
#[derive(Debug)]
pub struct Crowd(Vec<Child>);

impl Crowd {
    /// Starts `count` of them.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn start(count: usize) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut crowd = Self(Vec::with_capacity(count));
        for _ in 0..count {
            let child = Command::new(&program)
                .args(["bench", "sleeper"])
                .stdin(Stdio::null())
                .spawn()
                .context("could not start a process to trace")?;
            crowd.0.push(child);
        }
        Ok(crowd)
    }

    /// Their process ids.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(Child::id)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Both fail only if it has ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

extern "C" fn handler(_: libc::c_int) {}

/// One of the crowd: signals itself and sleeps, until it is killed.
///
/// # Errors
/// The handler cannot be set.
pub fn sleep() -> Result<()> {
    // SAFETY: plain data, all zeros is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: a handler that does nothing.
    if unsafe { libc::sigaction(libc::SIGURG, &raw const action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error()).context("could not set a handler");
    }
    loop {
        // SAFETY: a signal to the calling thread.
        unsafe { libc::raise(libc::SIGURG) };
        thread::sleep(PERIOD);
    }
}
