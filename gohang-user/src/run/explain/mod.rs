//! Why a command hangs: causes from evidence, each with what speaks for it, how sure that is,
//! and what to type next.
//!
//! A rule is a file: it looks at a [`case`](Case) and finds its cause or not. All that are found
//! are ordered by confidence, then by the order of [`RULES`]: what the kernel counts comes
//! before what is concluded.

mod busy;
mod case;
mod cause;
mod collector;
mod deadlock;
mod finding;
mod fingerprint;
mod input;
mod markdown;
mod memory;
#[cfg(test)]
mod memory_tests;
mod network;
mod none;
mod oom;
mod pipe;
mod port;
mod preemption;
mod slow;
mod stopped;
mod tasks;
#[cfg(test)]
mod tests;
mod throttled;
mod verdict;
mod wait;
mod words;

pub use cause::Cause;
pub use finding::{Confidence, Finding};
pub use markdown::{first_lines, markdown};
pub use verdict::{VERDICT_VERSION, Verdict};
pub(in crate::run) use words::{time, wall};

use super::evidence::Evidence;
use case::Case;

/// A rule: its cause, if it is that.
type Rule = fn(&Case<'_>) -> Option<Finding>;

/// Every rule, in the order in which causes of the same confidence are believed.
const RULES: [Rule; 14] = [
    oom::find,
    tasks::find,
    input::find,
    pipe::find,
    network::find,
    port::find,
    preemption::find,
    deadlock::find,
    throttled::find,
    memory::find,
    busy::find,
    stopped::find,
    slow::find,
    none::find,
];

/// Causes that leave a command some progress.
const SLOWS: [Cause; 5] = [
    Cause::Throttled,
    Cause::OomKilled,
    Cause::OutOfTasks,
    Cause::MemoryPressure,
    Cause::Slow,
];

/// Judges.
#[must_use]
pub fn explain(evidence: &Evidence) -> Verdict {
    let case = Case::new(evidence);
    let mut found: Vec<Finding> = RULES.iter().filter_map(|rule| rule(&case)).collect();
    if evidence.progress.getting_on {
        // What is waited for at one moment may have come at the next.
        found
            .iter_mut()
            .filter(|finding| !SLOWS.contains(&finding.cause))
            .for_each(|finding| finding.confidence = Confidence::Possible);
    }
    // Whether lifting the limit changed anything speaks for or against each of them.
    let lift = case.lift();
    for finding in &mut found {
        if !finding
            .evidence
            .iter()
            .any(|line| Some(line) == lift.as_ref())
        {
            finding.evidence.extend(lift.clone());
        }
    }
    // Stable: of the same confidence the order of the rules stays.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.confidence));
    Verdict::new(&case, found)
}
