//! Programs that others use for what gohang is for: bpftrace, perf and runqlat. The machine's
//! own, or else Debian's packages, unpacked below the target directory. Nothing is installed.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::output;
use crate::vm::apt::{Apt, remove_folder};
use crate::vm::sources::Sources;

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Runs scripts in the kernel.
    Bpftrace,
    /// Records tracepoints.
    Perf,
    /// The run-queue latency tool of BCC, in its form for libbpf.
    Runqlat,
}

impl Peer {
    /// Its program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bpftrace => "bpftrace",
            Self::Perf => "perf",
            Self::Runqlat => "runqlat",
        }
    }

    /// Debian's package of it, and where the program lies in that.
    fn package(self) -> (&'static str, &'static str) {
        match self {
            Self::Bpftrace => ("bpftrace", "usr/bin/bpftrace"),
            Self::Perf => ("linux-perf", "usr/bin/perf"),
            Self::Runqlat => ("libbpf-tools", "usr/sbin/runqlat"),
        }
    }

    /// Provides it: from PATH if it runs, or as `<target>/peers/NAME/run`.
    ///
    /// # Errors
    /// When it is neither there nor can be had, with what to do.
    pub fn provide(self, target_dir: &Path) -> Result<PathBuf> {
        let name = self.name();
        if let Some(program) = on_path(name).filter(|program| runs(program)) {
            return Ok(program);
        }
        self.unpacked(target_dir).with_context(|| {
            let (package, _) = self.package();
            format!("no {name}: put one on PATH (Debian: the package {package})")
        })
    }

    /// Unpacks it if it is not there yet.
    fn unpacked(self, target_dir: &Path) -> Result<PathBuf> {
        let root = target_dir.join("peers");
        let place = root.join(self.name());
        let start = place.join("run");
        if !runs(&start) {
            remove_folder(&place)?;
            let (package, program) = self.package();
            let apt = Apt::update(&root.join("apt"), &Sources::of_this_machine()?.own()?)?;
            let packages = apt.additions(&[package])?;
            eprintln!("unpacking {} into {}", packages.join(" "), place.display());
            // Moved into place as a whole, so that half of it is never used.
            let staging = root.join(format!(".{}", self.name()));
            remove_folder(&staging)?;
            apt.unpack(&packages, &staging)?;
            let script = staging.join("run");
            fs::write(&script, starter(program))
                .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
                .with_context(|| format!("could not write {}", script.display()))?;
            fs::rename(&staging, &place)
                .with_context(|| format!("could not move {}", staging.display()))?;
            output(Command::new(&start).arg("--version"))?;
        }
        Ok(start)
    }
}

/// A script that becomes the program, with its own shared objects before the machine's.
fn starter(program: &str) -> String {
    format!(
        "#!/bin/sh\n\
         here=$(dirname -- \"$0\")\n\
         libraries=$here/usr/lib/x86_64-linux-gnu:$here/lib/x86_64-linux-gnu\n\
         LD_LIBRARY_PATH=$libraries exec \"$here/{program}\" \"$@\"\n"
    )
}

fn runs(program: &Path) -> bool {
    program.is_file() && output(Command::new(program).arg("--version")).is_ok()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_becomes_the_program_with_its_libraries() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("a b");
        fs::create_dir_all(place.join("bin")).expect("made");
        let write = |name: &str, text: &str| {
            let path = place.join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
            path
        };
        write("bin/x", "#!/bin/sh\necho \"$LD_LIBRARY_PATH|$1|$#\"\n");
        let start = write("run", &starter("bin/x"));
        let said = output(Command::new(start).args(["c d", "e"])).expect("it runs");
        let here = place.display();
        assert_eq!(
            said,
            format!("{here}/usr/lib/x86_64-linux-gnu:{here}/lib/x86_64-linux-gnu|c d|2")
        );
    }
}
