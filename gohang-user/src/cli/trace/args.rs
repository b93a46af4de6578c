//! Arguments of `gohang trace`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gohang::probe::Precision;

use super::super::report::args::{DisplayArgs, duration};

/// `gohang trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// End after this long, as `30s` or `500ms` (else: Ctrl-C).
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Show figures every so often while tracing.
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub interval: Option<Duration>,
    #[command(flatten)]
    pub display: DisplayArgs,
    /// Keep a recording of the run, for `gohang replay`.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Report what the kernel programs cost (turns the kernel's BPF run-time
    /// statistics on while tracing).
    #[arg(long)]
    pub stats: bool,
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub tuning: TuningArgs,
}

/// What to trace; without any, every Go process on the machine.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub struct SelectArgs {
    /// Process ids (repeats, comma lists).
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,
    /// Processes of this exact name.
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,
    /// Processes in this control group and below.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<String>,
    /// Processes of the container with this id (or its beginning).
    #[arg(long, value_name = "ID")]
    pub container: Vec<String>,
    /// Processes of this systemd unit.
    #[arg(long, value_name = "UNIT")]
    pub unit: Vec<String>,
    /// Follow selected processes that are not Go as well.
    #[arg(long)]
    pub non_go: bool,
}

/// Options for tests and for doubt.
#[derive(Debug, Args)]
pub struct TuningArgs {
    /// What "throttled" rests on; without it, the most exact that this kernel can do.
    #[arg(long, value_name = "STEP", value_parser = throttle_source)]
    pub throttle_source: Option<Precision>,
    /// Probe no functions of Go programs: only what the kernel sees is told.
    #[arg(long)]
    pub no_uprobes: bool,
    /// Do without the hooks on the quota of run queues.
    #[arg(long, hide = true)]
    pub no_queue_hooks: bool,
    /// Use no fentry: kprobes where functions of the kernel are hooked.
    #[arg(long, hide = true)]
    pub no_fentry: bool,
    /// Size of the ring buffer.
    #[arg(long, value_name = "BYTES", hide = true, default_value_t = gohang::probe::RING_BYTES, value_parser = clap::value_parser!(u32).range(4096..=1 << 30))]
    pub ring_bytes: u32,
    /// Most threads with state at a time.
    #[arg(long, value_name = "N", hide = true, default_value_t = 16384, value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    pub max_threads: u32,
    /// Most run queues of groups out of quota that are kept.
    #[arg(long, value_name = "N", hide = true, default_value_t = gohang::probe::RUN_QUEUES, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub max_run_queues: u32,
    /// Read the kernel's type information from here.
    #[arg(long, value_name = "PATH", hide = true)]
    pub btf: Option<PathBuf>,
    /// Load this kernel object instead of the embedded one.
    #[arg(long, value_name = "PATH", hide = true)]
    pub object: Option<PathBuf>,
    /// Print map entries and memory with every interval.
    #[arg(long, hide = true)]
    pub self_stats: bool,
}

/// A step of the ladder by its name.
fn throttle_source(text: &str) -> Result<Precision, String> {
    let steps = Precision::STEPS;
    steps
        .into_iter()
        .find(|step| step.name() == text)
        .ok_or_else(|| format!("give one of {}", steps.map(Precision::name).join(", ")))
}
