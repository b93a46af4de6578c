//! Signals under a quota: a process with a busy thread runs in a group of gohang's, is
//! signalled again and again from outside the group, from inside or both, and is traced
//! through the kernel side that `trace` uses. `demo` and `bench` are made of it.
//!
//! And work that needs no signals: a [`Load`].

mod children;
mod error;
mod load;
mod os;
mod out_of_band;
mod part;
mod plan;
mod restarted;
mod shared;
mod stage;

use std::time::Duration;

pub use error::ExperimentError;
pub(crate) use load::{Done, Load, OVER, READY, Task};
pub(crate) use os::EndSignals;
pub(crate) use part::SEND_EVERY_NS;
pub use part::{Role, run_part};
pub use plan::{Method, Origin};
pub(crate) use plan::{Plan, Quota};
pub(crate) use restarted::{METHOD as RESTARTED_METHOD, Pairing};
pub use stage::CpuStat;
pub(crate) use stage::{Finished, Ran, Stage, undelivered};

/// Told how far an experiment is.
pub trait Progress {
    /// A run begins: which, and its length.
    fn begin(&mut self, name: &str, length: Duration);
    /// So far into the run.
    fn at(&mut self, elapsed: Duration);
}
