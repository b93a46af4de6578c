//! B15: how long it takes to run after the refill, with many groups.

use std::time::Duration;

use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::Scenario;
use super::stand::Stand;
use super::work::{Threads, work_beside};
use crate::bench::Extent;
use crate::experiment::{ExperimentError, Load, Quota, Task};

/// Of the group that is looked at.
const QUOTA: Quota = Quota::percent(10);
/// Of each of the others: the least that there is, so that a thousand of them use one CPU.
const OTHERS: Quota = Quota {
    quota_ns: 1_000_000,
    period_ns: 1_000_000_000,
};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B15",
    title: "Many groups refilled at once",
    source: "kernel commit 8ad075c2eb1f (6.3)",
    reported: "256 CPUs and about a thousand groups with quota: hard lockups on refill",
    scale: "the CPUs of this machine; every group but one has a spinning process and 1 ms of \
            quota a second, of which a tick makes up to 4 ms: 250 of them use one CPU together, \
            and a thousand would starve what measures them",
    needs: &[],
    estimate: |extent| {
        let groups: u32 = counts(extent).iter().sum();
        (duration(extent) + Duration::from_secs(2)) * counts(extent).len() as u32
            + Duration::from_millis(10) * groups
    },
    run,
};

const fn duration(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(5),
        Extent::Quick => Duration::from_secs(1),
    }
}

/// Groups.
const fn counts(extent: Extent) -> &'static [u32] {
    match extent {
        Extent::Full => &[1, 10, 100, 250],
        Extent::Quick => &[1, 10],
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    for count in counts(stand.extent) {
        let setting = match count {
            1 => "1 group".to_owned(),
            count => format!("{count} groups"),
        };
        let crowd = count - 1;
        let groups = (0..crowd)
            .map(|_| stand.group(Some(OTHERS)))
            .collect::<Result<Vec<_>, _>>()?;
        let load = Load::new(duration(stand.extent), vec![Task::Spin { cpu: Some(0) }]);
        let load = load.with_crowd(crowd);
        let name = format!("B15-{count}");
        let (worked, ()) = work_beside(stand, &name, &load, QUOTA.into(), &groups, |_, _| ())?;
        for group in groups {
            stand.close(group)?;
        }
        worked.judge(&setting, Threads::One, &mut outcome)?;
        let process = worked.traced.process(worked.pid)?;
        let waits = &process.runqueue;
        let mean = waits.total_ns.checked_div(waits.count);
        let mut row = |figure, ours: Option<u64>, unit| {
            let ours = ours.map(|ours| ours as f64);
            outcome.row(&setting, figure, None, ours, unit);
        };
        row("waits for quota", Some(process.stall.count), Unit::Count);
        row("waits for a CPU, quota at hand, mean", mean, Unit::Ns);
        row(
            "waits for a CPU, quota at hand, p99",
            waits.p99_ns,
            Unit::Ns,
        );
        row(
            "waits for a CPU, quota at hand, max",
            waits.max_ns,
            Unit::Ns,
        );
        outcome.check(Check::at_least(
            format!("{setting}: waits for quota"),
            process.stall.count as f64,
            1.0,
            Unit::Count,
        ));
    }
    Ok(outcome)
}
