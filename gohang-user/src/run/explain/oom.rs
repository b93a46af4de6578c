//! Killed by the kernel for want of memory, as the kernel counts it.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::words;

/// What more to allow, for a start.
const MORE: u64 = 2;
/// The part of a limit that Go's own limit should keep to, in tenths.
const TENTHS_FOR_GO: u64 = 9;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let counts = &case.evidence.counts;
    // What was long before the last progress did not end that.
    let confidence = match (counts.oom_kills_lately, counts.oom_kills) {
        (0, 0) => return None,
        (0, _) if case.evidence.progress.getting_on => return None,
        (0, _) => Confidence::Possible,
        _ => Confidence::Certain,
    };
    let levels = case.evidence.place.levels.iter();
    let limit = levels.filter_map(|level| Some((level, level.memory_max_bytes?)));
    let limit = limit.min_by_key(|(_, bytes)| *bytes);
    let killed = counts.oom_kills;
    let words = limit.map_or_else(String::new, |(level, bytes)| {
        format!(" (the limit is {} in {})", words::bytes(bytes), level.path)
    });
    let finding = Finding::new(
        Cause::OomKilled,
        confidence,
        format!("the kernel killed {killed} of its processes for want of memory, and the rest waits for it"),
    )
    .because([format!("memory.events counts {killed}{words}")]);
    let own = limit.filter(|(level, _)| level.own);
    Some(match own {
        Some((_, bytes)) => finding.next([
            case.again(&format!("--memory-max {}M", (bytes * MORE) >> 20)),
            format!(
                "set GOMEMLIMIT={}MiB to have Go keep within it",
                (bytes / 10 * TENTHS_FOR_GO) >> 20
            ),
        ]),
        None => finding.next(["dmesg | grep -i 'killed process'".to_owned()]),
    })
}
