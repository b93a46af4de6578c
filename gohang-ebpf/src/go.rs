//! Entries of functions of the Go runtime (uprobes; never returns of its functions, whose
//! stacks move). Arguments are in the registers of Go's ABIInternal (amd64): rax, rbx,
//! rcx, rdi; g in r14.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_tail_call};
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use gohang_common::abi::SIGURG;
use gohang_common::map::filter::FOREIGN;
use gohang_common::runtime::{GoRuntime, hit};

use crate::emit::atomic_add;
use crate::kernel::rodata;
use crate::maps::{HITS, RUNTIMES};
use crate::signal::in_window;
use crate::threads::filtered;
use crate::{chain, stop};

/// A probed function's entry.
pub struct Entry {
    /// Process, root PID namespace.
    pub tgid: u32,
    /// Thread, root PID namespace.
    pub tid: u32,
    /// When.
    pub now: u64,
    /// First argument.
    pub rax: u64,
    /// Second argument.
    pub rbx: u64,
    /// Third argument.
    pub rcx: u64,
    /// Fourth argument.
    pub rdi: u64,
    /// Go's g.
    pub r14: u64,
    /// Stack pointer: the return address lies there.
    pub rsp: u64,
    /// Frame pointer, still the caller's.
    pub rbp: u64,
    /// What is known of the process.
    pub runtime: &'static GoRuntime,
}

/// Counts for a process.
#[inline(always)]
pub fn count(tgid: u32, what: usize) {
    if what < hit::COUNT
        && let Some(hits) = HITS.get_ptr_mut(tgid)
    {
        // SAFETY: within the value; map values stay valid while the program runs.
        atomic_add(unsafe { hits.cast::<u64>().add(what) }, 1);
    }
}

/// Lies in `.rodata`, which is frozen: the verifier knows it, the compiler does not.
#[unsafe(no_mangle)]
static NEVER: u32 = 0;

/// Keeps the programs of these probes on the kernel's stack. Since 6.13 a kernel gives programs
/// of their type a stack for each CPU (`bpf_enable_priv_stack`, kernel/bpf/verifier.c), yet runs
/// those of uprobes preemptible (`uprobe_prog_run`, kernel/trace/bpf_trace.c): two threads on one
/// CPU would write the same stack, and the kernel may die of it. A program with a tail call
/// keeps the other one (`check_max_stack_depth`, kernel/bpf/verifier.c). This call is never
/// made: the verifier counts it, then finds that nothing leads there, and removes it.
#[inline(always)]
fn keep_off_private_stack(ctx: &ProbeContext) {
    if rodata(&NEVER) != 0 {
        // SAFETY: not reached; the verifier would refuse the null map.
        unsafe { bpf_tail_call(ctx.as_ptr(), core::ptr::null_mut(), 0) };
    }
}

/// What a program begins with; nothing for a process that has no chain.
#[inline(always)]
fn entry(ctx: &ProbeContext, what: usize) -> Option<Entry> {
    keep_off_private_stack(ctx);
    let current = bpf_get_current_pid_tgid();
    let tgid = (current >> 32) as u32;
    if filtered(tgid) == FOREIGN {
        return None;
    }
    let runtime = RUNTIMES.get_ptr(tgid)?;
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if !in_window(now) {
        return None;
    }
    count(tgid, what);
    // SAFETY: the context's registers, and a map value that user space writes once.
    unsafe {
        let regs = &*ctx.regs;
        Some(Entry {
            tgid,
            tid: current as u32,
            now,
            rax: regs.rax,
            rbx: regs.rbx,
            rcx: regs.rcx,
            rdi: regs.rdi,
            r14: regs.r14,
            rsp: regs.rsp,
            rbp: regs.rbp,
            runtime: &*runtime,
        })
    }
}

/// `preemptone(pp *p) bool`.
#[uprobe]
pub fn go_preemptone(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::PREEMPTONE) {
        chain::requested(&entry);
    }
    0
}

/// `signalM(mp *m, sig int)`.
#[uprobe]
pub fn go_signal_m(ctx: ProbeContext) -> u32 {
    // SAFETY: the context's registers.
    if unsafe { (*ctx.regs).rbx } != SIGURG as u64 {
        return 0;
    }
    if let Some(entry) = entry(&ctx, hit::SIGNAL_M) {
        chain::sent(&entry);
    }
    0
}

/// `doSigPreempt(gp *g, ctxt *sigctxt)`.
#[uprobe]
pub fn go_do_sig_preempt(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::DO_SIG_PREEMPT) {
        chain::handled(&entry);
    }
    0
}

/// `isAsyncSafePoint(gp *g, pc, sp, lr uintptr) (bool, uintptr)`.
#[uprobe]
pub fn go_is_async_safe_point(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::IS_ASYNC_SAFE_POINT) {
        chain::checked(&entry);
    }
    0
}

/// `asyncPreempt()`.
#[uprobe]
pub fn go_async_preempt(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::ASYNC_PREEMPT) {
        chain::injected(&entry);
    }
    0
}

/// In `asyncPreempt`, behind its call of `asyncPreempt2`.
#[uprobe]
pub fn go_resumed(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::RESUMED) {
        chain::resumed(&entry);
    }
    0
}

/// `goschedImpl(gp *g, preempted bool)`, before 1.22 without the second argument.
#[uprobe]
pub fn go_gosched_impl(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::GOSCHED_IMPL) {
        chain::yielded(&entry);
    }
    0
}

/// `preemptPark(gp *g)`.
#[uprobe]
pub fn go_preempt_park(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::PREEMPT_PARK) {
        chain::yielded(&entry);
    }
    0
}

/// `stopTheWorldWithSema(reason)`.
#[uprobe]
pub fn go_stop_the_world(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::STOP_THE_WORLD) {
        stop::begins(&entry);
    }
    0
}

/// Its return instruction.
#[uprobe]
pub fn go_world_stopped(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::WORLD_STOPPED) {
        stop::complete(&entry);
    }
    0
}

/// `startTheWorldWithSema(...)`.
#[uprobe]
pub fn go_start_the_world(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::START_THE_WORLD) {
        stop::ends(&entry);
    }
    0
}

/// `gcstopm()`: a thread stops for a stop of the world.
#[uprobe]
pub fn go_gcstopm(ctx: ProbeContext) -> u32 {
    if let Some(entry) = entry(&ctx, hit::GCSTOPM) {
        stop::thread_stops(&entry);
    }
    0
}
