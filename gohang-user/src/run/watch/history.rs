//! The samples of the last while.

use std::collections::VecDeque;
use std::time::Duration;

use super::meter::{Sample, Throttling};

/// Samples, oldest first, as far back as anybody asks.
#[derive(Debug)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    keep: Duration,
}

/// How much a group was throttled within a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Throttled {
    /// The group, by its place among those above the command.
    pub index: usize,
    /// Periods in which it ran out of quota.
    pub periods: u64,
    /// Periods in which it ran.
    pub of: u64,
    /// The part of wall time for which it was out of quota.
    pub share: f64,
}

impl History {
    /// Remembers at least `keep`.
    pub fn new(keep: Duration) -> Self {
        Self {
            samples: VecDeque::new(),
            keep,
        }
    }

    /// Takes the next one.
    pub fn push(&mut self, sample: Sample) {
        // One that is older than asked for is needed to know what was added since.
        while let [_, second, ..] = self.samples.make_contiguous()
            && sample.at.saturating_duration_since(second.at) >= self.keep
        {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The last one.
    pub fn last(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// The last one that is at least `age` older than the last, or else the first.
    pub fn before(&self, age: Duration) -> Option<&Sample> {
        let last = self.samples.back()?;
        let is_old = |sample: &&Sample| last.at.saturating_duration_since(sample.at) >= age;
        self.samples
            .iter()
            .rev()
            .find(is_old)
            .or_else(|| self.samples.front())
    }

    /// How far the samples reach back.
    pub fn span(&self) -> Duration {
        match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) => last.at.saturating_duration_since(first.at),
            _ => Duration::ZERO,
        }
    }

    /// The group that was throttled most within the last `within`, if any was.
    pub fn throttled(&self, within: Duration) -> Option<Throttled> {
        let all = self.throttled_each(within).into_iter();
        all.filter(|found| found.periods > 0)
            .max_by(|a, b| a.share.total_cmp(&b.share))
    }

    /// How much each group was throttled within the last `within`, nearest first.
    pub fn throttled_each(&self, within: Duration) -> Vec<Throttled> {
        let Some((now, then)) = self.last().zip(self.before(within)) else {
            return Vec::new();
        };
        let wall = now.at.saturating_duration_since(then.at);
        let levels = now.throttling.iter().zip(&then.throttling).enumerate();
        levels
            .map(|(index, (now, then))| throttled(index, now, then, wall))
            .collect()
    }

    /// All of them, oldest first.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }

    /// How much a count has grown within the last `within`.
    pub fn growth(&self, within: Duration, count: impl Fn(&Sample) -> u64) -> u64 {
        match (self.last(), self.before(within)) {
            (Some(now), Some(then)) => count(now).saturating_sub(count(then)),
            _ => 0,
        }
    }

    /// CPUs that the command used on average within the last `within`.
    pub fn cpus_used(&self, within: Duration) -> Option<f64> {
        let (now, then) = (self.last()?, self.before(within)?);
        let wall = now.at.saturating_duration_since(then.at).as_nanos();
        let used = now.used_ns?.saturating_sub(then.used_ns?);
        (wall > 0).then(|| used as f64 / wall as f64)
    }

    /// Moves everything later: a time that does not count.
    pub fn shift(&mut self, by: Duration) {
        for sample in &mut self.samples {
            sample.at += by;
        }
    }
}

/// Throttled time is summed over the group's run queues, of which there may be one or one
/// for each CPU. In every moment a run queue that wants to run either does (which is the
/// CPU time used) or is throttled: so both together, over wall time, are the run queues
/// that wanted to, and where that is more than one, the time is shared by them.
fn throttled(index: usize, now: &Throttling, then: &Throttling, wall: Duration) -> Throttled {
    let throttled_ns = now.throttled_ns.saturating_sub(then.throttled_ns) as f64;
    let used_ns = now.used_ns.saturating_sub(then.used_ns) as f64;
    let whole = (throttled_ns + used_ns).max(wall.as_nanos() as f64);
    Throttled {
        index,
        periods: now.throttled.saturating_sub(then.throttled),
        of: now.periods.saturating_sub(then.periods),
        share: if whole > 0.0 {
            throttled_ns / whole
        } else {
            0.0
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const MS: u64 = 1_000_000;

    fn sample(at: Instant, throttling: &[(u64, u64, u64)]) -> Sample {
        let of = |&(throttled, throttled_ms, used_ms): &(u64, u64, u64)| Throttling {
            periods: throttled * 2,
            throttled,
            throttled_ns: throttled_ms * MS,
            used_ns: used_ms * MS,
        };
        Sample {
            at,
            used_ns: throttling.first().map(|&(.., used_ms)| used_ms * MS),
            throttling: throttling.iter().map(of).collect(),
            memory: None,
            memory_hits: 0,
            oom_kills: 0,
            refused: throttling.len() as u64,
            tasks: None,
            output_bytes: 0,
        }
    }

    fn share(throttled_ms: u64, used_ms: u64) -> f64 {
        let begin = Instant::now();
        let mut history = History::new(Duration::from_secs(60));
        history.push(sample(begin, &[(0, 0, 0)]));
        let later = begin + Duration::from_secs(10);
        history.push(sample(later, &[(50, throttled_ms, used_ms)]));
        history.throttled(Duration::from_secs(10)).unwrap().share
    }

    #[test]
    fn the_share_is_of_wall_time_whatever_the_number_of_run_queues() {
        // One run queue that always wants to run, at 20 %.
        assert_eq!(share(8_000, 2_000), 0.8);
        // One that wants to run half of the time.
        assert_eq!(share(4_000, 1_000), 0.4);
        // Four at once, at 20 % of one CPU in all: 38 s throttled in 10.
        assert_eq!(share(38_000, 2_000), 0.95);
        assert_eq!(share(0, 2_000), 0.0);
    }

    #[test]
    fn the_most_throttled_group_counts_within_the_while() {
        let begin = Instant::now();
        let at = |s| begin + Duration::from_secs(s);
        let mut history = History::new(Duration::from_secs(60));
        assert_eq!(history.throttled(Duration::from_secs(1)), None);
        history.push(sample(at(0), &[(0, 0, 0), (10, 100, 0)]));
        history.push(sample(at(30), &[(0, 0, 0), (40, 20_100, 6_000)]));
        history.push(sample(at(60), &[(0, 0, 500), (45, 21_100, 7_000)]));
        let found = history.throttled(Duration::from_secs(60)).unwrap();
        assert_eq!((found.index, found.periods, found.of), (1, 35, 70));
        let found = history.throttled(Duration::from_secs(30)).unwrap();
        assert_eq!(found.periods, 5);
        assert!((found.share - 1.0 / 30.0).abs() < 1e-9, "{found:?}");
        let used = history.cpus_used(Duration::from_secs(30)).unwrap();
        assert!((used - 0.5 / 30.0).abs() < 1e-9);
        assert_eq!(history.growth(Duration::from_secs(60), |s| s.refused), 0);
    }

    #[test]
    fn it_forgets_what_nobody_asks_for() {
        let begin = Instant::now();
        let mut history = History::new(Duration::from_secs(10));
        for s in 0..100 {
            history.push(sample(begin + Duration::from_secs(s), &[(s, 0, 0)]));
        }
        assert!(history.samples.len() <= 12, "{}", history.samples.len());
        assert!(history.span() >= Duration::from_secs(10));
        assert_eq!(
            history.throttled(Duration::from_secs(10)).unwrap().periods,
            10
        );
        history.shift(Duration::from_secs(1000));
        assert_eq!(
            history.last().unwrap().at,
            begin + Duration::from_secs(1099)
        );
    }
}
