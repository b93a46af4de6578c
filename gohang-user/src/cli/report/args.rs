//! Arguments of every command that prints a report.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gohang::gate::Gate;

/// How a report is made and printed.
#[derive(Debug, Args)]
pub struct DisplayArgs {
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
    /// Report more signals a second than this, for each thread that gets any.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub storm_rate: u64,
    /// Report goroutines that run on for longer than this after they were first
    /// asked to yield.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "100ms")]
    pub no_yield_limit: Duration,
    /// Report stops of all goroutines that take longer than this.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "20ms")]
    pub stop_limit: Duration,
    /// Report when sysmon, which asks goroutines to yield, asks later than this.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30ms")]
    pub late_limit: Duration,
    /// Exit with 1 if a process raised this alert, or has a figure beyond this
    /// limit (repeats): RULE, RULE:SEVERITY (that or worse), or METRIC>VALUE
    /// (also >=, <, <=), as `slow-delivery`, `delivery.p99>50ms`,
    /// `stall.share>=20%`, `causes.masked.count>0`, `stop.stopping.max>20ms`.
    #[arg(long, value_name = "EXPR")]
    pub fail_on: Vec<Gate>,
    /// Write the report to a file instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Form of a report.
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
///
/// # Errors
/// What is wrong with it, and how a time is written.
pub fn duration(text: &str) -> Result<Duration, String> {
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
