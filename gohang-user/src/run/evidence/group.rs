//! Where the command runs, and what its control groups count.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of place it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaceKind {
    /// No group of its own: found by descent.
    #[default]
    Processes,
    /// Groups made by gohang.
    Groups,
    /// A scope of systemd's.
    Scope,
}

/// Where the command runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// What kind.
    pub kind: PlaceKind,
    /// Its group, and those above, nearest first.
    pub levels: Vec<Level>,
    /// Snapshot of the files of these groups, by path.
    pub files: Vec<(String, String)>,
}

/// A group with its limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Level {
    /// Its path, as in `/proc/PID/cgroup`.
    pub path: String,
    /// It holds the command alone.
    pub own: bool,
    /// CPU quota, in CPUs; null: none.
    pub quota_cpus: Option<f64>,
    /// Bandwidth period.
    pub period_ns: Option<u64>,
    /// Memory limit.
    pub memory_max_bytes: Option<u64>,
    /// Limit on tasks.
    pub tasks_max: Option<u64>,
}

/// One reading of the groups' counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// When, since the command's start.
    pub at_ns: u64,
    /// CPU time used by the command, since its group was made.
    pub used_ns: Option<u64>,
    /// Periods in which a group ran out of quota since it was made, nearest first.
    pub nr_throttled: Vec<u64>,
    /// Time out of quota, summed over run queues, nearest first.
    pub throttled_ns: Vec<u64>,
    /// Memory of the group that is nearest to its limit.
    pub memory: Option<MemoryUse>,
    /// Tasks of the group that is nearest to its limit.
    pub tasks: Option<TasksUse>,
    /// Processes of the command that the kernel killed for want of memory so far.
    pub oom_kills: u64,
    /// Times that a limit on memory was reached so far.
    pub memory_hits: u64,
    /// Forks refused because of a limit on tasks so far.
    pub refused: u64,
    /// Bytes of output so far.
    pub output_bytes: u64,
}

/// Memory of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryUse {
    /// The group.
    pub path: String,
    /// In use, without file cache that can be dropped.
    pub used_bytes: u64,
    /// Allowed.
    pub limit_bytes: u64,
}

/// Tasks of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TasksUse {
    /// Tasks there are.
    pub current: u64,
    /// Tasks allowed.
    pub limit: u64,
}

/// How much one group was out of quota within a while.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThrottledBy {
    /// The group.
    pub path: String,
    /// It holds the command alone.
    pub own: bool,
    /// Its quota, in CPUs.
    pub quota_cpus: Option<f64>,
    /// Length of the while, which ends at the decision.
    pub within_ns: u64,
    /// Periods in which it ran out of quota.
    pub periods: u64,
    /// Periods in which it ran.
    pub of: u64,
    /// The part of wall time for which it was out of quota, from 0 to 1.
    pub share: f64,
}

/// Events that the kernel counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Processes killed for want of memory, since the start.
    pub oom_kills: u64,
    /// Of those, since shortly before the last progress.
    pub oom_kills_lately: u64,
    /// Forks refused, since the start.
    pub refused: u64,
    /// Of those, since shortly before the last progress.
    pub refused_lately: u64,
    /// Times that a limit on memory was reached, since the start.
    pub memory_hits: u64,
    /// Of those, since shortly before the last progress.
    pub memory_hits_lately: u64,
}
