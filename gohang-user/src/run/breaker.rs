//! When a command counts as hung.

use std::time::Duration;

/// Thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    /// Longest run.
    pub timeout: Option<Duration>,
    /// Longest time without progress.
    pub idle_timeout: Option<Duration>,
    /// Longest time without progress under throttling, for want of memory or of tasks.
    pub stall_window: Option<Duration>,
    /// Periods out of quota within that time that count as throttling.
    pub throttled_periods: u64,
    /// Part of wall time out of quota, within `throttled_for`, that is said.
    pub throttled_share: f64,
    /// How long that must be.
    pub throttled_for: Duration,
    /// Part of the memory limit that is said, and that counts as want of memory.
    pub memory_share: f64,
    /// CPU time from which on it can be progress, as a part of one CPU.
    pub useful_cpu: f64,
    /// Time without progress after which that is said.
    pub slow_after: Option<Duration>,
    /// How often it is looked.
    pub sample_every: Duration,
    /// Time to watch for progress with the CPU limit lifted; `None`: it is lifted for what
    /// comes then, and not watched.
    pub lift: Option<Duration>,
    /// Time for Go programs to print their goroutines; `None`: they are not asked to.
    pub dump_time: Option<Duration>,
    /// Time from SIGTERM to SIGKILL.
    pub grace: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            timeout: None,
            idle_timeout: None,
            stall_window: Some(Duration::from_secs(60)),
            throttled_periods: 20,
            throttled_share: 0.5,
            throttled_for: Duration::from_secs(10),
            memory_share: 0.8,
            useful_cpu: 0.01,
            slow_after: Some(Duration::from_secs(60)),
            sample_every: Duration::from_millis(500),
            lift: Some(Duration::from_secs(5)),
            dump_time: Some(Duration::from_secs(10)),
            grace: Duration::from_secs(10),
        }
    }
}

impl Breaker {
    /// Most time from the decision to SIGKILL, as far as options bound it.
    #[must_use]
    pub fn ending(&self) -> Duration {
        let steps = [self.lift, self.dump_time, Some(self.grace)];
        steps.into_iter().flatten().sum()
    }

    /// The longest time that any threshold looks back.
    #[must_use]
    pub fn looks_back(&self) -> Duration {
        [
            self.stall_window,
            self.idle_timeout,
            Some(self.throttled_for),
        ]
        .into_iter()
        .flatten()
        .max()
        .unwrap_or_default()
    }
}
