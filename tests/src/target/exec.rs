//! A target that executes itself again and again with a blocked signal pending.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{handler, ready, report, wait_for_go};
use crate::options::Options;
use crate::sys::{self, SIGURG};

/// `exec`: `left` times, the leader or (`by=thread`) another thread blocks SIGURG, sends it to
/// itself or (`dir=process`) to the process, and executes the program anew; the new image
/// unblocks it after `wait_us`, with a handler or (`handler=0`) without.
pub fn chain(o: &Options) -> Result<()> {
    let left: u32 = o.get("left", 10)?;
    let with_handler = o.get("handler", 1)? != 0;
    if o.get("again", 0)? == 0 {
        ready();
        if !wait_for_go() {
            return Ok(());
        }
    } else {
        if with_handler {
            handler::install(false)?;
        }
        sys::sleep_ns(o.get("wait_us", 3_000u64)? * 1_000);
        sys::block_sigurg(false);
        sys::block_sigurg(true);
        if with_handler && handler::count() != 1 {
            bail!(
                "{} signals instead of 1 survived the exec",
                handler::count()
            );
        }
    }
    if left == 0 {
        ready();
        wait_for_go();
        report();
        return Ok(());
    }
    let by: String = o.get("by", "leader".to_owned())?;
    let to_process = o.get("dir", "thread".to_owned())? == "process";
    let mut next = Command::new(std::env::current_exe()?);
    next.args(["__target", "exec", "again=1"]);
    next.arg(format!("left={}", left - 1))
        .arg(format!("by={by}"));
    next.arg(format!("handler={}", u8::from(with_handler)));
    next.arg(format!(
        "dir={}",
        if to_process { "process" } else { "thread" }
    ));
    next.arg(format!("wait_us={}", o.get("wait_us", 3_000u64)?));
    let mut go_on = move || -> Result<()> {
        let pid = i32::try_from(std::process::id())?;
        if to_process {
            sys::kill(pid, SIGURG)?;
        } else {
            sys::tgkill(pid, sys::gettid(), SIGURG)?;
        }
        Err(next.exec()).context("cannot execute this program again")
    };
    if by == "leader" {
        return go_on();
    }
    // The mask is inherited, so the signal is blocked in the new thread too.
    match std::thread::Builder::new().spawn(go_on)?.join() {
        Ok(failed) => failed,
        Err(_) => bail!("the executing thread panicked"),
    }
}
