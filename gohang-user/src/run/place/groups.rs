//! Control groups that gohang makes itself, on version 1, 2 or both.

use std::time::Duration;

use super::super::evidence::PlaceKind;
use super::super::limits::Limits;
use super::{LABEL, Place, PlaceError, Wanted};
use crate::cgroup::{CgroupLayout, Controller, OwnError, OwnTree};
use crate::process::ProcRoot;

/// What every run is measured with.
const MEASURED: [Controller; 4] = [
    Controller::Cpu,
    Controller::Cpuacct,
    Controller::Memory,
    Controller::Pids,
];

/// The groups of a run.
#[derive(Debug)]
pub(in crate::run) struct Groups {
    tree: OwnTree,
}

impl Groups {
    /// Makes them and sets the limits; tells of those that could not be set because the
    /// controller is not at hand.
    pub fn make(
        wanted: &Wanted,
        proc: &ProcRoot,
        layout: &CgroupLayout,
    ) -> Result<(Self, Vec<String>), PlaceError> {
        let mut controllers = MEASURED.to_vec();
        if wanted.limits.allowed_cpus.is_some() {
            controllers.push(Controller::Cpuset);
        }
        let tree = match &wanted.inside {
            Some(path) => OwnTree::create_inside(layout, proc, LABEL, &controllers, path)?,
            None => OwnTree::create(layout, proc, LABEL, &controllers)?,
        };
        for branch in tree.branches() {
            log::info!("the command's group: {}", branch.dir.display());
        }
        let lost = set(&tree, &wanted.limits)?;
        Ok((Self { tree }, lost))
    }
}

/// Sets the limits; a controller that is not at hand is a loss, a value that the kernel
/// does not take an error.
fn set(tree: &OwnTree, limits: &Limits) -> Result<Vec<String>, PlaceError> {
    let quota = limits
        .quota_and_period()
        .map(|(quota, period)| tree.set_cpu_quota(Some(quota), period));
    let weight = limits.cpu_weight.map(|weight| tree.set_cpu_weight(weight));
    let cpus = limits.allowed_cpus.as_deref();
    let done = [
        ("--cpu-quota", quota),
        ("--cpu-weight", weight),
        ("--allowed-cpus", cpus.map(|cpus| tree.set_cpus(cpus))),
        (
            "--memory-max",
            limits.memory_max.map(|bytes| tree.set_memory_max(bytes)),
        ),
        (
            "--tasks-max",
            limits.tasks_max.map(|tasks| tree.set_tasks_max(tasks)),
        ),
    ];
    let mut lost = Vec::new();
    for (name, outcome) in done {
        match outcome {
            None | Some(Ok(())) => {}
            Some(Err(error @ OwnError::Lacking { .. })) => {
                lost.push(format!("{name} has no effect: {error}"));
            }
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(lost)
}

impl Place for Groups {
    fn take_in(&mut self, pid: u32) -> Result<Vec<String>, PlaceError> {
        self.tree.adopt(pid)?;
        Ok(Vec::new())
    }

    fn processes(&self) -> Result<Vec<u32>, PlaceError> {
        Ok(self.tree.processes()?)
    }

    fn is_group(&self) -> bool {
        true
    }

    fn kind(&self) -> PlaceKind {
        PlaceKind::Groups
    }

    fn lift_cpu_quota(&self) -> Result<bool, PlaceError> {
        Ok(self.tree.lift_cpu_quota()?)
    }

    fn kill(&mut self, timeout: Duration) -> Result<(), PlaceError> {
        Ok(self.tree.kill(timeout)?)
    }

    fn close(&mut self, timeout: Duration) -> Result<(), PlaceError> {
        Ok(self.tree.remove(timeout)?)
    }
}
