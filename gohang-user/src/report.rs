//! The report: the document that `trace -o json` prints, that text is made of
//! and that comparisons read. Field names are the published contract.

mod chain;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

pub use chain::{Chain, LateCauses, Links, LongStop, Open, Stops};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::probe::{EstimateError, Hook, ProgramCost};
use crate::process::CpuTimes;

/// Raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of this document's form.
    pub schema_version: u32,
    /// Version of gohang that wrote it.
    pub gohang_version: String,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// The traced window on both clocks.
    pub clock: Clock,
    /// Every hook and what became of it.
    pub probe_set: Vec<Hook>,
    /// What "throttled" rests on: thread-exact, cfs-rq-overlay,
    /// switch-point-estimate or no-bandwidth-control.
    pub precision: String,
    /// What an episode's throttled time may be off by; null where it is exact.
    pub estimate_error: Option<EstimateError>,
    /// How long loading and attaching took.
    pub attach_ns: u64,
    /// Length of the traced window.
    pub duration_ns: u64,
    /// Where every record went.
    pub loss: Loss,
    /// Things that cannot happen and were counted all the same, by kind.
    pub impossible: BTreeMap<String, u64>,
    /// Cost of the kernel programs (with --stats, else empty).
    pub bpf_cost: Vec<ProgramCost>,
    /// Time taken from the machine's CPUs while tracing, which inflates
    /// `running`; null where /proc/stat does not say.
    pub machine: Option<Machine>,
    /// Traced processes, most important first.
    pub processes: Vec<Process>,
    /// Ended processes that are only counted, to bound the report.
    pub folded: Folded,
    /// Groups whose quota the processes ran under, most important first.
    pub cgroups: Vec<Cgroup>,
    /// Alerts, most important first.
    pub alerts: Vec<Alert>,
    /// What `--fail-on` asked for, in that order.
    #[serde(default)]
    pub gates: Vec<Gate>,
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// CLOCK_MONOTONIC, as `bpf_ktime_get_ns`.
    pub mono_ns: u64,
    /// Since 1970.
    pub wall_ns: u64,
}

impl Moment {
    /// A `CLOCK_MONOTONIC` time as RFC 3339, by this pair of clocks.
    #[must_use]
    pub fn wall_of(self, mono_ns: u64) -> String {
        let wall_ns = self
            .wall_ns
            .wrapping_add(mono_ns)
            .wrapping_sub(self.mono_ns);
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(wall_ns);
        humantime::format_rfc3339_millis(time).to_string()
    }
}

/// Begin and end of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// When the window opened.
    pub start: Moment,
    /// When it closed.
    pub end: Moment,
}

/// The loss identity: seen = submitted + ring_full + map_full; submitted =
/// received; received = decoded + rejected; decoded = emitted +
/// output_dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// Records that the kernel side wanted to send.
    pub seen: u64,
    /// Records that went into the ring.
    pub submitted: u64,
    /// Records lost because the ring was full.
    pub ring_full: u64,
    /// Records lost because a state map was full.
    pub map_full: u64,
    /// Records taken from the ring.
    pub received: u64,
    /// Records understood.
    pub decoded: u64,
    /// Records not understood.
    pub rejected: u64,
    /// Records that reached the aggregation and the output.
    pub emitted: u64,
    /// Records that the output could not take.
    pub output_dropped: u64,
    /// Of those lost, requests to yield and stops of the world: the chain's
    /// distributions and counts lack them.
    #[serde(default)]
    pub chain_lost: u64,
    /// Histogram updates lost because their map was full.
    pub histogram_full: u64,
    /// Signals first sent before the window or before their process was traced.
    pub before_window: u64,
    /// Parks whose end was taken to be the switch-in, because a CPU had more
    /// parked threads than its list holds.
    pub park_list_full: u64,
    /// Times that a group ran out of quota on a CPU, or got it back, and the table of
    /// run queues was full: waits on them count as run-queue time.
    #[serde(default)]
    pub run_queues_full: u64,
    /// Switch-ins that the kernel did not report, rebuilt from the scheduler's
    /// run-time account.
    pub switch_in_unreported: u64,
    /// Wake-ups that the kernel did not report, rebuilt from the scheduler's
    /// queueing time.
    pub wake_unreported: u64,
}

impl Loss {
    /// The identities that do not hold, in words; empty when all is well.
    #[must_use]
    pub fn imbalances(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |name: &str, left: u64, right: u64| {
            if left != right {
                found.push(format!("{name}: {left} != {right}"));
            }
        };
        check(
            "seen = submitted + ring_full + map_full",
            self.seen,
            self.submitted + self.ring_full + self.map_full,
        );
        check("submitted = received", self.submitted, self.received);
        check(
            "received = decoded + rejected",
            self.received,
            self.decoded + self.rejected,
        );
        check(
            "decoded = emitted + output_dropped",
            self.decoded,
            self.emitted + self.output_dropped,
        );
        found
    }

    /// Records that did not reach the output.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.ring_full + self.map_full + self.rejected + self.output_dropped
    }
}

/// CPU time that went elsewhere, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Taken by the hypervisor.
    pub steal_ns: u64,
    /// In hardware interrupts.
    pub irq_ns: u64,
    /// In soft interrupts.
    pub softirq_ns: u64,
    /// CPUs.
    pub cpus: u32,
}

impl Machine {
    /// Between two readings; none where a CPU's time went back.
    #[must_use]
    pub fn between(before: &[CpuTimes], now: &[CpuTimes]) -> Option<Self> {
        let mut machine = Self::default();
        for (before, now) in before.iter().zip(now) {
            let grown = now.since(before).ok()?;
            machine.steal_ns += grown.steal_ns;
            machine.irq_ns += grown.irq_ns;
            machine.softirq_ns += grown.softirq_ns;
            machine.cpus += 1;
        }
        Some(machine)
    }
}

/// A filled bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// Smallest value in it.
    pub lo_ns: u64,
    /// First value above it.
    pub hi_ns: u64,
    /// Values in it.
    pub count: u64,
}

/// A distribution. A percentile is its bucket's upper edge, capped at `max_ns`;
/// of nothing, null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// Number of values.
    pub count: u64,
    /// Smallest.
    pub min_ns: Option<u64>,
    /// Sum divided by count.
    pub mean_ns: Option<u64>,
    /// Median.
    pub p50_ns: Option<u64>,
    /// 90th percentile.
    pub p90_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// 99.9th percentile.
    pub p999_ns: Option<u64>,
    /// Largest.
    pub max_ns: Option<u64>,
    /// Filled buckets, lowest first.
    pub buckets: Vec<Bucket>,
}

/// Stalls: wall-clock time in which a runnable thread could not run because of
/// quota.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waits {
    /// All of them together.
    pub total_ns: u64,
    /// How many.
    pub count: u64,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
    /// Longest.
    pub max_ns: Option<u64>,
    /// Filled buckets, lowest first.
    pub buckets: Vec<Bucket>,
}

/// One cause of delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CauseShare {
    /// Delivered episodes of that cause.
    pub count: u64,
    /// That component, summed over all delivered episodes.
    pub total_ns: u64,
    /// Longest delivered episode of that cause.
    pub max_ns: Option<u64>,
}

/// A traced process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Root PID namespace.
    pub pid: u32,
    /// Start, CLOCK_MONOTONIC.
    pub start_ns: u64,
    /// Since when it is traced, CLOCK_MONOTONIC.
    pub traced_since_ns: u64,
    /// When it ended, null if it had not.
    pub ended_ns: Option<u64>,
    /// Name, escaped.
    pub comm: String,
    /// Go version as `go1.24.11`, null if it is not Go.
    pub go: Option<String>,
    /// Programs it executed while traced.
    pub execs: u64,
    /// Its membership: the path in /proc/PID/cgroup (on v1 of the cpu line).
    pub cgroup: Option<String>,
    /// Nearest group with the cpu controller.
    pub quota_cgroup: Option<String>,
    /// The limit that binds it: the tightest of its groups' limits.
    pub limit: Option<Limit>,
    /// Container id, if its group is a container's.
    pub container: Option<String>,
    /// systemd unit, if its group is a unit's.
    pub unit: Option<String>,
    /// Delivered episodes.
    pub episodes: u64,
    /// Episodes by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Sends absorbed by pending episodes.
    pub coalesced: u64,
    /// First send to delivery.
    pub delivery: Distribution,
    /// By cause: throttled, masked, blocked, runqueue, running.
    pub causes: BTreeMap<String, CauseShare>,
    /// Time out of quota.
    pub stall: Waits,
    /// Time on the run queue.
    pub runqueue: Waits,
    /// Time on a CPU, all threads.
    pub running_ns: u64,
    /// What the delivered episodes interrupted, most often first, at most 10; empty where
    /// it is not known, as of programs that are not Go.
    #[serde(default)]
    pub interrupted: Vec<Interrupted>,
    /// By thread: episodes only, from the records.
    pub threads: Vec<Thread>,
    /// The chain from request to yield; null where no request or stop was seen, as of
    /// programs that are not Go or without probes in the runtime.
    pub chain: Option<Chain>,
}

impl Process {
    /// Share of the time its threads wanted to run that they were out of quota,
    /// 0 to 1; none if they never wanted to.
    #[must_use]
    pub fn stall_share(&self) -> Option<f64> {
        share(self.stall.total_ns, self.wanted_ns())
    }

    /// Share of the time its threads wanted to run that they waited for a CPU.
    #[must_use]
    pub fn runqueue_share(&self) -> Option<f64> {
        share(self.runqueue.total_ns, self.wanted_ns())
    }

    /// Time its threads wanted to run: on a CPU, on the run queue, out of quota.
    #[must_use]
    pub fn wanted_ns(&self) -> u64 {
        self.stall.total_ns + self.runqueue.total_ns + self.running_ns
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A function that delivered signals interrupted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interrupted {
    /// Its name, escaped; null for code without one.
    pub function: Option<String>,
    /// Delivered episodes.
    pub count: u64,
    /// First send to delivery, all of them together.
    pub total_ns: u64,
    /// Episodes by what a signal meets at the very instruction: safe (it can preempt),
    /// `not_go`, assembly, runtime, marked (by the compiler, as not to be cut). In all but
    /// the first, the signal is delivered and the goroutine runs on.
    pub safe_points: BTreeMap<String, u64>,
}

/// A CPU limit and the group that sets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// Group that sets it.
    pub owner: String,
    /// CPU time a period.
    pub quota_ns: u64,
    /// Length of a period.
    pub period_ns: u64,
    /// The limit in CPUs: quota over period.
    pub cpus: f64,
}

/// Episodes of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Thread {
    /// Root PID namespace.
    pub tid: u32,
    /// Name, escaped.
    pub comm: String,
    /// Delivered episodes.
    pub episodes: u64,
    /// First send to delivery.
    pub delivery: Distribution,
    /// By cause.
    pub causes: BTreeMap<String, CauseShare>,
}

/// Ended processes that are not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Folded {
    /// How many.
    pub processes: u64,
    /// Their delivered episodes.
    pub episodes: u64,
    /// Their time out of quota.
    pub stall_ns: u64,
}

/// A group that the CPU controller charges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// Path in the cpu hierarchy, null if the group is gone or unknown.
    pub path: Option<String>,
    /// Kernel id, 0 for an autogroup.
    pub id: u64,
    /// CPU time a period of the tightest limit, null without one.
    pub quota_ns: Option<u64>,
    /// Length of a period of that limit.
    pub period_ns: Option<u64>,
    /// Group that sets that limit.
    pub limit_owner: Option<String>,
    /// First send to delivery.
    pub delivery: Distribution,
    /// Time out of quota.
    pub stall: Waits,
    /// Time on the run queue.
    pub runqueue: Waits,
    /// Spans in which the group was out of quota on a CPU; null where only
    /// threads are seen.
    pub spans: Option<Spans>,
    /// Processes that ran in it.
    pub pids: Vec<u32>,
}

/// Spans in which a group was out of quota, one a CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spans {
    /// All of them.
    #[serde(flatten)]
    pub all: Waits,
    /// By the group whose limit ran out, longest in all first.
    pub owners: Vec<SpanOwner>,
}

/// A group whose limit ran out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpanOwner {
    /// Path in the cpu hierarchy, null if the group is gone or unknown.
    pub path: Option<String>,
    /// Kernel id, 0 if unknown.
    pub id: u64,
    /// How many spans.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
}

/// How bad it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something is slow.
    Warning,
    /// Something does not work.
    Critical,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// Name of the rule.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// Process.
    pub pid: u32,
    /// Thread, null if it concerns the process.
    pub tid: Option<u32>,
    /// Goroutine, if known.
    pub goid: Option<u64>,
    /// Since when, CLOCK_MONOTONIC.
    pub since_ns: u64,
    /// The same as wall-clock time, RFC 3339.
    pub wall: String,
    /// How often it was raised for this target.
    pub count: u64,
    /// What happened, in one sentence.
    pub headline: String,
    /// Numbers, each with its unit in the name.
    pub evidence: BTreeMap<String, serde_json::Value>,
    /// What to do.
    pub advice: String,
}

/// A gate (`--fail-on`) and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// As it was given.
    pub expr: String,
    /// Some process fails it, and so the run.
    pub failed: bool,
    /// Processes that it could be held against: for a comparison, those that
    /// have the figure.
    pub checked: u64,
    /// Processes that fail it, the worst first.
    pub violations: Vec<Violation>,
}

/// A process that fails a gate, and with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// Process.
    pub pid: u32,
    /// Its name, escaped.
    pub comm: String,
    /// Its figure, if that is a duration.
    pub value_ns: Option<u64>,
    /// Its figure, if that is a number; of a rule, how often it was raised.
    pub value_count: Option<u64>,
    /// Its figure, if that is a share, 0 to 1.
    pub value_share: Option<f64>,
    /// Of a rule, the worst severity raised.
    pub severity: Option<Severity>,
}
