//! `undelivered`: a signal has been pending for longer than the limit.

use gohang_common::cause::Outcome;

use super::{Finding, Rule, Thresholds, components};
use crate::event::Episode;
use crate::report::Severity;
use crate::units::duration;

#[derive(Debug)]
pub(super) struct Undelivered;

impl Rule for Undelivered {
    fn name(&self) -> &'static str {
        "undelivered"
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
            weight: pending,
        })
    }
}
