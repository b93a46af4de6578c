//! Whether SIGURG can arrive at all in a process that runs already: the runtime sends a
//! thread no second one while the first has not arrived, so one that was lost or held back
//! before the trace leaves nothing to be seen in it.

use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::{ProcError, ProcRoot, Status};

/// Between two looks at a suspected thread. The kernel brings a thread's CPU time up to date
/// at its timer's tick, which is at least 100 a second.
const GAP: Duration = Duration::from_millis(25);
/// Most second looks at a suspected thread.
const SECOND_LOOKS: usize = 3;
/// CPU time between two looks that show that the thread runs with its mask: the runtime
/// itself blocks all signals for some microseconds where it makes and ends threads, and in its
/// handlers, but a throttled thread may stay there for long.
const RUN_NS: u64 = 1_000_000;
/// Threads that are looked at in all, at some 20 µs each.
pub(super) const BUDGET: usize = 4096;

/// What keeps SIGURG from a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalFacts {
    /// Why the kernel drops it, if it does.
    pub dropped: Option<Dropped>,
    /// Threads that run with it blocked and pending.
    pub masked_tids: Vec<u32>,
}

/// Why the kernel drops a SIGURG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// The process ignores it (`SIG_IGN`).
    Ignored,
    /// It has no handler (`SIG_DFL`), and to do nothing is the default for SIGURG.
    NoHandler,
}

/// Looks at a Go process that runs already, at no more threads than `budget`, which is
/// diminished. What has ended meanwhile says nothing.
pub(super) fn look(proc: &ProcRoot, pid: u32, budget: &mut usize) -> SignalFacts {
    look_every(proc, pid, budget, GAP)
}

fn look_every(proc: &ProcRoot, pid: u32, budget: &mut usize, gap: Duration) -> SignalFacts {
    let mut facts = SignalFacts::default();
    let Some(status) = said(pid, proc.status(pid)) else {
        return facts;
    };
    // The runtime's second thread starts after it has set its handlers; before, the process
    // has what it inherited.
    if status.threads < 2 {
        return facts;
    }
    facts.dropped = if status.sig_ignored.has_sigurg() {
        Some(Dropped::Ignored)
    } else if status.sig_caught.has_sigurg() {
        None
    } else {
        Some(Dropped::NoHandler)
    };
    let threads = said(pid, proc.threads(pid)).unwrap_or_default();
    if threads.len() > *budget {
        log::info!("process {pid}: too many threads to look at their signal masks");
    }
    let looked = threads.len().min(*budget);
    *budget -= looked;
    // The first thread's is the process's.
    let at_first = |tid: u32| {
        if tid == pid {
            pends_blocked(&status)
        } else {
            holds_back(proc, pid, tid)
        }
    };
    let mut suspects: Vec<(u32, u64)> = threads[..looked]
        .iter()
        .filter(|tid| at_first(**tid))
        .filter_map(|tid| Some((*tid, run_ns(proc, pid, *tid)?)))
        .collect();
    for _ in 0..SECOND_LOOKS {
        if suspects.is_empty() {
            break;
        }
        thread::sleep(gap);
        suspects.retain(|(tid, _)| holds_back(proc, pid, *tid));
        suspects.retain(|(tid, before_ns)| {
            let ran = run_ns(proc, pid, *tid).is_some_and(|now| now >= before_ns + RUN_NS);
            if ran {
                facts.masked_tids.push(*tid);
            }
            !ran
        });
    }
    facts.masked_tids.sort_unstable();
    facts
}

/// Whether a thread has SIGURG blocked and pending now.
fn holds_back(proc: &ProcRoot, pid: u32, tid: u32) -> bool {
    said(pid, proc.thread_status(pid, tid)).is_some_and(|status| pends_blocked(&status))
}

/// Whether the thread has SIGURG blocked and pending, by its status.
fn pends_blocked(status: &Status) -> bool {
    status.sig_blocked.has_sigurg() && status.sig_pending.has_sigurg()
}

/// CPU time of a thread so far: the first figure of its schedstat, ns.
fn run_ns(proc: &ProcRoot, pid: u32, tid: u32) -> Option<u64> {
    let name = format!("task/{tid}/schedstat");
    let text = said(pid, proc.read_pid_file(pid, &name))?;
    let text = String::from_utf8_lossy(&text);
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// What could be read; why not is logged, unless it is that it has ended.
fn said<T>(pid: u32, read: Result<T, ProcError>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            if !error.is_gone() {
                log::info!("process {pid}: {error}");
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const URG: u64 = 1 << 22;

    fn write_status(folder: &Path, tid: u32, masks: [u64; 4]) {
        fs::create_dir_all(folder).expect("a folder");
        let [pending, blocked, ignored, caught] = masks;
        let text = format!(
            "Name:\tgo\nTgid:\t7\nPid:\t{tid}\nPPid:\t1\nNStgid:\t7\nNSpid:\t{tid}\n\
             Threads:\t2\nSigPnd:\t{pending:016x}\nShdPnd:\t0000000000000000\n\
             SigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
        );
        fs::write(folder.join("status"), text).expect("a status");
    }

    /// A process 7 with threads 7 and 8, the second with these masks (pending, blocked).
    fn process(ignored: u64, caught: u64, second: [u64; 2]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        let main = [0, 0, ignored, caught];
        write_status(&root.path().join("7"), 7, main);
        write_status(&root.path().join("7/task/7"), 7, main);
        let [pending, blocked] = second;
        let task = root.path().join("7/task/8");
        write_status(&task, 8, [pending, blocked, ignored, caught]);
        fs::write(task.join("schedstat"), "5000000 0 1\n").expect("a schedstat");
        root
    }

    fn look_at(root: &tempfile::TempDir) -> SignalFacts {
        let proc = ProcRoot::new(root.path());
        look_every(&proc, 7, &mut BUDGET.clone(), Duration::from_millis(30))
    }

    #[test]
    fn the_disposition_says_whether_the_kernel_drops_it() {
        assert_eq!(look_at(&process(0, URG, [0, 0])), SignalFacts::default());
        let ignored = look_at(&process(URG, 0, [0, 0]));
        assert_eq!(ignored.dropped, Some(Dropped::Ignored));
        let unset = look_at(&process(0, !URG, [0, 0]));
        assert_eq!(unset.dropped, Some(Dropped::NoHandler));
    }

    #[test]
    fn one_thread_has_what_it_inherited() {
        let root = process(URG, 0, [0, 0]);
        let path = root.path().join("7/status");
        let text = fs::read_to_string(&path).expect("a status");
        fs::write(path, text.replace("Threads:\t2", "Threads:\t1")).expect("a status");
        assert_eq!(look_at(&root), SignalFacts::default());
    }

    #[test]
    fn a_mask_counts_if_the_thread_runs_with_it() {
        // Blocked with nothing pending, and pending though not blocked, are normal.
        assert!(look_at(&process(0, URG, [0, URG])).masked_tids.is_empty());
        assert!(look_at(&process(0, URG, [URG, 0])).masked_tids.is_empty());
        // It does not run: it may be throttled anywhere.
        let root = process(0, URG, [URG, URG]);
        assert!(look_at(&root).masked_tids.is_empty());
        let path = root.path().join("7/task/8/schedstat");
        let runs = thread::spawn(move || {
            thread::sleep(Duration::from_millis(15));
            fs::write(path, "9000000 0 1\n").expect("a schedstat");
        });
        assert_eq!(look_at(&root).masked_tids, [8]);
        runs.join().expect("it ends");
    }

    #[test]
    fn a_process_that_is_gone_says_nothing_and_costs_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let mut budget = 3;
        let proc = ProcRoot::new(root.path());
        assert_eq!(look(&proc, 7, &mut budget), SignalFacts::default());
        assert_eq!(budget, 3);
    }

    #[test]
    fn no_more_threads_are_looked_at_than_there_is_budget_for() {
        let root = process(0, URG, [0, 0]);
        let mut budget = 1;
        look(&ProcRoot::new(root.path()), 7, &mut budget);
        assert_eq!(budget, 0);
    }
}
