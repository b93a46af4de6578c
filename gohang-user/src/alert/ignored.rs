//! `ignored`: the process ignores SIGURG, so nothing can preempt it.

use gohang_common::cause::Outcome;

use super::{Explanation, Finding, Rule, Thresholds};
use crate::event::Episode;
use crate::report::Severity;
use crate::source::{Dropped, Facts};

const ADVICE: &str = "remove signal.Ignore() without arguments or for SIGURG, and C code that sets SIG_IGN or no handler; Go cannot preempt loops without it";

#[derive(Debug)]
pub(super) struct Ignored;

impl Rule for Ignored {
    fn name(&self) -> &'static str {
        "ignored"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the kernel dropped a preemption signal because the process ignores SIGURG",
            meaning: "Go preempts a goroutine that runs without a function call by sending its thread SIGURG. The process has told the kernel to ignore that signal, so no such loop can be preempted: it holds up garbage collection and every goroutine that waits for its processor until it ends by itself.",
            detection: "the kernel's tracepoint signal_generate says that it ignored a SIGURG for the process; or, of a process that runs already when the trace begins, /proc/PID/status says that SIGURG is ignored or has no handler: the runtime sends each thread but one that does not arrive, which was before",
            severity: "critical, always",
            limits: &[],
            advice: "remove signal.Ignore() without arguments or for SIGURG, and C code that sets SIG_IGN or no handler for it. A SIGURG that the parent ignored or blocked is no reason: Go puts that right at its start.",
        }
    }

    fn look(&mut self, episode: &Episode, _thresholds: &Thresholds) -> Option<Finding> {
        (episode.outcome == Outcome::Ignored).then(|| Finding {
            severity: Severity::Critical,
            headline: "the kernel dropped a preemption signal: the process ignores SIGURG"
                .to_owned(),
            evidence: [("sender_pid".to_owned(), episode.sender_pid.into())]
                .into_iter()
                .collect(),
            advice: ADVICE,
            since_ns: None,
            weight: 1,
        })
    }

    fn found(&mut self, facts: &Facts, _thresholds: &Thresholds) -> Option<Finding> {
        let (headline, disposition) = match facts.signals.dropped? {
            Dropped::Ignored => (
                "no preemption signal can arrive: the process ignores SIGURG",
                "ignored",
            ),
            Dropped::NoHandler => (
                "no preemption signal can arrive: the process has no handler for SIGURG",
                "default",
            ),
        };
        Some(Finding {
            severity: Severity::Critical,
            headline: headline.to_owned(),
            evidence: [("disposition".to_owned(), disposition.into())]
                .into_iter()
                .collect(),
            advice: ADVICE,
            since_ns: None,
            weight: 1,
        })
    }
}
