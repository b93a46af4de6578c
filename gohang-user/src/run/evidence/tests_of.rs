//! The tests of a `go test`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tests, as far as the output tells of them (`-json`, `-v`, or failures of plain output).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tests {
    /// Those that had begun and not ended, those that have run longest first.
    pub running: Vec<RunningTest>,
    /// What those in `running` have printed so far, in the same order, of much the beginning
    /// and the end.
    #[serde(default)]
    pub running_output: Vec<String>,
    /// Those that have ended, in that order.
    pub ended: Vec<EndedTest>,
    /// More have ended than are listed.
    pub ended_total: u64,
    /// Time since the last event of a test; null: there was none.
    pub last_event_ago_ns: Option<u64>,
}

/// A test under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningTest {
    /// Its package; empty where the output does not tell it.
    pub package: String,
    /// Its name.
    pub test: String,
    /// For how long it has run.
    pub ran_ns: u64,
    /// It waits for its turn among parallel tests.
    pub paused: bool,
}

/// A test that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndedTest {
    /// Its package; empty where the output does not tell it.
    pub package: String,
    /// Its name; empty for a package as a whole.
    pub test: String,
    /// How it ended.
    pub outcome: TestOutcome,
    /// How long it took, where that is told.
    pub took_ns: Option<u64>,
    /// What it printed, unless it passed, of much the beginning and the end.
    #[serde(default)]
    pub output: String,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    /// It passed.
    #[default]
    Passed,
    /// It failed.
    Failed,
    /// It was skipped.
    Skipped,
}
