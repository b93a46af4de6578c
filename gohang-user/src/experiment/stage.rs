//! The group, the tracing and the runs of an experiment.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gohang_common::cause::Outcome;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::children::Part;
use super::os::{self, EndSignals};
use super::part::Role;
use super::plan::{Method, Origin, PERIOD_NS, Plan};
use super::restarted::{self, Pairing};
use super::shared::{self, Mapping, step};
use super::{ExperimentError, Progress};
use crate::aggregate::{Aggregate, Context};
use crate::cgroup::{CgroupLayout, OwnGroup, OwnGroups, Version};
use crate::event::{Episode, Event};
use crate::privilege;
use crate::probe::{Precision, ProbeError};
use crate::process::ProcRoot;
use crate::report::{Moment, Process, Report};
use crate::source::{Item, Live, LiveOptions, Selection, Source as _, now};

/// How often the ring is emptied.
const DRAIN_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for the processes to take a step; under 1 % of a CPU even this is short.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for the last signals: several periods.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest wait for the group to empty and go.
const REMOVAL: Duration = Duration::from_secs(5);

/// A group to run things in, and the kernel side tracing.
///
/// It needs the calling process to have no other threads that take SIGINT, SIGTERM or
/// SIGHUP: any of them ends a run, and everything is removed.
pub(crate) struct Stage {
    // In this order they go: the group needs the signals held back.
    live: Live,
    group: OwnGroup,
    ends: EndSignals,
    start: Moment,
    aggregate: Aggregate,
    episodes: Vec<Episode>,
}

/// Everything that was traced on a stage, which is gone by now.
pub(crate) struct Finished {
    /// What the kernel side and the aggregation say.
    pub report: Report,
    /// Every episode of every run.
    pub episodes: Vec<Episode>,
    /// What "throttled" rests on.
    pub precision: Precision,
    /// Version of the cgroup hierarchy used, 1 or 2.
    pub cgroup_version: u8,
    /// The group, in that hierarchy.
    pub cgroup: String,
}

impl Stage {
    /// Makes a group with `label` in its name, attaches, and removes the groups that an
    /// earlier experiment of that label has left.
    pub(crate) fn set(label: &str) -> Result<Self, ExperimentError> {
        let missing = privilege::missing()?;
        if !missing.is_empty() {
            return Err(missing.into());
        }
        let proc = ProcRoot::default();
        if !proc.in_init_pid_ns()? {
            return Err(ProbeError::PidNamespace.into());
        }
        let kernel = privilege::kernel_release()?;
        privilege::raise_memlock(&kernel)?;
        let ends = EndSignals::hold().map_err(|source| ExperimentError::System {
            action: "hold back signals",
            source,
        })?;
        let groups = OwnGroups::new(&CgroupLayout::read(&proc)?, &proc)?;
        for path in groups
            .remove_leftovers(&format!("gohang-{label}-"))?
            .removed
        {
            log::info!(
                "removed the group {} of an earlier experiment",
                path.display()
            );
        }
        let group = groups.create(label)?;
        let mut live = Live::start(LiveOptions {
            selection: Selection {
                by_hand: true,
                ..Selection::default()
            },
            ..LiveOptions::default()
        })?;
        let mut start = now();
        start.mono_ns = live.open()?;
        Ok(Self {
            live,
            group,
            ends,
            start,
            aggregate: Aggregate::default(),
            episodes: Vec::new(),
        })
    }

    /// Runs the workload once.
    pub(crate) fn run(
        &mut self,
        plan: &Plan<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Ran, ExperimentError> {
        let system = |action| move |source| ExperimentError::System { action, source };
        let memory = shared::create().map_err(system("make shared memory"))?;
        let shared = Mapping::of(&memory).map_err(system("map shared memory"))?;
        shared.method.store(plan.method.code(), Ordering::SeqCst);
        let (inside, outside) = (plan.has(Origin::Inside), plan.has(Origin::Outside));
        shared.from_inside.store(inside.into(), Ordering::SeqCst);
        let mut target = Part::start(Role::Target, &memory)?;
        self.wait_ready(&shared, 1, &mut target, None)?;
        // Traced and limited before it has any thread of interest.
        self.live.follow(target.pid())?;
        match plan.quota {
            None => self.group.set_quota(None, PERIOD_NS)?,
            Some(quota) => self
                .group
                .set_quota(Some(quota.quota_ns), quota.period_ns)?,
        }
        self.group.add_process(target.pid())?;
        shared.target_pid.store(target.pid(), Ordering::SeqCst);
        let mut sender = if outside {
            Some(Part::start(Role::Sender, &memory)?)
        } else {
            None
        };
        os::set(&shared.step, step::SPIN);
        let there = 2 + u32::from(outside);
        self.wait_ready(&shared, there, &mut target, sender.as_mut())?;

        let before = self.group.stat()?.unwrap_or_default();
        let begin = Instant::now();
        os::set(&shared.step, step::SEND);
        while let Some(left) = plan
            .duration
            .checked_sub(begin.elapsed())
            .filter(|left| !left.is_zero())
        {
            self.pause(left.min(DRAIN_EVERY))?;
            check(&mut target, sender.as_mut())?;
            progress.at(begin.elapsed());
        }
        os::set(&shared.step, step::STOP);
        let sent_for = begin.elapsed();
        let stopped = there + u32::from(outside) + u32::from(inside);
        self.wait_ready(&shared, stopped, &mut target, sender.as_mut())?;
        self.settle(&shared, target.pid())?;
        let after = self.group.stat()?.unwrap_or_default();
        let pids = (target.pid(), sender.as_ref().map(Part::pid));
        drop(sender);
        self.group.kill(PATIENCE)?;
        drop(target);
        self.drain()?;
        Ok(Ran {
            method: plan.method,
            pids,
            sent_for,
            outside: shared.outside.times(),
            inside: shared.inside.times(),
            handled: shared.handled.load(Ordering::SeqCst),
            cpu_stat: growth(&before, &after),
        })
    }

    /// Detaches, removes the group and hands over everything.
    pub(crate) fn finish(mut self) -> Result<Finished, ExperimentError> {
        // Nothing is written any more: what is in the ring then is the last.
        self.live.probe_mut().detach()?;
        self.drain()?;
        let begin = self.live.begin(self.start);
        let totals = self.live.totals(now())?;
        let context = Context::new(&begin, totals, self.live.taken());
        let report = self.aggregate.report(context, self.live.enricher());
        let cgroup = self.group.path().display().to_string();
        let cgroup_version = match self.group.version() {
            Version::V1 => 1,
            Version::V2 => 2,
        };
        self.group.close(REMOVAL)?;
        Ok(Finished {
            report,
            episodes: self.episodes,
            precision: begin.precision,
            cgroup_version,
            cgroup,
        })
    }

    /// Takes what has arrived.
    fn drain(&mut self) -> Result<(), ExperimentError> {
        let mut items = Vec::new();
        self.live.drain(&mut items)?;
        for item in items {
            self.aggregate.take(&item);
            if let Item::Event(Event::Episode(episode)) = item {
                self.episodes.push(*episode);
            }
        }
        Ok(())
    }

    /// Waits, and empties the ring.
    fn pause(&mut self, time: Duration) -> Result<(), ExperimentError> {
        let interrupted = self.ends.came_within(time);
        self.drain()?;
        if interrupted {
            Err(ExperimentError::Interrupted)
        } else {
            Ok(())
        }
    }

    fn wait_ready(
        &mut self,
        shared: &Mapping,
        wanted: u32,
        target: &mut Part,
        mut sender: Option<&mut Part>,
    ) -> Result<(), ExperimentError> {
        let begin = Instant::now();
        loop {
            let ready = shared.ready.load(Ordering::SeqCst);
            if ready >= wanted {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(ExperimentError::NotReady {
                    seconds: PATIENCE.as_secs(),
                });
            }
            os::wait_while(&shared.ready, ready, DRAIN_EVERY);
            self.pause(Duration::ZERO)?;
            check(target, sender.as_deref_mut())?;
        }
    }

    /// Lets what is pending be delivered, until every send is accounted for and the
    /// handler has run for each delivery (it may be parked on its way there).
    fn settle(&mut self, shared: &Mapping, pid: u32) -> Result<(), ExperimentError> {
        let sends = (shared.outside.times().len() + shared.inside.times().len()) as u64;
        let begin = Instant::now();
        while begin.elapsed() < SETTLE {
            let (mut accounted, mut delivered) = (0, 0);
            for own in self.episodes.iter().filter(|own| own.process.pid == pid) {
                accounted += 1 + u64::from(own.coalesced);
                delivered += u64::from(own.outcome.is_delivered());
            }
            if accounted >= sends && shared.handled.load(Ordering::SeqCst) >= delivered {
                break;
            }
            self.pause(DRAIN_EVERY)?;
        }
        Ok(())
    }
}

/// An error if one of them has ended.
fn check(target: &mut Part, sender: Option<&mut Part>) -> Result<(), ExperimentError> {
    target.check()?;
    sender.map_or(Ok(()), Part::check)
}

/// A run that is over.
pub(crate) struct Ran {
    method: Method,
    /// The target's, and the outside sender's if there was one.
    pids: (u32, Option<u32>),
    /// How long was sent.
    pub sent_for: Duration,
    /// When each send from outside the group was made, CLOCK_MONOTONIC ns.
    pub outside: Vec<u64>,
    /// When each send from inside was made.
    pub inside: Vec<u64>,
    /// Times the handler ran.
    pub handled: u64,
    /// What the run added to the group's statistics.
    pub cpu_stat: Option<CpuStat>,
}

impl Ran {
    /// Its target in the report of all runs.
    pub(crate) fn process<'a>(&self, report: &'a Report) -> Result<&'a Process, ExperimentError> {
        let own = report.processes.iter().find(|own| own.pid == self.pids.0);
        own.ok_or(ExperimentError::NotReported)
    }

    /// What a clock restarted at each send shows of each of its delivered episodes.
    pub(crate) fn pairings(&self, episodes: &[Episode]) -> Vec<Pairing> {
        let (target, sender) = self.pids;
        let own: Vec<&Episode> = episodes
            .iter()
            .filter(|episode| episode.process.pid == target)
            .collect();
        let told = |pid| match self.method {
            Method::Tgkill => pid,
            Method::OutOfBand => None,
        };
        let senders = [
            restarted::Sender {
                pid: told(sender),
                at_ns: &self.outside,
            },
            restarted::Sender {
                pid: told(Some(target)),
                at_ns: &self.inside,
            },
        ];
        restarted::clock(&own, &senders)
    }
}

/// The episodes of a process that were not delivered, by outcome.
pub(crate) fn undelivered(process: &Process) -> BTreeMap<String, u64> {
    let is_delivered = |name: &str| {
        Outcome::ALL
            .iter()
            .any(|outcome| outcome.name() == name && outcome.is_delivered())
    };
    process
        .outcomes
        .iter()
        .filter(|(name, count)| **count > 0 && !is_delivered(name))
        .map(|(name, count)| (name.clone(), *count))
        .collect()
}

/// A group's statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuStat {
    /// Periods in which the group ran.
    pub nr_periods: Option<u64>,
    /// Periods in which it ran out of quota.
    pub nr_throttled: Option<u64>,
    /// Time its run queues were throttled, summed over CPUs.
    pub throttled_ns: Option<u64>,
}

/// What a run added; nothing where the kernel counts nothing, or a count went back.
fn growth(before: &crate::cgroup::CpuStat, after: &crate::cgroup::CpuStat) -> Option<CpuStat> {
    let added = after.since(before).ok()?;
    Some(CpuStat {
        nr_periods: added.nr_periods,
        nr_throttled: added.nr_throttled,
        throttled_ns: added.throttled_ns,
    })
}
