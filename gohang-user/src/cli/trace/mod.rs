//! `gohang trace`.

pub mod args;
mod keep;
mod plan;
mod session;
mod ticks;

use std::io::Write as _;

use gohang::cgroup::{CgroupError, CgroupLayout};
use gohang::privilege::{self, Capability};
use gohang::probe::{ProbeError, StatsGuard};
use gohang::process::ProcRoot;
use gohang::source::{Live, LiveOptions, SelectError, check_pids};

use self::args::TraceArgs;
use self::keep::Place;
use self::plan::Plan;
pub(super) use self::plan::selection;
use self::session::Session;
use super::{Exit, Failure};

/// What remains after start: reading maps and other processes' files. Where programs that
/// start later are to be probed by perf events, the kernel asks for CAP_SYS_ADMIN too.
const KEPT: [Capability; 4] = [
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
];

/// Traces as the arguments say.
pub(super) fn run(arguments: TraceArgs) -> Result<Exit, Failure> {
    let plan = Plan::new(arguments)?;
    let proc = ProcRoot::default();
    check_pids(&proc, &plan.selection).map_err(|error| refusal(error, &proc))?;
    check_machine(&proc)?;
    // Before anything is attached: a file that cannot be written costs nothing.
    let writer = plan.display.open_output()?;
    let place = plan.record.as_deref().map(Place::open).transpose()?;
    let stats = plan
        .stats
        .then(StatsGuard::enable)
        .transpose()
        .map_err(Failure::unable)?;
    let options = LiveOptions {
        selection: plan.selection.clone(),
        load: plan.load.clone(),
        ..LiveOptions::default()
    };
    let live = Live::start(options).map_err(Failure::unable)?;
    if !plan.selection.is_open() && live.traced().is_empty() {
        return Err(Failure::usage(anyhow::anyhow!(
            "every given process has ended before tracing began"
        )));
    }
    let mut kept = KEPT.to_vec();
    if plan.selection.is_open() && live.probe().probes_go_by_events() {
        kept.push(Capability::CAP_SYS_ADMIN);
    }
    privilege::keep_only(&kept).map_err(Failure::unable)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let exit = runtime.block_on(Session::run(plan, live, writer, place))?;
    drop(stats);
    Ok(exit)
}

/// A process that may not be read shows that a privilege is missing, which is
/// named; everything else is wrong usage.
fn refusal(error: SelectError, proc: &ProcRoot) -> Failure {
    match error {
        SelectError::Denied { .. } => check_machine(proc)
            .err()
            .unwrap_or_else(|| Failure::unable(error)),
        SelectError::Unknown(_)
        | SelectError::Thread { .. }
        | SelectError::NotGo { .. }
        | SelectError::Unreadable { .. } => Failure::usage(error),
    }
}

/// Whether this machine and these privileges allow tracing.
fn check_machine(proc: &ProcRoot) -> Result<(), Failure> {
    let missing = privilege::missing().map_err(Failure::unable)?;
    if !missing.is_empty() {
        return Err(Failure::unable(missing));
    }
    if !proc.in_init_pid_ns().map_err(Failure::unable)? {
        return Err(Failure::unable(ProbeError::PidNamespace));
    }
    let kernel = privilege::kernel_release().map_err(Failure::unable)?;
    privilege::raise_memlock(&kernel).map_err(Failure::unable)?;
    match CgroupLayout::read(proc).and_then(|layout| layout.cpu().map(drop)) {
        Err(error @ CgroupError::NoCpuController { .. }) => Err(Failure::unable(error)),
        // Groups that cannot be seen from here are told as unknown.
        _ => Ok(()),
    }
}

/// Says on stderr that tracing has begun; `-d` counts from here.
fn announce() {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "gohang: tracing");
    let _ = stderr.flush();
}
