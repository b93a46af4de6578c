//! `sigurg-masked`: threads keep preemption signals blocked.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;

/// Most threads that are named.
const NAMED: usize = 16;

#[derive(Debug)]
pub(super) struct SigurgMasked;

impl Rule for SigurgMasked {
    fn name(&self) -> &'static str {
        "sigurg-masked"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "threads of the process keep SIGURG blocked",
            meaning: "A goroutine on such a thread cannot be preempted, and no second signal is sent while one is pending. On threads of C code that never run Go it does no harm.",
            detection: "SIGURG is in SigBlk of /proc/PID/task/TID/status, of any thread of a Go program",
            severity: "warning; critical where one of these threads has it pending (SigPnd)",
            limits: &[],
            advice: "leave SIGURG out of the set given to sigprocmask or pthread_sigmask in C code, and to RawSyscall(SYS_RT_SIGPROCMASK) in Go; unblock it before a callback into Go",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let process = subject.process;
        process.go.as_ref()?;
        let masked = || process.threads.iter().filter(|own| own.sigurg_blocked);
        let first = masked().next()?.tid;
        let count = masked().count();
        let pending = masked().filter(|own| own.sigurg_pending).count();
        let tids: Vec<u32> = masked().take(NAMED).map(|own| own.tid).collect();
        let others = if count > 1 { " and others" } else { "" };
        let (severity, more) = match pending {
            0 => (Severity::Warning, ""),
            _ => (Severity::Critical, ", with one pending"),
        };
        Some(Advice {
            rule: self.name().to_owned(),
            severity,
            what: format!(
                "{count} of its {} threads keep SIGURG blocked (thread {first}{others}){more}",
                process.threads.len(),
            ),
            why: "a goroutine on such a thread cannot be preempted, and no second signal is sent while one is pending; on threads of C code that never run Go it does no harm".to_owned(),
            evidence: evidence([
                ("masked_threads", count.into()),
                ("masked_with_one_pending", pending.into()),
                ("threads", process.threads.len().into()),
                ("tids", tids.into()),
            ]),
            set: Settings {
                go: Some("leave SIGURG out of the set given to sigprocmask or pthread_sigmask in C code, and to RawSyscall(SYS_RT_SIGPROCMASK) in Go; unblock it before a callback into Go".to_owned()),
                ..Settings::default()
            },
            effect: "goroutines on these threads stop when they are asked to".to_owned(),
            formula: "wait for a stop = time until the mask changes; without it delivery alone".to_owned(),
            source: "signal(7); Go package os/signal, non-Go programs that call Go code".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("SIGURG blocked", |process, firing| {
            process.threads[1].sigurg_blocked = firing;
        })
    }
}
