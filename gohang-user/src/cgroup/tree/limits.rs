//! Setting the limits of a run's groups.

use std::path::Path;

use super::super::error::read_optional;
use super::super::layout::Version;
use super::super::own::OwnError;
use super::super::own_group::write;
use super::super::quota;
use super::{Branch, Controller, OwnTree};

/// Shares that version 1 gives a group by default; they stand for a weight of 100.
const V1_DEFAULT_SHARES: u64 = 1024;
/// What version 1 accepts as shares (`MIN_SHARES`, `MAX_SHARES` in kernel/sched/sched.h).
const V1_SHARES: (u64, u64) = (2, 262_144);

/// A group's weight against others when CPU time is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// 1 to 10000; a new group has 100.
    Share(u64),
    /// Only what nobody else wants.
    Idle,
}

impl OwnTree {
    /// Limits CPU time; see [`OwnGroup::set_quota`](super::super::OwnGroup::set_quota).
    ///
    /// # Errors
    /// [`OwnError::Lacking`] without the controller; as `OwnGroup::set_quota`.
    pub fn set_cpu_quota(&self, quota_ns: Option<u64>, period_ns: u64) -> Result<(), OwnError> {
        let branch = self.require(Controller::Cpu)?;
        quota::set_quota(branch.hierarchy.version, &branch.dir, quota_ns, period_ns)
    }

    /// Sets the weight.
    ///
    /// # Errors
    /// [`OwnError::Lacking`] without the controller; [`OwnError::Write`].
    pub fn set_cpu_weight(&self, weight: Weight) -> Result<(), OwnError> {
        let branch = self.require(Controller::Cpu)?;
        match (weight, branch.hierarchy.version) {
            (Weight::Idle, _) => set(branch, "cpu.idle", "1"),
            (Weight::Share(weight), Version::V2) => set(branch, "cpu.weight", &weight.to_string()),
            (Weight::Share(weight), Version::V1) => {
                let shares = weight.saturating_mul(V1_DEFAULT_SHARES) / 100;
                let shares = shares.clamp(V1_SHARES.0, V1_SHARES.1);
                set(branch, "cpu.shares", &shares.to_string())
            }
        }
    }

    /// Restricts the CPUs to a list as `0-3,7`.
    ///
    /// # Errors
    /// [`OwnError::Lacking`] without the controller; [`OwnError::Write`].
    pub fn set_cpus(&self, list: &str) -> Result<(), OwnError> {
        set(self.require(Controller::Cpuset)?, "cpuset.cpus", list)
    }

    /// Limits memory, in bytes.
    ///
    /// # Errors
    /// [`OwnError::Lacking`] without the controller; [`OwnError::Write`].
    pub fn set_memory_max(&self, bytes: u64) -> Result<(), OwnError> {
        let branch = self.require(Controller::Memory)?;
        let file = match branch.hierarchy.version {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        };
        set(branch, file, &bytes.to_string())
    }

    /// Limits the number of tasks, that is processes and threads.
    ///
    /// # Errors
    /// [`OwnError::Lacking`] without the controller; [`OwnError::Write`].
    pub fn set_tasks_max(&self, tasks: u64) -> Result<(), OwnError> {
        set(
            self.require(Controller::Pids)?,
            "pids.max",
            &tasks.to_string(),
        )
    }

    /// A new version 1 group of the cpuset hierarchy takes nobody in until it has CPUs and
    /// memory nodes: those of the group above.
    pub(super) fn fill_cpuset(&self) -> Result<(), OwnError> {
        let fresh = self.branches.last().filter(|branch| {
            let named = |name: &String| name == "cpuset";
            branch.hierarchy.version == Version::V1
                && branch.hierarchy.controllers.iter().any(named)
        });
        let Some((branch, above)) = fresh.and_then(|b| Some((b, b.dir.parent()?))) else {
            return Ok(());
        };
        for name in ["cpuset.cpus", "cpuset.mems"] {
            if let Some(text) = read_optional(above, name)? {
                set(branch, name, text.trim())?;
            }
        }
        Ok(())
    }

    fn require(&self, controller: Controller) -> Result<&Branch, OwnError> {
        self.branch(controller).ok_or_else(|| {
            let missing = self
                .missing
                .iter()
                .find(|lack| lack.controller == controller);
            OwnError::Lacking {
                controller: controller.name(),
                why: missing.map_or_else(|| "it was not asked for".into(), |lack| lack.why.clone()),
            }
        })
    }
}

fn set(branch: &Branch, file: &str, value: &str) -> Result<(), OwnError> {
    let path: &Path = &branch.dir;
    write(&path.join(file), value)
}
