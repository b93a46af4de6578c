//! What `inspect` states of control groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::Name;

/// Control groups of a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Groups {
    /// Membership in each hierarchy.
    pub members: Vec<Member>,
    /// CPU time; null where no group of the controller can be seen.
    pub cpu: Option<Cpu>,
    /// CPUs and memory nodes.
    pub cpuset: Option<Cpusets>,
    /// Memory, bytes.
    pub memory: Option<Limited>,
    /// Tasks: processes and threads.
    pub pids: Option<Limited>,
}

/// Membership in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Version of the hierarchy.
    pub version: u8,
    /// Its controllers; of version 2, those the group has.
    pub controllers: Vec<String>,
    /// The group, as in /proc/PID/cgroup.
    pub path: Name,
    /// The group has been removed.
    pub deleted: bool,
}

/// CPU time of a group and those above it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cpu {
    /// Version of the hierarchy.
    pub version: u8,
    /// The process's group.
    pub path: Name,
    /// The group and those above it that the controller looks after, nearest first.
    pub levels: Vec<CpuLevel>,
    /// The tightest of them; null without a limit.
    pub effective: Option<EffectiveCpu>,
    /// Every group above is visible. Otherwise there may be tighter limits (in a container).
    pub complete: bool,
    /// Statistics of the nearest group with a limit, else of the nearest.
    pub statistics: Option<CpuStatistics>,
    /// The same over the sample.
    pub sample: Option<CpuStatistics>,
    /// The sample in slots of one period each, cut where periods end.
    pub slots: Vec<CpuSlot>,
    /// Waiting for CPUs in the group.
    pub pressure: Option<Psi>,
}

/// A group that the cpu controller looks after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuLevel {
    /// The group.
    pub path: Name,
    /// CPU time it may use in a period, ns; null is no limit.
    pub quota_ns: Option<u64>,
    /// The period, ns.
    pub period_ns: u64,
    /// Unused quota that may be saved up, ns.
    pub burst_ns: u64,
    /// Its share where there is not enough.
    pub weight: Option<Weight>,
}

impl CpuLevel {
    /// The quota in CPUs.
    #[must_use]
    pub fn cpus(&self) -> Option<f64> {
        let quota = self.quota_ns?;
        (self.period_ns > 0).then(|| quota as f64 / self.period_ns as f64)
    }
}

/// A share of CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// `cpu.shares` of version 1; 1024 is the default.
    Shares(u64),
    /// `cpu.weight` of version 2; 100 is the default.
    Weight(u64),
    /// `cpu.idle` of version 2.
    Idle,
}

/// The CPU limit in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EffectiveCpu {
    /// The group that has it.
    pub path: Name,
    /// CPU time in a period, ns.
    pub quota_ns: u64,
    /// The period, ns.
    pub period_ns: u64,
    /// Unused quota that may be saved up, ns.
    pub burst_ns: u64,
    /// The quota in CPUs.
    pub cpus: f64,
}

/// Statistics of a group; null is what its version or kernel does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuStatistics {
    /// The group.
    pub path: Name,
    /// CPU time used, ns.
    pub usage_ns: Option<u64>,
    /// Periods in which it ran.
    pub periods: Option<u64>,
    /// Periods in which it ran out of quota.
    pub throttled_periods: Option<u64>,
    /// Time its run queues were throttled, ns, summed over them.
    pub throttled_ns: Option<u64>,
    /// Periods in which it used saved-up quota.
    pub bursts: Option<u64>,
    /// Time run on saved-up quota, ns.
    pub burst_ns: Option<u64>,
}

/// A stretch of the sample: a period, or as long a time in which the group did nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuSlot {
    /// CPU time used, ns.
    pub usage_ns: u64,
    /// Periods that ended in it out of quota.
    pub throttled_periods: u64,
    /// Time run queues were throttled, ns.
    pub throttled_ns: u64,
}

/// CPUs and memory nodes of a group and those above it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cpusets {
    /// The process's group.
    pub path: Name,
    /// The group and those above it, nearest first.
    pub levels: Vec<CpusetLevel>,
}

/// A group that the cpuset controller looks after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpusetLevel {
    /// The group.
    pub path: Name,
    /// CPUs it asks for; empty or null: those of the group above.
    pub cpus: Option<String>,
    /// CPUs it gets.
    pub effective: Option<String>,
    /// Memory nodes it asks for.
    pub mems: Option<String>,
}

/// A limited count of a group and those above it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limited {
    /// The process's group.
    pub path: Name,
    /// The group and those above it, nearest first.
    pub levels: Vec<LimitLevel>,
    /// The lowest limit; null without one.
    pub effective: Option<Level>,
}

/// A group with a limited count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitLevel {
    /// The group.
    pub path: Name,
    /// What is in use.
    pub current: u64,
    /// What is allowed; null is no limit.
    pub limit: Option<u64>,
    /// How often the limit was hit: allocations that waited, or forks that were refused.
    pub hits: u64,
    /// Processes killed because of it.
    pub kills: u64,
}

/// A limit and the group that has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Level {
    /// The group.
    pub path: Name,
    /// What is allowed.
    pub limit: u64,
    /// What is in use.
    pub current: u64,
}

/// Pressure stall information.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Psi {
    /// At least one task waited.
    pub some: PsiStall,
    /// All tasks waited.
    pub full: Option<PsiStall>,
}

/// A share of time in which tasks waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PsiStall {
    /// Of the last 10 s, per cent.
    pub avg10: f64,
    /// Of the last 60 s, per cent.
    pub avg60: f64,
    /// Of the last 300 s, per cent.
    pub avg300: f64,
    /// All of it, ns.
    pub total_ns: u64,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contained {
    /// What runs it: `docker`, `containerd`, `cri-o`, `podman`, `runc` or `unknown`.
    pub runtime: String,
    /// Its id.
    pub id: String,
    /// Its name, where the runtime's state tells.
    pub name: Option<String>,
    /// UID of its Kubernetes pod.
    pub pod_uid: Option<String>,
    /// Name of the pod.
    pub pod: Option<String>,
    /// Namespace of the pod.
    pub namespace: Option<String>,
    /// The file that name and pod were found in.
    pub state: Option<Name>,
}

/// A systemd unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Unit of the user's own manager, below `user@UID.service`.
    pub user_unit: Option<String>,
    /// Its slice.
    pub slice: Option<String>,
    /// It is a scope: made for processes that someone else started, and gone with the last
    /// of them.
    pub scope: bool,
    /// Active state, as systemd gives it (`active`, `failed` ...); null if it does not answer.
    pub state: Option<String>,
    /// For a scope: whether it outlives its processes.
    pub outlives_processes: Option<bool>,
}
