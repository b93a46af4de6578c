//! Which goroutines tell why nothing goes on.

use super::frame::Frame;
use super::parse::{Dump, Goroutine};

/// Packages whose functions are how something waits, not what.
const PLUMBING: [&str; 6] = ["runtime", "internal", "sync", "syscall", "time", "reflect"];
/// The function that runs a test, and those in which it waits for its parts or its turn.
const RUNNER: &str = "testing.tRunner";
const WAITS_FOR_PARTS: [&str; 3] = [
    "testing.(*T).Run",
    "testing.(*T).Parallel",
    "testing.tRunner.func1",
];

impl Goroutine {
    /// Whether it is one of the runtime's own.
    #[must_use]
    pub fn is_of_runtime(&self) -> bool {
        let all = self.frames.iter().map(|frame| &frame.function);
        self.header.id == 0
            || !self.frames.is_empty()
                && all
                    .clone()
                    .all(|function| package_of(function) == "runtime")
                && !all.clone().any(|function| function == "runtime.main")
    }

    /// The innermost place outside the runtime and what is built directly on it.
    #[must_use]
    pub fn place(&self) -> Option<&Frame> {
        let is_plumbing = |frame: &&Frame| {
            let first = package_of(&frame.function).split('/').next();
            first.is_some_and(|first| PLUMBING.contains(&first))
        };
        self.frames.iter().find(|frame| !is_plumbing(frame))
    }

    /// The test that it runs, by its function, if it is a test's own goroutine.
    #[must_use]
    pub fn test(&self) -> Option<&str> {
        let runner = self
            .frames
            .iter()
            .position(|frame| frame.function == RUNNER)?;
        let of = self.frames.get(runner.checked_sub(1)?)?;
        (package_of(&of.function) != "testing").then_some(of.function.as_str())
    }

    /// Whether it only waits for its parts, or for its turn.
    #[must_use]
    pub fn waits_for_parts(&self) -> bool {
        let functions = self.frames.iter().map(|frame| frame.function.as_str());
        functions
            .take_while(|function| *function != RUNNER)
            .any(|function| WAITS_FOR_PARTS.contains(&function))
    }
}

impl Dump {
    /// The goroutines of tests that do not wait for their parts; without any, all that are
    /// not the runtime's.
    #[must_use]
    pub fn focus(&self) -> Vec<&Goroutine> {
        let tests: Vec<&Goroutine> = self
            .goroutines
            .iter()
            .filter(|goroutine| goroutine.test().is_some() && !goroutine.waits_for_parts())
            .collect();
        if !tests.is_empty() {
            return tests;
        }
        let own = self
            .goroutines
            .iter()
            .filter(|goroutine| !goroutine.is_of_runtime());
        own.collect()
    }
}

/// The package of a function: `example.com/a/b.(*T).M` is of `example.com/a/b`.
fn package_of(function: &str) -> &str {
    // Type parameters have slashes of their own.
    let plain = function.split('[').next().unwrap_or_default();
    let after_path = plain.rfind('/').map_or(0, |at| at + 1);
    let dot = plain[after_path..].find('.');
    dot.map_or(plain, |dot| &plain[..after_path + dot])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages() {
        for (function, want) in [
            ("main.main", "main"),
            ("example.com/a/b.(*T).M.func1", "example.com/a/b"),
            ("sync.(*Mutex).Lock", "sync"),
            ("internal/poll.(*FD).Read", "internal/poll"),
            ("main.F[example.com/x.T]", "main"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(package_of(function), want);
        }
    }
}
