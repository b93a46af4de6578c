//! What a rule says about itself; [`crate::explain`] puts it under its name.

use schemars::JsonSchema;
use serde::Serialize;

use super::rules;

/// What a rule is. Its text lives with the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// In one line.
    pub summary: &'static str,
    /// What it means for the program.
    pub meaning: &'static str,
    /// How it is detected.
    pub detection: &'static str,
    /// How bad, and when it is worse.
    pub severity: &'static str,
    /// Thresholds that it goes by.
    pub limits: &'static [Limit],
    /// What to do.
    pub advice: &'static str,
}

/// A threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Limit {
    /// Option of `trace` and `replay` that changes it.
    pub option: &'static str,
    /// Its value without that option.
    pub default: &'static str,
    /// What it limits.
    pub meaning: &'static str,
}

/// `--threshold`.
pub(super) const THRESHOLD: Limit = Limit {
    option: "--threshold",
    default: "10ms",
    meaning: "longest delivery, or masked time, that is not reported",
};
/// `--pending-limit`.
pub(super) const PENDING_LIMIT: Limit = Limit {
    option: "--pending-limit",
    default: "1s",
    meaning: "longest time pending that is not reported",
};
/// `--no-yield-limit`.
pub(super) const NO_YIELD_LIMIT: Limit = Limit {
    option: "--no-yield-limit",
    default: "100ms",
    meaning: "longest time that a goroutine may run on after it was first asked to yield",
};
/// `--stop-limit`.
pub(super) const STOP_LIMIT: Limit = Limit {
    option: "--stop-limit",
    default: "20ms",
    meaning: "longest time to stop all goroutines that is not reported",
};
/// `--late-limit`.
pub(super) const LATE_LIMIT: Limit = Limit {
    option: "--late-limit",
    default: "30ms",
    meaning: "longest time that sysmon may ask late, or wait each time, that is not reported",
};

/// Names of all rules.
#[must_use]
pub fn names() -> Vec<&'static str> {
    rules().iter().map(|rule| rule.name()).collect()
}
