//! None of the known causes: what is known all the same.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::words;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let focus = case.focus();
    let mut because: Vec<String> = focus
        .iter()
        .take(3)
        .map(|one| words::goroutine(one))
        .collect();
    let leaves = case.leaves();
    let calls = leaves.iter().filter_map(|process| {
        let mut threads = process.threads.iter();
        let call = threads.find_map(|thread| thread.syscall.as_ref()?.name.clone())?;
        let (comm, pid) = (&process.comm, process.pid);
        Some(format!("{comm} (pid {pid}) is in {call}"))
    });
    if because.is_empty() {
        because.extend(calls.take(3));
    }
    let next = match leaves.first() {
        Some(leaf) if case.dumps.is_empty() => format!("strace -f -p {}", leaf.pid),
        _ => "look at what the goroutines wait for (goroutines.txt)".to_owned(),
    };
    let summary = because.first().cloned();
    let summary = summary.unwrap_or_else(|| "nothing more is known".to_owned());
    Some(
        Finding::new(Cause::None, Confidence::Possible, summary)
            .because(because)
            .next([next]),
    )
}
