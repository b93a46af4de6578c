//! Thin, checked wrappers around the system calls that several parts of the suite need.

use std::ffi::{CStr, CString};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// The signal everything here is about: what the Go runtime uses to preempt.
pub const SIGURG: i32 = libc::SIGURG;

/// CLOCK_MONOTONIC in nanoseconds.
pub fn mono_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `ts` is a valid timespec for the kernel to fill; the clocks asked for always exist.
    unsafe { libc::clock_gettime(clock, &raw mut ts) };
    u64::try_from(ts.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(ts.tv_nsec).unwrap_or(0)
}

/// Sleeps until CLOCK_MONOTONIC reads `deadline_ns`; returns at once when that has passed.
pub fn sleep_until_ns(deadline_ns: u64) {
    let ts = timespec(deadline_ns);
    // EINTR is the normal case for a thread that takes signals: the deadline is absolute.
    loop {
        // SAFETY: `ts` is valid and no remainder is asked for.
        let rc = unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &raw const ts,
                std::ptr::null_mut(),
            )
        };
        if rc != libc::EINTR {
            return;
        }
    }
}

/// Sleeps for `ns` nanoseconds, however many signals arrive meanwhile.
pub fn sleep_ns(ns: u64) {
    sleep_until_ns(mono_ns() + ns);
}

fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::try_from(ns % 1_000_000_000).unwrap_or(0),
    }
}

/// The calling thread's id in its own PID namespace.
pub fn gettid() -> i32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::gettid() }
}

/// Sends `sig` to one thread of a process.
///
/// # Errors
/// The kernel's error, ESRCH when the thread is gone.
pub fn tgkill(tgid: i32, tid: i32, sig: i32) -> io::Result<()> {
    // SAFETY: only integers are passed.
    check(unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, sig) })
}

/// Sends `sig` to a process.
///
/// # Errors
/// The kernel's error, ESRCH when the process is gone.
pub fn kill(pid: i32, sig: i32) -> io::Result<()> {
    // SAFETY: only integers are passed.
    check(unsafe { libc::kill(pid, sig) }.into())
}

fn check(rc: libc::c_long) -> io::Result<()> {
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Blocks or unblocks SIGURG for the calling thread.
pub fn block_sigurg(block: bool) {
    let how = if block {
        libc::SIG_BLOCK
    } else {
        libc::SIG_UNBLOCK
    };
    // SAFETY: a zeroed sigset_t is valid storage that sigemptyset then initialises; the rest
    // passes pointers to it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, SIGURG);
        libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut());
    }
}

/// Names the calling thread (`/proc/PID/task/TID/comm`), cut at 15 bytes.
pub fn name_thread(name: &[u8]) {
    let mut buf = [0u8; 16];
    let n = name.len().min(15);
    buf[..n].copy_from_slice(&name[..n]);
    // SAFETY: the kernel reads at most 16 bytes up to the terminating zero, which is there.
    unsafe { libc::prctl(libc::PR_SET_NAME, buf.as_ptr()) };
}

/// Takes a capability, by its number, from what this process's next program can have.
///
/// # Errors
/// When it may not be taken.
pub fn drop_capability(number: u32) -> io::Result<()> {
    // SAFETY: the request takes numbers only.
    let done = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives the calling thread namespaces of its own (`libc::CLONE_NEW*`). Fit to be called
/// between fork and exec.
///
/// # Errors
/// When the kernel refuses.
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: takes flags only.
    check(unsafe { libc::unshare(flags) }.into())
}

/// Keeps what is mounted in the caller's mount namespace from all others. Fit to be called
/// between fork and exec.
///
/// # Errors
/// When the kernel refuses.
pub fn mounts_private() -> io::Result<()> {
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    mount(c"none", c"/", c"", flags, c"")
}

/// Mounts something. Fit to be called between fork and exec.
///
/// # Errors
/// When the kernel refuses.
pub fn mount(
    what: &CStr,
    at: &CStr,
    kind: &CStr,
    flags: libc::c_ulong,
    options: &CStr,
) -> io::Result<()> {
    // SAFETY: zero-terminated strings, which the kernel only reads.
    check(
        unsafe {
            libc::mount(
                what.as_ptr(),
                at.as_ptr(),
                kind.as_ptr(),
                flags,
                options.as_ptr().cast(),
            )
        }
        .into(),
    )
}

/// Takes away what is mounted there, at once. Fit to be called between fork and exec.
///
/// # Errors
/// When the kernel refuses.
pub fn unmount(at: &CStr) -> io::Result<()> {
    // SAFETY: a zero-terminated string, which the kernel only reads.
    check(unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) }.into())
}

/// Makes the kernel kill this process when the thread that started it ends.
pub fn die_with_parent() {
    // SAFETY: only integers are passed.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Mounts tracefs at its usual place for the calling thread alone, if it is not mounted.
///
/// # Errors
/// When neither the usual places hold tracefs nor it can be mounted.
pub fn tracefs_root() -> io::Result<std::path::PathBuf> {
    let places = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let found = |p: &&&str| std::path::Path::new(p).join("events/signal").is_dir();
    if let Some(p) = places.iter().find(found) {
        return Ok((*p).into());
    }
    let at = CString::new(places[0])?;
    unshare(libc::CLONE_NEWNS)?;
    mounts_private()?;
    mount(c"tracefs", &at, c"tracefs", 0, c"")?;
    Ok(places[0].into())
}

/// The CPUs that are online, from sysfs.
///
/// # Errors
/// When the file cannot be read or does not hold a CPU list.
pub fn online_cpus() -> io::Result<Vec<i32>> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    let bad = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("not a CPU list: {text:?}"),
        )
    };
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (lo, hi) = part.split_once('-').unwrap_or((part, part));
        let lo: i32 = lo.parse().map_err(|_| bad())?;
        let hi: i32 = hi.parse().map_err(|_| bad())?;
        cpus.extend(lo..=hi);
    }
    Ok(cpus)
}

/// Ties a thread (0: the caller) to one CPU.
pub fn pin(tid: i32, cpu: usize) {
    pin_to(tid, &[i32::try_from(cpu).unwrap_or(0)]);
}

/// Ties a thread (0: the caller) to these CPUs.
pub fn pin_to(tid: i32, cpus: &[i32]) {
    // SAFETY: a zeroed cpu_set_t is an empty set; CPU_SET writes inside it for cpu < 1024.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &cpu in cpus {
            libc::CPU_SET(usize::try_from(cpu).unwrap_or(0), &mut set);
        }
        libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Has SIGINT noted instead of ending the program; the function says whether one has come.
///
/// # Errors
/// When the kernel refuses the handler.
pub fn note_interrupts() -> io::Result<fn() -> bool> {
    static COME: AtomicBool = AtomicBool::new(false);
    extern "C" fn note(_: libc::c_int) {
        COME.store(true, Ordering::Relaxed);
    }
    let handler: extern "C" fn(libc::c_int) = note;
    // SAFETY: the handler is async-signal-safe, one atomic store.
    if unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(|| COME.load(Ordering::Relaxed))
}

/// The calling thread's time on a CPU, nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// A process's time on CPUs so far, that of its ended threads too, nanoseconds; in whole ticks.
///
/// # Errors
/// When it has ended.
pub fn cpu_time_ns(pid: i32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold anything; utime and stime are fields 14 and 15.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|word| word.parse::<u64>().ok()).sum();
    // USER_HZ.
    Ok(ticks * 10_000_000)
}

/// Whether standard input, a pipe, has been closed at its other end.
pub fn input_closed() -> bool {
    let mut poll = libc::pollfd {
        fd: libc::STDIN_FILENO,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd; no timeout.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents & libc::POLLHUP != 0
}

/// Runs `child` as vfork does, on `stack` in this process's memory, while the calling thread is
/// in uninterruptible sleep, and waits for its end.
///
/// # Safety
/// The child must keep to what a vfork child may do, and `given` must be good for it.
pub unsafe fn vfork_and_wait(
    stack: &mut [u8],
    child: extern "C" fn(*mut libc::c_void) -> libc::c_int,
    given: *mut libc::c_void,
) {
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child has a stack of its own, which outlives it; the rest is the caller's
    // promise.
    unsafe {
        let pid = libc::clone(child, top.cast(), flags, given);
        if pid > 0 {
            while libc::waitpid(pid, std::ptr::null_mut(), 0) < 0
                && *libc::__errno_location() == libc::EINTR
            {}
        }
    }
}

/// Lets the calling thread's timers expire when they are due (a nanosecond of slack, not 50 us).
pub fn no_timer_slack() {
    // SAFETY: no pointers are passed.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
}

/// Whether the process's main thread is scheduled as a real-time thread.
pub fn is_real_time(pid: i32) -> bool {
    // SAFETY: no pointers are passed.
    let policy = unsafe { libc::sched_getscheduler(pid) };
    policy == libc::SCHED_RR || policy == libc::SCHED_FIFO
}

/// Asks for real-time scheduling of the calling thread, or failing that the best nice value.
/// Round robin: two such threads tied to one CPU must not lock each other out.
pub fn raise_priority() {
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: `param` is valid; 0 is the calling thread.
    unsafe {
        if libc::sched_setscheduler(0, libc::SCHED_RR, &raw const param) != 0 {
            libc::setpriority(libc::PRIO_PROCESS, 0, -20);
        }
    }
}

/// Lets the calling thread have only CPU time that nobody else wants.
///
/// # Errors
/// When the kernel refuses.
pub fn yield_to_all() -> io::Result<()> {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` is valid; 0 is the calling thread.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const param) }.into())
}

/// The running kernel's version, its first two numbers.
///
/// # Errors
/// When `/proc/sys/kernel/osrelease` cannot be read or does not begin with two numbers.
pub fn kernel_version() -> io::Result<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(io::Error::other(format!("no version: {release:?}"))),
    }
}

/// Whether the kernel parks the threads of a group without quota one by one, as from 6.18 on
/// (kernel/sched/fair.c, `throttle_cfs_rq_work`), not its run queues.
///
/// # Errors
/// When `/proc/kallsyms` cannot be read.
pub fn parks_threads() -> io::Result<bool> {
    let symbols = std::fs::read_to_string("/proc/kallsyms")?;
    Ok(symbols
        .lines()
        .any(|line| line.split(' ').nth(2) == Some("throttle_cfs_rq_work")))
}

/// Reads a child's output to its end and collects it; also the most memory it had resident,
/// bytes.
///
/// # Errors
/// When it fails, or its output cannot be read.
pub fn wait_with_memory(mut child: std::process::Child) -> io::Result<(Vec<u8>, u64)> {
    let mut out = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        io::Read::read_to_end(&mut pipe, &mut out)?;
    }
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: an rusage is numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals, and the child is not collected yet.
    if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } != pid {
        return Err(io::Error::last_os_error());
    }
    if status != 0 {
        return Err(io::Error::other(format!("it ended with status {status}")));
    }
    let kib = u64::try_from(usage.ru_maxrss).unwrap_or(0);
    Ok((out, kib * 1024))
}
