//! Requests that a goroutine yield, step by step: one record each, at its end.
//!
//! A request is of a thread and the slice of the P that it runs (`p.schedtick`). Up to the
//! send the asking side writes it; behind it, the thread's own side: the runtime sends a
//! thread one signal at a time (`m.signalPending`).

use aya_ebpf::helpers::bpf_get_current_task;
use gohang_common::chain::{Asker, RequestEnd};
use gohang_common::record::{
    Header, Kind, REQUEST_CARRIED, REQUEST_GOID, REQUEST_LATE, REQUEST_SENT_AGAIN, Request,
};
use gohang_common::runtime::{
    Chain, GoRuntime, GoroutineKey, ThreadKey, UNKNOWN_OFFSET, caller, hit,
};
use gohang_common::thread::{Thread, reload};

use crate::emit;
use crate::go::{Entry, count};
use crate::kernel::{namespace_tid, offset, probe, probe_user};
use crate::maps::{CHAINS, NEW_CHAIN, RUNTIMES, YIELDED};
use crate::signal::publish;
use crate::threads::find;

/// `forcePreemptNS` (runtime/proc.go, 1.14 to 1.27).
const SLICE_NS: u64 = 10_000_000;
/// `_Gsyscall` and `_Gscan` (runtime/runtime2.go, 1.14 to 1.27).
const SYSCALL: u32 = 3;
const SCAN: u32 = 0x1000;
/// A request that repeats itself without an answer is told this often, ns.
const TELL_EVERY_NS: u64 = 100_000_000;

/// Who calls the function that is entered: by its return address, and for `preemptall` by
/// that one's own, which lies behind the saved frame pointer.
#[inline(always)]
fn asker(entry: &Entry) -> Asker {
    let callers = &entry.runtime.callers;
    let to = probe_user::<u64>(entry.rsp, 0).unwrap_or(0);
    if callers[caller::RETAKE].is_returned_to_at(to) {
        return Asker::Retake;
    }
    if callers[caller::ENLIST_WORKER].is_returned_to_at(to) {
        return Asker::EnlistWorker;
    }
    if callers[caller::SUSPEND_G].is_returned_to_at(to) {
        return Asker::Suspend;
    }
    if !callers[caller::PREEMPTALL].is_returned_to_at(to) {
        return Asker::Other;
    }
    let above = probe_user::<u64>(entry.rbp, 8).unwrap_or(0);
    if callers[caller::STOP_THE_WORLD].is_returned_to_at(above) {
        Asker::StopTheWorld
    } else if callers[caller::FOR_EACH_P].is_returned_to_at(above) {
        Asker::ForEachP
    } else if callers[caller::FREEZE].is_returned_to_at(above) {
        Asker::Freeze
    } else {
        Asker::Other
    }
}

/// What a request is about.
struct Slice {
    key: ThreadKey,
    p: u64,
    tick: u32,
    goid: u64,
    goid_known: bool,
}

/// The slice of a P on a thread, if a goroutine runs there.
#[inline(always)]
fn slice(runtime: &GoRuntime, tgid: u32, m: u64, p: u64) -> Option<Slice> {
    let procid = probe_user::<u64>(m, runtime.m_procid)?;
    let g = probe_user::<u64>(m, runtime.m_curg)?;
    if g == 0 || procid == 0 || procid > u64::from(u32::MAX) {
        return None;
    }
    // Whoever asks need not ask itself (preemptone, proc.go).
    // SAFETY: a helper without preconditions.
    if namespace_tid(unsafe { bpf_get_current_task() }) == Some(procid as u32) {
        return None;
    }
    // From 1.26 on, the P of a goroutine in a system call is not asked.
    if runtime.g_status != UNKNOWN_OFFSET
        && probe_user::<u32>(g, runtime.g_status).unwrap_or(0) & !SCAN == SYSCALL
    {
        return None;
    }
    let goid = probe_user::<u64>(g, runtime.g_goid);
    // The goroutine's own thread must be that thread.
    let goid_known = goid.is_some() && probe_user::<u64>(g, runtime.g_m) == Some(m);
    Some(Slice {
        key: ThreadKey {
            tgid,
            tid: procid as u32,
        },
        p,
        tick: probe_user::<u32>(p, runtime.p_schedtick).unwrap_or(0),
        goid: goid.unwrap_or(0),
        goid_known,
    })
}

/// The state of a thread's requests, made if need be.
#[inline(always)]
fn chain_of(key: ThreadKey) -> Option<&'static mut Chain> {
    if let Some(found) = CHAINS.get_ptr_mut(key) {
        // SAFETY: map values stay valid while the program runs.
        return Some(unsafe { &mut *found });
    }
    let new = NEW_CHAIN.get_ptr_mut(0)?;
    // SAFETY: this CPU's value, written here only and never changed.
    let _ = CHAINS.insert(key, unsafe { &*new }, 1);
    let found = CHAINS.get_ptr_mut(key);
    if found.is_none() {
        emit::chain_lost();
    }
    // SAFETY: as above.
    found.map(|found| unsafe { &mut *found })
}

/// The state of the current thread's requests, if there is any.
#[inline(always)]
fn own(entry: &Entry) -> Option<&'static mut Chain> {
    // SAFETY: a helper without preconditions.
    let tid = namespace_tid(unsafe { bpf_get_current_task() })?;
    let key = ThreadKey {
        tgid: entry.tgid,
        tid,
    };
    // SAFETY: as above.
    CHAINS.get_ptr_mut(key).map(|found| unsafe { &mut *found })
}

/// A thread of the process ends, and its request with it.
#[inline(always)]
pub fn thread_ends(tgid: u32, task: u64, now: u64) {
    let Some(tid) = namespace_tid(task) else {
        return;
    };
    let key = ThreadKey { tgid, tid };
    // SAFETY: as above.
    let Some(chain) = CHAINS.get_ptr_mut(key).map(|found| unsafe { &mut *found }) else {
        return;
    };
    if chain.request.first_ns != 0 {
        close(chain, RequestEnd::Exited, now);
    }
    let _ = CHAINS.remove(key);
}

/// A signal of a request is on its way to the thread; the kernel has delivered it, and the
/// runtime's handler has not run yet ([`Chain::in_flight`]).
const SENT: u16 = 1;
const TAKEN: u16 = 2;

/// The current thread is about to run its handler for the signal.
#[inline(always)]
pub fn taken(thread: &Thread) {
    let key = ThreadKey {
        tgid: thread.tgid,
        tid: thread.own_tid,
    };
    if RUNTIMES.get_ptr(key.tgid).is_none() || key.tid == 0 {
        return;
    }
    if let Some(chain) = CHAINS.get_ptr_mut(key) {
        // SAFETY: map values stay valid while the program runs.
        let chain = unsafe { &mut *chain };
        if reload(&chain.in_flight) == SENT {
            chain.in_flight = TAKEN;
        }
    }
}

/// Whether a request has begun and not been closed.
#[inline(always)]
fn is_open(request: &mut Request) -> bool {
    reload(&request.first_ns) != 0
}

/// Empties what a request is answered with, once it is told. Not when the next one begins:
/// that one's answers may come before it is written down.
#[inline(always)]
fn forget(request: &mut Request) {
    request.first_ns = 0;
    request.sent_ns = 0;
    request.delivered_ns = 0;
    request.yielded_ns = 0;
    request.pc = 0;
    request.repeats = 0;
}

const NOT_SENT: u8 = RequestEnd::NotSent as u8;

/// Sends what is known of an open request and closes it.
#[inline(always)]
fn close(chain: &mut Chain, end: RequestEnd, now: u64) {
    chain.request.end = end as u8;
    chain.request.end_ns = now;
    let first_ns = &raw mut chain.request.first_ns;
    // As it is told.
    let (mut sent, mut is_late) = (0, 0);
    emit::chain_if(&chain.request, |request| {
        publish(first_ns, 0);
        // The thread itself may have come to its handler since, on another CPU, and whoever
        // asked to its send.
        if reload(&request.delivered_ns) > now {
            request.delivered_ns = 0;
            request.pc = 0;
            is_late = 1;
        }
        if reload(&request.sent_ns) > now {
            request.sent_ns = 0;
        }
        sent = reload(&request.sent_ns);
        // A send writes its own end over this one, which stands only for what was not sent
        // when it was looked at.
        if reload(&request.delivered_ns) == 0 && (sent == 0 || end as u8 != NOT_SENT) {
            request.end = end as u8;
        }
        is_open(request)
    });
    let late_send = reload(&sent) == 0 && reload(&chain.request.sent_ns) != 0;
    forget(&mut chain.request);
    if reload(&is_late) != 0 {
        count(chain.request.tgid, hit::LATE);
    }
    if late_send {
        // Whoever asked sent it meanwhile.
        count(chain.request.tgid, hit::SENT_LATE);
    }
}

/// The end that an open request has if nothing more comes of it. What was delivered
/// has its own already.
#[inline(always)]
fn end_so_far(chain: &Chain, same_slice: bool) -> RequestEnd {
    let request = &chain.request;
    if request.delivered_ns != 0 {
        return match request.end {
            end if end == RequestEnd::WrongGoroutine as u8 => RequestEnd::WrongGoroutine,
            end if end == RequestEnd::ThreadState as u8 => RequestEnd::ThreadState,
            end if end == RequestEnd::UnsafePoint as u8 => RequestEnd::UnsafePoint,
            end if end == RequestEnd::YieldedAsync as u8 => RequestEnd::YieldedAsync,
            _ => RequestEnd::NotWanted,
        };
    }
    let is_pending = request.end == RequestEnd::AlreadyPending as u8;
    if reload(&chain.in_flight) == TAKEN && (request.sent_ns != 0 || is_pending) {
        return RequestEnd::NoHandler;
    }
    if same_slice {
        if request.sent_ns != 0 || request.end == RequestEnd::AlreadyPending as u8 {
            RequestEnd::AlreadyPending
        } else {
            RequestEnd::NotSent
        }
    } else if request.sent_ns != 0 {
        RequestEnd::Superseded
    } else {
        RequestEnd::YieldedCooperatively
    }
}

/// Opens a request, or adds to the open one. Whether it is a new one.
#[inline(always)]
fn open(entry: &Entry, slice: &Slice, asker: Asker, pending: bool) -> Option<&'static mut Chain> {
    let chain = chain_of(slice.key)?;
    if reload(&chain.opening) != 0 {
        // Another CPU asks for the same at this moment.
        repeat(entry, chain);
        return Some(chain);
    }
    let mut start = Start {
        first_ns: entry.now,
        sent_ns: 0,
        end: if pending {
            RequestEnd::AlreadyPending
        } else {
            RequestEnd::NotSent
        },
    };
    if chain.request.first_ns != 0 {
        let same_slice = chain.p == slice.p && chain.tick == slice.tick;
        let same = same_slice && is_of(&chain.request, slice);
        let delivered = chain.request.delivered_ns != 0;
        if same && !delivered && entry.now < chain.request.requested_ns + TELL_EVERY_NS {
            repeat(entry, chain);
            return Some(chain);
        }
        if same {
            start.first_ns = chain.request.first_ns;
        }
        let sent_ns = chain.request.sent_ns;
        close(chain, end_so_far(chain, same), entry.now);
        if same && !delivered {
            // The signal is still on its way.
            start.sent_ns = sent_ns;
            if sent_ns != 0 {
                start.end = RequestEnd::AlreadyPending;
            }
        }
    }
    begin(entry, chain, slice, asker, &start);
    Some(chain)
}

/// How a request begins.
struct Start {
    /// First request for this slice.
    first_ns: u64,
    /// When the signal that is under way was sent, 0 if none is known of.
    sent_ns: u64,
    /// Its end if nothing comes of it.
    end: RequestEnd,
}

/// A request that an open one stands for.
#[inline(always)]
fn repeat(entry: &Entry, chain: &mut Chain) {
    chain.request.repeats = chain.request.repeats.wrapping_add(1);
    count(entry.tgid, hit::REPEATED);
}

/// Whether a request is about the goroutine that runs now, as far as both are known. One
/// that takes over another's slice (inheritTime of execute, proc.go) is asked anew.
#[inline(always)]
fn is_of(request: &Request, slice: &Slice) -> bool {
    request.flags & REQUEST_GOID == 0 || !slice.goid_known || request.goid == slice.goid
}

/// Start time of a task's process, CLOCK_MONOTONIC ns.
#[inline(always)]
pub fn process_start(task: u64) -> u64 {
    let leader = probe::<u64>(task, offset!(task_group_leader)).unwrap_or(0);
    probe::<u64>(leader, offset!(task_start_time)).unwrap_or(0)
}

/// A member of a structure, 0 where its offset is not known or it cannot be read.
#[inline(always)]
fn member<T: Copy + Default>(address: u64, offset: u32) -> T {
    if offset == UNKNOWN_OFFSET {
        return T::default();
    }
    probe_user::<T>(address, offset).unwrap_or_default()
}

/// Writes a request down that nothing is open of. What it is answered with is empty
/// ([`close`]), or has come already.
#[inline(always)]
fn begin(entry: &Entry, chain: &mut Chain, slice: &Slice, asker: Asker, start: &Start) {
    chain.opening = 1;
    // SAFETY: a helper without preconditions.
    let current = unsafe { bpf_get_current_task() };
    let waits = find(current).map(|thread| &thread.waits);
    let late = if asker as u8 == Asker::Retake as u8 {
        lateness(entry, slice)
    } else {
        None
    };
    chain.p = slice.p;
    chain.tick = slice.tick;
    chain.injected = 0;
    let request = &mut chain.request;
    request.header = Header::new(Kind::Request, size_of::<Request>());
    request.process_start_ns = process_start(current);
    request.requested_ns = entry.now;
    request.goid = slice.goid;
    request.late_ns = late.unwrap_or(0);
    request.sender_throttled_ns = waits.map_or(0, |waits| waits.woken_stall_ns);
    request.sender_runqueue_ns = waits.map_or(0, |waits| waits.woken_runqueue_ns);
    request.tgid = entry.tgid;
    request.sender_tid = entry.tid;
    request.asker = asker as u8;
    request.end = start.end as u8;
    request.flags = if slice.goid_known { REQUEST_GOID } else { 0 }
        | if late.is_some() { REQUEST_LATE } else { 0 };
    // A send that came just after its request was closed may have left its time here.
    request.sent_ns = start.sent_ns;
    if start.sent_ns != 0 {
        request.flags |= REQUEST_CARRIED;
    }
    if request.tid == 0 && namespace_tid(current) == Some(entry.tid) {
        // The process lives in the root PID namespace: ids are the same.
        request.tid = slice.key.tid;
    }
    publish(&raw mut request.first_ns, start.first_ns);
    chain.opening = 0;
}

/// How long the slice has been over for, by sysmon's own clock: since it first saw it.
#[inline(always)]
fn lateness(entry: &Entry, slice: &Slice) -> Option<u64> {
    let runtime = entry.runtime;
    let tick = probe_user::<u32>(slice.p, runtime.p_sysmon_tick)?;
    let when = probe_user::<u64>(slice.p, runtime.p_sysmon_when)?;
    if tick != slice.tick || when == 0 {
        return None;
    }
    entry.now.checked_sub(when)?.checked_sub(SLICE_NS)
}

/// Entry of `preemptone(p)`.
#[inline(always)]
pub fn requested(entry: &Entry) {
    let runtime = entry.runtime;
    let p = entry.rax;
    let m = probe_user::<u64>(p, runtime.p_m).unwrap_or(0);
    let found = if m == 0 {
        None
    } else {
        slice(runtime, entry.tgid, m, p)
    };
    let Some(found) = found else {
        count(entry.tgid, hit::NOT_RUNNING);
        return;
    };
    let pending = member::<u32>(m, runtime.m_signal_pending) != 0;
    open(entry, &found, asker(entry), pending);
}

/// Entry of `signalM(m, SIGURG)`.
#[inline(always)]
pub fn sent(entry: &Entry) {
    let runtime = entry.runtime;
    let m = entry.rax;
    let p = probe_user::<u64>(m, runtime.m_p).unwrap_or(0);
    let asker = asker(entry);
    if asker as u8 == Asker::Suspend as u8 {
        if let Some(found) = slice(runtime, entry.tgid, m, p) {
            if let Some(chain) = open(entry, &found, asker, false) {
                send(entry, chain);
            }
        } else {
            count(entry.tgid, hit::SENT_UNASKED);
        }
        return;
    }
    let Some(procid) = probe_user::<u64>(m, runtime.m_procid) else {
        return;
    };
    let key = ThreadKey {
        tgid: entry.tgid,
        tid: procid as u32,
    };
    // SAFETY: map values stay valid while the program runs.
    if let Some(chain) = CHAINS.get_ptr_mut(key).map(|found| unsafe { &mut *found }) {
        send(entry, chain);
    } else {
        count(entry.tgid, hit::SENT_UNASKED);
    }
}

#[inline(always)]
fn send(entry: &Entry, chain: &mut Chain) {
    chain.in_flight = SENT;
    if chain.request.first_ns == 0 {
        // The goroutine has yielded since it was asked.
        count(entry.tgid, hit::SENT_LATE);
        return;
    }
    // An older signal of the thread may have answered it already.
    if chain.request.sent_ns != 0 || reload(&chain.request.delivered_ns) != 0 {
        chain.request.flags |= REQUEST_SENT_AGAIN;
        count(entry.tgid, hit::SENT_AGAIN);
        return;
    }
    chain.request.sent_ns = entry.now;
    chain.request.end = RequestEnd::AlreadyPending as u8;
}

/// Entry of `doSigPreempt(g, ...)`.
#[inline(always)]
pub fn handled(entry: &Entry) {
    let Some(chain) = own(entry) else {
        count(entry.tgid, hit::UNASKED);
        return;
    };
    let in_flight = chain.in_flight != 0;
    chain.in_flight = 0;
    if chain.request.first_ns != 0 && (chain.request.sent_ns != 0 || in_flight) {
        if chain.request.delivered_ns != 0 {
            count(entry.tgid, hit::DELIVERED_AGAIN);
        }
        chain.request.tid = entry.tid;
        chain.request.delivered_ns = entry.now;
        chain.request.end = RequestEnd::NotWanted as u8;
    } else if in_flight {
        // Its request has ended: the goroutine had yielded by itself.
        count(entry.tgid, hit::LATE);
    } else {
        count(entry.tgid, hit::UNASKED);
    }
}

/// Entry of `isAsyncSafePoint(g, pc, ...)`.
#[inline(always)]
pub fn checked(entry: &Entry) {
    let Some(chain) = own(entry) else { return };
    if chain.request.first_ns == 0 || chain.request.delivered_ns == 0 {
        return;
    }
    chain.request.pc = entry.rbx;
    let runtime = entry.runtime;
    let m = probe_user::<u64>(entry.rax, runtime.g_m).unwrap_or(0);
    let end = if probe_user::<u64>(m, runtime.m_curg) != Some(entry.rax) {
        RequestEnd::WrongGoroutine
    } else if member::<u32>(m, runtime.m_locks) != 0
        || member::<u32>(m, runtime.m_mallocing) != 0
        || member::<u64>(m, runtime.m_preemptoff_len) != 0
    {
        RequestEnd::ThreadState
    } else {
        RequestEnd::UnsafePoint
    };
    chain.request.end = end as u8;
    // The P is asked: a goroutine that took over the slice meanwhile (inheritTime of
    // execute, proc.go) yields in place of the one that ran it then.
    if end as u8 != RequestEnd::WrongGoroutine as u8
        && let Some(goid) = probe_user::<u64>(entry.rax, runtime.g_goid)
    {
        chain.request.goid = goid;
        chain.request.flags |= REQUEST_GOID;
    }
}

/// Entry of `asyncPreempt`.
#[inline(always)]
pub fn injected(entry: &Entry) {
    if let Some(chain) = own(entry)
        && chain.request.first_ns != 0
    {
        chain.injected = 1;
        chain.request.end = RequestEnd::YieldedAsync as u8;
    }
}

/// Entry of `goschedImpl(g, ...)` or `preemptPark(g)`.
#[inline(always)]
pub fn yielded(entry: &Entry) {
    let Some(chain) = own(entry) else { return };
    if chain.request.first_ns == 0 {
        return;
    }
    chain.request.tid = entry.tid;
    chain.request.yielded_ns = entry.now;
    chain.last_yield_ns = entry.now;
    chain.last_goid = probe_user::<u64>(entry.rax, entry.runtime.g_goid).unwrap_or(0);
    if chain.injected == 0 {
        close(chain, RequestEnd::YieldedCooperatively, entry.now);
        return;
    }
    chain.request.end = RequestEnd::YieldedAsync as u8;
    chain.request.end_ns = entry.now;
    let key = GoroutineKey {
        g: entry.rax,
        tgid: entry.tgid,
        pad: 0,
    };
    // Told when it runs again; where that cannot be kept, now.
    if YIELDED.insert(key, &chain.request, 0).is_err() {
        emit::chain_if(&chain.request, is_open);
    }
    forget(&mut chain.request);
}

/// Back in `asyncPreempt`: the goroutine runs again.
#[inline(always)]
pub fn resumed(entry: &Entry) {
    let key = GoroutineKey {
        g: entry.r14,
        tgid: entry.tgid,
        pad: 0,
    };
    let Some(request) = YIELDED.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: map values stay valid while the program runs; a goroutine runs on one
    // thread at a time.
    let request = unsafe { &mut *request };
    request.resumed_ns = entry.now;
    request.end_ns = entry.now;
    emit::chain_if(&*request, is_open);
    let _ = YIELDED.remove(key);
}
