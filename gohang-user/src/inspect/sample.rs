//! Statistics over a stretch of time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::collect::Collector;
use super::model::{CpuStatistics, Process};
use super::slots::Slots;

/// Reading takes no more than this part of the time, however many groups there are.
const READING: u32 = 20;

/// A group while it is watched.
#[derive(Debug)]
struct Watched {
    period: Duration,
    first: CpuStatistics,
    last: CpuStatistics,
    slots: Slots,
}

/// What groups and threads did while they were watched.
#[derive(Debug)]
pub(super) struct Sampler {
    length: Duration,
    groups: HashMap<PathBuf, Watched>,
    threads: HashMap<(u32, u32), (Option<u64>, Option<u64>)>,
}

impl Sampler {
    /// Watches the groups and threads of `processes`; takes `length`.
    pub fn run(collector: &Collector, processes: &[Process], length: Duration) -> Self {
        let begin = Instant::now();
        let mut groups = HashMap::new();
        for cpu in processes.iter().filter_map(|own| own.groups.cpu.as_ref()) {
            let Some(first) = &cpu.statistics else {
                continue;
            };
            let path = first.path.path().to_owned();
            let Some(first) = collector.groups().statistics(&path).ok().flatten() else {
                continue;
            };
            let period = cpu
                .effective
                .as_ref()
                .map_or(100_000_000, |own| own.period_ns);
            let period = Duration::from_nanos(period);
            groups.entry(path).or_insert_with(|| Watched {
                period,
                last: first.clone(),
                slots: Slots::new(period, first.clone(), Instant::now()),
                first,
            });
        }
        let ids: Vec<(u32, u32)> = processes
            .iter()
            .flat_map(|own| own.threads.iter().map(|thread| (own.pid, thread.tid)))
            .collect();
        let before: Vec<Option<u64>> = ids.iter().map(|id| cpu_ns(collector, *id)).collect();
        let step = groups.values().map(|group| Slots::step(group.period)).min();
        let step = step.unwrap_or(length);
        let end = begin + length;
        let mut next = begin + step;
        while Instant::now() < end {
            std::thread::sleep(next.min(end).saturating_duration_since(Instant::now()));
            let round = Instant::now();
            for (path, group) in &mut groups {
                // A group that went has no more to tell.
                if let Ok(Some(now)) = collector.groups().statistics(path) {
                    group.take(now, Instant::now());
                }
            }
            next += step.max(round.elapsed() * READING);
        }
        let after = ids.iter().map(|id| cpu_ns(collector, *id));
        let threads = ids
            .iter()
            .copied()
            .zip(before.into_iter().zip(after))
            .collect();
        Self {
            length: begin.elapsed(),
            groups,
            threads,
        }
    }

    /// How long it was, ns.
    pub fn length_ns(&self) -> u64 {
        u64::try_from(self.length.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Adds what was seen of this process.
    pub fn fill(&self, process: &mut Process) {
        let pid = process.pid;
        for thread in &mut process.threads {
            let seen = self.threads.get(&(pid, thread.tid));
            thread.sample_cpu_ns =
                seen.and_then(|(before, after)| Some((*after)?.saturating_sub((*before)?)));
        }
        let Some(cpu) = &mut process.groups.cpu else {
            return;
        };
        let group = cpu.statistics.as_ref();
        let Some(group) = group.and_then(|own| self.groups.get(own.path.path())) else {
            return;
        };
        cpu.sample = Some(grown(&group.first, &group.last));
        cpu.slots = group.slots.slots().to_vec();
    }
}

impl Watched {
    fn take(&mut self, now: CpuStatistics, at: Instant) {
        self.slots.take(&now, at);
        self.last = now;
    }
}

/// What was added; a count that went back is of another group of that name, and nothing.
pub(super) fn grown(before: &CpuStatistics, after: &CpuStatistics) -> CpuStatistics {
    let of = |before: Option<u64>, after: Option<u64>| after?.checked_sub(before?);
    CpuStatistics {
        path: after.path.clone(),
        usage_ns: of(before.usage_ns, after.usage_ns),
        periods: of(before.periods, after.periods),
        throttled_periods: of(before.throttled_periods, after.throttled_periods),
        throttled_ns: of(before.throttled_ns, after.throttled_ns),
        bursts: of(before.bursts, after.bursts),
        burst_ns: of(before.burst_ns, after.burst_ns),
    }
}

/// CPU time of a thread so far, ns: the first number of its schedstat.
fn cpu_ns(collector: &Collector, (pid, tid): (u32, u32)) -> Option<u64> {
    let name = format!("task/{tid}/schedstat");
    let raw = collector.proc().read_pid_file(pid, &name).ok()?;
    let text = std::str::from_utf8(&raw).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(usage: u64, throttled: u64) -> CpuStatistics {
        CpuStatistics {
            usage_ns: Some(usage),
            throttled_ns: Some(throttled),
            throttled_periods: Some(u64::from(throttled > 0)),
            ..CpuStatistics::default()
        }
    }

    #[test]
    fn what_was_added_is_between_the_first_and_the_last_reading() {
        let begin = Instant::now();
        let first = statistics(100, 0);
        let period = Duration::from_millis(100);
        let mut group = Watched {
            period,
            last: first.clone(),
            slots: Slots::new(period, first.clone(), begin),
            first,
        };
        group.take(statistics(150, 0), begin + Duration::from_millis(50));
        group.take(statistics(190, 7), begin + Duration::from_millis(100));
        let all = grown(&group.first, &group.last);
        assert_eq!((all.usage_ns, all.throttled_ns), (Some(90), Some(7)));
        // Another group of that name.
        assert_eq!(grown(&group.last, &group.first).usage_ns, None);
    }
}
