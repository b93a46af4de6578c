//! Stopped by a signal, and nobody continues it.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    // `t` is a debugger's.
    let stopped = |state: &str| state == "T" || state == "t";
    let leaves = case.leaves();
    let process = leaves.iter().find(|process| stopped(&process.state))?;
    let traced = process.state == "t";
    let by = if traced { "a debugger" } else { "a signal" };
    let terminal = process.files.iter().any(|file| {
        file.fd == 0
            && (file.target.starts_with("/dev/pts/") || file.target.starts_with("/dev/tty"))
    });
    let hint = terminal.then(|| {
        "its standard input is a terminal: a program in the background is stopped when it reads from it (SIGTTIN)".to_owned()
    });
    let summary = format!(
        "{} (pid {}) is stopped by {by}, and nobody continues it",
        process.comm, process.pid
    );
    Some(
        Finding::new(Cause::Stopped, Confidence::Certain, summary)
            .because([format!("its state is {}", process.state)])
            .because(hint)
            .next([format!("kill -CONT {}", process.pid)]),
    )
}
