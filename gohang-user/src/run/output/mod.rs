//! Looking at what the command prints without changing it.
//!
//! A standard stream that is a terminal, a file, a socket or a device is the command's own,
//! as it would be without gohang: of a file the new bytes are read aside, of the others it
//! only shows that the command's processes write something. Only a pipe shows nothing to anybody but its reader; there gohang
//! stands in between, takes what comes and passes it on at once, byte for byte. Both streams
//! in one pipe stay in one, so that their order stays. A pipe without a reader is closed to
//! the command as well.

mod aside;
mod relay;
mod seen;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, fstat};
use rustix::pipe::{PipeFlags, pipe_with};

use aside::Aside;
use relay::Relay;
pub(super) use seen::{Seen, Stream};

use super::say::take_said;

/// The command's standard output and standard error.
#[derive(Debug)]
pub(super) struct Streams {
    seen: Arc<Seen>,
    child_ends: [Option<OwnedFd>; 2],
    relays: Vec<Relay>,
    asides: Vec<Aside>,
    /// Which of those gohang's own lines go to.
    own_lines: Option<usize>,
    /// There is a stream on which output shows nowhere.
    blind: bool,
}

impl Streams {
    /// Finds out what they are. If not to `observe`, they are left alone.
    pub fn set_up(observe: bool, now: Instant) -> io::Result<Self> {
        let mut streams = Self {
            seen: Arc::new(Seen::new(now)),
            child_ends: [None, None],
            relays: Vec::new(),
            asides: Vec::new(),
            own_lines: None,
            blind: !observe,
        };
        if !observe {
            return Ok(streams);
        }
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let fds = [stdout.as_fd(), stderr.as_fd()];
        let both_are_one = {
            let (out, err) = (fstat(fds[0])?, fstat(fds[1])?);
            (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino)
        };
        for (index, (fd, stream)) in fds.into_iter().zip([Stream::Out, Stream::Err]).enumerate() {
            if index == 1 && both_are_one {
                streams.child_ends[1] = streams.child_ends[0]
                    .as_ref()
                    .map(OwnedFd::try_clone)
                    .transpose()?;
                break;
            }
            match FileType::from_raw_mode(fstat(fd)?.st_mode) {
                FileType::Fifo => {
                    let (ours, childs) = pipe_with(PipeFlags::CLOEXEC)?;
                    streams.child_ends[index] = Some(childs);
                    streams
                        .relays
                        .push(Relay::new(ours, fd.try_clone_to_owned()?, stream)?);
                }
                FileType::RegularFile => streams.asides.push(Aside::new(fd, stream)?),
                _ => streams.blind = true,
            }
        }
        // Standard error is the last one, or the same as the first.
        streams.own_lines = streams.asides.len().checked_sub(1);
        let to_error = |aside: &Aside| both_are_one || aside.is(Stream::Err);
        streams.own_lines = streams
            .own_lines
            .filter(|&index| to_error(&streams.asides[index]));
        if streams.own_lines.is_some() {
            // From now on they are kept.
            take_said();
        }
        Ok(streams)
    }

    /// What the command gets in place of its streams.
    pub fn child_ends(&self) -> [Option<BorrowedFd<'_>>; 2] {
        let [out, err] = &self.child_ends;
        [out.as_ref(), err.as_ref()].map(|end| end.map(AsFd::as_fd))
    }

    /// Begins to pass on; the command has its ends by now.
    pub fn started(&mut self) -> io::Result<()> {
        self.child_ends = [None, None];
        let seen = &self.seen;
        self.relays
            .iter_mut()
            .try_for_each(|relay| relay.start(seen))
    }

    /// Looks at the streams that are not passed on.
    pub fn look(&mut self, now: Instant) {
        if self.asides.is_empty() {
            return;
        }
        let said = take_said();
        for (index, aside) in self.asides.iter_mut().enumerate() {
            let own = if self.own_lines == Some(index) {
                &said[..]
            } else {
                &[]
            };
            aside.look(&self.seen, own, now);
        }
    }

    /// What was seen so far.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Whether output can go unnoticed.
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// Passes on what is left: until the last writer has closed its end, or nothing is there
    /// any more after `limit`.
    pub fn finish(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        for relay in &mut self.relays {
            relay.finish(end);
        }
    }
}
