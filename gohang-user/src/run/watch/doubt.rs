//! Whether a command gives cause for doubt: a first sign that a verdict may be needed, long
//! before any. What only a verdict needs is made ready then, and for a command that never gives
//! cause not at all.

use std::time::Duration;

use super::Breaker;
use super::meter::Sample;

/// A limit below this leaves no time to wait for a sign: a command under one is in doubt by
/// itself ...
const SHORT: Duration = Duration::from_secs(10);
/// ... once it has run for this long, or for half of the limit where that is less: what ends
/// sooner is spared it.
const SETTLE: Duration = Duration::from_secs(1);
/// The part of the shortest limit on time without progress that is a sign ...
const IDLE_PART: u32 = 10;
/// ... and the most that it takes.
const IDLE: Duration = Duration::from_secs(5);
/// The part of `--timeout`, or of `go test -timeout`, that is a sign. A busy loop that makes
/// calls counts as progress: only the time tells of it.
const TIME_PART: u32 = 2;
/// The part of the periods out of quota that count as throttling. A build in a group with a
/// quota runs out of it now and then, and is fine.
const PERIODS_PART: u64 = 2;
/// The part of a limit on tasks that is a sign.
const TASKS: f64 = 0.9;

/// What counts as a sign.
#[derive(Debug)]
pub(super) struct Doubt {
    after: Option<Duration>,
    idle: Duration,
    test: Option<Duration>,
    periods: u64,
    memory_share: f64,
    /// Of each group, nearest first, periods out of quota when the command began.
    throttled_at_start: Vec<u64>,
}

/// How a command is getting on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    /// Since its start.
    pub elapsed: Duration,
    /// Since the last progress.
    pub idle: Duration,
    /// For how long the test has run that has run longest.
    pub test: Option<Duration>,
    /// The last reading of its groups.
    pub sample: &'a Sample,
}

impl Doubt {
    /// `test_limit`: the command's own limit on a test binary. `first`: a reading from before
    /// the command began.
    pub fn new(breaker: &Breaker, test_limit: Option<Duration>, first: &Sample) -> Self {
        let limits = [breaker.timeout, breaker.idle_timeout, breaker.stall_window];
        let short = limits.into_iter().flatten().min();
        let short = short.filter(|limit| *limit < SHORT);
        let after = match short {
            Some(limit) => Some(SETTLE.min(limit / 2)),
            None => breaker.timeout.map(|limit| limit / TIME_PART),
        };
        let idle = [
            breaker.slow_after,
            breaker.idle_timeout,
            breaker.stall_window,
        ];
        let idle = idle.into_iter().flatten().min();
        Self {
            after,
            idle: idle.map_or(IDLE, |limit| IDLE.min(limit / IDLE_PART)),
            test: test_limit.map(|limit| limit / TIME_PART),
            periods: breaker.throttled_periods.div_ceil(PERIODS_PART),
            memory_share: breaker.memory_share,
            throttled_at_start: throttled(first).collect(),
        }
    }

    /// The time since the start from which on the time alone is a sign.
    pub fn after(&self) -> Option<Duration> {
        self.after
    }

    /// Whether it matters for how long tests have run.
    pub fn is_about_tests(&self) -> bool {
        self.test.is_some()
    }

    /// Whether there is any sign.
    pub fn is_raised(&self, look: &Look<'_>) -> bool {
        let reached = |limit: Option<Duration>, time| limit.is_some_and(|limit| time >= limit);
        let Sample {
            memory,
            oom_kills,
            refused,
            tasks,
            ..
        } = look.sample;
        let short_of_quota = throttled(look.sample)
            .zip(&self.throttled_at_start)
            .any(|(now, then)| now.saturating_sub(*then) >= self.periods);
        let short_of_memory = memory
            .as_ref()
            .is_some_and(|memory| memory.share() >= self.memory_share);
        let short_of_tasks =
            tasks.is_some_and(|(current, limit)| current as f64 >= limit as f64 * TASKS);
        look.idle >= self.idle
            || reached(self.after, look.elapsed)
            || look.test.is_some_and(|time| reached(self.test, time))
            || short_of_quota
            || short_of_memory
            || short_of_tasks
            || *oom_kills > 0
            || *refused > 0
    }
}

/// Periods out of quota of each group, nearest first.
fn throttled(sample: &Sample) -> impl Iterator<Item = u64> {
    sample.throttling.iter().map(|group| group.throttled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::watch::meter::{Memory, Throttling};
    use std::time::Instant;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn sample(throttled: &[u64]) -> Sample {
        let of = |&throttled: &u64| Throttling {
            throttled,
            ..Throttling::default()
        };
        Sample {
            at: Instant::now(),
            used_ns: None,
            throttling: throttled.iter().map(of).collect(),
            memory: None,
            memory_hits: 0,
            oom_kills: 0,
            refused: 0,
            tasks: None,
            output_bytes: 0,
        }
    }

    fn look(sample: &Sample) -> Look<'_> {
        Look {
            elapsed: s(3600),
            idle: Duration::ZERO,
            test: None,
            sample,
        }
    }

    /// From when on the time alone is a sign, and idleness, for these limits.
    fn times(
        timeout: Option<u64>,
        idle_timeout: Option<u64>,
        stall_window: Option<u64>,
    ) -> (Option<Duration>, Duration) {
        let breaker = Breaker {
            timeout: timeout.map(Duration::from_millis),
            idle_timeout: idle_timeout.map(Duration::from_millis),
            stall_window: stall_window.map(Duration::from_millis),
            ..Breaker::default()
        };
        let sample = sample(&[]);
        let doubt = Doubt::new(&breaker, None, &sample);
        // What is told is what counts.
        if let Some(after) = doubt.after() {
            let just = |elapsed| Look {
                elapsed,
                ..look(&sample)
            };
            assert!(doubt.is_raised(&just(after)));
            assert!(!doubt.is_raised(&just(after - Duration::from_millis(1))));
        }
        (doubt.after(), doubt.idle)
    }

    #[test]
    fn long_limits_leave_time_to_wait_for_a_sign() {
        let minute = Some(60_000);
        assert_eq!(times(None, None, minute), (None, s(5)));
        assert_eq!(times(Some(600_000), None, minute), (Some(s(300)), s(5)));
        assert_eq!(times(None, Some(30_000), minute), (None, s(3)));
        assert_eq!(times(None, Some(600_000), None), (None, s(5)));
        assert_eq!(times(Some(10_000), None, None), (Some(s(5)), s(5)));
        assert_eq!(times(None, Some(10_000), minute), (None, s(1)));
    }

    #[test]
    fn under_short_limits_it_does_not_take_a_sign() {
        let minute = Some(60_000);
        for (timeout, idle, stall) in [
            (Some(9_999), None, minute),
            (None, Some(4_000), minute),
            (Some(600_000), None, Some(5_000)),
            (None, Some(2_000), None),
        ] {
            assert_eq!(times(timeout, idle, stall).0, Some(s(1)));
        }
        let (after, _) = times(Some(1_000), None, minute);
        assert_eq!(after, Some(Duration::from_millis(500)));
    }

    #[test]
    fn a_command_that_gets_on_gives_no_cause() {
        let first = sample(&[3, 700]);
        let doubt = Doubt::new(&Breaker::default(), Some(s(600)), &first);
        assert!(doubt.is_about_tests());
        let mut now = sample(&[3 + 9, 700 + 9]);
        now.memory_hits = 1_000;
        now.tasks = Some((89, 100));
        now.memory = Some(memory(79));
        let healthy = Look {
            idle: s(5) - Duration::from_millis(1),
            test: Some(s(299)),
            ..look(&now)
        };
        assert!(!doubt.is_raised(&healthy));
        let without = Doubt::new(&Breaker::default(), None, &first);
        assert!(!without.is_about_tests());
        let test = Some(s(3_000));
        assert!(!without.is_raised(&Look { test, ..healthy }));
    }

    #[test]
    fn each_sign_is_enough() {
        let first = sample(&[3, 700]);
        let doubt = Doubt::new(&Breaker::default(), Some(s(600)), &first);
        let raises = |change: &dyn Fn(&mut Sample)| {
            let mut now = first.clone();
            change(&mut now);
            doubt.is_raised(&look(&now))
        };
        assert!(!raises(&|_| {}));
        assert!(raises(&|now| now.throttling[0].throttled += 10));
        assert!(raises(&|now| now.throttling[1].throttled += 10));
        assert!(raises(&|now| now.oom_kills = 1));
        assert!(raises(&|now| now.refused = 1));
        assert!(raises(&|now| now.tasks = Some((90, 100))));
        assert!(raises(&|now| now.memory = Some(memory(80))));
        let idle = Look {
            idle: s(5),
            ..look(&first)
        };
        assert!(doubt.is_raised(&idle));
        let test = Look {
            test: Some(s(300)),
            ..look(&first)
        };
        assert!(doubt.is_raised(&test));
    }

    #[test]
    fn a_group_that_is_made_anew_or_gone_gives_none() {
        let doubt = Doubt::new(&Breaker::default(), None, &sample(&[500, 500]));
        assert!(!doubt.is_raised(&look(&sample(&[0, 500]))));
        assert!(!doubt.is_raised(&look(&sample(&[]))));
    }

    fn memory(percent: u64) -> Memory {
        Memory {
            path: "/g".into(),
            used: percent,
            limit: 100,
        }
    }
}
