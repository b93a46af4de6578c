//! Files that are the command's own, looked at from the side.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use rustix::fs::{Mode, OFlags, SeekFrom, fcntl_getfl, fstat, open, seek};

use super::seen::{Seen, Stream};

/// Most bytes that are read at a look; the rest is for the next one.
const PIECE: usize = 1 << 20;

/// A file that is one of the standard streams.
#[derive(Debug)]
pub(super) struct Aside {
    fd: OwnedFd,
    stream: Stream,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// It can be read too: how far it was.
    Readable { file: File, at: u64 },
    /// It cannot: its size.
    Growing { size: u64 },
}

impl Aside {
    /// For the file behind `fd`.
    pub fn new(fd: BorrowedFd<'_>, stream: Stream) -> io::Result<Self> {
        Ok(Self {
            fd: fd.try_clone_to_owned()?,
            stream,
            kind: kind_of(fd)?,
        })
    }

    /// Whether it stands for this stream.
    pub fn is(&self, stream: Stream) -> bool {
        self.stream == stream
    }

    /// Sees what is new, but for `own`: lines that gohang itself has written there since. What
    /// cannot be read says nothing.
    pub fn look(&mut self, seen: &Seen, own: &[Vec<u8>], now: Instant) {
        let size = size_of(&self.fd);
        match &mut self.kind {
            Kind::Readable { file, at } => {
                let size = size.unwrap_or(*at);
                // Truncated, as a log is that begins anew.
                *at = (*at).min(size);
                let room = usize::try_from(size - *at).map_or(PIECE, |left| left.min(PIECE));
                let mut piece = vec![0; room];
                if let Ok(length @ 1..) = file.read_at(&mut piece, *at) {
                    *at += length as u64;
                    piece.truncate(length);
                    own.iter().for_each(|line| cut(&mut piece, line));
                    if !piece.is_empty() {
                        seen.take(self.stream, &piece, now);
                    }
                }
            }
            Kind::Growing { size: last } => {
                let new = size.unwrap_or(*last);
                let own: usize = own.iter().map(Vec::len).sum();
                if new.saturating_sub(*last) != own as u64 {
                    seen.output_at(now);
                }
                *last = new;
            }
        }
    }
}

/// Takes `line` out of a text, if it is there.
fn cut(text: &mut Vec<u8>, line: &[u8]) {
    if let Some(at) = text.windows(line.len()).position(|part| part == line) {
        text.drain(at..at + line.len());
    }
}

/// A file opened once more, for reading, from where the command will write.
fn kind_of(fd: BorrowedFd<'_>) -> io::Result<Kind> {
    let size = size_of(fd)?;
    let again = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let Ok(file) = open(again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return Ok(Kind::Growing { size });
    };
    let appends = fcntl_getfl(fd)?.contains(OFlags::APPEND);
    let at = match seek(fd, SeekFrom::Current(0)) {
        Ok(at) if !appends => at,
        _ => size,
    };
    Ok(Kind::Readable {
        file: file.into(),
        at,
    })
}

fn size_of(fd: impl std::os::fd::AsFd) -> io::Result<u64> {
    Ok(u64::try_from(fstat(fd)?.st_size).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    #[test]
    fn new_bytes_of_a_file_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "=== RUN   TestOld\n").unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        let begin = Instant::now();
        let seen = Seen::new(begin);
        let mut aside = Aside::new(file.as_fd(), Stream::Out).unwrap();
        let later = begin + Duration::from_secs(1);
        aside.look(&seen, &[], later);
        assert_eq!((seen.last_output(), seen.running().len()), (begin, 0));
        file.write_all(b"=== RUN   TestNew\n").unwrap();
        aside.look(&seen, &[], later);
        assert_eq!(seen.last_output(), later);
        assert_eq!(seen.running()[0].test, "TestNew");
        // The offset of the command is its own.
        assert_eq!(file.stream_position().unwrap(), 36);
        file.set_len(0).unwrap();
        aside.look(&seen, &[], later);
        file.write_all(b"=== RUN   TestThird\n").unwrap();
        aside.look(&seen, &[], later);
        assert_eq!(seen.running().len(), 2);
    }

    #[test]
    fn own_lines_are_no_output_of_the_command() {
        let begin = Instant::now();
        let later = begin + Duration::from_secs(1);
        let mut file = tempfile::tempfile().unwrap();
        let growing = Kind::Growing { size: 0 };
        let readable = kind_of(file.as_fd()).unwrap();
        let mut asides = [growing, readable].map(|kind| {
            let fd = file.as_fd().try_clone_to_owned().unwrap();
            let stream = Stream::Err;
            (Aside { fd, stream, kind }, Seen::new(begin))
        });
        let own = [b"gohang: slow\n".to_vec(), b"gohang: hung\n".to_vec()];
        file.write_all(&own.concat()).unwrap();
        for (aside, seen) in &mut asides {
            aside.look(seen, &own, later);
            assert_eq!(seen.last_output(), begin);
        }
        file.write_all(&[&own[0][..], b"x"].concat()).unwrap();
        for (aside, seen) in &mut asides {
            aside.look(seen, &own[..1], later);
            assert_eq!(seen.last_output(), later);
        }
    }
}
