//! Episodes that are still pending, from the kernel side's state.

use gohang_common::cause::{Component, Outcome, cause, sums};
use gohang_common::thread::{Shared, state};

use crate::event::{BlockedKinds, Episode, ProcessId};
use crate::probe::Pending;

/// The episode as far as it has come at `now_ns`.
pub(super) fn episode(pending: &Pending, now_ns: u64) -> Episode {
    let mut thread = *pending.thread;
    if thread.state == state::ON_CPU {
        // Whether its own handler blocks the signal is found out where a running interval
        // ends; until then it says so of the one before. A handler that is running is over
        // within microseconds: what is blocked for longer is masked.
        thread.own_handler = 0;
    }
    if let Some(queue) = pending.queue.as_deref()
        && thread.state == state::RUNNABLE
    {
        let sent_ns = pending.shared.map_or(0, |state| state.shared.sent_ns);
        thread.look_at_queue(Some(queue), true, now_ns, Shared { sent_ns });
    }
    let (account, sent) = match &pending.shared {
        Some(state) => (
            thread.shared_until(now_ns, state.shared.sent_ns),
            &state.shared,
        ),
        None => (thread.private_until(now_ns), &thread.private),
    };
    let parts = sums(&account.parts);
    let end = thread
        .comm
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(thread.comm.len());
    let part = |component: Component| account.parts[component as usize];
    Episode {
        process: ProcessId {
            pid: thread.tgid,
            start_ns: thread.process_start_ns,
        },
        tid: thread.tid,
        comm: thread.comm[..end].to_vec(),
        goid: None,
        pc: None,
        place: None,
        handler: None,
        handler_place: None,
        sender_tid: (sent.sender_known != 0).then_some(sent.sender_tid),
        process_directed: pending.shared.is_some(),
        sender_pid: (sent.sender_known != 0).then_some(sent.sender_tgid),
        sent_ns: sent.sent_ns,
        end_ns: now_ns,
        coalesced: sent.coalesced,
        outcome: Outcome::PendingAtEnd,
        parts,
        blocked_kinds: BlockedKinds {
            interruptible: part(Component::BlockedInterruptible),
            uninterruptible: part(Component::BlockedUninterruptible),
            stopped: part(Component::BlockedStopped),
            traced: part(Component::BlockedTraced),
            frozen: part(Component::BlockedFrozen),
        },
        cause: cause(&parts),
        estimate: account.estimate != 0,
        cgroup_id: (thread.cgroup_id != 0).then_some(thread.cgroup_id),
        ran_ns: 0,
    }
}

#[cfg(test)]
mod tests {
    use gohang_common::thread::{Pending as Sent, Thread};

    use super::*;

    /// A thread in `state` with SIGURG blocked, which came out of its own handler when it
    /// took the signal before; one is pending since 1 s.
    fn pending(state: u8) -> Pending {
        let mut thread = Box::new(Thread::default());
        thread.state = state;
        thread.blocked = 1;
        thread.own_handler = 1;
        thread.since_ns = 500_000_000;
        thread.private = Sent {
            sent_ns: 1_000_000_000,
            blocked: 1,
            ..Sent::default()
        };
        Pending {
            thread,
            queue: None,
            shared: None,
        }
    }

    #[test]
    fn a_running_thread_that_blocks_it_is_masked_whatever_was_before() {
        let episode = episode(&pending(state::ON_CPU), 2_200_000_000);
        assert_eq!(episode.parts.masked, 1_200_000_000);
        assert_eq!(episode.parts.running, 0);
    }

    #[test]
    fn a_thread_that_left_its_cpu_in_its_own_handler_is_not_masked() {
        let episode = episode(&pending(state::RUNNABLE), 2_200_000_000);
        assert_eq!(episode.parts.masked, 0);
        assert_eq!(episode.parts.runqueue, 1_200_000_000);
    }
}
