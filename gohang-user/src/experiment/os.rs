//! The few system calls that an experiment needs.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const NSEC_PER_SEC: u64 = 1_000_000_000;

/// Zero is success, anything else is in `errno`.
fn check(result: libc::c_long) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A length of time as the system takes it.
fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (ns / NSEC_PER_SEC) as i64,
        tv_nsec: (ns % NSEC_PER_SEC) as i64,
    }
}

/// CLOCK_MONOTONIC in nanoseconds, the clock of the kernel's events.
pub(super) fn now_ns() -> io::Result<u64> {
    read_clock(libc::CLOCK_MONOTONIC)
}

fn read_clock(clock: libc::clockid_t) -> io::Result<u64> {
    let mut now = timespec(0);
    // SAFETY: the pointer is to a live timespec that the call fills.
    check(unsafe { libc::clock_gettime(clock, &raw mut now) }.into())?;
    Ok(now.tv_sec as u64 * NSEC_PER_SEC + now.tv_nsec as u64)
}

/// CPU time of the calling thread in nanoseconds.
pub(super) fn thread_cpu_ns() -> io::Result<u64> {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of this process in nanoseconds.
pub(super) fn process_cpu_ns() -> io::Result<u64> {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Time that the calling thread waited for a CPU so far, in nanoseconds: the second number of
/// its schedstat (Linux Documentation/scheduler/sched-stats.rst). 0 where the kernel does not
/// count it.
pub(super) fn thread_waited_ns() -> io::Result<u64> {
    let text = match std::fs::read_to_string("/proc/thread-self/schedstat") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        text => text?,
    };
    let waited = text.split_ascii_whitespace().nth(1);
    let waited = waited.and_then(|number| number.parse().ok());
    waited.ok_or_else(|| io::Error::other("/proc/thread-self/schedstat has no second number"))
}

/// Lets this thread, and those that it will start, sleep no longer than they ask for: 50 us
/// of slack (`init_task`, init/init_task.c) would be neither waiting nor running.
pub(super) fn sleep_exactly() -> io::Result<()> {
    let slack_ns: libc::c_ulong = 1;
    // SAFETY: this option takes a number.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack_ns) }.into())
}

/// Keeps the calling thread to one of the CPUs that it may use: the first is number 0, and
/// those that there are not are counted from there again.
pub(super) fn run_on(number: u32) -> io::Result<()> {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: all zeros is a valid, empty set.
    let (mut allowed, mut one): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { std::mem::zeroed() };
    // SAFETY: the set is live and of that size.
    check(unsafe { libc::sched_getaffinity(0, size, &raw mut allowed) }.into())?;
    let cpus = (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the number is one of the set's.
        .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &allowed) });
    let cpus: Vec<usize> = cpus.collect();
    let cpu = cpus.get(number as usize % cpus.len().max(1));
    let cpu = cpu.ok_or_else(|| io::Error::other("no CPU may be used"))?;
    // SAFETY: the number is one of the set's.
    unsafe { libc::CPU_SET(*cpu, &mut one) };
    // SAFETY: the set is live and of that size.
    check(unsafe { libc::sched_setaffinity(0, size, &raw const one) }.into())
}

/// Starts a process that waits until nobody has `held` open any more, where `gate` is its
/// other end, and then spins until it, or the calling one, is ended; for processes with a
/// single thread.
pub(super) fn fork_spinning(gate: RawFd, held: RawFd) -> io::Result<u32> {
    let parent = std::process::id();
    // SAFETY: there are no other threads, and the new process does nothing but what is below.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let mut byte = 0_u8;
            // SAFETY: this process's own copy, which it does not use; one byte of a live
            // variable is written.
            let read = unsafe {
                libc::close(held);
                libc::read(gate, (&raw mut byte).cast(), 1)
            };
            if read != 0 || die_with_parent(parent).is_err() {
                // SAFETY: ends the process at once.
                unsafe { libc::_exit(1) };
            }
            loop {
                std::hint::black_box(());
            }
        }
        pid => Ok(pid as u32),
    }
}

/// Sleeps until CLOCK_MONOTONIC reads `ns`.
pub(super) fn sleep_until(ns: u64) -> io::Result<()> {
    let until = timespec(ns);
    loop {
        // SAFETY: the pointer is to a live timespec; the remaining time is not asked for.
        let result = unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &raw const until,
                std::ptr::null_mut(),
            )
        };
        match result {
            0 => return Ok(()),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Sleeps while `word` is `seen`, at most for `timeout`; may return early.
pub(super) fn wait_while(word: &AtomicU32, seen: u32, timeout: Duration) {
    let timeout = timespec(timeout.as_nanos() as u64);
    // SAFETY: the word is live and aligned, and shared between processes, so that the
    // futex is not a private one. Every result means: look again.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            seen,
            &raw const timeout,
        );
    }
}

/// Sets `word` and wakes everybody who waits for it.
pub(super) fn set(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::SeqCst);
    wake(word);
}

/// Adds one to `word` and wakes everybody who waits for it.
pub(super) fn add_one(word: &AtomicU32) {
    word.fetch_add(1, Ordering::SeqCst);
    wake(word);
}

fn wake(word: &AtomicU32) {
    // SAFETY: the word is live and aligned; waking touches nothing else.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// The calling thread's id.
pub(super) fn thread_id() -> u32 {
    // SAFETY: a call without arguments that cannot fail.
    unsafe { libc::gettid() as u32 }
}

/// Sends SIGURG to one thread.
pub(super) fn send_sigurg(pid: u32, tid: u32) -> io::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGURG) })
}

/// Makes `handler` this process's handler of SIGURG.
pub(super) fn handle_sigurg(handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    // SAFETY: all zeros is a valid sigaction without flags, restorer and mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is live, and its handler of the type that goes without SA_SIGINFO.
    check(unsafe { libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()) }.into())
}

/// Keeps SIGURG from the calling thread and those that it will start, so that one that is
/// sent to the process goes to another; or lets it through again.
pub(super) fn block_sigurg(block: bool) -> io::Result<()> {
    let how = if block {
        libc::SIG_BLOCK
    } else {
        libc::SIG_UNBLOCK
    };
    // SAFETY: sigset_t is plain data, and filled below.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is live; the calls only write it.
    unsafe {
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGURG);
    }
    // SAFETY: the set is live; the mask before is not asked for.
    match unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Ties this process's life to its parent's. An error if the parent is gone already.
pub(super) fn die_with_parent(parent: u32) -> io::Result<()> {
    let kill = libc::SIGKILL as libc::c_ulong;
    // SAFETY: this option takes a number.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, kill) }.into())?;
    // SAFETY: a call without arguments that cannot fail.
    if unsafe { libc::getppid() } as u32 == parent {
        Ok(())
    } else {
        Err(io::Error::other(
            "the gohang that started this process is gone",
        ))
    }
}

/// Holds back the signals that ask a program to end, as long as it lives.
pub(crate) struct EndSignals {
    set: libc::sigset_t,
    before: libc::sigset_t,
}

impl EndSignals {
    /// Holds back SIGINT, SIGTERM and SIGHUP in the calling thread.
    pub(crate) fn hold() -> io::Result<Self> {
        // SAFETY: sigset_t is plain data, and filled below.
        let mut held: Self = unsafe { std::mem::zeroed() };
        // SAFETY: the sets are live; the calls only write them.
        unsafe {
            libc::sigemptyset(&raw mut held.set);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                libc::sigaddset(&raw mut held.set, signal);
            }
        }
        // SAFETY: both sets are live.
        match unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const held.set, &raw mut held.before)
        } {
            0 => Ok(held),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Sleeps for `timeout`; true at once when one of them comes.
    pub(crate) fn came_within(&self, timeout: Duration) -> bool {
        let timeout = timespec(timeout.as_nanos() as u64);
        // SAFETY: set and timeout are live; the signal's information is not asked for.
        unsafe {
            libc::sigtimedwait(
                &raw const self.set,
                std::ptr::null_mut(),
                &raw const timeout,
            ) > 0
        }
    }
}

impl Drop for EndSignals {
    fn drop(&mut self) {
        // SAFETY: the set that `hold` was given.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.before,
                std::ptr::null_mut(),
            )
        };
    }
}
