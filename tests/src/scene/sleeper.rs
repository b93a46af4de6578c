//! A thread that sleeps for most of the time, woken again and again while another one of its
//! group has used up the quota: each of its waits ends with the quota's return. The time that
//! it was neither asleep nor running, by its own clocks, is what gohang says that it waited.

use anyhow::{Context, Result, ensure};

use super::{Heard, LONG_PERIOD_US, Scene, within_one_percent, work_ms};
use crate::actor::{Target, pause_ms};
use crate::group::{Group, Hierarchy};
use crate::run::Report;
use crate::stream;

/// The group's quota, ns of each period.
const QUOTA_NS: u64 = 8_000_000;

/// It stays out of quota for this long at least when the sleeper, which sleeps for 7 ms at a
/// time, is woken for the first time: it has slept twice by then.
const OUT_NS: u64 = 14_000_000;

/// So many of its waits end with the return of quota, one a period, at least.
const WAITS: u64 = 50;

/// The scene with its processes.
pub struct Sleeper {
    pids: [i32; 1],
    sleeper: Target,
    spinner: Target,
    /// Dropped last.
    _group: Group,
    /// How often it slept, and for how long it ran and waited, ns.
    told: Option<(u64, u64, u64)>,
}

impl Sleeper {
    /// Sets it.
    ///
    /// # Errors
    /// When a group or a target cannot be made.
    pub fn set(h: &Hierarchy) -> Result<Self> {
        let group = Group::new(h, Some((QUOTA_NS / 1_000, LONG_PERIOD_US)))?;
        let spinner = Target::start("spin", &["wait=1", "cpu=1"], Some(&group))?;
        let sleeper = Target::start("late", &["cpu=1"], Some(&group))?;
        Ok(Self {
            pids: [sleeper.pid],
            sleeper,
            spinner,
            _group: group,
            told: None,
        })
    }
}

impl Scene for Sleeper {
    fn name(&self) -> &'static str {
        "woken-sleeper"
    }

    fn pids(&self) -> &[i32] {
        &self.pids
    }

    fn play(&mut self) -> Result<()> {
        // Begins before the spinner and ends after it: what it waits for outside of what its
        // own clocks measure is next to nothing then.
        self.sleeper.actor.go()?;
        self.sleeper.actor.expect("begins")?;
        self.spinner.actor.go()?;
        self.spinner.actor.expect("ready")?;
        pause_ms(work_ms(LONG_PERIOD_US));
        self.spinner.actor.go()?;
        self.spinner.actor.expect("ready")?;
        self.sleeper.actor.close_input();
        let naps = self.sleeper.actor.expect_number("naps")?;
        let ran_ns = self.sleeper.actor.expect_number("ran")?;
        let waited_ns = self.sleeper.actor.expect_number("waited")?;
        self.told = Some((naps, ran_ns, waited_ns));
        // Nothing that comes next must keep it waiting: that would count.
        self.sleeper.actor.wait()
    }

    fn judge(&self, heard: Heard<'_>, report: &mut Report) -> Result<()> {
        let stream = heard.stream;
        let (naps, ran_ns, waited_ns) = self.told.context("not played")?;
        let process = stream.process(u32::try_from(self.sleeper.pid)?)?;
        let stall = stream::number(process, "/stall/total_ns")?;
        let count = stream::number(process, "/stall/count")?;
        let wait = stream::number(process, "/runqueue/total_ns")?;
        report.note(format!(
            "throttle scene scene={} naps={naps} ran_ns={ran_ns} told_running_ns={} stalls={count} \
             stall_ns={stall} runqueue_ns={wait}",
            self.name(),
            process["running_ns"]
        ));
        ensure!(count >= WAITS, "only {count} stalls");
        // In quota it waits for the spinner, a few milliseconds at a time: all of the quota in
        // each period at most.
        ensure!(
            stall / count >= OUT_NS && wait <= QUOTA_NS * count,
            "woken into a group out of quota, it waited for a CPU"
        );
        let measure = (self.name(), "stall-and-runqueue");
        within_one_percent(measure, stall + wait, waited_ns, report)
    }
}
