//! What happened since the last look: the difference of two reports of one
//! trace.

use std::collections::{BTreeMap, HashMap};

use gohang_common::cause::Outcome;
use schemars::JsonSchema;
use serde::Serialize;

use crate::buckets::{quantile, since};
use crate::process::{WentBack, growth};
use crate::report::{CauseShare, Loss, Process, Report};

/// Figures of all processes since the last interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Interval {
    /// Its end, CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Its length.
    pub length_ns: u64,
    /// Processes that still ran in it, most important first.
    pub processes: Vec<IntervalProcess>,
    /// Where every record went, since the start.
    pub loss: Loss,
}

/// Figures of a process since the last interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IntervalProcess {
    /// Root PID namespace.
    pub pid: u32,
    /// Start, CLOCK_MONOTONIC: with `pid` it names the process.
    pub start_ns: u64,
    /// Name, escaped.
    pub comm: String,
    /// Delivered episodes.
    pub episodes: u64,
    /// Episodes by outcome, of those that ended.
    pub outcomes: BTreeMap<String, u64>,
    /// Episodes still pending at its end.
    pub pending: u64,
    /// Sends absorbed by pending episodes.
    pub coalesced: u64,
    /// Median of first send to delivery; null of nothing.
    pub p50_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// Longest: exact if it is the longest of the trace, else the upper edge of
    /// its bucket.
    pub max_ns: Option<u64>,
    /// By cause.
    pub causes: BTreeMap<String, IntervalCause>,
    /// Time out of quota.
    pub stall_ns: u64,
    /// Stalls that ended.
    pub stall_count: u64,
    /// Longest of them, as `max_ns`.
    pub stall_max_ns: Option<u64>,
    /// Time on the run queue.
    pub runqueue_ns: u64,
    /// Time on a CPU.
    pub running_ns: u64,
}

/// One cause since the last interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IntervalCause {
    /// Delivered episodes of that cause.
    pub count: u64,
    /// That component, summed over all delivered episodes.
    pub total_ns: u64,
}

impl Interval {
    /// What `now` adds to `before`, an earlier report of the same trace; without
    /// one, everything since the start.
    ///
    /// # Errors
    /// A count went back: `before` is no earlier report of this trace.
    pub fn between(before: Option<&Report>, now: &Report) -> Result<Self, WentBack> {
        let old: HashMap<(u32, u64), &Process> = before
            .into_iter()
            .flat_map(|report| &report.processes)
            .map(|process| ((process.pid, process.start_ns), process))
            .collect();
        let begin = before.map_or(now.clock.start.mono_ns, |report| report.clock.end.mono_ns);
        let processes = now
            .processes
            .iter()
            .filter(|process| process.ended_ns.is_none_or(|ended| ended >= begin))
            .map(|process| {
                let was = old.get(&(process.pid, process.start_ns)).copied();
                IntervalProcess::between(was, process)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            at_ns: now.clock.end.mono_ns,
            length_ns: growth("clock", begin, now.clock.end.mono_ns)?,
            processes,
            loss: now.loss,
        })
    }
}

impl IntervalProcess {
    fn between(before: Option<&Process>, now: &Process) -> Result<Self, WentBack> {
        let grown = |name, of: fn(&Process) -> u64| growth(name, before.map_or(0, of), of(now));
        let delivery = since(
            "delivery",
            before.map_or(&[][..], |process| &process.delivery.buckets),
            &now.delivery.buckets,
        )?;
        let stall = since(
            "stall",
            before.map_or(&[][..], |process| &process.stall.buckets),
            &now.stall.buckets,
        )?;
        let max_ns = longest(
            &delivery,
            before.and_then(|process| process.delivery.max_ns),
            now.delivery.max_ns,
        );
        // What is pending now is a level, not a count that grows.
        let pending_name = Outcome::PendingAtEnd.name();
        let mut outcomes = BTreeMap::new();
        for (name, count) in now
            .outcomes
            .iter()
            .filter(|(name, _)| *name != pending_name)
        {
            let was = before
                .and_then(|process| process.outcomes.get(name))
                .copied()
                .unwrap_or(0);
            outcomes.insert(name.clone(), growth("outcome", was, *count)?);
        }
        let mut causes = BTreeMap::new();
        for (name, share) in &now.causes {
            let was = before.and_then(|process| process.causes.get(name));
            let was = was.copied().unwrap_or_default();
            causes.insert(name.clone(), IntervalCause::between(&was, share)?);
        }
        Ok(Self {
            pid: now.pid,
            start_ns: now.start_ns,
            comm: now.comm.clone(),
            episodes: grown("episodes", |process| process.episodes)?,
            outcomes,
            pending: now.outcomes.get(pending_name).copied().unwrap_or(0),
            coalesced: grown("coalesced", |process| process.coalesced)?,
            p50_ns: quantile(&delivery, 500, max_ns),
            p99_ns: quantile(&delivery, 990, max_ns),
            max_ns,
            causes,
            stall_ns: grown("stall", |process| process.stall.total_ns)?,
            stall_count: grown("stalls", |process| process.stall.count)?,
            stall_max_ns: longest(
                &stall,
                before.and_then(|process| process.stall.max_ns),
                now.stall.max_ns,
            ),
            runqueue_ns: grown("runqueue", |process| process.runqueue.total_ns)?,
            running_ns: grown("running", |process| process.running_ns)?,
        })
    }

    /// Share of the time its threads wanted to run that they were out of quota,
    /// 0 to 1; none if they never wanted to.
    #[must_use]
    pub fn stall_share(&self) -> Option<f64> {
        self.share_of_wanted(self.stall_ns)
    }

    /// Share of the time its threads wanted to run that they waited for a CPU.
    #[must_use]
    pub fn runqueue_share(&self) -> Option<f64> {
        self.share_of_wanted(self.runqueue_ns)
    }

    fn share_of_wanted(&self, part: u64) -> Option<f64> {
        let wanted = self.stall_ns + self.runqueue_ns + self.running_ns;
        (wanted > 0).then(|| part as f64 / wanted as f64)
    }
}

impl IntervalCause {
    fn between(before: &CauseShare, now: &CauseShare) -> Result<Self, WentBack> {
        Ok(Self {
            count: growth("cause", before.count, now.count)?,
            total_ns: growth("cause time", before.total_ns, now.total_ns)?,
        })
    }
}

/// The longest of what was added: exact if the record grew, else the upper edge
/// of the highest bucket that grew, capped at the record.
fn longest(added: &[crate::report::Bucket], before: Option<u64>, now: Option<u64>) -> Option<u64> {
    let edge = quantile(added, 1000, now)?;
    if now > before { now } else { Some(edge) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;

    #[test]
    fn the_first_interval_is_everything_so_far() {
        let report = sample::report();
        let first = Interval::between(None, &report).expect("a first one");
        assert_eq!(
            (first.at_ns, first.length_ns),
            (10_000_000_000, 8_200_000_000)
        );
        let process = &first.processes[0];
        assert_eq!(
            (process.pid, process.episodes, process.coalesced),
            (1234, 93, 3)
        );
        assert_eq!(process.max_ns, Some(88_000_000));
        assert_eq!(process.p50_ns, report.processes[0].delivery.p50_ns);
        assert_eq!(process.stall_ns, report.processes[0].stall.total_ns);
        assert_eq!(process.stall_share(), report.processes[0].stall_share());
    }

    #[test]
    fn only_what_was_added_counts() {
        let before = sample::report();
        let mut now = before.clone();
        now.clock.end.mono_ns += 1_000_000_000;
        {
            let process = &mut now.processes[0];
            process.episodes += 2;
            process.delivery.count += 2;
            process.delivery.buckets[0].count += 2;
            process.stall.total_ns += 400;
            process.running_ns += 600;
            process.causes.get_mut("running").expect("there").count += 2;
        }
        let interval = Interval::between(Some(&before), &now).expect("later");
        let process = &interval.processes[0];
        let edge = now.processes[0].delivery.buckets[0].hi_ns - 1;
        assert_eq!(interval.length_ns, 1_000_000_000);
        assert_eq!((process.episodes, process.coalesced), (2, 0));
        assert_eq!((process.p50_ns, process.max_ns), (Some(edge), Some(edge)));
        assert_eq!((process.stall_ns, process.stall_max_ns), (400, None));
        assert_eq!(process.stall_share(), Some(0.4));
        assert_eq!(process.causes["running"].count, 2);
        assert_eq!(process.causes["throttled"].count, 0);
    }

    #[test]
    fn a_new_record_is_exact() {
        let before = sample::report();
        let mut now = before.clone();
        let process = &mut now.processes[0];
        process.delivery.max_ns = Some(91_000_000);
        process.delivery.buckets.last_mut().expect("there").count += 1;
        process.outcomes.insert("pending_at_end".to_owned(), 2);
        let interval = Interval::between(Some(&before), &now).expect("later");
        assert_eq!(interval.processes[0].max_ns, Some(91_000_000));
        assert_eq!(interval.processes[0].pending, 2);
        let later = Interval::between(Some(&now), &before);
        assert!(later.is_err(), "the bucket shrank");
        now.processes[0].outcomes.clear();
        let settled = Interval::between(Some(&before), &now).expect("pending may shrink");
        assert_eq!(settled.processes[0].pending, 0);
    }

    #[test]
    fn processes_that_ended_before_are_left_out_and_going_back_is_an_error() {
        let before = sample::report();
        let mut now = before.clone();
        now.clock.end.mono_ns += 1;
        now.processes[0].ended_ns = Some(before.clock.end.mono_ns - 1);
        let interval = Interval::between(Some(&before), &now).expect("later");
        assert!(interval.processes.iter().all(|process| process.pid != 1234));
        let mut earlier = before.clone();
        earlier.processes[0].episodes -= 1;
        assert!(Interval::between(Some(&before), &earlier).is_err());
    }
}
