//! Probes in the Go programs of traced processes.

use std::path::Path;
use std::sync::Arc;

use super::Live;
use crate::golang::{FileKey, ProbePoints};
use crate::probe::ProbeError;

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
        let programs = self.programs.clone();
        programs.into_iter().try_for_each(|pid| self.probe_go(pid))
    }

    /// Probes the functions of a process's Go program, if they can be.
    pub(super) fn probe_go(&mut self, pid: u32) -> Result<(), ProbeError> {
        if !self.probes || !self.probe.probes_go() {
            return Ok(());
        }
        let path = self.proc.pid_dir(pid).join("exe");
        let Ok(meta) = std::fs::metadata(&path) else {
            return Ok(());
        };
        let key = FileKey::of(&meta);
        let points = match self.points.get(&key) {
            Some(points) => points.clone(),
            None => self.read_points(pid, key, &path),
        };
        let Some(points) = points else { return Ok(()) };
        let auxv = self.proc.read_pid_file(pid, "auxv").unwrap_or_default();
        let Some(runtime) = points.runtime(&auxv) else {
            return Ok(());
        };
        self.probe.probe_go(pid, key, &path, &points, &runtime)
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
