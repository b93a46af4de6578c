//! Reading the kernel side's counters, histograms and state.

use std::collections::{BTreeMap, HashMap as StdHashMap};

use aya::maps::{HashMap, MapData, PerCpuArray, PerCpuHashMap};
use gohang_common::bandwidth::CfsRq;
use gohang_common::counter::Counter;
use gohang_common::hist;
use gohang_common::map::{BucketKey, Moments, ProcessState, Summary, SummaryKey};
use gohang_common::runtime::Hits;
use gohang_common::thread::Thread;

use super::load::{map, map_mut};
use super::{Probe, ProbeError};
use crate::event::ProcessId;
use crate::report::Open;

/// The kernel side's counters, summed over CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<Counter, u64>);

impl Counters {
    /// One counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(&counter).copied().unwrap_or(0)
    }

    /// Counters of things that cannot happen, those that are not zero.
    #[must_use]
    pub fn impossible(&self) -> Vec<(&'static str, u64)> {
        self.0
            .iter()
            .filter(|(counter, value)| counter.is_impossible() && **value > 0)
            .map(|(counter, value)| (counter.name(), *value))
            .collect()
    }
}

impl FromIterator<(Counter, u64)> for Counters {
    fn from_iter<T: IntoIterator<Item = (Counter, u64)>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// Totals and buckets of one process in one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerSummary {
    /// Totals, summed over CPUs.
    pub totals: Summary,
    /// Counts by series and slot; slots that are empty are left out.
    pub buckets: BTreeMap<(u16, u16), u64>,
}

impl OwnerSummary {
    /// Adds another owner's.
    pub fn add(&mut self, from: &Self) {
        add_summary(&mut self.totals, &from.totals);
        for (key, count) in &from.buckets {
            *self.buckets.entry(*key).or_insert(0) += count;
        }
    }
}

/// What was pending when the snapshot was taken.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The thread, or one of the process's threads if the signal was sent to
    /// the process.
    pub thread: Box<Thread>,
    /// The process's shared signal, if it is that one.
    pub shared: Option<ProcessState>,
    /// The run queue that the thread waits on, if that is known to have been out
    /// of quota.
    pub queue: Option<Box<CfsRq>>,
}

/// Everything that the kernel side has added up.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By process and group (kernel id, 0 if unknown).
    pub owners: StdHashMap<(ProcessId, u64), OwnerSummary>,
    /// Spans out of quota by group and by the group whose limit it was (kernel
    /// ids, 0 if unknown).
    pub spans: BTreeMap<(u64, u64), OwnerSummary>,
    /// What of the Go runtime's functions was entered, by process.
    pub hits: BTreeMap<ProcessId, Hits>,
    /// Requests to yield that are not over, by process.
    pub open: BTreeMap<ProcessId, Open>,
}

impl Snapshot {
    /// Every entry with its key in the kernel's maps.
    fn entries(&self) -> impl Iterator<Item = (SummaryKey, &OwnerSummary)> {
        let key = |tgid, process_start_ns, cgroup_id| SummaryKey {
            process_start_ns,
            cgroup_id,
            tgid,
            pad: 0,
        };
        let owners = self.owners.iter();
        let owners = owners.map(move |((id, group), own)| (key(id.pid, id.start_ns, *group), own));
        let spans = self.spans.iter();
        owners.chain(spans.map(move |((group, limit), own)| (key(0, *limit, *group), own)))
    }

    /// Where a key's totals belong.
    fn entry(&mut self, tgid: u32, start_ns: u64, cgroup_id: u64) -> &mut OwnerSummary {
        if tgid == 0 {
            return self.spans.entry((cgroup_id, start_ns)).or_default();
        }
        let id = ProcessId {
            pid: tgid,
            start_ns,
        };
        self.owners.entry((id, cgroup_id)).or_default()
    }
}

pub(super) fn bad(name: &'static str) -> impl Fn(aya::maps::MapError) -> ProbeError {
    move |error| ProbeError::Map {
        map: name,
        reason: error.to_string(),
    }
}

fn add_moments(to: &mut Moments, from: &Moments) {
    if from.count == 0 {
        return;
    }
    to.min = if to.count == 0 {
        from.min
    } else {
        to.min.min(from.min)
    };
    to.max = to.max.max(from.max);
    to.count += from.count;
    to.sum = to.sum.wrapping_add(from.sum);
}

/// Adds one CPU's totals to another's.
fn add_summary(to: &mut Summary, from: &Summary) {
    let Summary {
        series,
        outcomes,
        coalesced,
        parts_ns,
        running_ns,
        scratch: _,
    } = from;
    for (to, from) in to.series.iter_mut().zip(series) {
        add_moments(to, from);
    }
    for (to, from) in to.outcomes.iter_mut().zip(outcomes) {
        *to += from;
    }
    for (to, from) in to.parts_ns.iter_mut().zip(parts_ns) {
        *to = to.wrapping_add(*from);
    }
    to.coalesced += coalesced;
    to.running_ns = to.running_ns.wrapping_add(*running_ns);
}

impl Probe {
    /// The counters.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counters(&self) -> Result<Counters, ProbeError> {
        let array: PerCpuArray<_, u64> = map(&self.ebpf, "COUNTERS_MAP")?;
        Counter::ALL
            .iter()
            .map(|counter| Ok((*counter, sum(&array, *counter)?)))
            .collect()
    }

    /// One counter.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counter(&self, counter: Counter) -> Result<u64, ProbeError> {
        let array: PerCpuArray<_, u64> = map(&self.ebpf, "COUNTERS_MAP")?;
        sum(&array, counter)
    }

    /// Totals and buckets of everybody.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, ProbeError> {
        let mut found = Snapshot::default();
        let summaries: PerCpuHashMap<_, SummaryKey, Summary> = map(&self.ebpf, "SUMMARIES")?;
        for entry in summaries.iter() {
            let (key, values) = entry.map_err(bad("SUMMARIES"))?;
            let mut totals = Summary::default();
            for value in values.iter() {
                add_summary(&mut totals, value);
            }
            found
                .entry(key.tgid, key.process_start_ns, key.cgroup_id)
                .totals = totals;
        }
        let buckets: HashMap<_, BucketKey, u64> = map(&self.ebpf, "BUCKETS")?;
        for entry in buckets.iter() {
            let (key, count) = entry.map_err(bad("BUCKETS"))?;
            if usize::from(key.slot) < hist::SLOTS {
                found
                    .entry(key.tgid, key.process_start_ns, key.cgroup_id)
                    .buckets
                    .insert((key.series, key.slot), count);
            }
        }
        Ok(found)
    }

    /// Removes everything that `gone` holds: totals of what will not come again.
    ///
    /// # Errors
    /// A map cannot be written.
    pub fn forget(&mut self, gone: &Snapshot) -> Result<(), ProbeError> {
        let mut summaries: PerCpuHashMap<_, SummaryKey, Summary> =
            map_mut(&mut self.ebpf, "SUMMARIES")?;
        for (key, _) in gone.entries() {
            remove(summaries.remove(&key)).map_err(bad("SUMMARIES"))?;
        }
        let mut buckets: HashMap<_, BucketKey, u64> = map_mut(&mut self.ebpf, "BUCKETS")?;
        for (key, owner) in gone.entries() {
            for (series, slot) in owner.buckets.keys() {
                let key = BucketKey {
                    process_start_ns: key.process_start_ns,
                    cgroup_id: key.cgroup_id,
                    tgid: key.tgid,
                    series: *series,
                    slot: *slot,
                };
                remove(buckets.remove(&key)).map_err(bad("BUCKETS"))?;
            }
        }
        Ok(())
    }

    /// The state of every traced thread.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn threads(&self) -> Result<Vec<Thread>, ProbeError> {
        let threads: HashMap<_, u64, Thread> = map(&self.ebpf, "THREADS")?;
        // Threads come and go under the iteration: a key met twice counts once.
        let mut found = BTreeMap::new();
        for entry in threads.iter() {
            let (key, thread) = entry.map_err(bad("THREADS"))?;
            found.insert(key, thread);
        }
        Ok(found.into_values().collect())
    }

    /// What is pending now, of these threads, which were just read.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn pending(&self, threads: Vec<Thread>) -> Result<Vec<Pending>, ProbeError> {
        let processes: HashMap<_, u32, ProcessState> = map(&self.ebpf, "PROCESSES")?;
        let mut shared = BTreeMap::new();
        for entry in processes.iter() {
            let (tgid, state) = entry.map_err(bad("PROCESSES"))?;
            if state.shared.sent_ns != 0 {
                shared.insert(tgid, state);
            }
        }
        let queues: HashMap<_, u64, CfsRq> = map(&self.ebpf, "CFS_RQS")?;
        let mut pending = Vec::new();
        for thread in threads {
            let mut add = |shared| {
                pending.push(Pending {
                    thread: Box::new(thread),
                    shared,
                    // Else of a removed group, whose memory the thread's has got.
                    queue: queues
                        .get(&thread.cfs_rq, 0)
                        .ok()
                        .filter(|queue| queue.cgroup_id == thread.cgroup_id)
                        .map(Box::new),
                });
            };
            if thread.private.sent_ns != 0 {
                add(None);
            }
            if let Some(state) = shared.remove(&thread.tgid) {
                add(Some(state));
            }
        }
        Ok(pending)
    }

    /// Entries in the maps that grow with what is traced: threads, processes,
    /// summaries, buckets.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn entries(&self) -> Result<[usize; 4], ProbeError> {
        let threads: HashMap<_, u64, Thread> = map(&self.ebpf, "THREADS")?;
        let processes: HashMap<_, u32, ProcessState> = map(&self.ebpf, "PROCESSES")?;
        let summaries: PerCpuHashMap<_, SummaryKey, Summary> = map(&self.ebpf, "SUMMARIES")?;
        let buckets: HashMap<_, BucketKey, u64> = map(&self.ebpf, "BUCKETS")?;
        Ok([
            threads.keys().filter_map(Result::ok).count(),
            processes.keys().filter_map(Result::ok).count(),
            summaries.keys().filter_map(Result::ok).count(),
            buckets.keys().filter_map(Result::ok).count(),
        ])
    }
}

/// A counter of all CPUs.
fn sum(array: &PerCpuArray<&MapData, u64>, counter: Counter) -> Result<u64, ProbeError> {
    let values = array
        .get(&(counter as u32), 0)
        .map_err(bad("COUNTERS_MAP"))?;
    Ok(values.iter().sum())
}

/// Removing what is already gone is no error.
pub(super) fn remove(result: Result<(), aya::maps::MapError>) -> Result<(), aya::maps::MapError> {
    match result {
        Err(aya::maps::MapError::KeyNotFound | aya::maps::MapError::ElementNotFound) => Ok(()),
        Err(aya::maps::MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_keys_that_they_are_found_by() {
        let mut found = Snapshot::default();
        for (tgid, start_ns, group) in [(7, 70, 9), (7, 70, 8), (0, 3, 9), (0, 0, 9)] {
            found.entry(tgid, start_ns, group).totals.coalesced = start_ns + group;
        }
        assert_eq!((found.owners.len(), found.spans.len()), (2, 2));
        for (key, owner) in found.entries() {
            assert_eq!(owner.totals.coalesced, key.process_start_ns + key.cgroup_id);
            assert_eq!(key.tgid, if key.process_start_ns == 70 { 7 } else { 0 });
        }
        assert_eq!(found.entries().count(), 4);
    }
}
