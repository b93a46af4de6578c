//! What an experiment is to do.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Period of every quota here, the kernel's default (`kernel/sched/sched.h`,
/// `default_bw_period_us`).
pub(crate) const PERIOD_NS: u64 = 100_000_000;

/// A quota and its period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub quota_ns: u64,
    pub period_ns: u64,
}

impl Quota {
    /// So many hundredths of a CPU.
    pub(crate) const fn percent(percent: u64) -> Self {
        Self {
            quota_ns: PERIOD_NS / 100 * percent,
            period_ns: PERIOD_NS,
        }
    }
}

/// How a signal is sent.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// `tgkill(2)` to the busy thread, as the Go runtime does.
    Tgkill,
    /// A byte of out-of-band data (`MSG_OOB`) on a TCP connection over loopback whose owner
    /// (`F_SETOWN`) is the process: the kernel sends, to the process.
    OutOfBand,
}

impl Method {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tgkill, Self::OutOfBand];

    /// As text has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tgkill => "tgkill",
            Self::OutOfBand => "MSG_OOB",
        }
    }

    /// As the processes of the experiment tell it each other; never that of fresh memory.
    pub(super) const fn code(self) -> u32 {
        match self {
            Self::Tgkill => 1,
            Self::OutOfBand => 2,
        }
    }

    pub(super) fn of_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.code() == code)
    }
}

/// Where a sender is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// In a process outside the group.
    Outside,
    /// In another thread of the signalled process, inside the group.
    Inside,
}

impl Origin {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Outside, Self::Inside];

    /// As text has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        }
    }
}

/// One run of an experiment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    /// The group's quota.
    pub quota: Option<Quota>,
    /// How each signal is sent.
    pub method: Method,
    /// Where there are senders.
    pub from: &'a [Origin],
    /// For how long they send.
    pub duration: Duration,
}

impl Plan<'_> {
    pub(super) fn has(&self, origin: Origin) -> bool {
        self.from.contains(&origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_told_and_fresh_memory_is_none() {
        for method in Method::ALL {
            assert_eq!(Method::of_code(method.code()), Some(method));
        }
        assert_eq!(Method::of_code(0), None);
    }

    #[test]
    fn hundredths_of_a_cpu_are_milliseconds_of_the_period() {
        assert_eq!(Quota::percent(10).quota_ns, 10_000_000);
        assert_eq!(Quota::percent(100).quota_ns, PERIOD_NS);
    }
}
