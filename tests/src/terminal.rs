//! A terminal to run programs on, as the person in front of it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A program that has a terminal of its own.
pub struct Terminal {
    child: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    /// What was shown so far.
    shown: String,
    /// How much of it has been looked at.
    seen: usize,
}

impl Terminal {
    /// Starts a program as the leader of a session with a terminal, which does not repeat keys.
    ///
    /// # Errors
    /// When there is no terminal to be had, or the program cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let (master, slave) = pair()?;
        let stdio = |fd: &OwnedFd| fd.try_clone().map(Stdio::from);
        command
            .stdin(stdio(&slave)?)
            .stdout(stdio(&slave)?)
            .stderr(stdio(&slave)?);
        // SAFETY: two system calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            })
        };
        let child = command.spawn().context("cannot run it on a terminal")?;
        drop(slave);
        // The command holds descriptors until it is dropped or told otherwise.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut reader = File::from(master.try_clone()?);
        let (send, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            // EIO says that nobody has the terminal open any more.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            keys: File::from(master),
            screen,
            shown: String::new(),
            seen: 0,
        })
    }

    /// Presses keys.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn press(&mut self, keys: &[u8]) -> Result<()> {
        self.keys.write_all(keys).context("the terminal is gone")
    }

    /// Waits until `text` is shown, after what was waited for before.
    ///
    /// # Errors
    /// When it is not shown in time.
    pub fn expect(&mut self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = self.shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => bail!("{text:?} was not shown, but {:?}", self.shown),
            }
        }
    }

    /// Waits for the program's end; what was shown in all.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn end(mut self, limit: Duration) -> Result<(ExitStatus, String)> {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(
                Instant::now() < deadline,
                "the program on the terminal does not end; it showed {:?}",
                self.shown
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        while let Ok(bytes) = self.screen.recv_timeout(Duration::from_millis(200)) {
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok((
            status,
            std::mem::take(&mut self.shown).replace("\r\n", "\n"),
        ))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both ends of a new terminal, of which the second neither repeats nor changes what it gets.
fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: there is room for two descriptors; neither name, settings nor size is asked for.
    let done = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            null,
            null.cast(),
            null.cast(),
        )
    };
    if done != 0 {
        return Err(std::io::Error::last_os_error()).context("no terminal to be had");
    }
    // SAFETY: both are new and nobody else's.
    let pair = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    // SAFETY: the settings are the terminal's own, with a flag less; numbers otherwise.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        libc::tcgetattr(pair.1.as_raw_fd(), &raw mut settings);
        settings.c_lflag &= !libc::ECHO;
        libc::tcsetattr(pair.1.as_raw_fd(), libc::TCSANOW, &raw const settings);
        for fd in [pair.0.as_raw_fd(), pair.1.as_raw_fd()] {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    Ok(pair)
}
