//! One run, from the making of its place to its end.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Options;
use super::child::{Change, Child, Start};
use super::clash;
use super::error::RunError;
use super::inherited::Inherited;
use super::ladder;
use super::orphans;
use super::outcome::{Ended, Outcome};
use super::output::Streams;
use super::place::{self, LABEL, Place};
use super::remains;
use super::say::say;
use super::signals::{Arrived, Signals};
use super::watch::{Verdict, Watch};
use crate::cgroup::{self, CgroupError, CgroupLayout, LeftBehind};
use crate::process::ProcRoot;

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
pub fn run(options: &Options) -> Result<Outcome, RunError> {
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
        |pid, own| Watch::new(&options.breaker, &layout, &proc, pid, own, Instant::now()),
    );
    let (child, watch) = match started {
        Ok(started) => started,
        Err(error) => {
            remains::end(place, &proc);
            return Err(error);
        }
    };
    let mut session = Session {
        child,
        signals,
        shares_group,
        ended: None,
    };
    let outcome = streams
        .started()
        .and_then(|()| session.follow(options, &proc, place.as_mut(), &mut streams, watch));
    remains::end(place, &proc);
    streams.finish(LAST_OUTPUT);
    let hung = outcome.map_err(RunError::system("follow the command"))?;
    if let Some(hung) = &hung {
        hung.tell();
    }
    Ok(Outcome {
        command: session.ended,
        hung: hung.map(|hung| hung.killed),
    })
}

/// Starts the command in its place; before it does anything, its watch begins.
fn start(
    options: &Options,
    place: &mut dyn Place,
    streams: &Streams,
    inherited: Inherited,
    own_group: bool,
    watch: impl FnOnce(u32, bool) -> Result<Watch, CgroupError>,
) -> Result<(Child, Watch), RunError> {
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
    let watch = match watch(waiting.pid(), place.is_group()) {
        Ok(watch) => watch,
        Err(error) => {
            waiting.give_up();
            return Err(error.into());
        }
    };
    let child = waiting.release().map_err(|source| RunError::Exec {
        program: options.command.first().cloned().unwrap_or_default(),
        source,
    })?;
    Ok((child, watch))
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
    fn follow(
        &mut self,
        options: &Options,
        proc: &ProcRoot,
        place: &mut dyn Place,
        streams: &mut Streams,
        mut watch: Watch,
    ) -> io::Result<Option<ladder::Hung>> {
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
            if let Some(verdict) = watch.tick(now, place, streams, &mut say) {
                let hung = self.end(options, proc, place, streams, verdict)?;
                return Ok(Some(hung));
            }
        }
    }

    fn end(
        &mut self,
        options: &Options,
        proc: &ProcRoot,
        place: &mut dyn Place,
        streams: &mut Streams,
        verdict: Verdict,
    ) -> io::Result<ladder::Hung> {
        ladder::Ladder {
            session: self,
            breaker: &options.breaker,
            proc,
            place,
            streams,
        }
        .climb(verdict)
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
