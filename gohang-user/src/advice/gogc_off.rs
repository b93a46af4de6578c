//! `gogc-off`: the collector is off, and no limit turns it on.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct GogcOff;

impl Rule for GogcOff {
    fn name(&self) -> &'static str {
        "gogc-off"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the garbage collector is off, without a memory limit to turn it on",
            meaning: "Nothing is ever collected: the heap only grows, until the kernel kills the process.",
            detection: "GOGC is off or negative, read from the process or its environment, and there is no GOMEMLIMIT",
            severity: "warning, always",
            limits: &[],
            advice: "GOMEMLIMIT beside GOGC=off, or no GOGC",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let process = subject.process;
        let gc = &process.go.as_ref()?.gc;
        if gc.percent >= 0 || gc.memory_limit.is_some() {
            return None;
        }
        let memory = process.groups.memory.as_ref();
        let memory = memory.and_then(|memory| memory.effective.as_ref());
        let mib = memory.map_or(1024, |memory| (memory.limit / 10 * 9) >> 20);
        Some(Advice {
            rule: self.name().to_owned(),
            severity: Severity::Warning,
            what: "GOGC is off and no GOMEMLIMIT is set: nothing is ever collected".to_owned(),
            why: match memory {
                Some(memory) => format!(
                    "the heap only grows, until the kernel kills at the {} MiB that {} may use",
                    memory.limit >> 20,
                    memory.path
                ),
                None => "the heap only grows, until the machine has no memory left".to_owned(),
            },
            evidence: evidence([
                ("gogc_percent", gc.percent.into()),
                ("rss_bytes", process.rss_bytes.into()),
                ("memory_max_bytes", memory.map(|memory| memory.limit).into()),
            ]),
            set: Settings {
                systemd: Some(format!(
                    "Environment=GOMEMLIMIT={mib}MiB in [Service] of {}, or no GOGC",
                    subject.unit()
                )),
                kubernetes: Some(format!(
                    "env: [{{name: GOMEMLIMIT, value: {mib}MiB}}], or no GOGC"
                )),
                docker: Some(format!("--env GOMEMLIMIT={mib}MiB, or no GOGC")),
                go: Some("GOMEMLIMIT, or debug.SetGCPercent(100)".to_owned()),
            },
            effect: format!("collections begin when the runtime's memory comes near {mib} MiB"),
            formula: "GOMEMLIMIT = 0.9 * memory.max".to_owned(),
            source: "Go, A Guide to the Go Garbage Collector, memory limit with GOGC=off"
                .to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("GOGC", |process, firing| {
            let memory = &mut process.groups.memory;
            memory.as_mut().expect("it has groups").levels[0].limit = None;
            let gc = &mut super::tests::go(process).gc;
            gc.memory_limit = None;
            gc.percent = if firing { -1 } else { 100 };
        })
    }
}
