//! One run, from the making of its place to its end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Options;
use super::child::{Change, Child, Start};
use super::clash;
use super::error::RunError;
use super::evidence::{EVIDENCE_VERSION, Evidence};
use super::inherited::Inherited;
use super::keeper::Keeper;
use super::ladder;
use super::on_hang;
use super::orphans;
use super::outcome::{Ended, Outcome};
use super::output::Streams;
use super::place::{self, LABEL, Place};
use super::remains;
use super::say::say;
use super::signals::{Arrived, Signals};
use super::tracer::{Tracer, Tracing};
use super::watch::Watch;
use crate::cgroup::{self, CgroupLayout, LeftBehind};
use crate::process::ProcRoot;
use crate::report::Moment;
use crate::source::now;

/// How long leftovers of earlier runs may take to end.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the last output may take once nothing writes any more.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// The command, and what reaches gohang meanwhile.
pub(super) struct Session {
    pub child: Child,
    signals: Signals,
    /// The command is in gohang's own process group.
    shares_group: bool,
    /// How it ended, once it has.
    pub ended: Option<Ended>,
}

/// Runs the command to its end, and ends all that it started.
///
/// # Errors
/// When it could not be started.
pub fn run(options: &Options, keeper: &mut dyn Keeper) -> Result<Outcome, RunError> {
    let proc = ProcRoot::default();
    let inherited = Inherited::note();
    // From here on a signal does not end gohang, so that nothing is left behind.
    let signals = Signals::take().map_err(RunError::system("take signals"))?;
    orphans::adopt()?;
    let layout = CgroupLayout::read(&proc)?;
    clear_leftovers(&proc, &layout);
    let (mut place, lost) = place::choose(&options.place, &proc, &layout)?;
    for line in lost {
        say(&format!("warning: {line}"));
    }
    for line in clash::warnings(&options.command, &options.breaker, options.job_limit) {
        say(&format!("warning: {line}"));
    }
    let mut streams = Streams::set_up(options.observe, Instant::now())
        .map_err(RunError::system("look at the standard streams"))?;
    // A terminal's job control works on the group that the shell made for this job.
    let shares_group = File::open("/dev/tty").is_ok();
    let started = start(
        options,
        place.as_mut(),
        &streams,
        inherited,
        !shares_group,
        |pid, own| {
            let limit = clash::test_limit(&options.command);
            let (breaker, now) = (&options.breaker, Instant::now());
            let watch = Watch::new(breaker, &layout, &proc, pid, own, limit, now)?;
            let mut tracer = Tracer::start(options.tracing, &layout, &proc, pid);
            if options.tracing == Tracing::Always {
                tracer.wait().map_err(RunError::NotTraced)?;
            }
            Ok(Beside { watch, tracer })
        },
    );
    let (child, mut beside) = match started {
        Ok(started) => started,
        Err(error) => {
            remains::end(place, &proc);
            return Err(error);
        }
    };
    let at = now();
    beside.tracer.started(at.mono_ns);
    let mut evidence = about(&options.command, child.id(), at);
    let mut session = Session {
        child,
        signals,
        shares_group,
        ended: None,
    };
    let outcome = streams.started().and_then(|()| {
        let evidence = std::mem::take(&mut evidence);
        let follow = Following {
            options,
            proc: &proc,
            place: place.as_mut(),
            streams: &mut streams,
            beside,
            keeper,
            evidence,
        };
        session.follow(follow)
    });
    remains::end(place, &proc);
    streams.finish(LAST_OUTPUT);
    let mut hung = outcome.map_err(RunError::system("follow the command"))?;
    match &mut hung {
        Some(hung) => {
            hung.take(keeper.keep(&hung.evidence));
            hung.tell();
            if let Some(command) = &options.on_hang {
                let interrupted = || session.is_told_to_end();
                on_hang::run(command, &hung.judged, options.on_hang_time, interrupted);
            }
        }
        None => {
            if let Err(why) = keeper.ended(&streams.seen().tests(Instant::now())) {
                say(&format!("warning: {why}"));
            }
        }
    }
    Ok(Outcome {
        command: session.ended,
        hung: hung.map(|hung| hung.killed),
    })
}

/// What is known before the command has done anything.
fn about(command: &[OsString], pid: u32, started: Moment) -> Evidence {
    let lossy = |text: &OsStr| String::from_utf8_lossy(text.as_bytes()).into_owned();
    let directory = std::env::current_dir().unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let host = rustix::system::uname();
    Evidence {
        evidence_version: EVIDENCE_VERSION,
        gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: host.release().to_string_lossy().into_owned(),
        cpus: cpus as u64,
        host: host.nodename().to_string_lossy().into_owned(),
        command: command.iter().map(|word| lossy(word)).collect(),
        pid,
        directory: lossy(directory.as_os_str()),
        started,
        ..Evidence::default()
    }
}

/// What accompanies the command from before its first instruction.
struct Beside {
    watch: Watch,
    tracer: Tracer,
}

/// What following the command takes.
struct Following<'a> {
    options: &'a Options,
    proc: &'a ProcRoot,
    place: &'a mut dyn Place,
    streams: &'a mut Streams,
    beside: Beside,
    keeper: &'a mut dyn Keeper,
    evidence: Evidence,
}

/// Starts the command in its place; before it does anything, what is `beside` it begins.
fn start(
    options: &Options,
    place: &mut dyn Place,
    streams: &Streams,
    inherited: Inherited,
    own_group: bool,
    beside: impl FnOnce(u32, bool) -> Result<Beside, RunError>,
) -> Result<(Child, Beside), RunError> {
    let start = Start {
        command: &options.command,
        own_group,
        dies_with_us: !place.is_group(),
        streams: streams.child_ends(),
        inherited,
    };
    let waiting = start.fork().map_err(RunError::system("start a process"))?;
    match place.take_in(waiting.pid()) {
        Ok(lost) => lost
            .iter()
            .for_each(|line| say(&format!("warning: {line}"))),
        Err(error) => {
            waiting.give_up();
            return Err(error.into());
        }
    }
    let beside = match beside(waiting.pid(), place.is_group()) {
        Ok(beside) => beside,
        Err(error) => {
            waiting.give_up();
            return Err(error);
        }
    };
    let child = waiting.release().map_err(|source| RunError::Exec {
        program: options.command.first().cloned().unwrap_or_default(),
        source,
    })?;
    Ok((child, beside))
}

/// Ends and removes what killed runs have left behind.
fn clear_leftovers(proc: &ProcRoot, layout: &CgroupLayout) {
    match cgroup::clear(layout, proc, LABEL, CLEAR_TIMEOUT) {
        Ok(found) => found.iter().for_each(|left| say(&told(left))),
        Err(error) => log::info!("cannot look for leftovers: {error}"),
    }
}

/// What an earlier run left, in a line.
#[must_use]
pub fn told(left: &LeftBehind) -> String {
    let LeftBehind {
        owner,
        groups,
        killed,
        kept,
    } = left;
    let pid = owner.pid;
    let done = format!(
        "a gohang that was killed (pid {pid}) left {killed} processes and {} control groups: gone now",
        groups.len()
    );
    match kept {
        None => done,
        Some(why) => format!("a gohang that was killed (pid {pid}) left something behind: {why}"),
    }
}

impl Session {
    /// Forwards signals, follows stops and watches until the command has ended, by itself or
    /// because it hung.
    fn follow(&mut self, following: Following<'_>) -> io::Result<Option<ladder::Hung>> {
        let Following {
            options,
            proc,
            place,
            streams,
            mut beside,
            keeper,
            mut evidence,
        } = following;
        let Beside { watch, tracer } = &mut beside;
        loop {
            let now = Instant::now();
            let next = watch.next_tick().saturating_duration_since(now);
            let alarmed = self.step(Some(next), watch.alarms())?;
            let now = Instant::now();
            if alarmed {
                watch.alarm(now, &mut say);
            }
            if self.ended.is_some() {
                watch.end(now, streams, &mut say);
                return Ok(None);
            }
            if now < watch.next_tick() {
                continue;
            }
            if let Some(why) = tracer.news() {
                log::info!("preemption signals are not traced: {why}");
            }
            if let Some(verdict) = watch.tick(now, place, streams, &mut say) {
                watch.fill(&mut evidence, &verdict, now, streams);
                let ladder = ladder::Ladder {
                    session: self,
                    options,
                    proc,
                    place,
                    streams,
                    watch,
                    tracer,
                    keeper,
                    evidence,
                    decided: now,
                };
                return ladder.climb(verdict).map(Some);
            }
            if watch.is_suspect(now) {
                tracer.look_closer();
            } else if !tracer.has_begun() && watch.is_doubtful(now, streams.seen()) {
                tracer.begin();
            }
        }
    }

    /// Whether a signal that asks to end has arrived since the last look.
    fn is_told_to_end(&mut self) -> bool {
        let asks = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
        let mut told = false;
        while let Ok(Some(arrived)) = self.signals.next() {
            told |= asks.contains(&arrived.signal);
        }
        told
    }

    /// Waits for something to happen, at most `limit`, and deals with it; whether one of the
    /// `alarms` went.
    pub fn step(&mut self, limit: Option<Duration>, alarms: &[File]) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(
            alarms
                .iter()
                .map(|alarm| PollFd::new(alarm, PollFlags::PRI)),
        );
        // An ended command stays ended.
        if self.ended.is_none() {
            fds.push(PollFd::new(&self.child, PollFlags::IN));
        }
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let went = |alarm: &PollFd<'_>| !alarm.revents().is_empty();
        let alarmed = fds[1..=alarms.len()].iter().any(went);
        drop(fds);
        while let Some(arrived) = self.signals.next()? {
            self.forward(arrived)?;
        }
        while self.ended.is_none()
            && let Some(change) = self.child.change()?
        {
            self.ended = Ended::of(change);
            if let Change::Stopped(signal) = change {
                self.stopped(signal);
            }
        }
        let command = self.ended.is_none().then(|| self.child.id());
        orphans::collect(command)?;
        Ok(alarmed)
    }

    fn forward(&self, arrived: Arrived) -> io::Result<()> {
        if self.ended.is_some() || !arrived.is_to_be_forwarded(self.shares_group) {
            return Ok(());
        }
        let value = (arrived.code == libc::SI_QUEUE).then_some(arrived.value);
        match self.child.signal(arrived.signal, value) {
            // A program with other rights than ours.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                say(&format!(
                    "cannot forward signal {}: {error}",
                    arrived.signal
                ));
                Ok(())
            }
            other => other,
        }
    }

    /// Stops as the command has, so that the shell sees its job stopped.
    fn stopped(&self, signal: i32) {
        if self.shares_group {
            log::debug!("the command was stopped by signal {signal}");
            // SAFETY: numbers only; the process goes on when it is continued.
            unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Owner;

    #[test]
    fn leftovers_are_told_in_a_line() {
        let mut left = LeftBehind {
            owner: Owner {
                pid_ns: 1,
                pid: 77,
                start_ticks: 5,
            },
            groups: vec!["/a".into(), "/b".into()],
            killed: 3,
            kept: None,
        };
        let line = told(&left);
        assert!(
            line.contains("pid 77") && line.contains("3 processes and 2"),
            "{line}"
        );
        left.kept = Some("denied".into());
        assert!(told(&left).contains("denied"));
    }
}
