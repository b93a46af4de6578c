//! Commands that take signals.

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use super::say;
use crate::options::Options;
use crate::sys;

/// Number of signals, and one.
const SIGNALS: usize = 65;
static COUNTS: [AtomicU32; SIGNALS] = [const { AtomicU32::new(0) }; SIGNALS];

extern "C" fn note(signal: libc::c_int) {
    if let Some(count) = usize::try_from(signal).ok().and_then(|n| COUNTS.get(n)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts every signal that can be caught, until its input is closed or for `ms=`, and prints
/// the counts.
///
/// # Errors
/// When it cannot print.
pub fn count(o: &Options) -> Result<()> {
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in (1..=64).filter(|s| ![libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(s)) {
        // SAFETY: the handler is one atomic addition. SA_RESTART is what signal() sets.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
    say("ready")?;
    match o.get("ms", 0u64)? {
        0 => {
            let mut rest = Vec::new();
            // SA_RESTART.
            std::io::stdin().read_to_end(&mut rest)?;
        }
        ms => sys::sleep_ns(ms * 1_000_000),
    }
    for (signal, count) in COUNTS.iter().enumerate() {
        match count.load(Ordering::Relaxed) {
            0 => {}
            n => println!("signal {signal} {n}"),
        }
    }
    say("end")
}

/// Ignores all that can be ignored.
///
/// # Errors
/// When it cannot print.
pub fn stubborn() -> Result<()> {
    for signal in (1..=31).filter(|s| ![libc::SIGKILL, libc::SIGSTOP].contains(s)) {
        // SAFETY: nothing but numbers.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    say("ready")?;
    loop {
        sys::sleep_ns(1_000_000_000);
    }
}
