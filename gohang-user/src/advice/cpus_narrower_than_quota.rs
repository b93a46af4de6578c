//! `cpus-narrower-than-quota`: the quota pays for more CPUs than the process may run on.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;
use crate::units::cpus;

#[derive(Debug)]
pub(super) struct CpusNarrowerThanQuota;

impl Rule for CpusNarrowerThanQuota {
    fn name(&self) -> &'static str {
        "cpus-narrower-than-quota"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the process may run on fewer CPUs than its quota pays for",
            meaning: "The part of the quota above the CPUs that it may run on can never be used: load that was planned by the quota waits on the run queue instead.",
            detection: "the CPUs in Cpus_allowed_list of /proc/PID/status (cpuset and affinity) are fewer than quota / period of the tightest limit",
            severity: "info, always",
            limits: &[],
            advice: "AllowedCPUs= (cpuset.cpus) with as many CPUs as the quota, or CPUQuota= by the number of CPUs",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let process = subject.process;
        let limit = subject.limit()?;
        let allowed = process.cpus_allowed_count;
        if allowed == 0 || limit.cpus <= f64::from(allowed) {
            return None;
        }
        let unit = subject.unit();
        Some(Advice {
            rule: self.name().to_owned(),
            severity: Severity::Info,
            what: format!(
                "it may run on {allowed} CPUs ({}), but {} allows {} CPUs of time",
                process.cpus_allowed,
                limit.path,
                cpus(limit.cpus)
            ),
            why: "the part of the quota above the CPUs it may run on can never be used: load that was planned by the quota waits on the run queue instead".to_owned(),
            evidence: evidence([
                ("cpus_allowed", allowed.into()),
                ("quota_cpus", limit.cpus.into()),
                ("limit_owner", limit.path.to_string().into()),
            ]),
            set: Settings {
                systemd: Some(format!("systemctl set-property {unit} AllowedCPUs= (none), or CPUQuota={}%", allowed * 100)),
                kubernetes: Some(format!("resources.limits.cpu: \"{allowed}\", or a whole number of CPUs with the static CPU manager policy")),
                docker: Some(format!("without --cpuset-cpus, or --cpus={allowed}")),
                go: None,
            },
            effect: format!("room for {} CPUs at a time in place of {allowed}, or a quota that says what can be had", limit.cpus.ceil()),
            formula: "usable = min(CPUs allowed, quota / period)".to_owned(),
            source: "systemd.resource-control(5), AllowedCPUs= and CPUQuota=; Linux Documentation/admin-guide/cgroup-v2.rst".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("cpus_allowed_count", |process, firing| {
            process.cpus_allowed_count = if firing { 1 } else { 2 };
        })
    }
}
