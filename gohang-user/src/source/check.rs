//! Whether given processes can be traced as asked.

use super::select::Selection;
use crate::golang::{InspectError, Inspector};
use crate::process::{ProcError, ProcRoot};

/// A process id that cannot be traced as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No such process.
    #[error("there is no process {0}")]
    Unknown(u32),
    /// A thread's id.
    #[error("{tid} is a thread of process {pid}; give the process's id")]
    Thread {
        /// Given.
        tid: u32,
        /// Its process.
        pid: u32,
    },
    /// Not Go.
    #[error("process {pid} ({comm}) is not a Go program; use --non-go to trace it all the same")]
    NotGo {
        /// Given.
        pid: u32,
        /// Its name, escaped.
        comm: String,
    },
    /// Its program may not be read.
    #[error("cannot tell whether process {pid} is a Go program: {reason}")]
    Denied {
        /// Given.
        pid: u32,
        /// What the kernel refused, and what would allow it.
        reason: String,
    },
    /// Its program makes no sense.
    #[error("{reason}; use --non-go to trace process {pid} all the same")]
    Unreadable {
        /// Given.
        pid: u32,
        /// Why.
        reason: String,
    },
}

impl SelectError {
    fn of_proc(pid: u32, error: &ProcError) -> Self {
        let reason = error.to_string();
        match error {
            ProcError::Gone { .. } => Self::Unknown(pid),
            ProcError::Denied { .. } => Self::Denied { pid, reason },
            ProcError::Read { .. } | ProcError::Malformed { .. } => {
                Self::Unreadable { pid, reason }
            }
        }
    }
}

/// Checks process ids before anything is attached.
///
/// # Errors
/// The first id that cannot be traced as asked.
pub fn check_pids(proc: &ProcRoot, selection: &Selection) -> Result<(), SelectError> {
    let inspector = Inspector::new(proc.clone());
    for &pid in &selection.pids {
        let tgid = proc
            .tgid(pid)
            .map_err(|error| SelectError::of_proc(pid, &error))?;
        if tgid != pid {
            return Err(SelectError::Thread {
                tid: pid,
                pid: tgid,
            });
        }
        if selection.non_go {
            continue;
        }
        match inspector.inspect(pid) {
            Ok(Some(_)) => {}
            Ok(None) => {
                let comm = proc.comm(pid).unwrap_or_default();
                return Err(SelectError::NotGo {
                    pid,
                    comm: crate::process::escape(comm),
                });
            }
            Err(InspectError::Proc(error)) => return Err(SelectError::of_proc(pid, &error)),
            Err(error @ InspectError::File { .. }) => {
                return Err(SelectError::Unreadable {
                    pid,
                    reason: error.to_string(),
                });
            }
        }
    }
    Ok(())
}
