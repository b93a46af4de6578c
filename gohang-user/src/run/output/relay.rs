//! Between the command and a pipe: what comes is passed on at once, and looked at.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use super::seen::{Seen, Stream};
use crate::run::say::say;

/// What a pipe holds by default.
const PIECE: usize = 64 << 10;

/// A pipe that is passed on, by a thread of its own: a reader that does not read must keep
/// gohang from nothing else.
#[derive(Debug)]
pub(super) struct Relay {
    ends: Option<Ends>,
    stream: Stream,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

/// Where it comes from and goes to.
#[derive(Debug)]
struct Ends {
    from: File,
    to: File,
    stop: OwnedFd,
}

impl Relay {
    /// Between these two, not yet running.
    pub fn new(from: OwnedFd, to: OwnedFd, stream: Stream) -> io::Result<Self> {
        // The end is gohang's alone, so that nobody else is surprised.
        rustix::io::ioctl_fionbio(&from, true)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self {
            ends: Some(Ends {
                from: from.into(),
                to: to.into(),
                stop: stop.try_clone()?,
            }),
            stream,
            stop,
            thread: None,
        })
    }

    /// Begins.
    pub fn start(&mut self, seen: &Arc<Seen>) -> io::Result<()> {
        if let Some(ends) = self.ends.take() {
            let (seen, stream) = (Arc::clone(seen), self.stream);
            let thread = std::thread::Builder::new().name("relay".into());
            // Without a reader or writer there is nothing left to do.
            let body = move || drop(ends.pass_on(&seen, stream));
            self.thread = Some(thread.spawn(body)?);
        }
        Ok(())
    }

    /// Waits until everything has been passed on, or, from `end` on, no more than is there.
    /// A reader that does not read is not waited for longer than a second.
    pub fn finish(&mut self, end: Instant) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let has_ended = |until: Instant| {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            thread.is_finished()
        };
        if !has_ended(end) {
            let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
            if !has_ended(Instant::now() + Duration::from_secs(1)) {
                return say(
                    "warning: the reader of the command's output does not read; some of it is lost",
                );
            }
        }
        let _ = thread.join();
    }
}

impl Ends {
    fn pass_on(mut self, seen: &Seen, stream: Stream) -> io::Result<()> {
        let mut piece = vec![0u8; PIECE];
        loop {
            match self.from.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    self.write(&piece[..length])?;
                    seen.take(stream, &piece[..length], Instant::now());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait_for_more()? {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// False when there is nothing and nothing shall be waited for.
    fn wait_for_more(&self) -> io::Result<bool> {
        let mut fds = [
            PollFd::new(&self.from, PollFlags::IN),
            PollFd::new(&self.stop, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(!fds[0].revents().is_empty() || fds[1].revents().is_empty())
    }

    fn write(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.to.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => rest = &rest[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever shares the pipe has made it so.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(&self.to, PollFlags::OUT)];
                    match poll(&mut fds, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl AsFd for Relay {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.stop.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn pipe() -> (File, File) {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        (read.into(), write.into())
    }

    fn relay(from: File, to: File) -> (Relay, Arc<Seen>) {
        let seen = Arc::new(Seen::new(Instant::now()));
        let mut relay = Relay::new(from.into(), to.into(), Stream::Out).unwrap();
        relay.start(&seen).unwrap();
        (relay, seen)
    }

    #[test]
    fn everything_is_passed_on_and_seen() {
        let ((from, mut command), (mut reader, to)) = (pipe(), pipe());
        let (mut relay, seen) = relay(from, to);
        let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        let copy = sent.clone();
        let writer = std::thread::spawn(move || {
            command.write_all(&copy).unwrap();
            command.write_all(b"\n=== RUN   TestX\n").unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        relay.finish(Instant::now() + Duration::from_secs(10));
        assert_eq!(got[..sent.len()], sent);
        assert_eq!(&got[sent.len()..], b"\n=== RUN   TestX\n");
        assert_eq!(seen.running()[0].test, "TestX");
    }

    #[test]
    fn without_a_reader_the_command_has_none_either() {
        let ((from, mut command), (reader, to)) = (pipe(), pipe());
        let (mut relay, _) = relay(from, to);
        drop(reader);
        command.write_all(b"x").unwrap();
        relay.finish(Instant::now() + Duration::from_secs(10));
        let error = command.write_all(b"y").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_writer_that_stays_is_not_waited_for() {
        let ((from, mut command), (mut reader, to)) = (pipe(), pipe());
        let (mut relay, _) = relay(from, to);
        command.write_all(b"last words").unwrap();
        let begin = Instant::now();
        relay.finish(begin + Duration::from_millis(50));
        assert!(begin.elapsed() < Duration::from_secs(5));
        let mut got = String::new();
        reader.read_to_string(&mut got).unwrap();
        assert_eq!(got, "last words");
        drop(command);
    }
}
