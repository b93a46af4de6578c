//! What `inspect` states. Field names are the published contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::model_go::{Gc, Go, GoSetting, Gomaxprocs, Watched};
pub use super::model_group::{
    Contained, Cpu, CpuLevel, CpuSlot, CpuStatistics, CpusetLevel, Cpusets, EffectiveCpu, Groups,
    Level, LimitLevel, Limited, Member, Psi, PsiStall, Unit, Weight,
};
use super::name::Name;
use crate::advice::Advice;
use crate::report::Moment;

/// Raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// Processes and their surroundings at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// Version of this document's form.
    pub schema_version: u32,
    /// Version of gohang that wrote it.
    pub gohang_version: String,
    /// When it was looked at.
    pub taken: Moment,
    /// How long statistics were watched before that; null without `--sample`.
    pub sample_ns: Option<u64>,
    /// The machine.
    pub machine: Machine,
    /// Processes, by id.
    pub processes: Vec<Process>,
    /// Processes that could not be looked at.
    pub failed: Vec<Failed>,
    /// Moves from one group to another that were made or seen.
    pub moves: Vec<Move>,
}

/// What holds for all processes of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Kernel release, as `uname -r`; null if it cannot be read.
    pub kernel: Option<String>,
    /// What is mounted of control groups, in words.
    pub layout: String,
    /// Version of the hierarchy with the cpu controller; null if there is none.
    pub cpu_version: Option<u8>,
    /// Where that hierarchy is mounted.
    pub cpu_mount: Option<Name>,
    /// Why it is not known, or not there.
    pub cpu_error: Option<String>,
    /// CPUs that are online.
    pub online_cpus: u32,
    /// How many groups a process is in at a time, and where it may be: the rule of the layout.
    pub membership_rule: String,
    /// Waiting for CPUs, machine-wide; null where the kernel does not count.
    pub cpu_pressure: Option<Psi>,
}

/// A process that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// Its id.
    pub pid: u32,
    /// It ended meanwhile.
    pub gone: bool,
    /// Why.
    pub reason: String,
}

/// Something that could not be read of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Withheld {
    /// What is not known.
    pub what: String,
    /// Why, and what would allow it.
    pub reason: String,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Its id, as this machine's /proc has it.
    pub pid: u32,
    /// Its id in each PID namespace, from outside to its own.
    pub ns_pids: Vec<u32>,
    /// Start after boot, in clock ticks; with `pid` it names the process for good.
    pub start_ticks: u64,
    /// Its name.
    pub comm: Name,
    /// The program it runs; null where that may not be read.
    pub program: Option<Name>,
    /// User id (effective).
    pub uid: u32,
    /// Memory it has resident, bytes.
    pub rss_bytes: Option<u64>,
    /// CPUs that its first thread may run on.
    pub cpus_allowed: String,
    /// How many that are.
    pub cpus_allowed_count: u32,
    /// SIGURG, the preemption signal.
    pub sigurg: Sigurg,
    /// Its threads.
    pub threads: Vec<Thread>,
    /// What is known of it as a Go program; null if it is none, or cannot be told.
    pub go: Option<Go>,
    /// Its control groups.
    pub groups: Groups,
    /// Its container; null outside of one.
    pub container: Option<Contained>,
    /// Its systemd unit.
    pub unit: Option<Unit>,
    /// What could not be read.
    pub withheld: Vec<Withheld>,
    /// What to change.
    pub advice: Vec<Advice>,
}

impl Process {
    /// GOMAXPROCS as it is, or as the runtime would set it.
    #[must_use]
    pub fn gomaxprocs(&self) -> Option<u32> {
        let procs = &self.go.as_ref()?.gomaxprocs;
        procs.seen.or(procs.computed)
    }
}

/// SIGURG in a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sigurg {
    /// It has a handler.
    pub caught: bool,
    /// It is ignored.
    pub ignored: bool,
    /// One is pending for the process as a whole.
    pub pending: bool,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Thread {
    /// Its id.
    pub tid: u32,
    /// Its name.
    pub comm: Name,
    /// It keeps SIGURG blocked.
    pub sigurg_blocked: bool,
    /// SIGURG is pending for it.
    pub sigurg_pending: bool,
    /// CPUs that it may run on.
    pub cpus_allowed: String,
    /// Times that it gave up its CPU.
    pub voluntary_switches: u64,
    /// Times that its CPU was taken away.
    pub involuntary_switches: u64,
    /// Its group in the hierarchy of the cpu controller, if it is not its process's.
    pub cgroup: Option<Name>,
    /// CPU time in the sample; null without one.
    pub sample_cpu_ns: Option<u64>,
}

/// A move of a process to another group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Move {
    /// The process.
    pub pid: u32,
    /// gohang made it.
    pub ours: bool,
    /// Before.
    pub before: Place,
    /// After; of a move that was only asked about, what it would be.
    pub after: Place,
    /// Whether it was done, or seen: false for one that was only asked about.
    pub done: bool,
    /// How long the process was watched after it, ns.
    pub watched_ns: u64,
    /// What the group was throttled meanwhile, ns, summed over its run queues.
    pub throttled_ns: Option<u64>,
    /// Periods meanwhile in which the group ran out of quota.
    pub throttled_periods: Option<u64>,
    /// What the runtime notices of the change, and what it does not.
    pub runtime: String,
    /// Scheduler and limits agree: GOMAXPROCS is not above what may run at a time.
    pub agree: bool,
    /// The same in words.
    pub verdict: String,
}

/// Where a process is, and what that allows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// Group in the hierarchy of the cpu controller.
    pub cgroup: Option<Name>,
    /// Tightest CPU limit; null without one.
    pub limit: Option<EffectiveCpu>,
    /// CPUs that the first thread may run on.
    pub cpus_allowed: String,
    /// GOMAXPROCS as it is.
    pub gomaxprocs: Option<u32>,
    /// GOMAXPROCS as the runtime would set it here.
    pub computed: Option<u32>,
    /// Threads.
    pub threads: Vec<Thread>,
}
