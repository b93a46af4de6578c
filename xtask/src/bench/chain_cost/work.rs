//! The works of `tests/workloads/service`, alone or traced.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::bench::pairs::{Figure, Figures};
use crate::bench::product::Product;

/// A work.
#[derive(Debug)]
pub struct Work {
    /// What it is called.
    pub title: &'static str,
    arguments: &'static [&'static str],
    /// Its figures.
    pub figures: &'static [Figure],
    read: fn(&Said) -> Result<Figures>,
}

/// What a program says of its run.
pub struct Said(BTreeMap<String, f64>);

impl Said {
    /// A figure.
    ///
    /// # Errors
    /// The program says nothing of it.
    pub fn get(&self, key: &str) -> Result<f64> {
        let figure = self.0.get(key).copied();
        figure.with_context(|| format!("the program says nothing of {key}"))
    }

    /// How many a second of `per`.
    fn rate(&self, count: &str, per: &str) -> Result<f64> {
        Ok(self.get(count)? / self.get(per)? * 1e9)
    }
}

const fn figure(title: &'static str, unit: &'static str, more_is_better: bool) -> Figure {
    Figure {
        title,
        unit,
        more_is_better,
    }
}

const TURNS: [Figure; 2] = [
    figure("turns a second", "", true),
    figure("CPU time a turn", "ns", false),
];

fn read_turns(said: &Said) -> Result<Figures> {
    Ok(vec![
        said.rate("count", "elapsed_ns")?,
        said.get("cpu_ns")? / said.get("count")?,
    ])
}

/// All works.
pub static WORKS: [Work; 3] = [
    Work {
        title: "HTTP service",
        arguments: &["serve", "seconds=4"],
        figures: &[
            figure("requests a second", "", true),
            figure("CPU time a request", "µs", false),
            figure("p99 of a request", "µs", false),
        ],
        read: |said| {
            Ok(vec![
                said.rate("requests", "elapsed_ns")?,
                said.get("cpu_ns")? / said.get("requests")? / 1e3,
                said.get("p99_ns")? / 1e3,
            ])
        },
    },
    Work {
        title: "ten collections, 100,000 parked goroutines",
        arguments: &["collect", "count=10", "parked=100000"],
        figures: &[figure("time", "ms", false), figure("CPU time", "ms", false)],
        read: |said| {
            Ok(vec![
                said.get("elapsed_ns")? / 1e6,
                said.get("cpu_ns")? / 1e6,
            ])
        },
    },
    Work {
        title: "`runtime.Gosched` in a loop",
        arguments: &["yield", "milliseconds=2000"],
        figures: &TURNS,
        read: read_turns,
    },
];

/// A program that ends with its handle.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Work {
    /// Runs it, traced from before its work begins until after it has ended if a gohang and
    /// arguments for it are given.
    ///
    /// # Errors
    /// It or gohang cannot be started, or it says something else than figures.
    pub fn run(&self, program: &Path, tracer: Option<(&Product, &[&str])>) -> Result<Figures> {
        let started = self.start(program, &[])?;
        let pid = started.pid().to_string();
        let tracing = tracer
            .map(|(product, more)| product.trace(&[&["--pid", &pid], more].concat()))
            .transpose()?;
        let figures = started.finish();
        drop(tracing);
        figures
    }

    /// Starts it, with further arguments, up to where its work begins.
    ///
    /// # Errors
    /// It cannot be started or is not ready.
    pub fn start(&self, program: &Path, more: &[&str]) -> Result<Started> {
        let child = Command::new(program)
            .args(self.arguments)
            .args(more)
            .arg("wait=1")
            .env_remove("GODEBUG")
            .env_remove("GOMAXPROCS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        let mut running = Running(child);
        let stdout = running.0.stdout.take().context("it has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = lines.next().context("it ended at once")??;
        if ready != "ready" {
            bail!("it says {ready:?}");
        }
        Ok(Started {
            running,
            lines,
            read: self.read,
        })
    }
}

/// A program whose work can begin.
pub struct Started {
    running: Running,
    lines: Lines<BufReader<ChildStdout>>,
    read: fn(&Said) -> Result<Figures>,
}

impl Started {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// Lets it work, and takes its figures.
    ///
    /// # Errors
    /// It says something else than figures.
    pub fn finish(mut self) -> Result<Figures> {
        (self.read)(&self.said()?)
    }

    /// Lets it work, and takes what it says of that.
    ///
    /// # Errors
    /// It ends without a word.
    pub fn said(&mut self) -> Result<Said> {
        let mut stdin = self.running.0.stdin.take().context("it has no stdin")?;
        stdin.write_all(b"g")?;
        let line = self.lines.next().context("it ended without figures")??;
        Ok(parse(&line))
    }
}

/// The figures of a line of words, the pairs among them of names and numbers.
fn parse(line: &str) -> Said {
    let pairs = line.split(' ').filter_map(|word| {
        let (name, figure) = word.split_once('=')?;
        Some((name.to_owned(), figure.parse().ok()?))
    });
    Said(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let said = parse("served requests=200 elapsed_ns=2000000000 cpu_ns=4000000 p99_ns=7000 x");
        let figures = (WORKS[0].read)(&said).expect("all are there");
        assert_eq!(figures, [100.0, 20.0, 7.0]);
        assert_eq!(figures.len(), WORKS[0].figures.len());
        assert!((WORKS[1].read)(&parse("collected")).is_err());
    }
}
