//! `limit-changed`: limits changed after the start of a runtime that does not notice.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct LimitChanged;

impl Rule for LimitChanged {
    fn name(&self) -> &'static str {
        "limit-changed"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "CPUs or quota were changed after the start, with a runtime that does not notice",
            meaning: "Go before 1.25 reads its CPUs once, at the start; later versions look again about once a second, but not where updatemaxprocs is 0, as go.mod lines below 1.25 have it.",
            detection: "GOMAXPROCS as read from the process differs from what the same version would compute now from its CPUs, its group's quota and its environment, it was not given, and the runtime does not look again; a program that set it itself looks the same",
            severity: "warning where GOMAXPROCS is higher than it would be now, else info",
            limits: &[],
            advice: "restart the process after such a change, or Go 1.25 or later with \"go 1.25\" in go.mod",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let go = subject.process.go.as_ref()?;
        let procs = &go.gomaxprocs;
        let (seen, computed) = (procs.seen?, procs.computed?);
        if procs.follows_changes || procs.set.is_some() || seen == computed {
            return None;
        }
        let changed = if procs.respects_quota {
            "quota or CPUs were"
        } else {
            "its CPUs were"
        };
        let too_old = go.minor.is_some_and(|minor| minor < 25);
        let (why, in_go) = if too_old {
            (
                format!(
                    "{} reads its CPUs once, at the start, and never looks again",
                    go.version
                ),
                "Go 1.25 or later and \"go 1.25\" in go.mod",
            )
        } else {
            (
                "updatemaxprocs is 0, as built into programs whose go.mod asks for less than Go 1.25, so that the runtime never looks again".to_owned(),
                "\"go 1.25\" or later in go.mod, or GODEBUG=updatemaxprocs=1",
            )
        };
        Some(Advice {
            rule: self.name().to_owned(),
            severity: if seen > computed {
                Severity::Warning
            } else {
                Severity::Info
            },
            what: format!("GOMAXPROCS is {seen}, but a start now would make it {computed}: {changed} changed since its start, or the program set it"),
            why,
            evidence: evidence([
                ("gomaxprocs", seen.into()),
                ("gomaxprocs_if_started_now", computed.into()),
                ("go", go.version.clone().into()),
                ("default_godebug", go.default_godebug.clone().into()),
            ]),
            set: Settings {
                systemd: Some(format!("systemctl restart {}", subject.unit())),
                kubernetes: Some("resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]".to_owned()),
                docker: Some("docker restart after docker update".to_owned()),
                go: Some(in_go.to_owned()),
            },
            effect: format!("GOMAXPROCS becomes {computed}; with Go 1.25 and later it follows changes within about a second"),
            formula: "GOMAXPROCS = min(CPUs allowed, from Go 1.25 on max(2, ceil(quota / period))), at the start".to_owned(),
            source: "Go runtime/proc.go (sysmonUpdateGOMAXPROCS, 1.25); internal/godebugs/table.go".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("updatemaxprocs", |process, firing| {
            let procs = &mut super::tests::go(process).gomaxprocs;
            procs.computed = Some(1);
            procs.follows_changes = !firing;
        })
    }
}
