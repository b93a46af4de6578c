//! The ladder: what "throttled" rests on, from the most exact step down.

use gohang_common::config::{ABSENT, Offsets, throttle};
use serde::{Deserialize, Serialize};

use super::ProbeError;

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
    let has = |fields: &[u32]| !fields.contains(&ABSENT);
    let counts = has(&[offsets.cfs_rq_throttle_count, offsets.task_cfs_rq]);
    let hooks = queue_hooks
        && counts
        && has(&[
            offsets.group_cfs_rq,
            offsets.group_parent,
            offsets.cfs_rq_rq,
            offsets.rq_cpu,
            offsets.rq_idle,
        ]);
    let flag = has(&[offsets.task_throttled]);
    let missing = |wanted: Precision, reason: &str| {
        Err(ProbeError::ThrottleSource {
            wanted: wanted.name(),
            reason: reason.to_owned(),
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
        Some(ThreadExact) => missing(
            ThreadExact,
            "its tasks have no `throttled` (6.18 and later have it)",
        ),
        Some(CfsRqOverlay) if hooks => Ok(vec![step(CfsRqOverlay, true)]),
        Some(SwitchPointEstimate) if counts => Ok(vec![step(SwitchPointEstimate, false)]),
        Some(wanted @ (CfsRqOverlay | SwitchPointEstimate)) => missing(
            wanted,
            "its run queues have no `throttle_count`, or its hooks are not to be used",
        ),
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
        assert!(steps(&bare, Some(Precision::CfsRqOverlay), true).is_err());
    }
}
