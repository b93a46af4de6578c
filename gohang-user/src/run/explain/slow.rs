//! Not hung at all, but out of time.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::words;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let progress = &case.evidence.progress;
    if !progress.getting_on {
        return None;
    }
    let elapsed = words::time(progress.elapsed_ns);
    let summary = format!("it was still getting on when its time was over after {elapsed}");
    let ended = case.evidence.tests.ended_total;
    let tests = (ended > 0).then(|| format!("{ended} tests had ended"));
    Some(
        Finding::new(Cause::Slow, Confidence::Likely, summary)
            .because([format!(
                "the last progress was {} before",
                words::time(progress.idle_ns)
            )])
            .because(tests)
            .next([format!(
                "give it more time (--timeout); {}",
                case.again("--idle-timeout 60s")
            )]),
    )
}
