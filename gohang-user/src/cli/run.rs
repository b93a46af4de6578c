//! `gohang run`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gohang::cgroup::Weight;
use gohang::run::{self, Breaker, FAILED, Limits, Machine, Options, Tracing, Wanted};

use super::group::group;
use super::keep::KeepArgs;
use super::report::args::duration;
use super::{Failure, exit};

/// `gohang run`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct RunArgs {
    /// The command, and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub breaker: BreakerArgs,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub keep: KeepArgs,
}

const AFTER: &str = "Times are written as 500ms, 30s, 10m or 1h 30m; sizes as 512K, 64M or 2G, in \
    powers of 1024. What has no default is not done without the option: without --timeout and \
    --idle-timeout only a command that is held up by a limit is ended (--stall-window).\n\n\
    Exit codes: the command's own, or 128 + N if signal N ended it; 124 if it hung and was ended, \
    137 if SIGKILL was needed for that; 125 if gohang failed, 126 if the command could not be \
    executed, 127 if it was not found.";

/// Limits, in systemd's words.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// CPU time, as a share of one CPU (20% or 0.2; two CPUs are 200%).
    #[arg(long, value_name = "SHARE", value_parser = cpu_quota)]
    pub cpu_quota: Option<u64>,
    /// How often the quota is handed out [default: 100ms].
    #[arg(long, value_name = "TIME", value_parser = run::period, requires = "cpu_quota")]
    pub cpu_period: Option<Duration>,
    /// Weight against others when CPU time is short, from 1 to 10000, or idle.
    #[arg(long, value_name = "WEIGHT", value_parser = run::weight)]
    pub cpu_weight: Option<Weight>,
    /// CPUs to run on, as 0-3,7.
    #[arg(long, value_name = "CPUS", value_parser = run::cpu_list)]
    pub allowed_cpus: Option<String>,
    /// Memory, as 512M, 25% of the machine's, or infinity.
    #[arg(long, value_name = "BYTES", value_parser = memory)]
    pub memory_max: Option<Infinite>,
    /// Processes and threads, as a number, 25% of the machine's, or infinity.
    #[arg(long, value_name = "N", value_parser = tasks)]
    pub tasks_max: Option<Infinite>,
    /// A limit by systemd's name, as CPUQuota=20% (repeats).
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub property: Vec<String>,
    /// Do not run the command if a limit cannot be set.
    #[arg(long)]
    pub require_limits: bool,
    /// Name of the scope, where systemd makes one.
    #[arg(long, value_name = "NAME", value_parser = unit)]
    pub unit: Option<String>,
    /// Slice for the scope.
    #[arg(long, value_name = "NAME", value_parser = unit)]
    pub slice: Option<String>,
    /// Make control groups directly even where systemd is there to make a scope.
    #[arg(long, conflicts_with_all = ["unit", "slice"])]
    pub no_systemd: bool,
    /// Run inside an existing control group, whose limits stay as they are.
    #[arg(long, value_name = "PATH", conflicts_with_all = [
        "cpu_quota", "cpu_period", "cpu_weight", "allowed_cpus", "memory_max", "tasks_max",
        "property", "unit", "slice", "no_systemd",
    ])]
    pub in_cgroup: Option<String>,
}

/// When the command counts as hung. Times are written as 500ms, 30s, 10m.
#[derive(Debug, Args)]
#[command(next_help_heading = "Breaker")]
pub struct BreakerArgs {
    /// End it after this long.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// End it after this long without progress: output, an event of a test, or CPU time with a
    /// sign of work (reads, writes, new memory, new processes).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub idle_timeout: Option<Duration>,
    /// End it after this long without progress while it is throttled, near its memory limit,
    /// refused new tasks, or partly killed for want of memory; or never.
    #[arg(long, value_name = "TIME", value_parser = perhaps, default_value = "60s")]
    pub stall_window: Perhaps,
    /// Periods out of CPU quota within that time that count as throttled.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub throttled_periods: u64,
    /// Say so when it is out of quota for more than this part of the time ...
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "50%")]
    pub throttled_share: f64,
    /// ... within this long.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub throttled_for: Duration,
    /// Part of its memory limit from which on it is near it.
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "80%")]
    pub memory_share: f64,
    /// CPU time from which on it can be progress, as a part of one CPU (at most a fifth of the
    /// quota is asked for); reading and writing is, however little it takes.
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "1%")]
    pub useful_cpu: f64,
    /// Say so when there has been no progress for this long; or never.
    #[arg(long, value_name = "TIME", value_parser = perhaps, default_value = "60s")]
    pub slow_after: Perhaps,
    /// How often it is looked.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "500ms")]
    pub sample_every: Duration,
    /// How long Go programs (the test binaries, not go itself) may take to print their
    /// goroutines, at SIGQUIT, before anything is ended; or never.
    #[arg(long, value_name = "TIME", value_parser = perhaps, default_value = "10s")]
    pub dump_time: Perhaps,
    /// How long it may take to end after SIGTERM, before SIGKILL.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub grace: Duration,
    /// The limit of the CI job, to warn of limits that come too late (GitLab and Buildkite tell
    /// it by themselves).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub job_limit: Option<Duration>,
    /// Exit with the command's own status even if it hung.
    #[arg(long)]
    pub preserve_status: bool,
    /// Do not look at what the command prints: standard streams that are pipes go past gohang
    /// too, and tests are not known by name.
    #[arg(long)]
    pub no_observe: bool,
}

/// What is learned of a command that hangs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Evidence")]
pub struct EvidenceArgs {
    /// Trace the preemption signals of its Go programs: auto, where that is possible, from when
    /// it gives cause for doubt (no progress for 5 s or a tenth of a limit on that, half of
    /// --timeout or go test's own limit used up, short of CPU quota, memory or tasks), or from
    /// 1 s after its start where a limit is below 10 s; always, from before its first
    /// instruction, or not to run it; never.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = TraceArg::Auto)]
    pub trace: TraceArg,
    /// When it hangs, lift the CPU limit (if it is one that gohang has set) and watch for this
    /// long whether it gets on then; or never.
    #[arg(long, value_name = "TIME", value_parser = perhaps, default_value = "5s")]
    pub lift_quota: Perhaps,
    /// When it hangs, do not ask its listening Go programs for goroutines (net/http/pprof).
    #[arg(long)]
    pub no_fetch: bool,
    /// Ask them for this path too, and keep what they serve there, as a flight recording; may be
    /// repeated.
    #[arg(long, value_name = "PATH", value_parser = url_path, conflicts_with = "no_fetch")]
    pub fetch: Vec<String>,
    /// Run this by the shell when it has hung, with GOHANG_BUNDLE and GOHANG_VERDICT in its
    /// environment where those were written.
    #[arg(long, value_name = "COMMAND")]
    pub on_hang: Option<OsString>,
    /// How long that may take.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub on_hang_time: Duration,
}

/// Whether to trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TraceArg {
    Auto,
    Always,
    Never,
}

impl From<TraceArg> for Tracing {
    fn from(argument: TraceArg) -> Self {
        match argument {
            TraceArg::Auto => Self::Auto,
            TraceArg::Always => Self::Always,
            TraceArg::Never => Self::Never,
        }
    }
}

/// A path as it stands in a request.
fn url_path(text: &str) -> Result<String, String> {
    let fine = text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic());
    fine.then(|| text.to_owned())
        .ok_or_else(|| "give a path, as /debug/flight, without blanks".to_owned())
}

/// A time, or never.
#[derive(Debug, Clone, Copy)]
pub struct Perhaps(Option<Duration>);

fn perhaps(text: &str) -> Result<Perhaps, String> {
    if text == "never" {
        return Ok(Perhaps(None));
    }
    duration(text).map(|time| Perhaps(Some(time)))
}

/// A part of a whole.
fn percent(text: &str) -> Result<f64, String> {
    let number = text
        .strip_suffix('%')
        .and_then(|text| text.trim().parse::<f64>().ok());
    let share = number.map(|percent| percent / 100.0);
    share
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| "give per cent above 0% and up to 100%, as 80%".to_owned())
}

impl BreakerArgs {
    fn breaker(&self, lift: Option<Duration>) -> Breaker {
        Breaker {
            timeout: self.timeout,
            idle_timeout: self.idle_timeout,
            stall_window: self.stall_window.0,
            throttled_periods: self.throttled_periods,
            throttled_share: self.throttled_share,
            throttled_for: self.throttled_for,
            memory_share: self.memory_share,
            useful_cpu: self.useful_cpu,
            slow_after: self.slow_after.0,
            sample_every: self.sample_every,
            lift,
            dump_time: self.dump_time.0,
            grace: self.grace,
        }
    }
}

/// A limit that may be none.
#[derive(Debug, Clone, Copy)]
pub struct Infinite(Option<u64>);

/// A unit's name (systemd.unit(5)).
fn unit(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let fine = (1..=240).contains(&text.len()) && text.chars().all(allowed);
    fine.then(|| text.to_owned())
        .ok_or_else(|| "letters, digits and :-_.\\@ are allowed".to_owned())
}

fn cpu_quota(text: &str) -> Result<u64, String> {
    run::cpu_quota(text, machine())
}

fn memory(text: &str) -> Result<Infinite, String> {
    run::memory(text, machine()).map(Infinite)
}

fn tasks(text: &str) -> Result<Infinite, String> {
    run::tasks(text, machine()).map(Infinite)
}

fn machine() -> Machine {
    Machine::this()
}

/// Runs the command and gives its exit code.
pub(super) fn run(arguments: RunArgs) -> i32 {
    let preserve_status = arguments.breaker.preserve_status;
    let outcome =
        plan(arguments).and_then(|(options, keep)| Ok(run::run(&options, &mut keep.keeper())?));
    match outcome {
        Ok(outcome) => outcome.exit_code(preserve_status),
        Err(failure) => {
            let code = failure.error.downcast_ref::<run::RunError>();
            let code = code.map_or(FAILED, run::RunError::exit_code);
            exit::tell(&failure);
            code
        }
    }
}

fn plan(arguments: RunArgs) -> Result<(Options, KeepArgs), Failure> {
    let RunArgs {
        command,
        limits,
        breaker,
        evidence,
        keep,
    } = arguments;
    let inside = limits.in_cgroup.as_deref().map(group).transpose()?;
    let require_limits = limits.require_limits;
    let (unit, slice) = (limits.unit.clone(), limits.slice.clone());
    let without_systemd = limits.no_systemd;
    let options = Options {
        command,
        place: Wanted {
            limits: limits_of(limits)?,
            inside,
            require_limits,
            unit,
            slice,
            without_systemd,
        },
        breaker: breaker.breaker(evidence.lift_quota.0),
        job_limit: breaker.job_limit,
        observe: !breaker.no_observe,
        tracing: evidence.trace.into(),
        fetch: !evidence.no_fetch,
        fetch_paths: evidence.fetch,
        on_hang: evidence.on_hang,
        on_hang_time: evidence.on_hang_time,
    };
    Ok((options, keep))
}

fn limits_of(args: LimitArgs) -> Result<Limits, Failure> {
    let given = Limits {
        cpu_quota: args.cpu_quota,
        cpu_period: args.cpu_period,
        cpu_weight: args.cpu_weight,
        allowed_cpus: args.allowed_cpus,
        memory_max: args.memory_max.and_then(|limit| limit.0),
        tasks_max: args.tasks_max.and_then(|limit| limit.0),
    };
    let mut limits = given.clone();
    for property in &args.property {
        limits
            .set_property(property, machine())
            .map_err(|why| Failure::usage(anyhow::anyhow!("--property {why}")))?;
    }
    if limits.cpu_period.is_some() && limits.cpu_quota.is_none() {
        return Err(Failure::usage(anyhow::anyhow!(
            "CPUQuotaPeriodSec says how often a quota is handed out: give CPUQuota as well"
        )));
    }
    Ok(limits)
}
