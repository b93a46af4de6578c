//! Threads that send their own process's signals, and how they got to run.

use std::collections::{BTreeMap, BTreeSet};

use gohang_common::thread::Thread;
use serde::{Deserialize, Serialize};

use crate::event::ProcessId;

/// What a thread that has sent SIGURG to its own process did since it is traced, up to its
/// last switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderUse {
    /// Its process.
    pub process: ProcessId,
    /// The thread, root PID namespace.
    pub tid: u32,
    /// As of when, CLOCK_MONOTONIC ns.
    pub at_ns: u64,
    /// Signals that it sent to its own process.
    pub sent: u32,
    /// Time on a CPU, ns.
    pub ran_ns: u64,
    /// Time out of quota, ns.
    pub stall_ns: u64,
    /// Time waiting for a CPU, ns.
    pub runqueue_ns: u64,
    /// Those waits (out of quota and for a CPU together) that took 10 ms or more, ns.
    pub long_wait_ns: u64,
    /// How many.
    pub long_waits: u32,
    /// Time that the process's other threads, of those that still live, were on a CPU, ns.
    pub others_ran_ns: u64,
}

/// Those of traced processes, as of now.
pub(super) fn uses(threads: &[Thread], traced: &BTreeSet<u32>, at_ns: u64) -> Vec<SenderUse> {
    let id = |thread: &Thread| ProcessId {
        pid: thread.tgid,
        start_ns: thread.process_start_ns,
    };
    let traced = || {
        threads
            .iter()
            .filter(|thread| traced.contains(&thread.tgid))
    };
    let mut ran: BTreeMap<ProcessId, u64> = BTreeMap::new();
    for thread in traced() {
        *ran.entry(id(thread)).or_default() += thread.waits.ran_ns;
    }
    traced()
        .filter(|thread| thread.waits.sent > 0)
        .map(|thread| {
            let process = id(thread);
            let waits = &thread.waits;
            SenderUse {
                process,
                tid: thread.tid,
                at_ns,
                sent: waits.sent,
                ran_ns: waits.ran_ns,
                stall_ns: waits.stall_ns,
                runqueue_ns: waits.runqueue_ns,
                long_wait_ns: waits.long_wait_ns,
                long_waits: waits.long_waits,
                others_ran_ns: ran.get(&process).map_or(0, |all| all - waits.ran_ns),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gohang_common::thread::Waits;

    #[test]
    fn of_traced_processes_those_that_have_sent() {
        let thread = |tgid, tid, ran_ns, sent| {
            let mut thread = Thread::default();
            thread.tgid = tgid;
            thread.tid = tid;
            thread.process_start_ns = 1;
            thread.waits = Waits {
                ran_ns,
                sent,
                stall_ns: 5,
                long_waits: 2,
                ..Waits::default()
            };
            thread
        };
        let threads = [
            thread(7, 7, 100, 0),
            thread(7, 8, 10, 3),
            thread(7, 9, 1000, 0),
            thread(70, 71, 1, 4),
        ];
        let uses = uses(&threads, &BTreeSet::from([7]), 99);
        let [only] = uses[..] else { panic!("{uses:?}") };
        assert_eq!((only.tid, only.sent, only.ran_ns), (8, 3, 10));
        assert_eq!(
            (only.others_ran_ns, only.stall_ns, only.at_ns),
            (1100, 5, 99)
        );
    }
}
