//! Builds Go programs whose sources are part of this program.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// How a program is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Without symbol table and debug information.
    pub stripped: bool,
    /// Loaded at an address chosen at run time.
    pub pie: bool,
    /// With C code, the standard library's or the program's own; needs a C compiler.
    pub cgo: bool,
}

/// A program's files by name.
pub type Sources = [(&'static str, &'static str)];

/// Builds `sources` into the file `to` with the tool chain of `version` below `root`; what
/// tool chains keep for the next time is put beside that file.
///
/// # Errors
/// When there is no such tool chain, or it does not build the program.
pub fn build(root: &Path, version: &str, sources: &Sources, form: Form, to: &Path) -> Result<()> {
    let go = root.join(version).join("bin/go");
    if !go.is_file() {
        bail!("no {}", go.display());
    }
    let folder = to.parent().context("a program without a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let place = tempfile::tempdir().context("no temporary folder")?;
    for (name, text) in sources {
        std::fs::write(place.path().join(name), text)?;
    }
    let mut command = Command::new(&go);
    command.args(["build", "-trimpath", "-o"]).arg(to);
    if form.stripped {
        command.args(["-ldflags", "-s -w"]);
    }
    if form.pie {
        command.arg("-buildmode=pie");
    }
    let output = command
        .arg(".")
        .current_dir(place.path())
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("GOFLAGS", "")
        .env("CGO_ENABLED", if form.cgo { "1" } else { "0" })
        .env("GOCACHE", folder.join("cache"))
        .env("GOROOT", root.join(version))
        .output()
        .with_context(|| format!("cannot run {}", go.display()))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', " | ");
        bail!("{} does not build the workload: {why}", go.display());
    }
    Ok(())
}
