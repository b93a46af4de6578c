//! Every argument, defined once: help, man page and completions come from here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::inspect::args::InspectArgs;
use super::report::args::{DisplayArgs, duration};
use super::run::RunArgs;
use super::trace::args::TraceArgs;

/// Times every preemption signal (SIGURG) of Go programs and says where each
/// nanosecond of the delay went: out of quota, on the run queue, blocked,
/// masked, or running.
#[derive(Debug, Parser)]
#[command(name = "gohang", version, max_term_width = 100)]
pub struct Arguments {
    /// More diagnostics on stderr; twice for more still.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trace Go processes: delivery latency, stalls and their causes.
    Trace(Box<TraceArgs>),
    /// Run a command in a control group of its own, and end all that it started with it.
    Run(Box<RunArgs>),
    /// End and remove what killed runs have left behind.
    Clean,
    /// Tell a recording again, as `trace` told it (needs no privileges).
    Replay(ReplayArgs),
    /// Show what gohang measures, on an embedded workload under a real quota.
    Demo(DemoArgs),
    /// Measure gohang on this machine: the benchmark suite.
    Bench(BenchArgs),
    /// State what is set for processes: Go, signals, control groups, and what to change.
    Inspect(Box<InspectArgs>),
    /// Say what to change about processes' surroundings, and nothing else.
    Advise(Box<InspectArgs>),
    /// Say what this machine allows, hook by hook, and what makes a Go project's tests hang.
    Doctor(DoctorArgs),
    /// Put two JSON reports side by side.
    Compare(CompareArgs),
    /// Read what `run` has kept of a command that hung.
    Open(OpenArgs),
    /// Put two of those bundles side by side: whether it is the same hang.
    Diff(DiffArgs),
    /// Say what an alert or an advice means, how it is detected and what to do.
    Explain(ExplainArgs),
    /// Print shell completions, or the man page.
    Completions(CompletionsArgs),
    /// Print the version.
    Version(VersionArgs),
    /// A process of an experiment (started by `demo` and `bench`).
    #[command(name = "__experiment-part", hide = true)]
    ExperimentPart(ExperimentPartArgs),
}

/// `gohang replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Recording (`gohang trace --record FILE`).
    pub file: PathBuf,
    #[command(flatten)]
    pub display: DisplayArgs,
}

/// `gohang demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Print the two distributions as JSON.
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub output: Document,
}

/// `gohang bench`.
///
/// The classic experiment on preemption signals, stalls that were reported elsewhere, and what
/// gohang shows of them, on this machine. Needs
/// what `trace` needs, and for most scenarios a Go tool chain; leaves nothing behind.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Parts to run, or scenarios (B1 to B20), as `--list` names them; all parts without one.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Less of everything, in less than two minutes: to see that it works.
    #[arg(long)]
    pub quick: bool,
    /// Go command that builds the scenarios' programs, which may leave its results in Go's
    /// build cache; else the newest of GOHANG_GO_ROOT, else that of PATH. Without one those
    /// scenarios are skipped.
    #[arg(long, value_name = "PATH")]
    pub go: Option<PathBuf>,
    /// Print the parts and scenarios and how long they take, and run nothing.
    #[arg(long)]
    pub list: bool,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Document::Text, conflicts_with = "list")]
    pub output: Document,
}

/// `gohang __experiment-part`: the shared memory of those that have one is its standard input.
#[derive(Debug, Args)]
pub struct ExperimentPartArgs {
    /// What to be.
    #[arg(value_enum)]
    pub role: ExperimentRole,
    /// The process id of the gohang that experiments: its end is this process's.
    pub parent: u32,
    /// What a load does.
    #[arg(default_value = "")]
    pub what: String,
}

/// A process of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExperimentRole {
    /// Spins and is signalled.
    Target,
    /// Signals from outside the group.
    Sender,
    /// Works as it is told.
    Load,
}

/// `gohang doctor`.
///
/// With a directory or a command, a Go project is looked at as well, which needs no
/// privileges; the exit code is then 1 if it has something to change and else 0, whatever
/// the machine allows.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Directory of a Go project to look at.
    pub dir: Option<PathBuf>,
    /// The command that tests the project, looked at and not run: `-- go test ./...`.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// The limit of the CI job that tests the project (GitLab and Buildkite tell it by
    /// themselves).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub job_limit: Option<Duration>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub output: Document,
    /// Read the kernel's type information from here (for tests).
    #[arg(long, value_name = "PATH", hide = true)]
    pub btf: Option<PathBuf>,
}

/// `gohang compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Report of the first run (`gohang trace -o json`).
    pub a: PathBuf,
    /// Report of the second run.
    pub b: PathBuf,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub output: Document,
}

/// `gohang open`.
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// The bundle (gohang-NAME-TIME.tar.zst).
    pub bundle: PathBuf,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub output: Document,
    /// Print the names and sizes of what it holds.
    #[arg(long, conflicts_with = "output")]
    pub list: bool,
    /// Print this one of its members, as it is.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["output", "list"])]
    pub member: Option<String>,
}

/// `gohang diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The first bundle.
    pub a: PathBuf,
    /// The second bundle.
    pub b: PathBuf,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub output: Document,
}

/// `gohang explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Name of the rule, as alerts and advices give it; without it, all rules.
    pub rule: Option<String>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub output: Document,
}

/// `gohang completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell, or `man` for the man page.
    pub shell: Shell,
}

/// What completions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// elvish
    Elvish,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// zsh
    Zsh,
    /// The man page, in roff
    Man,
}

/// `gohang version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Print the embedded kernel object's manifest as well.
    #[arg(long)]
    pub bpf: bool,
}

/// Form of an output that is one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}
