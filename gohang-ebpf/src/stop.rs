//! Stops of the world: how long each took, and whom it waited for last.

use aya_ebpf::helpers::bpf_get_current_task;
use gohang_common::cause::{COMPONENTS, Component};
use gohang_common::record::{Header, Kind, Stop};
use gohang_common::runtime::{StopState, ThreadKey};
use gohang_common::thread::{Interval, Thread, reload, state};

use crate::chain::process_start;
use crate::emit;
use crate::go::Entry;
use crate::kernel::{element, namespace_tid};
use crate::maps::{CHAINS, STOPS};
use crate::threads::find;

#[inline(always)]
fn under_way(tgid: u32) -> Option<&'static mut StopState> {
    // SAFETY: map values stay valid while the program runs.
    STOPS.get_ptr_mut(tgid).map(|stop| unsafe { &mut *stop })
}

/// Entry of `stopTheWorldWithSema`. The runtime lets one thread stop the world at a time.
#[inline(always)]
pub fn begins(entry: &Entry) {
    let new = StopState {
        begin_ns: entry.now,
        tid: entry.tid,
        ..StopState::default()
    };
    if STOPS.insert(entry.tgid, &new, 0).is_err() {
        emit::chain_lost();
    }
}

/// Its return.
#[inline(always)]
pub fn complete(entry: &Entry) {
    if let Some(stop) = under_way(entry.tgid) {
        stop.stopped_ns = entry.now;
    }
}

/// Entry of `startTheWorldWithSema`.
#[inline(always)]
pub fn ends(entry: &Entry) {
    let Some(stop) = under_way(entry.tgid) else {
        return;
    };
    // The runtime's own clock readings leave out what its probes cost, and the wait for its
    // lock; `nanotime` is CLOCK_MONOTONIC, as ours is.
    let (begin_ns, stopped_ns) = (entry.rcx, entry.rdi);
    let fits = stop.begin_ns <= begin_ns && begin_ns <= stopped_ns && stopped_ns <= entry.now;
    if entry.runtime.stop_times != 0 && fits {
        stop.begin_ns = begin_ns;
        stop.stopped_ns = stopped_ns;
    }
    // SAFETY: a helper without preconditions.
    let start_ns = process_start(unsafe { bpf_get_current_task() });
    emit::chain(&Stop {
        header: Header::new(Kind::Stop, size_of::<Stop>()),
        process_start_ns: start_ns,
        begin_ns: stop.begin_ns,
        stopped_ns: stop.stopped_ns,
        started_ns: entry.now,
        last_ns: stop.last_ns,
        last_goid: stop.last_goid,
        parts: stop.parts,
        tgid: entry.tgid,
        tid: stop.tid,
        last_tid: stop.last_tid,
        pad: 0,
    });
    let _ = STOPS.remove(entry.tgid);
}

/// Entry of `gcstopm`. Who comes last before everybody has stopped is whom it waited for.
#[inline(always)]
pub fn thread_stops(entry: &Entry) {
    let Some(stop) = under_way(entry.tgid) else {
        return;
    };
    if stop.stopped_ns != 0 {
        return;
    }
    // SAFETY: a helper without preconditions.
    let task = unsafe { bpf_get_current_task() };
    stop.last_ns = entry.now;
    stop.last_tid = entry.tid;
    stop.last_goid = last_goroutine(entry.tgid, task, stop.begin_ns);
    stop.parts = [0; COMPONENTS];
    if let Some(thread) = find(task) {
        since(&mut stop.parts, thread, stop.begin_ns, entry.now);
    }
}

/// The goroutine that left the current thread since then, if one did.
#[inline(always)]
fn last_goroutine(tgid: u32, task: u64, since_ns: u64) -> u64 {
    let Some(tid) = namespace_tid(task) else {
        return 0;
    };
    match CHAINS.get_ptr(ThreadKey { tgid, tid }) {
        // SAFETY: map values stay valid while the program runs; the thread's own side
        // writes these.
        Some(chain) => unsafe {
            if (*chain).last_yield_ns >= since_ns {
                (*chain).last_goid
            } else {
                0
            }
        },
        None => 0,
    }
}

/// What a thread that is on a CPU did from `begin_ns` to `now`, as far as its last three
/// intervals reach back.
#[inline(always)]
fn since(parts: &mut [u64; COMPONENTS], thread: &Thread, begin_ns: u64, now: u64) {
    let open = reload(&thread.since_ns);
    if open != 0 && open <= now {
        let from = if open > begin_ns { open } else { begin_ns };
        parts[Component::Running as usize] = now.wrapping_sub(from);
    }
    add(parts, &thread.closed, begin_ns);
    add(parts, &thread.previous, begin_ns);
}

#[inline(always)]
fn add(parts: &mut [u64; COMPONENTS], interval: &Interval, begin_ns: u64) {
    let start = reload(&interval.start_ns);
    let end = reload(&interval.end_ns);
    if start == 0 || end <= begin_ns || end < start {
        return;
    }
    let from = if start > begin_ns { start } else { begin_ns };
    let length = end - from;
    let kind = reload(&interval.state);
    let unpark = reload(&interval.unpark_ns);
    let mut out = if kind == state::PARKED {
        if unpark == 0 || unpark >= end {
            length
        } else {
            unpark.saturating_sub(from)
        }
    } else {
        reload(&interval.out_ns)
    };
    if out > length {
        out = length;
    }
    parts[Component::Throttled as usize] += out;
    let rest = if kind == state::PARKED {
        Component::RunQueue as u64
    } else {
        u64::from(kind)
    };
    if let Some(part) = element(parts, rest) {
        *part += length - out;
    }
}
