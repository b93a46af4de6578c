//! Work that needs no Go: threads that spin, and requests that cost so much CPU time each.
//! What a process did is told by itself, and independent of what is traced.

mod life;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::part::Role;
pub(super) use life::live;

/// The line that a process prints when it has nothing to do but to wait for the begin.
pub(crate) const READY: &str = "ready";
/// The line that it prints when its work is over: from then on its limit may be lifted, and what
/// it did is as it will tell it.
pub(crate) const OVER: &str = "over";
/// What the lines with the process ids of its crowd begin with.
const CROWD: &str = "crowd ";
/// What the line with what was done begins with.
const DONE: &str = "done ";
/// From when all may begin to the begin: every thread is there by then.
const LEAD: Duration = Duration::from_millis(100);
/// From the end of the work until its limit may be lifted: the last period has ended.
const UNTIL_LIFTED: Duration = Duration::from_millis(300);

/// What a process is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// For how long from the begin, ns.
    pub duration_ns: u64,
    /// A file that is made when all may begin, and removed when what was done is to be told:
    /// nothing holds the process up by then.
    pub gate: PathBuf,
    /// What its threads do.
    pub tasks: Vec<Task>,
    /// Processes beside it, each with one thread that spins until it is ended.
    pub crowd: u32,
}

impl Load {
    /// These tasks for so long.
    pub(crate) fn new(duration: Duration, tasks: Vec<Task>) -> Self {
        Self {
            duration_ns: duration.as_nanos() as u64,
            gate: PathBuf::new(),
            tasks,
            crowd: 0,
        }
    }

    /// The same with a crowd.
    pub(crate) fn with_crowd(self, crowd: u32) -> Self {
        Self { crowd, ..self }
    }

    /// The command that does this, once there is a file `gate`; it ends by itself when there
    /// is none any more.
    pub(crate) fn command(&self, gate: &Path) -> Command {
        let mut command = Command::new("/proc/self/exe");
        let parent = std::process::id().to_string();
        let load = Self {
            gate: gate.to_owned(),
            ..self.clone()
        };
        // Numbers, names and a path of gohang's own: it can be written.
        let what = serde_json::to_string(&load).unwrap_or_default();
        command.args(["__experiment-part", Role::Load.name(), &parent, &what]);
        command
    }

    /// From when it may begin, the time until all is done and its limit may be lifted; longer where
    /// it gets no CPU.
    pub(crate) fn length(&self) -> Duration {
        LEAD + Duration::from_nanos(self.duration_ns) + UNTIL_LIFTED
    }
}

/// What one or some threads do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Task {
    /// One thread that never stops.
    Spin {
        /// Which of the CPUs it may use; null is any.
        cpu: Option<u32>,
    },
    /// Requests that come whether or not those before are done, and are done in turn.
    Requests {
        /// Which of the CPUs their threads may use; null is any.
        cpu: Option<u32>,
        /// Threads that do them.
        workers: u32,
        /// Time from one to the next; on average, where they are random.
        every_ns: u64,
        /// CPU time that each costs.
        work_ns: u64,
        /// Seed of exponential times between them; null is one every so often.
        seed: Option<u64>,
    },
    /// One thread that sends SIGURG to each that spins, as a Go program's sysmon does to
    /// goroutines that run on.
    Signals {
        /// Time from one round to the next.
        every_ns: u64,
    },
}

impl Task {
    /// One thread that does `work` every `every`, on the `cpu`th CPU.
    pub(crate) fn pulse(cpu: u32, every: Duration, work: Duration) -> Self {
        Self::Requests {
            cpu: Some(cpu),
            workers: 1,
            every_ns: every.as_nanos() as u64,
            work_ns: work.as_nanos() as u64,
            seed: None,
        }
    }

    /// Threads that it takes.
    fn threads(&self) -> u32 {
        match self {
            Self::Spin { .. } | Self::Signals { .. } => 1,
            Self::Requests { workers, .. } => *workers,
        }
    }

    /// When each request comes, ns from the begin, earliest first.
    fn arrivals(&self, duration_ns: u64) -> Vec<u64> {
        let Self::Requests { every_ns, seed, .. } = self else {
            return Vec::new();
        };
        let mut random = seed.map(Random);
        let mut at = 0_u64;
        let mut all = Vec::new();
        while all.len() < MAX_REQUESTS {
            let next = match &mut random {
                Some(random) => random.exponential(*every_ns),
                None => *every_ns,
            };
            if at >= duration_ns {
                break;
            }
            all.push(at);
            at = at.saturating_add(next.max(1));
        }
        all
    }
}

/// Most requests of a task.
const MAX_REQUESTS: usize = 1 << 20;

/// Random numbers, the same in every run (`SplitMix64`: Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A time between events that come on average every `mean`.
    fn exponential(&mut self, mean: u64) -> u64 {
        // In (0, 1]: its logarithm is finite.
        let uniform = ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        (-uniform.ln() * mean as f64).round() as u64
    }
}

/// What a process says that it did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// By task.
    pub tasks: Vec<TaskDone>,
    /// When the work began, CLOCK_MONOTONIC ns.
    pub begin_ns: u64,
    /// Time that its first thread, which has none of the work, was kept from running, by its own
    /// clocks, ns.
    pub first_kept_ns: u64,
    /// CPU time of the process from its start on, by the kernel's account, ns.
    pub process_cpu_ns: u64,
}

/// What the threads of a task did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskDone {
    /// CPU time that they used, by the kernel's account of each thread, ns.
    pub cpu_ns: u64,
    /// Time that they waited for a CPU before the work, ns.
    pub before_ns: u64,
    /// Time in which they had something to do, ns: without what they were kept from running,
    /// that is `cpu_ns`.
    pub wanted_ns: u64,
    /// Of each request, the time from when it came to when it was done, ns.
    pub requests_ns: Vec<u64>,
}

impl Done {
    /// From what the process printed; none if it does not tell it.
    pub(crate) fn read(output: &str) -> Option<Self> {
        let line = output.lines().find_map(|line| line.strip_prefix(DONE))?;
        serde_json::from_str(line).ok()
    }

    /// The processes of its crowd, from what was printed.
    pub(crate) fn crowd(output: &str) -> Vec<u32> {
        let lines = output.lines().filter_map(|line| line.strip_prefix(CROWD));
        lines.filter_map(|pid| pid.parse().ok()).collect()
    }

    /// CPU time of all threads, ns.
    pub(crate) fn cpu_ns(&self) -> u64 {
        self.tasks.iter().map(|task| task.cpu_ns).sum()
    }

    /// Time that all threads were kept from running, before and in the work, ns.
    pub(crate) fn kept_ns(&self) -> u64 {
        let wanted: u64 = self.tasks.iter().map(|task| task.wanted_ns).sum();
        let before: u64 = self.tasks.iter().map(|task| task.before_ns).sum();
        wanted.saturating_sub(self.cpu_ns()) + before + self.first_kept_ns
    }

    /// Every request's time, ns.
    pub(crate) fn requests_ns(&self) -> impl Iterator<Item = u64> + '_ {
        self.tasks
            .iter()
            .flat_map(|task| task.requests_ns.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn requests(every_ns: u64, seed: Option<u64>) -> Task {
        Task::Requests {
            cpu: None,
            workers: 2,
            every_ns,
            work_ns: 1,
            seed,
        }
    }

    #[test]
    fn requests_come_every_so_often_or_at_random() {
        assert_eq!(requests(40, None).arrivals(100), [0, 40, 80]);
        assert_eq!(requests(50, None).arrivals(100), [0, 50]);
        assert!(Task::Spin { cpu: None }.arrivals(100).is_empty());
        let random = requests(1_000, Some(7)).arrivals(10_000_000);
        assert_eq!(random, requests(1_000, Some(7)).arrivals(10_000_000));
        assert_ne!(random, requests(1_000, Some(8)).arrivals(10_000_000));
        assert!((9_500..10_500).contains(&random.len()), "{}", random.len());
    }

    proptest! {
        #[test]
        fn any_output_is_taken(output in "(\\PC|[ \n]|done |crowd |\\{)*") {
            let _ = (Done::read(&output), Done::crowd(&output));
        }

        #[test]
        fn arrivals_are_in_order_and_within_the_duration(
            every in 0_u64..1 << 40, seed: Option<u64>, duration in 0_u64..1 << 20,
        ) {
            let all = requests(every, seed).arrivals(duration);
            prop_assert!(all.is_sorted() && all.iter().all(|at| *at < duration));
        }
    }

    #[test]
    fn what_kept_it_is_what_is_left() {
        let task = |cpu_ns, wanted_ns, requests_ns| TaskDone {
            cpu_ns,
            wanted_ns,
            before_ns: 2,
            requests_ns,
        };
        let done = Done {
            tasks: vec![task(10, 30, vec![30]), task(5, 5, vec![2, 3])],
            begin_ns: 1,
            first_kept_ns: 3,
            process_cpu_ns: 16,
        };
        assert_eq!((done.cpu_ns(), done.kept_ns()), (15, 27));
        assert_eq!(done.requests_ns().sum::<u64>(), 35);
        let told = serde_json::to_string(&done).expect("JSON");
        let output = format!("crowd 7\ncrowd 8\n{READY}\n{DONE}{told}\n");
        assert_eq!(Done::read(&output), Some(done));
        assert_eq!(Done::crowd(&output), [7, 8]);
        assert_eq!(Done::read("done {"), None);
    }

    #[test]
    fn what_is_to_be_done_is_an_argument() {
        let load = Load::new(Duration::from_secs(1), vec![Task::Spin { cpu: Some(1) }]);
        let command = load.clone().with_crowd(3).command(Path::new("/a/b"));
        let what = command.get_args().last().and_then(std::ffi::OsStr::to_str);
        let back: Load = serde_json::from_str(what.expect("text")).expect("the same");
        assert_eq!((back.tasks, back.crowd), (load.tasks, 3));
        assert_eq!(back.gate, Path::new("/a/b"));
    }
}
