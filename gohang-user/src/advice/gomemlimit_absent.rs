//! `gomemlimit-absent`: memory is limited, and the collector does not know.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::inspect::HAS_MEMORY_LIMIT;
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct GomemlimitAbsent;

impl Rule for GomemlimitAbsent {
    fn name(&self) -> &'static str {
        "gomemlimit-absent"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the group's memory is limited, and the runtime does not know",
            meaning: "The collector goes by the growth of the heap alone (GOGC): it lets it grow to live heap * (1 + GOGC / 100), past the limit when most of it is live, and the kernel kills the process although much of it is garbage.",
            detection: "a group on the way up has memory.max, and the process, of Go 1.19 or later and with its collector on, has no GOMEMLIMIT",
            severity: "info; warning where its resident memory is above 75 % of memory.max",
            limits: &[],
            advice: "GOMEMLIMIT of 90 % of memory.max",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let process = subject.process;
        let go = process.go.as_ref()?;
        let memory = process.groups.memory.as_ref()?.effective.as_ref()?;
        let too_old = go.minor.is_some_and(|minor| minor < HAS_MEMORY_LIMIT);
        // Without a collector at all, gogc-off says more.
        if go.gc.memory_limit.is_some() || go.gc.percent < 0 || too_old {
            return None;
        }
        let mib = (memory.limit / 10 * 9) >> 20;
        let percent = u64::from(go.gc.percent.unsigned_abs());
        let live = memory.limit / (100 + percent) * 100;
        let used = process.rss_bytes.unwrap_or(0);
        Some(Advice {
            rule: self.name().to_owned(),
            severity: if used > memory.limit / 4 * 3 {
                Severity::Warning
            } else {
                Severity::Info
            },
            what: format!(
                "{} may use {} MiB of memory, but no GOMEMLIMIT is set",
                memory.path,
                memory.limit >> 20
            ),
            why: "the collector goes by the growth of the heap alone (GOGC): it lets it grow past the limit when most of it is live, and the kernel kills the process, or reclaims in its own time, although much of it is garbage".to_owned(),
            evidence: evidence([
                ("memory_max_bytes", memory.limit.into()),
                ("memory_current_bytes", memory.current.into()),
                ("rss_bytes", process.rss_bytes.into()),
                ("gogc_percent", go.gc.percent.into()),
                ("live_heap_that_fits_bytes", live.into()),
            ]),
            set: Settings {
                systemd: Some(format!("Environment=GOMEMLIMIT={mib}MiB in [Service] of {}", subject.unit())),
                kubernetes: Some(format!("env: [{{name: GOMEMLIMIT, value: {mib}MiB}}]")),
                docker: Some(format!("--env GOMEMLIMIT={mib}MiB")),
                go: Some(format!("GOMEMLIMIT={mib}MiB, or debug.SetMemoryLimit({})", mib << 20)),
            },
            effect: format!("a live heap above {} MiB no longer takes the process over its limit: it is collected more often instead", live >> 20),
            formula: "without it the heap grows to live * (1 + GOGC / 100); GOMEMLIMIT = 0.9 * memory.max leaves room for what the runtime does not count".to_owned(),
            source: "Go, A Guide to the Go Garbage Collector, memory limit (5 to 10 % of headroom)".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("GOMEMLIMIT", |process, firing| {
            super::tests::go(process).gc.memory_limit = (!firing).then_some(900 << 20);
        })
    }
}
