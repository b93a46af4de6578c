//! How a run ended, and the exit code that tells it.

use super::child::Change;

/// Exit code of a run that hung and was ended, as of timeout(1).
pub const HUNG: i32 = 124;
/// Exit code of a run that hung and had to be killed.
pub const HUNG_AND_KILLED: i32 = 137;
/// What a signal's number is added to.
const SIGNALLED: i32 = 128;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The command's own end; `None` if that is not known.
    pub command: Option<Ended>,
    /// It hung and was ended; whether SIGKILL was needed.
    pub hung: Option<bool>,
}

/// How the command's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
}

impl Ended {
    /// `None`: it has not ended.
    pub(super) fn of(change: Change) -> Option<Self> {
        match change {
            Change::Exited(code) => Some(Self::Exited(code)),
            Change::Killed(signal) => Some(Self::Killed(signal)),
            Change::Stopped(_) => None,
        }
    }

    /// Its exit code, as a shell has it.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => SIGNALLED + signal,
        }
    }
}

impl Outcome {
    /// The exit code; the command's own in any case if `preserve_status`.
    #[must_use]
    pub fn exit_code(self, preserve_status: bool) -> i32 {
        match (self.hung, self.command) {
            (None, Some(ended)) => ended.code(),
            (Some(_), Some(ended)) if preserve_status => ended.code(),
            (Some(true), _) => HUNG_AND_KILLED,
            (Some(false), _) => HUNG,
            (None, None) => super::error::FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let exited = Some(Ended::Exited(7));
        let killed = Some(Ended::Killed(libc::SIGTERM));
        for (command, hung, preserve, want) in [
            (exited, None, false, 7),
            (killed, None, false, 143),
            (exited, Some(false), false, 124),
            (exited, Some(false), true, 7),
            (Some(Ended::Killed(libc::SIGKILL)), Some(true), false, 137),
            (killed, Some(false), true, 143),
            (None, Some(true), true, 137),
            (None, None, false, 125),
        ] {
            let got = Outcome { command, hung }.exit_code(preserve);
            assert_eq!(got, want, "{command:?} {hung:?} {preserve}");
        }
        assert_eq!(Ended::of(Change::Stopped(19)), None);
    }
}
