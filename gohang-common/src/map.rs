//! Keys and values of the maps that both sides touch.

use crate::thread::Pending;

/// Bytes of the process filter, one a process id (see `filter`).
///
/// The filter is an array map of blocks that user space maps into its memory,
/// so that both sides write single bytes and never each other's.
pub mod filter {
    /// Bytes a block of the array map.
    pub const BLOCK: usize = 65536;
    /// Nobody we trace.
    pub const FOREIGN: u8 = 0;
    /// Traced: user space decided, or the parent was.
    pub const TRACED: u8 = 1;
    /// Traced, and there may be something of it in the maps of Go programs.
    pub const GO: u8 = 2;
    /// Let through since its exec until user space decides. The low seven bits
    /// count execs, so that a decision about an earlier program never
    /// overwrites the state of a later one (compare and exchange).
    pub const PROVISIONAL: u8 = 0x80;
}

/// What a histogram holds. The first five are delivery latency by cause, with
/// the numbers of [`crate::cause::Cause`].
pub mod series {
    /// Stalls: runnable, but out of quota.
    pub const STALL: usize = 5;
    /// Run-queue waits.
    pub const RUN_QUEUE: usize = 6;
    /// Times that a group was out of quota on a CPU; of no process, so `tgid` is
    /// 0, and in place of its start time stands the id of the cgroup whose limit
    /// ran out.
    pub const SPAN: usize = 7;
    /// Number of series.
    pub const COUNT: usize = 8;
}

/// Key of one bucket of one histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct BucketKey {
    /// Start time of the process, CLOCK_MONOTONIC ns.
    pub process_start_ns: u64,
    /// Kernel id of the cgroup, 0 if unknown.
    pub cgroup_id: u64,
    /// Process, root PID namespace.
    pub tgid: u32,
    /// One of [`series`].
    pub series: u16,
    /// Slot (see [`crate::hist`]).
    pub slot: u16,
}

/// Key of the summary of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct SummaryKey {
    /// Start time of the process, CLOCK_MONOTONIC ns.
    pub process_start_ns: u64,
    /// Kernel id of the cgroup, 0 if unknown.
    pub cgroup_id: u64,
    /// Process, root PID namespace.
    pub tgid: u32,
    /// Padding, zero.
    pub pad: u32,
}

/// Count, sum and extremes of one series on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Moments {
    /// Number of values.
    pub count: u64,
    /// Their sum in ns.
    pub sum: u64,
    /// Smallest, ns; meaningless while `count` is zero.
    pub min: u64,
    /// Largest, ns.
    pub max: u64,
}

impl Moments {
    /// Counts a value, ns. The sum wraps.
    #[inline(always)]
    pub fn add(&mut self, value: u64) {
        if self.count == 0 || value < self.min {
            self.min = value;
        }
        if value > self.max {
            self.max = value;
        }
        self.count += 1;
        self.sum = self.sum.wrapping_add(value);
    }
}

/// Number of outcomes of [`crate::cause::Outcome`].
pub const OUTCOMES: usize = 6;

/// Totals of an owner on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Summary {
    /// By [`series`].
    pub series: [Moments; series::COUNT],
    /// Episodes by outcome.
    pub outcomes: [u64; OUTCOMES],
    /// Sends absorbed by pending episodes.
    pub coalesced: u64,
    /// Component sums over all delivered episodes, by
    /// [`crate::cause::Cause`]'s numbers, ns.
    pub parts_ns: [u64; crate::cause::CAUSES],
    /// Time on a CPU of all threads, ns.
    pub running_ns: u64,
    /// The kernel side's scratch word; means nothing.
    pub scratch: u64,
}

/// State of a traced process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessState {
    /// Start time of the process, CLOCK_MONOTONIC ns.
    pub start_ns: u64,
    /// The process's shared SIGURG.
    pub shared: Pending,
}

/// Where a Go version keeps what the goroutine id needs (bytes; written by user
/// space once it knows the version).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct GoOffsets {
    /// `g.goid`.
    pub goid: u32,
    /// `g.m`.
    pub m: u32,
    /// `m.procid`.
    pub procid: u32,
    /// Padding, zero.
    pub pad: u32,
}

/// Result of the self-test program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SelfTest {
    /// Times it ran.
    pub runs: u64,
    /// Times that pid or tgid differed from what the helper says.
    pub mismatches: u64,
    /// Last pair read through the offsets: tgid << 32 | pid.
    pub by_offset: u64,
    /// Last pair of `bpf_get_current_pid_tgid`.
    pub by_helper: u64,
}

/// Slots of a CPU's list of parked threads.
pub const PARK_SLOTS: usize = 64;

const _: () = {
    assert!(size_of::<BucketKey>() == 24);
    assert!(size_of::<SummaryKey>() == 24);
    assert!(size_of::<Moments>() == 32);
    assert!(size_of::<ProcessState>() == 32);
    assert!(size_of::<Summary>() == 8 * 32 + (OUTCOMES + 1 + 5 + 1 + 1) * 8);
    assert!(filter::BLOCK.is_power_of_two());
};
