//! Events that the kernel keeps from its tracepoints.
//!
//! Some kernels report no switch and no wake-up that happens while certain
//! protected threads are current: the next thread's switch-in is then missing,
//! and a sleeper's wake-up from an interrupt. What is missing shows at the next
//! transition and is rebuilt from the scheduler's own accounts.

use gohang_common::config::ABSENT;
use gohang_common::counter::Counter;
use gohang_common::thread::{Thread, is_asleep, reload, state};

use crate::emit;
use crate::kernel::{offset, probe};
use crate::threads::shared;

/// A wake-up this close to the switch-out is the race of one who is woken on
/// its way to sleep, not an unreported one (ns).
const RACE_NS: u64 = 20_000;

/// If the thread, which is on its CPU at `now`, was not seen to get it:
/// switches it in when the scheduler's run-time account says.
#[inline(never)]
pub fn make_up_switch_in(task: u64, thread: &mut Thread, now: u64) {
    if reload(&thread.state) == state::ON_CPU || reload(&thread.guessed) != 0 {
        return;
    }
    let total: u64 = probe(task, offset!(task_sum_exec)).unwrap_or(0);
    let before: u64 = probe(task, offset!(task_prev_sum_exec)).unwrap_or(0);
    let ran = total.wrapping_sub(before);
    let since = reload(&thread.since_ns);
    // The account leaves out stolen time, so the switch-in may have been
    // earlier, but not before the interval that it ended.
    let at = if ran <= now.wrapping_sub(since) {
        now - ran
    } else {
        since
    };
    let blocked = reload(&thread.blocked) != 0;
    let shared = shared(thread.tgid);
    thread.switch_in(at, blocked, shared);
    emit::add_waits(thread);
    emit::count(Counter::SwitchInUnreported);
}

/// If the thread, which gets a CPU at `now`, was asleep and not seen to be
/// woken: wakes it when the scheduler queued it.
#[inline(never)]
pub fn make_up_wake(task: u64, thread: &mut Thread, now: u64) {
    if !is_asleep(reload(&thread.state)) || reload(&thread.guessed) != 0 {
        return;
    }
    if offset!(task_last_queued) == ABSENT
        || offset!(task_cfs_rq) == ABSENT
        || offset!(cfs_rq_rq) == ABSENT
        || offset!(rq_clock) == ABSENT
    {
        return;
    }
    let cfs_rq: u64 = probe(task, offset!(task_cfs_rq)).unwrap_or(0);
    let rq: u64 = probe(cfs_rq, offset!(cfs_rq_rq)).unwrap_or(0);
    let clock: u64 = probe(rq, offset!(rq_clock)).unwrap_or(0);
    let queued: u64 = probe(task, offset!(task_last_queued)).unwrap_or(0);
    if queued == 0 || clock < queued {
        return;
    }
    let waited = clock - queued;
    let slept = now.wrapping_sub(reload(&thread.since_ns));
    if slept < RACE_NS || waited > slept - RACE_NS {
        return;
    }
    let shared = shared(thread.tgid);
    thread.wake(now - waited, false, shared);
    emit::count(Counter::WakeUnreported);
}
