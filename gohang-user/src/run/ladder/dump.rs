//! Having Go programs print their goroutines.

use std::io;
use std::time::{Duration, Instant};

use super::Ladder;
use crate::golang::Inspector;
use crate::process::signal_members;
use crate::run::evidence::{DumpText, LiftOutcome, Origin, StepOutcome};
use crate::run::goroutines;
use crate::run::leaves;

/// How long the parents of programs that printed their goroutines may take to hand them on,
/// and how long without output says that they have.
const LAST_WORDS: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_millis(500);
/// CPU time that a dump may take, and the most that is waited for it to be handed out.
const DUMP_CPU: f64 = 0.5;
const MOST_FOR_QUOTA: f64 = 60.0;
/// As many periods at least.
const PERIODS: u32 = 10;
/// What is lacking where they print them to something that only shows that it was written to.
const UNSEEN: &str = "goroutines: what Go programs print of them at SIGQUIT is not seen on a \
    terminal or a device, nor with --no-observe; it is in a file or a pipe, as of `2>&1 | cat`";

impl Ladder<'_> {
    /// How much longer a dump takes under the limits that still hold.
    pub(super) fn more_for_the_quota(&self) -> Duration {
        let lift = &self.evidence.lift;
        let lifted = matches!(lift.outcome, LiftOutcome::Resumed | LiftOutcome::NoProgress);
        let levels = self.evidence.place.levels.iter();
        let limits = levels
            .filter(|level| !(level.own && lifted))
            .filter_map(|level| Some((level.quota_cpus?, level.period_ns.unwrap_or(0))));
        let longest = limits.map(|(quota, period_ns)| {
            let seconds = (DUMP_CPU / quota.max(1e-3)).min(MOST_FOR_QUOTA);
            Duration::from_secs_f64(seconds) + PERIODS * Duration::from_nanos(period_ns)
        });
        longest.max().unwrap_or_default()
    }

    /// Has the Go programs print their goroutines, which ends them; what those tell.
    pub(super) fn dump(
        &mut self,
        limit: Duration,
    ) -> io::Result<((StepOutcome, String), Vec<String>)> {
        let inspector = Inspector::new(self.proc.clone());
        let pids = self.place.processes().unwrap_or_default();
        let all = leaves::find(self.proc, &inspector, &pids);
        let answering = |pid: &u32| leaves::answers(self.proc, *pid) == Some(true);
        let leaves: Vec<u32> = all.iter().copied().filter(answering).collect();
        if leaves.is_empty() {
            let why = match all.len() {
                0 => "no Go program runs".to_owned(),
                n => format!("none of {n} Go programs catches SIGQUIT"),
            };
            return Ok(((StepOutcome::Skipped, why), Vec::new()));
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
        let signalled = signal_members(libc::SIGQUIT, still);
        let proc = self.proc.clone();
        let ended = move |pid: &u32| proc.stat(*pid).map_or(true, |stat| stat.is_zombie());
        if signalled.is_ok() {
            self.wait(limit, |_| leaves.iter().all(&ended))?;
            // `go test` hands on what its test printed, and ends, or goes on with the next.
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
        }
        let texts = self.streams.seen().end_capture();
        signalled?;
        let told = goroutines::told(texts.values().map(Vec::as_slice));
        let pid = match (&leaves[..], texts.len()) {
            (&[pid], 1) => Some(pid),
            _ => None,
        };
        let printed = texts.len();
        self.evidence
            .dumps
            .extend(texts.into_iter().map(|(package, text)| DumpText {
                origin: Origin::Quit,
                pid,
                package,
                text: String::from_utf8_lossy(&text).into_owned(),
            }));
        if printed == 0 && self.streams.is_blind() {
            self.lacks(UNSEEN);
        }
        let left = leaves.iter().filter(|pid| !ended(pid)).count();
        let detail = format!(
            "{} asked, {left} did not end, {printed} texts",
            leaves.len()
        );
        let outcome = match left {
            0 => StepOutcome::Done,
            _ => StepOutcome::TimedOut,
        };
        Ok(((outcome, detail), told))
    }
}
