//! QEMU and a static busybox: the machine's own, or else unpacked below the target
//! directory. Nothing is installed: on a machine with parts of another QEMU, apt
//! would remove those.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::{Apt, remove_folder};
use super::sources::Sources;
use crate::process::output;

/// Debian's packages of them.
const PACKAGES: [&str; 2] = ["qemu-system-x86", "busybox-static"];

/// The emulator's program.
const QEMU: &str = "qemu-system-x86_64";

/// What test machines are made with.
#[derive(Debug, Clone)]
pub struct Tools {
    qemu: PathBuf,
    /// Where the packages were unpacked, if they were.
    unpacked: Option<PathBuf>,
    /// A static busybox.
    pub busybox: PathBuf,
}

impl Tools {
    /// Finds them on PATH, or in `<folder>/tools`, where they are unpacked if need be.
    ///
    /// # Errors
    /// When they cannot be fetched, or do not run.
    pub fn provide(folder: &Path, sources: &Sources) -> Result<Self> {
        if let (Some(qemu), Some(busybox)) = (on_path(QEMU), on_path("busybox"))
            && is_static(&busybox)
        {
            return Ok(Self {
                qemu,
                unpacked: None,
                busybox,
            });
        }
        let place = folder.join("tools");
        let tools = Self {
            qemu: place.join("usr/bin").join(QEMU),
            busybox: place.join("bin/busybox"),
            unpacked: Some(place.clone()),
        };
        if !place.exists() {
            let apt = Apt::update(&folder.join("apt/own"), &sources.own()?)?;
            let packages = apt.additions(&PACKAGES)?;
            eprintln!("unpacking {} into {}", packages.join(" "), place.display());
            let staging = place.with_file_name(".tools");
            remove_folder(&staging)?;
            apt.unpack(&packages, &staging)?;
            fs::rename(&staging, &place)
                .with_context(|| format!("could not move {}", staging.display()))?;
        }
        output(tools.qemu().arg("--version"))
            .with_context(|| format!("remove {} to have it unpacked anew", place.display()))?;
        if !is_static(&tools.busybox) {
            bail!("{} is not a static busybox", tools.busybox.display());
        }
        Ok(tools)
    }

    /// The emulator, without a machine yet.
    pub fn qemu(&self) -> Command {
        let mut command = Command::new(&self.qemu);
        if let Some(place) = &self.unpacked {
            let mut libraries = OsString::new();
            for folder in ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"] {
                if !libraries.is_empty() {
                    libraries.push(":");
                }
                libraries.push(place.join(folder));
            }
            command.env("LD_LIBRARY_PATH", libraries);
            for data in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(place.join(data));
            }
        }
        command
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Whether a program needs no shared objects.
fn is_static(program: &Path) -> bool {
    use object::{Object as _, ObjectSection as _};
    let Ok(bytes) = fs::read(program) else {
        return false;
    };
    let file = object::File::parse(&*bytes);
    file.is_ok_and(|file| {
        file.sections()
            .all(|section| section.name() != Ok(".interp"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_needs_shared_objects() {
        let program = env::current_exe().expect("a program");
        assert!(!is_static(&program));
        assert!(!is_static(Path::new("/nonexistent")));
    }
}
