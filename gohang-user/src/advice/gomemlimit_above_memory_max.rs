//! `gomemlimit-above-memory-max`: the collector aims beyond what the group may use.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct GomemlimitAboveMemoryMax;

impl Rule for GomemlimitAboveMemoryMax {
    fn name(&self) -> &'static str {
        "gomemlimit-above-memory-max"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "GOMEMLIMIT is above the group's memory limit, or too close to it",
            meaning: "GOMEMLIMIT counts what the runtime manages, not the program's file, C memory and file cache: the kernel's limit is reached first, and the process is killed before the collector begins to hurry.",
            detection: "GOMEMLIMIT, read from the process or its environment, is above 95 % of the lowest memory.max on the way up",
            severity: "warning above memory.max, info just below it",
            limits: &[],
            advice: "GOMEMLIMIT of 90 % of memory.max, or a higher memory.max",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let process = subject.process;
        let own = process.go.as_ref()?.gc.memory_limit?;
        let memory = process.groups.memory.as_ref()?.effective.as_ref()?;
        // The guide asks for 5 to 10 per cent of headroom.
        if own <= memory.limit / 20 * 19 {
            return None;
        }
        let mib = (memory.limit / 10 * 9) >> 20;
        let (severity, relation) = if own > memory.limit {
            (Severity::Warning, "above")
        } else {
            (Severity::Info, "less than 5 % below")
        };
        Some(Advice {
            rule: self.name().to_owned(),
            severity,
            what: format!(
                "GOMEMLIMIT is {} MiB, {relation} the {} MiB that {} may use",
                own >> 20,
                memory.limit >> 20,
                memory.path
            ),
            why: "the limit counts what the runtime manages, not the program's file, C memory and file cache: the kernel's limit is reached first, and the process is killed before the collector begins to hurry".to_owned(),
            evidence: evidence([
                ("gomemlimit_bytes", own.into()),
                ("memory_max_bytes", memory.limit.into()),
                ("memory_current_bytes", memory.current.into()),
                ("rss_bytes", process.rss_bytes.into()),
            ]),
            set: Settings {
                systemd: Some(format!("Environment=GOMEMLIMIT={mib}MiB in [Service] of {}, or a higher MemoryMax=", subject.unit())),
                kubernetes: Some(format!("env: [{{name: GOMEMLIMIT, value: {mib}MiB}}], or a higher resources.limits.memory")),
                docker: Some(format!("--env GOMEMLIMIT={mib}MiB, or a higher --memory")),
                go: Some(format!("GOMEMLIMIT={mib}MiB, or debug.SetMemoryLimit({})", mib << 20)),
            },
            effect: format!("the collector works harder near {mib} MiB, before the kernel kills"),
            formula: "GOMEMLIMIT = 0.9 * memory.max".to_owned(),
            source: "Go, A Guide to the Go Garbage Collector, memory limit (5 to 10 % of headroom)".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("GOMEMLIMIT", |process, firing| {
            let mib = if firing { 1100 } else { 900 };
            super::tests::go(process).gc.memory_limit = Some(mib << 20);
        })
    }
}
