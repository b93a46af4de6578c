//! The Go programs among the command's processes that do the work: a test's binary, not the
//! `go` that waits for it.

use std::collections::HashMap;

use crate::golang::Inspector;
use crate::process::{ProcRoot, Status};

/// SIGQUIT is caught by every Go program, unless it does not want to.
const SIGQUIT: u32 = libc::SIGQUIT as u32;

/// Those of `pids` that are Go programs without a Go program below them.
pub(super) fn find(proc: &ProcRoot, inspector: &Inspector, pids: &[u32]) -> Vec<u32> {
    let is_go = |pid: u32| {
        inspector
            .inspect_exe(pid)
            .is_ok_and(|found| found.is_some())
    };
    let parents = pids
        .iter()
        .filter_map(|&pid| Some((pid, proc.stat(pid).ok()?.ppid)));
    leaves(&parents.collect(), is_go)
}

/// Of the processes with their parents.
fn leaves(parents: &HashMap<u32, u32>, is_go: impl Fn(u32) -> bool) -> Vec<u32> {
    let go: Vec<u32> = parents.keys().copied().filter(|&pid| is_go(pid)).collect();
    let mut above: Vec<u32> = Vec::new();
    for pid in &go {
        let mut at = *pid;
        // Numbers that are given anew while they are read may run in a circle.
        for _ in 0..parents.len() {
            let Some(&parent) = parents.get(&at) else {
                break;
            };
            above.push(parent);
            at = parent;
        }
    }
    let mut found: Vec<u32> = go.into_iter().filter(|pid| !above.contains(pid)).collect();
    found.sort_unstable();
    found
}

/// Whether it would print its goroutines at SIGQUIT; `None` when it has ended.
pub(super) fn answers(proc: &ProcRoot, pid: u32) -> Option<bool> {
    proc.status(pid).ok().as_ref().map(would_answer)
}

/// Whether a process in this state would.
pub(super) fn would_answer(status: &Status) -> bool {
    status.sig_caught.contains(SIGQUIT)
        && !status.sig_ignored.contains(SIGQUIT)
        && !status.sig_blocked.contains(SIGQUIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_without_go_below_it() {
        // sh (1) - go (2) - two tests (3, 4), of which one has a server (5); cat (6).
        let parents = HashMap::from([(1, 0), (2, 1), (3, 2), (4, 2), (5, 4), (6, 1)]);
        let among = |go: &[u32]| leaves(&parents, |pid| go.contains(&pid));
        assert_eq!(among(&[2, 3, 4]), [3, 4]);
        assert_eq!(among(&[2, 3, 4, 5]), [3, 5]);
        assert_eq!(among(&[2]), [2]);
        assert_eq!(among(&[2, 5]), [5]);
        assert!(among(&[]).is_empty());
        let circle = HashMap::from([(7, 8), (8, 7)]);
        assert!(leaves(&circle, |_| true).is_empty());
    }

    #[test]
    fn this_process_is_no_go_program() {
        let proc = ProcRoot::default();
        let inspector = Inspector::new(proc.clone());
        assert!(find(&proc, &inspector, &[std::process::id()]).is_empty());
        assert_eq!(answers(&proc, std::process::id()), Some(false));
        assert_eq!(answers(&proc, u32::MAX), None);
    }
}
