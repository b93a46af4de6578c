//! B1: a stop of the world that a quota runs out in lasts until the refill.

use std::process::Command;
use std::time::Duration;

use super::check::Check;
use super::job::Job;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::trace::{Trace, Traced, Whom};
use crate::bench::Extent;
use crate::cgroup::CpuStat;
use crate::event::Stop;
use crate::experiment::{ExperimentError, Quota};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B1",
    title: "Stop of the world under a quota",
    source: "#19378",
    reported: "stops of up to 80 ms once the quota is lowered from 400 to 100 ms in 100 ms",
    scale: "2 CPUs for 4, so half of each quota: 200 and 50 ms in 100 ms for two busy threads; \
            the time from running out to the refill stays 75 ms",
    needs: &[Need::Go, Need::Cpus(2)],
    estimate: |extent| length(extent) * 2 + Duration::from_secs(4),
    run,
};

/// The program that stops the world, which B11 runs too.
pub(super) const PROGRAM: (&str, &str) = ("stop", include_str!("go/stop.go"));

/// Goroutines that spin, and CPUs that they can have.
const SPINNERS: u64 = 2;
/// The lower quota, hundredths of a CPU.
const LOW: u64 = 50;
/// Work from stop to stop, us: short, so that quotas run out in a stop now and then, and long
/// enough for the probes not to be taken off.
const PAUSE_US: u64 = 250;
/// A stop that takes longer than this met the end of the quota: others take well below a
/// millisecond, and the refill is 75 ms away.
const LONG_NS: u64 = 20_000_000;

const fn length(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(10),
        Extent::Quick => Duration::from_secs(3),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    for (setting, percent, published) in [
        ("200 ms in 100 ms", SPINNERS * 100, None),
        ("50 ms in 100 ms", LOW, Some(80e6)),
    ] {
        let quota = Some(Quota::percent(percent));
        let Ran { job, traced, stat } = stop_program(stand, quota, length(stand.extent), PAUSE_US)?;
        let own = job.figures("stop");
        outcome.heard(setting, &traced);
        let longest = own.iter().copied().fold(f64::NAN, f64::max);
        let told = traced.stops.iter().filter_map(Stop::stopping_ns).max();
        let told = told.map(|ns| ns as f64);
        let figure = "longest stop, as the program sees it";
        outcome.row(setting, figure, published, Some(longest), Unit::Ns);
        outcome.row(
            setting,
            "longest time to stop, by gohang",
            published,
            told,
            Unit::Ns,
        );
        let long = || {
            let long = |stop: &&Stop| stop.stopping_ns().is_some_and(|ns| ns > LONG_NS);
            traced.stops.iter().filter(long)
        };
        let number = Some(long().count() as f64);
        outcome.row(setting, "stops beyond 20 ms", None, number, Unit::Count);
        let all = |of: fn(&Stop) -> u64| long().map(of).sum::<u64>() as f64;
        let share = all(|stop| stop.parts.throttled) / all(|stop| stop.parts.total());
        if percent == LOW {
            // Where others want the CPUs too, the quota lasts longer, and the wait is shorter.
            let wait = mean_wait(stat);
            outcome.row(
                setting,
                "mean time out of quota, by cpu.stat",
                None,
                wait,
                Unit::Ns,
            );
            let share = Some(share).filter(|share| share.is_finite());
            outcome.row(
                setting,
                "of these, share out of quota",
                None,
                share,
                Unit::Share,
            );
            let what = "longest time to stop against that mean";
            let wait = wait.unwrap_or(f64::NAN);
            outcome.check(Check::at_least(what, told, wait * 0.5, Unit::Ns));
            outcome.check(Check::at_most(what, told, wait * 2.5, Unit::Ns));
            let what = "share of stops beyond 20 ms that the last thread was out of quota";
            outcome.check(Check::at_least(what, share, 0.95, Unit::Share));
            let names = traced.of_rule("stop-the-world-held");
            let throttled = names.filter(|alert| alert.evidence["cause"] == "throttled");
            let what = "alerts stop-the-world-held with the cause throttled";
            outcome.check(Check::at_least(
                what,
                throttled.count() as f64,
                1.0,
                Unit::Count,
            ));
        } else {
            let throttled: u64 = traced.stops.iter().map(|stop| stop.parts.throttled).sum();
            let what = format!("{setting}: time of stops out of quota");
            outcome.check(Check::at_most(what, throttled as f64, 0.0, Unit::Ns));
        }
    }
    Ok(outcome)
}

/// Time from running out of quota to the refill, by the group's own account, which is a sum
/// over run queues.
fn mean_wait(stat: CpuStat) -> Option<f64> {
    let (throttled, times) = stat.throttled_ns.zip(stat.nr_throttled)?;
    (times > 0).then(|| throttled as f64 / times as f64 / SPINNERS as f64)
}

/// A run of the program.
pub(super) struct Ran {
    /// Its process, which has ended.
    pub job: Job,
    /// What gohang shows.
    pub traced: Traced,
    /// Its group's statistics.
    pub stat: CpuStat,
}

/// Runs the program that stops the world, every `pause_us`.
pub(super) fn stop_program(
    stand: &mut Stand<'_>,
    quota: Option<Quota>,
    length: Duration,
    pause_us: u64,
) -> Result<Ran, ExperimentError> {
    let program = stand.program(PROGRAM.0, PROGRAM.1)?;
    let group = stand.group(quota)?;
    let mut trace = Trace::start(&[&group], Whom::Go)?;
    let mut command = Command::new(program);
    command
        .env("GOMAXPROCS", SPINNERS.to_string())
        .args([length.as_millis() as u64, pause_us, SPINNERS].map(|number| number.to_string()));
    let mut job = stand.start(PROGRAM.0, command, Some(&group))?;
    stand.until_ended(
        &mut job,
        Some(&mut trace),
        length * 4 + Duration::from_secs(10),
    )?;
    let traced = trace.finish()?;
    let stat = group.stat()?.unwrap_or_default();
    stand.close(group)?;
    Ok(Ran { job, traced, stat })
}
