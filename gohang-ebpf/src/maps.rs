//! The maps. Sizes are defaults; user space may set others before loading.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use gohang_common::bandwidth::CfsRq;
use gohang_common::counter::COUNTERS;
use gohang_common::map::{
    BucketKey, GoOffsets, PARK_SLOTS, ProcessState, SelfTest, Summary, SummaryKey, filter,
};
use gohang_common::record::Request;
use gohang_common::runtime::{Chain, GoRuntime, GoroutineKey, Hits, StopState, ThreadKey};
use gohang_common::thread::Thread;

use crate::emit::End;

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h): user space maps the filter and
/// writes single bytes of it.
const MMAPABLE: u32 = 1 << 10;

/// Process filter, a byte a process id (see [`filter`]).
#[map]
pub static FILTER: Array<[u8; filter::BLOCK]> = Array::with_max_entries(64, MMAPABLE);

/// Traced threads by the address of their task: that address is the one thing
/// that stays the same when a thread that is not the leader executes a program
/// and takes the leader's id over.
#[map]
pub static THREADS: HashMap<u64, Thread> = HashMap::with_max_entries(16384, 0);

/// Traced processes by tgid.
#[map]
pub static PROCESSES: HashMap<u32, ProcessState> = HashMap::with_max_entries(8192, 0);

/// Go struct offsets by tgid, written by user space.
#[map]
pub static GO: HashMap<u32, GoOffsets> = HashMap::with_max_entries(8192, 0);

/// Go runtimes by tgid, written by user space: a process without one has no chain.
#[map]
pub static RUNTIMES: HashMap<u32, GoRuntime> = HashMap::with_max_entries(8192, 0);

/// The open request of each thread.
#[map]
pub static CHAINS: HashMap<ThreadKey, Chain> = HashMap::with_max_entries(16384, 0);

/// Requests whose goroutine has yielded and not run again.
#[map]
pub static YIELDED: HashMap<GoroutineKey, Request> = HashMap::with_max_entries(16384, 0);

/// Stops of the world under way, by tgid.
#[map]
pub static STOPS: HashMap<u32, StopState> = HashMap::with_max_entries(8192, 0);

/// Counts of [`gohang_common::runtime::hit`] by tgid, made and removed by user space.
#[map]
pub static HITS: HashMap<u32, Hits> = HashMap::with_max_entries(8192, 0);

/// A chain to insert, and a record to send: too large for the stack.
#[map]
pub static NEW_CHAIN: PerCpuArray<Chain> = PerCpuArray::with_max_entries(1, 0);

/// Buckets of all histograms; only those that hold something.
#[map]
pub static BUCKETS: HashMap<BucketKey, u64> = HashMap::with_max_entries(65536, 0);

/// Counts, sums and extremes.
#[map]
pub static SUMMARIES: PerCpuHashMap<SummaryKey, Summary> = PerCpuHashMap::with_max_entries(4096, 0);

/// See [`gohang_common::counter`].
#[map]
pub static COUNTERS_MAP: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS as u32, 0);

/// Threads parked on a CPU, by task address.
#[repr(C)]
pub struct ParkList {
    /// Slots in use.
    pub len: u64,
    /// Where the next look at a single one goes.
    pub next: u64,
    /// Task addresses.
    pub tasks: [u64; PARK_SLOTS],
}

/// The list of each CPU; only its own CPU writes it, with interrupts off.
#[map]
pub static PARKED: PerCpuArray<ParkList> = PerCpuArray::with_max_entries(1, 0);

/// Run queues of groups that have been out of quota, by address.
#[map]
pub static CFS_RQS: HashMap<u64, CfsRq> = HashMap::with_max_entries(8192, 0);

/// An empty one to insert; never written.
#[map]
pub static EMPTY_CFS_RQ: Array<CfsRq> = Array::with_max_entries(1, 0);

/// Records for user space.
#[map]
pub static RECORDS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// When the window opened, ns; 0 while it is closed.
#[map]
pub static WINDOW: Array<u64> = Array::with_max_entries(1, 0);

/// Result of the self-test.
#[map]
pub static SELF_TEST: Array<SelfTest> = Array::with_max_entries(1, 0);

/// Which of a CPU's scratch values a program uses: an interrupt's programs must
/// not write what a program that it interrupts is filling in.
pub mod scratch {
    /// Programs that run with interrupts off.
    pub const ATOMIC: u32 = 0;
    /// Programs that run with interrupts on: fork, exec, exit.
    pub const PREEMPTED: u32 = 1;
}

/// A thread to insert: too large for the stack. Fields that `threads::create`
/// does not set stay zero for ever.
#[map]
pub static NEW_THREAD: PerCpuArray<Thread> = PerCpuArray::with_max_entries(2, 0);

/// The end of the episode that is being told: see [`End`].
#[map]
pub static END: PerCpuArray<End> = PerCpuArray::with_max_entries(2, 0);

/// An empty summary to insert; never written.
#[map]
pub static EMPTY_SUMMARY: Array<Summary> = Array::with_max_entries(1, 0);
