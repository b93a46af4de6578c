//! Fork, exec, exit and free.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gohang_common::cause::Outcome;
use gohang_common::map::filter;
use gohang_common::record::ProcessEvent;
use gohang_common::thread::{Pending, Thread, state};

use crate::chain;
use crate::emit::{self, Directed, End, Of};
use crate::kernel::{Task, load, namespace_tid, offset, probe, setting};
use crate::maps::{GO, PROCESSES, RUNTIMES, STOPS, THREADS, scratch};
use crate::threads::{Origin, create, filtered, find, process, process_or_new, set_filter, shared};
use crate::unreported::make_up_switch_in;

/// Execs seen, for the filter's provisional bytes.
#[unsafe(no_mangle)]
static mut EXECS: u64 = 0;

#[inline(always)]
fn next_provisional() -> u8 {
    emit::atomic_add(&raw mut EXECS, 1);
    // SAFETY: a plain word in `.bss`; two execs at once may read the same
    // number, but not the same process's.
    let execs = unsafe { core::ptr::read_volatile(&raw const EXECS) };
    filter::PROVISIONAL | (execs & 0x7f) as u8
}

#[inline(always)]
fn name(task: Task) -> emit::Name {
    probe(task as u64, offset!(task_comm)).unwrap_or_default()
}

#[inline(always)]
fn start_of(task: Task) -> u64 {
    let leader: Task = load(task, offset!(task_group_leader));
    load(leader, offset!(task_start_time))
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// `sched_process_fork(parent, child)`.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let parent: Task = ctx.arg(0);
    let child: Task = ctx.arg(1);
    let parent_tgid: u32 = load(parent, offset!(task_tgid));
    let inherited = filtered(parent_tgid);
    if inherited == filter::FOREIGN {
        return 0;
    }
    let tgid: u32 = load(child, offset!(task_tgid));
    let at_ns = now();
    if tgid != parent_tgid {
        if setting!(inherit) == 0 {
            return 0;
        }
        let start_ns: u64 = load(child, offset!(task_start_time));
        set_filter(tgid, inherited);
        process_or_new(tgid, start_ns, 1);
        // SAFETY: user space writes a process's offsets once.
        if let Some(offsets) = unsafe { GO.get(parent_tgid) } {
            let copy = *offsets;
            let _ = GO.insert(tgid, &copy, 0);
        }
        emit::process(
            ProcessEvent::Fork,
            tgid,
            parent_tgid,
            start_ns,
            at_ns,
            inherited,
            &name(child),
        );
    }
    // Nothing is pending for a new thread, and it waits for its first CPU.
    create(
        child as u64,
        &Origin {
            state: state::RUNNABLE,
            since_ns: at_ns,
            guessed: 0,
            known: 1,
        },
        scratch::PREEMPTED,
    );
    0
}

/// `sched_process_exec(p, old_pid, bprm)`.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let task: Task = ctx.arg(0);
    let tgid: u32 = load(task, offset!(task_tgid));
    let mut byte = filtered(tgid);
    if setting!(discover) != 0 {
        byte = next_provisional();
    } else if byte == filter::FOREIGN {
        return 0;
    }
    set_filter(tgid, byte);
    let _ = GO.remove(tgid);
    let _ = RUNTIMES.remove(tgid);
    let start_ns = start_of(task);
    // A traced process's state stays: what is pending survives the exec.
    process_or_new(tgid, start_ns, 0);
    if let Some(thread) = find(task as u64) {
        // A thread other than the leader has taken the leader's id over.
        thread.tid = load(task, offset!(task_pid));
        thread.own_tid = namespace_tid(task as u64).unwrap_or(0);
        thread.process_start_ns = start_ns;
        thread.comm = name(task);
        thread.took_handler = 0;
    }
    let old_tid: u32 = ctx.arg(1);
    emit::process(
        ProcessEvent::Exec,
        tgid,
        old_tid,
        start_ns,
        now(),
        byte,
        &name(task),
    );
    0
}

/// `sched_process_exit(p)`, in the context of the thread that ends.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task: Task = ctx.arg(0);
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let traced = filtered(tgid) != filter::FOREIGN;
    let signal: Task = load(task, offset!(task_signal));
    let last = load::<u32>(signal, offset!(signal_live)) == 0;
    if traced {
        let at_ns = now();
        let thread = find(task as u64);
        let lost = thread.is_none();
        if let Some(thread) = thread {
            thread_ends(&ctx, task as u64, thread, at_ns);
            if last {
                process_ends(thread, tgid, at_ns);
            }
        }
        if last {
            if lost && shared(tgid).sent_ns != 0 {
                emit::episode_lost();
            }
            set_filter(tgid, filter::FOREIGN);
            emit::process(
                ProcessEvent::Exit,
                tgid,
                0,
                start_of(task),
                at_ns,
                filter::FOREIGN,
                &name(task),
            );
        }
    }
    if traced {
        chain::thread_ends(tgid, task as u64, now());
    }
    // Whether traced or not: nothing may be left of one that was let through
    // provisionally.
    let _ = THREADS.remove(task as u64);
    if last {
        let _ = PROCESSES.remove(tgid);
        let _ = GO.remove(tgid);
        let _ = RUNTIMES.remove(tgid);
        let _ = STOPS.remove(tgid);
    }
    0
}

/// What the thread still had pending ends with it.
#[inline(always)]
fn thread_ends(ctx: &BtfTracePointContext, task: u64, thread: &mut Thread, at_ns: u64) {
    make_up_switch_in(task, thread, at_ns);
    let shared = shared(thread.tgid);
    thread.switch_out(at_ns, state::ON_CPU, false, false, shared);
    emit::count_anomalies(ctx, thread);
    emit::add_running(thread);
    if thread.private.sent_ns != 0 {
        let sent = &thread.private;
        if let Some(end) = exited(sent, Directed::Thread, at_ns) {
            emit::episode(thread, Of::Private, end);
        }
    }
}

#[inline(always)]
fn exited(sent: &Pending, directed: Directed, at_ns: u64) -> Option<&'static mut End> {
    emit::end(scratch::PREEMPTED, sent, directed, Outcome::Exited, at_ns)
}

/// What the process still had pending ends with its last thread.
#[inline(always)]
fn process_ends(thread: &mut Thread, tgid: u32, at_ns: u64) {
    let Some(process) = process(tgid) else { return };
    if process.shared.sent_ns != 0
        && let Some(end) = exited(&process.shared, Directed::Process, at_ns)
    {
        emit::episode(thread, Of::Shared, end);
    }
}

/// `sched_process_free(p)`: nothing may be left of a task whose memory is
/// about to be used again.
#[btf_tracepoint(function = "sched_process_free")]
pub fn sched_process_free(ctx: BtfTracePointContext) -> i32 {
    let task: Task = ctx.arg(0);
    let _ = THREADS.remove(task as u64);
    0
}
