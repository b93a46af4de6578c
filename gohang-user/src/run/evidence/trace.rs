//! What the tracer saw.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::Report;

/// The tracer's part of the evidence; its alerts are those of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// Whether it ran.
    pub state: TraceState,
    /// Its report as of the decision, of the command's Go processes alone; what was pending
    /// then is in `outcomes` as `pending_at_end`.
    pub report: Option<Report>,
}

/// Whether the tracer ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TraceState {
    /// It was not on.
    Off {
        /// Why.
        why: String,
    },
    /// It was on.
    On {
        /// Since when, before or after the command's start: negative is before. What was
        /// earlier is not in the report, which says nothing of it.
        since_ns: i64,
    },
    /// It was on and failed.
    Failed {
        /// Why.
        why: String,
    },
}

impl Default for TraceState {
    fn default() -> Self {
        Self::Off { why: String::new() }
    }
}
