//! The life of a process that works.

use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::super::os;
use super::{CROWD, DONE, Done, LEAD, Load, OVER, READY, Task, TaskDone, UNTIL_LIFTED};

/// How often it is looked whether all may begin, and whether to tell.
const GATE_EVERY_NS: u64 = 5_000_000;
/// A request looks at its thread's CPU time as often as this, which it may be over by.
const LOOK_EVERY_NS: u64 = 20_000;

/// A task, its requests, and what was done.
struct Shared {
    task: Task,
    arrivals: Vec<u64>,
    next: AtomicUsize,
    begin_ns: u64,
    end_ns: u64,
    done: Mutex<TaskDone>,
    /// Threads that spin, of any task.
    spinning: Arc<Mutex<Vec<u32>>>,
}

/// Does what `what` says, a [`Load`] as JSON, and tells on standard output what was done.
///
/// # Errors
/// It does not say what to do, or that cannot be done here.
pub(in super::super) fn live(what: &str) -> io::Result<()> {
    let load: Load = serde_json::from_str(what).map_err(io::Error::other)?;
    let mut first = First::new()?;
    os::sleep_exactly()?;
    let mut out = io::stdout().lock();
    let (gate, held) = io::pipe()?;
    // Before there are threads.
    for _ in 0..load.crowd {
        let pid = os::fork_spinning(gate.as_raw_fd(), held.as_raw_fd())?;
        writeln!(out, "{CROWD}{pid}")?;
    }
    if let [Task::Spin { cpu: Some(cpu) }] = load.tasks[..] {
        // On another CPU it would have a run queue of its own there, which is out of quota, too,
        // and counts as such while the thread sleeps, as its dequeue is delayed (`dequeue_entity`,
        // kernel/sched/fair.c, 6.12 and later).
        os::run_on(cpu)?;
    }
    writeln!(out, "{READY}")?;
    out.flush()?;
    first.wait_until(|| load.gate.exists())?;
    let begin_ns = os::now_ns()? + LEAD.as_nanos() as u64;
    let end_ns = begin_ns.saturating_add(load.duration_ns);
    let spinning = Arc::new(Mutex::default());
    if load
        .tasks
        .iter()
        .any(|task| matches!(task, Task::Signals { .. }))
    {
        os::handle_sigurg(handle)?;
    }
    let mut tasks = Vec::new();
    let mut threads = Vec::new();
    for task in load.tasks {
        let shared = Arc::new(Shared {
            arrivals: task.arrivals(load.duration_ns),
            next: AtomicUsize::new(0),
            begin_ns,
            end_ns,
            done: Mutex::default(),
            spinning: Arc::clone(&spinning),
            task,
        });
        for _ in 0..shared.task.threads() {
            threads.push(start(&shared)?);
        }
        tasks.push(shared);
    }
    first.sleep_until(begin_ns)?;
    drop(held);
    first.sleep_until(end_ns.saturating_add(UNTIL_LIFTED.as_nanos() as u64))?;
    // Without what it waits for the others from here on.
    let first_kept_ns = first.kept_ns()?;
    for thread in threads {
        let ended = thread.join();
        ended.map_err(|_| io::Error::other("a thread panicked"))??;
    }
    let done = |shared: &Arc<Shared>| all(&shared.done).clone();
    let done = Done {
        tasks: tasks.iter().map(done).collect(),
        begin_ns,
        first_kept_ns,
        process_cpu_ns: os::process_cpu_ns()?,
    };
    writeln!(out, "{OVER}")?;
    out.flush()?;
    first.wait_until(|| !load.gate.exists())?;
    let told = serde_json::to_string(&done).map_err(io::Error::other)?;
    writeln!(out, "{DONE}{told}")?;
    out.flush()
}

/// The process's first thread, by its own clocks: the kernel's account of its waits has time in
/// which it slept, where it was moved to another CPU before its delayed dequeue
/// (`sched_info_enqueue`, kernel/sched/stats.h, seen on 6.18).
struct First {
    begin_ns: u64,
    cpu_ns: u64,
    /// Waited before, in its start.
    waited_ns: u64,
    /// Asked to sleep.
    asked_ns: u64,
}

impl First {
    fn new() -> io::Result<Self> {
        Ok(Self {
            begin_ns: os::now_ns()?,
            cpu_ns: os::thread_cpu_ns()?,
            waited_ns: os::thread_waited_ns()?,
            asked_ns: 0,
        })
    }

    fn sleep_until(&mut self, at_ns: u64) -> io::Result<()> {
        self.asked_ns += at_ns.saturating_sub(os::now_ns()?);
        os::sleep_until(at_ns)
    }

    /// Waits until it is so; asks often enough, and seldom enough not to be seen.
    fn wait_until(&mut self, so: impl Fn() -> bool) -> io::Result<()> {
        while !so() {
            self.sleep_until(os::now_ns()? + GATE_EVERY_NS)?;
        }
        Ok(())
    }

    /// How long it was kept from running so far: what it neither ran nor asked to sleep.
    fn kept_ns(&self) -> io::Result<u64> {
        let passed_ns = os::now_ns()? - self.begin_ns;
        let used_ns = os::thread_cpu_ns()? - self.cpu_ns;
        Ok(self.waited_ns + passed_ns.saturating_sub(self.asked_ns + used_ns))
    }
}

fn start(shared: &Arc<Shared>) -> io::Result<JoinHandle<io::Result<()>>> {
    let shared = Arc::clone(shared);
    let (name, cpu) = match shared.task {
        Task::Spin { cpu } => ("spin", cpu),
        Task::Requests { cpu, .. } => ("request", cpu),
        Task::Signals { .. } => ("signals", None),
    };
    thread::Builder::new().name(name.into()).spawn(move || {
        if let Some(cpu) = cpu {
            os::run_on(cpu)?;
        }
        if matches!(shared.task, Task::Spin { .. }) {
            all(&shared.spinning).push(os::thread_id());
        }
        // It has not slept yet: see `First`.
        let started_ns = os::thread_waited_ns()?;
        let asked_ns = shared.begin_ns.max(os::now_ns()?);
        os::sleep_until(asked_ns)?;
        let before_ns = started_ns + os::now_ns()?.saturating_sub(asked_ns);
        let done = match shared.task {
            Task::Spin { .. } => spin(shared.end_ns)?,
            Task::Signals { every_ns } => signal(&shared, every_ns)?,
            Task::Requests { work_ns, .. } => serve(&shared, work_ns)?,
        };
        let mut all = all(&shared.done);
        all.cpu_ns += done.cpu_ns;
        all.before_ns += before_ns;
        all.wanted_ns += done.wanted_ns;
        all.requests_ns.extend(done.requests_ns);
        Ok(())
    })
}

/// What threads share, whatever became of one of them.
fn all<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn handle(_signal: libc::c_int) {}

/// Signals every thread that spins until the end. What it was kept from is not counted.
fn signal(shared: &Shared, every_ns: u64) -> io::Result<TaskDone> {
    let cpu_ns = os::thread_cpu_ns()?;
    let mut next_ns = shared.begin_ns;
    while os::now_ns()? < shared.end_ns {
        for thread in all(&shared.spinning).iter() {
            os::send_sigurg(std::process::id(), *thread)?;
        }
        next_ns = os::now_ns()?.max(next_ns) + every_ns.max(1);
        os::sleep_until(next_ns.min(shared.end_ns))?;
    }
    let used_ns = os::thread_cpu_ns()? - cpu_ns;
    Ok(TaskDone {
        cpu_ns: used_ns,
        wanted_ns: used_ns,
        before_ns: 0,
        requests_ns: Vec::new(),
    })
}

fn spin(end_ns: u64) -> io::Result<TaskDone> {
    let (begin_ns, cpu_ns) = (os::now_ns()?, os::thread_cpu_ns()?);
    let mut now_ns = begin_ns;
    while now_ns < end_ns {
        now_ns = os::now_ns()?;
    }
    Ok(TaskDone {
        cpu_ns: os::thread_cpu_ns()? - cpu_ns,
        wanted_ns: now_ns - begin_ns,
        before_ns: 0,
        requests_ns: Vec::new(),
    })
}

/// Does requests until there are no more, or until the end.
fn serve(shared: &Shared, work_ns: u64) -> io::Result<TaskDone> {
    let mut done = TaskDone::default();
    let cpu_ns = os::thread_cpu_ns()?;
    loop {
        let next = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(came_ns) = shared.arrivals.get(next).map(|at| shared.begin_ns + at) else {
            break;
        };
        let before_ns = os::now_ns()?;
        if before_ns >= shared.end_ns {
            break;
        }
        os::sleep_until(came_ns)?;
        let end_of_work = os::thread_cpu_ns()? + work_ns;
        while os::thread_cpu_ns()? < end_of_work {
            let until = os::now_ns()? + LOOK_EVERY_NS;
            while os::now_ns()? < until {}
        }
        let now_ns = os::now_ns()?;
        done.wanted_ns += now_ns - came_ns.max(before_ns);
        done.requests_ns.push(now_ns - came_ns);
    }
    done.cpu_ns = os::thread_cpu_ns()? - cpu_ns;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_ends_and_tells_its_time() {
        let end_ns = os::now_ns().expect("a clock") + 3_000_000;
        let done = spin(end_ns).expect("a clock");
        assert!(
            done.cpu_ns > 0 && done.cpu_ns <= done.wanted_ns + 1_000_000,
            "{done:?}"
        );
    }

    #[test]
    fn each_request_is_done_once_and_costs_its_work() {
        let task = Task::Requests {
            cpu: None,
            workers: 1,
            every_ns: 2_000_000,
            work_ns: 500_000,
            seed: None,
        };
        let begin_ns = os::now_ns().expect("a clock");
        let shared = Shared {
            arrivals: task.arrivals(6_000_000),
            next: AtomicUsize::new(0),
            begin_ns,
            // The last is begun whatever else runs here.
            end_ns: begin_ns + 60_000_000_000,
            done: Mutex::default(),
            spinning: Arc::default(),
            task,
        };
        let done = serve(&shared, 500_000).expect("done");
        assert_eq!(done.requests_ns.len(), 3);
        assert!(done.cpu_ns >= 1_500_000, "{done:?}");
        assert!(
            done.requests_ns.iter().all(|time| *time >= 500_000),
            "{done:?}"
        );
    }
}
