//! Components of an episode's time, its cause and its outcome.

/// Number of components, including the kinds of `blocked`.
pub const COMPONENTS: usize = 9;
/// Length of a component array: a power of two, so that an index can be
/// masked instead of checked (the verifier needs the bound in the code).
pub const COMPONENT_SLOTS: usize = 16;

/// A part of an episode's time. Together they add up to it.
///
/// The numbers are those of [`crate::thread::state`]: time in a state goes to
/// the component of the same number without a table or a branch, which keeps
/// the verifier's work small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Component {
    /// SIGURG is in the thread's blocked set.
    Masked = 0,
    /// On a CPU, signal not handled yet.
    Running = 1,
    /// Runnable, waiting for a CPU.
    RunQueue = 2,
    /// Runnable, but the cgroup is out of quota.
    Throttled = 3,
    /// Asleep, wakeable by signals.
    BlockedInterruptible = 4,
    /// Asleep in the kernel, not wakeable by this signal.
    BlockedUninterruptible = 5,
    /// Stopped by a job-control signal.
    BlockedStopped = 6,
    /// Stopped by a tracer.
    BlockedTraced = 7,
    /// In a frozen cgroup.
    BlockedFrozen = 8,
}

/// Components as sums by the five names that reports use, in the order that
/// settles ties of [`cause`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Nanoseconds out of quota.
    pub throttled: u64,
    /// Nanoseconds with SIGURG blocked.
    pub masked: u64,
    /// Nanoseconds not runnable, all kinds.
    pub blocked: u64,
    /// Nanoseconds runnable without a CPU.
    pub runqueue: u64,
    /// Nanoseconds on a CPU.
    pub running: u64,
}

/// The largest component of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Cause {
    /// Out of quota.
    Throttled = 0,
    /// SIGURG blocked.
    Masked = 1,
    /// Not runnable.
    Blocked = 2,
    /// Waiting for a CPU.
    RunQueue = 3,
    /// On a CPU.
    Running = 4,
}

/// Number of causes.
pub const CAUSES: usize = 5;

impl Cause {
    /// All causes in tie order.
    pub const ALL: [Self; CAUSES] = [
        Self::Throttled,
        Self::Masked,
        Self::Blocked,
        Self::RunQueue,
        Self::Running,
    ];

    /// The cause with this number, if there is one.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Throttled),
            1 => Some(Self::Masked),
            2 => Some(Self::Blocked),
            3 => Some(Self::RunQueue),
            4 => Some(Self::Running),
            _ => None,
        }
    }

    /// Name as in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Masked => "masked",
            Self::Blocked => "blocked",
            Self::RunQueue => "runqueue",
            Self::Running => "running",
        }
    }
}

/// Sums a component array by the names that reports use.
#[inline(always)]
#[must_use]
pub fn sums(parts: &[u64; COMPONENT_SLOTS]) -> Sums {
    Sums {
        throttled: parts[Component::Throttled as usize],
        masked: parts[Component::Masked as usize],
        blocked: parts[Component::BlockedInterruptible as usize]
            .wrapping_add(parts[Component::BlockedUninterruptible as usize])
            .wrapping_add(parts[Component::BlockedStopped as usize])
            .wrapping_add(parts[Component::BlockedTraced as usize])
            .wrapping_add(parts[Component::BlockedFrozen as usize]),
        runqueue: parts[Component::RunQueue as usize],
        running: parts[Component::Running as usize],
    }
}

impl Sums {
    /// The sum of all components in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub fn total(&self) -> u64 {
        self.throttled
            .wrapping_add(self.masked)
            .wrapping_add(self.blocked)
            .wrapping_add(self.runqueue)
            .wrapping_add(self.running)
    }
}

/// The largest component; ties in the order throttled, masked, blocked,
/// runqueue, running.
#[inline(always)]
#[must_use]
pub fn cause(sums: &Sums) -> Cause {
    let mut best = Cause::Throttled;
    let mut most = sums.throttled;
    if sums.masked > most {
        best = Cause::Masked;
        most = sums.masked;
    }
    if sums.blocked > most {
        best = Cause::Blocked;
        most = sums.blocked;
    }
    if sums.runqueue > most {
        best = Cause::RunQueue;
        most = sums.runqueue;
    }
    if sums.running > most {
        best = Cause::Running;
    }
    best
}

/// How an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// Its handler was entered.
    Delivered = 0,
    /// Dequeued by a thread that had no handler installed.
    DeliveredNoHandler = 1,
    /// The kernel dropped it at once (ignored, not blocked).
    Ignored = 2,
    /// The thread or process ended first.
    Exited = 3,
    /// Taken in a way no hook sees (signalfd, sigwait, a tracer).
    ConsumedUnseen = 4,
    /// Still pending when tracing ended.
    PendingAtEnd = 5,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 6] = [
        Self::Delivered,
        Self::DeliveredNoHandler,
        Self::Ignored,
        Self::Exited,
        Self::ConsumedUnseen,
        Self::PendingAtEnd,
    ];

    /// The outcome with this number, if there is one.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Delivered),
            1 => Some(Self::DeliveredNoHandler),
            2 => Some(Self::Ignored),
            3 => Some(Self::Exited),
            4 => Some(Self::ConsumedUnseen),
            5 => Some(Self::PendingAtEnd),
            _ => None,
        }
    }

    /// Name as in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::DeliveredNoHandler => "delivered_no_handler",
            Self::Ignored => "ignored",
            Self::Exited => "exited",
            Self::ConsumedUnseen => "consumed_unseen",
            Self::PendingAtEnd => "pending_at_end",
        }
    }

    /// Whether the signal reached the thread.
    #[must_use]
    pub const fn is_delivered(self) -> bool {
        matches!(self, Self::Delivered | Self::DeliveredNoHandler)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums_of(throttled: u64, masked: u64, blocked: u64, runqueue: u64, running: u64) -> Sums {
        Sums {
            throttled,
            masked,
            blocked,
            runqueue,
            running,
        }
    }

    #[test]
    fn cause_is_the_largest_with_ties_in_order() {
        let table = [
            (sums_of(0, 0, 0, 0, 0), Cause::Throttled),
            (sums_of(5, 5, 5, 5, 5), Cause::Throttled),
            (sums_of(4, 5, 5, 5, 5), Cause::Masked),
            (sums_of(4, 4, 5, 5, 5), Cause::Blocked),
            (sums_of(4, 4, 4, 5, 5), Cause::RunQueue),
            (sums_of(4, 4, 4, 4, 5), Cause::Running),
            (sums_of(1, 0, 0, 9, 3), Cause::RunQueue),
        ];
        for (input, want) in table {
            assert_eq!(cause(&input), want, "{input:?}");
        }
    }

    #[test]
    fn numbers_round_trip() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_u8(cause as u8), Some(cause));
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_u8(outcome as u8), Some(outcome));
        }
        assert_eq!(Cause::from_u8(5), None);
        assert_eq!(Outcome::from_u8(6), None);
    }

    #[test]
    fn every_blocked_kind_is_summed() {
        let mut parts = [0; COMPONENT_SLOTS];
        for (index, part) in parts.iter_mut().enumerate().take(COMPONENTS) {
            *part = 1 << index;
        }
        let sums = sums(&parts);
        assert_eq!(sums.total(), (1 << COMPONENTS) - 1);
        assert_eq!(sums.blocked, 0b1_1111_0000);
    }
}
