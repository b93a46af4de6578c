//! What those commands have in common that compare runs in alternating pairs and write a section
//! of `docs/cost.md`: options, what is compared, and the frame of the section.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::pairs::Change;
use super::{FILE, build, section};
use crate::go;
use crate::process::{kernel_release, output};
use crate::toolchain::is_root;
use crate::workspace::Workspace;

/// The Go version of what is compared.
pub const GO: &str = "1.27.3";

/// With what to measure.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Measure this gohang instead of a release build, and write no file.
    #[arg(long, value_name = "PATH")]
    gohang: Option<PathBuf>,
    /// A folder of Go tool chains instead of the one in the target folder.
    #[arg(long, value_name = "DIR")]
    go_root: Option<PathBuf>,
}

/// Everything that is needed to measure.
#[derive(Debug)]
pub struct Stage {
    /// This checkout.
    pub workspace: Workspace,
    /// Go tool chains, a folder a version.
    pub go_root: PathBuf,
    /// The gohang that is measured.
    pub gohang: PathBuf,
    /// Whether the figures are those of this checkout as it is: others do not belong into its
    /// file.
    writes: bool,
}

/// A work's figures: those of its runs without gohang, and what gohang changes.
#[derive(Debug)]
pub struct Measured<W: 'static> {
    /// The work.
    pub work: &'static W,
    /// A change a figure.
    pub changes: Vec<Change>,
}

/// Everything measured, `T` by `T`. Shown, it is the section without its heading.
#[derive(Debug)]
pub struct Page<T> {
    kernel: String,
    cpus: usize,
    version: String,
    /// How many pairs, or runs, each figure is of.
    pub pairs: u16,
    /// What was measured.
    pub measured: Vec<T>,
}

impl Options {
    /// Provides what they name, or builds it; gohang gets further `arguments`.
    ///
    /// # Errors
    /// Not root, or something cannot be built or had.
    pub fn stage(&self, arguments: &[String]) -> Result<Stage> {
        if !is_root()? {
            bail!("measuring attaches kernel programs: run it as root");
        }
        let workspace = Workspace::find()?;
        let go_root = match &self.go_root {
            Some(root) => root.clone(),
            None => go::provide(&workspace.target_dir)?,
        };
        let gohang = match &self.gohang {
            Some(path) => path.clone(),
            None => build(&workspace)?,
        };
        Ok(Stage {
            workspace,
            go_root,
            gohang,
            writes: self.gohang.is_none() && arguments.is_empty(),
        })
    }
}

impl Stage {
    /// Prints the figures, and writes them as the section of that title.
    ///
    /// # Errors
    /// gohang does not tell its version, or the file cannot be written.
    pub fn publish<T>(&self, title: &str, pairs: u16, measured: Vec<T>) -> Result<()>
    where
        Page<T>: fmt::Display,
    {
        let page = Page {
            kernel: kernel_release()?,
            cpus: std::thread::available_parallelism()?.get(),
            version: output(Command::new(&self.gohang).arg("--version"))?,
            pairs,
            measured,
        };
        print!("{page}");
        if self.writes {
            section::write(&self.workspace.root.join(FILE), title, &page.to_string())?;
            eprintln!("written to {FILE}");
        }
        Ok(())
    }
}

impl<T> Page<T> {
    /// How the section begins: the command, and where it ran.
    ///
    /// # Errors
    /// As writing.
    pub fn begin(&self, f: &mut fmt::Formatter<'_>, command: &str) -> fmt::Result {
        let Self {
            kernel,
            cpus,
            version,
            ..
        } = self;
        write!(
            f,
            "\nPrinted by `cargo xtask bench {command}` (as root), here with {version}, kernel \
             {kernel}, {cpus} CPUs, Go\n{GO}: "
        )
    }
}
