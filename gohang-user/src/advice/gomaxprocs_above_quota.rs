//! `gomaxprocs-above-quota`: more goroutines may run at a time than the quota pays for.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence, procs_for};
use crate::report::Severity;
use crate::units::{cpus, duration, percent};

/// Share of throttled periods from which on it is critical, as the alert
/// CPUThrottlingHigh of the kubernetes-mixin has it.
const OFTEN: f64 = 0.25;

#[derive(Debug)]
pub(super) struct GomaxprocsAboveQuota;

impl Rule for GomaxprocsAboveQuota {
    fn name(&self) -> &'static str {
        "gomaxprocs-above-quota"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "GOMAXPROCS is higher than the CPU quota has room for",
            meaning: "With that many goroutines running at a time the quota of a period is used up early, and then the whole group stands still until the next, sysmon and the collector included. The longest stall is period - quota / GOMAXPROCS.",
            detection: "GOMAXPROCS, as read from the process or else as its version computes it, is above max(2, quota / period rounded up), as Go 1.25 and later round it, of the tightest limit on the way up from its group",
            severity: "warning; critical where more than 25 % of the periods were throttled, in the sample or else so far",
            limits: &[],
            advice: "Go 1.25 or later with \"go 1.25\" in go.mod, which heeds the quota of the process's own group; else GOMAXPROCS in its environment, or a higher quota",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let (procs, limit) = subject.procs_and_limit()?;
        let go = subject.process.go.as_ref()?;
        let room = procs_for(limit);
        if procs <= room {
            return None;
        }
        let share = subject.throttled_share();
        let throttled = share.map_or(String::new(), |share| {
            format!("; {} of its periods were throttled", percent(share))
        });
        let spent = limit.quota_ns / u64::from(procs);
        let stall = |procs: u32| {
            limit
                .period_ns
                .saturating_sub(limit.quota_ns / u64::from(procs))
        };
        let in_go = if go.gomaxprocs.set.is_some() {
            format!(
                "GOMAXPROCS={room} in its environment in place of the one it has, or none with Go 1.25 or later"
            )
        } else if go.minor.is_none_or(|minor| minor >= 25) {
            "\"go 1.25\" or later in go.mod (below that containermaxprocs=0 is built in), or GODEBUG=containermaxprocs=1,updatemaxprocs=1".to_owned()
        } else {
            format!(
                "Go 1.25 or later and \"go 1.25\" in go.mod, which then sets it to {room}; until then GOMAXPROCS={room}, or go.uber.org/automaxprocs"
            )
        };
        let unit = subject.unit();
        Some(Advice {
            rule: self.name().to_owned(),
            severity: match share {
                Some(share) if share > OFTEN => Severity::Critical,
                _ => Severity::Warning,
            },
            what: format!(
                "GOMAXPROCS is {procs}, but {} allows {} CPUs{throttled}",
                limit.path,
                cpus(limit.cpus),
            ),
            why: format!(
                "with all {procs} busy, the quota of a period is spent in {} of wall-clock time, and then the whole group stands still, sysmon and the collector included",
                duration(spent)
            ),
            evidence: evidence([
                ("gomaxprocs", procs.into()),
                ("quota_cpus", limit.cpus.into()),
                ("quota_ns", limit.quota_ns.into()),
                ("period_ns", limit.period_ns.into()),
                ("limit_owner", limit.path.to_string().into()),
                ("throttled_share", share.into()),
            ]),
            set: Settings {
                systemd: Some(format!(
                    "Environment=GOMAXPROCS={room} in [Service] of {unit}; or more CPU: systemctl set-property {unit} CPUQuota={}%",
                    u64::from(procs) * 100
                )),
                kubernetes: Some(format!(
                    "env: [{{name: GOMAXPROCS, value: \"{room}\"}}]; or resources.limits.cpu: \"{procs}\""
                )),
                docker: Some(format!("--env GOMAXPROCS={room}; or --cpus={procs}")),
                go: Some(in_go),
            },
            effect: format!(
                "the longest stall of a period falls from {} to {}",
                duration(stall(procs)),
                duration(stall(room))
            ),
            formula: "stall = period - quota / GOMAXPROCS, at least 0".to_owned(),
            source: "Go runtime/cgroup_linux.go (1.25); Linux Documentation/scheduler/sched-bwc.rst; golang/go#73193".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("gomaxprocs.seen", |process, firing| {
            super::tests::go(process).gomaxprocs.seen = Some(if firing { 8 } else { 2 });
        })
    }
}
