//! A goroutine that does not stop when the runtime asks it to, while others wait for that.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::wait::Wait;
use super::words;
use crate::golang::dump::Goroutine;

/// Functions that wait until every goroutine has stopped.
const STOPS_ALL: [&str; 6] = [
    "runtime.GC",
    "runtime.gcStart",
    "runtime.stopTheWorld",
    "runtime.stopTheWorldGC",
    "runtime.ReadMemStats",
    "runtime.gcMarkDone",
];
/// Alerts of the tracer that tell of requests which stay without effect.
const ALERTS: [&str; 6] = [
    "preemption_disabled",
    "preemption-disabled",
    "undelivered",
    "masked",
    "ignored",
    "no-yield",
];

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let evidence = case.evidence;
    // `go` has the same environment as its test.
    let mut leaves = evidence.processes.iter().filter(|process| process.leaf);
    let off =
        leaves.find_map(|process| Some((process, process.go.as_ref()?.preemption_off.as_ref()?)));
    let alert = evidence.trace.report.as_ref().and_then(|report| {
        report
            .alerts
            .iter()
            .find(|alert| ALERTS.contains(&alert.rule.as_str()))
    });
    // With a thread's own stack, SIGQUIT may show what one does that does not stop.
    let runs =
        |goroutine: &&Goroutine| goroutine.header.status == "running" && !was_preempted(goroutine);
    let stuck = case
        .goroutines()
        .find(|goroutine| goroutine.unavailable)
        .or_else(|| case.workers().find(runs));
    let waits = case
        .goroutines()
        .find(|goroutine| waits_for_stop(goroutine));
    // With fewer threads than goroutines that do not stop, the others never have a turn.
    let many = case
        .goroutines()
        .filter(|goroutine| goroutine.unavailable)
        .count() as u64;
    let procs = evidence.processes.iter().filter(|process| process.leaf);
    let procs = procs
        .filter_map(|process| process.go.as_ref()?.gomaxprocs)
        .min();
    let starved = case.workers().find(|goroutine| {
        many >= procs.unwrap_or(evidence.cpus).max(1)
            && goroutine.header.status == "runnable"
            && !was_preempted(goroutine)
    });
    let victim = waits.or(starved)?;
    let confidence = match (stuck, off, alert) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => Confidence::Certain,
        (None, Some(_), _) if case.busy().is_some() => Confidence::Likely,
        (Some(_), None, None) => Confidence::Likely,
        _ => return None,
    };
    let who = match stuck {
        Some(stuck) => format!(
            "goroutine {} at {} does not stop when it is asked to",
            stuck.header.id,
            words::at(stuck)
        ),
        None => "a goroutine does not stop when it is asked to".to_owned(),
    };
    let summary = format!("{who}, and goroutine {} waits for that", victim.header.id);
    let kind = if waits.is_some() {
        "stop_the_world"
    } else {
        "starved"
    };
    let cure = match off {
        Some((_, what)) => format!("take {what} out of GODEBUG, so that it can be interrupted"),
        None => "put a call into its loop (runtime.Gosched), or make it shorter".to_owned(),
    };
    let pid = off.map(|(process, _)| process.pid).or_else(|| {
        evidence
            .processes
            .iter()
            .find(|process| process.leaf)
            .map(|process| process.pid)
    });
    Some(
        Finding::new(Cause::PreemptionFailure, confidence, summary)
            .kind(kind)
            .because(stuck.map(words::goroutine))
            .because([words::goroutine(victim)])
            .because(off.map(|(process, what)| {
                format!("{} (pid {}) runs with {what}", process.comm, process.pid)
            }))
            .because(alert.map(|alert| alert.headline.clone()))
            .next([cure])
            .next(
                pid.map(|_| "gohang trace -d 10s --comm NAME".to_owned())
                    .filter(|_| alert.is_none()),
            ),
    )
}

fn waits_for_stop(goroutine: &Goroutine) -> bool {
    let mut frames = goroutine.frames.iter();
    Wait::of(goroutine) == Wait::Collector && !goroutine.header.status.starts_with("GC assist")
        || frames.any(|frame| STOPS_ALL.contains(&frame.function.as_str()))
}

/// It stopped when it was asked to, as the signal's handler shows.
fn was_preempted(goroutine: &Goroutine) -> bool {
    let mut frames = goroutine.frames.iter();
    frames.any(|frame| frame.function.starts_with("runtime.asyncPreempt"))
}
