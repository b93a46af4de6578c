//! Whether the command's processes do anything of use.
//!
//! CPU time alone does not tell: a loop that waits for ever uses all it can get. A process
//! that gets on with something also reads or writes, or touches memory that it had not
//! touched, or has children that come and go. Not even that is proof (a loop that allocates
//! for ever has page faults), so that the lack of it is what counts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::process::{Activity, ProcRoot};

/// Reads, writes and the like a second of CPU time from which it counts as work.
const CALLS_A_CPU_SECOND: u64 = 20;
/// Page faults a second of CPU time from which it counts as work. Spinning has none; a
/// compiler tens of thousands.
const FAULTS_A_CPU_SECOND: u64 = 200;
/// Bytes a second from which it counts as work, however little CPU time they take.
const BYTES_A_SECOND: u64 = 4096;
/// A look may take this part of the time until the next one.
const COST: u32 = 200;
const SECOND: u128 = 1_000_000_000;

/// What the processes have done between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Done {
    /// All of it.
    pub activity: Activity,
    /// Processes that were not there before.
    pub started: u64,
    /// How long it took them.
    pub within: Duration,
}

impl Done {
    /// Whether something was written, somewhere. A runtime wakes its own threads by writing
    /// eight bytes to a descriptor (eventfd); that is nothing.
    pub fn has_written(&self) -> bool {
        let Activity {
            written, writes, ..
        } = self.activity;
        written != writes.saturating_mul(8)
    }

    /// Whether it is of use. CPU time counts from `useful_cpu_ns` a second on.
    pub fn is_work(&self, useful_cpu_ns: u64) -> bool {
        let Activity {
            cpu_ns,
            faults,
            calls,
            bytes,
            ..
        } = self.activity;
        let of = |rate: u64, ns: u128| u128::from(rate) * ns / SECOND;
        let wall = self.within.as_nanos();
        if u128::from(bytes) >= of(BYTES_A_SECOND, wall).max(1) {
            return true;
        }
        let cpu = u128::from(cpu_ns);
        cpu >= of(useful_cpu_ns, wall).max(1)
            && (self.started > 0
                || u128::from(calls) >= of(CALLS_A_CPU_SECOND, cpu).max(1)
                || u128::from(faults) >= of(FAULTS_A_CPU_SECOND, cpu).max(1))
    }
}

/// Looks at processes again and again.
#[derive(Debug)]
pub(super) struct Work {
    proc: ProcRoot,
    last: HashMap<(u32, u64), Activity>,
    /// CPUs that each process used between the last two looks.
    shares: HashMap<u32, f64>,
    at: Instant,
    next: Instant,
}

impl Work {
    /// Nothing is known at `now`.
    pub fn new(proc: ProcRoot, now: Instant) -> Self {
        Self {
            proc,
            last: HashMap::new(),
            shares: HashMap::new(),
            at: now,
            next: now,
        }
    }

    /// What `pids` have done since the last look; `None` when a look is not due, because
    /// looking at so many processes would cost too much, or it is the first.
    pub fn look(&mut self, pids: &[u32], now: Instant) -> Option<Done> {
        if now < self.next {
            return None;
        }
        let begin = Instant::now();
        let mut done = Done {
            within: now.saturating_duration_since(self.at),
            ..Done::default()
        };
        let mut seen = HashMap::with_capacity(pids.len());
        self.shares.clear();
        for &pid in pids {
            // One that has just ended has no say any more.
            let Ok(start) = self.proc.start_ticks(pid) else {
                continue;
            };
            let Ok(activity) = Activity::read(&self.proc, pid) else {
                continue;
            };
            match self.last.get(&(pid, start)) {
                Some(before) => {
                    let since = activity.since(before);
                    let share = since.cpu_ns as f64 / done.within.as_nanos().max(1) as f64;
                    self.shares.insert(pid, share);
                    done.activity += since;
                }
                None => {
                    done.started += 1;
                    done.activity += activity;
                }
            }
            seen.insert((pid, start), activity);
        }
        let is_first = self.last.is_empty();
        self.last = seen;
        self.at = now;
        self.next = now + begin.elapsed() * COST;
        (!is_first).then_some(done)
    }

    /// CPUs that a process used between the last two looks.
    pub fn share(&self, pid: u32) -> Option<f64> {
        self.shares.get(&pid).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const USEFUL: u64 = 10_000_000;

    fn done(cpu_ms: u64, calls: u64, faults: u64, bytes: u64) -> Done {
        Done {
            activity: Activity {
                cpu_ns: cpu_ms * 1_000_000,
                faults,
                calls,
                bytes,
                written: 0,
                writes: 0,
            },
            started: 0,
            within: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_counts_as_work() {
        for (what, done, is_work) in [
            ("nothing", done(0, 0, 0, 0), false),
            ("spinning", done(1000, 0, 0, 0), false),
            (
                "spinning, with a runtime's odd call",
                done(1000, 3, 1, 24),
                false,
            ),
            ("a ticker", done(1, 0, 0, 0), false),
            ("compiling", done(50, 40, 3000, 100_000), true),
            ("compiling without a word", done(50, 0, 900, 0), true),
            ("downloading", done(2, 30, 0, 50_000), true),
            ("many small calls", done(100, 50, 0, 100), true),
            ("little CPU time, a few calls", done(5, 5, 0, 100), false),
        ] {
            assert_eq!(done.is_work(USEFUL), is_work, "{what}");
        }
        let mut busy = done(50, 0, 0, 0);
        busy.started = 1;
        assert!(busy.is_work(USEFUL));
    }

    #[test]
    fn a_runtime_that_wakes_itself_writes_nothing() {
        let written = |written, writes| {
            let mut done = done(0, 0, 0, 0);
            done.activity.written = written;
            done.activity.writes = writes;
            done.has_written()
        };
        assert!(!written(0, 0) && !written(80, 10));
        assert!(written(1, 1) && written(81, 11) && written(500, 1));
    }

    #[test]
    fn a_process_that_spins_does_not_work_and_one_that_starts_others_does() {
        let proc = ProcRoot::default();
        for (script, works) in [
            ("read x; while :; do :; done", false),
            ("read x; while :; do /bin/true; done", true),
        ] {
            let mut child = Command::new("/bin/sh")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let mut work = Work::new(proc.clone(), Instant::now());
            assert_eq!(work.look(&[child.id()], Instant::now()), None);
            drop(child.stdin.take());
            // The end of its waiting is a call, after which only what it does counts.
            let mut look = || {
                std::thread::sleep(Duration::from_millis(300));
                work.next = Instant::now();
                work.look(&[child.id()], Instant::now()).unwrap()
            };
            look();
            let done = look();
            assert_eq!(done.is_work(USEFUL), works, "{script}: {done:?}");
            let share = work.share(child.id()).unwrap();
            assert!((0.0..2.0).contains(&share), "{share}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn looks_are_spaced_by_their_cost() {
        let now = Instant::now();
        let mut work = Work::new(ProcRoot::default(), now);
        let own = [std::process::id()];
        assert_eq!(work.look(&own, now), None);
        assert!(work.next > now);
        assert_eq!(work.look(&own, now), None);
        let later = now + Duration::from_secs(60);
        let done = work.look(&own, later).unwrap();
        assert_eq!((done.started, done.within), (0, Duration::from_secs(60)));
    }
}
