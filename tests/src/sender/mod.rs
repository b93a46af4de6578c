//! Programs that act on a target from outside: senders and a tracer. Modes of this binary:
//! `gohang-tests __sender key=value...` and `__tracer key=value...`.

mod tracer;

pub use tracer::run as run_tracer;

use std::io::Write;

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::sys;

/// Sends SIGURG: `pid=`, `tids=` (in turn), `dir=thread|process`, `us=` between two (0: as
/// fast as possible), `count=` or `ms=`; `first=1`
/// before everything else on a busy machine. Prints `sent N` at the end; a target that is gone
/// ends it early.
///
/// # Errors
/// On bad options, or when the kernel refuses to send.
pub fn run(words: &[String]) -> Result<()> {
    let o = Options::parse(words)?;
    sys::die_with_parent();
    if o.get("first", 0)? != 0 {
        sys::raise_priority();
    }
    let pid: i32 = o.need("pid")?;
    let to_process = match o.get("dir", "thread".to_owned())?.as_str() {
        "process" => true,
        "thread" => false,
        other => bail!("dir={other:?}: thread or process"),
    };
    let tids = if to_process {
        vec![pid]
    } else {
        o.list("tids")?
    };
    let every_ns = o.get("us", 1_000u64)? * 1_000;
    let count: u64 = o.get("count", u64::MAX)?;
    let until = match o.get("ms", 0u64)? {
        0 => u64::MAX,
        ms => sys::mono_ns() + ms * 1_000_000,
    };
    let mut next = sys::mono_ns();
    let mut sent = 0u64;
    for tid in tids.iter().cycle() {
        // Reading the clock costs a fraction of a send.
        if sent >= count || sys::mono_ns() >= until {
            break;
        }
        let done = if to_process {
            sys::kill(pid, sys::SIGURG)
        } else {
            sys::tgkill(pid, *tid, sys::SIGURG)
        };
        match done {
            Ok(()) => sent += 1,
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => break,
            Err(e) => return Err(e).with_context(|| format!("cannot signal {tid} of {pid}")),
        }
        if every_ns > 0 {
            next = (next + every_ns).max(sys::mono_ns());
            sys::sleep_until_ns(next);
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "sent {sent}")
        .and_then(|()| out.flush())
        .context("cannot say the count")
}
