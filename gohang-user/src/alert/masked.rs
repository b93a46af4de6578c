//! `masked`: a thread kept SIGURG blocked for longer than the threshold.

use super::{Finding, Rule, Thresholds, components};
use crate::event::Episode;
use crate::report::Severity;
use crate::units::duration;

#[derive(Debug)]
pub(super) struct Masked;

impl Rule for Masked {
    fn name(&self) -> &'static str {
        "masked"
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
            advice: "find the code that blocks signals (sigprocmask, pthread_sigmask in C code, RawSyscall(SYS_RT_SIGPROCMASK) in Go) and leave SIGURG out of the set",
            weight: masked,
        })
    }
}
