//! The list of tests, their course and their report.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::group::Hierarchy;
use crate::remains::Remains;
use crate::stage::Totals;

/// What the command line asked for, and what the tests share.
#[derive(Debug, Default)]
pub struct Settings {
    /// The program under test.
    pub gohang: Option<PathBuf>,
    /// A build of it that drops one transition.
    pub mutant: Option<PathBuf>,
    /// A bpftrace, whose counts are compared with.
    pub bpftrace: Option<PathBuf>,
    /// Go tool chains, one a folder named by its version.
    pub go_root: Option<PathBuf>,
    /// Where built Go workloads are and are put.
    pub workloads: Option<PathBuf>,
    /// runc, where it is not on PATH.
    pub runc: Option<PathBuf>,
    /// How long the soak test runs, seconds.
    pub soak_secs: u64,
    /// How many episodes of each cause the cause test makes.
    pub injections: u64,
    /// The long form of tests that have one.
    pub full: bool,
    /// What the agreement tests add up to.
    pub totals: RefCell<Totals>,
}

/// How many runs a test has to find one that counts.
const RUNS: u32 = 20;

/// Ends a test early without a failure.
#[derive(Debug)]
pub struct Skip(pub String);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Ends a run of a test in which the reference itself lost something: it proves nothing either
/// way, and is made again.
#[derive(Debug)]
pub struct DoesNotCount(pub String);

impl std::fmt::Display for DoesNotCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the run does not count: {}", self.0)
    }
}

impl std::error::Error for DoesNotCount {}

/// An error that makes the running test count as skipped.
pub fn skip(why: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Skip(why.into()))
}

impl Settings {
    /// The program under test.
    ///
    /// # Errors
    /// Skips the test when none was given.
    pub fn gohang(&self) -> Result<&PathBuf> {
        self.gohang
            .as_ref()
            .ok_or_else(|| skip("no --gohang given"))
    }

    /// The hierarchy with the cpu controller.
    ///
    /// # Errors
    /// Skips the test when there is none.
    pub fn hierarchy(&self) -> Result<Hierarchy> {
        Hierarchy::find().map_err(|e| skip(format!("{e:#}")))
    }
}

/// The figures that a test measured.
#[derive(Debug, Default)]
pub struct Report(Vec<String>);

impl Report {
    /// Adds a line below the test's result.
    pub fn note(&mut self, line: impl Into<String>) {
        self.0.push(line.into());
    }
}

/// A test: its name (subject::case) and what it does.
pub struct Test {
    /// What a filter is matched with.
    pub name: &'static str,
    /// The test.
    pub body: fn(&Settings, &mut Report) -> Result<()>,
}

/// Runs the tests whose name contains one of the filters (all, without a filter) in their
/// order and prints the results; whether none failed.
pub fn run(tests: &[Test], filters: &[String], settings: &Settings) -> bool {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for test in chosen(tests, filters) {
        let started = Instant::now();
        let mut report = Report::default();
        let result = attempt(test, settings, &mut report);
        let word = match &result {
            Ok(()) => {
                passed += 1;
                format!("ok ({:.1} s)", started.elapsed().as_secs_f64())
            }
            Err(e) => match e.downcast_ref::<Skip>() {
                Some(why) => {
                    skipped += 1;
                    format!("skipped: {why}")
                }
                None => {
                    failed += 1;
                    report.note(format!("{e:#}"));
                    "FAILED".to_owned()
                }
            },
        };
        println!("test {} ... {word}", test.name);
        for line in report.0 {
            println!("    {line}");
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

/// Runs a test, again where a run does not count, but not for ever.
fn attempt(test: &Test, settings: &Settings, report: &mut Report) -> Result<()> {
    let mut runs = 0;
    loop {
        let before = Remains::before(test.name)?;
        let result = (test.body)(settings, report).and_then(|()| match &before {
            Some(before) => before.compare(),
            None => Ok(()),
        });
        runs += 1;
        match &result {
            Err(e) if e.downcast_ref::<DoesNotCount>().is_some() && runs < RUNS => {
                *report = Report(vec![format!("run {runs}: {e:#}")]);
            }
            _ => return result,
        }
    }
}

/// The tests that the filters choose.
pub fn chosen<'a>(tests: &'a [Test], filters: &[String]) -> impl Iterator<Item = &'a Test> {
    let fits = move |t: &&Test| filters.is_empty() || filters.iter().any(|f| t.name.contains(f));
    tests.iter().filter(fits)
}
