//! `masked`: a thread kept SIGURG blocked for longer than the threshold.

use super::explain::THRESHOLD;
use super::{Explanation, Finding, Rule, Thresholds, components};
use crate::event::Episode;
use crate::report::Severity;
use crate::source::Facts;
use crate::units::duration;

const ADVICE: &str = "find the code that blocks signals (sigprocmask, pthread_sigmask in C code, RawSyscall(SYS_RT_SIGPROCMASK) in Go) and leave SIGURG out of the set";

#[derive(Debug)]
pub(super) struct Masked;

impl Rule for Masked {
    fn name(&self) -> &'static str {
        "masked"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "a thread kept SIGURG blocked while a preemption signal was pending",
            meaning: "The thread's signal mask holds SIGURG back, so the goroutine on it cannot be preempted until the mask changes. The runtime sends no second signal while the first is pending: with a mask that stays, that thread is lost for preemption for good.",
            detection: "while a signal is pending, the mask is read at its send, at each switch of the thread and at its delivery; a stretch counts as masked if the bit is set at both its ends. The thread's own handler for SIGURG, which masks it too, does not count. Of a process that runs already when the trace begins: a thread has SIGURG blocked and pending in /proc/PID/task/TID/status, and still so after it has run for a millisecond",
            severity: "critical, always",
            limits: &[THRESHOLD],
            advice: "find the code that blocks signals (sigprocmask or pthread_sigmask in C code, RawSyscall(SYS_RT_SIGPROCMASK) in Go) and leave SIGURG out of the set",
        }
    }

    fn look(&mut self, episode: &Episode, thresholds: &Thresholds) -> Option<Finding> {
        let masked = episode.parts.masked;
        if u128::from(masked) <= thresholds.slow.as_nanos() {
            return None;
        }
        let mut evidence = components(episode);
        evidence.insert(
            "pending_ns".to_owned(),
            episode.end_ns.wrapping_sub(episode.sent_ns).into(),
        );
        Some(Finding {
            severity: Severity::Critical,
            headline: format!(
                "the thread kept SIGURG blocked for {} while a preemption signal was pending",
                duration(masked)
            ),
            evidence,
            advice: ADVICE,
            since_ns: None,
            weight: masked,
        })
    }
    fn found(&mut self, facts: &Facts, _thresholds: &Thresholds) -> Option<Finding> {
        let tids = &facts.signals.masked_tids;
        let count = tids.len();
        if count == 0 {
            return None;
        }
        Some(Finding {
            severity: Severity::Critical,
            headline: format!(
                "{} SIGURG blocked, and a preemption signal from before this trace pending",
                if count == 1 {
                    format!("thread {} has", tids[0])
                } else {
                    format!("{count} threads have")
                }
            ),
            evidence: [("tids".to_owned(), tids.clone().into())]
                .into_iter()
                .collect(),
            advice: ADVICE,
            since_ns: None,
            weight: count as u64,
        })
    }
}
