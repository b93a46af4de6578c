//! What can go wrong with privileges and the questions about them.

use std::io;

use caps::errors::CapsError;
use thiserror::Error;

/// Why a question about privileges or a change of them failed.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// Other threads would have kept what this one gives up.
    #[error(
        "capabilities can only be dropped while the process has one thread, and it has \
         {threads}: do it before any runtime or helper thread starts"
    )]
    Threads {
        /// Threads there are.
        threads: u64,
    },
    /// A file of the kernel's could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of the kernel's does not have what it always has.
    #[error("{path} has no usable {what}: {found:?}")]
    Unexpected {
        /// The file.
        path: &'static str,
        /// What was looked for.
        what: &'static str,
        /// Its contents, or what of them matters.
        found: String,
    },
    /// The kernel refused to tell or change capabilities.
    #[error("cannot {action}: {source}")]
    Capabilities {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: CapsError,
    },
    /// A system call failed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}
