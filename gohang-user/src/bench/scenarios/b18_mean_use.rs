//! B18: 40 % of the quota used on average, and out of it.

use std::time::Duration;

use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::work::{Threads, work};
use crate::bench::Extent;
use crate::experiment::{ExperimentError, Load, Quota, Task};

/// A CPU.
const QUOTA: Quota = Quota::percent(100);
/// What is always there: 26 % of the quota.
const ALWAYS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_micros(2600));
/// What comes on two CPUs at once, 14 % of it on average. Whenever in a period it comes, it is
/// more than that and the next one give.
const ONCE: (Duration, Duration) = (Duration::from_millis(1470), Duration::from_millis(100));

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B18",
    title: "Out of quota at 40 % of it",
    source: "Cloud Native Aachen, 2026",
    reported: "40 % of the CPU on average, out of quota in 30 of 300 periods, 6.14 s summed over \
               CPUs",
    scale: "10 s instead of 30, and two CPUs: times out of quota are summed over two of them",
    needs: &[Need::Cpus(2)],
    estimate: |extent| duration(extent) + Duration::from_secs(2),
    run,
};

const fn duration(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(10),
        Extent::Quick => Duration::from_millis(2900),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let duration = duration(stand.extent);
    let tasks = vec![
        Task::pulse(0, ALWAYS.0, ALWAYS.1),
        Task::pulse(0, ONCE.0, ONCE.1),
        Task::pulse(1, ONCE.0, ONCE.1),
    ];
    let load = Load::new(duration, tasks);
    let worked = work(stand, "B18", &load, QUOTA.into())?;
    let mut outcome = Outcome::default();
    let setting = "bursts on two CPUs";
    worked.judge(setting, Threads::Several, &mut outcome)?;
    let used = worked.used_share(QUOTA, duration);
    let stat = worked.cpu_stat;
    let share = |part: Option<u64>, whole: Option<u64>| {
        let (part, whole) = part.zip(whole).filter(|(_, whole)| *whole > 0)?;
        Some(part as f64 / whole as f64)
    };
    let process = worked.traced.process(worked.pid)?;
    let mut row = |figure, published, ours, unit| {
        outcome.row(setting, figure, published, ours, unit);
    };
    row("quota used", Some(0.4), Some(used), Unit::Share);
    row(
        "periods out of quota",
        Some(0.1),
        share(stat.nr_throttled, stat.nr_periods),
        Unit::Share,
    );
    row(
        "throttled time summed over CPUs, a period out of quota",
        Some(6.14e9 / 30.0),
        share(stat.throttled_ns, stat.nr_throttled),
        Unit::Ns,
    );
    row(
        "longest wait of a thread for quota",
        None,
        process.stall.max_ns.map(|ns| ns as f64),
        Unit::Ns,
    );
    outcome.check(Check::at_most("quota used", used, 0.45, Unit::Share));
    if process.stall.count == 0 {
        worked.must_be_alone()?;
    }
    outcome.check(Check::at_least(
        "waits for quota",
        process.stall.count as f64,
        1.0,
        Unit::Count,
    ));
    Ok(outcome)
}
