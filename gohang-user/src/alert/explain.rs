//! What rules are, for people who meet one of their alerts.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Rule, rules};

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

/// A rule's explanation under its name.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Explained {
    /// Name of the rule.
    pub rule: String,
    /// In one line.
    pub summary: String,
    /// What it means for the program.
    pub meaning: String,
    /// How it is detected.
    pub detection: String,
    /// How bad, and when it is worse.
    pub severity: String,
    /// Thresholds that it goes by.
    pub limits: Vec<Limit>,
    /// What to do.
    pub advice: String,
}

/// Explanations of rules: the document that `explain -o json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Explanations {
    /// Version of this document's form.
    pub schema_version: u32,
    /// By rule.
    pub rules: Vec<Explained>,
}

/// There is no such rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no rule {}; the rules are: {}", crate::process::escape(given), names().join(", "))]
pub struct UnknownRule {
    /// Given.
    pub given: String,
}

/// Names of all rules.
#[must_use]
pub fn names() -> Vec<&'static str> {
    rules().iter().map(|rule| rule.name()).collect()
}

/// Explains one rule, or all of them.
///
/// # Errors
/// There is no rule of that name.
pub fn explain(rule: Option<&str>) -> Result<Explanations, UnknownRule> {
    let chosen: Vec<Explained> = rules()
        .iter()
        .filter(|known| rule.is_none_or(|rule| rule == known.name()))
        .map(|known| explained(known.as_ref()))
        .collect();
    match rule {
        Some(given) if chosen.is_empty() => Err(UnknownRule {
            given: given.to_owned(),
        }),
        _ => Ok(Explanations {
            schema_version: crate::report::SCHEMA_VERSION,
            rules: chosen,
        }),
    }
}

fn explained(rule: &dyn Rule) -> Explained {
    let Explanation {
        summary,
        meaning,
        detection,
        severity,
        limits,
        advice,
    } = rule.explanation();
    Explained {
        rule: rule.name().to_owned(),
        summary: summary.to_owned(),
        meaning: meaning.to_owned(),
        detection: detection.to_owned(),
        severity: severity.to_owned(),
        limits: limits.to_vec(),
        advice: advice.to_owned(),
    }
}
