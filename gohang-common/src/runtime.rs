//! What the kernel side knows of a process's Go runtime, and keeps of its requests to
//! yield. Written by user space: [`GoRuntime`]; by the kernel side: the others.

use crate::cause::COMPONENTS;
use crate::record::Request;

/// Addresses of a function's code, as the process has them: `start < a <= end` holds for
/// an address that a call from it returns to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Range {
    /// Its first byte.
    pub start: u64,
    /// The byte behind it.
    pub end: u64,
}

impl Range {
    /// Whether a call from the function returns to this address.
    #[inline(always)]
    #[must_use]
    pub const fn is_returned_to_at(&self, address: u64) -> bool {
        self.start < address && address <= self.end
    }
}

/// Functions that call the probed ones: indices of [`GoRuntime::callers`].
pub mod caller {
    /// `preemptone`, which calls `signalM`.
    pub const PREEMPTONE: usize = 0;
    /// `suspendG`, which calls `signalM`.
    pub const SUSPEND_G: usize = 1;
    /// `retake`, which calls `preemptone`.
    pub const RETAKE: usize = 2;
    /// `preemptall`, which calls `preemptone`.
    pub const PREEMPTALL: usize = 3;
    /// `gcControllerState.enlistWorker`, which calls `preemptone`.
    pub const ENLIST_WORKER: usize = 4;
    /// `stopTheWorldWithSema`, which calls `preemptall`.
    pub const STOP_THE_WORLD: usize = 5;
    /// `forEachP` or `forEachPInternal`, which calls `preemptall`.
    pub const FOR_EACH_P: usize = 6;
    /// `freezetheworld`, which calls `preemptall`.
    pub const FREEZE: usize = 7;
    /// How many.
    pub const COUNT: usize = 8;
}

/// Offset of a member that this version does not have, or that is not known of it.
pub const UNKNOWN_OFFSET: u32 = u32::MAX;

/// Where a process's Go runtime keeps what the preemption chain needs (bytes, or
/// [`UNKNOWN_OFFSET`]), and where its functions lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct GoRuntime {
    /// By [`caller`].
    pub callers: [Range; caller::COUNT],
    /// `g.goid`.
    pub g_goid: u32,
    /// `g.m`.
    pub g_m: u32,
    /// `m.procid`.
    pub m_procid: u32,
    /// `m.curg`.
    pub m_curg: u32,
    /// `m.p`.
    pub m_p: u32,
    /// `m.mallocing`.
    pub m_mallocing: u32,
    /// `m.preemptoff.len`.
    pub m_preemptoff_len: u32,
    /// `m.locks`.
    pub m_locks: u32,
    /// `m.signalPending`.
    pub m_signal_pending: u32,
    /// `p.m`.
    pub p_m: u32,
    /// `p.schedtick`.
    pub p_schedtick: u32,
    /// `p.sysmontick.schedtick`.
    pub p_sysmon_tick: u32,
    /// `p.sysmontick.schedwhen`.
    pub p_sysmon_when: u32,
    /// `g.atomicstatus`, where goroutines in system calls are not asked (1.26 and later).
    pub g_status: u32,
    /// 1 where `startTheWorldWithSema(now, w worldStop)` is handed the runtime's own times of
    /// the stop: `w.startedStopping` in rcx, `w.finishedStopping` in rdi (1.23 and later).
    pub stop_times: u32,
    /// Padding, zero.
    pub pad: u32,
}

/// A thread in its own PID namespace, which is how the runtime knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct ThreadKey {
    /// Process, root PID namespace.
    pub tgid: u32,
    /// Thread, its own PID namespace (`m.procid`).
    pub tid: u32,
}

/// A goroutine of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct GoroutineKey {
    /// Address of its `g`.
    pub g: u64,
    /// Process, root PID namespace.
    pub tgid: u32,
    /// Padding, zero.
    pub pad: u32,
}

/// The request that a thread's goroutine yield which is open, if `request.first_ns` is not
/// 0. The asking side writes it up to the send; from then on, as the runtime sends a thread
/// one signal at a time (`m.signalPending`), the thread's own side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Chain {
    /// What is known of it; its `end` is what it would be if nothing followed.
    pub request: Request,
    /// Address of the P whose slice it is about.
    pub p: u64,
    /// The P's tick: another one is another slice.
    pub tick: u32,
    /// 1 once the signal made the goroutine enter `asyncPreempt`.
    pub injected: u8,
    /// 1 while a request is being begun.
    pub opening: u8,
    /// 1 from a send to its delivery by the kernel, 2 from then until the runtime's handler
    /// runs, else 0.
    pub in_flight: u16,
    /// The goroutine that yielded on the thread last, 0 if none did.
    pub last_goid: u64,
    /// When.
    pub last_yield_ns: u64,
}

/// The stop of the world that is under way in a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StopState {
    /// Entry of `stopTheWorldWithSema`.
    pub begin_ns: u64,
    /// Its return, 0 before.
    pub stopped_ns: u64,
    /// When a thread last stopped for it, 0 if none did.
    pub last_ns: u64,
    /// The goroutine that ran on it last.
    pub last_goid: u64,
    /// What it did since the begin, ns by component.
    pub parts: [u64; COMPONENTS],
    /// Thread that stops the others.
    pub tid: u32,
    /// Thread that stopped last.
    pub last_tid: u32,
}

/// What is counted by process: entries of probed functions, and requests that came to
/// nothing at once.
pub mod hit {
    /// `preemptone`.
    pub const PREEMPTONE: usize = 0;
    /// `signalM` for SIGURG.
    pub const SIGNAL_M: usize = 1;
    /// `doSigPreempt`.
    pub const DO_SIG_PREEMPT: usize = 2;
    /// `isAsyncSafePoint`.
    pub const IS_ASYNC_SAFE_POINT: usize = 3;
    /// `asyncPreempt`.
    pub const ASYNC_PREEMPT: usize = 4;
    /// Its way back.
    pub const RESUMED: usize = 5;
    /// `goschedImpl`.
    pub const GOSCHED_IMPL: usize = 6;
    /// `preemptPark`.
    pub const PREEMPT_PARK: usize = 7;
    /// `stopTheWorldWithSema`.
    pub const STOP_THE_WORLD: usize = 8;
    /// Its return.
    pub const WORLD_STOPPED: usize = 9;
    /// `startTheWorldWithSema`.
    pub const START_THE_WORLD: usize = 10;
    /// `gcstopm`.
    pub const GCSTOPM: usize = 11;
    /// Requests of a P without a goroutine that runs: nothing is to be done.
    pub const NOT_RUNNING: usize = 12;
    /// Requests that repeat one whose signal is under way.
    pub const REPEATED: usize = 13;
    /// Signals handled that no request is known of.
    pub const UNASKED: usize = 14;
    /// Signals handled whose request had ended by then.
    pub const LATE: usize = 15;
    /// Sends for a request whose signal had been sent before.
    pub const SENT_AGAIN: usize = 16;
    /// Sends whose request had ended by then.
    pub const SENT_LATE: usize = 17;
    /// Sends that no request is known of.
    pub const SENT_UNASKED: usize = 18;
    /// Signals handled for a request of which one had been handled before.
    pub const DELIVERED_AGAIN: usize = 19;
    /// How many.
    pub const COUNT: usize = 20;
    /// Names as in reports, by number.
    pub const NAMES: [&str; COUNT] = [
        "preemptone",
        "signal_m",
        "do_sig_preempt",
        "is_async_safe_point",
        "async_preempt",
        "resumed",
        "gosched_impl",
        "preempt_park",
        "stop_the_world",
        "world_stopped",
        "start_the_world",
        "gcstopm",
        "not_running",
        "repeated",
        "unasked",
        "late",
        "sent_again",
        "sent_late",
        "sent_unasked",
        "delivered_again",
    ];
}

/// Counts of one process by [`hit`].
pub type Hits = [u64; hit::COUNT];

const _: () = {
    assert!(size_of::<GoRuntime>() == 16 * caller::COUNT + 16 * 4);
    assert!(size_of::<Chain>() == size_of::<Request>() + 32);
    assert!(size_of::<StopState>() == 4 * 8 + 9 * 8 + 8);
    assert!(size_of::<GoroutineKey>() == 16 && size_of::<ThreadKey>() == 8);
};
