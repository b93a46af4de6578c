//! What `gohang run` keeps of a command that hangs.

use std::path::PathBuf;

use clap::Args;
use gohang::run::Machine;
use gohang::run::keep::{Bundler, GitHub, InTime, KeepOptions};

/// Where bundles go without an option.
const FOLDER: &str = "GOHANG_BUNDLE_DIR";

/// What is kept of a command that hangs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Keep")]
pub struct KeepArgs {
    /// Folder for the verdict and the bundle of a command that hangs [default:
    /// $GOHANG_BUNDLE_DIR, or the current folder].
    #[arg(long, value_name = "DIR")]
    pub bundle_dir: Option<PathBuf>,
    /// Write no verdict and no bundle.
    #[arg(long, conflicts_with = "bundle_dir")]
    pub no_bundle: bool,
    /// Most bytes of a bundle before it is compressed; what is least important is cut or left
    /// out.
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "64M")]
    pub bundle_size: u64,
    /// Take values of the environment, secrets and host names out of what is kept.
    #[arg(long)]
    pub redact: bool,
    /// Write the results of a `go test` to this file as JUnit's XML, a test that hangs with the
    /// verdict; give go test -v or -json, so that they are known.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

fn size(text: &str) -> Result<u64, String> {
    let size = gohang::run::memory(text, Machine::this())?;
    size.filter(|size| *size > 0)
        .ok_or_else(|| "give a size, as 64M".to_owned())
}

impl KeepArgs {
    /// Who keeps it.
    pub(super) fn keeper(self) -> InTime<Bundler> {
        let given = self.bundle_dir.or_else(|| {
            let set = std::env::var_os(FOLDER).filter(|value| !value.is_empty());
            set.map(PathBuf::from)
        });
        let folder = given.unwrap_or_else(|| PathBuf::from("."));
        let environment = std::env::vars_os().map(|(name, value)| {
            let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
            (text(name), text(value))
        });
        InTime::new(Bundler::new(KeepOptions {
            folder: (!self.no_bundle).then_some(folder),
            redact: self.redact,
            size_cap_bytes: self.bundle_size,
            junit: self.junit,
            github: GitHub::of(|name| std::env::var(name).ok()),
            environment: environment.collect(),
        }))
    }
}
