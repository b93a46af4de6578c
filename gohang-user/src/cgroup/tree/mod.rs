//! The groups of one run: the same group in every hierarchy that has a controller of
//! use, with all that its processes make of it below.

mod aside;
mod branch;
mod controller;
mod leftovers;
mod limits;
mod subtree;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::close::Close;
use super::error::CgroupError;
use super::layout::{CgroupLayout, Hierarchy, Version};
use super::membership::Membership;
use super::own::OwnError;
use super::own_group::{until, write};
use super::owner::{Owner, is_label};
use super::quota;
use crate::process::{ProcRoot, signal_members};

pub use branch::{Branch, Missing};
pub use controller::Controller;
pub use leftovers::{LeftBehind, clear, clear_everywhere};
pub use limits::Weight;

/// The groups of one run.
///
/// When they go out of scope, everything inside is killed and they are removed; what
/// cannot be removed is logged, and left to [`clear`].
#[derive(Debug)]
pub struct OwnTree {
    branches: Vec<Branch>,
    missing: Vec<Missing>,
    removed: bool,
}

impl OwnTree {
    /// Makes them, without limits and empty: one in each version 1 hierarchy that has a
    /// `wanted` controller, and one in version 2 if it is mounted, whatever its
    /// controllers, because it can be ended at once.
    ///
    /// Each is made at the top of its hierarchy or in a group of this process's, but
    /// never outside a limit that holds for this process.
    ///
    /// # Errors
    /// [`OwnError::NoPlace`] when none could be made; a controller that could not be had
    /// is in [`Self::missing`].
    pub fn create(
        layout: &CgroupLayout,
        proc: &ProcRoot,
        label: &str,
        wanted: &[Controller],
    ) -> Result<Self, OwnError> {
        Self::make(layout, proc, label, wanted, None)
    }

    /// Makes them as children of the group `inside` in every hierarchy that has it, and
    /// as [`Self::create`] does in the others. The group itself is left as it is: what
    /// it does not share out its children do not have.
    ///
    /// # Errors
    /// As [`Self::create`]; [`OwnError::NoGroup`] when no hierarchy has the group, and the
    /// refusal when a child cannot be made in it.
    pub fn create_inside(
        layout: &CgroupLayout,
        proc: &ProcRoot,
        label: &str,
        wanted: &[Controller],
        inside: &Path,
    ) -> Result<Self, OwnError> {
        Self::make(layout, proc, label, wanted, Some(inside))
    }

    fn make(
        layout: &CgroupLayout,
        proc: &ProcRoot,
        label: &str,
        wanted: &[Controller],
        inside: Option<&Path>,
    ) -> Result<Self, OwnError> {
        if !is_label(label) {
            return Err(OwnError::BadLabel {
                label: label.chars().take(80).collect(),
            });
        }
        let name = Owner::this(proc)?.name(label);
        let own = Membership::read_own(proc)?;
        let mut tree = Self {
            branches: Vec::new(),
            missing: Vec::new(),
            removed: false,
        };
        let mut tried = Vec::new();
        let mut found = false;
        let mut left: Vec<Controller> = wanted.to_vec();
        for hierarchy in layout.v1().iter().chain(layout.v2()) {
            let existing = inside
                .and_then(|path| hierarchy.dir_of(path))
                .filter(|dir| dir.is_dir() && !hierarchy.is_for_naming_only());
            found |= existing.is_some();
            let here = taken(&mut left, hierarchy, &own);
            let is_v1 = hierarchy.version == Version::V1;
            if is_v1 && here.is_empty() && existing.is_none() {
                continue;
            }
            if let Some(place) = existing {
                let (branch, missing) = branch::plant_in(hierarchy, &place, &name, &here, false)?;
                tree.branches.push(branch);
                tree.missing.extend(missing);
                tree.fill_cpuset()?;
                continue;
            }
            let places = branch::places(hierarchy, own_path(&own, hierarchy));
            match branch::plant(hierarchy, &places, &name, &here, &mut tree.missing) {
                Ok(branch) => {
                    tree.branches.push(branch);
                    tree.fill_cpuset()?;
                }
                Err(refusals) => {
                    let why = refusals.join("; ");
                    tree.missing.extend(here.iter().map(|&controller| Missing {
                        controller,
                        why: why.clone(),
                    }));
                    tried.extend(refusals);
                }
            }
        }
        if let Some(path) = inside.filter(|_| !found) {
            return Err(OwnError::NoGroup { path: path.into() });
        }
        tree.missing.extend(left.iter().map(|&controller| Missing {
            controller,
            why: "no mounted hierarchy has it".into(),
        }));
        if tree.branches.is_empty() {
            if tried.is_empty() {
                return Err(CgroupError::NotMounted.into());
            }
            return Err(OwnError::NoPlace { tried });
        }
        Ok(tree)
    }

    /// The groups.
    #[must_use]
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// The group that a controller looks after.
    #[must_use]
    pub fn branch(&self, controller: Controller) -> Option<&Branch> {
        self.branches.iter().find(|branch| branch.has(controller))
    }

    /// The version 2 group.
    #[must_use]
    pub fn v2(&self) -> Option<&Branch> {
        self.branches
            .iter()
            .find(|branch| branch.hierarchy.version == Version::V2)
    }

    /// The controllers that could not be had.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Moves process `pid`, with all its threads, into all the groups.
    ///
    /// # Errors
    /// [`OwnError::Write`].
    pub fn adopt(&self, pid: u32) -> Result<(), OwnError> {
        self.branches
            .iter()
            .try_for_each(|branch| write(&branch.dir.join("cgroup.procs"), &pid.to_string()))
    }

    /// The processes inside, ascending; 0 for one of another PID namespace.
    ///
    /// # Errors
    /// When a group cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>, OwnError> {
        processes_in(self.branches.iter().map(|branch| branch.dir.as_path()))
    }

    /// Ends every process inside by SIGKILL, and waits until the groups are empty. The
    /// limits are taken away first, as even dying takes CPU time.
    ///
    /// # Errors
    /// [`OwnError::SelfInside`] when this process is one of them, and
    /// [`OwnError::StillBusy`] when some are left after `timeout`.
    pub fn kill(&self, timeout: Duration) -> Result<(), OwnError> {
        let dirs: Vec<&Path> = self.branches.iter().map(|b| b.dir.as_path()).collect();
        kill_all(&dirs, timeout)
    }

    /// Takes the CPU quota away; whether there was one.
    ///
    /// # Errors
    /// [`OwnError::Write`].
    pub fn lift_cpu_quota(&self) -> Result<bool, OwnError> {
        let Some(branch) = self.branch(Controller::Cpu) else {
            return Ok(false);
        };
        let version = branch.hierarchy.version;
        let limit = super::limits::read_limit(version, &branch.dir)?;
        let Some(limit) = limit.filter(|limit| limit.quota_ns.is_some()) else {
            return Ok(false);
        };
        quota::set_quota(version, &branch.dir, None, limit.period_ns)?;
        Ok(true)
    }

    /// Removes the empty groups, and all that were made below them.
    ///
    /// # Errors
    /// [`OwnError::StillBusy`] when there are processes inside after `timeout`. All groups
    /// are tried.
    pub fn remove(&mut self, timeout: Duration) -> Result<(), OwnError> {
        if self.removed {
            return Ok(());
        }
        let mut outcome = Ok(());
        for branch in &self.branches {
            let removed = subtree::remove(&branch.dir, timeout).and_then(|()| branch.undo());
            outcome = outcome.and(removed);
        }
        self.removed = outcome.is_ok();
        outcome
    }

    /// [`Self::kill`] and [`Self::remove`], each with `timeout`.
    ///
    /// # Errors
    /// As those two.
    pub fn close(mut self, timeout: Duration) -> Result<(), OwnError> {
        self.close_within(timeout)
    }
}

impl Close for OwnTree {
    fn kill(&self, timeout: Duration) -> Result<(), OwnError> {
        Self::kill(self, timeout)
    }

    fn remove(&mut self, timeout: Duration) -> Result<(), OwnError> {
        Self::remove(self, timeout)
    }

    fn is_removed(&self) -> bool {
        self.removed
    }
}

impl Drop for OwnTree {
    fn drop(&mut self) {
        self.close_at_last();
    }
}

/// Takes from `left` what `hierarchy` has, so that each controller is wanted of one.
fn taken(left: &mut Vec<Controller>, hierarchy: &Hierarchy, own: &Membership) -> Vec<Controller> {
    let is_here = |controller: &Controller| match hierarchy.version {
        Version::V1 => hierarchy
            .controllers
            .iter()
            .any(|name| name == controller.name()),
        // What version 1 holds, mounted here or not, version 2 cannot have.
        Version::V2 => own.v1(controller.name()).is_none(),
    };
    let (here, others) = left.iter().partition(|&controller| is_here(controller));
    *left = others;
    let mut here: Vec<Controller> = here;
    if hierarchy.version == Version::V2 {
        // Every group counts its CPU time there.
        here.retain(|&controller| controller != Controller::Cpuacct);
    }
    here
}

/// This process's group in `hierarchy`.
fn own_path<'a>(own: &'a Membership, hierarchy: &Hierarchy) -> Option<&'a Path> {
    let member = match hierarchy.version {
        Version::V2 => own.v2(),
        Version::V1 => hierarchy.controllers.first().and_then(|name| own.v1(name)),
    };
    member.map(|member| member.path.as_path())
}

/// Whether a limit above this process keeps its groups from being made at the top of a
/// hierarchy.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn is_kept_inside(layout: &CgroupLayout, proc: &ProcRoot) -> Result<bool, OwnError> {
    let own = Membership::read_own(proc)?;
    let mut hierarchies = layout.v1().iter().chain(layout.v2());
    Ok(hierarchies.any(|hierarchy| {
        let places = branch::places(hierarchy, own_path(&own, hierarchy));
        places.first() != Some(&hierarchy.mount_point)
    }))
}

/// The processes in the group in `dir` and below it, ascending.
///
/// # Errors
/// When the group cannot be read.
pub fn processes_below(dir: &Path) -> Result<Vec<u32>, OwnError> {
    processes_in(std::iter::once(dir))
}

/// Ends every process in the group in `dir` and below it by SIGKILL, and waits until it is
/// empty.
///
/// # Errors
/// As [`OwnTree::kill`].
pub fn kill_group(dir: &Path, timeout: Duration) -> Result<(), OwnError> {
    kill_all(&[dir], timeout)
}

/// Writes to a file of a group that somebody else may remove as soon as it is empty.
fn write_if_there(file: &Path, value: &str) -> Result<(), OwnError> {
    match write(file, value) {
        Err(_) if !file.exists() => Ok(()),
        other => other,
    }
}

/// The processes in groups and below them, ascending.
fn processes_in<'a>(dirs: impl Iterator<Item = &'a Path>) -> Result<Vec<u32>, OwnError> {
    let mut all = Vec::new();
    for dir in dirs {
        all.extend(subtree::processes(dir)?);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Ends every process in the groups in `dirs`, which hold the same processes, and waits
/// until they are empty.
fn kill_all(dirs: &[&Path], timeout: Duration) -> Result<(), OwnError> {
    let list = || processes_in(dirs.iter().copied());
    let existing = |name: &str| -> Vec<PathBuf> {
        let files = dirs.iter().map(|dir| dir.join(name));
        files.filter(|file| file.exists()).collect()
    };
    let inside = list()?;
    if inside.is_empty() {
        return Ok(());
    }
    if inside.contains(&std::process::id()) {
        return Err(OwnError::SelfInside {
            path: dirs[0].to_path_buf(),
        });
    }
    // Even dying takes CPU time; and where they cannot be ended at once, they must at
    // least not multiply.
    for (name, value) in [
        ("cpu.max", "max"),
        ("cpu.cfs_quota_us", "-1"),
        ("pids.max", "0"),
    ] {
        existing(name)
            .iter()
            .try_for_each(|file| write_if_there(file, value))?;
    }
    let at_once = existing("cgroup.kill");
    let empty = until(timeout, || {
        for file in &at_once {
            write_if_there(file, "1")?;
        }
        let members = || list().map_err(io::Error::other);
        signal_members(libc::SIGKILL, members).map_err(|source| OwnError::Write {
            path: dirs[0].join("cgroup.procs"),
            value: "SIGKILL".into(),
            source,
        })?;
        Ok::<_, OwnError>(list()?.is_empty())
    })?;
    if empty {
        return Ok(());
    }
    Err(OwnError::StillBusy {
        path: dirs[0].to_path_buf(),
        after: timeout,
        processes: list()?,
    })
}
