//! Signals to processes that come and go, and only to those that are meant.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A process by descriptor, so that its number cannot come to mean another one.
struct PidFd(OwnedFd);

impl PidFd {
    /// `None` when there is no such process.
    fn open(pid: u32) -> io::Result<Option<Self>> {
        // SAFETY: pidfd_open takes two numbers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match i32::try_from(fd) {
            // SAFETY: the call has just returned this descriptor, and nobody else has it.
            Ok(fd) if fd >= 0 => Ok(Some(Self(unsafe { OwnedFd::from_raw_fd(fd) }))),
            _ => none_if_gone(io::Error::last_os_error()),
        }
    }

    /// Sends a signal; it is fine if the process has ended.
    fn send(&self, signal: i32) -> io::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open as long as `self` lives; a null info is allowed
        // and stands for that of kill(2).
        let result = unsafe {
            let fd = self.0.as_raw_fd();
            libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0)
        };
        if result == 0 {
            return Ok(());
        }
        none_if_gone::<()>(io::Error::last_os_error()).map(|_| ())
    }
}

fn none_if_gone<T>(error: io::Error) -> io::Result<Option<T>> {
    match error.raw_os_error() {
        Some(libc::ESRCH) => Ok(None),
        _ => Err(error),
    }
}

/// Sends `signal` to the processes that `members` lists, once each.
///
/// Each is held by descriptor first and must still be listed then, so that a number
/// that was given to a foreign process in between is not hit.
///
/// # Errors
/// That of `members`, or the kernel's.
pub fn signal_members(
    signal: i32,
    mut members: impl FnMut() -> io::Result<Vec<u32>>,
) -> io::Result<()> {
    let mut held = Vec::new();
    // 0 stands for processes of other PID namespaces, which have no number here.
    for pid in members()?.into_iter().filter(|&pid| pid != 0) {
        held.extend(PidFd::open(pid)?.map(|fd| (pid, fd)));
    }
    let still = members()?;
    held.iter()
        .filter(|(pid, _)| still.contains(pid))
        .try_for_each(|(_, fd)| fd.send(signal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    fn sleeper() -> Child {
        Command::new("sleep").arg("1000").spawn().unwrap()
    }

    #[test]
    fn only_those_still_listed_are_hit() {
        let (mut member, mut former) = (sleeper(), sleeper());
        let mut lists = vec![vec![0, member.id()], vec![0, member.id(), former.id()]];
        signal_members(libc::SIGKILL, || Ok(lists.pop().unwrap())).unwrap();
        assert_eq!(member.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert!(former.try_wait().unwrap().is_none());
        former.kill().unwrap();
        former.wait().unwrap();
    }

    #[test]
    fn one_that_has_ended_is_passed_over() {
        let mut child = sleeper();
        child.kill().unwrap();
        child.wait().unwrap();
        signal_members(libc::SIGKILL, || Ok(vec![child.id()])).unwrap();
    }
}
