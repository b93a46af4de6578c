//! Works that bring the kernel programs to run.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::Round;
use crate::bench::chain_cost::work::WORKS as GO_WORKS;
use crate::bench::crowd::Crowd;
use crate::bench::product::{Product, Tracing};
use crate::bench::set::Watch;
use crate::bench::worker::Worker;
use crate::process::output;

/// Signals of a round.
const SIGNALS: u64 = 100_000;

/// The CPU of the thread that signals itself.
const CPU: usize = 1;

/// Programs that a shell executes once it may: each is forked, executed and ended.
const PROGRAMS: &str = "read go; i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i + 1)); done";

/// What the works need.
#[derive(Debug)]
pub struct Place {
    /// The program of `tests/workloads/service`.
    pub service: PathBuf,
    /// What traces.
    pub product: Product,
    /// The kernel's tracepoints, by the ids of their types.
    pub hooks: BTreeMap<u32, String>,
}

/// A work.
#[derive(Debug)]
pub struct Work {
    /// What it is called.
    pub title: &'static str,
    /// Runs it once, traced.
    pub run: fn(&Place) -> Result<Round>,
}

/// All works.
pub static WORKS: [Work; 8] = [
    Work {
        title: "HTTP service",
        run: |place| go_work(place, 0),
    },
    Work {
        title: "HTTP service with 50 % of a CPU",
        run: throttled,
    },
    Work {
        title: "collections, 100,000 parked goroutines",
        run: |place| go_work(place, 1),
    },
    Work {
        title: "`runtime.Gosched` in a loop",
        run: |place| go_work(place, 2),
    },
    Work {
        title: "a thread that signals itself",
        run: signals,
    },
    Work {
        title: "a shell that executes programs",
        run: |place| processes(place, Selection::Itself),
    },
    Work {
        title: "the same, where another process is traced",
        run: |place| processes(place, Selection::Another),
    },
    Work {
        title: "the same, where every Go program is traced",
        run: |place| processes(place, Selection::EveryGoProgram),
    },
];

/// What the programs take while something is done.
fn watched(place: &Place, tracing: &Tracing, work: impl FnOnce() -> Result<()>) -> Result<Round> {
    let watch = Watch::begin(tracing.pid())?;
    let begin = Instant::now();
    work()?;
    let elapsed = begin.elapsed();
    Ok(Round::of(elapsed, &watch.spent()?, &place.hooks))
}

fn go_work(place: &Place, index: usize) -> Result<Round> {
    let mut started = GO_WORKS[index].start(&place.service, &[])?;
    let tracing = place
        .product
        .trace(&["--pid", &started.pid().to_string()])?;
    watched(place, &tracing, || started.said().map(drop))
}

/// Its group runs out of quota again and again, at the ends of short periods.
fn throttled(place: &Place) -> Result<Round> {
    let name = place.service.file_name().context("it has no name")?;
    let name = name.to_str().context("its name is not UTF-8")?;
    let tracing = place.product.trace(&["--comm", name])?;
    watched(place, &tracing, || {
        let mut run = Command::new(&place.product.gohang);
        run.args(["run", "--cpu-quota", "50%", "--cpu-period", "20ms"])
            .args(["--require-limits", "--"])
            .arg(&place.service)
            .args(["serve", "seconds=4"])
            .env_remove("GODEBUG")
            .env_remove("GOMAXPROCS");
        output(&mut run).map(drop)
    })
}

fn signals(place: &Place) -> Result<Round> {
    let mut worker = Worker::start("signals", CPU)?;
    let pid = worker.pid().to_string();
    let tracing = place.product.trace(&["--non-go", "--pid", &pid])?;
    watched(place, &tracing, || worker.run(SIGNALS).map(drop))
}

/// What is traced while a shell, which is no Go program, executes programs.
enum Selection {
    Itself,
    Another,
    EveryGoProgram,
}

fn processes(place: &Place, selection: Selection) -> Result<Round> {
    let mut shell = Command::new("sh")
        .args(["-c", PROGRAMS])
        .stdin(Stdio::piped())
        .spawn()
        .context("could not start a shell")?;
    let other = Crowd::start(1)?;
    let pid = match selection {
        Selection::Itself => Some(shell.id()),
        Selection::Another => Some(other.pids().next().context("nobody to trace")?),
        Selection::EveryGoProgram => None,
    };
    let tracing = match pid {
        Some(pid) => {
            let pid = pid.to_string();
            place.product.trace(&["--non-go", "--pid", &pid])?
        }
        None => place.product.trace(&[])?,
    };
    watched(place, &tracing, || {
        let mut stdin = shell.stdin.take().context("it has no stdin")?;
        stdin.write_all(b"\n")?;
        drop(stdin);
        let status = shell.wait()?;
        ensure!(status.success(), "the shell: {status}");
        Ok(())
    })
}
