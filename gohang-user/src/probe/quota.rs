//! The hooks on the quota of run queues: fentry where the kernel allows it, else
//! kprobes.

use aya::Ebpf;
use aya::programs::{FEntry, KProbe, ProgramError};

use super::load::{program_error, refusal};
use super::{Hook, HookState, ProbeError, sys};
use crate::btf::Btf;

/// Both edges: the function, its programs and what it is used for.
const EDGES: [(&str, &str, &str, &str); 2] = [
    (
        "tg_throttle_down",
        "tg_throttle_down",
        "tg_throttle_down_kprobe",
        "the moment a run queue runs out of quota",
    ),
    (
        "tg_unthrottle_up",
        "tg_unthrottle_up",
        "tg_unthrottle_up_kprobe",
        "the moment a run queue gets quota back",
    ),
];

/// Programs of both kinds.
pub(super) fn programs() -> impl Iterator<Item = &'static str> {
    EDGES
        .iter()
        .flat_map(|(_, fentry, kprobe, _)| [*fentry, *kprobe])
}

/// What became of the hooks.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Both kinds, each with what became of it.
    pub hooks: Vec<Hook>,
    /// Whether both edges are attached, in one kind.
    pub attached: bool,
}

/// Both kinds with why the kernel has neither, where that shows without gohang's programs and
/// their maps.
pub(super) fn refused_beforehand(kernel: &Btf, may_fentry: bool) -> Option<Vec<Hook>> {
    let mut hooks = Vec::new();
    let by_fentry = both(&mut hooks, "fentry", |function, _, _| {
        Ok(fentry_id(kernel, function, may_fentry)
            .and_then(|id| sys::try_fentry(id).map_err(|error| refused(format!("load: {error}")))))
    });
    if by_fentry.ok()? {
        return None;
    }
    let by_kprobe = both(&mut hooks, "kprobe", |_, _, _| Ok(has_kprobes()));
    (!by_kprobe.ok()?).then_some(hooks)
}

/// The function's BTF id, if fentry may be tried on it.
fn fentry_id(kernel: &Btf, function: &str, may_fentry: bool) -> Result<u32, (HookState, String)> {
    if !may_fentry {
        return Err((HookState::NotNeeded, "--no-fentry".to_owned()));
    }
    kernel.func_id(function).ok_or_else(|| {
        let reason = "the kernel's types do not name this function";
        (HookState::Absent, reason.to_owned())
    })
}

/// Whether the kernel has kprobes for programs: a unit of perf events (4.17 and later).
fn has_kprobes() -> Tried {
    const UNIT: &str = "/sys/bus/event_source/devices/kprobe/type";
    match std::fs::metadata(UNIT) {
        Ok(_) => Ok(()),
        Err(error) => Err((HookState::Refused, format!("`{UNIT}`: {error}"))),
    }
}

/// Tries fentry on both functions if it may, then kprobes.
///
/// # Errors
/// The object has no such programs.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    kernel: &Btf,
    btf: &aya::Btf,
    may_fentry: bool,
) -> Result<Outcome, ProbeError> {
    let mut outcome = Outcome::default();
    let by_fentry = both(&mut outcome.hooks, "fentry", |function, fentry, _| {
        if let Err(reason) = fentry_id(kernel, function, may_fentry) {
            return Ok(Err(reason));
        }
        let program: &mut FEntry = program(ebpf, fentry)?;
        let tried = program
            .load(function, btf)
            .and_then(|()| program.attach().map(drop));
        Ok(tried.map_err(|error| refused(refusal(&error))))
    })?;
    if by_fentry {
        for (function, _, _, used_for) in EDGES {
            outcome.hooks.push(hook(
                "kprobe",
                function,
                used_for,
                HookState::NotNeeded,
                Some("fentry does it".to_owned()),
            ));
        }
        outcome.attached = true;
        return Ok(outcome);
    }
    unload(ebpf)?;
    outcome.attached = both(&mut outcome.hooks, "kprobe", |function, _, kprobe| {
        if let Err(reason) = has_kprobes() {
            return Ok(Err(reason));
        }
        let program: &mut KProbe = program(ebpf, kprobe)?;
        let tried = program
            .load()
            .and_then(|()| program.attach(function, 0).map(drop));
        Ok(tried.map_err(|error| refused(refusal(&error))))
    })?;
    if !outcome.attached {
        unload(ebpf)?;
    }
    Ok(outcome)
}

type Tried = Result<(), (HookState, String)>;

/// Tries one kind on both edges. One edge without the other is of no use.
fn both(
    hooks: &mut Vec<Hook>,
    kind: &str,
    mut attempt: impl FnMut(&'static str, &'static str, &'static str) -> Result<Tried, ProbeError>,
) -> Result<bool, ProbeError> {
    let first = hooks.len();
    let mut all = true;
    for (function, fentry, kprobe, used_for) in EDGES {
        let tried = if all {
            attempt(function, fentry, kprobe)?
        } else {
            Err((
                HookState::NotNeeded,
                "of no use without the other".to_owned(),
            ))
        };
        let (state, reason) = match tried {
            Ok(()) => (HookState::Attached, None),
            Err((state, reason)) => {
                all = false;
                (state, Some(reason))
            }
        };
        hooks.push(hook(kind, function, used_for, state, reason));
    }
    if !all {
        for hook in &mut hooks[first..] {
            if hook.state == HookState::Attached {
                hook.state = HookState::NotNeeded;
                hook.reason = Some("of no use without the other".to_owned());
            }
        }
    }
    Ok(all)
}

fn hook(
    kind: &str,
    function: &str,
    used_for: &str,
    state: HookState,
    reason: Option<String>,
) -> Hook {
    Hook {
        hook: format!("{kind}:{function}"),
        state,
        used_for: used_for.to_owned(),
        reason,
    }
}

/// Why the kernel said no. Before that is told, programs on tracepoints have been loaded (the
/// self-test's), so EPERM is not about a missing capability.
fn refused(text: String) -> (HookState, String) {
    let text = if text.contains("(os error 1)") {
        format!("EPERM although programs on tracepoints load: this kernel refuses it ({text})")
    } else {
        text
    };
    (HookState::Refused, text)
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, ProbeError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| ProbeError::Object(format!("it has no program {name}")))?
        .try_into()
        .map_err(|error| program_error(name, &error))
}

/// Unloads what is loaded of both kinds.
///
/// # Errors
/// A program cannot be unloaded.
pub(super) fn unload(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    for (_, fentry, kprobe, _) in EDGES {
        let loaded: &mut FEntry = program(ebpf, fentry)?;
        if loaded.fd().is_ok() {
            loaded
                .unload()
                .map_err(|error| program_error(fentry, &error))?;
        }
        let loaded: &mut KProbe = program(ebpf, kprobe)?;
        if loaded.fd().is_ok() {
            loaded
                .unload()
                .map_err(|error| program_error(kprobe, &error))?;
        }
    }
    Ok(())
}
