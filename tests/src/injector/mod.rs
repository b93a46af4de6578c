//! Signals a target whose delay it knows, because it has made it together with the target (see
//! the target `cause`) and by nothing that the kernel accounts: `gohang-tests __injector
//! cause=NAME page=PATH pid= tid= cpu= count= out=PATH`; or, with `measure=1 cpu=` alone, says
//! what the pace is.
//!
//! Writes a label (see `label`) for every signal that it sends, once the handler has taken it
//! and before the next is sent, and prints `injected N uncertain M` when N labels are certain.
//!
//! What is known of an episode is an interval that lies within it and in which its cause
//! certainly acted. The label is certain if that is more than half of the time from before the
//! send to the handler, since a cause is what makes up most of an episode:
//!
//! - `masked`: from the send until the target, which has had the signal blocked since before
//!   and waits for the send, is about to unblock it;
//! - `blocked`: from the send until the vfork child, which runs since before and waits for the
//!   send, is about to end;
//! - `runqueue`: a real-time injector on the target's own CPU keeps it from the send on, and
//!   the target, which always spins, does not beat meanwhile;
//! - `throttled`: the target, which always spins and is alone in its group, does not beat,
//!   though a witness in another group runs on its CPU, before the send and at least three
//!   times from then on; until the last time but one. The target's group goes before all
//!   others, and the witness only gets a CPU that hardly anybody wants: where the target waits
//!   for the CPU, the witness may run once by chance, but then has had its share for long.
//!
//! `running` has no such interval, as a thread that runs takes its signals at once: its label
//! is certain if the target, which nothing but an interrupt takes from its CPU, beats just
//! before the send and handles the signal sooner than any other cause lets it.

mod pace;
mod scenes;
mod witness;

use std::fs::File;
use std::io::Write;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail, ensure};

use crate::label::{Cause, Label};
use crate::options::Options;
use crate::page::Page;
use crate::sys;

/// How often a sleeping injector looks at the page, ns at pace 1: at the highest rank it must
/// not look all the time.
const LOOK_NS: u64 = 100_000;

/// How long it may take to get one label that is certain, ns.
const LIMIT_NS: u64 = 30_000_000_000;

/// At most so many signals for one that is certain, beyond the first hundred.
const TRIES: u64 = 20;

/// Runs an injector.
///
/// # Errors
/// On bad options, and when the target does not do its part.
pub fn run(words: &[String]) -> Result<()> {
    let o = Options::parse(words)?;
    sys::die_with_parent();
    let cpu: usize = o.need("cpu")?;
    if o.get("measure", 0)? != 0 {
        return pace::measure(cpu);
    }
    let out: String = o.need("out")?;
    let mut injector = Injector {
        cause: o.need("cause")?,
        page: Page::open(&o.need::<String>("page")?)?,
        pid: o.need("pid")?,
        tid: o.need("tid")?,
        out: File::create(&out).with_context(|| format!("cannot write {out}"))?,
        count: o.need("count")?,
        rounds: 0,
        sent: 0,
        certain: 0,
        limit_ns: sys::mono_ns() + LIMIT_NS,
    };
    match injector.cause {
        Cause::RunQueue => sys::pin(0, cpu),
        _ => sys::pin(0, other_than(cpu)?),
    }
    // Before the witness: threads inherit it, and it gives it up itself.
    sys::raise_priority();
    match injector.cause {
        Cause::Masked | Cause::Blocked => injector.held()?,
        Cause::Running => injector.running()?,
        Cause::RunQueue => injector.runqueue()?,
        Cause::Throttled => injector.throttled(cpu)?,
    }
    let (certain, uncertain) = (injector.certain, injector.sent - injector.certain);
    println!("injected {certain} uncertain {uncertain}");
    Ok(())
}

fn other_than(cpu: usize) -> Result<usize> {
    let cpus = sys::online_cpus()?.into_iter().map(usize::try_from);
    let cpus = cpus.collect::<Result<Vec<_>, _>>()?;
    let other = cpus.into_iter().find(|other| *other != cpu);
    other.context("a CPU of its own for the target takes two")
}

struct Injector {
    cause: Cause,
    page: &'static Page,
    pid: i32,
    tid: i32,
    out: File,
    /// Wanted certain labels.
    count: u64,
    /// Rounds asked for.
    rounds: u64,
    /// Signals sent.
    sent: u64,
    /// Labels that are certain.
    certain: u64,
    /// When the next one must be there.
    limit_ns: u64,
}

/// When a signal was sent.
#[derive(Clone, Copy)]
struct Sent {
    before_ns: u64,
    after_ns: u64,
}

impl Sent {
    /// Whether the cause, known to act from the send until then, made up most of the episode.
    fn is_mostly_until(self, until_ns: u64, handled_ns: u64) -> bool {
        let known = until_ns.saturating_sub(self.after_ns);
        known > handled_ns.saturating_sub(self.before_ns) / 2
    }
}

impl Injector {
    /// Whether more is to be sent.
    fn is_wanted(&self) -> Result<bool> {
        let late = self.is_late();
        ensure!(
            !late && self.sent < self.count * TRIES + 100,
            "of {} signals sent for {}, only {} have that cause for certain{}",
            self.sent,
            self.cause,
            self.certain,
            if late { ", and no more come" } else { "" }
        );
        Ok(self.certain < self.count)
    }

    fn is_late(&self) -> bool {
        sys::mono_ns() > self.limit_ns
    }

    /// Starts a round and waits until the target has set it up.
    fn ask(&mut self) -> Result<u64> {
        self.rounds += 1;
        let (page, n) = (self.page, self.rounds);
        page.ask.store(n, Ordering::Release);
        self.wait("the target is not ready", || {
            page.ready.load(Ordering::Acquire) == n
        })?;
        Ok(n)
    }

    fn send(&mut self) -> Result<Sent> {
        let before_ns = sys::mono_ns();
        sys::tgkill(self.pid, self.tid, sys::SIGURG).context("cannot signal the target")?;
        let after_ns = sys::mono_ns();
        self.sent += 1;
        Ok(Sent {
            before_ns,
            after_ns,
        })
    }

    /// Waits for the handler; says when it began.
    fn handled(&self) -> Result<u64> {
        let (page, sent) = (self.page, self.sent);
        self.wait("the handler has not run", || {
            page.handled.load(Ordering::Acquire) >= sent
        })?;
        Ok(page.handled_ns.load(Ordering::Acquire))
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) -> Result<()> {
        while !done() {
            if self.is_late() {
                bail!("{what} after {} signals for {}", self.sent, self.cause);
            }
            sys::sleep_ns(self.page.paced(LOOK_NS));
        }
        Ok(())
    }

    fn beat_ns(&self) -> u64 {
        self.page.beat_ns.load(Ordering::Acquire)
    }

    fn label(&mut self, sent: Sent, certain: bool) -> Result<()> {
        if certain {
            self.certain += 1;
            self.limit_ns = sys::mono_ns() + LIMIT_NS;
        }
        let label = Label {
            tid: u32::try_from(self.tid)?,
            before_ns: sent.before_ns,
            after_ns: sent.after_ns,
            cause: self.cause,
            certain,
        };
        writeln!(self.out, "{label}").context("cannot write a label")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_is_more_than_half() {
        let sent = Sent {
            before_ns: 100,
            after_ns: 110,
        };
        assert!(sent.is_mostly_until(161, 200));
        assert!(!sent.is_mostly_until(160, 200));
        assert!(!sent.is_mostly_until(0, 200));
    }
}
