//! `undelivered`: a signal has been pending for longer than the limit.

use gohang_common::cause::Outcome;

use super::explain::PENDING_LIMIT;
use super::{Explanation, Finding, Rule, Thresholds, components};
use crate::event::Episode;
use crate::report::Severity;
use crate::units::duration;

#[derive(Debug)]
pub(super) struct Undelivered;

impl Rule for Undelivered {
    fn name(&self) -> &'static str {
        "undelivered"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "a preemption signal has been pending for long and has not arrived",
            meaning: "The thread does not return to user mode, is stopped or frozen, or has SIGURG blocked: as long as that lasts its goroutine cannot be preempted, and a garbage collection that has begun waits for it.",
            detection: "what is pending is looked at every second and at the end of the trace; the time is that since the first send",
            severity: "critical, always",
            limits: &[PENDING_LIMIT],
            advice: "look at the thread's state and mask (/proc/PID/task/TID/status, stack) and at its group's quota and freezer; the evidence says where the time went so far",
        }
    }

    fn look(&mut self, episode: &Episode, thresholds: &Thresholds) -> Option<Finding> {
        if episode.outcome != Outcome::PendingAtEnd {
            return None;
        }
        let pending = episode.end_ns.checked_sub(episode.sent_ns)?;
        if u128::from(pending) <= thresholds.pending.as_nanos() {
            return None;
        }
        let mut evidence = components(episode);
        evidence.insert("pending_ns".to_owned(), pending.into());
        Some(Finding {
            severity: Severity::Critical,
            headline: format!(
                "a preemption signal has been pending for {} and has not arrived; so far mostly {}",
                duration(pending),
                episode.cause.name(),
            ),
            evidence,
            advice: "the thread cannot be preempted: look at its state (/proc/PID/task/TID/status and stack) and at its group's quota",
            since_ns: None,
            weight: pending,
        })
    }
}
