//! Where the cpu controller is, and whether gohang may make a group there.

use std::time::Duration;

use super::report::Cgroup;
use super::{Problems, controllers};
use crate::cgroup::{CgroupError, CgroupLayout, OwnError, OwnGroups, Version};
use crate::process::ProcRoot;

/// Longest wait for an empty group to go.
const REMOVAL: Duration = Duration::from_secs(2);

/// Looks at the layout, and makes and removes a group.
pub(super) fn cgroup(proc: &ProcRoot, problems: &mut Problems) -> Cgroup {
    let mut found = Cgroup::default();
    let layout = match CgroupLayout::read(proc) {
        Ok(layout) => layout,
        Err(error) => {
            problems.degrading(format!("limits and groups cannot be told: {error}"));
            found.error = Some(error.to_string());
            return found;
        }
    };
    found.layout = Some(layout.mode().to_string());
    found.controllers = controllers::controllers(&layout, proc);
    match layout.cpu() {
        Ok(cpu) => {
            found.cpu_version = Some(match cpu.version {
                Version::V1 => 1,
                Version::V2 => 2,
            });
            found.cpu_mount = Some(cpu.mount_point.display().to_string());
        }
        Err(error @ CgroupError::NoCpuController { .. }) => {
            problems.fatal(error.to_string());
            found.error = Some(error.to_string());
            return found;
        }
        // Making a group says the same.
        Err(_) => {}
    }
    match make(&layout, proc) {
        Ok(path) => found.made = Some(path),
        Err(error) => {
            problems.degrading(format!(
                "no group with a CPU quota of gohang's own (the demo needs one): {error}"
            ));
            found.error = Some(error.to_string());
        }
    }
    found
}

fn make(layout: &CgroupLayout, proc: &ProcRoot) -> Result<String, OwnError> {
    let groups = OwnGroups::new(layout, proc)?;
    let mut group = groups.create("doctor")?;
    let path = group.path().display().to_string();
    group.remove(REMOVAL)?;
    Ok(path)
}
