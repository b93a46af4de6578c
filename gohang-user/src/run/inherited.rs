//! What this process was given at its start and hands on to the command unchanged.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Disposition of SIGPIPE when this process began.
static SIGPIPE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// Runs before Rust's start-up, which has SIGPIPE ignored.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_SIGPIPE: extern "C" fn() = {
    extern "C" fn note() {
        if let Some(action) = disposition(libc::SIGPIPE) {
            SIGPIPE.store(action.sa_sigaction, Ordering::Relaxed);
        }
    }
    note
};

/// How this process handles `signal` now.
fn disposition(signal: libc::c_int) -> Option<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new disposition is given, and there is room for the old one, whose bytes
    // are all valid as zeros.
    unsafe {
        let done = libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        (done == 0).then(|| action.assume_init())
    }
}

/// Sets the disposition of `signal` to default or ignored. Async-signal-safe.
pub(super) fn set_disposition(signal: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: a zeroed sigaction with SIG_DFL or SIG_IGN is complete, and outlives the call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
    }
}

/// Signal state to give back to the command.
#[derive(Clone, Copy)]
pub(super) struct Inherited {
    mask: libc::sigset_t,
    sigpipe: libc::sighandler_t,
    sigchld: libc::sighandler_t,
}

impl Inherited {
    /// As it is now; SIGPIPE as it was at the start.
    pub fn note() -> Self {
        let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: no new mask is given, and there is room for the present one; a zeroed set
        // is an empty one.
        let mask = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
            mask.assume_init()
        };
        // A handler would not survive the exec either.
        let ignored = |handler| {
            if handler == libc::SIG_IGN {
                libc::SIG_IGN
            } else {
                libc::SIG_DFL
            }
        };
        let sigchld = disposition(libc::SIGCHLD).map_or(libc::SIG_DFL, |old| old.sa_sigaction);
        Self {
            mask,
            sigpipe: ignored(SIGPIPE.load(Ordering::Relaxed)),
            sigchld: ignored(sigchld),
        }
    }

    /// Gives it back to the calling process. Async-signal-safe.
    pub fn restore(&self) {
        set_disposition(libc::SIGPIPE, self.sigpipe);
        set_disposition(libc::SIGCHLD, self.sigchld);
        // SAFETY: the set was filled by the kernel.
        unsafe {
            libc::sigprocmask(
                libc::SIG_SETMASK,
                &raw const self.mask,
                std::ptr::null_mut(),
            )
        };
    }
}
