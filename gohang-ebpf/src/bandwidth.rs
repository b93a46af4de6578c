//! When groups are out of quota, by run queue: the overlay on what threads do.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, fentry, kprobe};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, ProbeContext};
use gohang_common::bandwidth::{CfsRq, EDGES};
use gohang_common::config::throttle;
use gohang_common::counter::Counter;
use gohang_common::map::filter::FOREIGN;
use gohang_common::map::{SummaryKey, series};
use gohang_common::thread::{Thread, reload, state};

use crate::emit;
use crate::kernel::{Task, cgroup_id, is_fair_task, load, offset, probe, setting};
use crate::maps::{CFS_RQS, EMPTY_CFS_RQ};
use crate::threads::{filtered, find, refresh_group, shared};
use crate::throttle::{any_parked, look_at_all};

/// Groups above a group that may be the one whose limit ran out. A limit further
/// up is counted, and its owner not named.
const MAX_DEPTH: u32 = 8;

/// Whether the hooks on the quota of run queues are attached.
#[inline(always)]
fn is_on() -> bool {
    setting!(run_queues) != 0
}

/// `tg_throttle_down(tg, rq)`: quota of the group or of one above it has run out.
#[fentry(function = "tg_throttle_down")]
pub fn tg_throttle_down(ctx: FEntryContext) -> i32 {
    edge(ctx.arg(0), ctx.arg(1), true);
    0
}

/// The same where fentry cannot be had.
#[kprobe]
pub fn tg_throttle_down_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(group), Some(rq)) = (ctx.arg(0), ctx.arg(1)) {
        edge(group, rq, true);
    }
    0
}

/// `tg_unthrottle_up(tg, rq)`: it has come back.
#[fentry(function = "tg_unthrottle_up")]
pub fn tg_unthrottle_up(ctx: FEntryContext) -> i32 {
    edge(ctx.arg(0), ctx.arg(1), false);
    0
}

/// The same where fentry cannot be had.
#[kprobe]
pub fn tg_unthrottle_up_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(group), Some(rq)) = (ctx.arg(0), ctx.arg(1)) {
        edge(group, rq, false);
    }
    0
}

/// A CPU, as its groups' run queues are found.
#[derive(Clone, Copy)]
struct Cpu {
    /// What is added to an array of pointers, or to a per-CPU pointer.
    add: u64,
}

impl Cpu {
    /// The one with this number, on kernels with an array of pointers.
    #[inline(always)]
    fn numbered(cpu: u32) -> Self {
        Self {
            add: u64::from(cpu) * 8,
        }
    }

    /// The one that this `rq` is of.
    #[inline(always)]
    fn of(rq: u64) -> Option<Self> {
        if offset!(group_cfs_rq_percpu) == 0 {
            return Some(Self::numbered(probe(rq, offset!(rq_cpu))?));
        }
        // The idle thread's own run queue is its group's on this CPU: the
        // difference is what the kernel adds to a per-CPU pointer.
        let idle = probe::<u64>(rq, offset!(rq_idle))?;
        let cfs_rq = probe::<u64>(idle, offset!(task_cfs_rq))?;
        let group = probe::<u64>(idle, offset!(task_group))?;
        let pointer = probe::<u64>(group, offset!(group_cfs_rq))?;
        Some(Self {
            add: cfs_rq.wrapping_sub(pointer),
        })
    }

    /// The group's `cfs_rq` there, 0 if it cannot be told.
    #[inline(always)]
    fn cfs_rq(self, group: u64) -> u64 {
        let pointer = probe::<u64>(group, offset!(group_cfs_rq)).unwrap_or(0);
        let at = pointer.wrapping_add(self.add);
        if offset!(group_cfs_rq_percpu) != 0 {
            return at;
        }
        probe(at, 0).unwrap_or(0)
    }
}

/// The run queue's group, or one above it, runs out of quota or gets it back.
/// Called before the kernel changes `throttle_count`.
#[inline(never)]
fn edge(group: u64, rq: u64, out: bool) {
    // A flag seen down before the next edge tells which edge took it down.
    if any_parked() {
        look_at_all();
    }
    let Some(cpu) = Cpu::of(rq) else { return };
    let cfs_rq = cpu.cfs_rq(group);
    if probe::<u64>(cfs_rq, offset!(cfs_rq_rq)) != Some(rq) {
        emit::count(Counter::RunQueueMismatch);
        return;
    }
    let count = probe::<i32>(cfs_rq, offset!(cfs_rq_throttle_count)).unwrap_or(-1);
    // Only the first of nested limits takes it out, and only the last brings it
    // back.
    if count != i32::from(!out) {
        return;
    }
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let Some(queue) = queue_or_new(cfs_rq, group, out) else {
        return;
    };
    if !queue.edge(out, now) {
        return;
    }
    if out {
        queue.set_owner(owner(group, cpu));
        return;
    }
    if reload(&queue.watched) != 0 {
        emit_span(queue, 1, 0);
    }
}

/// Counts the queue's time out of quota that ended with the edge so many `back`, after
/// `since_ns`.
#[inline(always)]
fn emit_span(queue: &CfsRq, back: u64, since_ns: u64) {
    let Some(span) = queue.span(back) else { return };
    if span.began_ns != 0 && span.ended_ns > since_ns {
        let key = SummaryKey {
            process_start_ns: span.owner_id,
            cgroup_id: queue.cgroup_id,
            tgid: 0,
            pad: 0,
        };
        let length = span.ended_ns.wrapping_sub(span.began_ns);
        emit::add_value(&key, series::SPAN, length);
    }
}

/// A traced thread has waited on the queue since `since_ns`, from before the first edge that
/// was seen: each time out of quota that came back meanwhile counts, as far as it is
/// remembered.
#[inline(always)]
fn watch(queue: &mut CfsRq, since_ns: u64) {
    if reload(&queue.watched) == 0 {
        queue.watched = 1;
        for back in 1..EDGES as u64 {
            emit_span(queue, back, since_ns);
        }
    }
}

/// Kernel id of the cgroup whose limit ran out: the nearest that has one and
/// nothing left of it on this CPU. 0 if there is none.
#[inline(always)]
fn owner(group: u64, cpu: Cpu) -> u64 {
    let mut at = group;
    for _ in 0..MAX_DEPTH {
        let cfs_rq = cpu.cfs_rq(at);
        let limited = probe::<i32>(cfs_rq, offset!(cfs_rq_runtime_enabled)).unwrap_or(0);
        let left = probe::<i64>(cfs_rq, offset!(cfs_rq_runtime_remaining)).unwrap_or(0);
        if limited != 0 && left <= 0 {
            return cgroup_id(at);
        }
        at = probe(at, offset!(group_parent)).unwrap_or(0);
        if at == 0 {
            break;
        }
    }
    0
}

#[inline(always)]
fn queue(cfs_rq: u64) -> Option<&'static mut CfsRq> {
    // SAFETY: map values stay valid while the program runs; the hooks above
    // alone write it, under the run queue's lock, but for `watched`.
    CFS_RQS
        .get_ptr_mut(cfs_rq)
        .map(|queue| unsafe { &mut *queue })
}

/// The queue's state if it is that of this cgroup's group: one of a group that has
/// been removed may lie at the address until its next edge.
#[inline(always)]
fn queue_of(cfs_rq: u64, cgroup_id: u64) -> Option<&'static mut CfsRq> {
    queue(cfs_rq).filter(|queue| reload(&queue.cgroup_id) == cgroup_id)
}

/// The queue's state, made if need be, or begun anew where it is that of a group that
/// has been removed. One that comes back without having been seen to go was out of
/// quota before we looked.
#[inline(always)]
fn queue_or_new(cfs_rq: u64, group: u64, out: bool) -> Option<&'static mut CfsRq> {
    let id = cgroup_id(group);
    let found = match queue(cfs_rq) {
        Some(found) if found.cgroup_id == id => return Some(found),
        Some(found) => found,
        None => {
            let empty = EMPTY_CFS_RQ.get(0)?;
            let _ = CFS_RQS.insert(cfs_rq, empty, 1);
            let Some(new) = queue(cfs_rq) else {
                emit::count(Counter::RunQueuesFull);
                return None;
            };
            emit::count(Counter::RunQueuesSeen);
            new
        }
    };
    found.begin(id, out);
    Some(found)
}

/// The queue that the thread waits on, if the hooks have told of it.
#[inline(always)]
fn waited_on(thread: &Thread) -> Option<&'static CfsRq> {
    if !is_on() {
        return None;
    }
    queue_of(reload(&thread.cfs_rq), reload(&thread.cgroup_id)).map(|queue| &*queue)
}

/// The thread becomes runnable at `now`, on the run queue that its task names, or would if it is
/// woken before anybody sees it.
#[inline(always)]
pub fn begin_wait(thread: &mut Thread, task: Task, now: u64) {
    if is_on() {
        // Its time on a CPU until now has been added already.
        refresh_group(thread, task);
        let cfs_rq: Task = load(task, offset!(task_cfs_rq));
        let fair = is_fair_task(task);
        wait_on(thread, if fair { cfs_rq as u64 } else { 0 }, now);
    }
}

#[inline(never)]
fn wait_on(thread: &mut Thread, cfs_rq: u64, now: u64) {
    let mut before = 0;
    if let Some(queue) = queue_of(cfs_rq, reload(&thread.cgroup_id)) {
        queue.watched = 1;
        before = CfsRq::total_at(reload(&queue.clock), now);
    } else if is_out_unseen(cfs_rq) {
        before = now;
    }
    thread.wait_on(cfs_rq, before);
}

/// Whether a queue that no hook has told of is out of quota: then it has been
/// since before we looked.
#[inline(always)]
fn is_out_unseen(cfs_rq: u64) -> bool {
    cfs_rq != 0 && probe::<i32>(cfs_rq, offset!(cfs_rq_throttle_count)).unwrap_or(0) > 0
}

/// The thread gets a CPU at `now`.
#[inline(always)]
pub fn end_wait(thread: &mut Thread, task: Task, now: u64) {
    if !is_on() {
        return;
    }
    // Real-time and sched_ext tasks are on no `cfs_rq`, whatever their entity says.
    // An int before 6.12 and a char since: the low byte tells.
    let fair = load::<u8>(task, offset!(task_on_cfs_rq)) != 0;
    let cfs_rq: Task = load(task, offset!(task_cfs_rq));
    if fair {
        look(thread, cfs_rq as u64, now, true);
    }
}

/// `locked` says that the queue's CPU runs this, under the lock of its run queue.
#[inline(never)]
fn look(thread: &mut Thread, cfs_rq: u64, now: u64, locked: bool) {
    if reload(&thread.state) == state::PARKED {
        thread.unpark_by_queue(waited_on(thread), now);
        return;
    }
    // Where the kernel parks threads one by one, one that is not parked waits for
    // a CPU, whatever its queue's quota.
    if setting!(throttle) != throttle::OVERLAY || reload(&thread.state) == state::ON_CPU {
        return;
    }
    let same = reload(&thread.cfs_rq) == cfs_rq;
    let shared = shared(thread.tgid);
    if let Some(queue) = queue_of(cfs_rq, reload(&thread.cgroup_id)) {
        if locked {
            watch(queue, reload(&thread.since_ns));
        }
        thread.look_at_queue(Some(queue), same, now, shared);
    } else if is_out_unseen(cfs_rq) {
        thread.look_at_queue(None, same, now, shared);
    }
}

/// `sched_migrate_task(p, dest_cpu)`: one that waits goes on waiting elsewhere.
#[btf_tracepoint(function = "sched_migrate_task")]
pub fn sched_migrate_task(ctx: BtfTracePointContext) -> i32 {
    let task: Task = ctx.arg(0);
    if filtered(load(task, offset!(task_tgid))) == FOREIGN {
        return 0;
    }
    let Some(thread) = find(task as u64) else {
        return 0;
    };
    if reload(&thread.state) != state::RUNNABLE {
        return 0;
    }
    // SAFETY: a helper without preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let old = reload(&thread.cfs_rq);
    look(thread, old, now, false);
    thread.migrate(now, shared(thread.tgid));
    refresh_group(thread, task);
    // A per-CPU pointer cannot be followed from the number alone: what the queue
    // remembers must do then.
    let new = if old == 0 || offset!(group_cfs_rq_percpu) != 0 {
        0
    } else {
        Cpu::numbered(ctx.arg(1)).cfs_rq(thread.group)
    };
    wait_on(thread, new, now);
    emit::count_anomalies(&ctx, thread);
    0
}
