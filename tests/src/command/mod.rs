//! Commands to be run bare and under `gohang run`. Each is a mode of this binary:
//! `gohang-tests __command KIND key=value...`.

mod inherited;
mod load;
mod signals;

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};

use crate::options::Options;
use crate::sys;

/// Runs the command called `kind`.
///
/// # Errors
/// When the kind or an option is unknown, or the kernel refuses what it needs.
pub fn run(kind: &str, words: &[String]) -> Result<()> {
    let o = Options::parse(words)?;
    match kind {
        "inherited" => inherited::print(),
        "terminal" => inherited::print_terminal(),
        "stream" => stream(&o),
        "echo" => echo(),
        "signals" => signals::count(&o),
        "stubborn" => signals::stubborn(),
        "line" => line(),
        "print" => print(&o),
        "spin" => load::spin(&o),
        "steps" => load::steps(&o),
        "eat" => load::eat(&o),
        "daemon" => load::daemon(&o),
        "bomb" => load::bomb(&o),
        "sleep" => {
            say("ready")?;
            sys::sleep_ns(o.need::<u64>("ms")? * 1_000_000);
            Ok(())
        }
        _ => bail!("no command is called {kind:?}"),
    }
}

/// Prints a line at once.
fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .context("cannot print")
}

/// Writes `bytes=` pseudo-random bytes to standard output, every third piece to standard error
/// instead, in pieces of odd sizes, and exits with `code=`.
fn stream(o: &Options) -> Result<()> {
    let bytes: usize = o.need("bytes")?;
    let mut state: u64 = o.get("seed", 1)?;
    let mut next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut written = 0;
    let mut piece = 0;
    while written < bytes {
        let length = (next() as usize % 9_973 + 1).min(bytes - written);
        let data: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        if piece % 3 == 2 {
            std::io::stderr().write_all(&data)?;
        } else {
            let mut out = std::io::stdout();
            out.write_all(&data)?;
            out.flush()?;
        }
        written += length;
        piece += 1;
    }
    std::process::exit(o.get("code", 0)?)
}

/// Prints `n=` lines, one every `ms=`, and uses no more CPU time than that takes; with `spin=1`
/// it spins meanwhile.
fn print(o: &Options) -> Result<()> {
    let (lines, pause) = (o.need::<u64>("n")?, o.need::<u64>("ms")? * 1_000_000);
    let spin = o.get("spin", 0)? != 0;
    for line in 0..lines {
        say(&format!("line {line}"))?;
        let until = sys::mono_ns() + pause;
        while spin && sys::mono_ns() < until {
            std::hint::spin_loop();
        }
        sys::sleep_until_ns(until);
    }
    Ok(())
}

/// Copies standard input to standard output.
fn echo() -> Result<()> {
    let mut all = Vec::new();
    std::io::stdin().read_to_end(&mut all)?;
    std::io::stdout().write_all(&all)?;
    Ok(())
}

/// Says that it is there, and repeats a line that it reads.
fn line() -> Result<()> {
    say("ready")?;
    let mut text = String::new();
    std::io::stdin().read_line(&mut text)?;
    say(&format!("got {}", text.trim_end()))
}
