//! Two reports side by side.

mod pairs;
mod read;
mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

pub use pairs::MatchedBy;
pub use read::{CompareError, read_report};
pub use text::text;

use crate::buckets::{merge_distributions, merge_waits};
use crate::report::{CauseShare, Distribution, Process, Report, Waits};

/// Version of the comparison's form.
pub const SCHEMA_VERSION: u32 = 1;

/// Two runs side by side.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Comparison {
    /// Version of this document's form.
    pub schema_version: u32,
    /// First run.
    pub a: Run,
    /// Second run.
    pub b: Run,
    /// All processes together.
    pub totals: Figures,
    /// Processes that both have, most important of the first run first.
    pub processes: Vec<Pair>,
    /// Processes that only the first run has.
    pub only_a: Vec<Who>,
    /// Processes that only the second run has.
    pub only_b: Vec<Who>,
}

/// What a run was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Run {
    /// Version of gohang that traced it.
    pub gohang_version: String,
    /// Kernel release.
    pub kernel: String,
    /// What "throttled" rests on.
    pub precision: String,
    /// Length of the traced window.
    pub duration_ns: u64,
    /// Records lost.
    pub lost: u64,
    /// Begin, nanoseconds since 1970.
    pub begin_wall_ns: u64,
}

/// A process of one run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Who {
    /// Root PID namespace.
    pub pid: u32,
    /// Name.
    pub comm: String,
    /// Go version, null if it is not Go.
    pub go: Option<String>,
    /// Its membership.
    pub cgroup: Option<String>,
    /// Its limit in CPUs, null without one.
    pub cpus: Option<f64>,
}

/// The same process in both runs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Pair {
    /// In the first run.
    pub a: Who,
    /// In the second run.
    pub b: Who,
    /// What they were matched by.
    pub matched_by: MatchedBy,
    /// Its figures.
    pub figures: Figures,
}

/// A figure in both runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    /// In the first run; null where there is none.
    pub a: Option<u64>,
    /// In the second run.
    pub b: Option<u64>,
    /// (b - a) / a; null where one is missing or a is 0.
    pub relative: Option<f64>,
}

impl Change {
    fn new(a: Option<u64>, b: Option<u64>) -> Self {
        let relative = match (a, b) {
            (Some(a), Some(b)) if a > 0 => Some((b as f64 - a as f64) / a as f64),
            _ => None,
        };
        Self { a, b, relative }
    }

    fn of(a: u64, b: u64) -> Self {
        Self::new(Some(a), Some(b))
    }
}

/// Shares of the time that threads wanted to run, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Shares {
    /// In the first run; null if no thread wanted to run.
    pub a: Option<f64>,
    /// In the second run.
    pub b: Option<f64>,
}

/// Figures of a process, or of all, in both runs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Figures {
    /// Episodes by outcome.
    pub outcomes: BTreeMap<String, Change>,
    /// Sends absorbed by pending episodes.
    pub coalesced: Change,
    /// First send to delivery.
    pub delivery: DeliveryChange,
    /// By cause.
    pub causes: BTreeMap<String, CauseChange>,
    /// Time out of quota.
    pub stall: WaitsChange,
    /// Its share of the time that threads wanted to run.
    pub stall_share: Shares,
    /// Time on the run queue.
    pub runqueue: WaitsChange,
    /// Its share of the time that threads wanted to run.
    pub runqueue_share: Shares,
    /// Time on a CPU.
    pub running_ns: Change,
}

/// Delivery latency in both runs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DeliveryChange {
    /// Number of values.
    pub count: Change,
    /// Smallest.
    pub min_ns: Change,
    /// Mean.
    pub mean_ns: Change,
    /// Median.
    pub p50_ns: Change,
    /// 90th percentile.
    pub p90_ns: Change,
    /// 99th percentile.
    pub p99_ns: Change,
    /// 99.9th percentile.
    pub p999_ns: Change,
    /// Largest.
    pub max_ns: Change,
}

/// A cause in both runs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CauseChange {
    /// Delivered episodes of that cause.
    pub count: Change,
    /// That component, summed over all delivered episodes.
    pub total_ns: Change,
    /// Longest delivered episode of that cause.
    pub max_ns: Change,
}

/// Waits in both runs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct WaitsChange {
    /// How many.
    pub count: Change,
    /// All of them together.
    pub total_ns: Change,
    /// 99th percentile.
    pub p99_ns: Change,
    /// Longest.
    pub max_ns: Change,
}

/// Compares two reports.
#[must_use]
pub fn compare(a: &Report, b: &Report) -> Comparison {
    let matched = pairs::pairs(&a.processes, &b.processes);
    Comparison {
        schema_version: SCHEMA_VERSION,
        a: Run::of(a),
        b: Run::of(b),
        totals: figures(&Side::all(a), &Side::all(b)),
        processes: matched
            .pairs
            .iter()
            .map(|(a, b, matched_by)| Pair {
                a: Who::of(a),
                b: Who::of(b),
                matched_by: *matched_by,
                figures: figures(&Side::one(a), &Side::one(b)),
            })
            .collect(),
        only_a: matched
            .only_a
            .iter()
            .map(|process| Who::of(process))
            .collect(),
        only_b: matched
            .only_b
            .iter()
            .map(|process| Who::of(process))
            .collect(),
    }
}

impl Run {
    fn of(report: &Report) -> Self {
        Self {
            gohang_version: report.gohang_version.clone(),
            kernel: report.kernel.clone(),
            precision: report.precision.clone(),
            duration_ns: report.duration_ns,
            lost: report.loss.lost(),
            begin_wall_ns: report.clock.start.wall_ns,
        }
    }
}

impl Who {
    fn of(process: &Process) -> Self {
        Self {
            pid: process.pid,
            comm: process.comm.clone(),
            go: process.go.clone(),
            cgroup: process.cgroup.clone(),
            cpus: process.limit.as_ref().map(|limit| limit.cpus),
        }
    }
}

/// What is compared: one process, or all of a run as one.
struct Side {
    outcomes: BTreeMap<String, u64>,
    coalesced: u64,
    delivery: Distribution,
    causes: BTreeMap<String, CauseShare>,
    stall: Waits,
    runqueue: Waits,
    running_ns: u64,
}

impl Side {
    fn one(process: &Process) -> Self {
        Self::of(std::slice::from_ref(process))
    }

    fn all(report: &Report) -> Self {
        Self::of(&report.processes)
    }

    fn of(processes: &[Process]) -> Self {
        let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
        let mut causes: BTreeMap<String, CauseShare> = BTreeMap::new();
        for process in processes {
            for (name, count) in &process.outcomes {
                *outcomes.entry(name.clone()).or_default() += count;
            }
            for (name, share) in &process.causes {
                let sum = causes.entry(name.clone()).or_default();
                sum.count += share.count;
                sum.total_ns += share.total_ns;
                sum.max_ns = sum.max_ns.max(share.max_ns);
            }
        }
        // One process keeps its own figures, which are exacter than a merge.
        let (delivery, stall, runqueue) = match processes {
            [one] => (
                one.delivery.clone(),
                one.stall.clone(),
                one.runqueue.clone(),
            ),
            many => (
                merge_distributions(many.iter().map(|process| &process.delivery)),
                merge_waits(many.iter().map(|process| &process.stall)),
                merge_waits(many.iter().map(|process| &process.runqueue)),
            ),
        };
        Self {
            outcomes,
            coalesced: processes.iter().map(|process| process.coalesced).sum(),
            delivery,
            causes,
            stall,
            runqueue,
            running_ns: processes.iter().map(|process| process.running_ns).sum(),
        }
    }

    fn share(&self, part: u64) -> Option<f64> {
        let wanted = self.stall.total_ns + self.runqueue.total_ns + self.running_ns;
        (wanted > 0).then(|| part as f64 / wanted as f64)
    }
}

fn figures(a: &Side, b: &Side) -> Figures {
    Figures {
        outcomes: both(&a.outcomes, &b.outcomes, |a, b| {
            Change::of(a.copied().unwrap_or(0), b.copied().unwrap_or(0))
        }),
        coalesced: Change::of(a.coalesced, b.coalesced),
        delivery: delivery(&a.delivery, &b.delivery),
        causes: both(&a.causes, &b.causes, |a, b| {
            let (a, b) = (
                a.copied().unwrap_or_default(),
                b.copied().unwrap_or_default(),
            );
            CauseChange {
                count: Change::of(a.count, b.count),
                total_ns: Change::of(a.total_ns, b.total_ns),
                max_ns: Change::new(a.max_ns, b.max_ns),
            }
        }),
        stall: waits(&a.stall, &b.stall),
        stall_share: Shares {
            a: a.share(a.stall.total_ns),
            b: b.share(b.stall.total_ns),
        },
        runqueue: waits(&a.runqueue, &b.runqueue),
        runqueue_share: Shares {
            a: a.share(a.runqueue.total_ns),
            b: b.share(b.runqueue.total_ns),
        },
        running_ns: Change::of(a.running_ns, b.running_ns),
    }
}

/// Every name that one of them has.
fn both<T, R>(
    a: &BTreeMap<String, T>,
    b: &BTreeMap<String, T>,
    change: impl Fn(Option<&T>, Option<&T>) -> R,
) -> BTreeMap<String, R> {
    let names = a.keys().chain(b.keys());
    names
        .map(|name| (name.clone(), change(a.get(name), b.get(name))))
        .collect()
}

fn delivery(a: &Distribution, b: &Distribution) -> DeliveryChange {
    DeliveryChange {
        count: Change::of(a.count, b.count),
        min_ns: Change::new(a.min_ns, b.min_ns),
        mean_ns: Change::new(a.mean_ns, b.mean_ns),
        p50_ns: Change::new(a.p50_ns, b.p50_ns),
        p90_ns: Change::new(a.p90_ns, b.p90_ns),
        p99_ns: Change::new(a.p99_ns, b.p99_ns),
        p999_ns: Change::new(a.p999_ns, b.p999_ns),
        max_ns: Change::new(a.max_ns, b.max_ns),
    }
}

fn waits(a: &Waits, b: &Waits) -> WaitsChange {
    WaitsChange {
        count: Change::of(a.count, b.count),
        total_ns: Change::of(a.total_ns, b.total_ns),
        p99_ns: Change::new(a.p99_ns, b.p99_ns),
        max_ns: Change::new(a.max_ns, b.max_ns),
    }
}

#[cfg(test)]
mod tests;
