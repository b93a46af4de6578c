//! Targets in which the signal has another fate than a plain delivery.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use anyhow::{Context, Result, bail};

use super::work::Workers;
use super::{handler, ready, report, wait_for_go};
use crate::options::Options;
use crate::sys::{self, SIGURG};

/// `ignore`: SIGURG is ignored by the program.
pub fn ignore(_: &Options) -> Result<()> {
    handler::ignore()?;
    asleep(1)
}

/// `default`: SIGURG has its default action; with `hold_ms` the worker blocks it for so long
/// at a time, which makes the kernel queue it all the same.
pub fn default(o: &Options) -> Result<()> {
    handler::default()?;
    let hold_ns = o.get("hold_ms", 0u64)? * 1_000_000;
    if hold_ns == 0 {
        return asleep(1);
    }
    let workers = Workers::start(1, false, move |_, stop| {
        while !stop.load(Ordering::Relaxed) {
            sys::block_sigurg(true);
            sys::sleep_ns(hold_ns);
            sys::block_sigurg(false);
            sys::sleep_ns(1_000_000);
        }
    })?;
    until_end(workers)
}

fn asleep(threads: usize) -> Result<()> {
    until_end(Workers::start(threads, false, |_, stop| {
        while !stop.load(Ordering::Relaxed) {
            sys::sleep_ns(20_000_000);
        }
    })?)
}

fn until_end(workers: Workers) -> Result<()> {
    ready();
    wait_for_go();
    workers.finish();
    report();
    Ok(())
}

/// `signalfd`: the worker takes SIGURG by a signalfd or (`how=sigwait`) by `sigtimedwait`.
pub fn signalfd(o: &Options) -> Result<()> {
    let waits = o.get("how", "signalfd".to_owned())? == "sigwait";
    let workers = Workers::start(1, false, move |_, stop| {
        sys::block_sigurg(true);
        let fd = open_signalfd().expect("the kernel gives a signalfd");
        while !stop.load(Ordering::Relaxed) {
            if waits { sigwait_once() } else { read_once(fd) }
        }
    })?;
    until_end(workers)
}

fn sigurg_set() -> libc::sigset_t {
    // SAFETY: a zeroed sigset_t is valid storage for sigemptyset to initialise.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, SIGURG);
        set
    }
}

fn open_signalfd() -> std::io::Result<i32> {
    let set = sigurg_set();
    // SAFETY: the set is valid; -1 asks for a new descriptor, which lives as long as the process.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK) };
    if fd < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(fd)
    }
}

fn read_once(fd: i32) {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut buf = [0u8; size_of::<libc::signalfd_siginfo>()];
    // SAFETY: one pollfd, and a buffer of the length stated.
    unsafe {
        if libc::poll(&raw mut poll, 1, 50) == 1 {
            libc::read(fd, buf.as_mut_ptr().cast(), buf.len());
        }
    }
}

fn sigwait_once() {
    let set = sigurg_set();
    let wait = libc::timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    // SAFETY: valid set and timespec; no details are asked for.
    unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const wait) };
}

/// `die`: dies with the signal pending. `count` threads one after another, each of which
/// blocks it, sends it to itself and ends; or (`how=process`) the whole process, with one
/// pending for its thread and one for the process.
pub fn die(o: &Options) -> Result<()> {
    handler::install(false)?;
    let pid = i32::try_from(std::process::id())?;
    ready();
    if !wait_for_go() {
        return Ok(());
    }
    if o.get("how", "threads".to_owned())? == "process" {
        sys::tgkill(pid, sys::gettid(), SIGURG)?;
        sys::kill(pid, SIGURG)?;
        report();
        return Ok(());
    }
    for _ in 0..o.get("count", 100u32)? {
        let work = move || {
            // Blocked already: threads inherit the mask of the one that starts them.
            sys::tgkill(pid, sys::gettid(), SIGURG)
        };
        let thread = std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(work)?;
        match thread.join() {
            Ok(sent) => sent.context("a thread could not signal itself")?,
            Err(_) => bail!("a dying thread panicked"),
        }
    }
    ready();
    wait_for_go();
    report();
    Ok(())
}

/// `oneself`: the worker, once a byte of input has come, signals itself `count` times; each time
/// it is through with the signal, a tracer's stop included, before it goes on.
pub fn oneself(o: &Options) -> Result<()> {
    handler::install(false)?;
    let count: u32 = o.get("count", 80)?;
    let pid = i32::try_from(std::process::id())?;
    let (go, gone) = (Arc::new(AtomicBool::new(false)), channel());
    let (seen, tell) = (Arc::clone(&go), gone.0);
    let workers = Workers::start(1, false, move |_, stop| {
        while !seen.load(Ordering::Acquire) && !stop.load(Ordering::Acquire) {
            sys::sleep_ns(1_000_000);
        }
        if !stop.load(Ordering::Acquire) {
            let sent = (0..count).try_for_each(|_| sys::tgkill(pid, sys::gettid(), SIGURG));
            // The main thread waits for it.
            let _ = tell.send(sent);
        }
    })?;
    ready();
    if wait_for_go() {
        go.store(true, Ordering::Release);
        gone.1
            .recv()?
            .context("the worker could not signal itself")?;
    }
    until_end(workers)
}

/// `vfork`: the worker is most of the time blocked (uninterruptible) by a vfork whose child
/// sleeps for `child_us`.
pub fn vfork(o: &Options) -> Result<()> {
    handler::install(false)?;
    let child_us: libc::c_long = o.get("child_us", 2_000)?;
    let workers = Workers::start(1, false, move |_, stop| {
        let mut stack = vec![0u8; 64 << 10];
        while !stop.load(Ordering::Relaxed) {
            vfork_once(&mut stack, child_us);
            sys::sleep_ns(200_000);
        }
    })?;
    until_end(workers)
}

extern "C" fn vfork_child(arg: *mut libc::c_void) -> libc::c_int {
    let ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: arg as libc::c_long * 1_000,
    };
    // SAFETY: async-signal-safe calls only; the parent's memory is not written.
    unsafe {
        libc::nanosleep(&raw const ts, std::ptr::null_mut());
        libc::_exit(0)
    }
}

fn vfork_once(stack: &mut [u8], child_us: libc::c_long) {
    // SAFETY: the child only sleeps and exits; its argument is a number.
    unsafe { sys::vfork_and_wait(stack, vfork_child, child_us as *mut libc::c_void) };
}

/// `churn`: threads and programs come and go until the end of input, all of them signalled.
pub fn churn(o: &Options) -> Result<()> {
    handler::install(false)?;
    let pause_ns = o.get("pause_us", 500u64)? * 1_000;
    let stop = AtomicBool::new(false);
    ready();
    let done = std::thread::scope(|scope| {
        let churner = scope.spawn(|| churn_until(&stop, pause_ns));
        wait_for_go();
        stop.store(true, Ordering::Relaxed);
        churner.join()
    });
    let Ok(rounds) = done else {
        bail!("the churning thread panicked")
    };
    println!("rounds {}", rounds?);
    report();
    Ok(())
}

fn churn_until(stop: &AtomicBool, pause_ns: u64) -> Result<u64> {
    let pid = i32::try_from(std::process::id())?;
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        let workers = Workers::start(2, false, |_, stop| {
            while !stop.load(Ordering::Relaxed) {
                sys::sleep_ns(100_000);
            }
        })?;
        for tid in &workers.tids {
            sys::tgkill(pid, *tid, SIGURG)?;
        }
        let mut child = Command::new(std::env::current_exe()?)
            .args(["__target", "die", "how=process"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(b"g")?;
        }
        child.wait()?;
        workers.finish();
        rounds += 1;
        sys::sleep_ns(pause_ns);
    }
    Ok(rounds)
}

/// The name that `name` gives its threads: an escape sequence, a line break, a bell and a C1
/// control character (as UTF-8).
pub const HOSTILE_NAME: &[u8] = b"\x1b[31m\n\x07\xc2\x9bx\"\\";

/// `name`: like `sleep`, under a name that would drive a terminal.
pub fn hostile_name(o: &Options) -> Result<()> {
    sys::name_thread(HOSTILE_NAME);
    super::work::sleep(o)
}

/// `pidns`: the target given by `kind=` as the first process of a PID namespace of its own.
pub fn pid_namespace(words: &[String]) -> Result<()> {
    let kind: String = Options::parse(words)?.need("kind")?;
    // SAFETY: takes a flag; this thread's later children are in the new namespace.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return Err(std::io::Error::last_os_error()).context("no new PID namespace");
    }
    let status = Command::new(std::env::current_exe()?)
        .args(["__target", &kind])
        .args(words)
        .status()
        .context("cannot start the target in its namespace")?;
    if !status.success() {
        bail!("the target in the PID namespace ended with {status}");
    }
    Ok(())
}
