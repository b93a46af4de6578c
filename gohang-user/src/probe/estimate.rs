//! How far the estimate of throttled time is from the exact steps.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Precision;
use crate::units::duration;

/// What an episode's throttled time may be off by: the 99th percentile of the thread with the
/// largest, in the worst of the suite's scenes (`gohang-tests`, `throttle::scenes`), which
/// holds the estimate against the exact step where both can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EstimateError {
    /// A thread that has its run queue to itself, nanoseconds.
    pub alone_p99_ns: u64,
    /// The same on kernels that park threads one by one (6.18 and later), which do so where the
    /// thread returns to user space: that is seen late.
    pub alone_parked_p99_ns: u64,
    /// A thread that waits behind others when its group runs out of quota, percent of the
    /// quota's period: all of its time out of quota may be called run queue.
    pub waiting_p99_period_percent: u64,
}

/// Measured at most: 24.4 us alone (the parent's quota, 6.1) and 35.5 ms of a period of 20 ms at
/// a quota of 4 ms (two groups below the quota, 6.12), on 5.10, 6.1 and 6.12: the whole time out
/// of quota in two periods running, in which the thread got no turn. On 6.18 and 7.3 alone at
/// most 4.0 ms (a group that is removed, 6.18): a tick of 250 Hz.
const MEASURED: EstimateError = EstimateError {
    alone_p99_ns: 50_000,
    alone_parked_p99_ns: 5_000_000,
    waiting_p99_period_percent: 200,
};

impl Precision {
    /// What this step may be off by; none if it is exact.
    #[must_use]
    pub fn estimate_error(self) -> Option<EstimateError> {
        (self == Self::SwitchPointEstimate).then_some(MEASURED)
    }
}

impl fmt::Display for EstimateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "right to {} at p99 for a thread that has its run queue to itself ({} from 6.18 on), and \
             to {} % of the quota's period for one that waits behind others when its group runs out",
            duration(self.alone_p99_ns),
            duration(self.alone_parked_p99_ns),
            self.waiting_p99_period_percent
        )
    }
}
