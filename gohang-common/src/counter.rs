//! Counters that the kernel side keeps, one per-CPU array slot each.

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// A counter of the kernel side.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Counter { $($(#[doc = $doc])* $name,)* }

        impl Counter {
            /// Every counter, in slot order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Name as in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

counters! {
    /// Records that the kernel side wanted to send.
    Seen = "seen",
    /// Records that went into the ring.
    Submitted = "submitted",
    /// Records lost because the ring was full.
    RingFull = "ring_full",
    /// Records lost because a state map was full.
    MapFull = "map_full",
    /// Histogram updates lost because their map was full.
    HistogramFull = "histogram_full",
    /// Signals first sent before the window opened or before their process was
    /// traced: they belong to no episode.
    BeforeWindow = "before_window",
    /// Parked threads beyond what a CPU's list holds: their park is taken to
    /// end at the next switch-in.
    ParkListFull = "park_list_full",
    /// Edges of run queues beyond what the map holds: waits on them count as
    /// run-queue time.
    RunQueuesFull = "run_queues_full",
    /// Run queues that the map took up.
    RunQueuesSeen = "run_queues_seen",
    /// Switch-ins that the kernel did not report; rebuilt from the scheduler's
    /// run-time account.
    SwitchInUnreported = "switch_in_unreported",
    /// Wake-ups that the kernel did not report; rebuilt from the scheduler's
    /// queueing time.
    WakeUnreported = "wake_unreported",
    /// Records of requests to yield, or of stops of the world, that were lost: among
    /// `ring_full` and `map_full`.
    ChainLost = "chain_lost",
    /// Transitions that found something impossible (the kinds follow).
    AnomaliesSeen = "anomalies_seen",
    /// Impossible: switched in while already on a CPU.
    InWhileOn = "in_while_on",
    /// Impossible: switched out while not on a CPU.
    OutWhileOff = "out_while_off",
    /// Impossible: a signal became visible later than the interval before the
    /// current one.
    LateGenerate = "late_generate",
    /// Impossible: components do not add up to the episode.
    SumMismatch = "sum_mismatch",
    /// Impossible: delivered, but never seen generated.
    DeliverUnmatched = "deliver_unmatched",
    /// Impossible: coalesced into a signal that is not pending.
    CoalesceUnmatched = "coalesce_unmatched",
    /// Impossible: out of quota for longer than was waited.
    OutTooLong = "out_too_long",
    /// Impossible: what should be a group's run queue on a CPU belongs to another.
    RunQueueMismatch = "run_queue_mismatch",
    /// Impossible: a stamp lies before the one that it must follow.
    ClockBackwards = "clock_backwards",
}

/// Number of counters.
pub const COUNTERS: usize = Counter::ALL.len();

impl Counter {
    /// Whether the counter counts something that cannot happen.
    #[must_use]
    pub const fn is_impossible(self) -> bool {
        self as u32 >= Self::InWhileOn as u32
    }
}
