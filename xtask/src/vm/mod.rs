//! The matrix: boots real kernels in an emulator and runs the privileged suite there.

pub mod apt;
mod cpio;
mod docs;
mod expected;
mod fleet;
mod initramfs;
pub mod kernels;
pub mod machine;
pub mod matrix;
mod runc;
mod selection;
pub mod setup;
pub mod sources;
mod systemd;
mod tools;
mod workloads;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::expected::Row;
use self::kernels::Image;
use self::machine::Results;
use self::matrix::{Matrix, Programs, Work};
use self::setup::{SETUPS, Setup};
use crate::go;
use crate::process::{output, run as run_command};
use crate::skips::{self, Skip};
use crate::tally::{self, Tally};
use crate::test;
use crate::verifier::{self, Wanted};
use crate::workspace::Workspace;

/// The skips that are expected, relative to the workspace.
const EXPECTED_SKIPS: &str = "tests/vm-expected-skips.txt";

/// How long the machines of the short form are to take, on so many processors or more. What is
/// fetched and built before does not count.
const SHORT_LIMIT: Duration = Duration::from_secs(480);
const SHORT_CORES: usize = 2;

/// How many times that is an error. An emulator is as fast as the processors it gets: the same
/// machines took 400 s on processors of their own, and 958 s on some that others used too.
const SHORT_TIMES: u32 = 3;

/// Provides runc below the target directory, for the tests on this machine.
///
/// # Errors
/// When it cannot be fetched, or does not run.
pub fn provide_runc(workspace: &Workspace) -> Result<PathBuf> {
    runc::provide(&workspace.target_dir.join("vm"))
}

/// What to run where.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// Kernels as `major.minor`; all of the matrix without any.
    pub kernels: Vec<String>,
    /// The long form: all tests of throttling and causes, and all that each of them has;
    /// `--test` reaches the others.
    #[arg(long)]
    pub full: bool,
    /// Only tests whose names contain this; repeats.
    #[arg(long = "test", value_name = "FILTER")]
    pub tests: Vec<String>,
    /// Only name the kernels and the tests.
    #[arg(long)]
    pub list: bool,
    /// Processors of this machine to use; all of them without it.
    #[arg(long, value_name = "N")]
    pub cores: Option<NonZeroUsize>,
    /// Test this gohang instead of building one.
    #[arg(long, value_name = "PATH")]
    pub gohang: Option<PathBuf>,
    /// Run this suite instead of building it.
    #[arg(long, value_name = "PATH")]
    pub suite: Option<PathBuf>,
}

/// What one kernel made of the tests.
#[derive(Debug)]
struct Verdict {
    tally: Tally,
    problems: Vec<String>,
}

/// What all machines together made of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub tally: Tally,
    /// What is wrong beside failed tests.
    pub problems: Vec<String>,
}

impl Outcome {
    fn is_good(&self) -> bool {
        self.tally.failed == 0 && self.problems.is_empty()
    }
}

/// Runs the matrix; the last line is the sum over all kernels, alone.
///
/// # Errors
/// When something that the machines need cannot be provided. Failed tests are no error
/// but the exit code.
pub fn vm(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    if options.list {
        list(workspace, options)?;
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = run(workspace, options)?;
    println!();
    for failure in &outcome.tally.failures {
        println!("{failure}");
    }
    for problem in &outcome.problems {
        println!("problem: {problem}");
    }
    println!("{}", outcome.tally);
    Ok(if outcome.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Names the kernels and the tests.
fn list(workspace: &Workspace, options: &Options) -> Result<()> {
    let programs = programs(workspace, options)?;
    for kernel in kernels::choose(&options.kernels)? {
        println!("kernel {}", kernel.name);
    }
    for test in selection::choose(&all_tests(&programs)?, options.full, &options.tests)? {
        println!("{test}");
    }
    Ok(())
}

fn all_tests(programs: &Programs) -> Result<Vec<String>> {
    let all = output(Command::new(&programs.suite).arg("--list"))?;
    Ok(all.lines().map(str::to_owned).collect())
}

/// Boots the machines and shows what they say.
///
/// # Errors
/// When something that they need cannot be provided.
pub fn run(workspace: &Workspace, options: &Options) -> Result<Outcome> {
    // Before anything is built: what is measured is what the tree is now.
    let is_page = options.full && options.tests.is_empty();
    let measured = is_page.then(|| docs::Measured::begin(workspace));
    let mut measured = measured.transpose()?;
    let programs = programs(workspace, options)?;
    let all = all_tests(&programs)?;
    let tests = selection::choose(&all, options.full, &options.tests)?;
    let rows = expected::read(&workspace.root.join(EXPECTED_SKIPS))?;
    let unknown = rows.iter().find(|row| !all.contains(&row.skip.name));
    if let Some(Row { kernel, skip }) = unknown {
        bail!("{EXPECTED_SKIPS} names for {kernel} a test that there is not: {skip}");
    }
    let table = verifier::Table::read(&workspace.root)?;
    let programs = programs.stripped()?;

    let matrix = Matrix::provide(workspace, &options.kernels)?;
    let short = !options.full && options.tests.is_empty();
    let wanted_forms = if options.full {
        Wanted::All
    } else {
        Wanted::First
    };
    let mut jobs = Vec::new();
    for setup in &SETUPS {
        let wanted = |test: &&String| Setup::of(test).name == setup.name;
        let work = Work {
            tests: tests.iter().filter(wanted).cloned().collect(),
            full: options.full,
            statistics: (programs.preload.is_some() && setup.name == verifier::setup().name)
                .then_some(wanted_forms),
        };
        if !work.is_empty() {
            jobs.extend(matrix.jobs(setup, &work, &programs, short)?);
        }
    }
    // What is long comes first, and of that the newest kernel, which takes longest: a long
    // machine at the end would run alone.
    jobs.reverse();
    jobs.sort_by_key(|job| Reverse(job.weight()));
    let begin = Instant::now();
    let mut sum = Outcome::default();
    let mut wrong = Vec::new();
    matrix.boot_all(&jobs, options.cores, |job, results| {
        let mut verdict = judge(job.image, &results, &job.work.tests, &rows);
        let mut notices = Vec::new();
        if let Some(wanted) = job.work.statistics
            && results.problem.is_none()
        {
            let found = verifier::judge(job.image, &results, wanted, &table);
            verdict.problems.extend(found.problems);
            notices = found.notices;
        }
        job.show(
            &results,
            &notices,
            &verdict.problems,
            verdict.tally.failed != 0,
        );
        if verdict.tally.failed != 0 || !verdict.problems.is_empty() {
            wrong.push(job.image.kernel.name);
        }
        let found = verdict.problems.into_iter();
        let found = found.map(|problem| format!("kernel {}: {problem}", job.name()));
        sum.problems.extend(found);
        if let Some(measured) = &mut measured {
            measured.add(job.image, &results.output, &verdict.tally);
        }
        for failure in &mut verdict.tally.failures {
            failure.name = format!("kernel {}: {}", job.name(), failure.name);
        }
        sum.tally.add(verdict.tally);
    })?;
    let took = begin.elapsed();
    println!("\n{} machines in {} s", jobs.len(), took.as_secs());
    if let Some(overtime) = overtime(short, options.cores, took) {
        println!("{overtime}");
        if took > SHORT_LIMIT * SHORT_TIMES {
            sum.problems.push(overtime);
        }
    }
    if let Some(measured) = measured {
        measured.keep(workspace, &matrix.kept(), &wrong)?;
    }
    Ok(sum)
}

/// What is to be said of how long the machines took, if anything is.
fn overtime(short: bool, cores: Option<NonZeroUsize>, took: Duration) -> Option<String> {
    let cores = cores.or_else(|| thread::available_parallelism().ok());
    let is_judged = short && cores.is_some_and(|cores| cores.get() >= SHORT_CORES);
    (is_judged && took > SHORT_LIMIT).then(|| {
        format!(
            "the short form took {} s, and is to take {} s at most on {SHORT_CORES} processors",
            took.as_secs(),
            SHORT_LIMIT.as_secs()
        )
    })
}

/// The program under test and the suite, built where none are given, and what asks for the
/// verifier's statistics: who wants certain tests does not wait for those.
fn programs(workspace: &Workspace, options: &Options) -> Result<Programs> {
    let given = |path: &PathBuf| {
        std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
    };
    let statistics = options.tests.is_empty() && !options.list;
    let preload = statistics.then(|| verifier::build_preload(workspace));
    let suite = match &options.suite {
        Some(path) => given(path)?,
        None => test::build_release(workspace, test::SUITE)?,
    };
    Ok(Programs {
        gohang: match &options.gohang {
            Some(path) => given(path)?,
            None => test::build_release(workspace, "gohang")?,
        },
        workloads: match options.list {
            true => None,
            false => Some(build_workloads(workspace, &suite)?),
        },
        suite,
        preload: preload.transpose()?,
    })
}

/// Builds the Go programs that the suite traces, and returns their folder.
pub fn build_workloads(workspace: &Workspace, suite: &Path) -> Result<PathBuf> {
    let root = go::provide(&workspace.target_dir)?;
    run_command(Command::new(suite).arg("build-workloads").arg(&root))?;
    Ok(root.join("workloads"))
}

/// Holds what a machine handed back against its exit status, the tests that were to
/// run and the skips that are expected.
fn judge(image: &Image, results: &Results, tests: &[String], rows: &[Row]) -> Verdict {
    let mut problems: Vec<String> = results.problem.clone().into_iter().collect();
    if tests.is_empty() {
        // The suite was not started.
        return Verdict {
            tally: Tally::default(),
            problems,
        };
    }
    let tally = match tally::of_privileged(&results.output) {
        Ok(tally) => tally,
        Err(problem) => {
            problems.push(problem);
            return Verdict {
                tally: Tally::default(),
                problems,
            };
        }
    };
    // Without a status there is a problem already.
    if let Some(status) = results.status
        && (status == 0) != (tally.failed == 0)
    {
        problems.push(format!(
            "exit status {status}, though its tests are {tally}"
        ));
    }
    let ran: BTreeSet<&str> = tally::names(&results.output).collect();
    let wanted: BTreeSet<&str> = tests.iter().map(String::as_str).collect();
    problems.extend(
        wanted
            .difference(&ran)
            .map(|name| format!("{name} did not run")),
    );
    problems.extend(
        ran.difference(&wanted)
            .map(|name| format!("{name} ran unasked")),
    );
    let expected: Vec<Skip> = rows
        .iter()
        .filter(|row| row.kernel == image.kernel.name && wanted.contains(row.skip.name.as_str()))
        .map(|row| row.skip.clone())
        .collect();
    problems.extend(skips::differences(&expected, &tally.skips));
    Verdict { tally, problems }
}

#[cfg(test)]
mod tests;
