//! Switches and wake-ups.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gohang_common::abi::SIGURG_BIT;
use gohang_common::config::throttle;
use gohang_common::map::filter::FOREIGN;
use gohang_common::thread::{classify, reload, state};

use crate::emit;
use crate::kernel::{Task, is_frozen, is_throttled, load, offset, setting};
use crate::regs::in_own_handler;
use crate::threads::{filtered, find_or_imply, find_or_read, refresh_group, shared};
use crate::throttle::{look_at_one, park};
use crate::unreported::{make_up_switch_in, make_up_wake};

/// `sched_switch(preempt, prev, next, prev_state)`: 5.18 and later, and vendor
/// kernels that took it over.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch4(ctx: BtfTracePointContext) -> i32 {
    let prev: Task = ctx.arg(1);
    let next: Task = ctx.arg(2);
    let (traced_prev, traced_next) = traced(prev, next);
    if traced_prev | traced_next {
        let prev_state: u32 = ctx.arg(3);
        switch(
            &ctx,
            ctx.arg::<u32>(0) & 1 != 0,
            prev,
            next,
            prev_state,
            traced_prev,
            traced_next,
        );
    }
    0
}

/// `sched_switch(preempt, prev, next)`: before.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch3(ctx: BtfTracePointContext) -> i32 {
    let prev: Task = ctx.arg(1);
    let next: Task = ctx.arg(2);
    let (traced_prev, traced_next) = traced(prev, next);
    if traced_prev | traced_next {
        let prev_state: u32 = load(prev, offset!(task_state));
        switch(
            &ctx,
            ctx.arg::<u32>(0) & 1 != 0,
            prev,
            next,
            prev_state,
            traced_prev,
            traced_next,
        );
    }
    0
}

/// The whole cost of a switch that concerns nobody we trace.
#[inline(always)]
fn traced(prev: Task, next: Task) -> (bool, bool) {
    look_at_one();
    (
        filtered(load(prev, offset!(task_tgid))) != FOREIGN,
        filtered(load(next, offset!(task_tgid))) != FOREIGN,
    )
}

#[inline(always)]
fn switch(
    ctx: &BtfTracePointContext,
    preempt: bool,
    prev: Task,
    next: Task,
    prev_state: u32,
    traced_prev: bool,
    traced_next: bool,
) {
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if traced_prev {
        switch_out(ctx, now, preempt, prev, prev_state);
    }
    if traced_next {
        switch_in(ctx, now, next);
    }
}

#[inline(always)]
fn is_blocked(task: Task) -> bool {
    load::<u64>(task, offset!(task_blocked)) & SIGURG_BIT != 0
}

#[inline(always)]
fn switch_out(ctx: &BtfTracePointContext, now: u64, preempt: bool, prev: Task, prev_state: u32) {
    let task = prev as u64;
    let Some(thread) = find_or_imply(task, state::ON_CPU) else {
        return;
    };
    make_up_switch_in(task, thread, now);
    let throttled = is_throttled(prev);
    let next_state = classify(preempt, prev_state, throttled, is_frozen(prev));
    let blocked = is_blocked(prev);
    let own = blocked && thread.own_handler != 0 && in_own_handler(task, thread);
    let shared = shared(thread.tgid);
    thread.switch_out(now, next_state, blocked, own, shared);
    if reload(&thread.state) == state::PARKED {
        park(task);
    }
    emit::add_running(thread);
    emit::count_anomalies(ctx, thread);
}

#[inline(always)]
fn switch_in(ctx: &BtfTracePointContext, now: u64, next: Task) {
    let task = next as u64;
    let Some(thread) = find_or_imply(task, state::RUNNABLE) else {
        return;
    };
    refresh_group(thread, next);
    make_up_wake(task, thread, now);
    let shared = shared(thread.tgid);
    thread.switch_in(now, is_blocked(next), shared);
    emit::add_waits(thread);
    emit::count_anomalies(ctx, thread);
}

/// `sched_waking(p)`.
#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let woken: Task = ctx.arg(0);
    if filtered(load(woken, offset!(task_tgid))) != FOREIGN {
        wake(&ctx, woken);
    }
    0
}

#[inline(always)]
fn wake(ctx: &BtfTracePointContext, woken: Task) {
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    // Not necessarily asleep: one on its way to sleep is woken on its CPU.
    let Some(thread) = find_or_read(woken as u64) else {
        return;
    };
    // Before 6.18 a thread is woken into a run queue that is out of quota and
    // waits there; since then it runs until it returns to user mode.
    let parked = setting!(throttle) == throttle::SWITCH_POINT && is_throttled(woken);
    thread.wake(now, parked, shared(thread.tgid));
    emit::count_anomalies(ctx, thread);
}
