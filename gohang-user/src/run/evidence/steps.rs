//! What was done to learn more, and how it went.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A step of the ladder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Which.
    pub name: StepName,
    /// When it began, since the decision.
    pub begun_ns: u64,
    /// How long it took.
    pub took_ns: u64,
    /// How long it may take.
    pub limit_ns: u64,
    /// How it went.
    pub outcome: StepOutcome,
    /// What came of it, or why nothing did, in a line.
    pub detail: String,
}

/// The steps in their order.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// What the tracer has is taken.
    #[default]
    Flush,
    /// Groups, processes, sockets and Go programs are looked at.
    Snapshot,
    /// The CPU limit is lifted, and progress watched.
    Lift,
    /// Goroutines are fetched from programs that serve them.
    Fetch,
    /// Go programs are asked to print their goroutines, by SIGQUIT.
    Dump,
    /// SIGTERM, and time to end.
    Terminate,
    /// SIGKILL for the whole group.
    Kill,
}

/// How a step went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// There was nothing to do, or it was not wanted.
    #[default]
    Skipped,
    /// It was done.
    Done,
    /// Part of it was done when its time was over.
    TimedOut,
    /// It failed.
    Failed,
}

/// The counterfactual: what happens without the CPU limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lift {
    /// What it showed.
    pub outcome: LiftOutcome,
    /// Why it was not done or could not be.
    pub why: Option<String>,
    /// The limit that was lifted, in CPUs.
    pub quota_cpus: Option<f64>,
    /// Groups above that still limit it: their paths and quotas in CPUs.
    pub still_limited_by: Vec<(String, f64)>,
    /// For how long it was watched.
    pub watched_ns: u64,
    /// How long after the lifting there was progress.
    pub resumed_after_ns: Option<u64>,
    /// How it got on while idle, before.
    pub before: Pace,
    /// How it got on after.
    pub after: Pace,
}

/// What the lifting showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LiftOutcome {
    /// It was not tried.
    #[default]
    NotTried,
    /// It could not be lifted.
    CouldNot,
    /// Progress resumed: it was the limit.
    Resumed,
    /// No progress: it was not.
    NoProgress,
}

/// Work within a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pace {
    /// CPUs used; null where nothing counts it.
    pub cpus: Option<f64>,
    /// Bytes of output.
    pub output_bytes: f64,
    /// Tests that began or ended.
    pub test_events: f64,
    /// Reads, writes and the like.
    pub calls: f64,
    /// Page faults.
    pub faults: f64,
    /// New processes.
    pub started: f64,
}
