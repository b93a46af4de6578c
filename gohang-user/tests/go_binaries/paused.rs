//! A program that is stopped before its first instruction, and may be told of CPUs that
//! this machine does not have.

use std::fs::{self, OpenOptions};
use std::io::{Error, Read as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// A stopped process; its thread is the only one that may let it go on.
pub struct Paused {
    child: Child,
    ended: bool,
}

impl Paused {
    /// Starts `command`, whose stderr is kept, and stops it when its program is loaded.
    pub fn start(command: &mut Command) -> Self {
        let trace = || {
            // SAFETY: a system call without pointers, between fork and exec.
            let done = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            if done < 0 {
                return Err(Error::last_os_error());
            }
            Ok(())
        };
        command.stderr(Stdio::piped()).stdout(Stdio::null());
        // SAFETY: the closure makes one system call and touches no memory of the parent.
        unsafe { command.pre_exec(trace) };
        let child = command.spawn().unwrap();
        let mut paused = Self {
            child,
            ended: false,
        };
        paused.wait_stopped();
        paused
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        self.request(libc::PTRACE_DETACH, 0);
    }

    /// Lets it go on with its first question for its CPUs answered with `cpus` of them,
    /// at most 64.
    pub fn resume_with_cpus(&mut self, cpus: u32) {
        let mut asked = false;
        loop {
            self.request(libc::PTRACE_SYSCALL, 0);
            self.wait_stopped();
            let call = fs::read_to_string(format!("/proc/{}/syscall", self.pid())).unwrap();
            let mut words = call.split_whitespace();
            let number = words.next().and_then(|word| word.parse().ok());
            if number != Some(libc::SYS_sched_getaffinity) {
                continue;
            }
            // The first stop is before the call, the second behind it.
            if !asked {
                asked = true;
                continue;
            }
            let buffer = words.nth(2).and_then(|word| word.strip_prefix("0x"));
            let buffer = u64::from_str_radix(buffer.unwrap(), 16).unwrap();
            let mask = u64::MAX >> (64 - cpus);
            let memory = OpenOptions::new()
                .write(true)
                .open(format!("/proc/{}/mem", self.pid()))
                .unwrap();
            memory.write_all_at(&mask.to_ne_bytes(), buffer).unwrap();
            break;
        }
        self.resume();
    }

    /// What it wrote to stderr by its end.
    pub fn output(mut self) -> String {
        let mut text = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        pipe.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        self.ended = true;
        text
    }

    /// Its standard error, to be read while it runs.
    pub fn stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().unwrap()
    }

    fn request(&self, request: libc::c_uint, data: libc::c_long) {
        let pid = libc::pid_t::try_from(self.pid()).unwrap();
        // SAFETY: neither request takes a pointer.
        let done = unsafe { libc::ptrace(request, pid, 0, data) };
        assert!(done >= 0, "ptrace: {}", Error::last_os_error());
    }

    fn wait_stopped(&mut self) {
        let pid = libc::pid_t::try_from(self.pid()).unwrap();
        let mut status = 0;
        // SAFETY: `status` is where the kernel writes to, and lives long enough.
        let done = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(done, pid, "waitpid: {}", Error::last_os_error());
        if !libc::WIFSTOPPED(status) {
            self.ended = true;
            panic!("it ended early, with {status:#x}");
        }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
