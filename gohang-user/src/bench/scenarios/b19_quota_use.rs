//! B19: latency of a service against the share of its quota that it uses.

use std::time::Duration;

use super::check::Check;
use super::outcome::Outcome;
use super::report::Unit;
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::work::{Threads, work};
use crate::bench::{Extent, Figures};
use crate::experiment::{ExperimentError, Load, Quota, Task};
use crate::units::percent;

/// Half of a CPU.
const QUOTA: Quota = Quota::percent(50);
/// CPU time of a request.
const WORK_NS: u64 = 5_000_000;
/// Threads of the service.
const WORKERS: u32 = 2;
/// Seed of the times at which requests come.
const SEED: u64 = 19;
/// Time out of quota that catches the eye in gohang's line on a process.
const TOLD: f64 = 0.05;
/// The tail has left when it is so many times that of the least use.
const LEFT: u64 = 3;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B19",
    title: "Latency against use of the quota",
    source: "danluu on cgroup throttling, arXiv 2510.10747",
    reported: "services fail near 50 % of their quota; 26 turned to 66 ms a request",
    scale: "half of a CPU; requests of 5 ms of CPU time that come at random (exponential, the \
            same in every run), two threads",
    needs: &[Need::Cpus(2)],
    estimate: |extent| (duration(extent) + Duration::from_secs(2)) * uses(extent).len() as u32,
    run,
};

const fn duration(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(15),
        Extent::Quick => Duration::from_secs(2),
    }
}

/// Hundredths of the quota that are asked for.
const fn uses(extent: Extent) -> &'static [u64] {
    match extent {
        Extent::Full => &[30, 50, 70, 90],
        Extent::Quick => &[30, 90],
    }
}

/// Time from request to request, on average, that asks for so many hundredths of the quota.
const fn every_ns(hundredths: u64) -> u64 {
    WORK_NS * 100 * QUOTA.period_ns / (QUOTA.quota_ns * hundredths)
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    let duration = duration(stand.extent);
    let mut least = None;
    let mut left = None;
    for hundredths in uses(stand.extent) {
        let setting = format!("{hundredths} % of the quota asked for");
        let requests = Task::Requests {
            cpu: None,
            workers: WORKERS,
            every_ns: every_ns(*hundredths),
            work_ns: WORK_NS,
            seed: Some(SEED),
        };
        let load = Load::new(duration, vec![requests]);
        let name = format!("B19-{hundredths}");
        let worked = work(stand, &name, &load, QUOTA.into())?;
        worked.judge(&setting, Threads::Several, &mut outcome)?;
        let process = worked.traced.process(worked.pid)?;
        let times = Figures::of(worked.done.requests_ns());
        let mut row = |figure, ours: Option<f64>, unit| {
            outcome.row(&setting, figure, None, ours, unit);
        };
        let ns = |time: Option<u64>| time.map(|ns| ns as f64);
        row("requests", Some(times.count as f64), Unit::Count);
        row(
            "quota used",
            Some(worked.used_share(QUOTA, duration)),
            Unit::Share,
        );
        row("request, p50", ns(times.p50_ns), Unit::Ns);
        row("request, p99", ns(times.p99_ns), Unit::Ns);
        row(
            "waited for quota, of the time it wanted to run",
            process.stall_share(),
            Unit::Share,
        );
        if least.is_none() {
            least = times.p99_ns;
        }
        if left.is_none()
            && times
                .p99_ns
                .zip(least)
                .is_some_and(|(p99, least)| p99 > LEFT * least)
        {
            left = Some(*hundredths as f64 / 100.0);
            if process.stall_share().is_none_or(|share| share < TOLD) {
                worked.must_be_alone()?;
            }
            // Whoever asks gohang why is to be told.
            outcome.check(Check::at_least(
                format!("{setting}, where p99 leaves: out of quota, of the time it wanted to run"),
                process.stall_share(),
                TOLD,
                Unit::Share,
            ));
        }
    }
    let figure = format!(
        "use at which p99 is above {LEFT} times that at {}",
        percent(0.3)
    );
    outcome.row("", &figure, Some(0.5), left, Unit::Share);
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_as_often_as_they_may() {
        // 5 ms each, 45 % of a CPU.
        assert_eq!(every_ns(90), 11_111_111);
        assert_eq!(every_ns(50), 20_000_000);
    }
}
