//! Without control groups: everything that descends from gohang, which is the parent of
//! its descendants' orphans too.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use super::super::evidence::PlaceKind;
use super::super::orphans;
use super::{Place, PlaceError};
use crate::process::{ProcRoot, signal_members};

/// Pause between two looks at whether everything has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// The descendants of this process.
#[derive(Debug)]
pub(in crate::run) struct Bare {
    proc: ProcRoot,
    /// The command's process, which its session waits for.
    command: Option<u32>,
    /// Children that this process had before: it was executed by a shell with jobs.
    foreign: HashSet<u32>,
}

impl Bare {
    /// Leaves alone what descends from this process now.
    pub fn new(proc: &ProcRoot) -> Self {
        Self {
            proc: proc.clone(),
            command: None,
            foreign: children(proc).into_iter().collect(),
        }
    }
}

/// The children of this process.
fn children(proc: &ProcRoot) -> Vec<u32> {
    let me = std::process::id();
    let all = proc.pids().unwrap_or_default();
    all.into_iter()
        .filter(|&pid| proc.stat(pid).is_ok_and(|stat| stat.ppid == me))
        .collect()
}

/// The descendants of `root`, ascending, without `foreign` ones and theirs; ended ones that
/// wait to be collected are left out.
fn descendants(proc: &ProcRoot, root: u32, foreign: &HashSet<u32>) -> Result<Vec<u32>, PlaceError> {
    let mut children: HashMap<u32, Vec<(u32, bool)>> = HashMap::new();
    for pid in proc.pids()? {
        if let Ok(stat) = proc.stat(pid) {
            children
                .entry(stat.ppid)
                .or_default()
                .push((pid, stat.is_zombie()));
        }
    }
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for &(pid, zombie) in children.get(&parent).into_iter().flatten() {
            // What is read while processes come and go may run in a circle.
            if !foreign.contains(&pid) && seen.insert(pid) {
                open.push(pid);
                if !zombie {
                    found.push(pid);
                }
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

impl Place for Bare {
    fn take_in(&mut self, pid: u32) -> Result<Vec<String>, PlaceError> {
        self.command = Some(pid);
        // It may be older than this place.
        self.foreign.remove(&pid);
        Ok(Vec::new())
    }

    fn processes(&self) -> Result<Vec<u32>, PlaceError> {
        orphans::collect(self.command).map_err(|source| PlaceError::System {
            what: "collect ended processes",
            source,
        })?;
        descendants(&self.proc, std::process::id(), &self.foreign)
    }

    fn is_group(&self) -> bool {
        false
    }

    fn kind(&self) -> PlaceKind {
        PlaceKind::Processes
    }

    fn lift_cpu_quota(&self) -> Result<bool, PlaceError> {
        Ok(false)
    }

    fn kill(&mut self, timeout: Duration) -> Result<(), PlaceError> {
        let end = Instant::now() + timeout;
        loop {
            let left = self.processes()?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(PlaceError::StillBusy(left));
            }
            // Again and again, because they may fork while they are being killed.
            let list = || self.processes().map_err(io::Error::other);
            signal_members(libc::SIGKILL, list).map_err(|source| PlaceError::System {
                what: "kill the command's processes",
                source,
            })?;
            std::thread::sleep(PAUSE);
        }
    }

    fn close(&mut self, _timeout: Duration) -> Result<(), PlaceError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn descendants_of_any_depth_but_not_the_ended() {
        let dir = tempfile::tempdir().unwrap();
        let zeros = "0 ".repeat(17);
        for (pid, state, ppid) in [
            (1, 'S', 0),
            (10, 'S', 1),
            (11, 'S', 10),
            (12, 'Z', 11),
            (13, 'R', 12),
            (20, 'S', 1),
            // A circle, as it can be read while numbers are given anew.
            (30, 'S', 31),
            (31, 'S', 30),
        ] {
            let folder = dir.path().join(pid.to_string());
            fs::create_dir(&folder).unwrap();
            let text = format!("{pid} (x) {state} {ppid} {zeros}1 0\n");
            fs::write(folder.join("stat"), text).unwrap();
        }
        let proc = ProcRoot::new(dir.path());
        let below = |root, foreign: &[u32]| {
            let foreign = foreign.iter().copied().collect();
            descendants(&proc, root, &foreign).unwrap()
        };
        assert_eq!(below(10, &[]), [11, 13]);
        assert_eq!(below(1, &[]), [10, 11, 13, 20]);
        assert_eq!(below(1, &[10]), [20]);
        assert_eq!(below(30, &[]), [31]);
        assert!(below(99, &[]).is_empty());
    }
}
