//! What makes the same hang recognisable: the cause and where it waits or runs, without
//! addresses, numbers of processes and goroutines, lines and times.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::case::Case;
use super::finding::Finding;
use super::wait::Wait;
use crate::golang::dump::Goroutine;

/// Raised when the same hang would get another fingerprint.
const VERSION: &str = "1";
/// Frames that count, from the innermost one of the program's own on.
const FRAMES: usize = 4;
/// Most places that count.
const PLACES: usize = 16;
/// Bytes of the digest that are shown.
const LENGTH: usize = 6;

/// Of this finding, in this case.
pub(super) fn fingerprint(case: &Case<'_>, finding: &Finding) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(text.as_bytes());
        hash.update([0]);
    };
    add(VERSION);
    add(finding.cause.name());
    let places: BTreeSet<String> = case.focus().into_iter().map(place).collect();
    if places.is_empty() {
        // Names of programs and of the calls they are in stand for what they do.
        let calls = case.leaves().into_iter().map(|process| {
            let call = process
                .threads
                .iter()
                .find_map(|thread| thread.syscall.as_ref()?.name.clone());
            format!("{} {}", process.comm, call.unwrap_or_default())
        });
        calls
            .collect::<BTreeSet<_>>()
            .iter()
            .take(PLACES)
            .for_each(|call| add(call));
    }
    places.iter().take(PLACES).for_each(|place| add(place));
    let digest = hash.finalize();
    digest
        .iter()
        .take(LENGTH)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What it waits for, and its innermost own frames.
fn place(goroutine: &Goroutine) -> String {
    let innermost = goroutine.place();
    let from = goroutine
        .frames
        .iter()
        .position(|frame| Some(frame) == innermost)
        .unwrap_or(goroutine.frames.len());
    // The runner's frames are every test's.
    let own = goroutine.frames[from..]
        .iter()
        .map(|frame| plain(&frame.function))
        .take_while(|function| !function.starts_with("testing."))
        .take(FRAMES);
    let mut words: Vec<String> = own.collect();
    if words.is_empty()
        && let Some(by) = &goroutine.created_by
    {
        words.push(plain(&by.frame.function));
    }
    // In a loop it stops at one line or another, or not at all.
    let wait = match Wait::of(goroutine) {
        Wait::Running => {
            words.drain(..words.len().saturating_sub(1));
            "running"
        }
        _ => goroutine.header.status.as_str(),
    };
    format!("{wait} {}", words.join(" "))
}

/// A function without type parameters and without the numbers of closures, which change with
/// code elsewhere in it.
fn plain(function: &str) -> String {
    let mut out = String::with_capacity(function.len());
    let mut depth = 0u32;
    for c in function.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            c => out.push(c),
        }
    }
    while let Some((rest, last)) = out.rsplit_once('.') {
        let number = last
            .strip_prefix("func")
            .or_else(|| last.strip_prefix("gowrap"))
            .unwrap_or(last);
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            break;
        }
        out.truncate(rest.len());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_without_what_changes() {
        for (function, want) in [
            ("main.wait", "main.wait"),
            ("a/b.TestX.func1.2", "a/b.TestX"),
            ("main.F[go.shape.int].func3", "main.F"),
            ("main.(*T[...]).M", "main.(*T).M"),
            ("main.functional", "main.functional"),
        ] {
            assert_eq!(plain(function), want);
        }
    }
}
