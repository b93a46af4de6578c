//! Cost of the kernel programs, from the kernel's own run-time statistics.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::ProbeError;

/// Keeps the statistics on; they go off with the last holder, also when a
/// process is killed.
#[derive(Debug)]
pub struct StatsGuard(#[expect(dead_code, reason = "held for its drop")] OwnedFd);

impl StatsGuard {
    /// Turns them on (`BPF_ENABLE_STATS`, 5.8 and later).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enable() -> Result<Self, ProbeError> {
        aya::sys::enable_stats(aya::sys::Stats::RunTime)
            .map(Self)
            .map_err(|error| ProbeError::Stats(error.to_string()))
    }
}

/// What a kernel program cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProgramCost {
    /// Name in the object.
    pub program: String,
    /// Times it ran.
    pub runs: u64,
    /// Nanoseconds in all.
    pub ns: u64,
}
