//! Arguments of `gohang trace`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gohang::probe::Precision;

/// `gohang trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// End after this long, as `30s` or `500ms` (else: Ctrl-C).
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Show figures every so often while tracing.
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub interval: Option<Duration>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Print every episode (with `-o jsonl` or text).
    #[arg(long)]
    pub events: bool,
    /// What text is grouped by.
    #[arg(long, value_enum, default_value_t = By::Process)]
    pub by: By,
    /// Report deliveries slower than this.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10ms")]
    pub threshold: Duration,
    /// Report signals that are pending for longer than this.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub pending_limit: Duration,
    /// Report what the kernel programs cost (turns the kernel's BPF run-time
    /// statistics on while tracing).
    #[arg(long)]
    pub stats: bool,
    /// Write the report to a file instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
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
    /// Size of the ring buffer.
    #[arg(long, value_name = "BYTES", hide = true, default_value_t = gohang::probe::RING_BYTES, value_parser = clap::value_parser!(u32).range(4096..=1 << 30))]
    pub ring_bytes: u32,
    /// Most threads with state at a time.
    #[arg(long, value_name = "N", hide = true, default_value_t = 16384, value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    pub max_threads: u32,
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
    let steps = [
        Precision::ThreadExact,
        Precision::CfsRqOverlay,
        Precision::SwitchPointEstimate,
    ];
    steps
        .into_iter()
        .find(|step| step.name() == text)
        .ok_or_else(|| format!("give one of {}", steps.map(Precision::name).join(", ")))
}

/// Form of the output of `trace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document at the end.
    Json,
    /// A JSON document a line, as things happen.
    Jsonl,
}

/// What text is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// One block a process.
    Process,
    /// One line a thread below its process.
    Thread,
    /// One block a control group.
    Cgroup,
}

/// Parses `250us`, `40ms`, `30s`: a positive time with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; give a number with a unit, as 250us, 40ms or 30s"))?;
    if parsed.is_zero() {
        return Err("it must be longer than nothing".to_owned());
    }
    if parsed > Duration::from_secs(366 * 24 * 3600) {
        return Err("it must be at most a year".to_owned());
    }
    Ok(parsed)
}
