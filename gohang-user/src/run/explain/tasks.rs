//! Refused new processes or threads.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};

/// What programs say when fork or clone gives EAGAIN.
const SAID: [&str; 5] = [
    "resource temporarily unavailable",
    "failed to create new os thread",
    "cannot fork",
    "pthread_create failed",
    "retry: no child processes",
];

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let evidence = case.evidence;
    let counts = &evidence.counts;
    let tail = evidence.tail.text.to_lowercase();
    let said = tail
        .lines()
        .rev()
        .find(|line| SAID.iter().any(|said| line.contains(said)));
    let confidence = match (counts.refused_lately, counts.refused, said) {
        (0, 0, None) => return None,
        (0, _, _) if evidence.progress.getting_on => return None,
        (1.., _, _) => Confidence::Certain,
        (0, _, Some(_)) => Confidence::Likely,
        (0, _, None) => Confidence::Possible,
    };
    let levels = evidence.place.levels.iter();
    let limit = levels
        .filter_map(|level| Some((level, level.tasks_max?)))
        .min_by_key(|(_, n)| *n);
    let current = evidence.samples.last().and_then(|sample| sample.tasks);
    let mut because = Vec::new();
    if counts.refused > 0 {
        let limit = limit.map_or_else(String::new, |(level, n)| {
            format!(" (the limit is {n} tasks in {})", level.path)
        });
        because.push(format!(
            "{} new processes or threads were refused{limit}",
            counts.refused
        ));
    }
    because.extend(current.map(|tasks| {
        format!(
            "there are {} tasks of {} allowed",
            tasks.current, tasks.limit
        )
    }));
    because.extend(said.map(|line| format!("it printed: {}", line.trim())));
    let finding = Finding::new(
        Cause::OutOfTasks,
        confidence,
        "it is refused new processes or threads and does not get on without them",
    )
    .because(because);
    let own = limit.filter(|(level, _)| level.own);
    Some(match own {
        Some((_, n)) => finding.next([
            case.again(&format!("--tasks-max {}", n.saturating_mul(4))),
            "start fewer at a time (go test -p 1 -parallel 1)".to_owned(),
        ]),
        None => finding.next(["ulimit -u; ps -eLf | wc -l".to_owned()]),
    })
}
