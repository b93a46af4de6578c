//! Signals to gohang: taken as data, and handed on to the command.

use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use super::inherited::set_disposition;

/// Signals that an instruction of this process itself raises; blocked, they would end it
/// without a word.
const OWN: [libc::c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
];
/// What a terminal sends to every process of the job in its foreground.
const FROM_TERMINAL: [libc::c_int; 8] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGHUP,
    libc::SIGCONT,
    libc::SIGWINCH,
];

/// A signal that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrived {
    pub signal: i32,
    /// `SI_USER`, `SI_KERNEL`, `SI_QUEUE` ...
    pub code: i32,
    /// What `sigqueue` gave with it.
    pub value: u64,
}

impl Arrived {
    /// Whether the command has to be sent it. `shares_group`: it is in gohang's own process
    /// group, so that what the terminal sends has reached it already.
    pub fn is_to_be_forwarded(self, shares_group: bool) -> bool {
        let by_terminal = self.code == libc::SI_KERNEL && FROM_TERMINAL.contains(&self.signal);
        !(matches!(self.signal, libc::SIGCHLD | libc::SIGPIPE) || shares_group && by_terminal)
    }
}

/// All signals of this process that can be taken as data, which are blocked from now on.
#[derive(Debug)]
pub(super) struct Signals {
    file: File,
}

impl Signals {
    /// Blocks them. Threads that are started later have them blocked too.
    pub fn take() -> io::Result<Self> {
        // Otherwise children end without their status.
        set_disposition(libc::SIGCHLD, libc::SIG_DFL);
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: sigfillset fills the set; the others get it filled. The descriptor is new
        // and nobody else's.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            for signal in OWN {
                libc::sigdelset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self {
                file: File::from(OwnedFd::from_raw_fd(fd)),
            })
        }
    }

    /// The next one that has arrived; `None` when there is none.
    pub fn next(&self) -> io::Result<Option<Arrived>> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut raw = [0u8; SIZE];
        match (&self.file).read(&mut raw) {
            Ok(SIZE) => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        // SAFETY: the kernel wrote a whole one, of which every bit pattern is valid.
        let info: libc::signalfd_siginfo = unsafe { std::ptr::read_unaligned(raw.as_ptr().cast()) };
        Ok(Some(Arrived {
            signal: i32::try_from(info.ssi_signo).unwrap_or(0),
            code: info.ssi_code,
            value: info.ssi_ptr,
        }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_terminal_sent_to_both_is_not_sent_again() {
        let arrived = |signal, code| Arrived {
            signal,
            code,
            value: 0,
        };
        for (signal, code, shares, forwarded) in [
            (libc::SIGINT, libc::SI_KERNEL, true, false),
            (libc::SIGINT, libc::SI_KERNEL, false, true),
            (libc::SIGINT, libc::SI_USER, true, true),
            (libc::SIGTERM, libc::SI_USER, true, true),
            (libc::SIGWINCH, libc::SI_KERNEL, true, false),
            // A timer that was set before gohang was executed.
            (libc::SIGALRM, libc::SI_KERNEL, true, true),
            (libc::SIGCHLD, libc::SI_USER, false, false),
            (libc::SIGUSR1, libc::SI_QUEUE, false, true),
        ] {
            let got = arrived(signal, code).is_to_be_forwarded(shares);
            assert_eq!(got, forwarded, "{signal} {code} {shares}");
        }
    }
}
