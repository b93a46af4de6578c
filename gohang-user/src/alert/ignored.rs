//! `ignored`: the process ignores SIGURG, so nothing can preempt it.

use gohang_common::cause::Outcome;

use super::{Finding, Rule, Thresholds};
use crate::event::Episode;
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct Ignored;

impl Rule for Ignored {
    fn name(&self) -> &'static str {
        "ignored"
    }

    fn look(&mut self, episode: &Episode, _thresholds: &Thresholds) -> Option<Finding> {
        (episode.outcome == Outcome::Ignored).then(|| Finding {
            severity: Severity::Critical,
            headline: "the kernel dropped a preemption signal: the process ignores SIGURG".to_owned(),
            evidence: [("sender_pid".to_owned(), episode.sender_pid.into())].into_iter().collect(),
            advice: "remove signal.Ignore() without arguments or for SIGURG, and C code that sets SIG_IGN or no handler; Go cannot preempt loops without it",
            weight: 1,
        })
    }
}
