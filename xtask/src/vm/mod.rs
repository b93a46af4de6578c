//! The matrix: boots real kernels in an emulator and runs the privileged suite there.

mod apt;
mod cpio;
mod expected;
mod fleet;
mod initramfs;
mod kernels;
mod machine;
mod selection;
mod setup;
mod sources;
mod tools;

use std::collections::BTreeSet;
use std::fs;
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
use self::setup::{SETUPS, Setup};
use self::sources::Sources;
use self::tools::Tools;
use crate::go;
use crate::process::{output, run};
use crate::skips::{self, Skip};
use crate::tally::{self, Tally};
use crate::test;
use crate::workspace::Workspace;

/// The skips that are expected, relative to the workspace.
const EXPECTED_SKIPS: &str = "tests/vm-expected-skips.txt";

/// Limits for one machine.
const SHORT_LIMIT: Duration = Duration::from_secs(300);
const FULL_LIMIT: Duration = Duration::from_secs(2400);

/// How many of the console's last lines are shown on failure.
const CONSOLE_LINES: usize = 60;

/// What to run where.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Kernels as `major.minor`; all of the matrix without any.
    pub kernels: Vec<String>,
    /// The long form: every test.
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

/// Runs the matrix; the last line is the sum over all kernels, alone.
///
/// # Errors
/// When something that the machines need cannot be provided. Failed tests are no error
/// but the exit code.
pub fn vm(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let chosen = kernels::choose(&options.kernels)?;
    let (gohang, suite) = programs(workspace, options)?;
    let all = output(Command::new(&suite).arg("--list"))?;
    let all: Vec<String> = all.lines().map(str::to_owned).collect();
    let tests = selection::choose(&all, options.full, &options.tests)?;
    if options.list {
        for kernel in &chosen {
            println!("kernel {}", kernel.name);
        }
        for test in &tests {
            println!("{test}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = expected::read(&workspace.root.join(EXPECTED_SKIPS))?;
    let unknown = rows.iter().find(|row| !all.contains(&row.skip.name));
    if let Some(Row { kernel, skip }) = unknown {
        bail!("{EXPECTED_SKIPS} names for {kernel} a test that there is not: {skip}");
    }

    let folder = workspace.target_dir.join("vm");
    let sources = Sources::of_this_machine()?;
    let tools = Tools::provide(&folder, &sources)?;
    let images = chosen
        .iter()
        .map(|kernel| kernel.provide(&folder, &sources))
        .collect::<Result<Vec<Image>>>()?;
    let workloads = build_workloads(workspace, &suite)?;
    let mut jobs = Vec::new();
    for setup in &SETUPS {
        let wanted = |test: &&String| Setup::of(test).name == setup.name;
        let tests: Vec<String> = tests.iter().filter(wanted).cloned().collect();
        if tests.is_empty() {
            continue;
        }
        let initramfs = folder.join(format!("initramfs-{}", setup.name));
        let archive = initramfs::build(&initramfs::Content {
            busybox: &tools.busybox,
            gohang: &gohang,
            suite: &suite,
            workloads: &workloads,
            tests: &tests,
        })?;
        fs::write(&initramfs, archive)
            .with_context(|| format!("could not write {}", initramfs.display()))?;
        jobs.extend(images.iter().map(|image| Job {
            image,
            setup,
            tests: tests.clone(),
            initramfs: initramfs.clone(),
        }));
    }
    let limit = if options.full {
        FULL_LIMIT
    } else {
        SHORT_LIMIT
    };
    let cores = options.cores.map_or_else(thread::available_parallelism, Ok);
    let cores = cores.context("the number of processors")?.get();
    let begin = Instant::now();
    let mut sum = Tally::default();
    let mut problems = Vec::new();
    let boot = |job: &Job<'_>| job.run(&tools, &folder, limit);
    let wants = |job: &Job<'_>| job.setup.processors.cores();
    fleet::boot_all(&jobs, cores, wants, boot, |job, results| {
        let verdict = judge(job.image, &results, &job.tests, &rows);
        job.show(&results, &verdict);
        let found = verdict.problems.into_iter();
        problems.extend(found.map(|problem| format!("{}: {problem}", job.name())));
        sum.add(verdict.tally);
    })?;
    println!();
    for problem in &problems {
        println!("problem: {problem}");
    }
    println!("{} machines in {} s", jobs.len(), begin.elapsed().as_secs());
    println!("{sum}");
    Ok(if sum.failed == 0 && problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The program under test and the suite, built where none are given.
fn programs(workspace: &Workspace, options: &Options) -> Result<(PathBuf, PathBuf)> {
    let given = |path: &PathBuf| {
        std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
    };
    let gohang = match &options.gohang {
        Some(path) => given(path)?,
        None => test::build_release(workspace, "gohang")?,
    };
    let suite = match &options.suite {
        Some(path) => given(path)?,
        None => test::build_release(workspace, test::SUITE)?,
    };
    Ok((gohang, suite))
}

/// Builds the Go programs that the suite traces, and returns their folder.
fn build_workloads(workspace: &Workspace, suite: &Path) -> Result<PathBuf> {
    let root = go::provide(&workspace.target_dir)?;
    run(Command::new(suite).arg("build-workloads").arg(&root))?;
    Ok(root.join("workloads"))
}

/// Holds what a machine handed back against its exit status, the tests that were to
/// run and the skips that are expected.
fn judge(image: &Image, results: &Results, tests: &[String], rows: &[Row]) -> Verdict {
    let mut problems: Vec<String> = results.problem.clone().into_iter().collect();
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

/// A machine to boot, and what it is to run.
struct Job<'a> {
    image: &'a Image,
    setup: &'static Setup,
    tests: Vec<String>,
    initramfs: PathBuf,
}

impl Job<'_> {
    /// Of the kernel and the setup.
    fn name(&self) -> String {
        format!("{}, {}", self.image.kernel.name, self.setup.name)
    }

    /// Boots it; once more if the emulator is known to be at fault, which is said.
    fn run(&self, tools: &Tools, folder: &Path, limit: Duration) -> Result<Results> {
        let place = format!("{}-{}", self.image.kernel.name, self.setup.name);
        let place = folder.join("runs").join(place);
        let once = || {
            let vmlinuz = &self.image.vmlinuz;
            machine::run(tools, self.setup, vmlinuz, &self.initramfs, &place, limit)
        };
        let mut results = once()?;
        if let Some(fault) = results.emulator_fault() {
            results = once()?;
            results.booted_again = Some(fault);
        }
        Ok(results)
    }

    /// Prints a machine's results: all that was noted, and on failure the console's end.
    fn show(&self, results: &Results, Verdict { tally, problems }: &Verdict) {
        println!(
            "\nkernel {} ({}), {} s",
            self.name(),
            self.image.package,
            results.took.as_secs()
        );
        if let Some(fault) = results.booted_again {
            println!("booted a second time: {fault}");
        }
        print!("{}", results.output);
        if tally.failed != 0 || !problems.is_empty() {
            for problem in problems {
                println!("problem: {problem}");
            }
            let console = results.console();
            let lines: Vec<&str> = console.lines().collect();
            let from = lines.len().saturating_sub(CONSOLE_LINES);
            println!("console (all in {}):", results.folder.display());
            for line in &lines[from..] {
                println!("    {}", line.trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests;
