//! apt with a state of its own: lists and downloads lie below the target directory,
//! and the machine's apt is neither read from nor written to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::sources::Source;
use crate::process::{output, run};

/// A private apt state with its own sources.
#[derive(Debug)]
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Makes the state in `folder` and fetches the lists of `sources`.
    ///
    /// # Errors
    /// When a file cannot be written or the lists cannot be fetched.
    pub fn update(folder: &Path, sources: &[Source]) -> Result<Self> {
        let apt = Self {
            folder: folder.to_owned(),
        };
        for part in ["lists/partial", "cache/archives/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path)
                .with_context(|| format!("could not make {}", path.display()))?;
        }
        let list = folder.join("sources.list");
        let lines: String = sources.iter().map(Source::line).collect();
        fs::write(&list, lines).with_context(|| format!("could not write {}", list.display()))?;
        run(apt.command("apt-get").args(["--quiet=2", "update"]))?;
        Ok(apt)
    }

    /// An apt program on this state.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut set = |key: &str, path: &Path| {
            command.arg("-o").arg(format!("{key}={}", path.display()));
        };
        set("Dir::Etc::sourcelist", &self.folder.join("sources.list"));
        set("Dir::Etc::sourceparts", Path::new("/dev/null"));
        set("Dir::State::lists", &self.folder.join("lists"));
        set("Dir::Cache", &self.folder.join("cache"));
        // Downloads go to folders that apt's own user may not write.
        command.args(["-o", "APT::Sandbox::User=root"]);
        command
    }

    /// Names of the packages that begin with `prefix`.
    ///
    /// # Errors
    /// When apt fails.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// A field of the newest version of a package.
    ///
    /// # Errors
    /// When there is no such package or field.
    pub fn field(&self, package: &str, field: &str) -> Result<String> {
        let mut command = self.command("apt-cache");
        let text = output(command.args(["--no-all-versions", "show", package]))?;
        text.lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(": "))
            .map(str::to_owned)
            .with_context(|| format!("the package {package} has no {field}"))
    }

    /// What installing `packages` here would add to the machine, as `NAME=VERSION`.
    /// Nothing is installed.
    ///
    /// # Errors
    /// When they cannot be installed together.
    pub fn additions(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut command = self.command("apt-get");
        command.args(["install", "--simulate", "--no-install-recommends"]);
        Ok(additions(&output(command.args(packages))?))
    }

    /// What a machine without any package would get with `packages`, as `NAME=VERSION`.
    ///
    /// # Errors
    /// When they cannot be installed together.
    pub fn closure(&self, packages: &[&str]) -> Result<Vec<String>> {
        let status = self.folder.join("no-packages");
        fs::write(&status, "").with_context(|| format!("could not write {}", status.display()))?;
        let mut command = self.command("apt-get");
        command
            .arg("-o")
            .arg(format!("Dir::State::status={}", status.display()))
            .args(["install", "--simulate", "--no-install-recommends"]);
        Ok(additions(&output(command.args(packages))?))
    }

    /// Downloads packages (`NAME` or `NAME=VERSION`) and unpacks them below `into`.
    ///
    /// # Errors
    /// When a package cannot be fetched or unpacked.
    pub fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let folder = self.folder.join("downloads");
        remove_folder(&folder)?;
        for path in [&folder, into] {
            fs::create_dir_all(path)
                .with_context(|| format!("could not make {}", path.display()))?;
        }
        let mut command = self.command("apt-get");
        command.args(["--quiet=2", "download"]).args(packages);
        run(command.current_dir(&folder))?;
        let entries = fs::read_dir(&folder).context("the downloaded packages")?;
        for entry in entries {
            let package = entry.context("the downloaded packages")?.path();
            output(Command::new("dpkg").arg("-x").arg(package).arg(into))?;
        }
        remove_folder(&folder)
    }
}

/// Removes a folder with all in it, if it is there.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove_folder(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("could not remove {}", path.display()))?;
    }
    Ok(())
}

/// The lines `Inst NAME [installed] (VERSION ...` of a simulation.
fn additions(text: &str) -> Vec<String> {
    let addition = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let (_, version) = rest.split_once('(')?;
        Some(format!("{name}={}", version.split(' ').next()?))
    };
    text.lines().filter_map(addition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_names_what_it_would_add() {
        let text = "Remv x [1]\nInst a (1:2.3-4 Debian:12 [amd64])\n\
                    Inst b [1] (2 Debian:12 [all]) []\nConf a (1:2.3-4 Debian:12 [amd64])\n";
        assert_eq!(additions(text), ["a=1:2.3-4", "b=2"]);
    }
}
