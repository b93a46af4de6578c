//! State of a traced thread and the accounting of its pending signals.
//!
//! Two sides write it, each its own fields, so that no lock is needed (tracing
//! programs may not take one):
//!
//! - the signal side, under the target's siglock: [`Pending`];
//! - the thread's own side, serialised by the scheduler (its switches, its
//!   wake-ups, its deliveries): everything else.
//!
//! A transition closes the open interval, adds it to the pending episodes that
//! overlap it, and opens the next. A first send may become visible to the
//! thread's own side one transition late (the two sides run on different
//! CPUs); the interval before the open one is therefore kept, and an episode
//! that is seen for the first time takes its share of both.

use crate::account::absorb;
pub use crate::account::{Account, Interval, anomaly};
use crate::bandwidth::{CfsRq, UNSEEN_CLOCK};
pub use crate::memory::{UNKNOWN, reload};

/// What a thread does; a `u8` so that every bit pattern in a map is valid. The
/// numbers are those of [`crate::cause::Component`].
pub mod state {
    /// On a CPU.
    pub const ON_CPU: u8 = 1;
    /// On a run queue.
    pub const RUNNABLE: u8 = 2;
    /// Runnable, but out of quota.
    pub const PARKED: u8 = 3;
    /// Asleep, wakeable by signals.
    pub const INTERRUPTIBLE: u8 = 4;
    /// Asleep, not wakeable by SIGURG.
    pub const UNINTERRUPTIBLE: u8 = 5;
    /// Stopped by a job-control signal.
    pub const STOPPED: u8 = 6;
    /// Stopped by a tracer.
    pub const TRACED: u8 = 7;
    /// In a frozen cgroup.
    pub const FROZEN: u8 = 8;
    /// Ended.
    pub const DEAD: u8 = 9;
}

/// Task state bits (include/linux/sched.h, the same from 5.10 to 7.3).
mod task {
    pub const INTERRUPTIBLE: u32 = 0x1;
    pub const UNINTERRUPTIBLE: u32 = 0x2;
    pub const STOPPED: u32 = 0x4;
    pub const TRACED: u32 = 0x8;
    pub const DEAD: u32 = 0x80;
    /// Rt-mutex sleep of PREEMPT_RT.
    pub const RTLOCK_WAIT: u32 = 0x1000;
    /// cgroup v1 freezer and suspend (6.1 and later).
    pub const FROZEN: u32 = 0x8000;
    /// All of the above; the other bits only modify.
    pub const KNOWN: u32 =
        INTERRUPTIBLE | UNINTERRUPTIBLE | STOPPED | TRACED | DEAD | RTLOCK_WAIT | FROZEN;
}

/// Classifies a switch-out.
///
/// `preempt` is set when the thread left involuntarily from kernel mode,
/// `prev_state` the raw task state with modifiers, `throttled` whether the
/// thread (6.18 and later) or its run queue (before) is out of quota, `frozen`
/// whether its cgroup is frozen. `preempt` alone never means throttled: a park
/// shows it on some preemption models and not on others.
#[inline(always)]
#[must_use]
pub const fn classify(preempt: bool, prev_state: u32, throttled: bool, frozen: bool) -> u8 {
    let bits = prev_state & task::KNOWN;
    if preempt || bits == 0 {
        return if throttled {
            state::PARKED
        } else {
            state::RUNNABLE
        };
    }
    if bits & task::DEAD != 0 {
        state::DEAD
    } else if bits & task::FROZEN != 0 || frozen {
        state::FROZEN
    } else if bits & task::TRACED != 0 {
        state::TRACED
    } else if bits & task::STOPPED != 0 {
        state::STOPPED
    } else if bits & (task::UNINTERRUPTIBLE | task::RTLOCK_WAIT) != 0 {
        state::UNINTERRUPTIBLE
    } else {
        state::INTERRUPTIBLE
    }
}

/// Whether a thread in this state needs a wake-up to become runnable.
#[inline(always)]
#[must_use]
pub const fn is_asleep(state: u8) -> bool {
    state >= state::INTERRUPTIBLE && state <= state::FROZEN
}

/// A pending SIGURG, of one thread or of one process. Written by the signal
/// side only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Pending {
    /// First send in ns, 0 if none is pending. Written last.
    pub sent_ns: u64,
    /// Later sends absorbed.
    pub coalesced: u32,
    /// Sending process, valid with `sender_known`.
    pub sender_tgid: u32,
    /// 1 if a process sent it.
    pub sender_known: u8,
    /// 1 if SIGURG was in the thread's blocked set at the first send; of a
    /// process's, 0.
    pub blocked: u8,
    /// 1 once the queue is known (a first generate or deliver was seen, or its
    /// owner began under our eyes): from then on an unmatched deliver is
    /// impossible.
    pub known: u8,
    /// Padding, zero.
    pub pad: u8,
    /// Sending thread, valid with `sender_known`.
    pub sender_tid: u32,
}

/// How a thread's time went since it is traced, of what has ended by its last switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Waits {
    /// On a CPU, ns.
    pub ran_ns: u64,
    /// Out of quota, ns.
    pub stall_ns: u64,
    /// Waiting for a CPU, ns.
    pub runqueue_ns: u64,
    /// Out of quota since it last woke up, ns.
    pub woken_stall_ns: u64,
    /// Waiting for a CPU since it last woke up, ns.
    pub woken_runqueue_ns: u64,
    /// Those waits of it that each took [`LONG_WAIT_NS`] and more, out of quota and for a
    /// CPU together, ns.
    pub long_wait_ns: u64,
    /// How many.
    pub long_waits: u32,
    /// SIGURGs that it sent to its own process.
    pub sent: u32,
}

/// A wait that is long for a thread that is to act every 10 ms (`forcePreemptNS` of the
/// Go runtime's proc.go, 1.14 to 1.27).
pub const LONG_WAIT_NS: u64 = 10_000_000;

impl Waits {
    /// Adds what a switch-in ended; [`UNKNOWN`] is none.
    #[inline(always)]
    pub fn add(&mut self, stall_ns: u64, runqueue_ns: u64) {
        let stall = if stall_ns == UNKNOWN { 0 } else { stall_ns };
        let runqueue = if runqueue_ns == UNKNOWN {
            0
        } else {
            runqueue_ns
        };
        self.stall_ns = self.stall_ns.wrapping_add(stall);
        self.runqueue_ns = self.runqueue_ns.wrapping_add(runqueue);
        self.woken_stall_ns = self.woken_stall_ns.wrapping_add(stall);
        self.woken_runqueue_ns = self.woken_runqueue_ns.wrapping_add(runqueue);
        let wait = stall.wrapping_add(runqueue);
        if wait >= LONG_WAIT_NS {
            self.long_wait_ns = self.long_wait_ns.wrapping_add(wait);
            self.long_waits = self.long_waits.wrapping_add(1);
        }
    }
}

/// State of a traced thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Thread {
    /// Process, root PID namespace.
    pub tgid: u32,
    /// Thread, root PID namespace.
    pub tid: u32,
    /// Thread, its own PID namespace; 0 if that could not be read.
    pub own_tid: u32,
    /// Padding, zero.
    pad0: u32,
    /// Start time of the process, CLOCK_MONOTONIC ns.
    pub process_start_ns: u64,
    /// Kernel id of the cgroup that the CPU controller charges, 0 if unknown.
    pub cgroup_id: u64,
    /// Address of the task group that `cgroup_id` belongs to.
    pub group: u64,
    /// Begin of the open interval, ns; 0 is "before we looked".
    pub since_ns: u64,
    /// When its park ended, 0 if not seen. May be written from the interrupt
    /// that sees it; one older than `since_ns` is stale.
    pub unpark_ns: u64,
    /// Address of the `cfs_rq` that it waits on since `since_ns`; 0 where that is
    /// not known or does not matter.
    pub cfs_rq: u64,
    /// How long that `cfs_rq` had been out of quota at `since_ns`, ns.
    pub out_before_ns: u64,
    /// Of the open interval, as of the transition under way: how long it was out
    /// of quota,
    pub out_ns: u64,
    /// the same since the private signal was sent,
    pub out_private_ns: u64,
    /// and since the shared one was.
    pub out_shared_ns: u64,
    /// Of a wait that went on on other run queues before: how long it was, ns,
    waited_ns: u64,
    /// and how much of that out of quota.
    waited_out_ns: u64,
    /// User stack pointer where SIGURG last interrupted it.
    pub handler_sp: u64,
    /// User instruction pointer where SIGURG last interrupted it.
    pub handler_return_ip: u64,
    /// Address of the handler that SIGURG was last delivered to.
    pub handler_ip: u64,
    /// One of [`state`], of the open interval.
    pub state: u8,
    /// SIGURG blocked at the begin of the open interval.
    pub blocked: u8,
    /// 1 if it is SIGURG's own handler that blocks it, as of the last
    /// transition.
    pub own_handler: u8,
    /// 1 from a SIGURG delivery until its handler is seen to have returned.
    pub took_handler: u8,
    /// 1 if `state` was read from the task rather than seen to begin.
    pub guessed: u8,
    /// 1 if the end of this kernel's parks cannot be seen per thread.
    pub estimate: u8,
    /// 1 if `out_ns` and its like are estimates, as of the transition under way.
    pub out_estimate: u8,
    /// Padding, zero.
    pub pad: [u8; 1],
    /// The interval before the open one.
    pub closed: Interval,
    /// The one before that.
    pub previous: Interval,
    /// Result of the last transition: ns on a CPU, or [`UNKNOWN`].
    pub ran_ns: u64,
    /// Result of the last switch-in: ns out of quota, or [`UNKNOWN`].
    pub stall_ns: u64,
    /// Result of the last switch-in: ns on the run queue, or [`UNKNOWN`].
    pub runqueue_ns: u64,
    /// Result of the last transition: `anomaly` bits.
    pub anomalies: u32,
    /// State that the transition under way leads to.
    next_state: u8,
    /// SIGURG blocked as of the transition under way.
    next_blocked: u8,
    /// Padding, zero.
    pad2: [u8; 2],
    /// First send of the process's shared signal, as of the transition under
    /// way.
    shared_sent_ns: u64,
    /// The kernel side's scratch word; means nothing.
    pub scratch: u64,
    /// The thread's private signal.
    pub private: Pending,
    /// Its episode's components.
    pub private_account: Account,
    /// Components of the process's shared signal, as of this thread.
    pub shared_account: Account,
    /// How its time went.
    pub waits: Waits,
    /// Name, NUL padded.
    pub comm: [u8; 16],
}

/// What the shared queue holds, as far as accounting needs it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared {
    /// First send of the process's pending SIGURG, 0 if none.
    pub sent_ns: u64,
}

impl Thread {
    /// Puts what a transition leads to into memory: see [`reload`].
    #[inline(always)]
    fn prepare(&mut self, state: u8, blocked: u8, shared: Shared) {
        self.next_state = state;
        self.next_blocked = blocked;
        self.shared_sent_ns = shared.sent_ns;
    }

    /// Closes the open interval at `now`; it is `closed` then. `own_handler`
    /// tells whether its own handler blocked the signal up to now.
    #[inline(always)]
    fn close(&mut self, now: u64) {
        self.anomalies |= (now < self.since_ns) as u32 * anomaly::CLOCK_BACKWARDS;
        self.previous = self.closed;
        let unpark_ns = reload(&self.unpark_ns);
        self.closed = Interval {
            start_ns: self.since_ns,
            end_ns: now,
            unpark_ns: if unpark_ns >= self.since_ns {
                unpark_ns
            } else {
                0
            },
            out_ns: reload(&self.out_ns),
            state: self.state,
            blocked: self.blocked,
            own_handler: reload(&self.own_handler),
            estimate: self.estimate | reload(&self.out_estimate),
            pad: [0; 4],
        };
        let sent_ns = reload(&self.private.sent_ns);
        if sent_ns != 0 {
            let blocked = reload(&self.private.blocked);
            self.anomalies |= absorb(
                &mut self.private_account,
                sent_ns,
                Some(blocked),
                reload(&self.out_private_ns),
                &self.closed,
                &self.previous,
            );
        }
        let sent_ns = reload(&self.shared_sent_ns);
        if sent_ns != 0 {
            self.anomalies |= absorb(
                &mut self.shared_account,
                sent_ns,
                None,
                reload(&self.out_shared_ns),
                &self.closed,
                &self.previous,
            );
        }
    }

    /// Opens the next interval at `now`, all but its state.
    #[inline(always)]
    fn open(&mut self, now: u64) {
        self.unpark_ns = 0;
        self.out_ns = 0;
        self.out_private_ns = 0;
        self.out_shared_ns = 0;
        self.out_estimate = 0;
        self.since_ns = now;
        self.blocked = reload(&self.next_blocked);
        self.guessed = 0;
    }

    /// Ends the transition under way: whoever wakes or unparks the thread, on another CPU, looks
    /// at its state first and then goes on from all else, which is to be there by then.
    #[inline(always)]
    pub fn publish_state(&mut self) {
        let state = reload(&self.next_state);
        // SAFETY: a field of this thread. Volatile: after everything else.
        unsafe { core::ptr::write_volatile(&raw mut self.state, state) };
    }

    #[inline(always)]
    fn forget_results(&mut self) {
        self.ran_ns = UNKNOWN;
        self.stall_ns = UNKNOWN;
        self.runqueue_ns = UNKNOWN;
        self.anomalies = 0;
    }

    /// The thread leaves its CPU. `own_handler` says that it is inside its own
    /// SIGURG handler. Results: `ran_ns`, `anomalies`.
    #[inline(always)]
    pub fn switch_out(
        &mut self,
        now: u64,
        next: u8,
        blocked: bool,
        own_handler: bool,
        shared: Shared,
    ) {
        self.leave(now, next, blocked, own_handler, shared);
        self.publish_state();
    }

    /// The same up to [`Thread::publish_state`], which is to follow: until then the thread is on
    /// its CPU to others, and a wake-up means nothing.
    #[inline(always)]
    pub fn leave(&mut self, now: u64, next: u8, blocked: bool, own_handler: bool, shared: Shared) {
        self.forget_results();
        self.prepare(next, blocked as u8, shared);
        self.own_handler = own_handler as u8;
        let guessed = reload(&self.guessed);
        if self.state != state::ON_CPU {
            if guessed == 0 {
                self.anomalies = anomaly::OUT_WHILE_OFF;
            }
            self.state = state::ON_CPU;
        }
        self.close(now);
        if guessed == 0 {
            self.ran_ns = now.wrapping_sub(self.closed.start_ns);
            self.waits.ran_ns = self.waits.ran_ns.wrapping_add(self.ran_ns);
        }
        self.open(now);
    }

    /// The thread gets a CPU. Results: `stall_ns`, `runqueue_ns`, `anomalies`.
    #[inline(always)]
    pub fn switch_in(&mut self, now: u64, blocked: bool, shared: Shared) {
        self.forget_results();
        self.prepare(state::ON_CPU, blocked as u8, shared);
        let guessed = reload(&self.guessed);
        if self.state == state::ON_CPU {
            if guessed == 0 {
                self.anomalies = anomaly::IN_WHILE_ON;
            }
            self.state = state::RUNNABLE;
        }
        if is_asleep(self.state) {
            // No wake-up since it left its CPU: it was woken before it left,
            // while it was on its way to sleep, and so stayed runnable.
            self.state = state::RUNNABLE;
        }
        if cfg!(feature = "drop-switch-in") {
            self.closed = Interval {
                start_ns: self.since_ns,
                end_ns: now,
                state: self.state,
                ..Interval::default()
            };
        } else {
            self.close(now);
        }
        if guessed == 0 {
            let start = reload(&self.closed.start_ns);
            let unpark_ns = reload(&self.closed.unpark_ns);
            if reload(&self.closed.state) != state::PARKED {
                let out = reload(&self.waited_out_ns).wrapping_add(reload(&self.closed.out_ns));
                let waited = reload(&self.waited_ns).wrapping_add(now.wrapping_sub(start));
                self.runqueue_ns = waited.wrapping_sub(out);
                if out != 0 {
                    self.stall_ns = out;
                }
            } else if unpark_ns != 0 && unpark_ns < now {
                self.stall_ns = unpark_ns - start;
                self.runqueue_ns = now - unpark_ns;
            } else {
                self.stall_ns = now.wrapping_sub(start);
            }
        }
        self.waited_ns = 0;
        self.waited_out_ns = 0;
        self.open(now);
        self.publish_state();
    }

    /// The thread is woken; `parked` says into a run queue that is out of
    /// quota. A wake-up of a thread that is not asleep means nothing. Result:
    /// `anomalies`.
    #[inline(always)]
    pub fn wake(&mut self, now: u64, parked: bool, shared: Shared) {
        self.anomalies = 0;
        if !is_asleep(reload(&self.state)) {
            return;
        }
        let next = if parked {
            state::PARKED
        } else {
            state::RUNNABLE
        };
        let blocked = reload(&self.blocked);
        self.prepare(next, blocked, shared);
        self.close(now);
        self.open(now);
        self.publish_state();
        self.waits.woken_stall_ns = 0;
        self.waits.woken_runqueue_ns = 0;
    }

    /// The thread, which waits on a run queue, is moved to another one. Result:
    /// `anomalies`.
    #[inline(always)]
    pub fn migrate(&mut self, now: u64, shared: Shared) {
        self.anomalies = 0;
        if reload(&self.state) != state::RUNNABLE {
            return;
        }
        let blocked = reload(&self.blocked);
        self.prepare(state::RUNNABLE, blocked, shared);
        let guessed = reload(&self.guessed);
        self.close(now);
        let waited = now.wrapping_sub(reload(&self.closed.start_ns));
        self.waited_ns = self.waited_ns.wrapping_add(waited);
        self.waited_out_ns = self.waited_out_ns.wrapping_add(reload(&self.closed.out_ns));
        self.open(now);
        self.publish_state();
        // How long it had waited before is not known any better.
        self.guessed = guessed;
    }

    /// The thread begins to wait on a `cfs_rq` that has been out of quota for
    /// `out_before_ns` up to now.
    #[inline(always)]
    pub fn wait_on(&mut self, cfs_rq: u64, out_before_ns: u64) {
        self.cfs_rq = cfs_rq;
        self.out_before_ns = out_before_ns;
    }

    /// Before the transition that ends the wait on `queue` at `now`, or looks at
    /// it: works out how long that was out of quota. `same` says that it is the
    /// one that [`Thread::wait_on`] named. No queue: one that has been out of quota
    /// since before we looked.
    #[inline(always)]
    pub fn look_at_queue(&mut self, queue: Option<&CfsRq>, same: bool, now: u64, shared: Shared) {
        let since = reload(&self.since_ns);
        if same {
            let clock = queue.map_or(UNSEEN_CLOCK, |queue| reload(&queue.clock));
            let total = CfsRq::total_at(clock, now);
            self.out_ns = total.wrapping_sub(reload(&self.out_before_ns));
        } else {
            self.out_ns = self.out_since(queue, since, now);
        }
        let sent_ns = reload(&self.private.sent_ns);
        if sent_ns >= since && sent_ns != 0 {
            self.out_private_ns = self.out_since(queue, sent_ns, now);
        }
        if shared.sent_ns >= since && shared.sent_ns != 0 {
            self.out_shared_ns = self.out_since(queue, shared.sent_ns, now);
        }
    }

    /// Time out of quota from `since` to `now`; where the queue does not remember,
    /// all of it at most, as an estimate.
    #[inline(always)]
    fn out_since(&mut self, queue: Option<&CfsRq>, since: u64, now: u64) -> u64 {
        if since >= now {
            return 0;
        }
        let Some(queue) = queue else {
            return now - since;
        };
        let out = queue.out_since(since, now);
        if out != UNKNOWN {
            return out;
        }
        self.out_estimate = 1;
        now - since
    }

    /// Before the transition at `now` that ends a park: the park was over by then, or by when
    /// that was first seen. It ended when quota last came back before to the queue that
    /// [`Thread::wait_on`] named, if there is one that tells.
    #[inline(always)]
    pub fn unpark_by_queue(&mut self, queue: Option<&CfsRq>, now: u64) {
        let seen_ns = match reload(&self.unpark_ns) {
            0 => now,
            seen_ns => seen_ns,
        };
        let back_ns = queue.map_or(0, |queue| queue.back_by(seen_ns));
        let told = back_ns > reload(&self.since_ns);
        self.unpark_ns = if told { back_ns } else { seen_ns };
    }

    /// The thread takes a SIGURG: closes the running interval at `now`.
    /// `own_handler` says that it comes straight out of its own handler.
    /// Results: `ran_ns`, `anomalies`.
    #[inline(always)]
    pub fn deliver(&mut self, now: u64, own_handler: bool, shared: Shared) {
        self.switch_out(now, state::ON_CPU, false, own_handler, shared);
    }

    /// The park is over as of `now`.
    #[inline(always)]
    pub fn unpark(&mut self, now: u64) {
        if self.state == state::PARKED && self.unpark_ns == 0 {
            self.unpark_ns = now;
        }
    }

    /// Components of the private episode up to `now`, on a copy: for an episode
    /// that is still pending.
    #[must_use]
    pub fn private_until(&self, now: u64) -> Account {
        let mut copy = *self;
        copy.shared_sent_ns = 0;
        copy.close(now);
        copy.private_account
    }

    /// Components of the process's shared episode up to `now` as of this
    /// thread, on a copy.
    #[must_use]
    pub fn shared_until(&self, now: u64, sent_ns: u64) -> Account {
        let mut copy = *self;
        copy.shared_sent_ns = sent_ns;
        copy.close(now);
        copy.shared_account
    }
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
