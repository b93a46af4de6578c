//! Threads that want a CPU all the time, more of it than their group may have. Its `cpu.stat`
//! says for how long its run queue was out of quota: so long was each of the threads.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Heard, PERIOD_US, SETTLE_MS, Scene, WORK_MS, check_spans, group_of, within_one_percent,
};
use crate::actor::{self, Actor, Sends, Target, pause_ms};
use crate::group::{Group, Hierarchy};
use crate::run::Report;
use crate::stage::wait_senders;
use crate::stream::{self, Stream};
use crate::sys;

/// How long one of the quotas of a scene that changes it lasts, ms.
const CHANGE_MS: u64 = WORK_MS / 6;

/// What a scene is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its name.
    pub what: &'static str,
    /// The quota, us of each period.
    pub quota_us: u64,
    /// The quota's period, us.
    pub period_us: u64,
    /// What is saved up before the threads work on, us.
    pub burst_us: Option<u64>,
    /// How many groups below the one with the quota have a target each; without any the
    /// target is in the group itself.
    pub children: usize,
    /// Threads of each target, all on one CPU.
    pub threads: usize,
    /// The quotas that follow each other once the threads work.
    pub changes: &'static [Option<u64>],
    /// A signal is sent so often, us.
    pub send_every_us: u64,
    /// Signals are pending for as good as all the time, their sender being before all else on
    /// a CPU: the episodes add up to the truth too.
    pub all_pending: bool,
    /// The group is removed before gohang is asked.
    pub removed: bool,
    /// For how long the group has a quota, ms.
    pub work_ms: u64,
    /// In so many periods at least the quota runs out.
    pub periods: u64,
}

impl Plan {
    /// One thread in a group of its own.
    pub const fn new(what: &'static str, quota_us: u64) -> Self {
        Self {
            what,
            quota_us,
            period_us: PERIOD_US,
            burst_us: None,
            children: 0,
            threads: 1,
            changes: &[],
            send_every_us: 1_000,
            all_pending: false,
            removed: false,
            work_ms: WORK_MS,
            periods: 50,
        }
    }
}

/// What the kernel counted.
#[derive(Clone, Copy, Debug)]
struct Truth {
    throttled_ns: u64,
    periods: u64,
    /// In how many periods what was saved up was spent; none where the kernel does not say.
    bursts: Option<u64>,
}

impl Truth {
    fn of(group: &Group) -> Result<Self> {
        Ok(Self {
            throttled_ns: group.throttled_ns()?,
            periods: group.throttled_periods()?,
            bursts: group.bursts()?,
        })
    }
}

/// A scene with its processes.
pub struct Steady {
    plan: Plan,
    pids: Vec<i32>,
    /// In the order in which they may be dropped.
    targets: Vec<Target>,
    children: Vec<Group>,
    group: Option<Group>,
    /// The group's last name.
    name: String,
    truth: Option<Truth>,
}

impl Steady {
    /// Sets it.
    ///
    /// # Errors
    /// When a group or a target cannot be made.
    pub fn set(h: &Hierarchy, plan: Plan) -> Result<Self> {
        let group = Group::new(h, None)?;
        // What else runs on this CPU must not keep it from using up a large quota.
        group.favour()?;
        let children = (0..plan.children)
            .map(|n| group.child(&format!("child{n}"), None))
            .collect::<Result<Vec<Group>>>()?;
        let threads = format!("threads={}", plan.threads);
        let options = ["wait=1", "cpu=1", &threads];
        let start = |inside| Target::start("spin", &options, inside);
        let targets = if children.is_empty() {
            vec![start(Some(&group))?]
        } else {
            let each = children.iter().map(|child| start(Some(child)));
            each.collect::<Result<Vec<Target>>>()?
        };
        let name = group.path().file_name().context("a name")?;
        Ok(Self {
            plan,
            pids: targets.iter().map(|target| target.pid).collect(),
            name: name.to_string_lossy().into_owned(),
            targets,
            children,
            group: Some(group),
            truth: None,
        })
    }

    /// Lets the threads work, with signals, and the group have a quota while all of them want
    /// the CPU and nobody else of their processes does: then its run queue is out of quota
    /// exactly when each of them is.
    fn work(&mut self, group: &Group) -> Result<()> {
        for target in &mut self.targets {
            target.actor.go()?;
            target.actor.expect("ready")?;
            target.workers = actor::workers(target.pid)?;
        }
        let work_ms = self.plan.work_ms;
        let sends = Sends {
            first: self.plan.all_pending,
            // Until after the work, which begins later than they do.
            ..Sends::to_workers(self.plan.send_every_us, work_ms + 3 * SETTLE_MS)
        };
        let senders = self.targets.iter().map(|target| sends.start(target, None));
        let senders = senders.collect::<Result<Vec<Actor>>>()?;
        pause_ms(SETTLE_MS);
        self.save_up(group)?;
        let end_ns = sys::mono_ns() + work_ms * 1_000_000;
        group.limit((self.plan.quota_us, self.plan.period_us))?;
        for quota_us in self.plan.changes {
            pause_ms(CHANGE_MS);
            group.set_quota(*quota_us, self.plan.period_us)?;
        }
        sys::sleep_until_ns(end_ns);
        group.set_quota(None, self.plan.period_us)?;
        pause_ms(SETTLE_MS);
        wait_senders(senders)?;
        for target in &mut self.targets {
            target.actor.go()?;
            target.actor.expect("ready")?;
        }
        Ok(())
    }

    /// Lets the group save up what it may: its threads are stopped for two periods with quota.
    fn save_up(&self, group: &Group) -> Result<()> {
        let Some(burst_us) = self.plan.burst_us else {
            return Ok(());
        };
        let send_all = |signal| -> Result<()> {
            for pid in &self.pids {
                sys::kill(*pid, signal)?;
            }
            Ok(())
        };
        send_all(libc::SIGSTOP)?;
        // They stop with nothing to hold them up.
        pause_ms(SETTLE_MS);
        group.limit((self.plan.quota_us, self.plan.period_us))?;
        ensure!(group.set_burst(burst_us)?, "no file for the burst");
        pause_ms(2 * self.plan.period_us / 1_000);
        send_all(libc::SIGCONT)
    }

    /// What gohang says of the group of a process.
    fn check_group(&self, found: &Value, truth_ns: u64, report: &mut Report) -> Result<()> {
        let below = match self.plan.children {
            0 => self.name.clone(),
            _ => format!("{}/child", self.name),
        };
        let path = found["path"].as_str().unwrap_or_default();
        ensure!(path.contains(&below), "path: {found}");
        let spans = &found["spans"];
        if spans.is_null() {
            return Ok(());
        }
        let owner = spans["owners"][0]["path"].as_str().unwrap_or_default();
        ensure!(owner.ends_with(&self.name), "spans: {spans}");
        check_spans(self.plan.what, spans, truth_ns, report)
    }

    /// The episodes' throttled components as listed and as summed up.
    fn check_episodes(
        &self,
        pid: u32,
        stream: &Stream,
        truth_ns: u64,
        report: &mut Report,
    ) -> Result<()> {
        let lines = stream.lines.iter().filter(|line| line.pid == pid);
        let sum: u64 = lines.clone().map(|line| line.throttled_ns).sum();
        let told = stream::number(stream.process(pid)?, "/causes/throttled/total_ns")?;
        ensure!(
            told == sum,
            "causes.throttled.total_ns is {told}, the episodes add up to {sum}"
        );
        if self.plan.all_pending {
            return within_one_percent((self.plan.what, "episodes"), sum, truth_ns, report);
        }
        let stall = stream::number(stream.process(pid)?, "/stall/total_ns")?;
        ensure!(
            sum > 0 && sum <= stall,
            "out of quota for {stall} ns, in episodes for {sum} ns"
        );
        Ok(())
    }
}

impl Scene for Steady {
    fn name(&self) -> &str {
        self.plan.what
    }

    fn pids(&self) -> &[i32] {
        &self.pids
    }

    fn play(&mut self) -> Result<()> {
        let group = self.group.take().context("the group is gone")?;
        let before = Truth::of(&group)?;
        self.work(&group)?;
        let after = Truth::of(&group)?;
        self.truth = Some(Truth {
            throttled_ns: after.throttled_ns - before.throttled_ns,
            periods: after.periods - before.periods,
            bursts: after
                .bursts
                .zip(before.bursts)
                .map(|(after, before)| after - before),
        });
        if !self.plan.removed {
            self.group = Some(group);
            return Ok(());
        }
        for target in &mut self.targets {
            target.actor.close_input();
            target.actor.wait()?;
        }
        self.targets.clear();
        self.children.clear();
        let path = group.path().to_owned();
        drop(group);
        ensure!(!path.exists(), "{} is still there", path.display());
        Ok(())
    }

    fn judge(&self, heard: Heard<'_>, report: &mut Report) -> Result<()> {
        let stream = heard.stream;
        let truth = self.truth.context("not played")?;
        let Truth {
            throttled_ns,
            periods,
            bursts,
        } = truth;
        report.note(format!(
            "throttle scene scene={} periods={periods}",
            self.plan.what
        ));
        let least = self.plan.periods;
        ensure!(periods >= least, "only {periods} of {least} periods");
        if self.plan.burst_us.is_some() {
            report.note(format!(
                "throttle burst scene={} bursts={}",
                self.plan.what,
                bursts.map_or("-".to_owned(), |bursts| bursts.to_string())
            ));
            ensure!(bursts != Some(0), "nothing that was saved up was spent");
        }
        let mut stall = 0;
        for pid in &self.pids {
            let pid = u32::try_from(*pid)?;
            stall += stream::number(stream.process(pid)?, "/stall/total_ns")?;
            self.check_group(group_of(heard, pid)?, throttled_ns, report)?;
            self.check_episodes(pid, stream, throttled_ns, report)?;
        }
        let threads = (self.pids.len() * self.plan.threads) as u64;
        let truth_ns = throttled_ns * threads;
        within_one_percent((self.plan.what, "stall"), stall, truth_ns, report)
    }
}
