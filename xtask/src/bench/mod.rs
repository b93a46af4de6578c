//! What gohang costs and what it measures: printed, and written to `docs/cost.md` and
//! `docs/results.md`.

mod agreement;
mod bpf;
mod btf;
mod chain_cost;
mod crowd;
mod floor;
mod growth;
mod paired;
mod pairs;
mod parts;
mod peers;
mod ping_pong;
mod plot;
mod product;
mod programs;
mod report;
mod results;
mod run_cost;
mod section;
mod set;
mod signals;
mod spread;
mod switches;
mod worker;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use crate::process::{clean_run_env, kernel_release, output, run};
use crate::toolchain::is_root;
use crate::workspace::{Workspace, cargo};

use self::crowd::Crowd;
use self::floor::Floor;
use self::product::Product;
use self::report::Report;
use self::spread::Spread;

/// Where the figures go, relative to the workspace.
const FILE: &str = "docs/cost.md";

/// Where the part of the page begins that other commands make.
const KEPT: &str = "\n## An edge of throttling\n";

/// Starts of gohang that are timed.
const STARTS: usize = 20;

/// Traced processes for memory and CPU share.
const PROCESSES: usize = 200;

/// How long their tracing is watched.
const WATCH: Duration = Duration::from_secs(10);

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Measure what gohang costs and write docs/cost.md; needs root.
    Cost {
        /// Alternating rounds of the ping-pong.
        #[arg(
            long,
            default_value_t = 300,
            value_parser = clap::value_parser!(u16).range(i64::from(Floor::LEAST)..=10_000)
        )]
        rounds: u16,
        /// Measure this gohang instead of a release build, and write no file.
        #[arg(long, value_name = "PATH")]
        gohang: Option<PathBuf>,
        /// Let it load this kernel object instead of its own, and write no file.
        #[arg(long, value_name = "PATH")]
        object: Option<PathBuf>,
        /// The CPU of the ping-pong.
        #[arg(long, default_value_t = 1)]
        cpu: usize,
    },
    /// Measure what tracing costs Go programs and write that into docs/cost.md; needs root.
    ChainCost(chain_cost::Options),
    /// Measure what tracing takes from a Go service, part by part, and write that into
    /// docs/cost.md; needs root.
    Parts(parts::Options),
    /// Measure what each kernel program takes a run, at several works, and write that into
    /// docs/cost.md; needs root.
    Programs(programs::Options),
    /// Measure what `gohang run` costs a command and write that into docs/cost.md; needs root.
    RunCost(run_cost::Options),
    /// Measure what gohang, bpftrace, perf and runqlat cost beside each other and write
    /// docs/cost-peers.md; needs root.
    Peers(peers::Options),
    /// Record gohang and the independent reference in the same runs, and write docs/agreement and
    /// docs/results.md from that; needs root.
    Agreement(agreement::Options),
    /// Compute the figures of docs/agreement again from the recordings there.
    Verify,
    /// Measure what gohang takes for few and for many processes, threads, groups, timers and
    /// signals, and write docs/results.md from that; needs root.
    Growth(growth::Options),
    /// Run `gohang bench` and write docs/results.md from it; needs root.
    Results(results::Options),
    /// Two threads that switch; part of `cost`.
    #[command(hide = true)]
    PingPong {
        /// Their CPU.
        cpu: usize,
    },
    /// A thread that signals itself without a pause; part of `peers`.
    #[command(hide = true)]
    Signals {
        /// Its CPU.
        cpu: usize,
    },
    /// A process that signals itself now and then; part of `cost`.
    #[command(hide = true)]
    Sleeper,
}

/// A kernel program and what it costs.
#[derive(Debug, Clone)]
struct Fact {
    hook: String,
    info: bpf::Info,
    untraced_ns: Option<f64>,
    traced_ns: Option<f64>,
}

/// Memory and CPU time with [`PROCESSES`] traced processes.
#[derive(Debug)]
struct Load {
    rss_kib: u64,
    peak_kib: u64,
    map_kib: u64,
    cpu_percent: f64,
}

/// Runs the subcommand.
///
/// # Errors
/// Not root, or something cannot be started, attached or written.
pub fn bench(what: Bench) -> Result<()> {
    match what {
        Bench::Cost {
            rounds,
            gohang,
            object,
            cpu,
        } => cost(rounds.into(), gohang, object, cpu),
        Bench::ChainCost(options) => chain_cost::chain_cost(&options),
        Bench::Parts(options) => parts::parts(&options),
        Bench::Programs(options) => programs::programs(&options),
        Bench::RunCost(options) => run_cost::run_cost(&options),
        Bench::Agreement(options) => agreement::agreement(&options),
        Bench::Verify => agreement::verify(),
        Bench::Growth(options) => growth::growth(&options),
        Bench::Results(options) => results::results(&options),
        Bench::Peers(options) => peers::peers(&options),
        Bench::PingPong { cpu } => ping_pong::obey(cpu),
        Bench::Signals { cpu } => signals::obey(cpu),
        Bench::Sleeper => crowd::sleep(),
    }
}

fn cost(rounds: usize, gohang: Option<PathBuf>, object: Option<PathBuf>, cpu: usize) -> Result<()> {
    if !is_root()? {
        bail!("measuring attaches kernel programs: run it as root");
    }
    // Other figures than those of this checkout do not belong into its file.
    let file = match (&gohang, &object) {
        (None, None) => Some(Workspace::find()?.root.join(FILE)),
        _ => None,
    };
    let product = Product {
        gohang: match gohang {
            Some(path) => path,
            None => build(&Workspace::find()?)?,
        },
        object,
    };
    eprintln!("starting gohang {STARTS} times");
    let start_ms = starts(&product)?;
    eprintln!("{rounds} rounds of the ping-pong on CPU {cpu}");
    let switches = switches::measure(&product, cpu, rounds)?;
    eprintln!("tracing {PROCESSES} processes");
    let load = load(&product)?;
    let report = Report {
        kernel: kernel_release()?,
        cpus: thread::available_parallelism()?.get(),
        version: output(Command::new(&product.gohang).arg("--version"))?,
        rounds,
        start_ms,
        switches,
        load,
    };
    print!("{report}");
    if let Some(path) = file {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("could not make {}", folder.display()))?;
        }
        let before = fs::read_to_string(&path).unwrap_or_default();
        let kept = before.find(KEPT).map_or("", |at| &before[at..]);
        fs::write(&path, format!("{report}{kept}"))
            .with_context(|| format!("could not write {}", path.display()))?;
        eprintln!("written to {FILE}");
    }
    Ok(())
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = cargo();
    clean_run_env(&mut command);
    run(command
        .current_dir(&workspace.root)
        .args(["build", "--release", "--package", "gohang"]))?;
    Ok(workspace.target_dir.join("release/gohang"))
}

/// Milliseconds from the start of the process to `gohang: tracing`.
fn starts(product: &Product) -> Result<Spread> {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let tracing = product.trace(&[])?;
        times.push(tracing.start.as_secs_f64() * 1e3);
    }
    Spread::of(&times).context("no starts")
}

fn load(product: &Product) -> Result<Load> {
    let crowd = Crowd::start(PROCESSES)?;
    let pids: Vec<String> = crowd.pids().map(|pid| pid.to_string()).collect();
    let tracing = product.trace(&["--non-go", "--pid", &pids.join(",")])?;
    let (before, begin) = (tracing.cpu_time()?, Instant::now());
    thread::sleep(WATCH);
    let (after, watched) = (tracing.cpu_time()?, begin.elapsed());
    Ok(Load {
        rss_kib: tracing.memory_kib("VmRSS")?,
        peak_kib: tracing.memory_kib("VmHWM")?,
        map_kib: set::map_bytes(tracing.pid())? / 1024,
        cpu_percent: 100.0 * (after - before).as_secs_f64() / watched.as_secs_f64(),
    })
}
