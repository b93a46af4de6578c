//! The evidence with what is asked of it again and again.

use crate::golang::dump::{Dump, Goroutine};
use crate::run::evidence::{
    Evidence, LiftOutcome, OpenFile, Origin, Process, Socket, Thread, ThrottledBy,
};

use super::wait::Wait;
use super::words;

/// From this part of a CPU on a command that gets nothing done is busy.
const BUSY: f64 = 0.3;
/// The part of the quota for it.
const BUSY_PART_OF_QUOTA: f64 = 0.5;
/// Packages whose goroutines wait behind the scenes of any program.
const BACKGROUND: [&str; 4] = [
    "os/signal.",
    "net/http.(*Transport)",
    "net/http.(*http2",
    "database/sql.",
];

/// What the rules look at.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub evidence: &'a Evidence,
    /// The dumps that have goroutines.
    pub dumps: Vec<Dump>,
}

impl<'a> Case<'a> {
    pub fn new(evidence: &'a Evidence) -> Self {
        let from = |origin: Origin| {
            let of_it = evidence.dumps.iter().filter(|dump| dump.origin == origin);
            let parsed = of_it.map(|dump| dump.parse());
            let known = parsed.filter(|dump| !dump.goroutines.is_empty());
            known.collect::<Vec<Dump>>()
        };
        // The same goroutines may have been told in more than one way: the fullest counts.
        let ways = [Origin::Quit, Origin::Pprof, Origin::Output].map(from);
        let dumps = ways.into_iter().find(|dumps| !dumps.is_empty());
        Self {
            evidence,
            dumps: dumps.unwrap_or_default(),
        }
    }

    /// Every goroutine that is not the runtime's.
    pub fn goroutines(&self) -> impl Iterator<Item = &Goroutine> {
        let all = self.dumps.iter().flat_map(|dump| &dump.goroutines);
        all.filter(|goroutine| !goroutine.is_of_runtime())
    }

    /// Those that work for the program: not those that any program has behind the scenes, and
    /// not the test runner's.
    pub fn workers(&self) -> impl Iterator<Item = &Goroutine> {
        self.goroutines().filter(|goroutine| {
            let is_background =
                |function: &str| BACKGROUND.iter().any(|begin| function.starts_with(begin));
            let by = goroutine.created_by.as_ref();
            let first = goroutine.frames.iter().map(|frame| frame.function.as_str());
            let waits_for_tests = goroutine.test().is_none()
                && first.clone().any(|function| {
                    function.starts_with("testing.(*M)") || function == "testing.runTests"
                });
            !waits_for_tests
                && !goroutine.waits_for_parts()
                && !by.is_some_and(|by| is_background(&by.frame.function))
                && !first
                    .clone()
                    .any(|function| function.starts_with("os/signal."))
        })
    }

    /// The goroutines that tell why nothing goes on: those of tests, or else all workers.
    pub fn focus(&self) -> Vec<&Goroutine> {
        let tests: Vec<&Goroutine> = self
            .workers()
            .filter(|goroutine| goroutine.test().is_some())
            .collect();
        if tests.is_empty() {
            self.workers().collect()
        } else {
            tests
        }
    }

    /// Go programs without a Go program below, or, without any, processes without children.
    pub fn leaves(&self) -> Vec<&'a Process> {
        let all = &self.evidence.processes;
        let go: Vec<&Process> = all.iter().filter(|process| process.leaf).collect();
        let is_childless = |process: &&Process| !all.iter().any(|other| other.ppid == process.pid);
        let childless = all.iter().filter(is_childless);
        let others = childless.filter(|process| process.go.is_none());
        go.into_iter().chain(others).collect()
    }

    pub fn process(&self, pid: u32) -> Option<&'a Process> {
        let mut all = self.evidence.processes.iter();
        all.find(|process| process.pid == pid)
    }

    /// Every thread that was looked at, with its process.
    pub fn threads(&self) -> impl Iterator<Item = (&'a Process, &'a Thread)> {
        let all = self.evidence.processes.iter();
        all.flat_map(|process| process.threads.iter().map(move |thread| (process, thread)))
    }

    /// Who has `target` open: the process and the descriptor.
    pub fn holders<'t>(
        &self,
        target: &'t str,
    ) -> impl Iterator<Item = (&'a Process, &'a OpenFile)> + use<'a, 't> {
        let all = self.evidence.processes.iter();
        all.flat_map(|process| process.files.iter().map(move |file| (process, file)))
            .filter(move |(_, file)| file.target == target)
    }

    /// A process whose parent has ended, so that another has taken it in.
    pub fn is_orphan(&self, process: &Process) -> bool {
        process.pid != self.evidence.pid && self.process(process.ppid).is_none()
    }

    /// Sockets in this state.
    pub fn sockets<'t>(&self, state: &'t str) -> impl Iterator<Item = &'a Socket> + use<'a, 't> {
        let all = self.evidence.sockets.iter();
        all.filter(move |socket| socket.state.eq_ignore_ascii_case(state))
    }

    /// The group that was out of quota most, if any was.
    pub fn throttled(&self) -> Option<&'a ThrottledBy> {
        let all = self.evidence.throttled.iter();
        all.filter(|by| by.periods > 0)
            .max_by(|a, b| a.share.total_cmp(&b.share))
    }

    /// CPUs that it used while it got nothing done, if that is busy; without a quota, if the
    /// lifting of it shows that.
    pub fn busy(&self) -> Option<f64> {
        let evidence = self.evidence;
        let quotas = evidence
            .place
            .levels
            .iter()
            .filter_map(|level| level.quota_cpus);
        let quota = quotas.fold(f64::INFINITY, f64::min);
        let enough = BUSY.min(quota * BUSY_PART_OF_QUOTA);
        let lifted = match evidence.lift.outcome {
            LiftOutcome::NoProgress | LiftOutcome::Resumed => evidence.lift.after.cpus,
            _ => None,
        };
        // The lifting shows what it would do if it could: a throttled waiter stays idle.
        match (lifted, evidence.progress.cpus) {
            (Some(after), _) if after >= BUSY => Some(after),
            (Some(_), _) => None,
            (None, cpus) => cpus.filter(|cpus| *cpus >= enough),
        }
    }

    /// The limit was lifted, and nothing went on all the same.
    pub fn quota_is_ruled_out(&self) -> bool {
        self.evidence.lift.outcome == LiftOutcome::NoProgress
    }

    /// Goroutines that wait like this.
    pub fn waiting(&self, wait: Wait) -> Vec<&Goroutine> {
        self.workers()
            .filter(|goroutine| Wait::of(goroutine) == wait)
            .collect()
    }

    /// Whether the command is `go` with this word, as `test`.
    pub fn is_go(&self, verb: &str) -> bool {
        let mut words = self.evidence.command.iter();
        let program = words
            .next()
            .map_or("", |word| word.rsplit('/').next().unwrap_or(word));
        program == "go" && words.any(|word| word == verb)
    }

    /// The test that hangs: its package, or nothing, and its name.
    pub fn test(&self) -> Option<(String, String)> {
        if let Some(running) = self.evidence.tests.running.first() {
            return Some((running.package.clone(), running.test.clone()));
        }
        let function = self
            .focus()
            .into_iter()
            .find_map(|goroutine| goroutine.test())?;
        // `example.com/a.TestX.func1`: the test's name stands behind the package.
        let slash = function.rfind('/').map_or(0, |at| at + 1);
        let mut parts = function[slash..].split('.');
        let package = format!("{}{}", &function[..slash], parts.next()?);
        let name = parts.next()?;
        name.starts_with("Test").then(|| (package, name.to_owned()))
    }

    /// The same command once more, for the test that hangs alone.
    pub fn again(&self, options: &str) -> String {
        let options = if options.is_empty() {
            String::new()
        } else {
            format!("{options} ")
        };
        let again = match self.test() {
            Some((package, test)) if self.is_go("test") => {
                // Parts of a test are matched one by one.
                let parts = test.split('/').map(|part| format!("^{part}$"));
                let pattern = parts.collect::<Vec<_>>().join("/");
                let package = if package.is_empty() {
                    "./..."
                } else {
                    &package
                };
                format!(
                    "go test -count=1 -v -run {} {}",
                    words::quoted(&pattern),
                    words::quoted(package)
                )
            }
            _ => words::command(&self.evidence.command),
        };
        format!("gohang run {options}-- {again}")
    }

    /// How the lifting of the limit went, in a sentence; nothing if it was not tried.
    pub fn lift(&self) -> Option<String> {
        let lift = &self.evidence.lift;
        let limit = lift.quota_cpus.map_or_else(String::new, |cpus| {
            format!(" of {} of a CPU", words::share(cpus))
        });
        let watched = words::time(lift.watched_ns);
        let pace = match (lift.before.cpus, lift.after.cpus) {
            (Some(before), Some(after)) => format!(
                "; it used {} of a CPU before and {} after",
                words::share(before),
                words::share(after)
            ),
            _ => String::new(),
        };
        let above = match lift.still_limited_by.first() {
            Some((path, cpus)) => {
                format!("; {path} still allows no more than {}", words::share(*cpus))
            }
            None => String::new(),
        };
        match lift.outcome {
            LiftOutcome::NotTried => None,
            LiftOutcome::CouldNot => Some(format!(
                "the CPU limit{limit} could not be lifted to try: {}",
                lift.why.as_deref().unwrap_or("no reason is known")
            )),
            LiftOutcome::Resumed => Some(format!(
                "with the CPU limit{limit} lifted, it got on after {}{pace}{above}",
                words::time(lift.resumed_after_ns.unwrap_or(lift.watched_ns))
            )),
            LiftOutcome::NoProgress => Some(format!(
                "with the CPU limit{limit} lifted for {watched}, it did not get on{pace}{above}"
            )),
        }
    }
}
