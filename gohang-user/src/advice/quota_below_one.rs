//! `quota-below-one`: several threads share less than one CPU.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;
use crate::units::{cpus, duration};

/// A thread that uses at least this share of the quota is busy.
const BUSY: f64 = 0.1;

#[derive(Debug)]
pub(super) struct QuotaBelowOne;

impl Rule for QuotaBelowOne {
    fn name(&self) -> &'static str {
        "quota-below-one"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "several busy threads share less than one CPU",
            meaning: "Less than one CPU runs out in every period in which something runs all the time. With two threads on two CPUs it runs out twice as early, and what waits for either of them waits until the next period.",
            detection: "with --sample: the tightest limit is below one CPU, and at least two threads, and no more than GOMAXPROCS, each used 10 % of it or more",
            severity: "warning, always",
            limits: &[],
            advice: "a whole CPU (CPUQuota=100%), or GOMAXPROCS=1: by a quota, Go 1.25 and later never go below 2",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let (procs, limit) = subject.procs_and_limit()?;
        let sample_ns = subject.sample_ns.filter(|ns| *ns > 0)?;
        if limit.cpus >= 1.0 {
            return None;
        }
        let enough = BUSY * limit.cpus * sample_ns as f64;
        let used = subject.process.threads.iter();
        let busy = used
            .filter_map(|thread| thread.sample_cpu_ns)
            .filter(|used| *used as f64 >= enough)
            .count()
            .min(procs as usize);
        if busy < 2 {
            return None;
        }
        let at_a_time = u64::from(subject.at_a_time(busy as u32));
        let stall = |threads: u64| duration(limit.period_ns - limit.quota_ns / threads);
        let unit = subject.unit();
        Some(Advice {
            rule: self.name().to_owned(),
            severity: Severity::Warning,
            what: format!(
                "{busy} threads were busy, but {} allows {} CPUs",
                limit.path,
                cpus(limit.cpus)
            ),
            why: "less than one CPU runs out in every period in which something runs all the time; with two threads on two CPUs it runs out twice as early, and what waits for either of them waits until the next period".to_owned(),
            evidence: evidence([
                ("busy_threads", busy.into()),
                ("at_a_time", at_a_time.into()),
                ("quota_cpus", limit.cpus.into()),
                ("period_ns", limit.period_ns.into()),
                ("sample_ns", sample_ns.into()),
                ("limit_owner", limit.path.to_string().into()),
            ]),
            set: Settings {
                systemd: Some(format!("systemctl set-property {unit} CPUQuota=100%; or Environment=GOMAXPROCS=1 in its [Service]")),
                kubernetes: Some("resources.limits.cpu: \"1\"; or env: [{name: GOMAXPROCS, value: \"1\"}]".to_owned()),
                docker: Some("--cpus=1; or --env GOMAXPROCS=1".to_owned()),
                go: Some("GOMAXPROCS=1: by a quota, Go 1.25 and later never go below 2".to_owned()),
            },
            effect: match at_a_time {
                1 => format!(
                    "with a whole CPU the stall of a period falls from {} to 0; it may run on one CPU only, so that fewer threads change nothing",
                    stall(1)
                ),
                _ => format!(
                    "with one thread at a time the stall of a period falls from {} to {}; with a whole CPU to 0",
                    stall(at_a_time),
                    stall(1)
                ),
            },
            formula: "stall = period - quota / min(busy threads, CPUs allowed)".to_owned(),
            source: "Linux Documentation/scheduler/sched-bwc.rst; Go runtime/cgroup_linux.go (adjustCgroupGOMAXPROCS); golang/go#74283".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("quota of /a/b", |process, firing| {
            for thread in &mut process.threads {
                thread.sample_cpu_ns = Some(250_000_000);
            }
            let quota = if firing { 50_000_000 } else { 100_000_000 };
            super::tests::level(process).quota_ns = Some(quota);
        })
    }
}
