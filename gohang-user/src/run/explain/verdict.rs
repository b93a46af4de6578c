//! The verdict as a document: `verdict.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::fingerprint::fingerprint;
use super::words;
use crate::run::evidence::{Evidence, Exceeded, LiftOutcome, RunningTest, TraceState};

/// Raised when a field changes its meaning or goes away.
pub const VERDICT_VERSION: u32 = 1;

/// Why a command hung.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Version of this document's form.
    pub schema_version: u32,
    /// Version of gohang that judged.
    pub gohang_version: String,
    /// The command.
    pub command: Vec<String>,
    /// When it was judged to hang (RFC 3339).
    pub decided: String,
    /// What was exceeded; null when it was not judged to hang.
    pub exceeded: Option<Exceeded>,
    /// How long it had run.
    pub elapsed_ns: u64,
    /// For how long nothing had gone on.
    pub idle_ns: u64,
    /// The cause.
    pub cause: Cause,
    /// Which form of it; null where there is one alone.
    pub kind: Option<String>,
    /// How sure that is.
    pub confidence: Confidence,
    /// In one sentence.
    pub summary: String,
    /// What speaks for it.
    pub evidence: Vec<String>,
    /// What to type or to do next.
    pub next: Vec<String>,
    /// The same for the same hang.
    pub fingerprint: String,
    /// Tests that were running, those that had run longest first.
    pub running: Vec<RunningTest>,
    /// What lifting the CPU limit showed.
    pub lift: LiftOutcome,
    /// What else would fit, the most likely first.
    pub others: Vec<Finding>,
    /// What kinds of evidence there were not, and why.
    pub lacking: Vec<String>,
    /// Goroutines were not known yet.
    pub provisional: bool,
}

impl Verdict {
    /// Of the findings the first; there is always one.
    pub(super) fn new(case: &Case<'_>, found: Vec<Finding>) -> Self {
        let evidence = case.evidence;
        let mut found = found.into_iter();
        let first = found.next().unwrap_or_else(|| {
            Finding::new(Cause::None, Confidence::Possible, Cause::None.title())
        });
        let decided = evidence.started.wall_ns.saturating_add(evidence.decided_ns);
        let asked = evidence
            .processes
            .iter()
            .any(|process| process.leaf && process.go.as_ref().is_some_and(|go| go.answers_quit));
        Self {
            schema_version: VERDICT_VERSION,
            gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
            command: evidence.command.clone(),
            decided: words::wall(decided),
            exceeded: evidence.exceeded.clone(),
            elapsed_ns: evidence.progress.elapsed_ns,
            idle_ns: evidence.progress.idle_ns,
            fingerprint: fingerprint(case, &first),
            cause: first.cause,
            kind: first.kind,
            confidence: first.confidence,
            summary: first.summary,
            evidence: first.evidence,
            next: first.next,
            running: evidence.tests.running.clone(),
            lift: evidence.lift.outcome,
            others: found
                .filter(|finding| finding.cause != Cause::None)
                .collect(),
            lacking: evidence
                .lacking
                .iter()
                .cloned()
                .chain(not_traced(evidence))
                .collect(),
            provisional: asked && case.dumps.is_empty(),
        }
    }
}

/// The part of the run that the tracer did not see of Go programs that it saw.
fn not_traced(evidence: &Evidence) -> Option<String> {
    let TraceState::On { since_ns } = evidence.trace.state else {
        return None;
    };
    let report = evidence.trace.report.as_ref()?;
    let before = u64::try_from(since_ns).ok().filter(|before| *before > 0)?;
    (!report.processes.is_empty()).then(|| {
        format!(
            "preemption signals were not traced in its first {}",
            words::time(before)
        )
    })
}
