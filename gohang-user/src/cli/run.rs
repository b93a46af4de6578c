//! `gohang run`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use gohang::cgroup::Weight;
use gohang::run::{self, FAILED, Limits, Machine, Options, Wanted};

use super::group::group;
use super::{Failure, exit};

/// `gohang run`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct RunArgs {
    /// The command, and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    #[command(flatten)]
    pub limits: LimitArgs,
}

const EXIT_CODES: &str = "Exit codes: the command's own, or 128 + N if signal N ended it; 125 if \
    gohang failed, 126 if the command could not be executed, 127 if it was not found.";

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
    /// Run inside an existing control group, whose limits stay as they are.
    #[arg(long, value_name = "PATH", conflicts_with_all = [
        "cpu_quota", "cpu_period", "cpu_weight", "allowed_cpus", "memory_max", "tasks_max",
        "property",
    ])]
    pub in_cgroup: Option<String>,
}

/// A limit that may be none.
#[derive(Debug, Clone, Copy)]
pub struct Infinite(Option<u64>);

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
    let outcome = plan(arguments).and_then(|options| Ok(run::run(&options)?));
    match outcome {
        Ok(outcome) => outcome.exit_code(false),
        Err(failure) => {
            let code = failure.error.downcast_ref::<run::RunError>();
            let code = code.map_or(FAILED, run::RunError::exit_code);
            exit::tell(&failure);
            code
        }
    }
}

fn plan(arguments: RunArgs) -> Result<Options, Failure> {
    let RunArgs { limits, command } = arguments;
    let inside = limits.in_cgroup.as_deref().map(group).transpose()?;
    let require_limits = limits.require_limits;
    Ok(Options {
        command,
        place: Wanted {
            limits: limits_of(limits)?,
            inside,
            require_limits,
        },
    })
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
