//! The probe set's programs: verified side by side, then attached in order.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use aya::Ebpf;
use aya::programs::BtfTracePoint;

use super::hooks::{PROGRAMS, Program, Wanted};
use super::ladder::Step;
use super::load::{program_error, tracepoint};
use super::{Hook, HookState, ProbeError};
use crate::btf::Btf;

/// Loads and attaches what this kernel and step need. A hook that is not
/// required is only reported.
///
/// # Errors
/// The kernel lacks or refuses one that is required.
pub(super) fn attach_all(
    ebpf: &mut Ebpf,
    kernel: &Btf,
    btf: &aya::Btf,
    step: Step,
) -> Result<Vec<Hook>, ProbeError> {
    let mut hooks = PROGRAMS
        .iter()
        .map(|program| plan(program, kernel, step))
        .collect::<Result<Vec<Hook>, ProbeError>>()?;
    // Load all first: attaching is what costs the machine, so it is kept short.
    let mut loaded = load_all(ebpf, btf, &hooks)?;
    for (hook, program) in hooks.iter_mut().zip(PROGRAMS) {
        if hook.state != HookState::Attached {
            continue;
        }
        let result = loaded.remove(program.name).ok_or_else(|| {
            ProbeError::Object(format!("loading its program {} broke off", program.name))
        })?;
        if let Err(error) = result.and_then(|()| attach(ebpf, program)) {
            if program.required {
                return Err(error);
            }
            hook.state = HookState::Refused;
            hook.reason = Some(error.to_string());
        }
    }
    Ok(hooks)
}

/// What is to become of a program: attached, or why not.
fn plan(program: &Program, kernel: &Btf, step: Step) -> Result<Hook, ProbeError> {
    let (state, reason) = if let Wanted::No(reason) = (program.wanted)(kernel, step) {
        (HookState::NotNeeded, Some(reason.to_owned()))
    } else if kernel.has_typedef(&format!("btf_trace_{}", program.tracepoint)) {
        (HookState::Attached, None)
    } else if program.required {
        return Err(ProbeError::NoTracepoint(program.tracepoint));
    } else {
        let reason = "this kernel does not have it".to_owned();
        (HookState::Absent, Some(reason))
    };
    Ok(Hook {
        hook: format!("tp_btf:{}", program.tracepoint),
        state,
        used_for: program.used_for.to_owned(),
        reason,
    })
}

/// The programs that the verifier looks at longest, from the last of them on (docs/verifier.md).
const LONGEST: [&str; 5] = [
    "signal_generate",
    "sched_process_exit",
    "signal_deliver",
    "sched_switch3",
    "sched_switch4",
];

/// A program to load.
type Job<'a> = (&'static Program, &'a mut BtfTracePoint);

/// Loads the planned programs on as many threads as there are CPUs: the
/// verifier takes tens of milliseconds for the larger ones. Results by name.
fn load_all(
    ebpf: &mut Ebpf,
    btf: &aya::Btf,
    hooks: &[Hook],
) -> Result<BTreeMap<&'static str, Result<(), ProbeError>>, ProbeError> {
    let mut found: BTreeMap<&str, _> = ebpf.programs_mut().collect();
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for (hook, program) in hooks.iter().zip(PROGRAMS) {
        if hook.state != HookState::Attached {
            continue;
        }
        let loadable = found
            .remove(program.name)
            .ok_or_else(|| ProbeError::Object(format!("it has no program {}", program.name)))?
            .try_into()
            .map_err(|error| program_error(program.name, &error))?;
        jobs.push((program, loadable));
    }
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = workers.min(jobs.len());
    // Taken from the end: what takes long comes first, and little is left when one worker has
    // nothing more to do.
    jobs.sort_by_key(|(program, _)| LONGEST.iter().position(|name| *name == program.name));
    let jobs = Mutex::new(jobs);
    let results = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some((program, loadable)) = pop(&jobs) {
            let result = loadable
                .load(program.tracepoint, btf)
                .map_err(|error| program_error(program.name, &error));
            results
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(program.name, result);
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        work();
        // A scope waits for the closures only; joined, the threads have ended.
        for other in others {
            // A panic in it shows in a program without a result.
            let _ = other.join();
        }
    });
    Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn pop<'a>(jobs: &Mutex<Vec<Job<'a>>>) -> Option<Job<'a>> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn attach(ebpf: &mut Ebpf, program: &Program) -> Result<(), ProbeError> {
    tracepoint(ebpf, program.name)?
        .attach()
        .map_err(|error| program_error(program.name, &error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_take_long_are_programs() {
        for name in LONGEST {
            assert!(
                PROGRAMS.iter().any(|program| program.name == name),
                "{name}"
            );
        }
    }
}
