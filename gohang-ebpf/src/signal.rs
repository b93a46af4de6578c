//! SIGURG generated and delivered.

use aya_ebpf::helpers::{bpf_get_current_task, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gohang_common::abi::{SIGURG, SIGURG_BIT};
use gohang_common::cause::Outcome;
use gohang_common::counter::Counter;
use gohang_common::map::filter::{FOREIGN, TRACED};
use gohang_common::thread::{Pending, Thread, state};

use crate::chain;
use crate::emit::{self, Directed, End, Of};
use crate::kernel::{Current, PF_EXITING, Task, current, load, offset, probe};
use crate::maps::{GO, WINDOW, scratch};
use crate::regs::{Regs, goroutine, user_regs};
use crate::threads::{
    filtered, find, find_or_imply, find_or_read, process, process_or_new, set_signalled, shared,
};
use crate::unreported::make_up_switch_in;

/// Results of `signal_generate` (include/trace/events/signal.h).
mod result {
    pub const IGNORED: i32 = 1;
    pub const ALREADY_PENDING: i32 = 2;
    pub const OVERFLOW_FAIL: i32 = 3;
}

/// When the window opened, ns; 0 while it is closed.
#[inline(always)]
fn opened() -> u64 {
    // SAFETY: a word that user space sets once.
    WINDOW
        .get(0)
        .map_or(0, |opened| unsafe { core::ptr::read_volatile(opened) })
}

/// Whether the window is open: the clock, read from now on, is past its opening.
#[inline(always)]
fn is_window_open() -> bool {
    opened() != 0
}

/// Whether the window was open at `now`.
#[inline(always)]
pub fn in_window(now: u64) -> bool {
    let opened = opened();
    opened != 0 && now >= opened
}

#[inline(always)]
fn clock() -> u64 {
    // SAFETY: a helper without preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Stores the time that says that something is there: all else of it is written before.
#[inline(always)]
pub fn publish(at_ns: *mut u64, now: u64) {
    // SAFETY: a field of a map value.
    unsafe { core::ptr::write_volatile(at_ns, now) };
}

/// `signal_generate(sig, info, task, group, result)`.
#[btf_tracepoint(function = "signal_generate")]
pub fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) != SIGURG {
        return 0;
    }
    let target: Task = ctx.arg(2);
    let tgid: u32 = load(target, offset!(task_tgid));
    if filtered(tgid) == FOREIGN {
        return 0;
    }
    if !is_window_open() {
        return 0;
    }
    let outcome = ctx.arg::<i32>(4);
    if outcome == result::OVERFLOW_FAIL {
        return 0;
    }
    let send = Send {
        target,
        outcome,
        sender: sender(ctx.arg::<usize>(1) as u64),
    };
    // SAFETY: a helper without preconditions.
    let current = unsafe { bpf_get_current_task() };
    let to_process = ctx.arg::<i32>(3) != 0;
    let own = send.sender.tgid == tgid;
    // A thread that signals itself is looked up once, below.
    let itself = own && !to_process && current == target as u64;
    if own
        && !itself
        && let Some(sender) = find(current)
    {
        has_sent(sender);
    }
    if to_process {
        generate_shared(tgid, &send);
    } else {
        generate_private(&send, itself);
    }
    0
}

/// Counts a signal that the thread has sent to its own process.
#[inline(always)]
fn has_sent(thread: &mut Thread) {
    thread.waits.sent = thread.waits.sent.wrapping_add(1);
}

/// A signal that was sent.
struct Send {
    /// The task that it was sent to.
    target: Task,
    /// What the kernel made of it.
    outcome: i32,
    /// By whom.
    sender: Sender,
}

/// Who sent it. Not an `Option`: where there is none, its value is undefined,
/// and reading an undefined stack slot is refused by 5.10's verifier.
#[derive(Clone, Copy)]
struct Sender {
    /// Process, 0 if none.
    tgid: u32,
    /// Thread, 0 if none.
    tid: u32,
    /// 1 if a process sent it.
    known: u8,
}

/// The sending process, if one sent it: `info` is SEND_SIG_NOINFO (0, a user),
/// SEND_SIG_PRIV (1, the kernel) or points to a siginfo whose code is positive
/// when the kernel made it (include/linux/sched/signal.h).
#[inline(always)]
fn sender(info: u64) -> Sender {
    let from_user = match info {
        0 => true,
        1 => false,
        // Not by its type: from 6.12 on, the verifier takes the argument for a number.
        address => probe::<i32>(address, offset!(info_code)).unwrap_or(1) <= 0,
    };
    if from_user {
        let Current { tgid, tid } = current();
        Sender {
            tgid,
            tid,
            known: 1,
        }
    } else {
        Sender {
            tgid: 0,
            tid: 0,
            known: 0,
        }
    }
}

/// To one thread, which may have sent it `itself`.
#[inline(always)]
fn generate_private(send: &Send, itself: bool) {
    if load::<u32>(send.target, offset!(task_flags)) & PF_EXITING != 0 {
        return;
    }
    let Some(thread) = find_or_read(send.target as u64, scratch::ATOMIC) else {
        emit::episode_lost();
        return;
    };
    if itself {
        has_sent(thread);
    }
    if send.outcome == result::ALREADY_PENDING {
        coalesce(&mut thread.private);
        return;
    }
    if send.outcome == result::IGNORED {
        ignored(thread, Directed::Thread, send);
        return;
    }
    if thread.private.sent_ns != 0 {
        // Taken in a way that no hook sees, up to its last transition.
        let of = if thread.private_account.sent_ns == thread.private.sent_ns {
            Of::Private
        } else {
            Of::Nobody
        };
        let held = &thread.private;
        if let Some(end) = consumed(held, Directed::Thread) {
            emit::episode(thread, of, end);
        }
    }
    let blocked = load::<u64>(send.target, offset!(task_blocked)) & SIGURG_BIT != 0;
    first(&mut thread.private, blocked as u8, send);
}

#[inline(always)]
fn generate_shared(tgid: u32, send: &Send) {
    let leader: Task = load(send.target, offset!(task_group_leader));
    let start_ns: u64 = load(leader, offset!(task_start_time));
    let Some(process) = process_or_new(tgid, start_ns, 0) else {
        emit::episode_lost();
        return;
    };
    if send.outcome == result::ALREADY_PENDING {
        coalesce(&mut process.shared);
        return;
    }
    if send.outcome == result::IGNORED || process.shared.sent_ns != 0 {
        // No thread took it: it is told of the one that was named.
        let Some(thread) = find_or_read(send.target as u64, scratch::ATOMIC) else {
            emit::episode_lost();
            return;
        };
        if send.outcome == result::IGNORED {
            ignored(thread, Directed::Process, send);
            return;
        }
        if let Some(end) = consumed(&process.shared, Directed::Process) {
            emit::episode(thread, Of::Nobody, end);
        }
    }
    set_signalled(tgid);
    first(&mut process.shared, 0, send);
}

/// A later send, absorbed by the pending one.
#[inline(always)]
fn coalesce(pending: &mut Pending) {
    if pending.sent_ns != 0 {
        pending.coalesced = pending.coalesced.wrapping_add(1);
    } else {
        unmatched(pending.known == 0, Counter::CoalesceUnmatched);
    }
}

/// Tells of a send that the kernel dropped.
#[inline(always)]
fn ignored(thread: &mut Thread, directed: Directed, send: &Send) {
    let now = clock();
    let sent = Pending {
        sent_ns: now,
        sender_tgid: send.sender.tgid,
        sender_tid: send.sender.tid,
        sender_known: send.sender.known,
        ..Pending::default()
    };
    let outcome = Outcome::Ignored;
    if let Some(end) = emit::end(scratch::ATOMIC, &sent, directed, outcome, now) {
        emit::episode(thread, Of::Nobody, end);
    }
}

/// The end of what was pending and must have been taken, since another first
/// send arrives.
#[inline(always)]
fn consumed(held: &Pending, directed: Directed) -> Option<&'static mut End> {
    let outcome = Outcome::ConsumedUnseen;
    emit::end(scratch::ATOMIC, held, directed, outcome, clock())
}

/// A first send. The clock is read once everything else of it is written, so
/// that hardly any time passes from then until the thread's own side sees it.
#[inline(always)]
fn first(pending: &mut Pending, blocked: u8, send: &Send) {
    pending.coalesced = 0;
    pending.sender_tgid = send.sender.tgid;
    pending.sender_tid = send.sender.tid;
    pending.sender_known = send.sender.known;
    pending.blocked = blocked;
    pending.known = 1;
    publish(&raw mut pending.sent_ns, clock());
}

/// `signal_deliver(sig, info, ka)`, in the context of the thread that takes it.
#[btf_tracepoint(function = "signal_deliver")]
pub fn signal_deliver(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) != SIGURG {
        return 0;
    }
    let tgid = current().tgid;
    let byte = filtered(tgid);
    if byte != FOREIGN {
        deliver(&ctx, tgid, byte != TRACED, ctx.arg(2));
    }
    0
}

/// `is_go` is false of a process that the maps of Go programs hold nothing of.
#[inline(always)]
fn deliver(ctx: &BtfTracePointContext, tgid: u32, is_go: bool, action: *const u8) {
    // SAFETY: a helper without preconditions.
    let (now, task) = unsafe { (clock(), bpf_get_current_task()) };
    let Some(thread) = find_or_imply(task, state::ON_CPU, scratch::ATOMIC) else {
        return;
    };
    make_up_switch_in(task, thread, now);
    let regs = user_regs(task);
    // Out of sigreturn the signal waited for its own handler; out of another
    // system call that unblocked it, it was masked.
    let own = thread.took_handler != 0 && regs.orig_ax < 0;
    let shared = shared(tgid);
    thread.deliver(now, own, shared);
    let handler: u64 = load(action, offset!(ka_handler));
    // SIG_DFL is 0, SIG_IGN 1 (include/uapi/asm-generic/signal-defs.h).
    let has_handler = handler > 1;
    let outcome = if has_handler {
        Outcome::Delivered
    } else {
        Outcome::DeliveredNoHandler
    };
    let delivery = Delivery {
        now,
        outcome,
        handler: if has_handler { handler } else { 0 },
        regs,
        is_go,
    };
    if !in_window(now) || !take(tgid, thread, &delivery) {
        emit::add_running(thread);
    }
    if has_handler && is_go {
        chain::taken(thread);
    }
    thread.took_handler = has_handler as u8;
    thread.handler_sp = regs.sp;
    thread.handler_return_ip = regs.ip;
    thread.handler_ip = handler;
    emit::count_anomalies(ctx, thread);
}

/// A delivery under way.
struct Delivery {
    /// When, ns.
    now: u64,
    /// Whether there is a handler.
    outcome: Outcome,
    /// Its address, 0 without one.
    handler: u64,
    /// The interrupted user registers.
    regs: Regs,
    /// Whether the maps of Go programs may hold something of it.
    is_go: bool,
}

/// Ends the episode that this delivery belongs to, if it is known, and tells whether it did: the
/// thread's private signal is dequeued before the process's shared one.
#[inline(always)]
fn take(tgid: u32, thread: &mut Thread, delivery: &Delivery) -> bool {
    let Delivery { now, outcome, .. } = *delivery;
    if thread.private.sent_ns != 0 {
        let sent = &thread.private;
        if let Some(end) = emit::end(scratch::ATOMIC, sent, Directed::Thread, outcome, now) {
            interrupted(end, thread, delivery);
            emit::episode(thread, Of::Private, end);
        }
        publish(&raw mut thread.private.sent_ns, 0);
        return true;
    }
    let Some(process) = process(tgid) else {
        unmatched(thread.private.known == 0, Counter::DeliverUnmatched);
        return false;
    };
    if process.shared.sent_ns != 0 {
        let sent = &process.shared;
        if let Some(end) = emit::end(scratch::ATOMIC, sent, Directed::Process, outcome, now) {
            interrupted(end, thread, delivery);
            emit::episode(thread, Of::Shared, end);
        }
        publish(&raw mut process.shared.sent_ns, 0);
        return true;
    }
    // One of the two queues held it from before.
    let known = thread.private.known != 0 && process.shared.known != 0;
    unmatched(!known, Counter::DeliverUnmatched);
    if thread.private.known == 0 {
        thread.private.known = 1;
    } else {
        process.shared.known = 1;
    }
    false
}

/// What the signal interrupted.
#[inline(always)]
fn interrupted(end: &mut End, thread: &Thread, delivery: &Delivery) {
    let regs = &delivery.regs;
    end.pc = regs.ip;
    end.handler = delivery.handler;
    if !delivery.is_go {
        return;
    }
    // SAFETY: user space writes a process's offsets once.
    let Some(offsets) = (unsafe { GO.get(thread.tgid) }) else {
        return;
    };
    if let Some(goid) = goroutine(thread.own_tid, regs, offsets) {
        end.goid = goid;
        end.goid_known = 1;
    }
}

/// Counts what does not fit: `excused` says that it began before we looked.
#[inline(always)]
fn unmatched(excused: bool, otherwise: Counter) {
    emit::count(if excused {
        Counter::BeforeWindow
    } else {
        otherwise
    });
}
