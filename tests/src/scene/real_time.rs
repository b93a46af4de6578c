//! A real-time thread is not under CFS quota: what it waits for, or is held back by the
//! real-time limit (where the kernel has one), is no time out of quota, whatever its group is.

use anyhow::{Context, Result, ensure};

use super::rt_limit::RtLimit;
use super::{Heard, PERIOD_US, Scene, WORK_MS};
use crate::actor::{Target, pause_ms};
use crate::group::{Group, Hierarchy};
use crate::run::Report;
use crate::stream;
use crate::sys;

/// How long it runs and sleeps in turn, us.
const ON_OFF_US: (u64, u64) = (2_000, 3_000);

/// What real-time threads may have of each second while one wants all of it, us.
const LIMIT_US: u64 = 300_000;

/// For so long it does, ms: two of those seconds have a part in it.
const GREEDY_MS: u64 = 1_200;

/// For so long at least it is held back, ns: half of what is left with all of both limits.
const HELD_NS: u64 = (GREEDY_MS * 1_000 - 2 * LIMIT_US) * 1_000 / 2;

/// The scene with its processes.
pub struct RealTime {
    pids: [i32; 2],
    target: Target,
    /// Wants all of the CPU for a time.
    greedy: Target,
    /// Keeps the group out of quota.
    crowd: Target,
    /// Dropped last.
    group: Group,
    /// In how many periods the group ran out.
    periods: Option<u64>,
    /// Whether the kernel holds the greedy one to a limit.
    limited: bool,
}

impl RealTime {
    /// Sets it.
    ///
    /// # Errors
    /// When a group or a target cannot be made, or the kernel makes no real-time thread of it.
    pub fn set(h: &Hierarchy) -> Result<Self> {
        let group = Group::new(h, Some((PERIOD_US / 10, PERIOD_US)))?;
        let limited = group.limit_real_time(LIMIT_US)?;
        let crowd = Target::start("spin", &["wait=1", "cpu=1"], Some(&group))?;
        let on = format!("on_us={}", ON_OFF_US.0);
        let off = format!("off_us={}", ON_OFF_US.1);
        let options = ["wait=1", "cpu=1", "first=1", &on, &off];
        let target = Target::start("onoff", &options, Some(&group))?;
        ensure!(
            sys::is_real_time(target.pid),
            "the kernel makes no real-time thread of it"
        );
        let work = format!("work_ms={GREEDY_MS}");
        let options = ["wait=1", "cpu=1", "first=1", &work];
        let greedy = Target::start("spin", &options, Some(&group))?;
        Ok(Self {
            pids: [target.pid, greedy.pid],
            target,
            greedy,
            crowd,
            group,
            periods: None,
            limited,
        })
    }
}

impl RealTime {
    /// Lets the greedy one run into the real-time limit.
    fn hold_back(&mut self) -> Result<()> {
        let machine = if self.limited {
            None
        } else {
            RtLimit::set(LIMIT_US)?
        };
        self.limited |= machine.is_some();
        if self.limited {
            self.greedy.actor.go()?;
            self.greedy.actor.expect("ready")?;
            pause_ms(GREEDY_MS);
            self.greedy.actor.go()?;
            self.greedy.actor.expect("ready")?;
        }
        drop(machine);
        Ok(())
    }

    fn judge_greedy(&self, heard: Heard<'_>, report: &mut Report) -> Result<()> {
        let process = heard.stream.process(u32::try_from(self.greedy.pid)?)?;
        let wait = stream::number(process, "/runqueue/total_ns")?;
        let stall = stream::number(process, "/stall/total_ns")?;
        report.note(format!(
            "throttle limit scene={} limited={} runqueue_ns={wait} stall_ns={stall}",
            self.name(),
            self.limited
        ));
        ensure!(stall == 0, "the greedy one is out of quota for {stall} ns");
        ensure!(
            !self.limited || wait >= HELD_NS,
            "the real-time limit held it back for {wait} ns only"
        );
        Ok(())
    }
}

impl Scene for RealTime {
    fn name(&self) -> &'static str {
        "real-time"
    }

    fn pids(&self) -> &[i32] {
        &self.pids
    }

    fn play(&mut self) -> Result<()> {
        for target in [&mut self.crowd, &mut self.target] {
            target.actor.go()?;
            target.actor.expect("ready")?;
        }
        pause_ms(WORK_MS);
        self.periods = Some(self.group.throttled_periods()?);
        // Its workers end with its input.
        self.target.actor.close_input();
        self.target.actor.wait()?;
        self.hold_back()
    }

    fn judge(&self, heard: Heard<'_>, report: &mut Report) -> Result<()> {
        let stream = heard.stream;
        let periods = self.periods.context("not played")?;
        let process = stream.process(u32::try_from(self.target.pid)?)?;
        let running = stream::number(process, "/running_ns")?;
        let stall = stream::number(process, "/stall/total_ns")?;
        report.note(format!(
            "throttle scene scene={} periods={periods} running_ns={running} stall_ns={stall}",
            self.name()
        ));
        ensure!(periods >= 30, "only {periods} periods without quota");
        // Two fifths of the time, and half of that to be sure.
        let least = WORK_MS * 1_000_000 / 5;
        ensure!(running > least, "it ran for {running} ns only");
        ensure!(stall == 0, "it is out of quota for {stall} ns");
        self.judge_greedy(heard, report)
    }
}
