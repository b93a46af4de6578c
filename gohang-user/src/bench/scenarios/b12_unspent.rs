//! B12: throttled with quota unspent.

use std::time::Duration;

use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::Scenario;
use super::stand::Stand;
use super::work::{Threads, work};
use crate::bench::{Extent, Figures};
use crate::experiment::{ExperimentError, Load, Quota, Task};

/// A fifth of a CPU.
const QUOTA: Quota = Quota::percent(20);
/// Time from one piece of work to the next: no multiple of the period, so that it comes at
/// any time in it.
const EVERY: Duration = Duration::from_millis(470);
/// CPU time of each: about half of the quota on average, and two and a half periods' at once.
const WORK: Duration = Duration::from_millis(50);

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B12",
    title: "Throttled with quota unspent",
    source: "kernel bug 198197, kubernetes#67577",
    reported: "within its quota on average and yet out of it for 200 ms, two periods",
    scale: "none: one thread, quota 20 ms in 100 ms, 50 ms of work every 470 ms, about half of \
            the quota",
    needs: &[],
    estimate: |extent| duration(extent) + Duration::from_secs(2),
    run,
};

const fn duration(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_millis(470 * 42),
        Extent::Quick => Duration::from_millis(470 * 3),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let duration = duration(stand.extent);
    let load = Load::new(duration, vec![Task::pulse(0, EVERY, WORK)]);
    let worked = work(stand, "B12", &load, QUOTA.into())?;
    let mut outcome = Outcome::default();
    let setting = "half of the quota used";
    worked.judge(setting, Threads::One, &mut outcome)?;
    let times = Figures::of(worked.done.requests_ns());
    let used = worked.used_share(QUOTA, duration);
    let stall = worked.stall_ns()?;
    let each = stall.checked_div(times.count).map(|ns| ns as f64);
    let mut row = |figure, published, ours, unit| {
        outcome.row(setting, figure, published, ours, unit);
    };
    row("quota used", None, Some(used), Unit::Share);
    row(
        "out of quota, each piece of work",
        Some(200e6),
        each,
        Unit::Ns,
    );
    let p50 = times.p50_ns.map(|ns| ns as f64);
    row("50 ms of work, p50", None, p50, Unit::Ns);
    let max = times.max_ns.map(|ns| ns as f64);
    row("50 ms of work, max", None, max, Unit::Ns);
    let process = worked.traced.process(worked.pid)?;
    outcome.check(Check::at_most("quota used", used, 0.6, Unit::Share));
    outcome.check(Check::at_least(
        "waits for quota",
        process.stall.count as f64,
        times.count as f64,
        Unit::Count,
    ));
    Ok(outcome)
}
