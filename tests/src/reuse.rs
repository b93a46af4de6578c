//! Programs with a chosen process id, by `clone3` with `set_tid` (Linux 5.5).

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::sys;

/// `struct clone_args` up to `set_tid_size` (CLONE_ARGS_SIZE_VER1).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
}

/// This program under another name, which is what the kernel calls a process of it.
pub struct Program {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Program {
    /// Links this program under `name` in a folder of its own.
    ///
    /// # Errors
    /// When no such link can be made.
    pub fn link(name: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let path = folder.path().join(name);
        std::os::unix::fs::symlink(std::env::current_exe()?, &path)?;
        Ok(Self {
            _folder: folder,
            path,
        })
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|n| n.to_str()).unwrap_or("")
    }

    /// Runs it to its end with the process id `pid`.
    ///
    /// # Errors
    /// When the id is taken, or the program fails.
    pub fn run_as(&self, pid: i32, args: &[&str]) -> Result<()> {
        let path = CString::new(self.path.as_os_str().as_bytes())?;
        let mut words = vec![path.clone()];
        for arg in args {
            words.push(CString::new(*arg)?);
        }
        let null = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        let child = clone_as(pid, || {
            let mut argv: [*const libc::c_char; 16] = [std::ptr::null(); 16];
            for (slot, word) in argv.iter_mut().zip(&words) {
                *slot = word.as_ptr();
            }
            sys::die_with_parent();
            // SAFETY: open descriptors and zero-terminated arrays; the environment is empty.
            unsafe {
                libc::dup2(null.as_raw_fd(), 0);
                libc::dup2(null.as_raw_fd(), 1);
                libc::execve(path.as_ptr(), argv.as_ptr(), argv[15..].as_ptr());
            }
        })
        .with_context(|| format!("cannot start a process with the id {pid}"))?;
        let status = wait(child)?;
        if status != 0 {
            bail!("the program with the id {pid} ended with the status {status:#x}");
        }
        Ok(())
    }
}

/// A process id that is free now and far from the next ones to be given out.
///
/// # Errors
/// When this kernel gives out no chosen ids.
pub fn free_pid() -> Result<i32> {
    let limit: i32 = std::fs::read_to_string("/proc/sys/kernel/pid_max")?
        .trim()
        .parse()?;
    let last: i32 = std::fs::read_to_string("/proc/sys/kernel/ns_last_pid")?
        .trim()
        .parse()?;
    let mut error = None;
    for step in 1..100 {
        let pid = 1_000 + (last + limit.min(32_768) / 2 + step * 97) % (limit.min(32_768) - 1_000);
        match clone_as(pid, || ()) {
            Ok(child) => {
                wait(child)?;
                return Ok(pid);
            }
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {}
            Err(e) => error = Some(e),
        }
    }
    bail!("clone3 gives no process a chosen id: {error:?}")
}

/// Forks with a chosen id; the child runs `in_child`, which may only make async-signal-safe
/// calls, and exits with 127.
fn clone_as(pid: i32, in_child: impl Fn()) -> std::io::Result<i32> {
    let args = CloneArgs {
        exit_signal: libc::SIGCHLD as u64,
        set_tid: &raw const pid as u64,
        set_tid_size: 1,
        ..CloneArgs::default()
    };
    // SAFETY: the arguments are valid and live until the call returns; without CLONE_VM the
    // child has its own copy of everything.
    let rc = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match rc {
        0 => {
            in_child();
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(127) }
        }
        child if child > 0 => Ok(pid),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn wait(child: i32) -> Result<i32> {
    let mut status = 0;
    // SAFETY: `status` is valid for the kernel to fill.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        let error = std::io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error).context("waitpid failed");
        }
    }
    Ok(status)
}
