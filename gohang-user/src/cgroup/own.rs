//! Making gohang's own groups, and cleaning up after earlier runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{CgroupError, read_optional};
use super::layout::{CgroupLayout, Hierarchy, Version};
use super::membership::Membership;
use super::own_group::{OwnGroup, write};
use super::owner::{MAX_LABEL, Owner, PREFIX, is_label};
use crate::process::{ProcError, ProcRoot};

/// Why a group of our own could not be made, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// Something could not be read.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// No place allows it.
    #[error(
        "cannot make a group: {}; run gohang as root, or in a group delegated to you \
         (systemd-run --user --scope -p Delegate=yes ...)",
        tried.join("; ")
    )]
    NoPlace {
        /// Each place that was tried, and why it was refused.
        tried: Vec<String>,
    },
    /// A limit was asked for that nothing here can keep.
    #[error("the {controller} controller is not at hand: {why}")]
    Lacking {
        /// The controller.
        controller: &'static str,
        /// Why.
        why: String,
    },
    /// There is no such group to run in.
    #[error(
        "no mounted hierarchy has the group {}; give its path as in /proc/PID/cgroup", path.display()
    )]
    NoGroup {
        /// What was asked for.
        path: PathBuf,
    },
    /// The place has no cpu controller to share out.
    #[error("the group {} has no cpu controller to share out", place.display())]
    NoCpu {
        /// The directory of the group.
        place: PathBuf,
    },
    /// The kernel was built without CPU quotas.
    #[error(
        "a group made in {} has no CPU quota; the kernel needs CONFIG_CFS_BANDWIDTH",
        place.display()
    )]
    NoQuota {
        /// The directory of the group above.
        place: PathBuf,
    },
    /// The name cannot be used.
    #[error(
        "{label:?} cannot be a group's label: 1 to {MAX_LABEL} letters, digits, - and _ are allowed"
    )]
    BadLabel {
        /// What was asked for.
        label: String,
    },
    /// This process has made a group of that label already.
    #[error("this process already has the group {}", path.display())]
    Exists {
        /// The group's directory.
        path: PathBuf,
    },
    /// The limit cannot be set on any kernel.
    #[error("cannot limit a group to {quota_ns:?} ns in {period_ns} ns: {what}")]
    BadLimit {
        /// The quota asked for.
        quota_ns: Option<u64>,
        /// The period asked for.
        period_ns: u64,
        /// What is wrong with them.
        what: String,
    },
    /// The kernel refused a change.
    #[error("cannot write {value} to {}: {source}{}", path.display(), hint(path, source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Version 2 holds whole processes.
    #[error("a single thread can be limited with cgroup v1 only; move the whole process instead")]
    ThreadNeedsV1,
    /// Killing everything in the group would kill gohang.
    #[error("gohang itself is in the group {}; move it out first", path.display())]
    SelfInside {
        /// The group.
        path: PathBuf,
    },
    /// Processes stay in the group.
    #[error(
        "the group {} is still in use after {after:?}, by the processes {processes:?}",
        path.display()
    )]
    StillBusy {
        /// The group.
        path: PathBuf,
        /// How long it was tried.
        after: Duration,
        /// The processes inside.
        processes: Vec<u32>,
    },
    /// The directory cannot be removed, for another reason than processes inside.
    #[error("cannot remove the group {}: {source}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl From<ProcError> for OwnError {
    fn from(error: ProcError) -> Self {
        Self::Cgroup(error.into())
    }
}

/// What a refusal most often means.
fn hint(path: &Path, source: &io::Error) -> &'static str {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    match (name, source.raw_os_error()) {
        ("cgroup.procs" | "tasks", Some(libc::ESRCH)) => " (the process has ended)",
        ("cgroup.procs" | "tasks", Some(libc::EACCES)) => {
            " (moving a process needs write access to the nearest group above both places)"
        }
        ("cgroup.subtree_control", Some(libc::EBUSY)) => {
            " (a group with processes of its own cannot share a controller out)"
        }
        ("cpu.cfs_quota_us" | "cpu.cfs_period_us", Some(libc::EINVAL)) => {
            " (a group above has a tighter limit)"
        }
        _ => "",
    }
}

/// Where gohang makes its groups, all named `gohang-LABEL-NAMESPACE-PID-START`: the
/// creator's PID namespace, process id and start time tell whether it still lives.
#[derive(Debug)]
pub struct OwnGroups {
    hierarchy: Hierarchy,
    places: Vec<PathBuf>,
    proc: ProcRoot,
    owner: Owner,
}

/// Why a group was not removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyKept {
    /// The process that made it is running.
    OwnerLives,
    /// There are processes, or groups, inside.
    InUse,
    /// Its owner is of another PID namespace, or cannot be looked at.
    OwnerUnknown,
    /// It is not ours to remove.
    Denied,
}

/// A group that was not removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The group.
    pub path: PathBuf,
    /// Why it is still there.
    pub why: WhyKept,
}

/// What [`OwnGroups::remove_leftovers`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leftovers {
    /// Groups that are gone now.
    pub removed: Vec<PathBuf>,
    /// Groups that are still there.
    pub kept: Vec<Kept>,
}

impl OwnGroups {
    /// Finds the places: the mount point of the cpu hierarchy, then this process's own
    /// group and those above it, from the top down. The first that allows it is used.
    ///
    /// # Errors
    /// When there is no cpu hierarchy, or `/proc` cannot be read.
    pub fn new(layout: &CgroupLayout, proc: &ProcRoot) -> Result<Self, OwnError> {
        let hierarchy = layout.cpu()?.clone();
        let own = Membership::read_own(proc)?;
        let mut places = vec![hierarchy.mount_point.clone()];
        if let Some(dir) = own.cpu().and_then(|member| hierarchy.dir_of(&member.path)) {
            let below = dir
                .ancestors()
                .filter(|dir| dir.starts_with(&hierarchy.mount_point));
            let mut below: Vec<_> = below.map(Path::to_path_buf).collect();
            below.reverse();
            places.extend(below.into_iter().skip(1));
        }
        Ok(Self {
            hierarchy,
            places,
            proc: proc.clone(),
            owner: Owner::this(proc)?,
        })
    }

    /// The hierarchy the groups are in.
    #[must_use]
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Makes a group, without a limit and empty. `label` tells this process's groups
    /// apart.
    ///
    /// On version 2 the cpu controller is given to the children of the place where they
    /// do not have it yet; that is taken back when the group is removed, unless another
    /// child makes use of it by then.
    ///
    /// # Errors
    /// [`OwnError::NoPlace`] with the reason of each place, [`OwnError::BadLabel`],
    /// [`OwnError::Exists`].
    pub fn create(&self, label: &str) -> Result<OwnGroup, OwnError> {
        if !is_label(label) {
            return Err(OwnError::BadLabel {
                label: label.chars().take(80).collect(),
            });
        }
        let name = self.owner.name(label);
        let mut tried = Vec::new();
        for place in &self.places {
            match self.create_in(place, &name) {
                Err(error @ OwnError::Exists { .. }) => return Err(error),
                Err(error) => tried.push(error.to_string()),
                Ok(group) => return Ok(group),
            }
        }
        Err(OwnError::NoPlace { tried })
    }

    /// Removes the empty groups of processes that have ended, whose names begin with
    /// `prefix` (itself beginning with `gohang-`).
    ///
    /// # Errors
    /// [`OwnError::BadLabel`] for another prefix, and [`OwnError::Remove`] when an empty
    /// group cannot be removed.
    pub fn remove_leftovers(&self, prefix: &str) -> Result<Leftovers, OwnError> {
        if !prefix.starts_with(PREFIX) {
            return Err(OwnError::BadLabel {
                label: prefix.into(),
            });
        }
        let mut found = Leftovers::default();
        for place in &self.places {
            // A place that cannot be read has nothing of ours that could be removed.
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let Some(name) = name.to_str().filter(|name| name.starts_with(prefix)) else {
                    continue;
                };
                let Some(owner) = Owner::of_name(name) else {
                    continue;
                };
                let dir = entry.path();
                let path = self.hierarchy.path_of(&dir).unwrap_or_else(|| dir.clone());
                let why = match owner.lives(self.owner, &self.proc) {
                    Some(true) => Some(WhyKept::OwnerLives),
                    None => Some(WhyKept::OwnerUnknown),
                    Some(false) => remove_if_empty(&dir)?,
                };
                match why {
                    Some(why) => found.kept.push(Kept { path, why }),
                    None => found.removed.push(path),
                }
            }
        }
        Ok(found)
    }

    fn create_in(&self, place: &Path, name: &str) -> Result<OwnGroup, OwnError> {
        let version = self.hierarchy.version;
        let enabled = version == Version::V2 && enable_cpu(place)?;
        let enabled_in = enabled.then(|| place.to_path_buf());
        let dir = place.join(name);
        let path = self.hierarchy.path_of(&dir).unwrap_or_else(|| dir.clone());
        if let Err(source) = fs::create_dir(&dir) {
            if enabled {
                write(&place.join("cgroup.subtree_control"), "-cpu")?;
            }
            return Err(match source.kind() {
                io::ErrorKind::AlreadyExists => OwnError::Exists { path: dir },
                _ => OwnError::Write {
                    path: dir,
                    value: "a directory".into(),
                    source,
                },
            });
        }
        // From here on the guard removes it.
        let group = OwnGroup::new(version, dir, path, enabled_in);
        if group.limit()?.is_none() {
            return Err(OwnError::NoQuota {
                place: place.into(),
            });
        }
        Ok(group)
    }
}

/// Gives the children of `place` the cpu controller; whether that was a change.
fn enable_cpu(place: &Path) -> Result<bool, OwnError> {
    let has_cpu = |name: &str| -> Result<bool, CgroupError> {
        let text = read_optional(place, name)?.unwrap_or_default();
        Ok(text.split_whitespace().any(|name| name == "cpu"))
    };
    if has_cpu("cgroup.subtree_control")? {
        return Ok(false);
    }
    if !has_cpu("cgroup.controllers")? {
        return Err(OwnError::NoCpu {
            place: place.into(),
        });
    }
    write(&place.join("cgroup.subtree_control"), "+cpu")?;
    Ok(true)
}

/// Removes a group if nothing is inside; otherwise says why not.
fn remove_if_empty(dir: &Path) -> Result<Option<WhyKept>, OwnError> {
    match fs::remove_dir(dir) {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => match source.raw_os_error() {
            Some(libc::EBUSY | libc::ENOTEMPTY) => Ok(Some(WhyKept::InUse)),
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => Ok(Some(WhyKept::Denied)),
            _ => Err(OwnError::Remove {
                path: dir.into(),
                source,
            }),
        },
    }
}
