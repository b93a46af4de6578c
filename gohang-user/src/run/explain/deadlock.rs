//! Goroutines, or threads, that wait for each other or for what nobody does.

use std::collections::BTreeMap;

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::wait::Wait;
use super::words;
use crate::golang::dump::Goroutine;

/// Most goroutines that are named.
const NAMED: usize = 4;
/// A lock within this many bytes behind a receiver is a field of it.
const NEAR: u64 = 4096;

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    if case.dumps.is_empty() {
        return threads(case);
    }
    let focus = case.focus();
    let waiting: Vec<&Goroutine> = focus
        .iter()
        .copied()
        .filter(|goroutine| Wait::of(goroutine).is_for_goroutine())
        .collect();
    if waiting.is_empty() || waiting.len() < focus.len() && !lead(case, &waiting) {
        return None;
    }
    let others: Vec<Wait> = case
        .workers()
        .map(Wait::of)
        .filter(|wait| !wait.is_for_goroutine())
        .collect();
    // One that runs may be about to release them: then its loop is the cause.
    if others.contains(&Wait::Running) && case.busy().is_some() {
        return None;
    }
    let confidence = if others.is_empty() {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let behind = behind(case, &waiting);
    let locks = locks(waiting.iter().chain(&behind).copied());
    let kinds = waiting.iter().map(|goroutine| Wait::of(goroutine));
    let kind = match kinds.min_by_key(|wait| match wait {
        Wait::Lock => 0,
        Wait::Channel => 1,
        _ => 2,
    }) {
        Some(Wait::Lock) => "lock",
        _ if !behind.is_empty() => "lock",
        Some(Wait::Channel) => "channel",
        _ => "wait_group",
    };
    let first = waiting.first()?;
    let what = match kind {
        "lock" if !behind.is_empty() => "others that wait for a lock that is not released",
        "lock" => "a lock that is not released",
        "channel" => "a channel on which nobody answers",
        _ => "others that do not come to an end",
    };
    let who = match case.test() {
        Some((_, test)) => test,
        None => format!("goroutine {}", first.header.id),
    };
    let at = words::at(behind.first().unwrap_or(first));
    let summary = format!("{who} waits for {what}, at {at}");
    let mut because: Vec<String> = waiting
        .iter()
        .take(NAMED)
        .map(|one| words::goroutine(one))
        .collect();
    if waiting.len() > NAMED {
        because.push(format!("{} more wait as well", waiting.len() - NAMED));
    }
    because.extend(behind.iter().take(NAMED).map(|one| words::goroutine(one)));
    because.extend(holders(case, &locks));
    if others.is_empty() {
        because.push("no goroutine runs, sleeps or waits for input or output".to_owned());
    }
    let advice = match kind {
        "lock" => {
            "look who takes the lock and returns without releasing it, or takes it twice; go vet -copylocks; go test -race"
        }
        "channel" => {
            "look who should send, receive or close, and whether it has ended before; a select with ctx.Done() does not wait for ever"
        }
        _ => "look which of those it waits for did not end (goroutines.txt)",
    };
    Some(
        Finding::new(Cause::Deadlock, confidence, summary)
            .kind(kind)
            .because(because)
            .because(case.lift())
            .next([case.again("--idle-timeout 30s"), advice.to_owned()]),
    )
}

/// Whether those that wait for others are what keeps the rest: they wait for a lock, or the
/// rest does not run.
fn lead(case: &Case<'_>, waiting: &[&Goroutine]) -> bool {
    let runs = case
        .workers()
        .any(|goroutine| Wait::of(goroutine) == Wait::Running);
    waiting
        .iter()
        .any(|goroutine| Wait::of(goroutine) == Wait::Lock)
        || !runs
}

/// The workers that wait for locks where those that were looked at first do not: a test waits
/// for its goroutines, and these for each other.
fn behind<'c>(case: &'c Case<'_>, waiting: &[&Goroutine]) -> Vec<&'c Goroutine> {
    let is_for_lock = |goroutine: &Goroutine| Wait::of(goroutine) == Wait::Lock;
    if waiting.iter().any(|goroutine| is_for_lock(goroutine)) {
        return Vec::new();
    }
    case.workers()
        .filter(|goroutine| is_for_lock(goroutine))
        .collect()
}

/// The locks that are waited for, by address, with those who wait.
fn locks<'g>(waiting: impl Iterator<Item = &'g Goroutine>) -> BTreeMap<u64, Vec<&'g Goroutine>> {
    let mut locks: BTreeMap<u64, Vec<&Goroutine>> = BTreeMap::new();
    for goroutine in waiting {
        if Wait::of(goroutine) == Wait::Lock
            && let Some(address) = lock_of(goroutine)
        {
            locks.entry(address).or_default().push(goroutine);
        }
    }
    locks
}

/// The address of the lock: the receiver of the outermost of the functions that take it.
fn lock_of(goroutine: &Goroutine) -> Option<u64> {
    let frames = goroutine.frames.iter().zip(&goroutine.receivers);
    let of_lock = frames.filter(|(frame, _)| {
        frame.function.starts_with("sync.(*Mutex).")
            || frame.function.starts_with("sync.(*RWMutex).")
            || frame.function.starts_with("internal/sync.(*Mutex).")
    });
    of_lock.filter_map(|(_, receiver)| *receiver).next_back()
}

/// Who may hold the locks, as far as that shows.
fn holders(case: &Case<'_>, locks: &BTreeMap<u64, Vec<&Goroutine>>) -> Vec<String> {
    let mut lines = Vec::new();
    for (address, waiting) in locks {
        let holder = case.workers().find(|goroutine| {
            !waiting
                .iter()
                .any(|one| one.header.id == goroutine.header.id)
                && has_receiver_at(goroutine, *address)
        });
        let ids: Vec<String> = waiting
            .iter()
            .take(NAMED)
            .map(|one| one.header.id.to_string())
            .collect();
        let ids = ids.join(", ");
        if let Some(holder) = holder {
            lines.push(format!(
                "the lock 0x{address:x}, for which goroutine {ids} waits, is likely held by {}",
                words::goroutine(holder)
            ));
        }
    }
    if lines.is_empty() && locks.len() > 1 {
        lines.push(format!(
            "{} locks are waited for: each is likely held by one that waits for another",
            locks.len()
        ));
    } else if let Some((address, waiting)) = locks.iter().next().filter(|_| lines.is_empty()) {
        lines.push(format!(
            "the lock 0x{address:x} is waited for {} and nobody is seen to hold it: it was taken twice, or never released",
            if waiting.len() == 1 { "once".to_owned() } else { format!("{} times", waiting.len()) }
        ));
    }
    lines
}

/// Whether it is within a method of what the lock is a field of.
fn has_receiver_at(goroutine: &Goroutine, address: u64) -> bool {
    let frames = goroutine.frames.iter().zip(&goroutine.receivers);
    let own = frames.filter(|(frame, _)| {
        frame.function.contains(".(*")
            && !frame.function.starts_with("sync.")
            && !frame.function.starts_with("internal/sync.")
            && !frame.function.starts_with("runtime.")
    });
    own.filter_map(|(_, receiver)| *receiver)
        .any(|receiver| receiver <= address && address - receiver < NEAR)
}

/// Without goroutines: threads that all wait for each other.
fn threads(case: &Case<'_>) -> Option<Finding> {
    if case.busy().is_some() {
        return None;
    }
    let waits = |name: &str| name == "futex" || name == "futex_waitv";
    let leaves = case.leaves();
    let process = leaves.into_iter().find(|process| {
        let mut threads = process.threads.iter();
        !process.threads.is_empty()
            && threads.all(|thread| {
                let call = thread
                    .syscall
                    .as_ref()
                    .and_then(|call| call.name.as_deref());
                call.is_some_and(waits) || thread.wchan.starts_with("futex_")
            })
    })?;
    // Threads of Go without work wait like that too.
    let confidence = if process.go.is_some() {
        Confidence::Possible
    } else {
        Confidence::Likely
    };
    let number = process.threads_total;
    let summary = format!(
        "{} (pid {}) waits for a lock: {}",
        process.comm,
        process.pid,
        if number == 1 {
            "its thread".to_owned()
        } else {
            format!("all its {number} threads")
        }
    );
    Some(
        Finding::new(Cause::Deadlock, confidence, summary)
            .kind("lock")
            .because(["every thread is in futex(2), and none uses CPU time".to_owned()])
            .because(case.lift())
            .next([format!(
                "gdb -p {} -batch -ex 'thread apply all bt'",
                process.pid
            )]),
    )
}
