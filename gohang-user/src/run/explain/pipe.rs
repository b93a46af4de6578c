//! A process keeps another from seeing the end of a pipe, or from ending at all.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::words;
use crate::run::evidence::{OpenFile, Process};

/// Functions in which a Go program waits for what it has started.
const WAITS_FOR_CHILD: [&str; 4] = [
    "os/exec.(*Cmd).Wait",
    "os/exec.(*Cmd).awaitGoroutines",
    "os.(*Process).Wait",
    "os.(*Process).wait",
];

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    left_behind(case).or_else(|| child(case))
}

/// A process whose parent has ended still has the pipe open that another one reads.
fn left_behind(case: &Case<'_>) -> Option<Finding> {
    let all = case.evidence.processes.iter();
    let orphans = all.filter(|process| case.is_orphan(process));
    let held = orphans.flat_map(|holder| {
        let pipes = holder.files.iter().filter(|file| writes(file));
        pipes.filter_map(move |file| Some((holder, file, reader(case, holder, file)?)))
    });
    let (holder, file, reader) = held.into_iter().next()?;
    let waits = case
        .workers()
        .find(|goroutine| in_child(goroutine))
        .map(words::goroutine);
    let name = words::command(&holder.args);
    let summary = format!(
        "{} (pid {}) waits for the end of a pipe that {name} (pid {}) holds, which outlived its parent",
        reader.comm, reader.pid, holder.pid
    );
    Some(
        Finding::new(Cause::PipeHeld, Confidence::Certain, summary)
            .kind("left_behind")
            .because([format!(
                "{} is descriptor {} of {} (pid {}), whose parent has ended, and is read by {} (pid {})",
                file.target, file.fd, holder.comm, holder.pid, reader.comm, reader.pid
            )])
            .because(waits)
            .next([
                format!("look where {} is started, and end it or redirect its output there (exec.Cmd.WaitDelay, > /dev/null)", holder.comm),
                format!("ls -l /proc/{}/fd", holder.pid),
            ]),
    )
}

/// A goroutine waits for a child that does not end.
fn child(case: &Case<'_>) -> Option<Finding> {
    let waiting = case
        .focus()
        .into_iter()
        .find(|goroutine| in_child(goroutine))?;
    let is_below_go = |process: &&Process| {
        process.go.is_none() && case.process(process.ppid).is_some_and(|parent| parent.leaf)
    };
    let child = case.evidence.processes.iter().find(is_below_go)?;
    let summary = format!(
        "a goroutine waits for {} (pid {}), which does not end",
        words::command(&child.args),
        child.pid
    );
    Some(
        Finding::new(Cause::PipeHeld, Confidence::Likely, summary)
            .kind("child_not_ending")
            .because([words::goroutine(waiting)])
            .because([state_of(child)])
            .next([
                "give it a limit of time (exec.CommandContext, and exec.Cmd.WaitDelay)".to_owned(),
                format!("strace -f -p {}", child.pid),
            ]),
    )
}

fn in_child(goroutine: &crate::golang::dump::Goroutine) -> bool {
    let mut frames = goroutine.frames.iter();
    frames.any(|frame| WAITS_FOR_CHILD.contains(&frame.function.as_str()))
}

fn state_of(process: &Process) -> String {
    let call = process.threads.iter().find_map(|thread| {
        let name = thread.syscall.as_ref()?.name.clone()?;
        let on = thread.blocked_on.as_ref();
        Some(match on {
            Some(on) => format!(", in {name} of {}", on.target),
            None => format!(", in {name}"),
        })
    });
    format!(
        "{} (pid {}) is in state {}{}",
        process.comm,
        process.pid,
        process.state,
        call.unwrap_or_default()
    )
}

/// Whether it is a pipe's end to write to; where that is not told, of standard output.
fn writes(file: &OpenFile) -> bool {
    file.target.starts_with("pipe:")
        && match file.access.as_deref() {
            Some(access) => access.contains('w'),
            None => matches!(file.fd, 1 | 2),
        }
}

/// Another of the command's processes, which reads that pipe and has nothing else to wait for:
/// `go test` reads what its test prints as long as that runs.
fn reader<'a>(case: &Case<'a>, holder: &Process, file: &OpenFile) -> Option<&'a Process> {
    let reads = |other: &OpenFile| match other.access.as_deref() {
        Some(access) => access.contains('r') && !access.contains('w'),
        None => !matches!(other.fd, 1 | 2),
    };
    let has_child = |process: &Process| {
        let mut all = case.evidence.processes.iter();
        all.any(|other| other.ppid == process.pid && other.state != "Z")
    };
    let mut others = case.holders(&file.target);
    others
        .find(|(process, other)| {
            process.pid != holder.pid
                && !case.is_orphan(process)
                && !has_child(process)
                && reads(other)
        })
        .map(|(process, _)| process)
}
