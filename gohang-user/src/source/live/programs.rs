//! Probes in the Go programs of traced processes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::super::facts::monotonic_ns;
use super::{Item, Live};
use crate::event::{Process, ProcessEvent, ProcessId};
use crate::golang::{FileKey, FoundGo, PreemptionOff, ProbePoints, preemption_off};
use crate::probe::{ProbeError, Snapshot};

/// Most programs whose probe points are remembered.
const MAX_POINTS: usize = 1024;

impl Live {
    /// Probes Go programs from now on, those that run already and those that start.
    ///
    /// # Errors
    /// A map cannot be written.
    pub fn probe_programs(&mut self) -> Result<(), ProbeError> {
        if self.probes {
            return Ok(());
        }
        self.probes = true;
        for pid in self.programs.clone() {
            let probed_since_ns = self.probe_go(pid)?;
            let Ok(go) = self.inspector.inspect(pid) else {
                continue; // It has ended: its record is under way.
            };
            let mut facts = self.facts(pid, None, go.as_ref(), false);
            facts.probed_since_ns = probed_since_ns;
            self.found.push(Item::Found(Box::new(facts)));
        }
        Ok(())
    }

    /// Probes the functions of a process's Go program, if they can be. Returns since when
    /// they are.
    pub(super) fn probe_go(&mut self, pid: u32) -> Result<Option<u64>, ProbeError> {
        if !self.probes || !self.probe.probes_go() {
            return Ok(None);
        }
        let path = self.proc.pid_dir(pid).join("exe");
        let Ok(meta) = std::fs::metadata(&path) else {
            return Ok(None);
        };
        let key = FileKey::of(&meta);
        let points = match self.points.get(&key) {
            Some(points) => points.clone(),
            None => self.read_points(pid, key, &path),
        };
        let Some(points) = points else {
            return Ok(None);
        };
        let auxv = self.proc.read_pid_file(pid, "auxv").unwrap_or_default();
        let Some(runtime) = points.runtime(&auxv) else {
            return Ok(None);
        };
        let is_probed = self.probe.probe_go(pid, key, &path, &points, &runtime)?;
        Ok(is_probed.then(monotonic_ns))
    }

    /// What turns the process's asynchronous preemption off.
    pub(super) fn preemption_off(
        &self,
        pid: u32,
        record: Option<&Process>,
        go: &FoundGo,
    ) -> Option<PreemptionOff> {
        // A child that has not executed a program yet has its parent's
        // environment, which says nothing of what it will run.
        if record.is_some_and(|record| record.event == ProcessEvent::Fork) {
            return None;
        }
        let environ = self
            .proc
            .read_pid_file(pid, "environ")
            .unwrap_or_else(|error| {
                if !error.is_gone() {
                    log::info!("process {pid}: {error}");
                }
                Vec::new()
            });
        let build = &go.program.build;
        preemption_off(&build.version, &build.info, &environ)
    }

    /// What is kept of the Go functions of some processes.
    pub(super) fn add_go(
        &mut self,
        to: &mut Snapshot,
        processes: &BTreeSet<ProcessId>,
    ) -> Result<(), ProbeError> {
        to.hits = self.probe.hits_of(processes.iter().copied())?;
        to.open = self.probe.open_of(processes)?;
        Ok(())
    }

    fn read_points(&mut self, pid: u32, key: FileKey, path: &Path) -> Option<Arc<ProbePoints>> {
        let points = match ProbePoints::read(path) {
            Ok(points) => Some(Arc::new(points)),
            Err(error) => {
                log::info!("process {pid}: its Go functions are not probed: {error}");
                None
            }
        };
        if self.points.len() >= MAX_POINTS {
            self.points.clear();
        }
        self.points.insert(key, points.clone());
        points
    }
}
