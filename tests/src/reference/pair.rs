//! From raw events to episodes, by the definitions alone:
//!
//! - the clock starts at the first send that queued the signal (result 0, or 4 when the
//!   kernel had no memory for its details); later sends while it is pending (result 2) are
//!   coalesced and never restart it;
//! - a thread's own signal and its process's shared one pend apart, and a thread that has both
//!   takes its own first;
//! - a new first send while one is held means that the held one was taken unseen (signalfd,
//!   a tracer that swallowed it, a flush);
//! - a thread that executes a program takes over the leader's id, with what it has pending.

use std::collections::{HashMap, HashSet};

use super::record::{Event, What};

/// Whom a signal was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Directed {
    /// One thread.
    Thread,
    /// A process: any of its threads may take it.
    Process,
}

/// How an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Taken by a handler.
    Delivered,
    /// Taken, but the disposition was the default or to ignore.
    DeliveredNoHandler,
    /// Never queued.
    Ignored,
    /// The thread, or the whole process, ended first.
    Exited,
    /// Taken in a way the kernel does not report.
    ConsumedUnseen,
    /// Still pending when the recording ended.
    PendingAtEnd,
}

/// One pending SIGURG from its first send to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    /// The process that took it, or was meant to.
    pub pid: u32,
    /// The thread that took it; for a process's signal that nobody took, the one named.
    pub tid: u32,
    /// Whom it was sent to.
    pub directed: Directed,
    /// The sending process, `None` when the kernel sent it.
    pub sender_pid: Option<u32>,
    /// Clock of the first send.
    pub sent_ns: u64,
    /// Clock of the end: of the delivery, or when it was known to have ended otherwise.
    pub end_ns: u64,
    /// Further sends while it was pending.
    pub coalesced: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl Episode {
    /// Whether a thread was seen to take it.
    pub fn is_delivered(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Delivered | Outcome::DeliveredNoHandler
        )
    }

    /// First send to delivery; `None` when not delivered.
    pub fn latency_ns(&self) -> Option<u64> {
        self.is_delivered().then(|| self.end_ns - self.sent_ns)
    }
}

/// The result of a pairing.
#[derive(Clone, Debug, Default)]
pub struct Pairing {
    /// All episodes, in the order of their ends.
    pub episodes: Vec<Episode>,
    /// Deliveries of which no send was recorded, as (process, thread, clock). Only signals
    /// sent before the recording began may leave one.
    pub orphans: Vec<(u32, u32, u64)>,
    /// Sends to a thread that had already begun to exit: nothing can take them.
    pub to_exiting: u64,
    /// Sends to a process by a thread id of unknown process.
    pub unresolved: u64,
    /// Coalesced sends onto something queued before the recording began.
    pub begun_before: u64,
}

#[derive(Clone, Copy)]
struct Held {
    named: u32,
    sender_pid: Option<u32>,
    sent_ns: u64,
    coalesced: u64,
}

#[derive(Default)]
struct State {
    own: HashMap<u32, Held>,
    shared: HashMap<u32, Held>,
    process_of: HashMap<u32, u32>,
    members: HashMap<u32, HashSet<u32>>,
    exiting: HashSet<u32>,
    out: Pairing,
}

/// Pairs `events` (in clock order) of a recording that ended at `to_ns`, given the threads
/// alive when it began.
pub fn pair(events: &[Event], threads: &[(u32, u32)], to_ns: u64) -> Pairing {
    let mut s = State::default();
    for &(pid, tid) in threads {
        s.born(pid, tid);
    }
    for e in events {
        match e.what {
            What::Generate { .. } => s.generate(e),
            What::Deliver { handled } => s.deliver(e, handled),
            What::Fork => {
                s.exiting.remove(&e.tid);
                s.born(e.pid, e.tid);
            }
            What::Exit => s.exit(e),
            What::Exec { old_tid } => s.exec(e, old_tid),
        }
    }
    s.end(to_ns)
}

impl State {
    fn born(&mut self, pid: u32, tid: u32) {
        self.process_of.insert(tid, pid);
        self.members.entry(pid).or_default().insert(tid);
    }

    fn generate(&mut self, e: &Event) {
        let What::Generate {
            target,
            group,
            result,
            code,
        } = e.what
        else {
            return;
        };
        let Some(&pid) = self.process_of.get(&target) else {
            self.out.unresolved += 1;
            return;
        };
        if !group && self.exiting.contains(&target) {
            self.out.to_exiting += 1;
            return;
        }
        let new = Held {
            named: target,
            sender_pid: (code != SI_KERNEL).then_some(e.pid),
            sent_ns: e.time_ns,
            coalesced: 0,
        };
        let directed = if group {
            Directed::Process
        } else {
            Directed::Thread
        };
        let (held, key) = if group {
            (&mut self.shared, pid)
        } else {
            (&mut self.own, target)
        };
        match result {
            0 | 4 => {
                if let Some(old) = held.insert(key, new) {
                    let end = (Outcome::ConsumedUnseen, e.time_ns);
                    self.finish(old, pid, old.named, directed, end);
                }
            }
            1 => self.finish(new, pid, target, directed, (Outcome::Ignored, e.time_ns)),
            2 => match held.get_mut(&key) {
                Some(h) => h.coalesced += 1,
                None => self.out.begun_before += 1,
            },
            // 3 (queue full) is for real-time signals only.
            _ => self.out.unresolved += 1,
        }
    }

    fn deliver(&mut self, e: &Event, handled: bool) {
        let outcome = if handled {
            Outcome::Delivered
        } else {
            Outcome::DeliveredNoHandler
        };
        let end = (outcome, e.time_ns);
        if let Some(held) = self.own.remove(&e.tid) {
            self.finish(held, e.pid, e.tid, Directed::Thread, end);
        } else if let Some(held) = self.shared.remove(&e.pid) {
            self.finish(held, e.pid, e.tid, Directed::Process, end);
        } else {
            self.out.orphans.push((e.pid, e.tid, e.time_ns));
        }
    }

    fn exit(&mut self, e: &Event) {
        let end = (Outcome::Exited, e.time_ns);
        if let Some(held) = self.own.remove(&e.tid) {
            self.finish(held, e.pid, e.tid, Directed::Thread, end);
        }
        self.exiting.insert(e.tid);
        let members = self.members.entry(e.pid).or_default();
        members.remove(&e.tid);
        if members.is_empty() {
            self.members.remove(&e.pid);
            if let Some(held) = self.shared.remove(&e.pid) {
                self.finish(held, e.pid, held.named, Directed::Process, end);
            }
        }
    }

    fn exec(&mut self, e: &Event, old_tid: u32) {
        if old_tid == e.tid {
            return;
        }
        // The old leader has exited; the thread goes on under the leader's id.
        self.exiting.remove(&e.tid);
        if let Some(held) = self.own.remove(&old_tid) {
            self.own.insert(
                e.tid,
                Held {
                    named: e.tid,
                    ..held
                },
            );
        }
        self.process_of.remove(&old_tid);
        self.members.entry(e.pid).or_default().remove(&old_tid);
        self.born(e.pid, e.tid);
    }

    fn finish(&mut self, h: Held, pid: u32, tid: u32, directed: Directed, end: (Outcome, u64)) {
        self.out.episodes.push(Episode {
            pid,
            tid,
            directed,
            sender_pid: h.sender_pid,
            sent_ns: h.sent_ns,
            end_ns: end.1,
            coalesced: h.coalesced,
            outcome: end.0,
        });
    }

    fn end(mut self, to_ns: u64) -> Pairing {
        let end = (Outcome::PendingAtEnd, to_ns);
        for (tid, held) in std::mem::take(&mut self.own) {
            let pid = self.process_of.get(&tid).copied().unwrap_or(tid);
            self.finish(held, pid, tid, Directed::Thread, end);
        }
        for (pid, held) in std::mem::take(&mut self.shared) {
            self.finish(held, pid, held.named, Directed::Process, end);
        }
        self.out
    }
}

/// `si_code` of a signal that the kernel sent by itself.
const SI_KERNEL: i32 = 0x80;
