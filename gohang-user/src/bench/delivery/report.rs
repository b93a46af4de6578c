//! What the experiment measured. Field names are the published contract.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text;
use crate::bench::Figures;
use crate::experiment::{CpuStat, Method, Origin};
use crate::probe::{Hook, Precision};
use crate::report::{CauseShare, Loss};

/// The classic experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Time from send to send.
    pub send_every_ns: u64,
    /// Length of each run.
    pub run_ns: u64,
    /// What "throttled" rests on.
    pub precision: Precision,
    /// Every hook and what became of it.
    pub probe_set: Vec<Hook>,
    /// How long loading and attaching took.
    pub attach_ns: u64,
    /// Version of the cgroup hierarchy used, 1 or 2.
    pub cgroup_version: u8,
    /// The group that the signalled processes ran in, in that hierarchy; gone by now.
    pub cgroup: String,
    /// The runs, in their order.
    pub cells: Vec<Cell>,
    /// Figures of this experiment that are in circulation, and whether they hold here.
    pub published: Vec<Claim>,
    /// How what a restarted clock shows was computed.
    pub restarted_clock_method: String,
    /// Where every record of all runs went.
    pub loss: Loss,
    /// Things that cannot happen and were counted all the same, by kind.
    pub impossible: BTreeMap<String, u64>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// CPU time a period, null without a limit.
    pub quota_ns: Option<u64>,
    /// Length of a period, null without a limit.
    pub period_ns: Option<u64>,
    /// How each signal was sent.
    pub method: Method,
    /// Where the sender was.
    pub from: Origin,
    /// For how long it sent.
    pub duration_ns: u64,
    /// Signals sent, by the sender's own count.
    pub sends: u64,
    /// Times the handler ran, by its own count.
    pub handled: u64,
    /// Episodes that were delivered.
    pub episodes: u64,
    /// The same by the histograms, which have those too that got no record.
    pub episodes_in_histograms: u64,
    /// Sends absorbed by pending episodes.
    pub coalesced: u64,
    /// Episodes that were not delivered, by outcome.
    pub undelivered: BTreeMap<String, u64>,
    /// First send to delivery.
    pub latency: Figures,
    /// By cause: throttled, masked, blocked, runqueue, running.
    pub causes: BTreeMap<String, CauseShare>,
    /// What a clock restarted at every send shows of the same signals.
    pub restarted: Restarted,
    /// The group's own statistics, what this run added to them; null where the kernel
    /// counts nothing.
    pub cpu_stat: Option<CpuStat>,
}

/// What a script that starts its clock anew at every send would have reported, and how far
/// that is from the truth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restarted {
    /// Its figures.
    pub latency: Figures,
    /// Episodes for which its figure is too small; it is never too large.
    pub wrong: u64,
    /// How much too small, on average over all episodes.
    pub mean_error_ns: Option<u64>,
    /// How much too small at most.
    pub max_error_ns: Option<u64>,
}

/// A published figure, held against the runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// CPU time a period that it is about, null without a limit.
    pub quota_ns: Option<u64>,
    /// Length of a period, null without a limit.
    pub period_ns: Option<u64>,
    /// What of the distribution.
    pub statistic: Statistic,
    /// The figure.
    pub published_ns: u64,
    /// What was measured instead, by how and from where signals were sent.
    pub ways: Vec<Way>,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// What of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Mean.
    Mean,
    /// 99th percentile.
    P99,
}

impl Statistic {
    /// As text has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P99 => "p99",
        }
    }

    /// This of those figures; none of nothing.
    #[must_use]
    pub const fn of(self, figures: &Figures) -> Option<u64> {
        match self {
            Self::Mean => figures.mean_ns,
            Self::P99 => figures.p99_ns,
        }
    }
}

/// A published figure's counterpart in one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Way {
    /// How each signal was sent.
    pub method: Method,
    /// Where the sender was.
    pub from: Origin,
    /// What was measured.
    pub measured_ns: u64,
    /// What a clock restarted at every send shows.
    pub restarted_ns: u64,
    /// Whether the published figure is within a factor of two of what was measured.
    pub holds: bool,
    /// If it is not: whether it is nearer to what a restarted clock shows.
    pub like_restarted: bool,
}

/// Whether a published figure holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// However signals are sent.
    Confirmed,
    /// For some ways to send.
    InPart,
    /// For none.
    Refuted,
    /// Nothing like it was measured.
    NotMeasured,
}

impl Verdict {
    /// As text has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::InPart => "in part",
            Self::Refuted => "refuted",
            Self::NotMeasured => "not measured",
        }
    }
}

impl Delivery {
    /// What does not add up, in words; empty when all is well.
    #[must_use]
    pub fn imbalances(&self) -> Vec<String> {
        let mut found = self.loss.imbalances();
        // Each record that the ring had no room for is an episode less.
        if self.loss.lost() > 0 {
            return found;
        }
        for cell in &self.cells {
            let name = text::cell_name(cell);
            let undelivered: u64 = cell.undelivered.values().sum();
            let causes = cell.causes.values();
            for (what, left, right) in [
                (
                    "episodes = the histograms' count",
                    cell.episodes,
                    cell.episodes_in_histograms,
                ),
                (
                    "episodes + undelivered + coalesced = sends",
                    cell.episodes + undelivered + cell.coalesced,
                    cell.sends,
                ),
                (
                    "episodes = runs of the handler",
                    cell.episodes,
                    cell.handled,
                ),
                (
                    "episodes by cause = episodes",
                    causes.clone().map(|cause| cause.count).sum(),
                    cell.episodes,
                ),
                (
                    "components = latencies, ns",
                    causes.map(|cause| cause.total_ns).sum(),
                    cell.latency.total_ns,
                ),
            ] {
                if left != right {
                    found.push(format!("{name}: {what}: {left} != {right}"));
                }
            }
        }
        found
    }
}

#[cfg(test)]
pub(in crate::bench) mod tests {
    use super::super::published;
    use super::*;
    use crate::bench::delivery::cell::restarted;
    use crate::experiment::Pairing;

    /// A run of two signals with that mean, and what a restarted clock shows of it.
    pub(in crate::bench) fn cell(quota_ns: Option<u64>, mean_ns: u64, restarted_ns: u64) -> Cell {
        let pairings = [
            Pairing {
                latency_ns: mean_ns / 2,
                restarted_ns: restarted_ns / 2,
            },
            Pairing {
                latency_ns: mean_ns / 2 * 3,
                restarted_ns: restarted_ns / 2 * 3,
            },
        ];
        let latency = Figures::of(pairings.iter().map(|pairing| pairing.latency_ns));
        let mut causes: BTreeMap<String, CauseShare> = gohang_common::cause::Cause::ALL
            .iter()
            .map(|cause| (cause.name().to_owned(), CauseShare::default()))
            .collect();
        let cause = if quota_ns.is_some() {
            "throttled"
        } else {
            "running"
        };
        causes.insert(
            cause.to_owned(),
            CauseShare {
                count: 2,
                total_ns: latency.total_ns,
                max_ns: latency.max_ns,
            },
        );
        Cell {
            quota_ns,
            period_ns: quota_ns.map(|_| 100_000_000),
            method: Method::Tgkill,
            from: Origin::Outside,
            duration_ns: 6_500_000_000,
            sends: 9,
            handled: 2,
            episodes: 2,
            episodes_in_histograms: 2,
            coalesced: 7,
            undelivered: BTreeMap::new(),
            latency,
            causes,
            restarted: restarted(&pairings),
            cpu_stat: None,
        }
    }

    pub(in crate::bench) fn sample() -> Delivery {
        let mut cells = Vec::new();
        for (quota_ns, mean_ns, restarted_ns) in [
            (None, 80_000, 80_000),
            (Some(10_000_000), 8_200_000, 500_000),
        ] {
            for from in Origin::ALL {
                cells.push(Cell {
                    from,
                    ..cell(quota_ns, mean_ns, restarted_ns)
                });
            }
        }
        Delivery {
            send_every_ns: 1_000_000,
            run_ns: 6_500_000_000,
            precision: Precision::ThreadExact,
            probe_set: Vec::new(),
            attach_ns: 1,
            cgroup_version: 2,
            cgroup: "/gohang-bench-1-1-1".to_owned(),
            published: published::judge(&cells),
            cells,
            restarted_clock_method: "as it is".to_owned(),
            loss: Loss::default(),
            impossible: BTreeMap::new(),
        }
    }

    #[test]
    fn what_does_not_add_up_is_named() {
        assert_eq!(sample().imbalances(), Vec::<String>::new());
        let mut delivery = sample();
        delivery.cells[0].handled = 3;
        delivery.cells[1].coalesced = 8;
        delivery.cells[2].causes.clear();
        let found = delivery.imbalances();
        assert_eq!(found.len(), 4, "{found:?}");
        let found = found.join("\n");
        assert!(
            found.contains("no limit, tgkill from outside: episodes = runs of the handler: 2 != 3"),
            "{found}"
        );
        assert!(found.contains("= sends: 10 != 9"), "{found}");
        assert!(found.contains("components = latencies"), "{found}");
        // With a loss the records are fewer, and say so by themselves.
        delivery.loss.ring_full = 3;
        delivery.loss.seen = 3;
        assert_eq!(delivery.imbalances(), Vec::<String>::new());
    }
}
