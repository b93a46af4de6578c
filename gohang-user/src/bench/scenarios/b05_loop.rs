//! B5: a loop without a call, with asynchronous preemption and without.

use std::process::Command;
use std::time::Duration;

use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::trace::{Trace, Whom};
use crate::bench::{Extent, Figures};
use crate::experiment::ExperimentError;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B5",
    title: "Loop without a call",
    source: "#10958, #24543, #12553, #15442, #35923",
    reported: "loops without calls hold up everything else for ever before Go 1.14; since then \
               they are preempted after 10 ms",
    scale: "none: one P, whatever the number of CPUs; asyncpreemptoff=1 stands for Go 1.13, and \
            the loop ends by itself so that the run ends",
    needs: &[Need::Go],
    estimate: |extent| length(extent) * 2 + Duration::from_secs(4),
    run,
};

/// Length of the loop, several times what the rule `no-yield` allows and long enough for
/// `preemption-disabled` to be sure.
const LOOP_MS: u64 = 1500;

const fn length(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(6),
        Extent::Quick => Duration::from_millis(1600),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    let program = stand.program("loop", include_str!("go/loop.go"))?;
    let length = length(stand.extent);
    for (setting, godebug) in [
        ("preemption on", ""),
        ("asyncpreemptoff=1", "asyncpreemptoff=1"),
    ] {
        let group = stand.group(None)?;
        let mut trace = Trace::start(&[&group], Whom::Go)?;
        let mut command = Command::new(&program);
        command
            .env("GODEBUG", godebug)
            .args([length.as_millis() as u64, LOOP_MS].map(|number| number.to_string()));
        let mut job = stand.start("loop", command, Some(&group))?;
        let pid = job.pid();
        stand.until_ended(
            &mut job,
            Some(&mut trace),
            length * 4 + Duration::from_secs(10),
        )?;
        let traced = trace.finish()?;
        stand.close(group)?;
        outcome.heard(setting, &traced);
        let late = Figures::of(job.figures("late").into_iter().map(|ns| ns.max(0.0) as u64));
        let ns = |value: Option<u64>| value.map(|ns| ns as f64);
        let chain = traced.process(pid)?.chain.clone().unwrap_or_default();
        let (requests, sent) = (chain.requests, chain.sent);
        if godebug.is_empty() {
            let figure = "other goroutine late by, median";
            outcome.row(setting, figure, Some(10e6), ns(late.p50_ns), Unit::Ns);
            let yielded = ns(chain.links.request_yielded.p50_ns);
            outcome.row(setting, "request to yield, median", None, yielded, Unit::Ns);
            let what = format!("{setting}: request to yield, median, against a slice of 10 ms");
            outcome.check(Check::at_most(what, yielded, 10e6, Unit::Ns));
            let what = format!("{setting}: requests with a signal sent");
            outcome.check(Check::at_least(what, sent as f64, 1.0, Unit::Count));
            outcome.check(Check::silent(setting, &traced, "preemption-disabled"));
            outcome.check(Check::silent(setting, &traced, "unsafe-loop"));
        } else {
            let figure = "other goroutine late by, longest";
            outcome.row(setting, figure, None, ns(late.max_ns), Unit::Ns);
            let what = format!("{setting}: other goroutine late by, longest");
            let held = LOOP_MS as f64 * 1e6 / 2.0;
            outcome.check(Check::at_least(what, ns(late.max_ns), held, Unit::Ns));
            outcome.row(
                setting,
                "requests to yield",
                None,
                Some(requests as f64),
                Unit::Count,
            );
            let what = format!("{setting}: requests to yield");
            outcome.check(Check::at_least(what, requests as f64, 20.0, Unit::Count));
            let what = format!("{setting}: signals sent for them");
            outcome.check(Check::equals(what, sent, 0));
            outcome.check(Check::raised(setting, &traced, "preemption-disabled"));
            outcome.check(Check::raised(setting, &traced, "no-yield"));
            outcome.check(Check::silent(setting, &traced, "slow-delivery"));
        }
    }
    Ok(outcome)
}
