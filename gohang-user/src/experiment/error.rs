//! What can go wrong in an experiment.

use std::io;
use std::process::ExitStatus;

use crate::cgroup::{CgroupError, OwnError};
use crate::privilege::{Missing, PrivilegeError};
use crate::probe::ProbeError;
use crate::process::ProcError;
use crate::source::SourceError;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// Capabilities are missing.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// Capabilities could not be told or changed.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// The kernel side could not be loaded, attached or read.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// What was traced could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The groups of this machine could not be read.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// No group with a CPU quota could be made.
    #[error("a group with a CPU quota is needed: {0}")]
    Group(#[from] OwnError),
    /// `/proc` could not be read.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// A system call failed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A process of the experiment ended although nobody had ended it.
    #[error(
        "the {role} process of the experiment ended on its own ({status}); it may have been killed"
    )]
    Ended {
        /// Which.
        role: &'static str,
        /// How.
        status: ExitStatus,
    },
    /// A process of the experiment does not do its part.
    #[error(
        "the processes of the experiment were not ready within {seconds} s: is this machine, or \
         a group above, so short of CPU time?"
    )]
    NotReady {
        /// How long was waited.
        seconds: u64,
    },
    /// A program that is experimented with cannot be built, or does not do its part.
    #[error("{what}")]
    Workload {
        /// What is wrong.
        what: String,
    },
    /// The report lacks a process that was followed.
    #[error("the signalled process is not in the report: please report this as a bug of gohang's")]
    NotReported,
    /// Ended by a signal.
    #[error(
        "interrupted: the processes of the experiment and their group are gone, there is nothing \
         to show"
    )]
    Interrupted,
}

impl ExperimentError {
    /// Whether this kernel or these privileges cannot do it at all.
    #[must_use]
    pub fn is_unable(&self) -> bool {
        match self {
            Self::Missing(_)
            | Self::Privilege(_)
            | Self::Probe(_)
            | Self::Source(_)
            | Self::Cgroup(_)
            | Self::Group(_) => true,
            Self::Proc(_)
            | Self::System { .. }
            | Self::Ended { .. }
            | Self::NotReady { .. }
            | Self::Workload { .. }
            | Self::NotReported
            | Self::Interrupted => false,
        }
    }
}
