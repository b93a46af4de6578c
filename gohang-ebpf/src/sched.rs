//! Switches and wake-ups.

use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gohang_common::abi::SIGURG_BIT;
use gohang_common::config::throttle;
use gohang_common::map::filter::FOREIGN;
use gohang_common::thread::{classify, is_asleep, reload, state};

use crate::bandwidth::{begin_wait, end_wait};
use crate::emit;
use crate::kernel::{Task, is_frozen, is_throttled, load, offset, setting};
use crate::maps::scratch;
use crate::regs::is_own_handler;
use crate::threads::{filtered, find_or_imply, find_or_read, refresh_group, shared};
use crate::throttle::{any_parked, look_at_one, park};
use crate::unreported::{make_up_switch_in, make_up_wake};

/// `sched_switch(preempt, prev, next, prev_state)`: 5.18 and later, and vendor
/// kernels that took it over.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch4(ctx: BtfTracePointContext) -> i32 {
    if concerns_us(&ctx) {
        traced_switch4(ctx.as_ptr());
    }
    0
}

/// `sched_switch(preempt, prev, next)`: before.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch3(ctx: BtfTracePointContext) -> i32 {
    if concerns_us(&ctx) {
        traced_switch3(ctx.as_ptr());
    }
    0
}

/// The whole cost of a switch that concerns nobody we trace. What follows is a
/// function of its own, so that this one saves no registers for it.
#[inline(always)]
fn concerns_us(ctx: &BtfTracePointContext) -> bool {
    any_parked() || is_traced(ctx.arg(1)) || is_traced(ctx.arg(2))
}

#[inline(always)]
fn is_traced(task: Task) -> bool {
    filtered(load(task, offset!(task_tgid))) != FOREIGN
}

#[inline(never)]
fn traced_switch4(ctx: *mut c_void) {
    let ctx = BtfTracePointContext::new(ctx);
    let prev_state: u32 = ctx.arg(3);
    switch(&ctx, prev_state);
}

#[inline(never)]
fn traced_switch3(ctx: *mut c_void) {
    let ctx = BtfTracePointContext::new(ctx);
    let prev_state: u32 = load(ctx.arg(1), offset!(task_state));
    switch(&ctx, prev_state);
}

#[inline(always)]
fn switch(ctx: &BtfTracePointContext, prev_state: u32) {
    look_at_one();
    let prev: Task = ctx.arg(1);
    let next: Task = ctx.arg(2);
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if is_traced(prev) {
        switch_out(ctx, now, ctx.arg::<u32>(0) & 1 != 0, prev, prev_state);
    }
    if is_traced(next) {
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
    let Some(thread) = find_or_imply(task, state::ON_CPU, scratch::ATOMIC) else {
        return;
    };
    make_up_switch_in(task, thread, now);
    let throttled = is_throttled(prev);
    let next_state = classify(preempt, prev_state, throttled, is_frozen(prev));
    let blocked = is_blocked(prev);
    let own = is_own_handler(task, thread, blocked);
    let shared = shared(thread.tgid);
    thread.leave(now, next_state, blocked, own, shared);
    emit::add_running(thread);
    begin_wait(thread, prev, now);
    emit::count_anomalies(ctx, thread);
    thread.publish_state();
    if reload(&thread.state) == state::PARKED {
        park(task);
    }
}

#[inline(always)]
fn switch_in(ctx: &BtfTracePointContext, now: u64, next: Task) {
    let task = next as u64;
    let Some(thread) = find_or_imply(task, state::RUNNABLE, scratch::ATOMIC) else {
        return;
    };
    refresh_group(thread, next);
    make_up_wake(task, thread, now);
    end_wait(thread, next, now);
    let shared = shared(thread.tgid);
    thread.switch_in(now, is_blocked(next), shared);
    emit::add_waits(thread);
    emit::count_anomalies(ctx, thread);
}

/// `sched_waking(p)`.
#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    if is_traced(ctx.arg(0)) {
        traced_waking(ctx.as_ptr());
    }
    0
}

#[inline(never)]
fn traced_waking(ctx: *mut c_void) {
    let ctx = BtfTracePointContext::new(ctx);
    wake(&ctx, ctx.arg(0));
}

#[inline(always)]
fn wake(ctx: &BtfTracePointContext, woken: Task) {
    let Some(thread) = find_or_read(woken as u64, scratch::ATOMIC) else {
        return;
    };
    // One on its way to sleep is woken on its CPU. Looked at before the clock: it may leave the
    // CPU just now, and is woken after that.
    if !is_asleep(reload(&thread.state)) {
        return;
    }
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    // Before 6.18 a thread is woken into a run queue that is out of quota and
    // waits there; since then it runs until it returns to user mode.
    let parked = setting!(throttle) == throttle::SWITCH_POINT && is_throttled(woken);
    thread.wake(now, parked, shared(thread.tgid));
    begin_wait(thread, woken, now);
    emit::count_anomalies(ctx, thread);
}
