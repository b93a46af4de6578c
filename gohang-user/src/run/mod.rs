//! `gohang run`: a command in groups of its own, watched, and ended with all it started.
//!
//! The command inherits standard input, output and error as they are, and everything else
//! that a program gets at its start. Where gohang has a controlling terminal, the command
//! stays in its process group, so that the shell's job control and the terminal's keys
//! reach it as if it had been started bare: gohang stops when it stops, and does not send it
//! again what the terminal has sent to both. Elsewhere it has a process group of its own, so
//! that a signal to gohang's group reaches it once, through gohang.

mod child;
mod error;
mod inherited;
mod limits;
mod orphans;
mod outcome;
mod place;
mod remains;
mod say;
mod session;
mod signals;

use std::ffi::OsString;

pub use error::{FAILED, RunError};
pub use limits::{Limits, Machine, cpu_list, cpu_quota, memory, period, tasks, weight};
pub use outcome::{Ended, HUNG, HUNG_AND_KILLED, Outcome};
pub use place::{LABEL, PlaceError, Wanted};
pub use session::{run, told};

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program, looked for along `PATH`, and its arguments.
    pub command: Vec<OsString>,
    /// Where.
    pub place: Wanted,
}
