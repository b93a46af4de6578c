//! A Go program that tells its GOMAXPROCS, built by each version.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::actor::Actor;
use crate::group::Group;
use crate::product::run;
use crate::run::{Settings, skip};

/// Every version that is looked at.
pub(super) const VERSIONS: [&str; 7] = [
    "1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.6", "1.27.3",
];
/// The first `go` line in a module with which quotas count.
pub(super) const HEEDS: &str = "1.25";
/// The newest.
pub(super) const NEWEST: &str = "1.27.3";
/// Longest time that one look may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The program built by one version, for the `go` line of its module.
pub(super) struct Program {
    pub version: &'static str,
    pub line: &'static str,
    path: PathBuf,
}

impl Program {
    /// Builds it, if it was not built before.
    ///
    /// # Errors
    /// Skips the test without that tool chain; fails when the build does.
    pub fn of(settings: &Settings, version: &'static str, line: &'static str) -> Result<Self> {
        let folder = match (&settings.workloads, &settings.go_root) {
            (Some(folder), _) => folder.clone(),
            (None, Some(root)) => root.join("workloads"),
            (None, None) => return Err(skip("no --go-root and no --workloads given")),
        };
        let path = folder.join(format!("facts-{version}-{line}"));
        let program = Self {
            version,
            line,
            path,
        };
        if !program.path.is_file() {
            let root = settings.go_root.as_ref();
            let root = root.ok_or_else(|| skip(format!("no {}", program.path.display())))?;
            program.build(&root.join(version), &folder)?;
        }
        Ok(program)
    }

    fn build(&self, root: &Path, folder: &Path) -> Result<()> {
        let go = root.join("bin/go");
        if !go.is_file() {
            return Err(skip(format!("no {}", go.display())));
        }
        let sources = tempfile::tempdir().context("no temporary folder")?;
        let module = format!("module gohang.test/facts\n\ngo {}\n", self.line);
        std::fs::write(sources.path().join("go.mod"), module)?;
        let main = include_str!("../../../workloads/facts/main.go");
        std::fs::write(sources.path().join("main.go"), main)?;
        std::fs::create_dir_all(folder)?;
        let output = Command::new(&go)
            .args(["build", "-trimpath", "-o"])
            .arg(&self.path)
            .arg(".")
            .current_dir(sources.path())
            .env("GOTOOLCHAIN", "local")
            .env("GOPROXY", "off")
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", folder.join("cache"))
            .env("GOROOT", root)
            .output()
            .with_context(|| format!("cannot run {}", go.display()))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).replace('\n', " | ");
            bail!("{} does not build the program: {why}", go.display());
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it with these variables and nothing else that concerns Go; its GOMAXPROCS.
    pub fn start(&self, group: Option<&Group>, env: &[(&str, &str)]) -> Result<(Actor, u64)> {
        self.start_by(Command::new(&self.path), group, env)
    }

    /// Starts it by this command.
    pub fn start_by(
        &self,
        mut command: Command,
        group: Option<&Group>,
        env: &[(&str, &str)],
    ) -> Result<(Actor, u64)> {
        for name in ["GOMAXPROCS", "GODEBUG", "GOGC", "GOMEMLIMIT"] {
            command.env_remove(name);
        }
        command.envs(env.iter().copied());
        let mut actor = Actor::spawn(&mut command, group)?;
        let procs = actor.expect_number("procs ")?;
        Ok((actor, procs))
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "go{} (go {} in go.mod)", self.version, self.line)
    }
}

/// Every version with two `go` lines: from Go 1.25 on one with which quotas do not count and one
/// with which they do; before, which refuses to build for that, its own first and an older one.
pub(super) fn forms() -> impl Iterator<Item = (&'static str, &'static str)> {
    VERSIONS.into_iter().flat_map(|version| {
        let lines = if heeds_quota(version) {
            ["1.21", HEEDS]
        } else {
            ["1.20", "1.21"]
        };
        lines.map(|line| (version, line))
    })
}

/// Whether this version heeds quotas, if its module's `go` line has it.
pub(super) fn heeds_quota(version: &str) -> bool {
    minor(version).is_some_and(|minor| minor >= 25)
}

/// The 27 of 1.27.3.
pub(super) fn minor(version: &str) -> Option<u64> {
    version.split('.').nth(1)?.parse().ok()
}

/// What `inspect -o json` prints with these arguments.
pub(super) fn inspect(settings: &Settings, args: &[&str]) -> Result<Value> {
    let mut all = vec!["inspect", "-o", "json"];
    all.extend(args);
    let end = run(settings.gohang()?, &all, LIMIT)?;
    end.expect_success()?;
    serde_json::from_slice(&end.stdout).context("not one JSON document")
}

/// What it says of one process.
pub(super) fn one(settings: &Settings, pid: i32, more: &[&str]) -> Result<Value> {
    let pid = pid.to_string();
    let mut args = vec![pid.as_str()];
    args.extend(more);
    let found = inspect(settings, &args)?;
    match found["processes"].as_array().map(Vec::as_slice) {
        Some([process]) => Ok(process.clone()),
        _ => bail!("not one process: {found}"),
    }
}

/// Names of the rules that fired.
pub(super) fn rules(process: &Value) -> Vec<&str> {
    let advice = process["advice"].as_array();
    let advice = advice.map_or(&[][..], Vec::as_slice);
    advice
        .iter()
        .filter_map(|one| one["rule"].as_str())
        .collect()
}

/// The text that `inspect` or `advise` prints with these arguments.
pub(super) fn text(settings: &Settings, args: &[&str]) -> Result<Vec<u8>> {
    let end = run(settings.gohang()?, args, LIMIT)?;
    end.expect_success()?;
    Ok(end.stdout)
}
