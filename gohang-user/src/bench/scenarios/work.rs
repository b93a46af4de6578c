//! Work that needs no Go, done in a group with a quota and traced.

use std::fs::File;
use std::thread;
use std::time::Duration;

use super::check::Check;
use super::outcome::Outcome;
use super::report::{Said, Unit};
use super::stand::Stand;
use super::trace::{Trace, Traced, Whom};
use crate::cgroup::{CpuStat, OwnGroup};
use crate::experiment::{Done, ExperimentError, Load, OVER, Quota, READY};
use crate::report::Severity;
use crate::sink::text::headline;
use crate::units::percent;

/// Longest wait for a process to begin, or to tell what it did.
const PATIENCE: Duration = Duration::from_secs(20);
/// A time of gohang's may be off by so much of the true one, whatever is short: the process
/// starts and ends, too. And by what the hypervisor and interrupts took: a thread's CPU time leaves
/// that out (`update_rq_clock_task`, kernel/sched/core.c), and to gohang it ran.
const OFF_NS: f64 = 10e6;
/// Waits: what a thread was kept from between two looks at its clocks, it does not know.
const WAITS_OFF: f64 = 0.03;
/// Running.
const RUNNING_OFF: f64 = 0.02;
/// Out of quota, where that is exact, and where it is an estimate.
const STALL_OFF: (f64, f64) = (0.01, 0.1);
/// Waits for a CPU from which on other work, not the quota, makes what is seen.
const BUSY_SHARE: f64 = 0.05;
/// Where a delivery of the headline begins to be slow, ns; as `trace` has it.
const SLOW_NS: u64 = 10_000_000;

/// A limit of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// CPU time a period.
    pub quota: Quota,
    /// What of it may be saved up, ns.
    pub burst_ns: u64,
}

impl From<Quota> for Limit {
    fn from(quota: Quota) -> Self {
        Self { quota, burst_ns: 0 }
    }
}

/// Work that is over.
#[derive(Debug)]
pub(super) struct Worked {
    /// The process.
    pub pid: u32,
    /// What it says that it did.
    pub done: Done,
    /// What it added to its group's statistics.
    pub cpu_stat: CpuStat,
    /// What gohang saw.
    pub traced: Traced,
}

/// Has work done under a limit.
pub(super) fn work(
    stand: &mut Stand<'_>,
    name: &str,
    load: &Load,
    limit: Limit,
) -> Result<Worked, ExperimentError> {
    Ok(work_beside(stand, name, load, limit, &[], |_, _| ())?.0)
}

/// As [`work`], with each process of its crowd in one of `crowd`, and calls `beside` with the
/// process and its group on a thread of its own while the work is done; it is waited for.
pub(super) fn work_beside<T: Send>(
    stand: &mut Stand<'_>,
    name: &str,
    load: &Load,
    limit: Limit,
    crowd: &[OwnGroup],
    beside: impl FnOnce(u32, &OwnGroup) -> T + Send,
) -> Result<(Worked, T), ExperimentError> {
    let group = stand.group(None)?;
    let mut trace = Trace::start(&[&group], Whom::All)?;
    let gate = stand.folder().join(format!("{name}.begin"));
    let mut job = stand.start(name, load.command(&gate), Some(&group))?;
    let mut ended = None;
    let ready = stand.wait(Some(&mut trace), PATIENCE, || {
        ended = job.ended()?;
        Ok(ended.is_some() || job.output().lines().any(|line| line == READY))
    })?;
    if let Some(status) = ended {
        job.succeeded(status)?;
    }
    if !ready || ended.is_some() {
        return Err(ExperimentError::NotReady {
            seconds: PATIENCE.as_secs(),
        });
    }
    let pid = job.pid();
    // Limited only now, so that its start is not out of quota.
    group.set_quota(Some(limit.quota.quota_ns), limit.quota.period_ns)?;
    if limit.burst_ns > 0 {
        group.set_burst(limit.burst_ns)?;
    }
    for (pid, group) in Done::crowd(&job.output()).into_iter().zip(crowd) {
        group.add_process(pid)?;
    }
    let before = group.stat()?.unwrap_or_default();
    stand.begin(name, load.length());
    File::create(&gate).map_err(|source| ExperimentError::System {
        action: "let work begin",
        source,
    })?;
    let told = thread::scope(|scope| {
        let group = &group;
        let beside = scope.spawn(move || beside(pid, group));
        let is_over = stand.wait(Some(&mut trace), load.length() + PATIENCE, || {
            Ok(job.output().lines().any(|line| line == OVER))
        })?;
        if !is_over {
            return Err(ExperimentError::Workload {
                what: format!("{name} was not over in time"),
            });
        }
        beside.join().map_err(|_| ExperimentError::Workload {
            what: format!("what looks at {name} panicked"),
        })
    })?;
    let after = group.stat()?.unwrap_or_default();
    // The limit is still there for the report to tell.
    let traced = trace.finish()?;
    if limit.burst_ns > 0 {
        group.set_burst(0)?;
    }
    group.set_quota(None, limit.quota.period_ns)?;
    std::fs::remove_file(&gate).map_err(|source| ExperimentError::System {
        action: "let work tell what it did",
        source,
    })?;
    stand.until_ended(&mut job, None, PATIENCE)?;
    let done = Done::read(&job.output()).ok_or_else(|| ExperimentError::Workload {
        what: format!("{name} did not tell what it did"),
    })?;
    drop(job);
    stand.close(group)?;
    let worked = Worked {
        pid,
        done,
        cpu_stat: after.since(&before).unwrap_or_default(),
        traced,
    };
    Ok((worked, told))
}

/// How many threads the work kept busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// One: what the kernel counts as the group's throttled time is what it waited.
    One,
    /// Several: that is summed over run queues, and what each waited is another time.
    Several,
}

impl Worked {
    /// Share of its quota that it used, by its own account.
    pub(super) fn used_share(&self, quota: Quota, duration: Duration) -> f64 {
        let given = quota.quota_ns as f64 * duration.as_nanos() as f64 / quota.period_ns as f64;
        self.done.cpu_ns() as f64 / given
    }

    /// What gohang says that its threads waited for quota, ns.
    pub(super) fn stall_ns(&self) -> Result<u64, ExperimentError> {
        Ok(self.traced.process(self.pid)?.stall.total_ns)
    }

    /// Adds what gohang said, and checks of it against what the process and the kernel say:
    /// its waits against the time that the threads lack, its running time against theirs, and
    /// its waits for quota against the kernel's.
    pub(super) fn judge(
        &self,
        setting: &str,
        threads: Threads,
        outcome: &mut Outcome,
    ) -> Result<(), ExperimentError> {
        let process = self.traced.process(self.pid)?;
        let report = &self.traced.report;
        outcome.heard(setting, &self.traced);
        outcome.said.push(Said {
            setting: setting.to_owned(),
            rule: "trace".to_owned(),
            severity: Severity::Info,
            headline: format!(
                "{} ({})",
                headline(process, &report.clock, SLOW_NS),
                report.precision
            ),
        });
        let waits = process.stall.total_ns + process.runqueue.total_ns;
        let taken_ns = report.machine.map_or(0, |machine| {
            machine.steal_ns + machine.irq_ns + machine.softirq_ns
        });
        outcome.row(
            setting,
            "CPU time taken by the hypervisor and by interrupts",
            None,
            Some(taken_ns as f64),
            Unit::Ns,
        );
        let about = |what: &str| format!("{setting}: {what}");
        outcome.check(off(
            about("waits (quota, run queue) off those of the threads' own clocks"),
            waits,
            self.done.kept_ns(),
            WAITS_OFF,
            taken_ns,
        ));
        outcome.check(off(
            about("running off the process's CPU time"),
            process.running_ns,
            self.done.process_cpu_ns,
            RUNNING_OFF,
            taken_ns,
        ));
        let Some(throttled_ns) = self.cpu_stat.throttled_ns else {
            return Ok(());
        };
        if threads == Threads::One {
            let share = match report.estimate_error {
                None => STALL_OFF.0,
                Some(_) => STALL_OFF.1,
            };
            outcome.check(off(
                about("time out of quota off the kernel's throttled time"),
                process.stall.total_ns,
                throttled_ns,
                share,
                // The first thread may be out of quota too, at the same time.
                self.done.first_kept_ns,
            ));
        } else if throttled_ns == 0 {
            outcome.check(Check::at_most(
                about("waits for quota, of which the kernel counts none"),
                process.stall.count as f64,
                0.0,
                Unit::Count,
            ));
        } else {
            outcome.check(Check::at_least(
                about("waits for quota, of which the kernel counts some"),
                process.stall.count as f64,
                1.0,
                Unit::Count,
            ));
        }
        Ok(())
    }

    /// An error if other work took the CPUs, so that what is to be seen is not there.
    pub(super) fn must_be_alone(&self) -> Result<(), ExperimentError> {
        let busy = self.traced.process(self.pid)?.runqueue_share();
        match busy.filter(|share| *share > BUSY_SHARE) {
            None => Ok(()),
            Some(share) => Err(ExperimentError::Workload {
                what: format!(
                    "its threads waited {} of the time for CPUs that others use, so that the \
                     quota did not run out as it should; run it on an idle machine",
                    percent(share)
                ),
            }),
        }
    }
}

/// Holds if `said` is within that share of `truth`, or within 10 ms, and `taken_ns`.
fn off(what: String, said: u64, truth: u64, share: f64, allowed_ns: u64) -> Check {
    let bound = (truth as f64 * share).max(OFF_NS) + allowed_ns as f64;
    Check::at_most(what, said.abs_diff(truth) as f64, bound, Unit::Ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_right_within_its_share_or_10_ms() {
        let within = |said, truth, taken| off("a time".to_owned(), said, truth, 0.02, taken).holds;
        let holds = |said, truth| within(said, truth, 0);
        assert!(holds(1_020_000_000, 1_000_000_000) && holds(980_000_000, 1_000_000_000));
        assert!(!holds(1_021_000_000, 1_000_000_000) && !holds(979_000_000, 1_000_000_000));
        assert!(holds(9_000_000, 0) && !holds(11_000_000, 0));
        assert!(within(11_000_000, 0, 1_000_000) && !within(12_000_000, 0, 1_000_000));
    }
}
