//! `gohang run`: a command in groups of its own, watched, and ended with all it started.
//!
//! The command inherits everything that a program gets at its start, its standard streams
//! too (but for pipes, see `output`). Where gohang has a controlling terminal, the command
//! stays in its process group, so that the shell's job control and the terminal's keys
//! reach it as if it had been started bare: gohang stops when it stops, and does not send it
//! again what the terminal has sent to both. Elsewhere it has a process group of its own, so
//! that a signal to gohang's group reaches it once, through gohang.

mod breaker;
mod child;
mod clash;
mod collect;
mod error;
pub mod evidence;
pub mod explain;
mod fetch;
mod goroutines;
mod inherited;
pub mod keep;
mod keeper;
mod ladder;
mod leaves;
mod limits;
mod on_hang;
mod orphans;
mod outcome;
mod output;
mod place;
mod remains;
mod say;
mod session;
mod signals;
mod tracer;
mod watch;

use std::ffi::OsString;
use std::time::Duration;

pub use breaker::Breaker;
pub(crate) use clash::{TestLimit, ci_job_limit, go_test_limit};
pub use error::{FAILED, RunError};
pub use keeper::{Judged, Keeper, NoKeeper};
pub use limits::{Limits, Machine, cpu_list, cpu_quota, memory, period, tasks, weight};
pub use outcome::{Ended, HUNG, HUNG_AND_KILLED, Outcome};
pub(crate) use place::Manager;
pub use place::{LABEL, LeftScope, ManagerError, PlaceError, Wanted, clear_scopes};
pub use say::PatientStderr;
pub use session::{run, told};
pub use tracer::Tracing;
pub use watch::{Cause, Reason, Verdict};

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program, looked for along `PATH`, and its arguments.
    pub command: Vec<OsString>,
    /// Where.
    pub place: Wanted,
    /// When it counts as hung.
    pub breaker: Breaker,
    /// The CI job's own limit, if that is known.
    pub job_limit: Option<Duration>,
    /// Look at what it prints.
    pub observe: bool,
    /// Trace the preemption signals of its Go programs.
    pub tracing: Tracing,
    /// When it hangs, ask what listens among its Go programs for goroutines.
    pub fetch: bool,
    /// What else these are asked for.
    pub fetch_paths: Vec<String>,
    /// Run when it has hung, by the shell.
    pub on_hang: Option<OsString>,
    /// How long that may take.
    pub on_hang_time: Duration,
}
