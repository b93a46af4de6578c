//! One run of the workload, traced.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::children::Part;
use super::os::{self, EndSignals};
use super::part::Role;
use super::report::{CpuStat, Phase, Sends};
use super::shared::{self, Mapping, step};
use super::{DemoError, Progress, summary};
use crate::cgroup::OwnGroup;
use crate::event::{DecodeError, Episode, Event, decode};
use crate::probe::{Probe, Snapshot};

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

/// What came out of the ring.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub received: u64,
    pub rejected: u64,
    pub first_rejection: Option<DecodeError>,
    episodes: Vec<Episode>,
}

impl Collected {
    /// Takes one record.
    pub(super) fn take(&mut self, record: &[u8]) {
        self.received += 1;
        match decode(record) {
            Ok(Event::Episode(episode)) => self.episodes.push(episode),
            // The processes' own life, which the demo knows.
            Ok(Event::Process(_)) => {}
            Err(error) => {
                self.rejected += 1;
                self.first_rejection.get_or_insert(error);
            }
        }
    }

    fn episodes_of(&self, pid: u32) -> Vec<Episode> {
        let of_it = self
            .episodes
            .iter()
            .filter(|episode| episode.process.pid == pid);
        of_it.cloned().collect()
    }
}

/// What all phases share.
pub(super) struct Bench<'a> {
    pub probe: &'a mut Probe,
    pub drain: &'a mut dyn FnMut(&mut Collected),
    pub collected: Collected,
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
    ) -> Result<Phase, DemoError> {
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
        self.probe.filter().trace(target.pid());
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
        (self.drain)(&mut self.collected);
        let by_kernel = delivered(&self.probe.snapshot()?, pids.0);
        Ok(self.summarize(
            &shared,
            pids,
            quota,
            sent_for,
            by_kernel,
            growth(&before, &after),
        ))
    }

    /// Waits, and empties the ring.
    fn pause(&mut self, time: Duration) -> Result<(), DemoError> {
        let interrupted = self.ends.came_within(time);
        (self.drain)(&mut self.collected);
        self.probe.log_diagnostics();
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
            for own in self
                .collected
                .episodes
                .iter()
                .filter(|own| own.process.pid == pid)
            {
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

    fn summarize(
        &self,
        shared: &Mapping,
        (target, sender): (u32, u32),
        quota: Option<Quota>,
        sent_for: Duration,
        episodes_by_kernel: u64,
        cpu_stat: Option<CpuStat>,
    ) -> Phase {
        let episodes = self.collected.episodes_of(target);
        let (outside, inside) = (shared.outside.times(), shared.inside.times());
        let senders = [
            summary::Sender {
                pid: sender,
                at_ns: &outside,
            },
            summary::Sender {
                pid: target,
                at_ns: &inside,
            },
        ];
        let latency = summary::latency(episodes.iter().filter_map(Episode::latency_ns).collect());
        let mut undelivered = BTreeMap::new();
        for episode in episodes
            .iter()
            .filter(|episode| !episode.outcome.is_delivered())
        {
            *undelivered
                .entry(episode.outcome.name().to_owned())
                .or_default() += 1;
        }
        Phase {
            quota_ns: quota.map(|quota| quota.quota_ns),
            period_ns: quota.map(|quota| quota.period_ns),
            duration_ns: sent_for.as_nanos() as u64,
            sends: Sends {
                outside: outside.len() as u64,
                inside: inside.len() as u64,
            },
            handled: shared.handled.load(Ordering::SeqCst),
            episodes: latency.count,
            episodes_by_kernel,
            coalesced: episodes
                .iter()
                .map(|episode| u64::from(episode.coalesced))
                .sum(),
            undelivered,
            latency,
            causes: summary::causes(&episodes),
            restarted_clock: summary::latency(summary::restarted_clock(&episodes, &senders)),
            cpu_stat,
        }
    }
}

/// Delivered episodes of a process by the kernel's own count.
fn delivered(snapshot: &Snapshot, pid: u32) -> u64 {
    let of_it = snapshot.owners.iter().filter(|((id, _), _)| id.pid == pid);
    let by_cause = of_it.flat_map(|(_, owner)| {
        owner
            .totals
            .series
            .iter()
            .take(gohang_common::cause::CAUSES)
    });
    by_cause.map(|series| series.count).sum()
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
