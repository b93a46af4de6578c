//! gohang, run as a user runs it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Which gohang is measured.
#[derive(Debug)]
pub struct Product {
    /// The binary.
    pub gohang: PathBuf,
    /// Another kernel object than its own.
    pub object: Option<PathBuf>,
}

/// A `gohang trace` under way; killed when dropped.
#[derive(Debug)]
pub struct Tracing {
    child: Child,
    /// From the start of the process to `gohang: tracing`.
    pub start: Duration,
}

impl Product {
    /// Starts `gohang trace` with these arguments and waits for the line that
    /// says that it traces.
    ///
    /// # Errors
    /// It ends before; its last words are in the error.
    pub fn trace(&self, arguments: &[&str]) -> Result<Tracing> {
        let Self { gohang, object } = self;
        let mut command = Command::new(gohang);
        command.arg("trace").args(arguments);
        if let Some(object) = object {
            command.arg("--object").arg(object);
        }
        let begin = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {}", gohang.display()))?;
        let stderr = child.stderr.take().context("it has no stderr")?;
        let mut last = String::new();
        let mut lines = BufReader::new(stderr).lines();
        for line in &mut lines {
            let line = line?;
            if line == "gohang: tracing" {
                let start = begin.elapsed();
                // Its later lines may not block it.
                std::thread::spawn(move || lines.count());
                return Ok(Tracing { child, start });
            }
            last = line;
        }
        bail!("gohang ended before it traced: {last}, {}", child.wait()?);
    }
}

impl Tracing {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads so far.
    ///
    /// # Errors
    /// It is gone.
    pub fn cpu_time(&self) -> Result<Duration> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let path = task?.path().join("schedstat");
            let text = fs::read_to_string(&path)?;
            let on_cpu = text.split(' ').next().unwrap_or_default();
            sum += on_cpu
                .parse::<u64>()
                .with_context(|| format!("{} says {text:?}", path.display()))?;
        }
        Ok(Duration::from_nanos(sum))
    }

    /// A figure of `/proc/PID/status` in KiB.
    ///
    /// # Errors
    /// It is gone, or there is no such figure.
    pub fn memory_kib(&self, key: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok())
            .with_context(|| format!("no {key} in its status"))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
