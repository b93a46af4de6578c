//! The tracer beside a run: preemption signals of the Go programs in the command's group, from
//! before its first instruction, or from when it is asked to begin, in a thread of its own.
//!
//! Loading takes 0.1 to 0.2 s of CPU time, which a command that gets on should not pay for: by
//! default nothing is loaded before the command gives cause for doubt. What is traced is then
//! the end of the run, and never stands for the whole of it.

mod trace;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::cgroup::{CgroupLayout, Membership};
use crate::privilege;
use crate::process::ProcRoot;
use crate::report::Report;
use crate::run::evidence::{Trace, TraceState};

/// How long the command waits for the tracer where it is to.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is nothing of one that was not asked to begin.
const NOT_BEGUN: &str = "until the verdict nothing had given cause for that";

/// Whether to trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tracing {
    /// Where that is possible, from when the command gives cause for doubt.
    #[default]
    Auto,
    /// From before the command's first instruction, and not to run it if that is not possible.
    Always,
    /// Not at all.
    Never,
}

/// What the thread tells.
#[derive(Debug)]
enum Told {
    /// The window is open, since this `CLOCK_MONOTONIC` time.
    Open(u64),
    /// It does not work, or not any more.
    Failed(String),
    /// All that was seen.
    End(Box<Report>),
}

/// What the thread is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// To begin.
    Begin,
    /// To look into the Go programs as well, and to begin if it has not.
    Closer,
    /// To end.
    End,
}

/// The tracer of a run.
#[derive(Debug)]
pub(super) struct Tracer {
    state: State,
    /// When the command was let go.
    started_ns: u64,
    /// It was asked to begin, or not to wait for that.
    begun: bool,
    looks_closer: bool,
}

#[derive(Debug)]
enum State {
    Off(String),
    On {
        told: Receiver<Told>,
        /// Dropped, it ends the tracing.
        ask: Sender<Ask>,
        since_ns: Option<u64>,
        failed: Option<String>,
    },
}

impl Tracer {
    /// Of the group that holds process `pid` alone. With [`Tracing::Auto`] it waits for
    /// [`Self::begin`].
    pub fn start(wanted: Tracing, layout: &CgroupLayout, proc: &ProcRoot, pid: u32) -> Self {
        let state = match wanted {
            Tracing::Never => Err("--trace never was given".to_owned()),
            Tracing::Auto | Tracing::Always => {
                group_of(layout, proc, pid).and_then(|group| possible(proc).map(|()| group))
            }
        };
        let state = state.and_then(|group| {
            let (ask, asked) = channel();
            let (tell, told) = channel();
            let thread = std::thread::Builder::new().name("tracer".into());
            let waits = wanted != Tracing::Always;
            thread
                .spawn(move || trace::run(group, waits, &asked, &tell))
                .map_err(|error| format!("cannot start a thread: {error}"))?;
            Ok(State::On {
                told,
                ask,
                since_ns: None,
                failed: None,
            })
        });
        Self {
            state: state.unwrap_or_else(State::Off),
            started_ns: 0,
            begun: wanted == Tracing::Always,
            looks_closer: false,
        }
    }

    /// Waits until the window is open.
    ///
    /// # Errors
    /// Why it does not open.
    pub fn wait(&mut self) -> Result<(), String> {
        let State::On { told, since_ns, .. } = &mut self.state else {
            return self.off().map_or(Ok(()), |why| Err(why.to_owned()));
        };
        match told.recv_timeout(ATTACH_TIMEOUT) {
            Ok(Told::Open(at)) => {
                *since_ns = Some(at);
                Ok(())
            }
            Ok(Told::Failed(why)) => Err(why),
            Ok(Told::End(_)) | Err(RecvTimeoutError::Disconnected) => {
                Err("the tracer has ended".to_owned())
            }
            Err(RecvTimeoutError::Timeout) => {
                Err("the kernel programs are not loaded yet".to_owned())
            }
        }
    }

    /// The command begins now.
    pub fn started(&mut self, now_ns: u64) {
        self.started_ns = now_ns;
    }

    /// Why it is not on; `None`: it is.
    pub fn off(&self) -> Option<&str> {
        match &self.state {
            State::Off(why) => Some(why),
            State::On { failed, .. } => failed.as_deref(),
        }
    }

    /// Takes note of what the thread has told; what is worth saying, once.
    pub fn news(&mut self) -> Option<String> {
        let State::On {
            told,
            since_ns,
            failed,
            ..
        } = &mut self.state
        else {
            return None;
        };
        if failed.is_some() {
            return None;
        }
        match told.try_recv() {
            Ok(Told::Open(at)) => {
                *since_ns = Some(at);
                None
            }
            Ok(Told::Failed(why)) => {
                *failed = Some(why.clone());
                Some(why)
            }
            Ok(Told::End(_)) | Err(_) => None,
        }
    }

    /// Whether it was asked to begin, or did at the start.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Asks it to begin, at a lower priority than the command has: that is only in doubt.
    pub fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.ask(Ask::Begin);
        }
    }

    /// Asks it to look into the Go programs from now on, which costs those something.
    pub fn look_closer(&mut self) {
        self.begun = true;
        if !std::mem::replace(&mut self.looks_closer, true) {
            self.ask(Ask::Closer);
        }
    }

    /// Asks it to end, which it does meanwhile.
    pub fn end(&self) {
        self.ask(Ask::End);
    }

    fn ask(&self, what: Ask) {
        if let State::On { ask, .. } = &self.state {
            // One that has ended by itself has told why.
            let _ = ask.send(what);
        }
    }

    /// What it saw, if it tells within `limit`. Call [`Self::end`] before.
    pub fn take(&mut self, limit: Duration) -> Trace {
        let end = Instant::now() + limit;
        let off = |why: &str| Trace {
            state: TraceState::Off {
                why: why.to_owned(),
            },
            report: None,
        };
        let (told, since_ns, failed) = match &mut self.state {
            State::Off(why) => return off(why),
            State::On { .. } if !self.begun => return off(NOT_BEGUN),
            State::On {
                told,
                since_ns,
                failed,
                ..
            } => (told, since_ns, failed),
        };
        let mut report = None;
        while failed.is_none() {
            match told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Told::Open(at)) => *since_ns = Some(at),
                Ok(Told::Failed(why)) => *failed = Some(why),
                Ok(Told::End(found)) => {
                    report = Some(*found);
                    break;
                }
                Err(RecvTimeoutError::Timeout) if since_ns.is_none() => {
                    *failed = Some("the kernel programs were not loaded yet".to_owned());
                }
                Err(_) => *failed = Some("the tracer did not answer in time".to_owned()),
            }
        }
        let since_ns = since_ns.unwrap_or(self.started_ns);
        let state = match failed.take() {
            Some(why) => TraceState::Failed { why },
            None => TraceState::On {
                since_ns: i64::try_from(i128::from(since_ns) - i128::from(self.started_ns))
                    .unwrap_or(i64::MAX),
            },
        };
        Trace { state, report }
    }
}

/// The group of process `pid`, if it is not gohang's own as well.
fn group_of(layout: &CgroupLayout, proc: &ProcRoot, pid: u32) -> Result<PathBuf, String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let own = Membership::read_own(proc).map_err(|error| wrong(&error))?;
    let its = Membership::read(proc, pid).map_err(|error| wrong(&error))?;
    let is_mounted = |path: &Path| {
        let mut hierarchies = layout.v1().iter().chain(layout.v2());
        hierarchies.any(|hierarchy| hierarchy.dir_of(path).is_some_and(|dir| dir.is_dir()))
    };
    let moved = its.members().iter().find(|member| {
        let is_own = own.members().iter().any(|own| own.path == member.path);
        !is_own && is_mounted(&member.path)
    });
    moved
        .map(|member| member.path.clone())
        .ok_or_else(|| "the command has no control group of its own".to_owned())
}

/// Whether this machine and these privileges allow tracing.
fn possible(proc: &ProcRoot) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let missing = privilege::missing().map_err(|error| told(&error))?;
    if !missing.is_empty() {
        let names: Vec<String> = missing
            .all()
            .iter()
            .map(|needed| needed.capability.to_string())
            .collect();
        return Err(format!("it needs {}", names.join(", ")));
    }
    match proc.in_init_pid_ns() {
        Ok(true) => Ok(()),
        Ok(false) => Err("this is not the machine's own PID namespace".to_owned()),
        Err(error) => Err(told(&error)),
    }
}

/// For errors of the thread.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// An I/O error with what was tried.
fn system(what: &'static str) -> impl Fn(io::Error) -> Box<dyn std::error::Error> {
    move |error| format!("cannot {what}: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_group_of_its_own_there_is_no_tracing() {
        let proc = ProcRoot::default();
        let layout = CgroupLayout::read(&proc).unwrap();
        let me = std::process::id();
        let mut tracer = Tracer::start(Tracing::Auto, &layout, &proc, me);
        assert!(tracer.off().unwrap().contains("no control group"));
        assert!(tracer.wait().is_err());
        assert_eq!(tracer.news(), None);
        let trace = tracer.take(Duration::ZERO);
        assert!(matches!(trace.state, TraceState::Off { .. }), "{trace:?}");
        let tracer = Tracer::start(Tracing::Never, &layout, &proc, me);
        assert!(tracer.off().unwrap().contains("--trace never"));
    }

    /// A tracer, and its thread's ends of the channels.
    fn tracer(started_ns: u64) -> (Tracer, Receiver<Ask>, Sender<Told>) {
        let (ask, asked) = channel();
        let (tell, told) = channel();
        let tracer = Tracer {
            state: State::On {
                told,
                ask,
                since_ns: None,
                failed: None,
            },
            started_ns,
            begun: false,
            looks_closer: false,
        };
        (tracer, asked, tell)
    }

    /// A tracer with a thread that waits to be asked, for a group that does not exist.
    fn waiting() -> (Tracer, std::thread::JoinHandle<()>) {
        let (tracer, asked, tell) = tracer(0);
        let group = PathBuf::from("/gohang-no-such-group");
        let thread = std::thread::spawn(move || trace::run(group, true, &asked, &tell));
        (tracer, thread)
    }

    #[test]
    fn one_that_was_not_asked_to_begin_ends_at_once_and_was_off() {
        let (mut tracer, thread) = waiting();
        tracer.end();
        thread.join().unwrap();
        assert_eq!((tracer.news(), tracer.off()), (None, None));
        let begun = Instant::now();
        let trace = tracer.take(Duration::from_secs(60));
        assert!(begun.elapsed() < Duration::from_secs(30));
        let off = TraceState::Off {
            why: NOT_BEGUN.to_owned(),
        };
        assert_eq!((trace.state, trace.report), (off, None));
        // The command's own end drops it.
        let (tracer, thread) = waiting();
        drop(tracer);
        thread.join().unwrap();
    }

    #[test]
    fn it_is_asked_to_begin_once_and_to_look_closer_before_or_after() {
        let (mut tracer, asked, _) = tracer(0);
        tracer.begin();
        tracer.begin();
        tracer.look_closer();
        tracer.begin();
        assert_eq!(
            asked.try_iter().collect::<Vec<_>>(),
            [Ask::Begin, Ask::Closer]
        );
    }

    #[test]
    fn a_thread_that_does_not_answer_is_not_waited_for() {
        let (mut tracer, asked, tell) = tracer(5_000);
        assert!(!tracer.has_begun());
        tracer.look_closer();
        tracer.look_closer();
        assert!(tracer.has_begun());
        tracer.begin();
        tracer.end();
        assert_eq!(
            asked.try_iter().collect::<Vec<_>>(),
            [Ask::Closer, Ask::End]
        );
        tell.send(Told::Open(2_000)).unwrap();
        assert_eq!(tracer.news(), None);
        let trace = tracer.take(Duration::from_millis(10));
        let TraceState::Failed { why } = trace.state else {
            panic!("{trace:?}");
        };
        assert!(why.contains("did not answer"), "{why}");
        tell.send(Told::Failed("the ring broke".into())).unwrap();
        assert_eq!(tracer.news().as_deref(), Some("the ring broke"));
        assert_eq!(tracer.off(), Some("the ring broke"));
        assert_eq!(tracer.news(), None);
    }
}
