//! What can go wrong when groups are read.

use std::io;
use std::path::{Path, PathBuf};

use crate::process::ProcError;

/// Why something about a group could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// `/proc` could not be read, or the process has ended.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// The kernel has no cpu controller, so that there are no quotas.
    #[error(
        "this kernel has no cpu controller, so that no process has a CPU quota or runs out of one: {}",
        if *disabled {
            "it is turned off; remove cgroup_disable=cpu from the kernel's command line and boot \
             again"
        } else {
            "it needs a kernel built with CONFIG_CGROUP_SCHED and CONFIG_CFS_BANDWIDTH"
        }
    )]
    NoCpuController {
        /// It is built in and turned off.
        disabled: bool,
    },
    /// Nothing to read limits from.
    #[error(
        "no cgroup file system with the cpu controller is mounted; mount cgroup2 at /sys/fs/cgroup"
    )]
    NotMounted,
    /// The cpu controller is in use by version 1, but not visible here.
    #[error(
        "the cpu controller belongs to a version 1 hierarchy that is not mounted here; \
         mount it with: mount -t cgroup -o {controllers} none /mnt"
    )]
    CpuNotMounted {
        /// The controllers of that hierarchy, as the mount options name them.
        controllers: String,
    },
    /// The group lies above or beside what the mount shows.
    #[error(
        "the group {} is not below {}, the part of the hierarchy mounted at {}; \
         run gohang in the host's cgroup namespace",
        path.display(), root.display(), mount_point.display()
    )]
    OutsideMount {
        /// The group.
        path: PathBuf,
        /// The part of the hierarchy that is mounted.
        root: PathBuf,
        /// Where it is mounted.
        mount_point: PathBuf,
    },
    /// The group was removed.
    #[error("the group {} does not exist (any more)", dir.display())]
    Gone {
        /// Its directory.
        dir: PathBuf,
    },
    /// Any other failure of the reading itself.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not what the kernel documents.
    #[error("{} is not in the form the kernel documents: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong in it.
        what: String,
    },
}

impl CgroupError {
    /// Whether the group or process has simply ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Gone { .. } => true,
            Self::Proc(error) => error.is_gone(),
            _ => false,
        }
    }

    /// Sorts a failure on a file of the group in `dir`.
    pub(super) fn from_io(dir: &Path, path: &Path, source: io::Error) -> Self {
        // ENODEV is how kernfs says that the group went while its file was open.
        let removed = source.kind() == io::ErrorKind::NotFound && !dir.exists();
        if removed || source.raw_os_error() == Some(libc::ENODEV) {
            return Self::Gone { dir: dir.into() };
        }
        Self::Read {
            path: path.into(),
            source,
        }
    }
}

/// The text of `name` in the group's directory; `None` when the group has no such file.
pub(super) fn read_optional(dir: &Path, name: &str) -> Result<Option<String>, CgroupError> {
    let path = dir.join(name);
    match std::fs::read(&path) {
        Ok(raw) => Ok(Some(String::from_utf8_lossy(&raw).into_owned())),
        Err(source) => match CgroupError::from_io(dir, &path, source) {
            CgroupError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            error => Err(error),
        },
    }
}
