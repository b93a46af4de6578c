//! `preemption-off`: the process runs without preemption signals.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct PreemptionOff;

impl Rule for PreemptionOff {
    fn name(&self) -> &'static str {
        "preemption-off"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "asynchronous preemption is switched off",
            meaning: "No goroutine that runs without a function call can be stopped: it holds up garbage collection, and with it all others, until it ends by itself.",
            detection: "GODEBUG=asyncpreemptoff=1 in the process's environment, or built into the program by go.mod or a //go:debug line, in a version that heeds it",
            severity: "critical, always",
            limits: &[],
            advice: "take asyncpreemptoff out of GODEBUG, of the godebug lines in go.mod and of //go:debug lines; it is for finding out whether a fault comes from preemption, not for running",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let go = subject.process.go.as_ref()?;
        let setting = go.preemption_off.as_ref()?;
        Some(Advice {
            rule: self.name().to_owned(),
            severity: Severity::Critical,
            what: format!("asynchronous preemption is off ({setting})"),
            why: "a goroutine that runs without a function call cannot be stopped: it holds up garbage collection, and with it all others, until it ends by itself".to_owned(),
            evidence: evidence([
                ("setting", setting.clone().into()),
                ("go", go.version.clone().into()),
                ("default_godebug", go.default_godebug.clone().into()),
            ]),
            set: Settings {
                systemd: Some(format!("no {setting} in Environment=GODEBUG of {}", subject.unit())),
                kubernetes: Some(format!("no {setting} in the container's env GODEBUG")),
                docker: Some(format!("no {setting} in --env GODEBUG")),
                go: Some(format!("no //go:debug {setting} and no such line under godebug in go.mod")),
            },
            effect: "a loop is asked to stop after 10 ms (forcePreemptNS), where it now goes on to its end".to_owned(),
            formula: "wait for a stop = rest of the longest loop without calls; with preemption 10 ms to 30 ms plus delivery".to_owned(),
            source: "Go package runtime, GODEBUG asyncpreemptoff; runtime/proc.go (forcePreemptNS)".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("GODEBUG", |process, firing| {
            let off = firing.then(|| "asyncpreemptoff=1".to_owned());
            super::tests::go(process).preemption_off = off;
        })
    }
}
