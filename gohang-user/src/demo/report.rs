//! What the demo measured. Field names are the published contract.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::experiment::CpuStat;
use crate::probe::{Hook, Precision};
use crate::report::{CauseShare, Distribution, Loss};

/// Raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// Both runs of the demo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Demo {
    /// Version of this document's form.
    pub schema_version: u32,
    /// Version of gohang that wrote it.
    pub gohang_version: String,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// What "throttled" rests on.
    pub precision: Precision,
    /// Every hook and what became of it.
    pub probe_set: Vec<Hook>,
    /// How long loading and attaching took.
    pub attach_ns: u64,
    /// Version of the cgroup hierarchy used, 1 or 2.
    pub cgroup_version: u8,
    /// The group that the target ran in, in that hierarchy; gone by now.
    pub cgroup: String,
    /// Without a quota, then with one.
    pub phases: Vec<Phase>,
    /// Where every record of both phases went.
    pub loss: Loss,
    /// Things that cannot happen and were counted all the same, by kind.
    pub impossible: BTreeMap<String, u64>,
    /// How `restarted_clock` was computed.
    pub restarted_clock_method: String,
}

/// One run of the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// CPU time a period, null without a quota.
    pub quota_ns: Option<u64>,
    /// Length of a period, null without a quota.
    pub period_ns: Option<u64>,
    /// How long the senders sent.
    pub duration_ns: u64,
    /// Signals sent, by the senders' own counts.
    pub sends: Sends,
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
    pub latency: Distribution,
    /// By cause: throttled, masked, blocked, runqueue, running.
    pub causes: BTreeMap<String, CauseShare>,
    /// What a script that starts its clock anew at every send would have reported.
    pub restarted_clock: Distribution,
    /// The group's own statistics, what this phase added to them; null where the
    /// kernel counts nothing.
    pub cpu_stat: Option<CpuStat>,
}

/// Signals sent, by sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sends {
    /// By a process outside the group.
    pub outside: u64,
    /// By a thread inside the group.
    pub inside: u64,
}
