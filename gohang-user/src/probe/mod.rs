//! The only room that names aya: loads the kernel object, attaches its
//! programs, and reads and writes its maps.

mod attach;
mod error;
mod estimate;
mod filter;
mod hooks;
mod ladder;
mod load;
mod multi;
pub mod object;
mod offsets;
mod open;
mod queues;
mod quota;
mod read;
mod release;
mod self_test;
mod stats;
mod sys;
mod types;
mod uprobes;

pub use error::ProbeError;
pub use estimate::EstimateError;
pub use filter::Filter;
pub use hooks::{Hook, HookState};
pub use ladder::{Precision, StepState, ThrottleSource};
pub use load::{LoadOptions, Probe, RING_BYTES, RUN_QUEUES};
pub use offsets::kernel_offsets;
pub use queues::Sweeps;
pub use read::{Counters, OwnerSummary, Pending, Snapshot};
pub use stats::{ProgramCost, StatsGuard};
