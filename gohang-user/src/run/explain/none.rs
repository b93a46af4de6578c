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
    let calls = case.threads().filter_map(|(process, thread)| {
        let name = thread.syscall.as_ref()?.name.as_deref()?;
        Some(format!(
            "{} (pid {}) is in {name}",
            process.comm, process.pid
        ))
    });
    if because.is_empty() {
        because.extend(calls.take(3));
    }
    let next = match case.leaves().first() {
        Some(leaf) if case.dumps.is_empty() => format!("strace -f -p {}", leaf.pid),
        _ => "look at what the goroutines wait for (goroutines.txt)".to_owned(),
    };
    let summary = "it waits for something that does not come; none of the known causes fits";
    Some(
        Finding::new(Cause::None, Confidence::Possible, summary)
            .because(because)
            .next([next]),
    )
}
