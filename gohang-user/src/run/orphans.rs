//! Processes of the command whose parent has ended: gohang becomes their parent, so that
//! none gets away unseen, daemons neither, and none stays behind uncollected.

use std::io;
use std::mem::MaybeUninit;

use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

use super::error::RunError;

/// Makes this process the parent of all orphans among its descendants.
pub(super) fn adopt() -> Result<(), RunError> {
    set_child_subreaper(Some(getpid()))
        .map_err(io::Error::from)
        .map_err(RunError::system(
            "become the parent of the command's orphans",
        ))
}

/// Collects those that have ended. The status of `command` is its session's to take: as long
/// as it has not, those behind it are left for the next time.
pub(super) fn collect(command: Option<u32>) -> io::Result<()> {
    while let Some(pid) = ended()? {
        if Some(pid.as_raw_nonzero().get().unsigned_abs()) == command {
            return Ok(());
        }
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
    Ok(())
}

/// A child that has ended, which stays as it is.
fn ended() -> io::Result<Option<Pid>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: there is room for what the kernel writes; a zeroed one, which it leaves if there
    // is nothing to tell, has the process id 0.
    let pid = unsafe {
        if libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) != 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::ECHILD) => Ok(None),
                _ => Err(error),
            };
        }
        info.assume_init().si_pid()
    };
    Ok(Pid::from_raw(pid))
}
