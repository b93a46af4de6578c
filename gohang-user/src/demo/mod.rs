//! `gohang demo`: the main job on a workload of its own.
//!
//! A process with a busy thread runs in a group of gohang's, first without a quota and
//! then with one, and is signalled every millisecond by a process outside the group and
//! by a thread inside it. Both runs are traced through the kernel side that `trace`
//! uses.

mod report;
mod text;

use std::time::Duration;

pub use report::{Demo, Phase, SCHEMA_VERSION, Sends};
pub use text::text;

use crate::aggregate::Histogram;
use crate::experiment::{
    ExperimentError, Finished, Method, Origin, Plan, Progress, Quota, RESTARTED_METHOD, Ran, Stage,
    undelivered,
};

/// How long each phase sends.
const PHASE: Duration = Duration::from_millis(6500);
/// The quota of the phase that has one.
const QUOTA: Quota = Quota::percent(10);
/// The group's label.
const LABEL: &str = "demo";

/// Runs the demo. It needs the calling process to have no other threads that take
/// SIGINT, SIGTERM or SIGHUP: any of them ends it, with everything removed.
///
/// # Errors
/// See [`ExperimentError`].
pub fn run(progress: &mut dyn Progress) -> Result<Demo, ExperimentError> {
    let mut stage = Stage::set(LABEL)?;
    let quotas = [None, Some(QUOTA)];
    let mut runs = Vec::new();
    for quota in quotas {
        let plan = Plan {
            quota,
            method: Method::Tgkill,
            from: &Origin::ALL,
            duration: PHASE,
        };
        let name = quota.map_or_else(
            || "without a quota".to_owned(),
            |quota| format!("with {}", text::quota(quota.quota_ns, quota.period_ns)),
        );
        progress.begin(&name, PHASE);
        runs.push((quota, stage.run(&plan, progress)?));
    }
    let finished = stage.finish()?;
    let phases = runs
        .iter()
        .map(|(quota, ran)| phase(*quota, ran, &finished))
        .collect::<Result<_, _>>()?;
    let Finished {
        report,
        precision,
        cgroup_version,
        cgroup,
        ..
    } = finished;
    Ok(Demo {
        schema_version: SCHEMA_VERSION,
        gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: report.kernel,
        precision,
        probe_set: report.probe_set,
        attach_ns: report.attach_ns,
        cgroup_version,
        cgroup,
        phases,
        loss: report.loss,
        impossible: report.impossible,
        restarted_clock_method: RESTARTED_METHOD.to_owned(),
    })
}

/// What a run showed.
fn phase(quota: Option<Quota>, ran: &Ran, finished: &Finished) -> Result<Phase, ExperimentError> {
    let process = ran.process(&finished.report)?;
    let mut restarted_clock = Histogram::default();
    for pairing in ran.pairings(&finished.episodes) {
        restarted_clock.add(pairing.restarted_ns);
    }
    Ok(Phase {
        quota_ns: quota.map(|quota| quota.quota_ns),
        period_ns: quota.map(|quota| quota.period_ns),
        duration_ns: ran.sent_for.as_nanos() as u64,
        sends: Sends {
            outside: ran.outside.len() as u64,
            inside: ran.inside.len() as u64,
        },
        handled: ran.handled,
        episodes: process.threads.iter().map(|thread| thread.episodes).sum(),
        episodes_in_histograms: process.episodes,
        coalesced: process.coalesced,
        undelivered: undelivered(process),
        latency: process.delivery.clone(),
        causes: process.causes.clone(),
        restarted_clock: restarted_clock.distribution(),
        cpu_stat: ran.cpu_stat,
    })
}

impl Demo {
    /// What does not add up, in words; empty when all is well. Impossible things that
    /// were counted are apart, in `impossible`.
    #[must_use]
    pub fn imbalances(&self) -> Vec<String> {
        let mut found = self.loss.imbalances();
        for phase in &self.phases {
            let name = text::phase_name(phase);
            let mut check = |what: &str, left: u64, right: u64| {
                if left != right {
                    found.push(format!("{name}: {what}: {left} != {right}"));
                }
            };
            // Each record that the ring had no room for is an episode less.
            if self.loss.lost() == 0 {
                check(
                    "episodes = the histograms' count",
                    phase.episodes,
                    phase.episodes_in_histograms,
                );
                let undelivered: u64 = phase.undelivered.values().sum();
                check(
                    "episodes + coalesced = sends",
                    phase.episodes + undelivered + phase.coalesced,
                    phase.sends.outside + phase.sends.inside,
                );
                check(
                    "episodes = runs of the handler",
                    phase.episodes,
                    phase.handled,
                );
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{CauseShare, Distribution, Loss};

    pub(super) fn sample() -> Demo {
        let latency = |p50, max| Distribution {
            count: 100,
            min_ns: Some(1_000),
            mean_ns: Some(p50),
            p50_ns: Some(p50),
            p90_ns: Some(p50),
            p99_ns: Some(max),
            p999_ns: Some(max),
            max_ns: Some(max),
            buckets: Vec::new(),
        };
        let causes = gohang_common::cause::Cause::ALL
            .iter()
            .map(|cause| (cause.name().to_owned(), CauseShare::default()))
            .collect();
        let free = Phase {
            quota_ns: None,
            period_ns: None,
            duration_ns: 6_500_000_000,
            sends: Sends {
                outside: 60,
                inside: 50,
            },
            handled: 100,
            episodes: 100,
            episodes_in_histograms: 100,
            coalesced: 10,
            undelivered: std::collections::BTreeMap::new(),
            latency: latency(4_000, 90_000),
            causes,
            restarted_clock: latency(4_000, 80_000),
            cpu_stat: None,
        };
        let mut limited = Phase {
            quota_ns: Some(10_000_000),
            period_ns: Some(100_000_000),
            latency: latency(5_000, 91_000_000),
            ..free.clone()
        };
        limited.causes.insert(
            "throttled".to_owned(),
            CauseShare {
                count: 10,
                total_ns: 900_000_000,
                max_ns: Some(91_000_000),
            },
        );
        Demo {
            schema_version: SCHEMA_VERSION,
            gohang_version: "0".to_owned(),
            kernel: "6.18".to_owned(),
            precision: crate::probe::Precision::ThreadExact,
            probe_set: Vec::new(),
            attach_ns: 1,
            cgroup_version: 1,
            cgroup: "/gohang-demo-1-1-1".to_owned(),
            phases: vec![free, limited],
            loss: Loss::default(),
            impossible: std::collections::BTreeMap::new(),
            restarted_clock_method: RESTARTED_METHOD.to_owned(),
        }
    }

    #[test]
    fn what_does_not_add_up_is_named() {
        assert_eq!(sample().imbalances(), Vec::<String>::new());
        let mut demo = sample();
        demo.phases[1].handled = 99;
        demo.phases[0].coalesced = 9;
        let found = demo.imbalances().join("\n");
        assert!(found.contains("without a quota: episodes + coalesced = sends: 109 != 110"));
        assert!(found.contains("handler: 100 != 99"));
        // With a loss the records are fewer, and say so by themselves.
        demo.loss.ring_full = 3;
        demo.loss.seen = 3;
        assert_eq!(demo.imbalances(), Vec::<String>::new());
    }
}
