//! A thread that signals itself: nothing but episodes, each delivered as the system call that
//! sent it returns.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};

use super::ping_pong::{cpu_time_ns, pin, prefer};

/// Runs of the handler.
static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn handler(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Obeys until its stdin is closed.
///
/// # Errors
/// A system call fails, or a signal is not delivered.
pub fn obey(cpu: usize) -> Result<()> {
    pin(cpu).context("could not keep to one CPU")?;
    prefer().context("could not raise the priority")?;
    // SAFETY: plain data, all zeros is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: a handler that only counts.
    if unsafe { libc::sigaction(libc::SIGURG, &raw const action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error()).context("could not set a handler");
    }
    for line in io::stdin().lines() {
        let signals: u64 = line?.trim().parse()?;
        println!("{}", signal(signals)?);
    }
    Ok(())
}

/// CPU time an episode, ns.
fn signal(signals: u64) -> Result<f64> {
    let (handled, begin) = (HANDLED.load(Ordering::Relaxed), cpu_time_ns()?);
    for _ in 0..signals {
        // SAFETY: a signal to the calling thread, with a handler (tgkill, as glibc does it).
        unsafe { libc::raise(libc::SIGURG) };
    }
    let spent = cpu_time_ns()? - begin;
    let handled = HANDLED.load(Ordering::Relaxed) - handled;
    if handled != signals {
        bail!("{handled} of {signals} signals were delivered");
    }
    Ok(spent as f64 / signals as f64)
}
