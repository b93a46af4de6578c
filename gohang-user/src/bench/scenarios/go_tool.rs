//! The Go tool chain that builds scenarios' programs.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::experiment::ExperimentError;

/// A folder of tool chains, each in a folder named by its version, or one of them.
const ROOT: &str = "GOHANG_GO_ROOT";

/// The language version that programs ask for: from it on the oldest tool chain whose
/// runtime gohang probes builds them, and the default of GOMAXPROCS is the number of CPUs
/// with each.
const MODULE: &str = "module scenario\n\ngo 1.21\n";

/// A tool chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Go {
    program: PathBuf,
    /// As `go1.27.3`.
    pub version: String,
}

impl Go {
    /// The one that was asked for, else that of `GOHANG_GO_ROOT` (the newest in it), else
    /// the first `go` of `PATH`, else none.
    ///
    /// # Errors
    /// The one that was asked for is none.
    pub(super) fn find(asked: Option<&Path>) -> Result<Option<Self>, ExperimentError> {
        if let Some(program) = asked {
            return Self::at(program).map(Some);
        }
        let root = env::var_os(ROOT).and_then(|root| in_root(Path::new(&root)));
        let path = || in_path(&env::var_os("PATH").unwrap_or_default());
        root.or_else(path)
            .map(|program| Self::at(&program))
            .transpose()
    }

    fn at(program: &Path) -> Result<Self, ExperimentError> {
        let program = &from_anywhere(program);
        let failed = |why: String| ExperimentError::Workload {
            what: format!(
                "{} is no Go tool chain ({why}); give the path of another with --go",
                program.display()
            ),
        };
        let output = clean(program)
            .args(["env", "GOVERSION"])
            .output()
            .map_err(|error| failed(error.to_string()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || !version.starts_with("go") {
            return Err(failed(format!("`go env GOVERSION`: {}", output.status)));
        }
        Ok(Self {
            program: program.clone(),
            version: crate::process::escape(version),
        })
    }

    /// The command that builds `source` in `folder` into `to`: nothing is fetched. What the
    /// tool chain keeps for the next time stays where it always is, or in `cache` where no
    /// such place is set.
    pub(super) fn build(
        &self,
        source: &str,
        folder: &Path,
        to: &Path,
        cache: &Path,
    ) -> Result<Command, ExperimentError> {
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text).map_err(|source| ExperimentError::System {
                action: "write a Go program",
                source,
            })
        };
        write("go.mod", MODULE)?;
        write("main.go", source)?;
        let mut command = clean(&self.program);
        command
            .args(["build", "-trimpath", "-o"])
            .arg(to)
            .arg(".")
            .current_dir(folder)
            .env("CGO_ENABLED", "0");
        let places = ["GOCACHE", "XDG_CACHE_HOME", "HOME"];
        if places.iter().all(|name| env::var_os(name).is_none()) {
            command.env("GOCACHE", cache);
        }
        Ok(command)
    }
}

/// The program as it is found from every folder: it is started in those of the programs that it
/// builds. A bare name is looked for in `PATH`.
fn from_anywhere(program: &Path) -> PathBuf {
    if program.components().count() == 1 && program.is_relative() {
        return program.to_owned();
    }
    std::path::absolute(program).unwrap_or_else(|_| program.to_owned())
}

/// A tool chain's command without what would make it another, or go out for modules.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env_remove("GOROOT")
        .env_remove("GOOS")
        .env_remove("GOARCH");
    command
}

/// The program of `root`, or the newest of those in its folders.
fn in_root(root: &Path) -> Option<PathBuf> {
    let program = |folder: &Path| Some(folder.join("bin/go")).filter(|path| path.is_file());
    if let Some(own) = program(root) {
        return Some(own);
    }
    let folders = fs::read_dir(root).ok()?.flatten();
    let found = folders.filter_map(|entry| {
        let version = numbers(entry.file_name().to_str()?)?;
        Some((version, program(&entry.path())?))
    });
    found.max().map(|(_, program)| program)
}

/// `1.27.3` as numbers.
fn numbers(version: &str) -> Option<Vec<u64>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

fn in_path(path: &OsStr) -> Option<PathBuf> {
    let mut places = env::split_paths(path).map(|folder| folder.join("go"));
    places.find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_folder_is_taken() {
        let root = tempfile::tempdir().expect("a folder");
        for version in ["1.9.2", "1.27.3", "1.3", "cache"] {
            let bin = root.path().join(version).join("bin");
            fs::create_dir_all(&bin).expect("made");
            fs::write(bin.join("go"), "").expect("written");
        }
        let found = in_root(root.path()).expect("found");
        assert_eq!(found, root.path().join("1.27.3/bin/go"));
        let one = root.path().join("1.3");
        assert_eq!(in_root(&one), Some(one.join("bin/go")));
        assert_eq!(in_root(&root.path().join("none")), None);
        let path = env::join_paths([root.path().into(), one.join("bin")]).expect("a path");
        assert_eq!(in_path(&path), Some(one.join("bin/go")));
    }

    #[test]
    fn it_is_found_from_every_folder() {
        assert_eq!(from_anywhere(Path::new("go")), Path::new("go"));
        assert_eq!(
            from_anywhere(Path::new("/go/bin/go")),
            Path::new("/go/bin/go")
        );
        let here = env::current_dir().expect("a folder");
        assert_eq!(from_anywhere(Path::new("bin/go")), here.join("bin/go"));
        assert_eq!(from_anywhere(Path::new("./go")), here.join("go"));
    }

    #[test]
    fn what_is_no_tool_chain_is_refused() {
        let error = Go::find(Some(Path::new("/proc/self/exe"))).expect_err("not Go");
        assert!(error.to_string().contains("--go"), "{error}");
        let error = Go::find(Some(Path::new("/nothing/go"))).expect_err("not there");
        assert!(error.to_string().contains("/nothing/go"), "{error}");
    }
}
