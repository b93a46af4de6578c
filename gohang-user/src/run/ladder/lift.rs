//! The counterfactual: whether the command gets on without its CPU limit.

use std::time::{Duration, Instant};

use super::{Done, LOOK, Ladder};
use crate::run::evidence::{Lift, LiftOutcome, Pace, StepOutcome, nanoseconds};
use crate::run::watch::Pacer;
use crate::units::span;

/// How often progress is looked for.
const SAMPLE: Duration = Duration::from_millis(250);
/// How long it is watched at least, to tell by how much it got faster.
const LEAST: Duration = Duration::from_secs(1);
/// Output from so shortly after the lifting was under way before.
const UNDER_WAY: Duration = Duration::from_millis(50);

impl Ladder<'_> {
    /// Lifts the CPU limit, and watches for `limit` whether that makes a difference. It stays
    /// lifted: what the command has to do from here on is not to be throttled.
    pub(super) fn lift(&mut self, limit: Duration) -> Done {
        let levels = &self.evidence.place.levels;
        let quota = |own: bool| {
            let levels = levels.iter().filter(move |level| level.own == own);
            levels.filter_map(|level| Some((level.path.clone(), level.quota_cpus?)))
        };
        let own = quota(true).next();
        let mut lift = Lift {
            quota_cpus: own.map(|(_, cpus)| cpus),
            still_limited_by: quota(false).collect(),
            ..Lift::default()
        };
        let lifted = self.place.lift_cpu_quota();
        let begun = Instant::now();
        let done = match lifted {
            Err(error) => {
                lift.outcome = LiftOutcome::CouldNot;
                lift.why = Some(error.to_string());
                (StepOutcome::Failed, error.to_string())
            }
            Ok(false) => {
                let why = "it has no CPU limit that gohang has set";
                lift.why = Some(why.to_owned());
                (StepOutcome::Skipped, why.to_owned())
            }
            Ok(true) if limit.is_zero() => {
                let why = "--lift-quota never was given";
                lift.why = Some(why.to_owned());
                (StepOutcome::Skipped, why.to_owned())
            }
            Ok(true) => {
                self.watch_progress(begun, limit, &mut lift)?;
                let detail = told(&lift).unwrap_or_default();
                (StepOutcome::Done, detail)
            }
        };
        self.evidence.lift = lift;
        Ok(done)
    }

    fn watch_progress(
        &mut self,
        begun: Instant,
        limit: Duration,
        lift: &mut Lift,
    ) -> std::io::Result<()> {
        let getting_on = self.evidence.progress.getting_on;
        // What was already on its way is not what the lifting has brought.
        while begun.elapsed() < UNDER_WAY {
            self.session.step(Some(LOOK), &[])?;
        }
        self.streams.look(Instant::now());
        let mut pacer = Pacer::begin(
            self.watch,
            self.proc,
            self.place,
            self.streams,
            Instant::now(),
            getting_on,
        );
        lift.before = pacer.before();
        lift.outcome = LiftOutcome::NoProgress;
        let mut next = Instant::now() + SAMPLE;
        loop {
            self.session.step(Some(LOOK), &[])?;
            let now = Instant::now();
            let ended = self.session.ended.is_some();
            if now < next && !ended {
                continue;
            }
            next = now + SAMPLE;
            self.streams.look(now);
            let (pace, progress) = pacer.look(self.watch, self.place, self.streams, now);
            lift.after = pace;
            lift.watched_ns = nanoseconds(begun.elapsed());
            // To end by itself is progress as well.
            if progress || ended {
                lift.outcome = LiftOutcome::Resumed;
                lift.resumed_after_ns.get_or_insert(lift.watched_ns);
            }
            let enough = lift.outcome == LiftOutcome::Resumed && begun.elapsed() >= LEAST;
            if ended || enough || begun.elapsed() >= limit {
                return Ok(());
            }
        }
    }
}

/// What the lifting showed, in words; `None` when it was not watched.
pub(super) fn told(lift: &Lift) -> Option<String> {
    let cpus = |pace: &Pace| {
        pace.cpus
            .map_or("?".to_owned(), |cpus| format!("{cpus:.2}"))
    };
    let (before, after) = (cpus(&lift.before), cpus(&lift.after));
    let watched = span(Duration::from_nanos(lift.watched_ns));
    match lift.outcome {
        LiftOutcome::NotTried => None,
        LiftOutcome::CouldNot => lift
            .why
            .as_ref()
            .map(|why| format!("its CPU limit could not be lifted: {why}")),
        LiftOutcome::Resumed => {
            let after_what = Duration::from_nanos(lift.resumed_after_ns.unwrap_or(0));
            Some(format!(
                "with the CPU limit lifted it got on after {} ({before} of a CPU before, {after} \
                 then)",
                span(after_what)
            ))
        }
        LiftOutcome::NoProgress => Some(format!(
            "with the CPU limit lifted it did not get on within {watched} ({before} of a CPU \
             before, {after} then)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_lifting_showed_is_told() {
        let mut lift = Lift {
            watched_ns: 5_000_000_000,
            resumed_after_ns: Some(300_000_000),
            ..Lift::default()
        };
        lift.before.cpus = Some(0.05);
        lift.after.cpus = Some(0.97);
        assert_eq!(told(&lift), None);
        lift.outcome = LiftOutcome::Resumed;
        let line = told(&lift).unwrap();
        assert!(
            line.contains("after 0.3 s (0.05 of a CPU before, 0.97 then)"),
            "{line}"
        );
        lift.outcome = LiftOutcome::NoProgress;
        assert!(told(&lift).unwrap().contains("within 5 s"));
        lift.outcome = LiftOutcome::CouldNot;
        lift.why = Some("denied".into());
        assert!(told(&lift).unwrap().ends_with("denied"));
    }
}
