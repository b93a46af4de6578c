//! `gohang demo`: the main job on a workload of its own.
//!
//! A process with a busy thread runs in a group of gohang's, first without a quota and
//! then with one, and is signalled every millisecond by a process outside the group and
//! by a thread inside it. Both runs are traced through the kernel side that `trace`
//! uses.

mod children;
mod error;
mod os;
mod part;
mod phase;
mod report;
mod restarted;
mod shared;
mod text;

use std::time::Duration;

pub use error::DemoError;
pub use part::{Role, run_part};
pub use report::{CpuStat, Demo, Phase, SCHEMA_VERSION, Sends};
pub use text::text;

use crate::aggregate::{Aggregate, Context};
use crate::cgroup::{CgroupLayout, OwnGroups, Version};
use crate::privilege;
use crate::probe::ProbeError;
use crate::process::ProcRoot;
use crate::source::{Live, LiveOptions, Selection, Source as _, now};
use os::EndSignals;
use phase::{Bench, Quota};

/// How long each phase sends.
const PHASE: Duration = Duration::from_millis(6500);
/// 10 % of a CPU.
const QUOTA: Quota = Quota {
    quota_ns: 10_000_000,
    period_ns: 100_000_000,
};
/// The group's label, and what the names of earlier runs' groups begin with.
const LABEL: &str = "demo";
const LEFTOVERS: &str = "gohang-demo-";
/// Longest wait for the group to empty and go.
const REMOVAL: Duration = Duration::from_secs(5);

/// Told how far the demo is.
pub trait Progress {
    /// A phase begins: its quota and period, if it has one, and its length.
    fn phase(&mut self, quota: Option<(u64, u64)>, length: Duration);
    /// So far into the phase.
    fn at(&mut self, elapsed: Duration);
}

/// Runs the demo. It needs the calling process to have no other threads that take
/// SIGINT, SIGTERM or SIGHUP: any of them ends it, with everything removed.
///
/// # Errors
/// See [`DemoError`].
pub fn run(progress: &mut dyn Progress) -> Result<Demo, DemoError> {
    let missing = privilege::missing()?;
    if !missing.is_empty() {
        return Err(missing.into());
    }
    let proc = ProcRoot::default();
    if !proc.in_init_pid_ns()? {
        return Err(ProbeError::PidNamespace.into());
    }
    let kernel = privilege::kernel_release()?;
    privilege::raise_memlock(&kernel)?;
    let ends = EndSignals::hold().map_err(|source| DemoError::System {
        action: "hold back signals",
        source,
    })?;
    let groups = OwnGroups::new(&CgroupLayout::read(&proc)?, &proc)?;
    for path in groups.remove_leftovers(LEFTOVERS)?.removed {
        log::info!("removed the group {} of an earlier demo", path.display());
    }
    let group = groups.create(LABEL)?;

    let mut live = Live::start(LiveOptions {
        selection: Selection {
            by_hand: true,
            ..Selection::default()
        },
        ..LiveOptions::default()
    })?;
    let mut start = now();
    start.mono_ns = live.open()?;
    let mut bench = Bench {
        live: &mut live,
        aggregate: Aggregate::default(),
        episodes: Vec::new(),
        group: &group,
        ends: &ends,
        progress,
    };
    let ran = [bench.phase(None, PHASE)?, bench.phase(Some(QUOTA), PHASE)?];
    // Nothing is written any more: what is in the ring then is the last.
    bench.live.probe_mut().detach()?;
    bench.drain()?;
    let (mut aggregate, episodes) = (bench.aggregate, bench.episodes);
    let begin = live.begin(start);
    let totals = live.totals(now())?;
    let context = Context::new(&begin, totals, live.taken());
    let report = aggregate.report(context, live.enricher());
    let phases = ran
        .iter()
        .map(|ran| ran.tell(&report, &episodes).ok_or(DemoError::NotReported))
        .collect::<Result<_, _>>()?;
    let cgroup = group.path().display().to_string();
    let cgroup_version = match group.version() {
        Version::V1 => 1,
        Version::V2 => 2,
    };
    group.close(REMOVAL)?;
    Ok(Demo {
        schema_version: SCHEMA_VERSION,
        gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: report.kernel,
        precision: begin.precision,
        probe_set: report.probe_set,
        attach_ns: report.attach_ns,
        cgroup_version,
        cgroup,
        phases,
        loss: report.loss,
        impossible: report.impossible,
        restarted_clock_method: restarted::METHOD.to_owned(),
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
                    "episodes = the kernel's count",
                    phase.episodes,
                    phase.episodes_by_kernel,
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
            episodes_by_kernel: 100,
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
            restarted_clock_method: restarted::METHOD.to_owned(),
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
