//! `cpus-wider-than-gomaxprocs`: there are CPUs and quota that the runtime does not use.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct CpusWiderThanGomaxprocs;

impl Rule for CpusWiderThanGomaxprocs {
    fn name(&self) -> &'static str {
        "cpus-wider-than-gomaxprocs"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "GOMAXPROCS is lower than there is room for",
            meaning: "Goroutines wait for one of its processors while CPUs that the process may use and has quota for stand idle: a backlog, not throttling.",
            detection: "GOMAXPROCS is below the CPUs that it may run on, and below quota / period rounded down of the tightest limit where there is one",
            severity: "info, always",
            limits: &[],
            advice: "a higher GOMAXPROCS or none, or fewer CPUs if the rest is meant for others",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let process = subject.process;
        let procs = process.gomaxprocs()?;
        let allowed = process.cpus_allowed_count;
        let paid = subject.limit().map(|limit| limit.cpus);
        let usable = paid.map_or(allowed, |paid| allowed.min(paid.floor() as u32));
        if procs >= usable {
            return None;
        }
        let set = process.go.as_ref()?.gomaxprocs.set.as_ref();
        let in_go = match set {
            Some(_) => "start it without GOMAXPROCS in its environment",
            None => {
                "look for runtime.GOMAXPROCS(n) in the program, or restart it if its CPUs were changed after its start"
            }
        };
        let unit = subject.unit();
        Some(Advice {
            rule: self.name().to_owned(),
            severity: Severity::Info,
            what: format!("GOMAXPROCS is {procs}, but it has room for {usable} CPUs at a time"),
            why: "goroutines wait for one of its processors while CPUs that it may use and has quota for stand idle: a backlog, not throttling".to_owned(),
            evidence: evidence([
                ("gomaxprocs", procs.into()),
                ("cpus_allowed", allowed.into()),
                ("quota_cpus", paid.into()),
                ("gomaxprocs_set", set.map(ToString::to_string).into()),
            ]),
            set: Settings {
                systemd: Some(format!("Environment=GOMAXPROCS={usable} in [Service] of {unit}, or AllowedCPUs= with {procs} of them if the rest is for others")),
                kubernetes: Some(format!("env: [{{name: GOMAXPROCS, value: \"{usable}\"}}], or resources.limits.cpu: \"{procs}\"")),
                docker: Some(format!("--env GOMAXPROCS={usable}, or --cpuset-cpus with {procs} CPUs")),
                go: Some(in_go.to_owned()),
            },
            effect: format!("up to {usable} goroutines at a time in place of {procs}, if as many are runnable"),
            formula: "usable = min(CPUs allowed, floor(quota / period))".to_owned(),
            source: "Go package runtime, GOMAXPROCS; observIQ/bindplane-otel-collector#3630".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("gomaxprocs.seen", |process, firing| {
            super::tests::go(process).gomaxprocs.seen = Some(if firing { 1 } else { 2 });
        })
    }
}
