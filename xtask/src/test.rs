//! Runs every test: cargo's, then the privileged suite against a release build.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::build_ebpf;
use crate::go;
use crate::peers::Peer;
use crate::process::{clean_run_env, describe, output, run};
use crate::skips::{self, Skip};
use crate::tally::{self, Tally};
use crate::toolchain::is_root;
use crate::vm;
use crate::workspace::{Workspace, cargo};

/// The binary of the package of the same name that holds the privileged tests.
pub const SUITE: &str = "gohang-tests";

/// The skips that `--ci` expects, relative to the workspace.
const EXPECTED_SKIPS: &str = "tests/expected-skips.txt";

/// Which tests, and what to do with skips.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tests whose name contains this; all without.
    pub filter: Option<String>,
    /// Skips must be exactly those of the table.
    pub ci: bool,
    /// With the short form of the matrix, if all tests are to run.
    pub vm: bool,
    /// The long form of tests that have one.
    pub full: bool,
}

/// Prints the names of the tests.
///
/// # Errors
/// When they cannot be built.
pub fn list(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    let names = output(
        nested_cargo(workspace)
            .args(["test", "--quiet", "--workspace"])
            .args(filter)
            .args(["--", "--list"]),
    )?;
    for name in tally::listed(&names) {
        println!("{name}");
    }
    if workspace.has_binary(SUITE) {
        println!(
            "{}",
            output(build_suite(workspace)?.arg("--list").args(filter))?
        );
    }
    Ok(())
}

/// Runs the tests; the last line is the sum, alone.
///
/// # Errors
/// When something that the tests need cannot be provided. Failed tests are no error
/// but the exit code.
pub fn test(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let Options {
        filter,
        ci,
        vm,
        full,
    } = options;
    let filter = filter.as_deref();
    let expected = if *ci {
        Some(skips::read(&workspace.root.join(EXPECTED_SKIPS))?)
    } else {
        None
    };
    let go_root = go::provide(&workspace.target_dir)?;
    run(nested_cargo(workspace).args(["build", "--release", "--package", "gohang"]))?;

    let mut sum = Tally::default();
    let mut problems = Vec::new();
    let mut take = |what: &str, outcome: Result<Tally, String>| match outcome {
        Ok(tally) => sum.add(tally),
        Err(problem) => problems.push(format!("{what}: {problem}")),
    };

    let (status, text) = run_tests(
        nested_cargo(workspace)
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(filter)
            .env("GOHANG_GO_ROOT", &go_root),
    )?;
    take("cargo test", accept(status, tally::of_cargo(&text)));

    if workspace.has_binary(SUITE) {
        let mut suite = build_suite(workspace)?;
        if is_root()? {
            let gohang = workspace.target_dir.join("release/gohang");
            suite
                .arg("--gohang")
                .arg(gohang)
                .arg("--go-root")
                .arg(&go_root);
            match build_mutant(workspace) {
                Ok(mutant) => {
                    suite.arg("--mutant").arg(mutant);
                }
                // The suite skips what needs it, and `--ci` does not let that pass.
                Err(err) => eprintln!("no gohang that drops a transition: {err:#}"),
            }
            match vm::provide_runc(workspace) {
                Ok(runc) => {
                    suite.arg("--runc").arg(runc);
                }
                Err(err) => eprintln!("no runc: {err:#}"),
            }
            match Peer::Bpftrace.provide(&workspace.target_dir) {
                Ok(bpftrace) => {
                    suite.arg("--bpftrace").arg(bpftrace);
                }
                // As above.
                Err(err) => eprintln!("{err:#}"),
            }
            suite.args(full.then_some("--full")).args(filter);
            let (status, text) = run_tests(&mut suite)?;
            take(SUITE, accept(status, tally::of_privileged(&text)));
        } else {
            let names = output(suite.arg("--list").args(filter))?;
            let skips = names.lines().map(|name| Skip {
                name: name.to_owned(),
                reason: "needs root".to_owned(),
            });
            take(
                SUITE,
                Ok(Tally {
                    skips: skips.collect(),
                    ..Tally::default()
                }),
            );
        }
    }

    if let Some(expected) = expected {
        problems.extend(skips::differences(&expected, &sum.skips));
    }
    if *vm && filter.is_none() {
        // It holds its skips against a table of its own.
        let outcome = vm::run(workspace, &vm::Options::default())?;
        sum.add(outcome.tally);
        problems.extend(outcome.problems);
    }
    println!();
    for skip in &sum.skips {
        println!("skipped: {skip}");
    }
    for failure in &sum.failures {
        println!("{failure}");
    }
    for problem in &problems {
        println!("problem: {problem}");
    }
    println!("{sum}");
    Ok(if sum.failed == 0 && problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A run counts as its lines say only if its exit status says the same: a test that
/// does not build, or a crash, has no failed test to show.
fn accept(status: ExitStatus, tally: Result<Tally, String>) -> Result<Tally, String> {
    let tally = tally.map_err(|problem| format!("{problem} ({status})"))?;
    if status.success() != (tally.failed == 0) {
        return Err(format!("{status}, though its tests are {tally}"));
    }
    Ok(tally)
}

/// Makes the release build of a package and returns its binary of the same name.
///
/// # Errors
/// When there is no such binary or it does not build.
pub fn build_release(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    if !workspace.has_binary(package) {
        bail!("the workspace has no binary {package}");
    }
    run(nested_cargo(workspace).args(["build", "--release", "--package", package]))?;
    Ok(workspace.target_dir.join("release").join(package))
}

/// Makes the release build of a package that is a shared object, and returns that.
///
/// # Errors
/// When it does not build.
pub fn build_shared_object(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    run(nested_cargo(workspace).args(["build", "--release", "--package", package]))?;
    let name = format!("lib{}.so", package.replace('-', "_"));
    Ok(workspace.target_dir.join("release").join(name))
}

/// Builds the privileged suite and returns the command that runs it.
fn build_suite(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new(build_release(workspace, SUITE)?);
    clean_run_env(&mut command);
    command.current_dir(&workspace.root);
    Ok(command)
}

/// Builds the gohang that leaves out the accounting at switch-in, which the suite
/// must find wrong, and returns its path.
fn build_mutant(workspace: &Workspace) -> Result<PathBuf> {
    const FEATURE: &str = "drop-switch-in";
    let folder = workspace.target_dir.join(FEATURE);
    let (object, mutant) = (folder.join("gohang.bpf.o"), folder.join("gohang"));
    build_ebpf::build(
        workspace,
        &build_ebpf::Options {
            features: vec![FEATURE.to_owned()],
            out: Some(object.clone()),
        },
    )?;
    // Made of what the tests of cargo are made of, and moved away from where those find theirs.
    run(nested_cargo(workspace)
        .args(["build", "--package", "gohang", "--features", "other-object"])
        .env("GOHANG_BPF_OBJECT", object))?;
    fs::copy(workspace.target_dir.join("debug/gohang"), &mutant)
        .with_context(|| format!("could not write {}", mutant.display()))?;
    Ok(mutant)
}

fn nested_cargo(workspace: &Workspace) -> Command {
    let mut command = cargo();
    clean_run_env(&mut command);
    command.current_dir(&workspace.root);
    command
}

/// Runs a command, shows its stdout as it comes and returns it.
fn run_tests(command: &mut Command) -> Result<(ExitStatus, String)> {
    let what = describe(command);
    eprintln!("+ {what}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{what}`"))?;
    let stdout = child.stdout.take().context("the child has no stdout")?;
    let mut text = String::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("could not read from `{what}`"))?;
        let line = String::from_utf8_lossy(&line);
        writeln!(io::stdout(), "{line}").context("could not write to stdout")?;
        text.push_str(&line);
        text.push('\n');
    }
    let status = child
        .wait()
        .with_context(|| format!("could not wait for `{what}`"))?;
    Ok((status, text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn exit_status_and_lines_must_agree() {
        let (good, bad) = (ExitStatus::from_raw(0), ExitStatus::from_raw(101 << 8));
        let passed = Tally {
            passed: 3,
            ..Tally::default()
        };
        let failed = Tally {
            failed: 1,
            ..Tally::default()
        };
        assert_eq!(accept(good, Ok(passed.clone())), Ok(passed.clone()));
        assert_eq!(accept(bad, Ok(failed.clone())), Ok(failed.clone()));
        assert!(
            accept(bad, Ok(passed))
                .expect_err("did not build")
                .contains("101")
        );
        assert!(accept(good, Ok(failed)).is_err());
        assert!(
            accept(bad, Err("no sum".into()))
                .expect_err("crash")
                .contains("no sum")
        );
    }
}
