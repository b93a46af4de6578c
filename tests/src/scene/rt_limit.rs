//! The machine's limit on real-time threads.

use anyhow::{Context, Result};

use crate::sys;

/// How much of each period (a second by default) real-time threads may have of a CPU, us.
const FILE: &str = "/proc/sys/kernel/sched_rt_runtime_us";

/// From here on this is only asked when deadlines are admitted: others get their share from a
/// deadline server (kernel/sched/rt.c, `CONFIG_RT_GROUP_SCHED`).
const ENDS: (u32, u32) = (6, 12);

/// A lower limit, until it is dropped.
pub struct RtLimit {
    before: String,
}

impl RtLimit {
    /// Sets it; none where the kernel holds nobody to it.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn set(runtime_us: u64) -> Result<Option<Self>> {
        if sys::kernel_version()? >= ENDS {
            return Ok(None);
        }
        let before =
            std::fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}"))?;
        let limit = Self { before };
        std::fs::write(FILE, runtime_us.to_string())
            .with_context(|| format!("cannot write {FILE}"))?;
        Ok(Some(limit))
    }
}

impl Drop for RtLimit {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(FILE, self.before.trim()) {
            eprintln!("cannot write {:?} to {FILE}: {error}", self.before.trim());
        }
    }
}
