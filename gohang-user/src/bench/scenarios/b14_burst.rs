//! B14: bursts of work, without and with saved-up quota.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::check::Check;
use super::outcome::Outcome;
use super::report::{Said, Unit};
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use super::work::{Limit, Threads, Worked, work, work_beside};
use crate::advice::{Advice, Subject, advise};
use crate::bench::{Extent, Figures};
use crate::cgroup::{OwnGroup, cpuacct_usage_ns};
use crate::experiment::{ExperimentError, Load, Quota, Task};
use crate::inspect::Slots;
use crate::inspect::model::{CpuSlot, CpuStatistics};
use crate::inspect::{Collector, look};
use crate::process::ProcRoot;
use crate::source::Selection;

/// Six tenths of a CPU.
const QUOTA: Quota = Quota::percent(60);
/// Time from one burst to the next: no multiple of the period, so that they begin anywhere
/// in it.
const EVERY: Duration = Duration::from_millis(470);
/// CPU time of each: 20 % of a CPU on average.
const WORK: Duration = Duration::from_millis(95);

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B14",
    title: "Bursts, without and with saved-up quota",
    source: "lkml 2020/12/17/56, cpu.max.burst (5.14)",
    reported: "schbench p99 933 us turned to 12 us, p99.9 3068 us to 19 us; a Java service's p99 \
               more than 500 ms to 27 ms",
    scale: "one thread, 95 ms of work every 470 ms at 60 % of a CPU: its waits are of \
            milliseconds, those of schbench's short requests were of microseconds; the burst is \
            the one that gohang advises",
    needs: &[Need::Burst],
    estimate: |extent| (duration(extent) + Duration::from_secs(2)) * 2,
    run,
};

const fn duration(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(15),
        Extent::Quick => Duration::from_millis(3200),
    }
}

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    let duration = duration(stand.extent);
    let load = Load::new(duration, vec![Task::pulse(0, EVERY, WORK)]);
    let (without, advice) = work_beside(stand, "B14-0", &load, QUOTA.into(), &[], |pid, group| {
        advised(pid, group, duration)
    })?;
    let setting = "no burst";
    tell(setting, &without, (933e3, 3068e3), &mut outcome)?;
    let figure = |name: &str| advice.as_ref()?.evidence.get(name)?.as_u64();
    let (absorbed, throttled) = (figure("absorbed_periods"), figure("throttled_periods"));
    if absorbed.is_none() {
        without.must_be_alone()?;
    }
    outcome.check(Check::at_least(
        "periods out of quota that the advice `burst` says would have got through",
        absorbed.map(|absorbed| absorbed as f64),
        1.0,
        Unit::Count,
    ));
    let Some(((advice, burst_ns), (absorbed, throttled))) = advice
        .as_ref()
        .zip(figure("suggested_burst_ns"))
        .zip(absorbed.zip(throttled))
    else {
        return Ok(outcome);
    };
    outcome.said.push(Said {
        setting: setting.to_owned(),
        rule: format!("advice {}", advice.rule),
        severity: advice.severity,
        headline: advice.effect.clone(),
    });
    let limit = Limit {
        quota: QUOTA,
        burst_ns,
    };
    let with = work(stand, "B14-1", &load, limit)?;
    let setting = "with the burst advised";
    tell(setting, &with, (12e3, 19e3), &mut outcome)?;
    let said = absorbed as f64 / throttled.max(1) as f64;
    let [before, after] = [&without, &with].map(|own| own.cpu_stat.nr_throttled.unwrap_or(0));
    let got_through = 1.0 - after as f64 / before.max(1) as f64;
    outcome.row(setting, "burst", None, Some(burst_ns as f64), Unit::Ns);
    outcome.row(
        setting,
        "periods out of quota that got through: the advice says at least",
        None,
        Some(said),
        Unit::Share,
    );
    outcome.row(
        setting,
        "periods out of quota that got through",
        None,
        Some(got_through),
        Unit::Share,
    );
    // Each run has its own phases of bursts and periods.
    outcome.check(Check::at_least(
        "share of periods out of quota that got through, against the least that was advised",
        got_through,
        said - 0.1,
        Unit::Share,
    ));
    Ok(outcome)
}

/// Figures and checks of a run; `published` are p99 and p99.9.
fn tell(
    setting: &str,
    worked: &Worked,
    published: (f64, f64),
    outcome: &mut Outcome,
) -> Result<(), ExperimentError> {
    worked.judge(setting, Threads::One, outcome)?;
    let work_ns = WORK.as_nanos() as u64;
    let beyond = Figures::of(
        worked
            .done
            .requests_ns()
            .map(|time| time.saturating_sub(work_ns)),
    );
    let ns = |time: Option<u64>| time.map(|ns| ns as f64);
    let mut row = |figure, published, ours, unit| {
        outcome.row(setting, figure, published, ours, unit);
    };
    row(
        "a burst of work, beyond its CPU time, p99",
        Some(published.0),
        ns(beyond.p99_ns),
        Unit::Ns,
    );
    row(
        "a burst of work, beyond its CPU time, max (published: p99.9)",
        Some(published.1),
        ns(beyond.max_ns),
        Unit::Ns,
    );
    row(
        "periods out of quota",
        None,
        ns(worked.cpu_stat.nr_throttled),
        Unit::Count,
    );
    row(
        "time out of quota",
        None,
        Some(worked.stall_ns()? as f64),
        Unit::Ns,
    );
    Ok(())
}

/// What `gohang advise` says on bursts of a process that it watches for so long.
fn advised(pid: u32, group: &OwnGroup, length: Duration) -> Option<Advice> {
    let mut collector = Collector::new(ProcRoot::default(), Path::new("/"));
    let selection = Selection {
        pids: BTreeSet::from([pid]),
        non_go: true,
        ..Selection::default()
    };
    let counts_usage = group.stat().ok()??.usage_ns.is_some()
        || cpuacct_usage_ns(group.dir()).is_ok_and(|usage| usage.is_some());
    let advice = if counts_usage {
        let mut found = look(&mut collector, &selection, Some(length));
        found.processes.pop()?.advice
    } else {
        // Version 1 with its usage in another hierarchy: the process is all that there is in
        // the group, and its own CPU time the same.
        let slots = slots(pid, group, length)?;
        let mut process = look(&mut collector, &selection, None).processes.pop()?;
        process.groups.cpu.as_mut()?.slots = slots;
        advise(&Subject {
            process: &process,
            sample_ns: Some(length.as_nanos() as u64),
        })
    };
    advice.into_iter().find(|advice| advice.rule == "burst")
}

/// Usage and throttled time of each period.
fn slots(pid: u32, group: &OwnGroup, length: Duration) -> Option<Vec<CpuSlot>> {
    let read = || {
        let stat = group.stat().ok()??;
        Some(CpuStatistics {
            usage_ns: Some(cpu_ns(pid)?),
            periods: stat.nr_periods,
            throttled_periods: stat.nr_throttled,
            throttled_ns: stat.throttled_ns,
            ..CpuStatistics::default()
        })
    };
    let period = Duration::from_nanos(QUOTA.period_ns);
    let begin = Instant::now();
    let mut slots = Slots::new(period, read()?, begin);
    while begin.elapsed() < length {
        std::thread::sleep(Slots::step(period));
        slots.take(&read()?, Instant::now());
    }
    Some(slots.slots().to_vec())
}

/// CPU time of a process's threads so far, ns: the first number of each one's schedstat.
fn cpu_ns(pid: u32) -> Option<u64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let of_thread = |entry: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let text = std::fs::read_to_string(entry.ok()?.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    };
    threads.map(of_thread).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_cpu_time() {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(20) {
            std::hint::black_box(());
        }
        assert!(cpu_ns(std::process::id()).is_some_and(|ns| ns > 0));
        assert_eq!(cpu_ns(u32::MAX), None);
    }
}
