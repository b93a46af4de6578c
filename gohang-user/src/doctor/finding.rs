//! What is worth knowing beside whether tracing works.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Stalls or hangs follow from it.
    Warning,
    /// Good to know when one is looked into.
    Info,
}

/// Something about the machine or a project that makes stalls or hangs, or hides them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Its name, the same in every version.
    pub id: String,
    /// How much it matters.
    pub severity: Severity,
    /// What was found, with its evidence, and why it matters.
    pub what: String,
    /// What to change; null if there is nothing to.
    pub advice: Option<String>,
}

impl Finding {
    /// A finding of which stalls or hangs follow.
    pub(super) fn warning(id: &str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            severity: Severity::Warning,
            what: what.into(),
            advice: Some(advice.into()),
        }
    }

    /// A finding that is good to know.
    pub(super) fn info(id: &str, what: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            severity: Severity::Info,
            what: what.into(),
            advice: None,
        }
    }

    /// The same with advice.
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Warnings first, else in the order in which they were found.
pub(super) fn worst_first(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| finding.severity);
    findings
}
