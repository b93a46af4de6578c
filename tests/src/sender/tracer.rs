//! A ptracer that holds its tracee at every signal.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::options::Options;
use crate::sys;

/// Seizes the threads `tids=`; holds each at a signal for `hold_us=`, then lets it go on with
/// the signal, or without it at every `swallow=`th (0: never). Prints `ready`, ends with its
/// standard input, prints `held N swallowed N`.
///
/// # Errors
/// On bad options, or when a thread cannot be traced.
pub fn run(words: &[String]) -> Result<()> {
    let o = Options::parse(words)?;
    sys::die_with_parent();
    let hold_ns = o.get("hold_us", 5_000u64)? * 1_000;
    let swallow: u64 = o.get("swallow", 0)?;
    for tid in o.list("tids")? {
        ptrace(libc::PTRACE_SEIZE, tid, 0).with_context(|| format!("cannot trace {tid}"))?;
    }
    let mut out = std::io::stdout();
    writeln!(out, "ready").and_then(|()| out.flush())?;
    let stop = AtomicBool::new(false);
    let (held, swallowed) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            stop.store(true, Ordering::Relaxed);
        });
        // Only the thread that seized may wait: the main one.
        hold(&stop, hold_ns, swallow)
    });
    writeln!(out, "held {held} swallowed {swallowed}").and_then(|()| out.flush())?;
    Ok(())
}

fn hold(stop: &AtomicBool, hold_ns: u64, swallow: u64) -> (u64, u64) {
    let (mut held, mut swallowed) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let mut status = 0;
        // SAFETY: `status` is valid for the kernel to fill.
        let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::WNOHANG) };
        if tid <= 0 || !libc::WIFSTOPPED(status) {
            sys::sleep_ns(200_000);
            continue;
        }
        let mut signal = if status >> 16 == 0 {
            libc::WSTOPSIG(status)
        } else {
            0
        };
        if signal == sys::SIGURG {
            held += 1;
            sys::sleep_ns(hold_ns);
            if swallow > 0 && held % swallow == 0 {
                swallowed += 1;
                signal = 0;
            }
        }
        // A thread that has ended meanwhile needs no leave to go on.
        let _ = ptrace(libc::PTRACE_CONT, tid, signal);
    }
    (held, swallowed)
}

fn ptrace(request: libc::c_uint, tid: i32, data: i32) -> std::io::Result<()> {
    // SAFETY: the requests used take no pointers; address and data are numbers.
    let rc = unsafe { libc::ptrace(request, tid, 0usize, data as usize) };
    if rc < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(())
    }
}
