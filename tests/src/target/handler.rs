//! The SIGURG handler of the targets, and what sets it up.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use crate::sys::{self, SIGURG};

static HANDLED: AtomicU64 = AtomicU64::new(0);
/// How long the handler spins, ns.
static SPIN_NS: AtomicU64 = AtomicU64::new(0);

/// Async-signal-safe: relaxed atomic operations and looks at the clock.
extern "C" fn on_sigurg(_sig: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
    let spin_ns = SPIN_NS.load(Ordering::Relaxed);
    if spin_ns > 0 {
        let until = sys::mono_ns() + spin_ns;
        while sys::mono_ns() < until {
            std::hint::spin_loop();
        }
    }
}

/// Makes the handler spin for so long each time.
pub fn spin_for(ns: u64) {
    SPIN_NS.store(ns, Ordering::Relaxed);
}

/// How many signals the handler has taken in this process.
pub fn count() -> u64 {
    HANDLED.load(Ordering::Relaxed)
}

/// Installs the handler, on the alternate stack if asked for.
pub fn install(alternate_stack: bool) -> Result<()> {
    let handler: extern "C" fn(libc::c_int) = on_sigurg;
    set_action(
        handler as usize,
        if alternate_stack { libc::SA_ONSTACK } else { 0 },
    )
}

/// Installs another handler, which must be async-signal-safe.
pub fn install_other(handler: extern "C" fn(libc::c_int)) -> Result<()> {
    set_action(handler as usize, 0)
}

/// Makes SIGURG ignored.
pub fn ignore() -> Result<()> {
    set_action(libc::SIG_IGN, 0)
}

/// Makes SIGURG have its default action (which is to ignore it).
pub fn default() -> Result<()> {
    set_action(libc::SIG_DFL, 0)
}

fn set_action(handler: usize, flags: libc::c_int) -> Result<()> {
    // SAFETY: a zeroed sigaction is a valid one with an empty mask; the handler is either a
    // constant or a function that lives as long as the program and is async-signal-safe.
    let rc = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(SIGURG, &raw const action, std::ptr::null_mut())
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error()).context("sigaction of SIGURG failed")
    }
}

/// Gives the calling thread an alternate signal stack, for as long as the process lives.
pub fn alternate_stack() -> Result<()> {
    const SIZE: usize = 64 << 10;
    // Leaked on purpose: a handler may run on it until the thread ends.
    let memory = Box::leak(vec![0u8; SIZE].into_boxed_slice());
    let stack = libc::stack_t {
        ss_sp: memory.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: SIZE,
    };
    // SAFETY: the memory is never freed.
    if unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) } != 0 {
        return Err(std::io::Error::last_os_error()).context("sigaltstack failed");
    }
    Ok(())
}
