//! What keeps a run from beginning.

use std::ffi::OsString;
use std::io;

use super::place::PlaceError;
use crate::cgroup::CgroupError;
use crate::process::escape;

/// Exit code when gohang itself failed, as of timeout(1) and env(1).
pub const FAILED: i32 = 125;
/// Exit code when the program was found and could not be executed.
pub const NOT_EXECUTABLE: i32 = 126;
/// Exit code when the program was not found.
pub const NOT_FOUND: i32 = 127;

/// Why the command did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program could not be executed.
    #[error("cannot run {}: {source}", escape(program.as_encoded_bytes()))]
    Exec {
        /// The program, as it was given.
        program: OsString,
        /// The system's reason.
        source: io::Error,
    },
    /// The mounted hierarchies could not be read.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The place for it could not be made.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Tracing was asked for and is not possible.
    #[error(
        "cannot trace the command: {0}; without --trace always it runs all the same (`gohang \
         doctor` tells what tracing takes)"
    )]
    NotTraced(String),
    /// The kernel refused something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl RunError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }

    /// The exit code, as of timeout(1).
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Exec { source, .. } if source.kind() == io::ErrorKind::NotFound => NOT_FOUND,
            Self::Exec { .. } => NOT_EXECUTABLE,
            _ => FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_timeout() {
        let exec = |errno| RunError::Exec {
            program: "x\u{7}".into(),
            source: io::Error::from_raw_os_error(errno),
        };
        assert_eq!(exec(libc::ENOENT).exit_code(), 127);
        assert_eq!(exec(libc::EACCES).exit_code(), 126);
        assert_eq!(exec(libc::ENOEXEC).exit_code(), 126);
        assert!(exec(libc::ENOENT).to_string().contains("x\\x07"));
        let failed = RunError::system("block signals")(io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(failed.exit_code(), 125);
    }
}
