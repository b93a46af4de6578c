//! Memory that an experiment and its processes share.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Most sends that a sender makes and notes in a phase.
const MAX_SENDS: usize = 16384;

/// What the processes are to do; they wait for the next step. None of them is zero:
/// nothing happens before the target is in its group and traced.
pub(super) mod step {
    /// Begin to spin.
    pub const SPIN: u32 = 1;
    /// Send, again and again.
    pub const SEND: u32 = 2;
    /// Send no more.
    pub const STOP: u32 = 3;
}

/// Shared between processes; all zero at first.
#[repr(C)]
pub(super) struct Shared {
    /// One of [`step`]; set by the experiment.
    pub step: AtomicU32,
    /// Goes up by one when the target is there, when it spins and when the outside sender
    /// is there, and again when each of the senders has stopped.
    pub ready: AtomicU32,
    /// How to send: a [`Method`](super::Method)'s code, set by the experiment.
    pub method: AtomicU32,
    /// Whether the target signals itself (0 or 1), set by the experiment.
    pub from_inside: AtomicU32,
    /// The target, set by the experiment.
    pub target_pid: AtomicU32,
    /// The thread to signal, set by the target.
    pub busy_tid: AtomicU32,
    /// Times the handler ran.
    pub handled: AtomicU64,
    /// Sends from outside the group.
    pub outside: Sends,
    /// Sends from inside the group.
    pub inside: Sends,
}

/// The sends of one sender.
#[repr(C)]
pub(super) struct Sends {
    made: AtomicU64,
    at_ns: [AtomicU64; MAX_SENDS],
}

impl Sends {
    /// Notes a send; `at_ns` was read just before it. False when there is no more room.
    pub(super) fn note(&self, at_ns: u64) -> bool {
        let made = self.made.load(Ordering::Relaxed);
        let Some(slot) = self.at_ns.get(made as usize) else {
            return false;
        };
        slot.store(at_ns, Ordering::Relaxed);
        self.made.store(made + 1, Ordering::Release);
        (made as usize + 1) < MAX_SENDS
    }

    /// When each send was made, earliest first.
    pub(super) fn times(&self) -> Vec<u64> {
        let made = self.made.load(Ordering::Acquire) as usize;
        self.at_ns
            .iter()
            .take(made)
            .map(|at| at.load(Ordering::Relaxed))
            .collect()
    }
}

/// The memory, mapped.
pub(super) struct Mapping {
    at: NonNull<Shared>,
}

// SAFETY: the memory is only touched through atomics and lives as long as the value.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// A file in memory of the right size, all zero.
pub(super) fn create() -> io::Result<OwnedFd> {
    // SAFETY: the name is a live string.
    let fd = unsafe { libc::memfd_create(c"gohang-experiment".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just returned this descriptor, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let file = File::from(fd);
    file.set_len(size_of::<Shared>() as u64)?;
    Ok(file.into())
}

impl Mapping {
    /// Maps the file that [`create`] made.
    ///
    /// # Errors
    /// It cannot be mapped, or is too short to be that file.
    pub(super) fn of(fd: &impl AsRawFd) -> io::Result<Self> {
        let fd = fd.as_raw_fd();
        if length(fd)? < size_of::<Shared>() as u64 {
            return Err(io::Error::other(
                "its standard input is not the memory shared with it",
            ));
        }
        // SAFETY: a fresh shared mapping of a file that is long enough.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Shared>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Self { at })
    }
}

fn length(fd: RawFd) -> io::Result<u64> {
    // SAFETY: all zeros is a valid stat.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live stat that the call fills.
    match unsafe { libc::fstat(fd, &raw mut stat) } {
        0 => Ok(stat.st_size as u64),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Deref for Mapping {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        // SAFETY: mapped as long as `self` lives; atomics of any value are valid.
        unsafe { self.at.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping that `of` made, not used any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), size_of::<Shared>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_see_the_same() {
        let file = create().expect("made");
        let (one, other) = (
            Mapping::of(&file).expect("mapped"),
            Mapping::of(&file).expect("mapped"),
        );
        assert_eq!(other.step.load(Ordering::SeqCst), 0);
        one.step.store(step::SEND, Ordering::SeqCst);
        assert_eq!(other.step.load(Ordering::SeqCst), step::SEND);
        assert!(one.outside.note(5) && one.outside.note(7));
        assert_eq!(other.outside.times(), [5, 7]);
        assert!(other.inside.times().is_empty());
    }

    #[test]
    fn sends_beyond_the_room_are_refused() {
        let file = create().expect("made");
        let shared = Mapping::of(&file).expect("mapped");
        for at in 0..MAX_SENDS as u64 - 1 {
            assert!(shared.inside.note(at));
        }
        assert!(!shared.inside.note(1), "the last room there is");
        assert!(!shared.inside.note(2), "no room");
        assert_eq!(shared.inside.times().len(), MAX_SENDS);
        assert_eq!(shared.outside.times().len(), 0);
    }

    #[test]
    fn a_foreign_file_is_refused() {
        let short = tempfile::tempfile().expect("made");
        assert!(Mapping::of(&short).is_err());
    }
}
