//! What can go wrong when `/proc` is read.

use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be read from `/proc`.
#[derive(Debug, thiserror::Error)]
pub enum ProcError {
    /// The process or thread ended, before or while it was read.
    #[error("process or thread {pid} does not exist (any more)")]
    Gone {
        /// The process or thread id that was asked for.
        pid: u32,
    },
    /// The kernel refused the reading.
    #[error(
        "cannot read {}: permission denied; run gohang as root or with CAP_SYS_PTRACE",
        path.display()
    )]
    Denied {
        /// The file that was refused.
        path: PathBuf,
    },
    /// Any other failure of the reading itself.
    #[error("cannot read {}: {source}; is a /proc file system mounted there?", path.display())]
    Read {
        /// The file that was being read.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not what the kernel documents.
    #[error("{} is not in the form the kernel documents: {what}", path.display())]
    Malformed {
        /// The file that was read.
        path: PathBuf,
        /// What is missing or wrong in it.
        what: String,
    },
}

impl ProcError {
    /// Sorts a failed system call on `path`, which belongs to the machine as a whole.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Self::Denied { path: path.into() },
            _ => Self::Read {
                path: path.into(),
                source,
            },
        }
    }

    /// Whether the process or thread has simply ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}
