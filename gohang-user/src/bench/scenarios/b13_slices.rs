//! B13: quota left in the slices of CPUs that hardly work.

use std::time::Duration;

use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::work::{Threads, work};
use crate::bench::Extent;
use crate::experiment::{ExperimentError, Load, Quota, Task};

/// As reported: 500 ms in five seconds.
const QUOTA: Quota = Quota::percent(10);
/// How often each slow thread wakes.
const EVERY: Duration = Duration::from_millis(10);
/// What it works then.
const WORK: Duration = Duration::from_micros(50);

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B13",
    title: "Quota left in the slices of CPUs that hardly work",
    source: "kernel commit de53fd7aedb1 (5.4), indeedeng/fibtest",
    reported: "64 CPUs, 5 s, a busy thread and 63 that hardly work: 88 ms used of 500 ms and 58 \
               throttles, mended 493 ms and 51",
    scale: "one slow thread on each other CPU, where 63 were reported: a slice of 1 ms at most \
            is left on each",
    needs: &[Need::Cpus(2)],
    estimate: |extent| duration(extent) + Duration::from_secs(2),
    run,
};

const fn duration(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(5),
        Extent::Quick => Duration::from_secs(1),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let duration = duration(stand.extent);
    let mut tasks = vec![Task::Spin { cpu: Some(0) }];
    let slow = 1..stand.cpus() as u32;
    tasks.extend(slow.map(|cpu| Task::pulse(cpu, EVERY, WORK)));
    let load = Load::new(duration, tasks);
    let worked = work(stand, "B13", &load, QUOTA.into())?;
    let mut outcome = Outcome::default();
    let setting = "one fast thread, slow ones beside it";
    worked.judge(setting, Threads::Several, &mut outcome)?;
    let used = worked.used_share(QUOTA, duration);
    let cpu_ns = worked.done.cpu_ns() as f64;
    let given = cpu_ns / used;
    // The published figures are of the mended kernel, in five seconds.
    let whole = |published| (stand.extent == Extent::Full).then_some(published);
    let mut row = |figure, published, ours, unit| {
        outcome.row(setting, figure, published, ours, unit);
    };
    row("quota given", whole(500e6), Some(given), Unit::Ns);
    row("quota used", whole(493e6), Some(cpu_ns), Unit::Ns);
    row(
        "quota used, of what was given",
        Some(0.986),
        Some(used),
        Unit::Share,
    );
    let throttled = worked.cpu_stat.nr_throttled.map(|count| count as f64);
    row("periods out of quota", whole(51.0), throttled, Unit::Count);
    let left = (given - cpu_ns).max(0.0);
    row("quota unspent", whole(7e6), Some(left), Unit::Ns);
    let process = worked.traced.process(worked.pid)?;
    outcome.check(Check::at_least(
        "out of quota, of the time that its threads wanted to run",
        process.stall_share(),
        0.5,
        Unit::Share,
    ));
    Ok(outcome)
}
