//! How far an estimate of throttled time is from the exact one, episode by episode, with both
//! tracers attached at once.

use std::collections::BTreeMap;

use crate::stream::Line;

/// What two tracers said of the same episodes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Of each thread: for each episode that either of them calls throttled for a time, how far
    /// they are apart, ns, in rising order.
    pub by_thread: BTreeMap<u32, Vec<u64>>,
    /// Episodes of both.
    pub pairs: usize,
    /// Episodes of one of them alone.
    pub single: usize,
}

impl Differences {
    /// Pairs the episodes of each thread: those of one thread do not overlap, and the same
    /// episode is seen by the second tracer before its end is seen by the first.
    pub fn of<'a>(
        exact: impl Iterator<Item = &'a Line>,
        estimate: impl Iterator<Item = &'a Line>,
    ) -> Self {
        let (exact, mut estimate) = (threads(exact), threads(estimate));
        let mut all = Self::default();
        for (tid, ours) in exact {
            let theirs = estimate.remove(&tid).unwrap_or_default();
            all.add(tid, &ours, &theirs);
        }
        all.single += estimate.values().map(Vec::len).sum::<usize>();
        for found in all.by_thread.values_mut() {
            found.sort_unstable();
        }
        all
    }

    fn add(&mut self, tid: u32, exact: &[&Line], estimate: &[&Line]) {
        let (mut i, mut j) = (0, 0);
        let apart = self.by_thread.entry(tid).or_default();
        while let (Some(a), Some(b)) = (exact.get(i), estimate.get(j)) {
            if end_ns(a) < b.sent_ns {
                (i, self.single) = (i + 1, self.single + 1);
            } else if end_ns(b) < a.sent_ns {
                (j, self.single) = (j + 1, self.single + 1);
            } else {
                (i, j, self.pairs) = (i + 1, j + 1, self.pairs + 1);
                if a.throttled_ns != 0 || b.throttled_ns != 0 {
                    apart.push(a.throttled_ns.abs_diff(b.throttled_ns));
                }
            }
        }
        self.single += exact.len() - i + estimate.len() - j;
    }

    /// The 99th percentile of the thread whose is the largest (nearest rank), ns; none without
    /// an episode out of quota.
    pub fn p99_ns(&self) -> Option<u64> {
        let p99 = |sorted: &Vec<u64>| {
            let rank = (sorted.len() * 99).div_ceil(100);
            sorted.get(rank.checked_sub(1)?).copied()
        };
        self.by_thread.values().filter_map(p99).max()
    }
}

/// The lines of each thread in the order of their begin.
fn threads<'a>(lines: impl Iterator<Item = &'a Line>) -> BTreeMap<u32, Vec<&'a Line>> {
    let mut threads: BTreeMap<u32, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        threads.entry(line.tid).or_default().push(line);
    }
    for lines in threads.values_mut() {
        lines.sort_by_key(|line| line.sent_ns);
    }
    threads
}

fn end_ns(line: &Line) -> u64 {
    line.delivered_ns.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tid: u32, sent_ns: u64, delivered_ns: u64, throttled_ns: u64) -> Line {
        Line {
            pid: 1,
            tid,
            directed: "thread".to_owned(),
            sender_pid: None,
            sent_ns,
            delivered_ns: Some(delivered_ns),
            latency_ns: Some(delivered_ns - sent_ns),
            coalesced: 0,
            outcome: "delivered".to_owned(),
            throttled_ns,
            runqueue_ns: 0,
            blocked_ns: 0,
            running_ns: 0,
            masked_ns: 0,
            cause: None,
        }
    }

    #[test]
    fn the_same_episodes_are_compared() {
        let exact = [
            line(7, 100, 200, 60),
            line(7, 300, 400, 0),
            line(7, 500, 600, 90),
            line(8, 100, 900, 10),
        ];
        // Seen a little later, in another order; one is missing, one is in excess.
        let estimate = [
            line(7, 503, 603, 40),
            line(7, 101, 203, 61),
            line(8, 103, 904, 0),
            line(8, 910, 920, 5),
        ];
        let found = Differences::of(exact.iter(), estimate.iter());
        assert_eq!((found.pairs, found.single), (3, 2));
        assert_eq!(found.by_thread[&7], [1, 50]);
        assert_eq!(found.by_thread[&8], [10]);
        assert_eq!(found.p99_ns(), Some(50));
    }

    #[test]
    fn a_percentile_of_the_worst_thread() {
        let lines = |worst| (0..200).map(move |n| line(1, n * 10, n * 10 + 1, 1 + worst * n / 199));
        let exact: Vec<Line> = lines(0).collect();
        let estimate: Vec<Line> = lines(199).collect();
        let found = Differences::of(exact.iter(), estimate.iter());
        assert_eq!(found.p99_ns(), Some(197));
        assert_eq!(Differences::default().p99_ns(), None);
    }
}
