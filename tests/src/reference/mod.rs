//! The independent reference: a recorder of raw signal events that uses perf tracepoints (no
//! BPF), and a pairing of its own, written from the definitions alone.

pub mod format;
pub mod pair;
#[cfg(test)]
mod pair_tests;
pub mod perf;
pub mod record;
pub mod recorder;

pub use pair::{Directed, Episode, Outcome, Pairing};
pub use recorder::{Recorder, Recording};
