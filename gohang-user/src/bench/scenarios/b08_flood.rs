//! B8: a flood of SIGURG, its rate and what each costs.

use std::process::Command;
use std::time::Duration;

use super::check::Check;
use super::job::Job;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::trace::{Trace, Whom};
use crate::bench::Extent;
use crate::experiment::ExperimentError;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B8",
    title: "Flood of SIGURG",
    source: "#68462, #37779, #37942",
    reported: "floods of SIGURG slow a program down; each ms of delay adds to the stop of the \
               world",
    scale: "no figure to scale: one thread is signalled by another process without a pause, as \
            fast as one CPU can; its runtime sends none itself (asyncpreemptoff=1), so that all \
            that gohang sees are that process's",
    needs: &[Need::Go, Need::Cpus(2)],
    estimate: |extent| CALM * 2 + length(extent) + Duration::from_secs(2),
    run,
};

/// Work without signals, before and after.
const CALM: Duration = Duration::from_millis(600);
/// Longest wait for a line or an end, beyond what it should take.
const PATIENCE: Duration = Duration::from_secs(20);

const fn length(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(4),
        // The rule needs a second.
        Extent::Quick => Duration::from_millis(1500),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    let setting = "flood";
    let length = length(stand.extent);
    let program = stand.program("flood", include_str!("go/flood.go"))?;
    let group = stand.group(None)?;
    let mut trace = Trace::start(&[&group], Whom::Go)?;
    let mut worker = Command::new(&program);
    let all = CALM * 2 + length * 2 + PATIENCE;
    worker
        .env("GODEBUG", "asyncpreemptoff=1")
        .args(["work".to_owned(), all.as_millis().to_string()]);
    let mut worker = stand.start("flood-worker", worker, Some(&group))?;
    stand.wait(Some(&mut trace), PATIENCE, || {
        Ok(!worker.figures("tid").is_empty() || worker.ended()?.is_some())
    })?;
    let tid = worker.figure("tid")?;
    stand.pause(Some(&mut trace), CALM)?;
    let mut sender = Command::new(&program);
    let numbers = [f64::from(worker.pid()), tid, length.as_millis() as f64];
    sender
        .arg("send")
        .args(numbers.map(|number| number.to_string()));
    let mut sender = stand.start("flood-sender", sender, None)?;
    stand.until_ended(&mut sender, Some(&mut trace), length * 4 + PATIENCE)?;
    stand.pause(Some(&mut trace), CALM)?;
    let traced = trace.finish()?;
    worker.kill();
    stand.close(group)?;
    outcome.heard(setting, &traced);

    let sent = sender.figure("sent")?;
    let (begin, end) = (sender.figure("begin")?, sender.figure("end")?);
    let process = traced.process(worker.pid())?;
    let outcomes: u64 = process.outcomes.values().sum();
    let seen = outcomes + process.coalesced;
    let rate = sent * 1e9 / (end - begin);
    outcome.row(setting, "signals sent", None, Some(rate), Unit::PerSecond);
    let sender_pid = Some(sender.pid());
    let delivered = traced
        .episodes
        .iter()
        .filter(|one| one.sender_pid == sender_pid);
    let delivered = delivered.count() as f64;
    let handled = delivered * 1e9 / (end - begin);
    outcome.row(
        setting,
        "signals delivered",
        None,
        Some(handled),
        Unit::PerSecond,
    );
    let cost = Cost::of(&worker, begin, end);
    let each = cost.map(|cost| cost.lost_ns / delivered);
    outcome.row(
        setting,
        "CPU time a delivered signal, tracing included",
        None,
        each,
        Unit::Ns,
    );
    outcome.row(
        setting,
        "share of CPU time lost to them",
        None,
        cost.map(|cost| cost.share),
        Unit::Share,
    );
    if traced.report.loss.map_full == 0 {
        let what = "signals seen, against those that the sender sent";
        outcome.check(Check::equals(what, seen, sent as u64));
    }
    outcome.check(Check::raised(setting, &traced, "signal-storm"));
    let named = traced.of_rule("signal-storm");
    let named = named.filter(|alert| alert.evidence["senders"][0]["pid"] == sender.pid());
    let what = "alerts signal-storm that name the sender first";
    outcome.check(Check::at_least(
        what,
        named.count() as f64,
        1.0,
        Unit::Count,
    ));
    Ok(outcome)
}

/// CPU time that signals took from the work.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    lost_ns: f64,
    share: f64,
}

/// A sample of the worker's: Unix time, CPU time, work done.
type Sample = (f64, f64, f64);

impl Cost {
    /// From the worker's samples: work a unit of CPU time, outside the flood, which lasts
    /// from `begin` to `end`, and within.
    fn of(worker: &Job, begin: f64, end: f64) -> Option<Self> {
        let [at, cpu, work] = ["at", "cpu", "work"].map(|key| worker.figures(key));
        let samples = at.into_iter().zip(cpu).zip(work);
        let samples: Vec<Sample> = samples.map(|((at, cpu), work)| (at, cpu, work)).collect();
        Self::of_samples(&samples, begin, end)
    }

    fn of_samples(samples: &[Sample], begin: f64, end: f64) -> Option<Self> {
        let before = growth(samples.iter().filter(|(at, ..)| *at <= begin))?;
        let within = growth(samples.iter().filter(|(at, ..)| *at >= begin && *at <= end))?;
        let (calm, flood) = (before.1 / before.0, within.1 / within.0);
        let share = (1.0 - flood / calm).clamp(0.0, 1.0);
        // Outside of the samples as within.
        let cpu = within.0 * (end - begin) / within.2;
        (cpu.is_finite() && share.is_finite()).then_some(Self {
            lost_ns: cpu * share,
            share,
        })
    }
}

/// CPU time, work and time from the first to the last sample.
fn growth<'a>(mut samples: impl Iterator<Item = &'a Sample>) -> Option<(f64, f64, f64)> {
    let first = samples.next()?;
    let last = samples.last()?;
    let grown = (last.1 - first.1, last.2 - first.2, last.0 - first.0);
    (grown.0 > 0.0 && grown.1 > 0.0 && grown.2 > 0.0).then_some(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signals_cost_is_work_that_was_not_done() {
        // Half the work a unit of CPU time from 100 to 200.
        let samples = [
            (0.0, 0.0, 0.0),
            (90.0, 90.0, 90.0),
            (100.0, 100.0, 100.0),
            (150.0, 150.0, 125.0),
            (200.0, 200.0, 150.0),
        ];
        let cost = Cost::of_samples(&samples, 100.0, 200.0).expect("told");
        assert_eq!((cost.lost_ns, cost.share), (50.0, 0.5));
        assert_eq!(Cost::of_samples(&samples[..2], 100.0, 200.0), None);
        assert_eq!(Cost::of_samples(&[], 0.0, 1.0), None);
    }
}
