//! Lines of gohang's own on standard error, between those of the command.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use crate::process::escape;

/// What was said since it was last asked for, if anybody asks.
static SAID: Mutex<Option<Vec<Vec<u8>>>> = Mutex::new(None);
/// Nobody has taken the last line in time.
static UNHEARD: AtomicBool = AtomicBool::new(false);
/// How long a line may wait for room. Whoever does not read what is printed may be the very
/// reason why the command hangs, and must not keep gohang from ending it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes one line; what comes from processes is made harmless. Nobody to read it is no
/// error.
pub(super) fn say(text: &str) {
    // In one piece, so that the command's own lines do not get in between.
    let line = format!("gohang: {}\n", escape(text)).into_bytes();
    write(&line);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(said) = &mut *said {
        said.push(line);
    }
}

/// The lines that were said since the last call. The first call begins to keep them.
pub(super) fn take_said() -> Vec<Vec<u8>> {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    said.replace(Vec::new()).unwrap_or_default()
}

/// Writes to standard error what there is room for within [`PATIENCE`]; once there was none, it
/// is not waited for again until there is.
pub(super) fn write(text: &[u8]) {
    let patience = match UNHEARD.load(Ordering::Relaxed) {
        true => Duration::ZERO,
        false => PATIENCE,
    };
    let done = match own_end() {
        Some(pipe) => write_within(pipe, text, patience),
        None => write_within(&std::io::stderr(), text, patience),
    };
    let unheard = done.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
    UNHEARD.store(unheard, Ordering::Relaxed);
}

/// Standard error as [`write`] has it: for diagnostics, which are not worth waiting for either.
#[derive(Debug)]
pub struct PatientStderr;

impl io::Write for PatientStderr {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        write(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error opened anew where it is a pipe, so that a write to it does not wait, whoever
/// else fills it; on the descriptor itself that would hold for the command as well.
fn own_end() -> Option<&'static File> {
    static END: OnceLock<Option<File>> = OnceLock::new();
    let again = || {
        let about = fstat(std::io::stderr()).ok()?;
        let is_pipe = FileType::from_raw_mode(about.st_mode) == FileType::Fifo;
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let end = is_pipe.then(|| open("/proc/self/fd/2", flags, Mode::empty()));
        end?.ok().map(File::from)
    };
    END.get_or_init(again).as_ref()
}

/// Writes what there is room for, and waits for more for so long.
fn write_within<T>(to: &T, mut text: &[u8], patience: Duration) -> io::Result<()>
where
    T: AsFd,
    for<'a> &'a T: io::Write,
{
    let end = Instant::now() + patience;
    while !text.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(to, PollFlags::OUT)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut to = to;
        match to.write(text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => text = &text[length..],
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::io::Read as _;

    #[test]
    fn a_reader_that_does_not_read_is_not_waited_for() {
        let (reader, end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let (mut reader, end) = (File::from(reader), File::from(end));
        write_within(&end, b"heard", Duration::ZERO).unwrap();
        let mut piece = [0; 5];
        reader.read_exact(&mut piece).unwrap();
        assert_eq!(&piece, b"heard");
        let begin = Instant::now();
        let much = vec![0; 10 << 20];
        let short = Duration::from_millis(50);
        let error = write_within(&end, &much, short).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() >= short);
        let error = write_within(&end, b"x", Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(10));
        drop(reader);
        let error = write_within(&end, b"x", Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
