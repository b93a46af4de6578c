//! Starting the command: it waits at a gate, in a process of its own, until it has been
//! put where it belongs, and only then becomes the program.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid};

use super::inherited::Inherited;

/// How the command is started.
pub(super) struct Start<'a> {
    /// The program, looked for along `PATH`, and its arguments.
    pub command: &'a [OsString],
    /// In a process group of its own.
    pub own_group: bool,
    /// It is killed when gohang is.
    pub dies_with_us: bool,
    /// In place of standard output and standard error.
    pub streams: [Option<BorrowedFd<'a>>; 2],
    /// Signal state to begin with.
    pub inherited: Inherited,
}

/// A process that waits to become the program.
pub(super) struct Waiting {
    child: Child,
    gate: File,
    verdict: File,
}

/// The command's process.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

/// What a child told of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It exited with this code.
    Exited(i32),
    /// A signal ended it.
    Killed(i32),
    /// A signal stopped it.
    Stopped(i32),
}

impl Start<'_> {
    /// Forks. The new process waits until [`Waiting::release`], or ends if gohang does.
    pub fn fork(self) -> io::Result<Waiting> {
        let words = self.command.iter().map(|word| {
            CString::new(word.as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
        });
        let words = words.collect::<Result<Vec<_>, _>>()?;
        let mut argv: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        argv.push(std::ptr::null());
        let (gate, our_gate) = pipe_with(PipeFlags::CLOEXEC)?;
        let (our_verdict, verdict) = pipe_with(PipeFlags::CLOEXEC)?;
        let parent = std::process::id();
        // SAFETY: gohang has a single thread here, and the child keeps to async-signal-safe
        // calls on what was made before.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // It must see the end of the gate when gohang ends.
            drop(our_gate);
            self.become_program(parent, &argv, gate.as_raw_fd(), verdict.as_raw_fd());
        }
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        let pid = Pid::from_raw(pid).ok_or_else(io::Error::last_os_error)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Waiting {
            child: Child { pid, pidfd },
            gate: our_gate.into(),
            verdict: our_verdict.into(),
        })
    }

    /// The child's side. Nothing here allocates.
    fn become_program(
        &self,
        parent: u32,
        argv: &[*const libc::c_char],
        gate: libc::c_int,
        verdict: libc::c_int,
    ) -> ! {
        // SAFETY: all are async-signal-safe system calls on numbers, on descriptors that are
        // open, and on memory that outlives them; `argv` ends with a null. execvp only
        // searches PATH and allocates nothing in the C libraries that Rust supports.
        unsafe {
            if self.own_group {
                libc::setpgid(0, 0);
            }
            if self.dies_with_us {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if u32::try_from(libc::getppid()) != Ok(parent) {
                    libc::_exit(125);
                }
            }
            let mut byte = 0u8;
            loop {
                match libc::read(gate, (&raw mut byte).cast(), 1) {
                    1 => break,
                    -1 if *libc::__errno_location() == libc::EINTR => {}
                    // Gohang has ended.
                    _ => libc::_exit(125),
                }
            }
            for (stream, number) in self
                .streams
                .iter()
                .zip([libc::STDOUT_FILENO, libc::STDERR_FILENO])
            {
                if let Some(stream) = stream
                    && libc::dup2(stream.as_raw_fd(), number) < 0
                {
                    tell_and_exit(verdict);
                }
            }
            self.inherited.restore();
            libc::execvp(argv[0], argv.as_ptr());
            tell_and_exit(verdict);
        }
    }
}

/// Tells gohang the error and ends; async-signal-safe.
///
/// # Safety
/// `verdict` must be open, and the process a child that has not executed anything.
unsafe fn tell_and_exit(verdict: libc::c_int) -> ! {
    // SAFETY: four bytes that are ours, to a descriptor that the caller says is open.
    unsafe {
        let errno: i32 = *libc::__errno_location();
        libc::write(verdict, (&raw const errno).cast(), size_of::<i32>());
        libc::_exit(if errno == libc::ENOENT { 127 } else { 126 })
    }
}

impl Waiting {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it become the program.
    ///
    /// # Errors
    /// The reason why the program could not be executed.
    pub fn release(self) -> io::Result<Child> {
        let Self {
            child,
            mut gate,
            mut verdict,
        } = self;
        io::Write::write_all(&mut gate, b"g")?;
        let mut raw = [0u8; size_of::<i32>()];
        // The descriptor is closed by the exec; then nothing is read.
        match verdict.read_exact(&mut raw) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(child),
            Err(error) => Err(error),
            Ok(()) => {
                child.wait()?;
                Err(io::Error::from_raw_os_error(i32::from_ne_bytes(raw)))
            }
        }
    }

    /// Ends it instead.
    pub fn give_up(self) {
        let Self { child, gate, .. } = self;
        drop(gate);
        // It exits by itself when the gate is closed.
        let _ = child.wait();
    }
}

impl Child {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends it a signal, with what a `sigqueue` gave. It is fine if it has ended.
    pub fn signal(&self, signal: i32, value: Option<u64>) -> io::Result<()> {
        let pid = self.pid.as_raw_nonzero().get();
        // SAFETY: numbers only; it has not been waited for, so that the number is its own.
        let sent = unsafe {
            match value {
                Some(value) => {
                    let sival_ptr = std::ptr::without_provenance_mut(value as usize);
                    libc::sigqueue(pid, signal, libc::sigval { sival_ptr })
                }
                None => libc::kill(pid, signal),
            }
        };
        match io::Error::last_os_error() {
            _ if sent == 0 => Ok(()),
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        }
    }

    /// What has changed since it was last asked; `None`: nothing.
    pub fn change(&self) -> io::Result<Option<Change>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        Ok(self.ask(options)?.and_then(|status| change_of(&status)))
    }

    /// Waits for its end.
    pub fn wait(&self) -> io::Result<Change> {
        loop {
            let status = self.ask(WaitIdOptions::EXITED)?;
            if let Some(change) = status.as_ref().and_then(change_of) {
                return Ok(change);
            }
        }
    }

    fn ask(&self, options: WaitIdOptions) -> io::Result<Option<WaitIdStatus>> {
        loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }
}

fn change_of(status: &WaitIdStatus) -> Option<Change> {
    let exited = status.exit_status().map(Change::Exited);
    exited
        .or_else(|| status.terminating_signal().map(Change::Killed))
        .or_else(|| status.stopping_signal().map(Change::Stopped))
}

/// Readable once it has ended.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(words: &[&str]) -> Waiting {
        let command: Vec<OsString> = words.iter().map(Into::into).collect();
        let start = Start {
            command: &command,
            own_group: true,
            dies_with_us: true,
            streams: [None, None],
            inherited: Inherited::note(),
        };
        start.fork().unwrap()
    }

    #[test]
    fn it_becomes_the_program_only_when_it_is_let() {
        let waiting = start(&["sh", "-c", "exit 7"]);
        let exe = |pid| std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        assert_eq!(exe(waiting.pid()), exe(std::process::id()));
        let child = waiting.release().unwrap();
        assert_eq!(child.wait().unwrap(), Change::Exited(7));
    }

    #[test]
    fn what_cannot_be_executed_is_told() {
        for (program, errno) in [
            ("/nonexistent/program", libc::ENOENT),
            ("gohang-no-such-program", libc::ENOENT),
            ("/proc", libc::EACCES),
        ] {
            let error = start(&[program]).release().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno), "{program}");
        }
        let command = ["a\0b".into()];
        let start = Start {
            command: &command,
            own_group: false,
            dies_with_us: false,
            streams: [None, None],
            inherited: Inherited::note(),
        };
        assert!(start.fork().is_err());
    }

    #[test]
    fn it_ends_if_it_is_given_up() {
        let waiting = start(&["true"]);
        let pid = waiting.pid();
        waiting.give_up();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn signals_stops_and_the_end_are_seen() {
        let child = start(&["sleep", "1000"]).release().unwrap();
        assert_eq!(child.change().unwrap(), None);
        child.signal(libc::SIGSTOP, None).unwrap();
        let wait = || loop {
            if let Some(change) = child.change().unwrap() {
                return change;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        assert_eq!(wait(), Change::Stopped(libc::SIGSTOP));
        child.signal(libc::SIGCONT, None).unwrap();
        child.signal(libc::SIGTERM, Some(5)).unwrap();
        assert_eq!(wait(), Change::Killed(libc::SIGTERM));
    }
}
