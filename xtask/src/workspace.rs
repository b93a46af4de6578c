//! Where the checkout and its build results lie.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::process::output;

/// This checkout.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// cargo's target directory.
    pub target_dir: PathBuf,
    /// Names of the binaries of all packages.
    binaries: Vec<String>,
}

/// The part of `cargo metadata` that is used.
#[derive(Debug, Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Workspace {
    /// The workspace that this xtask was started from.
    ///
    /// # Errors
    /// When it was not started by cargo, or `cargo metadata` fails.
    pub fn find() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .context("CARGO_MANIFEST_DIR is not set: start this as `cargo xtask`")?;
        let mut command = cargo();
        command
            .current_dir(package)
            .args(["metadata", "--format-version", "1", "--no-deps"]);
        Self::from_metadata(&output(&mut command)?)
    }

    fn from_metadata(text: &str) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(text).context("`cargo metadata`")?;
        let targets = metadata
            .packages
            .into_iter()
            .flat_map(|package| package.targets);
        let binaries = targets.filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        Ok(Self {
            root: metadata.workspace_root,
            target_dir: metadata.target_directory,
            binaries: binaries.map(|target| target.name).collect(),
        })
    }

    /// Whether a package of the workspace builds the binary `name`.
    pub fn has_binary(&self, name: &str) -> bool {
        self.binaries.iter().any(|binary| binary == name)
    }
}

/// The cargo that started xtask.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_told_from_libraries() {
        let text = r#"{"workspace_root": "/r", "target_directory": "/t", "packages": [
            {"targets": [{"name": "a", "kind": ["lib"]}, {"name": "b", "kind": ["bin"]}]}]}"#;
        let workspace = Workspace::from_metadata(text).expect("valid");
        assert!(workspace.has_binary("b") && !workspace.has_binary("a"));
    }
}
