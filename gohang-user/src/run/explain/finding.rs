//! What a rule finds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cause::Cause;

/// How sure a finding is.
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
pub enum Confidence {
    /// It fits; so may something else.
    #[default]
    Possible,
    /// It fits, and something that is typical of it was seen.
    Likely,
    /// It was counted, tried out, or read from what waits.
    Certain,
}

impl Confidence {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// A cause that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// Which form of it, as `quota_too_small`; null where there is one form alone.
    pub kind: Option<String>,
    /// How sure.
    pub confidence: Confidence,
    /// In one sentence.
    pub summary: String,
    /// What speaks for it, the most telling first.
    pub evidence: Vec<String>,
    /// What to type or to do next.
    pub next: Vec<String>,
}

impl Finding {
    pub(super) fn new(cause: Cause, confidence: Confidence, summary: impl Into<String>) -> Self {
        Self {
            cause,
            kind: None,
            confidence,
            summary: summary.into(),
            evidence: Vec::new(),
            next: Vec::new(),
        }
    }

    pub(super) fn kind(mut self, kind: &str) -> Self {
        self.kind = Some(kind.to_owned());
        self
    }

    pub(super) fn because(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    pub(super) fn next(mut self, next: impl IntoIterator<Item = String>) -> Self {
        self.next.extend(next);
        self
    }
}
