//! What `doctor` finds. Field names are the published contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::controllers::ControllerState;
use super::finding::Finding;
use super::project::Project;
use super::scheduler::Scheduler;
use super::systemd::Systemd;
use crate::probe::{EstimateError, Hook, Precision, ThrottleSource};

/// Raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// What this machine allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Doctor {
    /// Version of this document's form.
    pub schema_version: u32,
    /// Version of gohang that wrote it.
    pub gohang_version: String,
    /// Whether tracing works.
    pub verdict: Verdict,
    /// Why it does not, or not fully; worst first.
    pub problems: Vec<Problem>,
    /// Kernel release, as `uname -r`; null if it cannot be read.
    pub kernel: Option<String>,
    /// The kernel's type information.
    pub btf: Btf,
    /// The kernel's lockdown: none, integrity, confidentiality or unknown.
    pub lockdown: String,
    /// Whether the limit on locked memory matters.
    pub memlock: Memlock,
    /// Whether this is the root PID namespace, whose process ids the kernel's
    /// events have; null if it cannot be told.
    pub root_pid_namespace: Option<bool>,
    /// Capabilities that gohang asks for.
    pub privileges: Vec<Privilege>,
    /// Control groups.
    pub cgroup: Cgroup,
    /// gohang's own hooks, from attaching them; empty if that failed.
    pub probe_set: Vec<Hook>,
    /// Hooks that are not in use, tried to say what this kernel would allow.
    pub other_hooks: Vec<Hook>,
    /// Tracepoints of this kernel that concern throttling (mainline has none).
    pub throttle_tracepoints: Vec<String>,
    /// Where `throttle_tracepoints` was looked for.
    pub throttle_tracepoints_from: Vec<String>,
    /// What "throttled" rests on; null if the hooks could not be attached.
    pub precision: Option<Precision>,
    /// The same in words.
    pub precision_meaning: Option<String>,
    /// What an episode's throttled time may be off by; null where it is exact.
    pub estimate_error: Option<EstimateError>,
    /// What this kernel can do of each form of `--throttle-source`, most exact first;
    /// empty if the hooks could not be attached.
    pub throttle_sources: Vec<ThrottleSource>,
    /// How long loading and attaching took.
    pub attach_ns: Option<u64>,
    /// Settings of the scheduler.
    pub scheduler: Scheduler,
    /// systemd.
    pub systemd: Systemd,
    /// What of the machine makes stalls or hides them; warnings first. None of it keeps
    /// gohang from tracing.
    pub findings: Vec<Finding>,
    /// The Go project; null if none was asked for. Its findings have no part in `verdict`.
    pub project: Option<Project>,
}

/// Whether tracing works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything works.
    Works,
    /// Tracing works, something else does not.
    Degraded,
    /// Tracing does not work.
    Cannot,
}

/// Something that does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Nothing can be traced because of it.
    pub fatal: bool,
    /// What it is and what to do.
    pub what: String,
}

/// The kernel's type information.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Btf {
    /// Where it was looked for.
    pub path: String,
    /// Time to read and check it; null if it is not usable.
    pub read_ns: Option<u64>,
    /// Why it is not usable; null if it is.
    pub error: Option<String>,
}

/// Whether the limit on locked memory matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Memlock {
    /// Maps do not count against it (Linux 5.11 and later).
    NotNeeded,
    /// Maps count against it, and there is none.
    Unlimited,
    /// Maps count against it, and it could not be lifted.
    Limited {
        /// What it could be raised to.
        bytes: u64,
    },
    /// It cannot be told.
    Unknown,
}

/// A capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Privilege {
    /// Its name.
    pub capability: String,
    /// Held in effect, itself or a stronger one.
    pub held: bool,
    /// gohang asks for it at start; false for what only refines.
    pub required: bool,
    /// What gohang does with it.
    pub used_for: String,
}

/// Control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// What is mounted, in words; null if it cannot be read.
    pub layout: Option<String>,
    /// Version of the hierarchy with the cpu controller; null if there is none.
    pub cpu_version: Option<u8>,
    /// Where that hierarchy is mounted.
    pub cpu_mount: Option<String>,
    /// A group with a CPU quota that was made and removed again; null if that
    /// did not work.
    pub made: Option<String>,
    /// Why it did not work.
    pub error: Option<String>,
    /// The controllers that limits come from.
    pub controllers: Vec<ControllerState>,
}
