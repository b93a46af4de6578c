//! Two threads on one CPU that wake each other through pipes: nothing but
//! context switches.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{io, mem, thread};

use anyhow::{Context as _, Result, bail};

/// Obeys until its stdin is closed.
///
/// # Errors
/// A system call fails, or the threads do not take turns.
pub fn obey(cpu: usize) -> Result<()> {
    pin(cpu).context("could not keep to one CPU")?;
    prefer().context("could not raise the priority")?;
    let (there, here) = (pipe()?, pipe()?);
    thread::scope(|scope| {
        let (from, to) = (&there.0, &here.1);
        let partner = scope.spawn(move || {
            while receive(from)? {
                send(to)?;
            }
            Ok::<_, io::Error>(())
        });
        for line in io::stdin().lines() {
            let switches: u64 = line?.trim().parse()?;
            println!("{}", ping(&there.1, &here.0, switches)?);
        }
        // The end of the pipe ends the partner.
        drop(there.1);
        match partner.join() {
            Ok(result) => result.context("the partner"),
            Err(_) => bail!("the partner panicked"),
        }
    })
}

/// CPU time of both threads a switch, ns: what other processes take of the CPU
/// meanwhile is not in it.
fn ping(to: &OwnedFd, from: &OwnedFd, switches: u64) -> Result<f64> {
    let (turns, begin) = (switches_so_far()?, cpu_time_ns()?);
    for _ in 0..switches / 2 {
        send(to)?;
        receive(from)?;
    }
    let (turns, spent) = (switches_so_far()? - turns, cpu_time_ns()? - begin);
    if turns < switches * 9 / 10 {
        bail!("{turns} switches instead of {switches}: the threads do not take turns");
    }
    Ok(spent as f64 / turns as f64)
}

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn send(to: &OwnedFd) -> io::Result<()> {
    // SAFETY: one byte from a static.
    check(unsafe { libc::write(to.as_raw_fd(), c"x".as_ptr().cast(), 1) }).map(drop)
}

/// False at the pipe's end.
fn receive(from: &OwnedFd) -> io::Result<bool> {
    let mut byte = 0u8;
    // SAFETY: one byte into a local.
    check(unsafe { libc::read(from.as_raw_fd(), (&raw mut byte).cast(), 1) }).map(|n| n == 1)
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } as isize)?;
    // SAFETY: the kernel has just made them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Keeps the calling thread and those it makes to one CPU.
///
/// # Errors
/// There is no such CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: a set of CPUs is plain data, and all zeros is the empty one.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: a local set; the function checks the number.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: a local set of the size stated.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } as isize)
        .map(drop)
}

/// Takes the CPU before what else runs on this machine.
///
/// # Errors
/// It may not.
pub fn prefer() -> io::Result<()> {
    // SAFETY: a system call without pointers.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) } as isize).map(drop)
}

/// CPU time of this process so far.
///
/// # Errors
/// The clock cannot be read.
pub fn cpu_time_ns() -> io::Result<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a local to write to.
    check(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } as isize)?;
    Ok(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// Of both threads; a wake-up may preempt the one that made it.
fn switches_so_far() -> io::Result<u64> {
    // SAFETY: plain data, all zeros is valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: a local to write to.
    check(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } as isize)?;
    Ok(usage.ru_nvcsw.unsigned_abs() + usage.ru_nivcsw.unsigned_abs())
}
