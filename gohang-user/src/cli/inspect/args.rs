//! Arguments of `gohang inspect` and `gohang advise`.

use std::time::Duration;

use clap::Args;

use super::super::args::Document;
use super::super::report::args::duration;
use super::super::trace::args::SelectArgs;

/// `gohang inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Process ids, whatever they run; without any selection, every Go process.
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,
    /// Form of the output; with --watch, JSON is a line a round.
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub output: Document,
    /// Watch statistics for this long first, as `1s`.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub sample: Option<Duration>,
    /// Look again every so often, tell what changes, and follow processes that are moved to
    /// another control group; ends with Ctrl-C.
    #[arg(long, value_name = "TIME", value_parser = duration, num_args = 0..=1, require_equals = true, default_missing_value = "1s")]
    pub watch: Option<Duration>,
    /// Say what moving the process to this control group would change; with --yes, move it and
    /// say what it did.
    #[arg(long, value_name = "CGROUP", conflicts_with_all = ["watch", "sample"])]
    pub migrate_to: Option<String>,
    /// Move it.
    #[arg(long, requires = "migrate_to")]
    pub yes: bool,
    #[command(flatten)]
    pub select: SelectArgs,
}
