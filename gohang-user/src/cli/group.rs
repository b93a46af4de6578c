//! Control groups as people name them.

use std::path::PathBuf;

use gohang::cgroup::CgroupLayout;
use gohang::process::ProcRoot;

use super::Failure;

/// A group as a path in a hierarchy (`/a/b`, as in /proc/PID/cgroup) or as a
/// directory below a mount point (`/sys/fs/cgroup/cpu/a/b`).
///
/// # Errors
/// A path that is not absolute, or no look at the mounted hierarchies.
pub(super) fn group(text: &str) -> Result<PathBuf, Failure> {
    let given = PathBuf::from(text);
    if !given.is_absolute() {
        return Err(Failure::usage(anyhow::anyhow!(
            "control group {text} must be an absolute path, as in /proc/PID/cgroup"
        )));
    }
    let layout = CgroupLayout::read(&ProcRoot::default()).map_err(Failure::unable)?;
    let below = layout
        .v1()
        .iter()
        .chain(layout.v2())
        .find_map(|found| found.path_of(&given));
    Ok(below.unwrap_or(given))
}
