//! A work as a process of its own, so that it can be traced.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};

/// The process, ended when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts a hidden subcommand of `bench` on a CPU; it waits for orders.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(work: &str, cpu: usize) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", work, &cpu.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start the {work}"))?;
        let orders = child.stdin.take().context("it has no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("it has no stdout")?);
        Ok(Self {
            child,
            orders,
            answers,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time a piece, ns, over `pieces` pieces of its work.
    ///
    /// # Errors
    /// It ended, or did not do as much as asked.
    pub fn run(&mut self, pieces: u64) -> Result<f64> {
        writeln!(self.orders, "{pieces}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim()
            .parse()
            .with_context(|| format!("it said {line:?}"))
    }

    /// The same in batches, the cheapest of which counts: what else the machine does only
    /// adds, through caches and a shared core.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn cheapest(&mut self, batches: usize, pieces: u64) -> Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..batches {
            least = least.min(self.run(pieces)?);
        }
        Ok(least)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
