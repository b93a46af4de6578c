//! Counts tests from what cargo's test harness and the privileged suite print.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::skips::Skip;

/// How many tests passed and failed, and which were skipped.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Of the privileged suite: which failed, and why. A log is often kept by its end alone.
    #[serde(default)]
    pub failures: Vec<Failure>,
    /// Tests that did not run, in the order of their output.
    pub skips: Vec<Skip>,
}

/// A test of the privileged suite that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its name.
    pub name: String,
    /// What it noted last: the reason.
    pub why: String,
}

/// `failed: NAME: REASON`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, why } = self;
        write!(f, "failed: {name}: {why}")
    }
}

impl Tally {
    /// Adds the tests of `other`.
    pub fn add(&mut self, other: Self) {
        let Self {
            passed,
            failed,
            failures,
            skips,
        } = other;
        self.passed += passed;
        self.failed += failed;
        self.failures.extend(failures);
        self.skips.extend(skips);
    }
}

/// `N passed, N failed, N skipped`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            failures: _,
            skips,
        } = self;
        write!(
            f,
            "{passed} passed, {failed} failed, {} skipped",
            skips.len()
        )
    }
}

/// Counts from the output of `cargo test`: the numbers are those of its `test
/// result:` lines, the names and reasons of skips those of its `ignored` lines.
///
/// # Errors
/// When a result line cannot be read, or names and numbers of skips disagree.
pub fn of_cargo(output: &str) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut ignored = 0;
    for line in output.lines() {
        if let Some(numbers) = line.strip_prefix("test result: ") {
            let number = |what: &str| {
                numbers
                    .split(['.', ';'])
                    .find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<u64>().ok())
                    .ok_or_else(|| format!("no number of {what} tests in {line:?}"))
            };
            tally.passed += number("passed")?;
            tally.failed += number("failed")?;
            ignored += number("ignored")?;
        } else if let Some((name, outcome)) = test_line(line)
            && let Some(rest) = outcome.strip_prefix("ignored")
        {
            let reason = rest
                .strip_prefix(", ")
                .unwrap_or("ignored without a reason");
            tally.skips.push(Skip {
                name: name.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }
    if tally.skips.len() as u64 != ignored {
        return Err(format!(
            "cargo test counts {ignored} ignored tests and names {}",
            tally.skips.len()
        ));
    }
    Ok(tally)
}

/// Counts from the output of the privileged suite: lines `test NAME ... ok`, which
/// may be followed by a time in brackets, `FAILED` or `skipped: why`, and the sum of them as the last line.
///
/// # Errors
/// When there is no sum, as after a crash, or it is not that of the lines.
pub fn of_privileged(output: &str) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for (name, outcome) in output.lines().filter_map(test_line) {
        if outcome == "ok" || outcome.starts_with("ok (") {
            tally.passed += 1;
        } else if outcome == "FAILED" {
            tally.failed += 1;
            tally.failures.push(Failure {
                name: name.to_owned(),
                why: notes(output, name).last().unwrap_or("no reason").to_owned(),
            });
        } else if let Some(reason) = outcome.strip_prefix("skipped: ") {
            tally.skips.push(Skip {
                name: name.to_owned(),
                reason: reason.to_owned(),
            });
        } else {
            return Err(format!("test {name} has the outcome {outcome:?}"));
        }
    }
    let last = output.lines().next_back().unwrap_or_default();
    if last != tally.to_string() {
        return Err(format!(
            "its last line is {last:?}, the sum of its tests is {tally}"
        ));
    }
    Ok(tally)
}

/// The names in the output of `cargo test -- --list`.
pub fn listed(output: &str) -> impl Iterator<Item = &str> {
    output
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
}

/// The names of the tests in the output of the privileged suite, in their order.
pub fn names(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter_map(test_line).map(|(name, _)| name)
}

/// What a test of the privileged suite noted, line by line, if it ran.
pub fn notes<'a>(output: &'a str, test: &str) -> impl Iterator<Item = &'a str> {
    let own = move |line: &&str| test_line(line).is_none_or(|(name, _)| name != test);
    let lines = output.lines().skip_while(own).skip(1);
    lines.map_while(|line| line.strip_prefix("    "))
}

/// Name and outcome of a line `test NAME ... OUTCOME`.
fn test_line(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("test ")?.split_once(" ... ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARGO: &str = "
running 3 tests
test a::ok ... ok
test a::later ... ignored, needs a kernel with fprobe
test a::bad ... FAILED

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

running 2 tests
test src/lib.rs - x (line 3) ... ignored
test src/lib.rs - y (line 9) ... ok

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    fn skip(name: &str, reason: &str) -> Skip {
        Skip {
            name: name.into(),
            reason: reason.into(),
        }
    }

    fn failure(name: &str, why: &str) -> Failure {
        Failure {
            name: name.into(),
            why: why.into(),
        }
    }

    #[test]
    fn cargo_results_are_summed() {
        let tally = of_cargo(CARGO).expect("valid");
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 2 skipped");
        assert_eq!(
            tally.skips,
            [
                skip("a::later", "needs a kernel with fprobe"),
                skip("src/lib.rs - x (line 3)", "ignored without a reason"),
            ]
        );
    }

    #[test]
    fn a_lost_name_of_a_skip_is_an_error() {
        let text = CARGO.replace("test a::later ... ignored", "noise a::later ... ignored");
        assert!(
            of_cargo(&text)
                .expect_err("one name lost")
                .contains("2 ignored")
        );
    }

    #[test]
    fn privileged_results_are_summed() {
        let text = "test a ... ok\nnote\ntest b ... skipped: no fprobe\ntest c ... FAILED\n\
                    \x20   noted\n    it hung\ntest d ... ok (1.2 s)\n2 passed, 1 failed, 1 skipped\n";
        let tally = of_privileged(text).expect("valid");
        let expected = Tally {
            passed: 2,
            failed: 1,
            failures: vec![failure("c", "it hung")],
            skips: vec![skip("b", "no fprobe")],
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn notes_are_those_of_a_test() {
        let text = "test a ... ok\n    one\n    two\ntest b ... FAILED\n    three\n1 passed\n";
        let of = |test: &str| notes(text, test).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of("a"), ["one", "two"]);
        assert_eq!(of("b"), ["three"]);
        assert!(of("c").is_empty());
    }

    #[test]
    fn a_crash_or_a_wrong_sum_is_an_error() {
        for text in [
            "",
            "test a ... ok\n",
            "test a ... ok\n2 passed, 0 failed, 0 skipped\n",
        ] {
            assert!(of_privileged(text).is_err(), "{text:?}");
        }
        assert!(of_privileged("test a ... maybe\n0 passed, 0 failed, 0 skipped\n").is_err());
    }

    #[test]
    fn tallies_add_up() {
        let mut sum = Tally {
            passed: 1,
            failed: 2,
            failures: vec![failure("c", "x")],
            skips: vec![skip("a", "x")],
        };
        sum.add(Tally {
            passed: 3,
            failed: 4,
            failures: vec![failure("d", "y")],
            skips: vec![skip("b", "y")],
        });
        assert_eq!(sum.failures, [failure("c", "x"), failure("d", "y")]);
        assert_eq!(sum.failures[0].to_string(), "failed: c: x");
        assert_eq!(sum.to_string(), "4 passed, 6 failed, 2 skipped");
    }

    #[test]
    fn listed_tests_are_named() {
        let text = "a::b: test\nc: benchmark\n\n1 test, 1 benchmark\n";
        assert_eq!(listed(text).collect::<Vec<_>>(), ["a::b"]);
    }
}
