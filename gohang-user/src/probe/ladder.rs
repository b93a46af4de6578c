//! The ladder: what "throttled" rests on, from the most exact step down.

use gohang_common::config::{ABSENT, Offsets, throttle};
use serde::{Deserialize, Serialize};

use super::{EstimateError, Hook, HookState, ProbeError};

/// What "throttled" rests on; the same meaning on every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// `task->throttled` (6.18 and later), per thread.
    ThreadExact,
    /// When each run queue of a group was out of quota, laid over the waits of
    /// its threads.
    CfsRqOverlay,
    /// The run queue's throttle count at switches and wake-ups: a thread that
    /// was already waiting when the group ran out, and the end of a park on
    /// another CPU, are estimates.
    SwitchPointEstimate,
    /// This kernel has no CFS bandwidth control.
    NoBandwidthControl,
}

impl Precision {
    /// The steps, from the most exact one down, as `--throttle-source` takes them.
    pub const STEPS: [Self; 3] = [
        Self::ThreadExact,
        Self::CfsRqOverlay,
        Self::SwitchPointEstimate,
    ];

    /// Its number in the object's settings.
    const fn setting(self) -> u32 {
        match self {
            Self::ThreadExact => throttle::THREAD_EXACT,
            Self::CfsRqOverlay => throttle::OVERLAY,
            Self::SwitchPointEstimate => throttle::SWITCH_POINT,
            Self::NoBandwidthControl => throttle::NONE,
        }
    }

    /// Name as in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThreadExact => "thread-exact",
            Self::CfsRqOverlay => "cfs-rq-overlay",
            Self::SwitchPointEstimate => "switch-point-estimate",
            Self::NoBandwidthControl => "no-bandwidth-control",
        }
    }
}

/// A step of the ladder, as it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// What "throttled" rests on.
    pub precision: Precision,
    /// With the hooks on the quota of run queues. The overlay stands on them;
    /// `task->throttled` gets the exact ends of parks from them.
    pub run_queues: bool,
}

impl Step {
    /// `throttle` and `run_queues` of the object's settings.
    pub(super) fn settings(self) -> (u32, u32) {
        (self.precision.setting(), u32::from(self.run_queues))
    }
}

/// What a kernel can do of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Taken, since it is the most exact one that this kernel can do, or asked for.
    InUse,
    /// Could be asked for.
    Available,
    /// This kernel cannot do it.
    Unavailable,
}

/// A step of the ladder and what this kernel can do of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ThrottleSource {
    /// The step, as `--throttle-source` takes it.
    pub step: Precision,
    /// Whether it can be had.
    pub state: StepState,
    /// Why not; null if it can.
    pub reason: Option<String>,
    /// What an episode's throttled time may be off by; null where it is exact.
    pub estimate_error: Option<EstimateError>,
}

/// All steps, by the kernel's fields and by what became of the hooks when they were
/// tried.
pub(super) fn survey(offsets: &Offsets, used: Step, hooks: &[Hook]) -> Vec<ThrottleSource> {
    let reason = |step: Precision| match steps(offsets, Some(step), true) {
        Err(ProbeError::ThrottleSource { reason, .. }) => Some(reason),
        _ if step == Precision::CfsRqOverlay && !used.run_queues => Some(refusals(hooks)),
        _ => None,
    };
    let look = |step| {
        let reason = (step != used.precision).then(|| reason(step)).flatten();
        let state = match &reason {
            _ if step == used.precision => StepState::InUse,
            Some(_) => StepState::Unavailable,
            None => StepState::Available,
        };
        ThrottleSource {
            step,
            state,
            reason,
            estimate_error: step.estimate_error(),
        }
    };
    Precision::STEPS.map(look).to_vec()
}

/// Why the hooks on the quota of run queues are not attached.
pub(super) fn refusals(hooks: &[Hook]) -> String {
    let refused: Vec<String> = hooks
        .iter()
        .filter(|hook| matches!(hook.state, HookState::Refused | HookState::Absent))
        .map(|hook| {
            let reason = hook.reason.as_deref().unwrap_or("refused");
            format!("{}: {reason}", hook.hook)
        })
        .collect();
    if refused.is_empty() {
        return "the hooks on run queues were not tried".to_owned();
    }
    refused.join("; ")
}

/// The names of the fields that this kernel's types do not have.
fn lacking(fields: &[(&'static str, u32)]) -> Vec<&'static str> {
    let absent = fields.iter().filter(|(_, offset)| *offset == ABSENT);
    absent.map(|(name, _)| *name).collect()
}

/// The steps to try, in order: the first whose hooks the kernel allows is taken.
///
/// `queue_hooks` says whether the hooks on the quota of run queues may be tried.
///
/// # Errors
/// The step that is asked for needs what this kernel does not have.
pub(super) fn steps(
    offsets: &Offsets,
    wanted: Option<Precision>,
    queue_hooks: bool,
) -> Result<Vec<Step>, ProbeError> {
    use Precision::{CfsRqOverlay, NoBandwidthControl, SwitchPointEstimate, ThreadExact};
    let step = |precision, run_queues| Step {
        precision,
        run_queues,
    };
    let no_flag = lacking(&[("task_struct.throttled", offsets.task_throttled)]);
    let no_counts = lacking(&[
        ("cfs_rq.throttle_count", offsets.cfs_rq_throttle_count),
        ("task_struct.se.cfs_rq", offsets.task_cfs_rq),
    ]);
    let no_queues = lacking(&[
        ("task_group.cfs_rq", offsets.group_cfs_rq),
        ("task_group.parent", offsets.group_parent),
        ("cfs_rq.rq", offsets.cfs_rq_rq),
        ("rq.cpu", offsets.rq_cpu),
        ("rq.idle", offsets.rq_idle),
    ]);
    let (flag, counts) = (no_flag.is_empty(), no_counts.is_empty());
    let hooks = queue_hooks && counts && no_queues.is_empty();
    let missing = |wanted: Precision, fields: &[&str], note: &str| {
        Err(ProbeError::ThrottleSource {
            wanted: wanted.name(),
            reason: format!("its types have no {}{note}", fields.join(", ")),
        })
    };
    let with_hooks = |precision| hooks.then(|| step(precision, true));
    let exact = with_hooks(ThreadExact)
        .into_iter()
        .chain([step(ThreadExact, false)]);
    match wanted {
        None if flag => Ok(exact.collect()),
        None if counts => Ok(with_hooks(CfsRqOverlay)
            .into_iter()
            .chain([step(SwitchPointEstimate, false)])
            .collect()),
        None => Ok(vec![step(NoBandwidthControl, false)]),
        Some(ThreadExact) if flag => Ok(exact.collect()),
        Some(ThreadExact) => missing(ThreadExact, &no_flag, " (6.18 and later have it)"),
        Some(CfsRqOverlay) if hooks => Ok(vec![step(CfsRqOverlay, true)]),
        Some(CfsRqOverlay) if !queue_hooks => Err(ProbeError::ThrottleSource {
            wanted: CfsRqOverlay.name(),
            reason: "its hooks on run queues are not to be used".to_owned(),
        }),
        Some(CfsRqOverlay) => missing(CfsRqOverlay, &[no_counts, no_queues].concat(), ""),
        Some(SwitchPointEstimate) if counts => Ok(vec![step(SwitchPointEstimate, false)]),
        Some(SwitchPointEstimate) => missing(SwitchPointEstimate, &no_counts, ""),
        Some(NoBandwidthControl) => Ok(vec![step(NoBandwidthControl, false)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(flag: bool, counts: bool, groups: bool) -> Offsets {
        let at = |there: bool| if there { 8 } else { ABSENT };
        Offsets {
            task_throttled: at(flag),
            cfs_rq_throttle_count: at(counts),
            task_cfs_rq: at(counts),
            group_cfs_rq: at(groups),
            group_parent: at(groups),
            cfs_rq_rq: at(groups),
            rq_cpu: at(groups),
            rq_idle: at(groups),
            ..Offsets::UNSET
        }
    }

    fn names(offsets: &Offsets, wanted: Option<Precision>) -> Vec<(&'static str, bool)> {
        steps(offsets, wanted, true)
            .expect("steps")
            .into_iter()
            .map(|step| (step.precision.name(), step.run_queues))
            .collect()
    }

    #[test]
    fn the_fields_decide() {
        let new = offsets(true, true, true);
        assert_eq!(
            names(&new, None),
            [("thread-exact", true), ("thread-exact", false)]
        );
        let old = offsets(false, true, true);
        assert_eq!(
            names(&old, None),
            [("cfs-rq-overlay", true), ("switch-point-estimate", false)]
        );
        let bare = offsets(false, true, false);
        assert_eq!(names(&bare, None), [("switch-point-estimate", false)]);
        let none = offsets(false, false, false);
        assert_eq!(names(&none, None), [("no-bandwidth-control", false)]);
    }

    #[test]
    fn one_that_is_asked_for_is_taken_or_refused() {
        let (new, old) = (offsets(true, true, true), offsets(false, true, true));
        for precision in [Precision::CfsRqOverlay, Precision::SwitchPointEstimate] {
            for offsets in [&new, &old] {
                let run_queues = precision == Precision::CfsRqOverlay;
                assert_eq!(
                    names(offsets, Some(precision)),
                    [(precision.name(), run_queues)]
                );
            }
        }
        let error = steps(&old, Some(Precision::ThreadExact), true).expect_err("no flag");
        assert!(error.to_string().contains("6.18"), "{error}");
        let bare = offsets(false, true, false);
        let error = steps(&bare, Some(Precision::CfsRqOverlay), true).expect_err("no groups");
        assert!(
            error.to_string().contains("no task_group.cfs_rq, "),
            "{error}"
        );
        let error = steps(&new, Some(Precision::CfsRqOverlay), false).expect_err("no hooks");
        assert!(error.to_string().contains("not to be used"), "{error}");
    }

    fn states(offsets: &Offsets, used: Step, hooks: &[Hook]) -> Vec<(StepState, Option<String>)> {
        let all = survey(offsets, used, hooks);
        let order: Vec<Precision> = all.iter().map(|source| source.step).collect();
        assert_eq!(order, Precision::STEPS);
        all.into_iter()
            .map(|source| (source.state, source.reason))
            .collect()
    }

    #[test]
    fn every_step_is_told() {
        use StepState::{Available, InUse, Unavailable};
        let (new, old) = (offsets(true, true, true), offsets(false, true, true));
        let step = |precision, run_queues| Step {
            precision,
            run_queues,
        };
        let exact = step(Precision::ThreadExact, true);
        assert_eq!(
            states(&new, exact, &[]),
            [(InUse, None), (Available, None), (Available, None)]
        );
        let refused = Hook {
            hook: "fentry:tg_throttle_down".into(),
            state: HookState::Refused,
            used_for: "x".into(),
            reason: Some("EPERM".into()),
        };
        let told = states(
            &old,
            step(Precision::SwitchPointEstimate, false),
            &[refused],
        );
        assert_eq!(
            told[1..],
            [
                (
                    Unavailable,
                    Some("fentry:tg_throttle_down: EPERM".to_owned())
                ),
                (InUse, None)
            ]
        );
        let (state, reason) = &told[0];
        assert_eq!(*state, Unavailable);
        assert!(reason.as_ref().is_some_and(|why| why.contains("6.18")));
        let none = offsets(false, false, false);
        let told = states(&none, step(Precision::NoBandwidthControl, false), &[]);
        assert!(told.iter().all(|(state, _)| *state == Unavailable));
    }
}
