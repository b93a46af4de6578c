//! Signals by out-of-band data: the way that SIGURG was made for.

use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

/// A connection over loopback, both ends of it here; the kernel signals the owner of one end
/// when urgent data arrives there, wherever that owner runs.
pub(super) struct Line {
    near: TcpStream,
    far: TcpStream,
}

impl Line {
    /// Connects, and makes the process `pid` the owner.
    ///
    /// # Errors
    /// There is no loopback, or no room for sockets.
    pub(super) fn to(pid: u32) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        // Each byte at once and in the sender's own context.
        near.set_nodelay(true)?;
        let (far, from) = listener.accept()?;
        if from != near.local_addr()? {
            return Err(io::Error::other("somebody else connected"));
        }
        far.set_nonblocking(true)?;
        inline(&far)?;
        let owner = pid as libc::pid_t;
        // SAFETY: the descriptor is open, and this command takes a number.
        if unsafe { libc::fcntl(far.as_raw_fd(), libc::F_SETOWN, owner) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { near, far })
    }

    /// Sends a byte of urgent data, and empties the other end.
    ///
    /// # Errors
    /// The connection is gone, or takes no more.
    pub(super) fn send(&mut self) -> io::Result<()> {
        let byte = b"!";
        // SAFETY: one byte of a static is read.
        let sent = unsafe {
            libc::send(
                self.near.as_raw_fd(),
                byte.as_ptr().cast(),
                byte.len(),
                libc::MSG_OOB | libc::MSG_NOSIGNAL,
            )
        };
        if sent != 1 {
            return Err(io::Error::last_os_error());
        }
        // A full end would hold up the next one.
        self.empty().map(drop)
    }

    /// Reads what has arrived, and says how much it was.
    fn empty(&mut self) -> io::Result<usize> {
        let (mut bytes, mut rest) = (0, [0; 64]);
        loop {
            match self.far.read(&mut rest) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => bytes += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(bytes),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Lets urgent bytes be read like others. Apart from the rest, a read leaves them where they
/// are while nothing else has come: the connection is full after some hundreds.
fn inline(end: &TcpStream) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option is a number of the length stated.
    let result = unsafe {
        libc::setsockopt(
            end.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_OOBINLINE,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_bytes_fills_the_connection() {
        // SIGURG does nothing to a process that does not handle it.
        let mut line = Line::to(std::process::id()).expect("connected");
        for _ in 0..20_000 {
            line.send().expect("sent");
        }
        // What the far end had no room for would still be here.
        std::thread::sleep(std::time::Duration::from_millis(100));
        line.empty().expect("read");
        let mut left: libc::c_int = -1;
        // SAFETY: this request writes a number.
        let asked = unsafe { libc::ioctl(line.near.as_raw_fd(), libc::TIOCOUTQ, &raw mut left) };
        assert_eq!((asked, left), (0, 0), "bytes wait to be sent");
    }
}
