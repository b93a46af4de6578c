//! What a group did from period to period.

use std::time::{Duration, Instant};

use super::model::{CpuSlot, CpuStatistics};
use super::sample::grown;

/// Most slots that are kept of a group.
const MAX_SLOTS: usize = 4096;
/// Readings in a period: where it ends is known as exactly.
const READINGS: u32 = 20;
/// Shortest distance between two readings.
const MIN_STEP: Duration = Duration::from_millis(1);

/// Slots of a group, cut where its periods end, as far as readings tell: the kernel adds a wait
/// for quota to the throttled time when it is over, which is there, and quota comes anew there.
#[derive(Debug)]
pub(crate) struct Slots {
    period: Duration,
    since: Instant,
    before: CpuStatistics,
    slots: Vec<CpuSlot>,
}

impl Slots {
    /// From this reading on.
    pub(crate) fn new(period: Duration, first: CpuStatistics, at: Instant) -> Self {
        Self {
            period,
            since: at,
            before: first,
            slots: Vec::new(),
        }
    }

    /// How often a group with this period is to be read.
    pub(crate) fn step(period: Duration) -> Duration {
        (period / READINGS).max(MIN_STEP)
    }

    /// Takes a reading.
    pub(crate) fn take(&mut self, now: &CpuStatistics, at: Instant) {
        let grown = grown(&self.before, now);
        let length = at.duration_since(self.since);
        // A group that does nothing has no periods: its timer stands still, and starts in step
        // again (start_cfs_bandwidth, kernel/sched/fair.c).
        let is_over = match (grown.periods, grown.usage_ns) {
            (Some(1..), _) => true,
            (Some(0), Some(1..)) => length >= self.period * 2,
            _ => length >= self.period,
        };
        if !is_over {
            return;
        }
        // Version 1 counts usage only where cpuacct is in the same hierarchy.
        if let (Some(usage_ns), Some(throttled_periods), Some(throttled_ns)) =
            (grown.usage_ns, grown.throttled_periods, grown.throttled_ns)
            && self.slots.len() < MAX_SLOTS
        {
            self.slots.push(CpuSlot {
                usage_ns,
                throttled_periods,
                throttled_ns,
            });
        }
        self.since = at;
        self.before = now.clone();
    }

    /// Those so far.
    pub(crate) fn slots(&self) -> &[CpuSlot] {
        &self.slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_end_where_periods_do() {
        let begin = Instant::now();
        let reading = |periods, usage, throttled| CpuStatistics {
            periods: Some(periods),
            usage_ns: Some(usage),
            throttled_ns: Some(throttled),
            throttled_periods: Some(u64::from(throttled > 0)),
            ..CpuStatistics::default()
        };
        let mut slots = Slots::new(Duration::from_millis(100), reading(5, 100, 0), begin);
        let mut take = |ms, reading: CpuStatistics| {
            slots.take(&reading, begin + Duration::from_millis(ms));
            let last = slots.slots().last();
            (
                slots.slots().len(),
                last.map(|own| (own.usage_ns, own.throttled_ns)),
            )
        };
        assert_eq!(take(30, reading(5, 160, 0)), (0, None));
        // Its wait is told when the period ends, in the middle of a slot by the clock.
        assert_eq!(take(50, reading(6, 160, 20)), (1, Some((60, 20))));
        assert_eq!(take(140, reading(6, 195, 20)), (1, Some((60, 20))));
        assert_eq!(take(150, reading(7, 195, 20)), (2, Some((35, 0))));
        // Nothing to do, and no periods.
        assert_eq!(take(240, reading(7, 195, 20)), (2, Some((35, 0))));
        assert_eq!(take(250, reading(7, 195, 20)), (3, Some((0, 0))));
        // It begins again in the middle of a slot: that lasts until its period ends.
        assert_eq!(take(350, reading(7, 200, 20)), (3, Some((0, 0))));
        assert_eq!(take(360, reading(8, 205, 20)), (4, Some((10, 0))));
        // Of a group without a limit there are none.
        assert_eq!(take(550, reading(8, 300, 20)), (4, Some((10, 0))));
        assert_eq!(take(560, reading(8, 300, 20)), (5, Some((95, 0))));
    }
}
