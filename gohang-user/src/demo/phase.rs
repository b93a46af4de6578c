//! One run of the workload, traced.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gohang_common::cause::Outcome;

use super::children::Part;
use super::os::{self, EndSignals};
use super::part::Role;
use super::report::{CpuStat, Phase, Sends};
use super::shared::{self, Mapping, step};
use super::{DemoError, Progress, restarted};
use crate::aggregate::{Aggregate, Histogram};
use crate::cgroup::OwnGroup;
use crate::event::{Episode, Event};
use crate::report::Report;
use crate::source::{Item, Live, Source as _};

/// How often the ring is emptied.
const DRAIN_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for the processes to take a step; under 1 % of a CPU even this is short.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for the last signals: several periods.
const SETTLE: Duration = Duration::from_secs(1);

/// A quota and its period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    pub quota_ns: u64,
    pub period_ns: u64,
}

/// What all phases share.
pub(super) struct Bench<'a> {
    pub live: &'a mut Live,
    pub aggregate: Aggregate,
    pub episodes: Vec<Episode>,
    pub group: &'a OwnGroup,
    pub ends: &'a EndSignals,
    pub progress: &'a mut dyn Progress,
}

impl Bench<'_> {
    /// Runs the workload for `duration`, without a quota or with one.
    pub(super) fn phase(
        &mut self,
        quota: Option<Quota>,
        duration: Duration,
    ) -> Result<Ran, DemoError> {
        let system = |action| move |source| DemoError::System { action, source };
        self.progress.phase(
            quota.map(|quota| (quota.quota_ns, quota.period_ns)),
            duration,
        );
        let memory = shared::create().map_err(system("make shared memory"))?;
        let shared = Mapping::of(&memory).map_err(system("map shared memory"))?;
        let mut target = Part::start(Role::Target, &memory)?;
        self.wait_ready(&shared, 1, &mut [&mut target])?;
        // Traced and limited before it has any thread of interest.
        self.live.follow(target.pid())?;
        match quota {
            None => self.group.set_quota(None, 100_000_000)?,
            Some(quota) => self
                .group
                .set_quota(Some(quota.quota_ns), quota.period_ns)?,
        }
        self.group.add_process(target.pid())?;
        shared.target_pid.store(target.pid(), Ordering::SeqCst);
        let mut sender = Part::start(Role::Sender, &memory)?;
        let pids = (target.pid(), sender.pid());
        os::set(&shared.step, step::SPIN);
        self.wait_ready(&shared, 3, &mut [&mut target, &mut sender])?;

        let before = self.group.stat()?.unwrap_or_default();
        let begin = Instant::now();
        os::set(&shared.step, step::SEND);
        while let Some(left) = duration
            .checked_sub(begin.elapsed())
            .filter(|left| !left.is_zero())
        {
            self.pause(left.min(DRAIN_EVERY))?;
            target.check()?;
            sender.check()?;
            self.progress.at(begin.elapsed());
        }
        os::set(&shared.step, step::STOP);
        let sent_for = begin.elapsed();
        self.wait_ready(&shared, 5, &mut [&mut target, &mut sender])?;
        self.settle(&shared, target.pid())?;
        let after = self.group.stat()?.unwrap_or_default();
        drop(sender);
        self.group.kill(PATIENCE)?;
        drop(target);
        self.drain()?;
        Ok(Ran {
            quota,
            pids,
            sent_for,
            outside: shared.outside.times().to_vec(),
            inside: shared.inside.times().to_vec(),
            handled: shared.handled.load(Ordering::SeqCst),
            cpu_stat: growth(&before, &after),
        })
    }

    /// Takes what has arrived.
    pub(super) fn drain(&mut self) -> Result<(), DemoError> {
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
    fn pause(&mut self, time: Duration) -> Result<(), DemoError> {
        let interrupted = self.ends.came_within(time);
        self.drain()?;
        if interrupted {
            Err(DemoError::Interrupted)
        } else {
            Ok(())
        }
    }

    fn wait_ready(
        &mut self,
        shared: &Mapping,
        wanted: u32,
        parts: &mut [&mut Part],
    ) -> Result<(), DemoError> {
        let begin = Instant::now();
        loop {
            let ready = shared.ready.load(Ordering::SeqCst);
            if ready >= wanted {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(DemoError::NotReady {
                    seconds: PATIENCE.as_secs(),
                });
            }
            os::wait_while(&shared.ready, ready, DRAIN_EVERY);
            self.pause(Duration::ZERO)?;
            for part in &mut *parts {
                part.check()?;
            }
        }
    }

    /// Lets what is pending be delivered, until every send is accounted for and the
    /// handler has run for each delivery (it may be parked on its way there).
    fn settle(&mut self, shared: &Mapping, pid: u32) -> Result<(), DemoError> {
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

/// A phase that has run.
pub(super) struct Ran {
    quota: Option<Quota>,
    /// The target's and the sender's.
    pids: (u32, u32),
    sent_for: Duration,
    outside: Vec<u64>,
    inside: Vec<u64>,
    handled: u64,
    cpu_stat: Option<CpuStat>,
}

impl Ran {
    /// What it showed, from the report and the episodes of all phases; none if
    /// the report lacks its target.
    pub(super) fn tell(&self, report: &Report, episodes: &[Episode]) -> Option<Phase> {
        let (target, sender) = self.pids;
        let process = report.processes.iter().find(|found| found.pid == target)?;
        let episodes: Vec<&Episode> = episodes
            .iter()
            .filter(|episode| episode.process.pid == target)
            .collect();
        let senders = [
            restarted::Sender {
                pid: sender,
                at_ns: &self.outside,
            },
            restarted::Sender {
                pid: target,
                at_ns: &self.inside,
            },
        ];
        let mut restarted_clock = Histogram::default();
        for value in restarted::clock(&episodes, &senders) {
            restarted_clock.add(value);
        }
        let undelivered = process.outcomes.iter().filter(|(name, count)| {
            let delivered = Outcome::ALL
                .iter()
                .any(|outcome| outcome.name() == *name && outcome.is_delivered());
            !delivered && **count > 0
        });
        Some(Phase {
            quota_ns: self.quota.map(|quota| quota.quota_ns),
            period_ns: self.quota.map(|quota| quota.period_ns),
            duration_ns: self.sent_for.as_nanos() as u64,
            sends: Sends {
                outside: self.outside.len() as u64,
                inside: self.inside.len() as u64,
            },
            handled: self.handled,
            episodes: process.threads.iter().map(|thread| thread.episodes).sum(),
            episodes_by_kernel: process.episodes,
            coalesced: process.coalesced,
            undelivered: undelivered
                .map(|(name, count)| (name.clone(), *count))
                .collect(),
            latency: process.delivery.clone(),
            causes: process.causes.clone(),
            restarted_clock: restarted_clock.distribution(),
            cpu_stat: self.cpu_stat,
        })
    }
}

/// What a phase added; nothing where the kernel counts nothing, or a count went back.
fn growth(before: &crate::cgroup::CpuStat, after: &crate::cgroup::CpuStat) -> Option<CpuStat> {
    let added = after.since(before).ok()?;
    Some(CpuStat {
        nr_periods: added.nr_periods,
        nr_throttled: added.nr_throttled,
        throttled_ns: added.throttled_ns,
    })
}
