//! Fuzzing of the parsers of outside data with libFuzzer, on the stable
//! toolchain: coverage comes from LLVM's own pass.

mod go;
mod seeds;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::{clean_build_env, describe, output, run};
use crate::workspace::{Workspace, cargo};

/// Counters and comparisons that libFuzzer goes by.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// Longest time that one input may take.
const INPUT_SECONDS: u32 = 10;
/// Most memory that one input may take, MiB.
const INPUT_MIB: u32 = 1024;

/// What to fuzz and for how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// One target; all without.
    pub target: Option<String>,
    /// Seconds a target.
    pub seconds: u32,
}

/// Builds the targets, makes seeds and runs each target.
///
/// # Errors
/// When there is no C++ compiler, no such target, or they do not build. What
/// fuzzing finds is no error but the exit code.
pub fn fuzz(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let folder = workspace.root.join("tests/fuzz");
    let all = targets(&folder)?;
    let chosen: Vec<&String> = match &options.target {
        None => all.iter().collect(),
        Some(name) => all.iter().filter(|target| *target == name).collect(),
    };
    if chosen.is_empty() {
        bail!("there is no such target; there are {}", all.join(", "));
    }
    let compiler = compiler(is_on_path)?;
    let binaries = build(workspace, &folder, &compiler)?;
    let mut found = false;
    for target in chosen {
        let place = workspace.target_dir.join("fuzz").join(target);
        seeds::make(workspace, target, &place.join("seeds"))?;
        found |= !run_target(&binaries.join(target), target, &place, options.seconds)?;
    }
    Ok(if found {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Names of the targets, a file each.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let folder = folder.join("fuzz_targets");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("could not read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .and_then(|stem| stem.to_str())
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

/// The C++ compiler: libFuzzer is compiled from its source.
fn compiler(has: impl Fn(&str) -> bool) -> Result<String> {
    if let Some(named) = env::var("CXX").ok().filter(|named| !named.is_empty()) {
        return Ok(named);
    }
    ["c++", "g++", "clang++"]
        .into_iter()
        .find(|name| has(name))
        .map(str::to_owned)
        .context(
            "no C++ compiler found (c++, g++, clang++), which libFuzzer needs: install one, or \
             name one in CXX",
        )
}

fn is_on_path(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Builds every target and returns the folder with them.
fn build(workspace: &Workspace, folder: &Path, compiler: &str) -> Result<PathBuf> {
    // The dependencies in the workspace's own versions.
    fs::copy(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"))
        .context("could not copy Cargo.lock")?;
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output(Command::new(rustc).arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not say what its host is")?;
    let target_dir = workspace.target_dir.join("fuzz/build");
    let mut command = cargo();
    clean_build_env(&mut command);
    // A target of its own, so that build scripts are built without the flags.
    command
        .current_dir(folder)
        .args([
            "build",
            "--release",
            "--bins",
            "--target",
            host,
            "--target-dir",
        ])
        .arg(&target_dir)
        .env("CXX", compiler)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    run(&mut command)?;
    Ok(target_dir.join(host).join("release"))
}

/// Runs a target on its seeds and what it found in earlier runs; false if it
/// found something.
fn run_target(binary: &Path, target: &str, place: &Path, seconds: u32) -> Result<bool> {
    let (corpus, log) = (place.join("corpus"), place.join("log"));
    fs::create_dir_all(&corpus).with_context(|| format!("could not make {}", corpus.display()))?;
    let mut command = Command::new(binary);
    command
        .arg(&corpus)
        .arg(place.join("seeds"))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-rss_limit_mb={INPUT_MIB}"))
        .arg(format!("-artifact_prefix={}/found-", place.display()))
        .arg("-print_final_stats=1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).with_context(|| format!("could not make {}", log.display()))?);
    eprintln!("+ {}", describe(&command));
    let status = command
        .status()
        .with_context(|| format!("could not start {}", binary.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if status.success() {
        let summary = summary(&text)?;
        println!("{target}: {summary}, nothing found");
        return Ok(true);
    }
    println!("{target}: {status}: {}", what_was_found(&text));
    println!("  all of it: {}", log.display());
    Ok(false)
}

/// Executions and coverage.
fn summary(log: &str) -> Result<String> {
    let runs = number_behind(log, "stat::number_of_executed_units:");
    let edges = number_behind(log, " cov:");
    let (Some(runs), Some(edges)) = (runs, edges) else {
        bail!("libFuzzer did not say what it did: {log}");
    };
    ensure!(runs > 0 && edges > 0, "nothing was executed: {log}");
    Ok(format!("{runs} inputs, {edges} edges"))
}

/// The number behind the last occurrence of `word`.
fn number_behind(log: &str, word: &str) -> Option<u64> {
    let (_, rest) = log.rsplit_once(word)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The lines of a log that say what was found, and the input.
fn what_was_found(log: &str) -> String {
    let words = ["panicked at", "ERROR: libFuzzer", "Test unit written to"];
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .map(str::trim)
        .collect();
    if lines.is_empty() {
        log.lines().last().unwrap_or_default().to_owned()
    } else {
        lines.join("\n  ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_compiler_is_one_clear_message() {
        // CXX would be taken as it is.
        if env::var_os("CXX").is_none() {
            let text = compiler(|_| false).expect_err("none").to_string();
            assert!(text.contains("C++") && text.contains("CXX"), "{text}");
            assert_eq!(compiler(|name| name != "c++").expect("g++"), "g++");
        }
    }

    #[test]
    fn the_last_figures_are_told() {
        let log = "#1 INITED cov: 12 ft: 13\n#9 NEW cov: 80 ft: 9\n\
                   stat::number_of_executed_units: 4711\n";
        assert_eq!(summary(log).expect("figures"), "4711 inputs, 80 edges");
        assert!(summary("no such thing").is_err());
        let found = "thread panicked at src/x.rs:1:2:\nmore\n==1== ERROR: libFuzzer: deadly signal\n\
                     artifact_prefix='a'; Test unit written to a/found-1\n";
        assert_eq!(what_was_found(found).lines().count(), 3);
        assert_eq!(what_was_found("a\nb"), "b");
    }
}
