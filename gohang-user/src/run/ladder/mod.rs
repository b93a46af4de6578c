//! Ending a command that hangs, step by step, each with a time limit of its own, and learning
//! on the way why it does. A step that fails is noted and hides nothing.

mod dump;
mod lift;

use std::io;
use std::time::{Duration, Instant};

use super::Options;
use super::collect;
use super::evidence::{End, Evidence, Step, StepName, StepOutcome, TraceState, nanoseconds};
use super::fetch;
use super::goroutines;
use super::keeper::{Judged, Keeper};
use super::outcome::Ended;
use super::output::Streams;
use super::place::Place;
use super::say::say;
use super::session::Session;
use super::tracer::{Tracer, Tracing};
use super::watch::{Verdict, Watch};
use crate::process::ProcRoot;
use crate::units::span;

/// How often it is looked whether a step is done.
const LOOK: Duration = Duration::from_millis(20);
/// How long the tracer may take to hand over what it has.
const FLUSH: Duration = Duration::from_millis(1500);
/// How long the look at groups and processes may take.
const SNAPSHOT: Duration = Duration::from_millis(1500);
/// How long programs that serve their goroutines may take.
const FETCH: Duration = Duration::from_secs(3);
/// How much longer where more is wanted of them.
const FETCH_MORE: Duration = Duration::from_secs(7);
/// How long the kernel may take to end what was killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// What is needed to end it.
pub(super) struct Ladder<'a> {
    pub session: &'a mut Session,
    pub options: &'a Options,
    pub proc: &'a ProcRoot,
    pub place: &'a mut dyn Place,
    pub streams: &'a mut Streams,
    pub watch: &'a mut Watch,
    pub tracer: &'a mut Tracer,
    pub keeper: &'a mut dyn Keeper,
    pub evidence: Evidence,
    pub decided: Instant,
}

/// A command that hung and has been ended.
#[derive(Debug)]
pub(super) struct Hung {
    pub verdict: Verdict,
    /// SIGKILL was needed.
    pub killed: bool,
    pub evidence: Evidence,
    /// What the keeper has made of it so far.
    pub judged: Judged,
}

impl Hung {
    /// The verdict, on standard error.
    pub fn tell(&self) {
        let how = if self.killed { "killed" } else { "ended" };
        let Some((first, rest)) = self.judged.lines.split_first() else {
            return say(&format!("hung and {how}: verdict: {}", self.verdict));
        };
        say(&format!("hung and {how}: {first}"));
        rest.iter().for_each(|line| say(line));
    }

    /// Takes what a keeper has done, or says what kept it from that.
    pub fn take(&mut self, judged: Result<Judged, String>) {
        take(&mut self.judged, judged);
    }
}

fn take(known: &mut Judged, judged: Result<Judged, String>) {
    match judged {
        Ok(judged) => {
            if !judged.lines.is_empty() {
                known.lines = judged.lines;
            }
            known.verdict = judged.verdict.or(known.verdict.take());
            known.bundle = judged.bundle.or(known.bundle.take());
        }
        Err(why) => say(&format!("warning: {why}")),
    }
}

/// How a step went, and what came of it.
type Done = io::Result<(StepOutcome, String)>;

impl Ladder<'_> {
    /// Ends the command and all it has started.
    pub fn climb(mut self, mut verdict: Verdict) -> io::Result<Hung> {
        let Verdict { reason, cause, .. } = &verdict;
        say(&format!("hung: {reason} is exceeded: {cause}"));
        let mut judged = Judged::default();
        // It detaches while the rest is looked at.
        self.tracer.end();
        self.step(StepName::Snapshot, SNAPSHOT, Self::snapshot)?;
        self.step(StepName::Flush, FLUSH, Self::flush)?;
        // Should gohang be ended before the rest is known, this much is.
        take(&mut judged, self.keeper.judge(&self.evidence));
        let lift = self.options.breaker.lift.unwrap_or_default();
        self.step(StepName::Lift, lift, Self::lift)?;
        verdict.evidence.extend(lift::told(&self.evidence.lift));
        take(&mut judged, self.keeper.judge(&self.evidence));
        if self.options.fetch {
            let limit = match self.options.fetch_paths[..] {
                [] => FETCH,
                [..] => FETCH + FETCH_MORE,
            };
            self.step(StepName::Fetch, limit, Self::fetch)?;
        }
        if let Some(limit) = self.options.breaker.dump_time {
            let limit = limit + self.more_for_the_quota();
            self.step(StepName::Dump, limit, |ladder, limit| {
                let (done, goroutines) = ladder.dump(limit)?;
                verdict.goroutines = goroutines;
                Ok(done)
            })?;
        }
        if verdict.goroutines.is_empty() {
            let served = self.evidence.dumps.iter().map(|dump| dump.text.as_bytes());
            verdict.goroutines = goroutines::told(served);
        }
        if !self.evidence.dumps.is_empty() {
            take(&mut judged, self.keeper.judge(&self.evidence));
        }
        let grace = self.options.breaker.grace;
        self.step(StepName::Terminate, grace, Self::ask_to_end)?;
        let killed = !self.is_empty();
        if killed {
            self.step(StepName::Kill, KILL_TIMEOUT, Self::kill)?;
        }
        self.evidence.tail = self.streams.seen().tail();
        self.evidence.end = Some(self.end(killed));
        Ok(Hung {
            verdict,
            killed,
            evidence: self.evidence,
            judged,
        })
    }

    /// Does a step and notes how it went. Only what makes following the command impossible
    /// ends the ladder.
    fn step(
        &mut self,
        name: StepName,
        limit: Duration,
        does: impl FnOnce(&mut Self, Duration) -> Done,
    ) -> io::Result<()> {
        let begun = Instant::now();
        let done = does(self, limit);
        let (outcome, detail) = match done {
            Ok(done) => done,
            Err(error) => {
                log::warn!("{error}");
                (StepOutcome::Failed, error.to_string())
            }
        };
        log::info!(
            "{name:?}: {outcome:?} in {}: {detail}",
            span(begun.elapsed())
        );
        self.evidence.steps.push(Step {
            name,
            begun_ns: nanoseconds(begun.saturating_duration_since(self.decided)),
            took_ns: nanoseconds(begun.elapsed()),
            limit_ns: nanoseconds(limit),
            outcome,
            detail,
        });
        // What happened meanwhile; an error here is one of following the command.
        self.session.step(Some(Duration::ZERO), &[]).map(drop)
    }

    fn snapshot(&mut self, limit: Duration) -> Done {
        self.evidence.place.kind = self.place.kind();
        self.evidence.place.files = self.watch.group_files();
        let pids = self.place.processes().map_err(io::Error::other)?;
        let count = pids.len();
        let session = &mut *self.session;
        let found = collect::look(self.proc, pids, limit, || {
            session.step(Some(LOOK), &[]).map(drop)
        })?;
        self.evidence.processes = found.processes;
        self.watch.add_shares(&mut self.evidence.processes);
        self.evidence.sockets = found.sockets;
        self.evidence.lacking.extend(found.lacking);
        let seen = self.evidence.processes.len();
        let detail = format!("{seen} of {count} processes");
        Ok(match found.complete {
            true => (StepOutcome::Done, detail),
            false => (StepOutcome::TimedOut, detail),
        })
    }

    fn flush(&mut self, limit: Duration) -> Done {
        let trace = self.tracer.take(limit);
        let done = match &trace.state {
            TraceState::Off { why } => {
                self.lacks(&format!("preemption signals were not traced: {why}"));
                (StepOutcome::Skipped, why.clone())
            }
            TraceState::Failed { why } => {
                self.lacks(&format!("preemption signals were not traced: {why}"));
                (StepOutcome::Failed, why.clone())
            }
            TraceState::On { .. } => {
                let report = trace.report.as_ref();
                let alerts = report.map_or(0, |report| report.alerts.len());
                (StepOutcome::Done, format!("{alerts} alerts"))
            }
        };
        self.evidence.trace = trace;
        Ok(done)
    }

    /// Notes what there is not, and says so unless it is not wanted.
    fn lacks(&mut self, what: &str) {
        if self.options.tracing != Tracing::Never {
            say(&format!("evidence is lacking: {what}"));
        }
        self.evidence.lacking.push(what.to_owned());
    }

    fn fetch(&mut self, limit: Duration) -> Done {
        let targets = fetch::targets(&self.evidence, !self.options.fetch_paths.is_empty());
        if targets.is_empty() {
            let why = "no Go program that serves its goroutines listens";
            return Ok((StepOutcome::Skipped, why.to_owned()));
        }
        let asked = targets.len();
        let session = &mut *self.session;
        let paths = &self.options.fetch_paths;
        let found = fetch::all(targets, paths, limit, || {
            session.step(Some(LOOK), &[]).map(drop)
        })?;
        let served = found.dumps.len();
        let kept = found.fetched.iter().filter(|one| !one.body.is_empty());
        let kept = kept.count();
        self.evidence.dumps.extend(found.dumps);
        self.evidence.fetched.extend(found.fetched);
        let detail =
            format!("{served} of {asked} addresses serve goroutines, {kept} other answers");
        Ok(match found.complete {
            true => (StepOutcome::Done, detail),
            false => (StepOutcome::TimedOut, detail),
        })
    }

    /// SIGTERM to everything, and time to end.
    fn ask_to_end(&mut self, limit: Duration) -> Done {
        if self.is_empty() {
            return Ok((StepOutcome::Skipped, "nothing runs any more".to_owned()));
        }
        // A stopped process has to run to end.
        for signal in [libc::SIGTERM, libc::SIGCONT] {
            if let Err(error) = self.place.signal(signal) {
                log::warn!("{error}");
            }
        }
        self.wait(limit, |ladder| ladder.is_empty())?;
        Ok(if self.is_empty() {
            (StepOutcome::Done, String::new())
        } else {
            (StepOutcome::TimedOut, "something still runs".to_owned())
        })
    }

    fn kill(&mut self, limit: Duration) -> Done {
        say(&format!(
            "it does not end within {} after SIGTERM: killing it",
            span(self.options.breaker.grace)
        ));
        if let Err(error) = self.place.kill(limit) {
            say(&format!("warning: {error}"));
        }
        // Its status is there as soon as it is dead.
        self.wait(limit, |ladder| ladder.session.ended.is_some())?;
        Ok(if self.is_empty() {
            (StepOutcome::Done, String::new())
        } else {
            (StepOutcome::TimedOut, "something still runs".to_owned())
        })
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

    fn end(&self, killed: bool) -> End {
        let (exit_code, signal) = match self.session.ended {
            Some(Ended::Exited(code)) => (Some(code), None),
            Some(Ended::Killed(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        End {
            exit_code,
            signal,
            killed,
            at_ns: nanoseconds(self.watch.since_start(Instant::now())),
        }
    }
}
