//! B17: a lease that is lost because its holder is out of quota.

use std::time::Duration;

use gohang_common::cause::Cause;

use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::work::{Worked, work_beside};
use crate::bench::{Extent, Figures};
use crate::experiment::{ExperimentError, Load, Quota, Task};
use crate::source::monotonic_ns;

/// The quota at first, which is enough.
const ENOUGH: Quota = Quota::percent(200);
/// What it is cut to.
const CUT: Quota = Quota::percent(2);
/// When it is cut, after the process is ready.
const BEFORE: Duration = Duration::from_millis(1200);
/// A lease is renewed so often,
const EVERY: Duration = Duration::from_millis(200);
/// which costs so much CPU time,
const RENEWAL: Duration = Duration::from_millis(20);
/// and is lost so long after it was last renewed.
const DEADLINE: Duration = Duration::from_secs(1);
/// Time from signal to signal: the slice of the Go runtime (`forcePreemptNS`, proc.go).
const SIGNALS_NS: u64 = 10_000_000;
/// A delivery that takes longer raises `slow-delivery`.
const SLOW_NS: u64 = 10_000_000;
/// Until an alert is told: records are fetched this often.
const TOLD_NS: u64 = 20_000_000;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B17",
    title: "Lease lost for want of quota",
    source: "vArmor#288, openshift/origin#7845",
    reported: "p99 of lease renewals 3.5 s against a deadline of 10 s; two leaders",
    scale: "a stand-in for a cluster's leader, ten times as fast: renewals every 200 ms, the \
            deadline is 1 s; a thread signals the busy one every 10 ms as sysmon would; the \
            quota is cut to 2 ms in 100 ms on the way",
    needs: &[Need::Cpus(2)],
    estimate: |extent| duration(extent) + Duration::from_secs(2),
    run,
};

const fn duration(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(8),
        Extent::Quick => Duration::from_secs(5),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let tasks = vec![
        Task::pulse(1, EVERY, RENEWAL),
        Task::Spin { cpu: Some(0) },
        Task::Signals {
            every_ns: SIGNALS_NS,
        },
    ];
    let load = Load::new(duration(stand.extent), tasks);
    let (worked, cut) = work_beside(stand, "B17", &load, ENOUGH.into(), &[], |_, group| {
        std::thread::sleep(BEFORE);
        let cut_ns = monotonic_ns();
        let set = group.set_quota(Some(CUT.quota_ns), CUT.period_ns);
        set.map(|()| cut_ns)
    })?;
    let cut_ns = cut?;
    let setting = "quota cut";
    let mut outcome = Outcome::default();
    outcome.heard(setting, &worked.traced);
    let process = worked.traced.process(worked.pid)?;
    let renewed = renewed(&worked);
    let end_ns = worked.done.begin_ns + load.duration_ns;
    let lost_ns = lost(&renewed, DEADLINE.as_nanos() as u64, end_ns);
    let slow = worked.traced.episodes.iter().filter(|episode| {
        episode.sent_ns >= cut_ns
            && episode.latency_ns().is_some_and(|ns| ns > SLOW_NS)
            && episode.cause == Cause::Throttled
    });
    let told_ns = slow.map(|episode| episode.end_ns + TOLD_NS).min();
    let after = |ns: Option<u64>| ns.map(|ns| ns as f64 - cut_ns as f64);
    let times = Figures::of(
        worked
            .done
            .tasks
            .iter()
            .flat_map(|task| task.requests_ns.clone()),
    );
    let mut row = |figure, published, ours, unit| {
        outcome.row(setting, figure, published, ours, unit);
    };
    let deadline = DEADLINE.as_nanos() as f64;
    row("deadline", Some(10e9), Some(deadline), Unit::Ns);
    row(
        "renewal, p99",
        Some(3.5e9),
        times.p99_ns.map(|ns| ns as f64),
        Unit::Ns,
    );
    row(
        "cut of the quota to the alert",
        None,
        after(told_ns),
        Unit::Ns,
    );
    row(
        "cut of the quota to the loss of the lease",
        None,
        after(lost_ns),
        Unit::Ns,
    );
    let raised = Check::raised(setting, &worked.traced, "slow-delivery");
    outcome.check(raised);
    let ahead = lost_ns
        .zip(told_ns)
        .map(|(lost, told)| lost as f64 - told as f64);
    outcome.check(Check::at_least(
        "alert, for want of quota, ahead of the loss of the lease",
        ahead,
        1.0,
        Unit::Ns,
    ));
    outcome.check(Check::at_least(
        "out of quota, of the time that its threads waited",
        share(process.stall.total_ns, process.runqueue.total_ns),
        0.5,
        Unit::Share,
    ));
    Ok(outcome)
}

/// When the lease was renewed, CLOCK_MONOTONIC ns, earliest first.
fn renewed(worked: &Worked) -> Vec<u64> {
    let requests = worked.done.tasks.first().map(|task| &task.requests_ns);
    let every_ns = EVERY.as_nanos() as u64;
    let times = requests.into_iter().flatten().zip(0_u64..);
    times
        .map(|(time, index)| worked.done.begin_ns + index * every_ns + time)
        .collect()
}

/// When a lease was lost that was renewed then, as far as was seen until `end_ns`.
fn lost(renewed: &[u64], deadline_ns: u64, end_ns: u64) -> Option<u64> {
    let next = renewed.iter().skip(1).copied().chain([end_ns]);
    let mut held = renewed.iter().zip(next);
    held.find_map(|(at, next)| {
        let until = at + deadline_ns;
        (next > until).then_some(until)
    })
}

/// Share of one part in both; none of nothing.
fn share(part: u64, other: u64) -> Option<f64> {
    let whole = part + other;
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_lost_after_its_last_renewal_in_time() {
        assert_eq!(lost(&[10, 20, 45, 50], 20, 55), Some(40));
        assert_eq!(lost(&[10, 20, 30], 20, 45), None);
        // Not renewed any more until the end.
        assert_eq!(lost(&[10, 20, 30], 20, 51), Some(50));
        assert_eq!(lost(&[], 20, 100), None);
    }
}
