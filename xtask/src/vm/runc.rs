//! runc, unpacked below the target directory: a container of its making is looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::apt::{Apt, remove_folder};
use super::sources::Sources;
use crate::process::output;

/// Provides Debian's in `<folder>/runc`, fetched if it is not there.
///
/// # Errors
/// When it cannot be fetched, or does not run.
pub fn provide(folder: &Path) -> Result<PathBuf> {
    let place = folder.join("runc");
    let program = place.join("usr/sbin/runc");
    if !place.exists() {
        let sources = Sources::of_this_machine()?;
        let apt = Apt::update(&folder.join("apt/own"), &sources.own()?)?;
        // Moved into place as a whole, so that an interrupted fetch is never used. What it is
        // linked with, apt is too.
        let staging = place.with_file_name(".runc");
        remove_folder(&staging)?;
        apt.unpack(&["runc".to_owned()], &staging)?;
        fs::rename(&staging, &place)
            .with_context(|| format!("could not move {}", staging.display()))?;
    }
    output(Command::new(&program).arg("--version"))
        .with_context(|| format!("remove {} to have it unpacked anew", place.display()))?;
    Ok(program)
}
