//! `parent-tighter`: a limit above the process's own group, which the runtime does not see.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence, procs_for};
use crate::report::Severity;
use crate::units::cpus;

#[derive(Debug)]
pub(super) struct ParentTighter;

impl Rule for ParentTighter {
    fn name(&self) -> &'static str {
        "parent-tighter"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "a group above the process's own has the tighter CPU limit, which the Go runtime does not see",
            meaning: "Go 1.25 and later read the quota of the process's own group only. Where the limit is on a slice, a pod or a parent, they run more goroutines at a time than that pays for.",
            detection: "the tightest limit on the way up is not that of the process's own group, the runtime heeds quotas and was given no GOMAXPROCS, and GOMAXPROCS is above what that limit has room for",
            severity: "warning, always",
            limits: &[],
            advice: "set the limit on the process's own group too (CPUQuota= on the unit, resources.limits.cpu on the container), or GOMAXPROCS in its environment",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let procs = &subject.process.go.as_ref()?.gomaxprocs;
        // A value that was given is what gomaxprocs-above-quota is about, and so is a runtime
        // that finds no quota at all.
        let by_quota =
            procs.respects_quota && procs.finds_quota != Some(false) && procs.set.is_none();
        let (procs, limit) = subject.procs_and_limit()?;
        let cpu = subject.process.groups.cpu.as_ref()?;
        let room = procs_for(limit);
        if limit.path == cpu.path || !by_quota || procs <= room {
            return None;
        }
        let own = cpu.levels.iter().find(|level| level.path == cpu.path);
        let own = own.and_then(|level| level.cpus());
        let unit = subject.unit();
        Some(Advice {
            rule: self.name().to_owned(),
            severity: Severity::Warning,
            what: format!(
                "{} above it allows {} CPUs, its own group {}; GOMAXPROCS is {procs}",
                limit.path,
                cpus(limit.cpus),
                own.map_or("any number".to_owned(), cpus)
            ),
            why: "the Go runtime reads the quota of the process's own group only: it does not see the tighter one above, and runs more goroutines at a time than that pays for".to_owned(),
            evidence: evidence([
                ("gomaxprocs", procs.into()),
                ("limit_owner", limit.path.to_string().into()),
                ("limit_cpus", limit.cpus.into()),
                ("own_group", cpu.path.to_string().into()),
                ("own_cpus", own.into()),
            ]),
            set: Settings {
                systemd: Some(format!("systemctl set-property {unit} CPUQuota={}%: the limit on the unit itself", (limit.cpus * 100.0).round())),
                kubernetes: Some(format!("resources.limits.cpu: \"{}\" on the container, not on the pod alone", cpus(limit.cpus))),
                docker: Some(format!("--cpus={} beside --cgroup-parent", cpus(limit.cpus))),
                go: Some(format!("GOMAXPROCS={room} in its environment")),
            },
            effect: format!("GOMAXPROCS becomes {room} within about a second of setting the limit on its own group"),
            formula: "GOMAXPROCS = min(CPUs allowed, max(2, ceil(quota / period of the own group)))".to_owned(),
            source: "Go runtime/cgroup_linux.go (1.25 to 1.27), which reads the leaf group only".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("quota of /a", |process, firing| {
            super::tests::go(process).gomaxprocs.seen = Some(4);
            super::tests::level(process).quota_ns = Some(400_000_000);
            if let Some(cpu) = &mut process.groups.cpu {
                let quota = if firing { 200_000_000 } else { 400_000_000 };
                cpu.levels[1].quota_ns = Some(quota);
            }
        })
    }
}
