//! Runs the program under test.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::sys;

/// How long attaching may take before the run counts as failed; far above the aim.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How long the program may take to end and print after SIGINT.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The line that says that tracing has begun.
const READY_LINE: &str = "gohang: tracing";

/// A running `gohang`.
pub struct Gohang {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<String>>,
    ready: Receiver<u64>,
    /// Clock when `gohang: tracing` was read, once waited for.
    pub tracing_ns: u64,
    /// From start to that line, nanoseconds.
    pub start_up_ns: u64,
}

/// What a run printed.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: String,
}

impl Finished {
    /// Makes sure that it ended well.
    ///
    /// # Errors
    /// How it ended, and its standard error.
    pub fn expect_success(&self) -> Result<()> {
        if !self.status.success() {
            bail!("{}: {}", self.status, self.stderr_line());
        }
        Ok(())
    }

    /// Standard error in one line for a message.
    pub fn stderr_line(&self) -> String {
        self.stderr.trim().replace('\n', " | ")
    }
}

impl Gohang {
    /// Starts it with these arguments and collects what it prints.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn spawn(path: &Path, args: &[String]) -> Result<Self> {
        Self::spawn_command(Command::new(path).args(args))
    }

    /// Starts a prepared command.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn spawn_command(command: &mut Command) -> Result<Self> {
        Self::spawn_with(command, Stdio::null())
    }

    /// The same with this input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_with(command: &mut Command, input: Stdio) -> Result<Self> {
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: one async-signal-safe system call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                sys::die_with_parent();
                Ok(())
            })
        };
        let started = sys::mono_ns();
        let program = command.get_program().to_owned();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {program:?}"))?;
        let mut out = child.stdout.take().context("no pipe")?;
        let err = child.stderr.take().context("no pipe")?;
        let stdout = std::thread::spawn(move || {
            let mut all = Vec::new();
            // What was read before an error is what there is.
            let _ = out.read_to_end(&mut all);
            all
        });
        let (tell, ready) = channel();
        let stderr = std::thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(err).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                if line.trim_end() == READY_LINE {
                    // Nobody may be waiting any more.
                    let _ = tell.send(sys::mono_ns());
                }
                all.push_str(&line);
                all.push('\n');
            }
            all
        });
        let (stdout, stderr) = (Some(stdout), Some(stderr));
        Ok(Self {
            child,
            stdout,
            stderr,
            ready,
            tracing_ns: 0,
            start_up_ns: started,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the line that says that tracing has begun.
    ///
    /// # Errors
    /// When the program ends first or takes too long; the message has its standard error.
    pub fn wait_ready(&mut self) -> Result<()> {
        match self.ready.recv_timeout(READY_LIMIT) {
            Ok(ns) => {
                self.start_up_ns = ns - self.start_up_ns;
                self.tracing_ns = ns;
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => bail!("no `{READY_LINE}` within {READY_LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let end = self.collect()?;
                bail!(
                    "gohang ended before tracing, {}: {}",
                    end.status,
                    end.stderr_line()
                )
            }
        }
    }

    /// Sends a signal to it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, sig: i32) -> Result<()> {
        sys::kill(i32::try_from(self.pid())?, sig).context("cannot signal gohang")
    }

    /// Waits for it to end, at most `limit`, and hands over what it printed.
    ///
    /// # Errors
    /// When it does not end in time (it is killed then).
    pub fn wait(mut self, limit: Duration) -> Result<Finished> {
        let deadline = Instant::now() + limit;
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                self.child.kill()?;
                let end = self.collect()?;
                bail!("gohang did not end within {limit:?}: {}", end.stderr_line());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.collect()
    }

    /// Ends it as Ctrl-C does and hands over what it printed.
    ///
    /// # Errors
    /// When it does not end in time or ends with an error.
    pub fn interrupt(self) -> Result<Finished> {
        self.signal(libc::SIGINT)?;
        let end = self.wait(END_LIMIT)?;
        if !end.status.success() {
            bail!(
                "gohang ended with {} after SIGINT: {}",
                end.status,
                end.stderr_line()
            );
        }
        Ok(end)
    }

    fn collect(&mut self) -> Result<Finished> {
        let status = self.child.wait()?;
        let (out, err) = (self.stdout.take(), self.stderr.take());
        let stdout = out.map_or(Ok(Vec::new()), JoinHandle::join);
        let stderr = err.map_or(Ok(String::new()), JoinHandle::join);
        let failed = |_| anyhow!("a reader of gohang's output panicked");
        Ok(Finished {
            status,
            stdout: stdout.map_err(failed)?,
            stderr: stderr.map_err(failed)?,
        })
    }
}

impl Drop for Gohang {
    fn drop(&mut self) {
        // Already ended in the good case; otherwise a failed test must not leave it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it to its end, at most `limit`.
///
/// # Errors
/// When it cannot be executed or does not end in time.
pub fn run(path: &Path, args: &[&str], limit: Duration) -> Result<Finished> {
    let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
    Gohang::spawn(path, &args)?.wait(limit)
}
