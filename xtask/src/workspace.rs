//! Where the checkout and its build results lie.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::process::output;

/// The folders of this checkout.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The folder with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// cargo's target directory.
    pub target_dir: PathBuf,
}

impl Workspace {
    /// The workspace that this xtask was started from.
    ///
    /// # Errors
    /// When it was not started by cargo, or `cargo metadata` fails.
    pub fn find() -> Result<Self> {
        #[derive(Deserialize)]
        struct Metadata {
            workspace_root: PathBuf,
            target_directory: PathBuf,
        }
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .context("CARGO_MANIFEST_DIR is not set: start this as `cargo xtask`")?;
        let text = output(cargo().current_dir(package).args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
        ]))?;
        let Metadata {
            workspace_root,
            target_directory,
        } = serde_json::from_str(&text).context("`cargo metadata`")?;
        Ok(Self {
            root: workspace_root,
            target_dir: target_directory,
        })
    }
}

/// The cargo that started xtask.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
