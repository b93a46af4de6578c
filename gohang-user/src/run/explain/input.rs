//! Waiting for input that nobody gives.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use crate::run::evidence::{Process, Thread};

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    let leaves = case.leaves();
    let (process, target) = case
        .threads()
        .filter(|(process, _)| leaves.iter().any(|leaf| leaf.pid == process.pid))
        .find_map(|(process, thread)| Some((process, input(case, process, thread)?)))?;
    let at = case
        .workers()
        .find(|goroutine| {
            goroutine
                .frames
                .iter()
                .any(|frame| frame.function == "os.(*File).Read")
        })
        .map(super::words::goroutine);
    let from = if target.starts_with("/dev/pts/") || target.starts_with("/dev/tty") {
        "a terminal"
    } else if target.starts_with("pipe:") {
        "a pipe whose other end is not the command's"
    } else {
        "its standard input"
    };
    let summary = format!(
        "{} (pid {}) reads from {from} and gets nothing",
        process.comm, process.pid
    );
    let read = format!("a thread of {} is in a read of {target}", process.comm);
    Some(
        Finding::new(Cause::Input, Confidence::Certain, summary)
            .because([read])
            .because(at)
            .next([
                format!("{} < /dev/null", case.again("")),
                "or give it the input it asks for; an option such as --yes may spare it the question".to_owned(),
            ]),
    )
}

/// The input that a thread is in a read of, if nothing of the command's own can give it.
fn input(case: &Case<'_>, process: &Process, thread: &Thread) -> Option<String> {
    let on = thread.blocked_on.as_ref()?;
    let name = thread.syscall.as_ref()?.name.as_deref()?;
    let reads = matches!(
        name,
        "read" | "readv" | "pread64" | "poll" | "ppoll" | "select" | "pselect6"
    );
    let is_terminal = on.target.starts_with("/dev/pts/") || on.target.starts_with("/dev/tty");
    if !reads || !(on.fd == 0 || is_terminal) || on.target.starts_with("socket:") {
        return None;
    }
    // Of a pipe between two of them, it is the writer that is to blame.
    let is_writer = |file: &crate::run::evidence::OpenFile| match file.access.as_deref() {
        Some(access) => access.contains('w'),
        None => file.fd != on.fd,
    };
    let fed = on.target.starts_with("pipe:")
        && case
            .holders(&on.target)
            .any(|(other, file)| other.pid != process.pid && is_writer(file));
    (!fed).then(|| on.target.clone())
}
