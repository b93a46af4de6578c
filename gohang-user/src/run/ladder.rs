//! Ending a command that hangs, step by step, each with a time limit of its own. A step
//! that fails is logged and hides nothing.

use std::io;
use std::time::{Duration, Instant};

use super::breaker::Breaker;
use super::goroutines;
use super::leaves;
use super::output::Streams;
use super::place::Place;
use super::say::say;
use super::session::Session;
use super::watch::{Verdict, span};
use crate::golang::Inspector;
use crate::process::{ProcRoot, signal_members};

/// How often it is looked whether a step is done.
const LOOK: Duration = Duration::from_millis(20);
/// How long the parents of programs that printed their goroutines may take to hand them on,
/// and how long without output says that they have.
const LAST_WORDS: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_millis(500);
/// How long the kernel may take to end what was killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// What is needed to end it.
pub(super) struct Ladder<'a> {
    pub session: &'a mut Session,
    pub breaker: &'a Breaker,
    pub proc: &'a ProcRoot,
    pub place: &'a mut dyn Place,
    pub streams: &'a mut Streams,
}

/// A command that hung and has been ended.
#[derive(Debug)]
pub(super) struct Hung {
    pub verdict: Verdict,
    /// SIGKILL was needed.
    pub killed: bool,
}

impl Hung {
    /// The verdict, on standard error.
    pub fn tell(&self) {
        let how = if self.killed { "killed" } else { "ended" };
        say(&format!("hung and {how}: verdict: {}", self.verdict));
    }
}

impl Ladder<'_> {
    /// Ends the command and all it has started.
    pub fn climb(mut self, mut verdict: Verdict) -> io::Result<Hung> {
        let Verdict { reason, cause, .. } = &verdict;
        say(&format!("hung: {reason} is exceeded: {cause}"));
        // What it has to do from here on is not to be throttled.
        match self.place.lift_cpu_quota() {
            Ok(lifted) => log::info!("the CPU quota was lifted: {lifted}"),
            Err(error) => log::warn!("cannot lift the CPU quota: {error}"),
        }
        if let Some(limit) = self.breaker.dump_time {
            verdict.goroutines = self.dump(limit)?;
        }
        self.ask_to_end()?;
        let killed = !self.is_empty();
        if killed {
            self.kill()?;
        }
        Ok(Hung { verdict, killed })
    }

    /// Has the Go programs print their goroutines, which ends them; what those tell.
    fn dump(&mut self, limit: Duration) -> io::Result<Vec<String>> {
        let inspector = Inspector::new(self.proc.clone());
        let pids = self.place.processes().unwrap_or_default();
        let leaves = leaves::find(self.proc, &inspector, &pids);
        let leaves: Vec<u32> = leaves
            .into_iter()
            .filter(|&pid| leaves::answers(self.proc, pid) == Some(true))
            .collect();
        if leaves.is_empty() {
            return Ok(Vec::new());
        }
        self.streams.seen().begin_capture();
        let asked = Instant::now();
        // One that has ended since is not in the place any more.
        let still = || {
            let inside = self.place.processes().map_err(io::Error::other)?;
            Ok(leaves
                .iter()
                .copied()
                .filter(|pid| inside.contains(pid))
                .collect())
        };
        if let Err(error) = signal_members(libc::SIGQUIT, still) {
            log::warn!("cannot ask for goroutines: {error}");
        }
        let proc = self.proc.clone();
        let ended = move |pid: &u32| proc.stat(*pid).map_or(true, |stat| stat.is_zombie());
        self.wait(limit, |_| leaves.iter().all(&ended))?;
        // `go test` hands on what its test printed, and ends, or goes on with the next one.
        let printed = |ladder: &Self| {
            let last = ladder.streams.seen().last_output();
            let quiet = if ladder.session.ended.is_some() {
                QUIET / 5
            } else {
                QUIET
            };
            last > asked && last.elapsed() >= quiet
        };
        self.wait(LAST_WORDS, printed)?;
        let texts = self.streams.seen().end_capture();
        Ok(goroutines::told(texts.values().map(Vec::as_slice)))
    }

    /// SIGTERM to everything, and time to end.
    fn ask_to_end(&mut self) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        // A stopped process has to run to end.
        for signal in [libc::SIGTERM, libc::SIGCONT] {
            if let Err(error) = self.place.signal(signal) {
                log::warn!("{error}");
            }
        }
        self.wait(self.breaker.grace, |ladder| ladder.is_empty())
    }

    fn kill(&mut self) -> io::Result<()> {
        say(&format!(
            "it does not end within {} after SIGTERM: killing it",
            span(self.breaker.grace)
        ));
        if let Err(error) = self.place.kill(KILL_TIMEOUT) {
            say(&format!("warning: {error}"));
        }
        // Its status is there as soon as it is dead.
        self.wait(KILL_TIMEOUT, |ladder| ladder.session.ended.is_some())
    }

    /// Whether nothing runs any more.
    fn is_empty(&self) -> bool {
        let left = self.place.processes();
        self.session.ended.is_some() && left.is_ok_and(|left| left.is_empty())
    }

    /// Deals with what happens until `done` says so, or for `limit`.
    fn wait(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> io::Result<()> {
        let end = Instant::now() + limit;
        loop {
            self.session.step(Some(LOOK), &[])?;
            self.streams.look(Instant::now());
            if done(self) || Instant::now() >= end {
                return Ok(());
            }
        }
    }
}
