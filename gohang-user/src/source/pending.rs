//! Episodes that are still pending, from the kernel side's state.

use gohang_common::cause::{Component, Outcome, cause, sums};
use gohang_common::thread::{Shared, state};

use crate::event::{BlockedKinds, Episode, ProcessId};
use crate::probe::Pending;

/// The episode as far as it has come at `now_ns`.
pub(super) fn episode(pending: &Pending, now_ns: u64) -> Episode {
    let mut thread = *pending.thread;
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
    }
}
