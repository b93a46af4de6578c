//! One run, from the making of its place to its end.

use std::fs::File;
use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Options;
use super::child::{Change, Child, Start};
use super::error::RunError;
use super::inherited::Inherited;
use super::orphans;
use super::outcome::{Ended, Outcome};
use super::place::{self, LABEL, Place};
use super::remains;
use super::say::say;
use super::signals::{Arrived, Signals};
use crate::cgroup::{self, CgroupLayout, LeftBehind};
use crate::process::ProcRoot;

/// How long leftovers of earlier runs may take to end.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(2);

/// A run under way.
struct Session {
    child: Child,
    signals: Signals,
    /// The command is in gohang's own process group.
    shares_group: bool,
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
    // A terminal's job control works on the group that the shell made for this job.
    let shares_group = File::open("/dev/tty").is_ok();
    let child = start(options, place.as_mut(), inherited, !shares_group);
    let child = match child {
        Ok(child) => child,
        Err(error) => {
            remains::end(place, &proc);
            return Err(error);
        }
    };
    let session = Session {
        child,
        signals,
        shares_group,
    };
    let ended = session.follow();
    remains::end(place, &proc);
    let ended = ended.map_err(RunError::system("wait for the command"))?;
    Ok(Outcome {
        command: Some(ended),
        hung: None,
    })
}

/// Starts the command in its place.
fn start(
    options: &Options,
    place: &mut dyn Place,
    inherited: Inherited,
    own_group: bool,
) -> Result<Child, RunError> {
    let start = Start {
        command: &options.command,
        own_group,
        dies_with_us: place.groups().is_empty(),
        streams: [None, None],
        inherited,
    };
    let waiting = start.fork().map_err(RunError::system("start a process"))?;
    if let Err(error) = place.take_in(waiting.pid()) {
        waiting.give_up();
        return Err(error.into());
    }
    waiting.release().map_err(|source| RunError::Exec {
        program: options.command.first().cloned().unwrap_or_default(),
        source,
    })
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
    /// Forwards signals and follows stops until the command ends.
    fn follow(&self) -> io::Result<Ended> {
        loop {
            if let Some(ended) = self.step(None)? {
                return Ok(ended);
            }
        }
    }

    /// Waits for something to happen, at most `limit`, and deals with it; the command's end,
    /// if that is what happened.
    fn step(&self, limit: Option<Duration>) -> io::Result<Option<Ended>> {
        let mut fds = [
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.child, PollFlags::IN),
        ];
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(arrived) = self.signals.next()? {
            self.forward(arrived)?;
        }
        while let Some(change) = self.child.change()? {
            if let Change::Stopped(signal) = change {
                self.stopped(signal);
            } else {
                return Ok(Ended::of(change));
            }
        }
        orphans::collect(Some(self.child.id()))?;
        Ok(None)
    }

    fn forward(&self, arrived: Arrived) -> io::Result<()> {
        if !arrived.is_to_be_forwarded(self.shares_group) {
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
