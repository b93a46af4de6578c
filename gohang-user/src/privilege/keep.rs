//! Giving up what is not needed any more.

use std::time::{Duration, Instant};

use std::io;

use caps::{CapSet, Capability, CapsHashSet};

use super::error::PrivilegeError;
use super::status::{STATUS, number, read};

/// How long a thread that has been joined may still be counted: its joiner goes on
/// as soon as its memory is let go (`exit_mm`), before the kernel takes it off the
/// list.
const SETTLE: Duration = Duration::from_millis(500);

/// How many threads the process has, once those that have ended are gone.
fn settled_threads() -> Result<u64, PrivilegeError> {
    let begin = Instant::now();
    loop {
        let threads = number(&read(STATUS)?, "Threads")?;
        if threads == 1 || begin.elapsed() > SETTLE {
            return Ok(threads);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// What was given up for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whether the bounding set was cut down too. It can be only with CAP_SETPCAP;
    /// without, `no_new_privs` alone keeps an executed program from gaining any.
    pub bounding: bool,
}

/// Drops every capability but these from all five sets, and sets `no_new_privs`.
///
/// Nothing is gained: a capability to keep that the process does not have stays missing.
/// Neither this process nor any program it starts can get the others back, also not by a
/// set-user-id or set-capability program (`sudo` and `ping` stop working for a child).
/// So start a user's command before this, or outside it.
///
/// # Errors
/// The process has more than one thread (capabilities belong to threads, so the others
/// would keep theirs), or the kernel refuses.
pub fn keep_only(keep: &[Capability]) -> Result<Kept, PrivilegeError> {
    let threads = settled_threads()?;
    if threads != 1 {
        return Err(PrivilegeError::Threads { threads });
    }
    let bounding = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)
        .map_err(|source| refused("read the effective capabilities", source))?;
    // First: it needs a capability that goes next.
    if bounding {
        cut_bounding(keep).map_err(|source| PrivilegeError::System {
            action: "cut the capability bounding set",
            source,
        })?;
    }
    // Ambient follows: the kernel takes out what is not inheritable and permitted. Effective
    // goes before permitted, which must contain it.
    cut(CapSet::Inheritable, keep)
        .map_err(|source| refused("cut the inheritable capabilities", source))?;
    cut(CapSet::Effective, keep)
        .map_err(|source| refused("cut the effective capabilities", source))?;
    cut(CapSet::Permitted, keep)
        .map_err(|source| refused("cut the permitted capabilities", source))?;
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(|source| PrivilegeError::System {
        action: "set no_new_privs",
        source,
    })?;
    Ok(Kept { bounding })
}

fn refused(action: &'static str, source: caps::errors::CapsError) -> PrivilegeError {
    PrivilegeError::Capabilities { action, source }
}

/// Leaves in a set what it has of `keep`. Capabilities newer than the crate go too: it
/// writes only those it knows.
fn cut(set: CapSet, keep: &[Capability]) -> Result<(), caps::errors::CapsError> {
    let mut left: CapsHashSet = caps::read(None, set)?;
    left.retain(|capability| keep.contains(capability));
    caps::set(None, set, &left)
}

/// By number, so that capabilities newer than the crate go too.
fn cut_bounding(keep: &[Capability]) -> io::Result<()> {
    for capability in 0..64_u8 {
        let held = match prctl(libc::PR_CAPBSET_READ, capability) {
            Ok(held) => held == 1,
            // Past this kernel's last capability.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        };
        if held && !keep.iter().any(|kept| kept.index() == capability) {
            prctl(libc::PR_CAPBSET_DROP, capability)?;
        }
    }
    Ok(())
}

fn prctl(option: libc::c_int, argument: u8) -> io::Result<libc::c_int> {
    let argument = libc::c_ulong::from(argument);
    let unused: libc::c_ulong = 0;
    // SAFETY: the options used here take a number, point to nothing, and want the rest zero.
    match unsafe { libc::prctl(option, argument, unused, unused, unused) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}
