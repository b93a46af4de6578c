//! SIGURG generated and delivered.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gohang_common::abi::{SIGURG, SIGURG_BIT};
use gohang_common::cause::Outcome;
use gohang_common::counter::Counter;
use gohang_common::map::filter::FOREIGN;
use gohang_common::thread::{Thread, state};

use crate::emit::{self, End, Of};
use crate::kernel::{PF_EXITING, Task, load, offset, probe};
use crate::maps::{GO, WINDOW};
use crate::regs::{Regs, goroutine, user_regs};
use crate::threads::{filtered, find_or_imply, find_or_read, process, process_or_new, shared};
use crate::unreported::make_up_switch_in;

/// Results of `signal_generate` (include/trace/events/signal.h).
mod result {
    pub const IGNORED: i32 = 1;
    pub const ALREADY_PENDING: i32 = 2;
    pub const OVERFLOW_FAIL: i32 = 3;
}

/// Whether the window is open at `now`.
#[inline(always)]
fn in_window(now: u64) -> bool {
    match WINDOW.get(0) {
        // SAFETY: a word that user space sets once.
        Some(opened) => {
            let opened = unsafe { core::ptr::read_volatile(opened) };
            opened != 0 && now >= opened
        }
        None => false,
    }
}

/// Stores a first send: everything else of it is written before.
#[inline(always)]
fn publish(sent_ns: *mut u64, now: u64) {
    // SAFETY: a field of a map value.
    unsafe { core::ptr::write_volatile(sent_ns, now) };
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
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if !in_window(now) {
        return 0;
    }
    let info = ctx.arg::<usize>(1) as u64;
    let to_process = ctx.arg::<i32>(3) != 0;
    let outcome = ctx.arg::<i32>(4);
    if outcome == result::OVERFLOW_FAIL {
        return 0;
    }
    let sender = sender(info);
    if to_process {
        generate_shared(target, tgid, now, outcome, sender);
    } else {
        generate_private(target, now, outcome, sender);
    }
    0
}

/// The sending process, if one sent it: `info` is SEND_SIG_NOINFO (0, a user),
/// SEND_SIG_PRIV (1, the kernel) or points to a siginfo whose code is positive
/// when the kernel made it (include/linux/sched/signal.h).
#[inline(always)]
fn sender(info: u64) -> Sender {
    let from_user = match info {
        0 => true,
        1 => false,
        address => probe::<i32>(address, offset!(info_code)).unwrap_or(1) <= 0,
    };
    if from_user {
        Sender {
            tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
            known: 1,
        }
    } else {
        Sender { tgid: 0, known: 0 }
    }
}

/// Who sent it. Not an `Option`: where there is none, its value is undefined,
/// and reading an undefined stack slot is refused by 5.10's verifier.
#[derive(Clone, Copy)]
struct Sender {
    /// Process, 0 if none.
    tgid: u32,
    /// 1 if a process sent it.
    known: u8,
}

/// The end of an episode that is not delivered.
#[inline(always)]
fn undelivered(outcome: Outcome, sent_ns: u64, now: u64, process_directed: u8) -> End {
    End {
        sent_ns,
        end_ns: now,
        outcome,
        coalesced: 0,
        sender_tgid: 0,
        sender_known: 0,
        process_directed,
        goid: 0,
        goid_known: 0,
        pc: 0,
    }
}

#[inline(always)]
fn generate_private(target: Task, now: u64, outcome: i32, sender: Sender) {
    if load::<u32>(target, offset!(task_flags)) & PF_EXITING != 0 {
        return;
    }
    let Some(thread) = find_or_read(target as u64) else {
        emit::episode_lost();
        return;
    };
    if outcome == result::ALREADY_PENDING {
        if thread.private.sent_ns != 0 {
            thread.private.coalesced = thread.private.coalesced.wrapping_add(1);
        } else if thread.private.known == 0 {
            emit::count(Counter::BeforeWindow);
        } else {
            emit::count(Counter::CoalesceUnmatched);
        }
        return;
    }
    let Sender {
        tgid: sender_tgid,
        known: sender_known,
    } = sender;
    if outcome == result::IGNORED {
        let mut end = undelivered(Outcome::Ignored, now, now, 0);
        end.sender_tgid = sender_tgid;
        end.sender_known = sender_known;
        emit::episode(thread, Of::Nobody, &end);
        return;
    }
    let held = thread.private.sent_ns;
    if held != 0 {
        // Taken in a way that no hook sees, up to its last transition.
        let mut end = undelivered(Outcome::ConsumedUnseen, held, now, 0);
        end.coalesced = thread.private.coalesced;
        end.sender_tgid = thread.private.sender_tgid;
        end.sender_known = thread.private.sender_known;
        let matches = thread.private_account.sent_ns == held;
        emit::episode(thread, if matches { Of::Private } else { Of::Nobody }, &end);
    }
    let blocked = load::<u64>(target, offset!(task_blocked)) & SIGURG_BIT != 0;
    thread.private.coalesced = 0;
    thread.private.sender_tgid = sender_tgid;
    thread.private.sender_known = sender_known;
    thread.private.blocked = blocked as u8;
    thread.private.known = 1;
    publish(&raw mut thread.private.sent_ns, now);
}

#[inline(always)]
fn generate_shared(target: Task, tgid: u32, now: u64, outcome: i32, sender: Sender) {
    let leader: Task = load(target, offset!(task_group_leader));
    let start_ns: u64 = load(leader, offset!(task_start_time));
    let Some(process) = process_or_new(tgid, start_ns, 0) else {
        emit::episode_lost();
        return;
    };
    if outcome == result::ALREADY_PENDING {
        if process.sent_ns != 0 {
            process.coalesced = process.coalesced.wrapping_add(1);
        } else if process.known == 0 {
            emit::count(Counter::BeforeWindow);
        } else {
            emit::count(Counter::CoalesceUnmatched);
        }
        return;
    }
    let Sender {
        tgid: sender_tgid,
        known: sender_known,
    } = sender;
    let held = process.sent_ns;
    if outcome == result::IGNORED || held != 0 {
        // No thread took it: it is told of the one that was named.
        let Some(thread) = find_or_read(target as u64) else {
            emit::episode_lost();
            return;
        };
        if outcome == result::IGNORED {
            let mut end = undelivered(Outcome::Ignored, now, now, 1);
            end.sender_tgid = sender_tgid;
            end.sender_known = sender_known;
            emit::episode(thread, Of::Nobody, &end);
            return;
        }
        let mut end = undelivered(Outcome::ConsumedUnseen, held, now, 1);
        end.coalesced = process.coalesced;
        end.sender_tgid = process.sender_tgid;
        end.sender_known = process.sender_known;
        emit::episode(thread, Of::Nobody, &end);
    }
    process.coalesced = 0;
    process.sender_tgid = sender_tgid;
    process.sender_known = sender_known;
    process.known = 1;
    publish(&raw mut process.sent_ns, now);
}

/// `signal_deliver(sig, info, ka)`, in the context of the thread that takes it.
#[btf_tracepoint(function = "signal_deliver")]
pub fn signal_deliver(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(0) != SIGURG {
        return 0;
    }
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if filtered(tgid) == FOREIGN {
        return 0;
    }
    deliver(&ctx, tgid, ctx.arg::<usize>(2) as u64);
    0
}

#[inline(always)]
fn deliver(ctx: &BtfTracePointContext, tgid: u32, action: u64) {
    // SAFETY: helpers without preconditions.
    let (now, task) = unsafe { (bpf_ktime_get_ns(), bpf_get_current_task()) };
    let Some(thread) = find_or_imply(task, state::ON_CPU) else {
        return;
    };
    make_up_switch_in(task, thread, now);
    let regs = user_regs(task);
    // Out of sigreturn the signal waited for its own handler; out of another
    // system call that unblocked it, it was masked.
    let own = thread.own_handler != 0 && regs.orig_ax < 0;
    let shared = shared(tgid);
    thread.deliver(now, own, shared);
    emit::count_anomalies(ctx, thread);
    emit::add_running(thread);
    let handler = probe::<u64>(action, offset!(ka_handler)).unwrap_or(0);
    // SIG_DFL is 0, SIG_IGN 1 (include/uapi/asm-generic/signal-defs.h).
    let has_handler = handler > 1;
    let outcome = if has_handler {
        Outcome::Delivered
    } else {
        Outcome::DeliveredNoHandler
    };
    if in_window(now) {
        take(tgid, task, thread, now, outcome, &regs);
    }
    thread.own_handler = has_handler as u8;
    thread.handler_sp = regs.sp;
}

/// Ends the episode that this delivery belongs to: the thread's private signal
/// is dequeued before the process's shared one.
#[inline(always)]
fn take(tgid: u32, task: u64, thread: &mut Thread, now: u64, outcome: Outcome, regs: &Regs) {
    let goid = go_offsets(tgid).and_then(|offsets| goroutine(task, regs, offsets));
    let (goid, goid_known) = match goid {
        Some(goid) => (goid, 1),
        None => (0, 0),
    };
    let private = thread.private;
    if private.sent_ns != 0 {
        let end = End {
            sent_ns: private.sent_ns,
            end_ns: now,
            outcome,
            coalesced: private.coalesced,
            sender_tgid: private.sender_tgid,
            sender_known: private.sender_known,
            process_directed: 0,
            goid,
            goid_known,
            pc: regs.ip,
        };
        emit::episode(thread, Of::Private, &end);
        publish(&raw mut thread.private.sent_ns, 0);
        return;
    }
    let Some(process) = process(tgid) else {
        unmatched(private.known == 0);
        return;
    };
    if process.sent_ns != 0 {
        let end = End {
            sent_ns: process.sent_ns,
            end_ns: now,
            outcome,
            coalesced: process.coalesced,
            sender_tgid: process.sender_tgid,
            sender_known: process.sender_known,
            process_directed: 1,
            goid,
            goid_known,
            pc: regs.ip,
        };
        emit::episode(thread, Of::Shared, &end);
        publish(&raw mut process.sent_ns, 0);
        return;
    }
    // One of the two queues held it from before.
    unmatched(private.known == 0 || process.known == 0);
    if private.known == 0 {
        thread.private.known = 1;
    } else {
        process.known = 1;
    }
}

#[inline(always)]
fn go_offsets(tgid: u32) -> Option<&'static gohang_common::map::GoOffsets> {
    // SAFETY: user space writes a process's offsets once.
    unsafe { GO.get(tgid) }
}

#[inline(always)]
fn unmatched(excused: bool) {
    emit::count(if excused {
        Counter::BeforeWindow
    } else {
        Counter::DeliverUnmatched
    });
}
