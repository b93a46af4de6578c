//! How many CPUs a thread may run on.

use std::io;
use std::mem::size_of_val;

/// Sets of 1024 CPUs: room for as many CPUs as the Go runtime asks for (64 Ki).
const SETS: usize = 64;

/// The number of CPUs that are online and that thread `tid` may run on, as the Go
/// runtime counts them: those of `sched_getaffinity(2)`, and 1 if there are none. Of
/// this thread for 0.
///
/// # Errors
/// As the system call: `ESRCH` when the thread has ended.
pub fn allowed_cpus(tid: u32) -> io::Result<u32> {
    let tid = libc::pid_t::try_from(tid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: a `cpu_set_t` is an array of integers, for which zeros are a value.
    let mut sets: [libc::cpu_set_t; SETS] = unsafe { std::mem::zeroed() };
    let size = size_of_val(&sets);
    // SAFETY: the kernel writes at most `size` bytes to `sets`, which is so large.
    if unsafe { libc::sched_getaffinity(tid, size, sets.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: each is a whole, initialised set.
    let count = |set| unsafe { libc::CPU_COUNT(set) }.unsigned_abs();
    Ok(sets.iter().map(count).sum::<u32>().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_and_one_that_is_not() {
        let own = allowed_cpus(std::process::id()).expect("this process has an affinity");
        let parallel = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
        // The other count heeds the quota, too.
        assert!(parallel <= own);
        assert_eq!(allowed_cpus(0).expect("this thread"), own);
        // No thread has so high an id.
        let gone = allowed_cpus(u32::MAX >> 1).expect_err("no such thread");
        assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
        assert!(allowed_cpus(u32::MAX).is_err());
    }
}
