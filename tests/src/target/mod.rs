//! Programs to be signalled. Each is a mode of this binary, started by re-executing it:
//! `gohang-tests __target KIND key=value...`.
//!
//! A target prints `ready`, runs until its standard input closes (or by itself, where the kind
//! says so) and prints `handled N` at the end: what its handler counted is a truth that no
//! tracer had a part in. `cpu=N` ties it to one CPU, `first=1` puts
//! it before everything else on a busy machine. Worker threads are named `w0`, `w1` and so on, for the harness to
//! find their ids in `/proc` from any PID namespace. The main thread blocks SIGURG, so that
//! what is sent to the process goes to a worker.

mod cause;
mod exec;
mod fate;
mod handler;
mod socket;
mod work;

use std::io::{Read, Write};

use anyhow::{Result, bail};

use crate::options::Options;
use crate::sys;

/// Runs the target called `kind`.
///
/// # Errors
/// When the kind or an option is unknown, or the kernel refuses what the target needs.
pub fn run(kind: &str, words: &[String]) -> Result<()> {
    let o = Options::parse(words)?;
    if o.get("orphan", 0)? == 0 {
        sys::die_with_parent();
    }
    sys::block_sigurg(true);
    let cpu: i64 = o.get("cpu", -1)?;
    if let Ok(cpu) = usize::try_from(cpu) {
        sys::pin(0, cpu);
    }
    if o.get("first", 0)? != 0 {
        sys::raise_priority();
    }
    match kind {
        "spin" => work::spin(&o),
        "sleep" => work::sleep(&o),
        "beat" => work::beat(&o),
        "raise" => work::raise(&o),
        "rouse" => work::rouse(&o),
        "mask" => work::mask(&o),
        "onoff" => work::on_off(&o),
        "late" => work::late(),
        "ignore" => fate::ignore(&o),
        "default" => fate::default(&o),
        "signalfd" => fate::signalfd(&o),
        "die" => fate::die(&o),
        "oneself" => fate::oneself(&o),
        "vfork" => fate::vfork(&o),
        "cause" => cause::cause(&o),
        "exec" => exec::chain(&o),
        "urgent" => socket::urgent(&o),
        "churn" => fate::churn(&o),
        "name" => fate::hostile_name(&o),
        "pidns" => fate::pid_namespace(words),
        _ => bail!("no target is called {kind:?}"),
    }
}

/// Says that the target is set up.
fn ready() {
    let mut out = std::io::stdout();
    // The harness may be gone; then so is this process, soon.
    let _ = writeln!(out, "ready").and_then(|()| out.flush());
}

/// Waits for one byte from the harness; false when it has closed the input instead.
fn wait_for_go() -> bool {
    let mut byte = [0u8; 1];
    matches!(std::io::stdin().lock().read(&mut byte), Ok(1))
}

/// Prints what the handlers counted.
fn report() {
    println!("handled {}", handler::count());
}
