//! `sigurg-ignored`: the process throws preemption signals away.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct SigurgIgnored;

impl Rule for SigurgIgnored {
    fn name(&self) -> &'static str {
        "sigurg-ignored"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the process ignores SIGURG",
            meaning: "The kernel drops each preemption signal at once, so that no goroutine can be stopped in a loop without calls; the runtime goes on sending.",
            detection: "SIGURG is in SigIgn of /proc/PID/status, of a Go program",
            severity: "critical, always",
            limits: &[],
            advice: "remove signal.Ignore() without arguments or for SIGURG, and C code that sets SIG_IGN for it",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let process = subject.process;
        process.go.as_ref()?;
        if !process.sigurg.ignored {
            return None;
        }
        Some(Advice {
            rule: self.name().to_owned(),
            severity: Severity::Critical,
            what: "SIGURG is ignored".to_owned(),
            why: "the kernel drops each preemption signal at once, so no goroutine can be stopped in a loop without calls; the runtime goes on sending".to_owned(),
            evidence: evidence([
                ("sigurg_ignored", true.into()),
                ("sigurg_caught", process.sigurg.caught.into()),
            ]),
            set: Settings {
                go: Some("find the code that calls signal.Ignore(syscall.SIGURG), or signal(SIGURG, SIG_IGN) in C, and leave SIGURG alone".to_owned()),
                ..Settings::default()
            },
            effect: "a loop is stopped 10 ms to 30 ms after its begin, where it now goes on to its end".to_owned(),
            formula: "wait for a stop = rest of the longest loop without calls; with preemption 10 ms to 30 ms plus delivery".to_owned(),
            source: "signal(7); Go runtime/signal_unix.go (sigPreempt)".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("SIGURG ignored", |process, firing| {
            process.sigurg.ignored = firing;
        })
    }
}
