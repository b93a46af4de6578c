//! A shell in miniature, with job control: `gohang-tests __jobshell PROGRAM ARGUMENT...`, started
//! with a terminal. It runs the program as a job in the foreground, says how that stops and ends,
//! and continues it when it has stopped.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::actor::pause_ms;

/// How long a stopped job stays so, milliseconds.
const STOPPED_MS: u64 = 100;

/// Runs it.
///
/// # Errors
/// When the program cannot be started.
pub fn run(words: &[String]) -> Result<()> {
    let (program, arguments) = words.split_first().context("which program?")?;
    foreground(0);
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    // SAFETY: system calls only between fork and exec.
    unsafe {
        command.pre_exec(|| {
            foreground(libc::getpid());
            libc::signal(libc::SIGTTOU, libc::SIG_DFL);
            Ok(())
        })
    };
    let child = command
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let pid = i32::try_from(child.id())?;
    loop {
        let mut status = 0;
        // SAFETY: there is room for the status.
        if unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) } != pid {
            return Err(std::io::Error::last_os_error()).context("cannot wait");
        }
        foreground(0);
        if libc::WIFSTOPPED(status) {
            say("stopped");
            pause_ms(STOPPED_MS);
            foreground(pid);
            // SAFETY: numbers only.
            unsafe { libc::kill(-pid, libc::SIGCONT) };
        } else if libc::WIFEXITED(status) {
            say(&format!("exited {}", libc::WEXITSTATUS(status)));
            return Ok(());
        } else {
            say(&format!("killed {}", libc::WTERMSIG(status)));
            return Ok(());
        }
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout();
    // The terminal may be gone.
    let _ = writeln!(out, "job {what}").and_then(|()| out.flush());
}

/// Puts a process group (0: this process's) in the foreground.
fn foreground(group: i32) {
    // SAFETY: numbers only. A process in the background may do this only if it ignores SIGTTOU.
    unsafe {
        libc::signal(libc::SIGTTOU, libc::SIG_IGN);
        let group = if group == 0 { libc::getpgrp() } else { group };
        libc::tcsetpgrp(0, group);
    }
}
