//! Moves of a process to another group: what changes, what the runtime notices, and whether
//! scheduler and limits agree afterwards.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::collect::Collector;
use super::model::{Cpu, Gomaxprocs, Move, Place, Process};
use super::sample::grown;
use crate::cgroup::CgroupError;
use crate::process::ProcError;
use crate::units::cpus;

/// How long a process is watched after a move. The runtime looks at most once a second
/// (sysmonUpdateGOMAXPROCS), so that this is two of its looks.
const WATCH: Duration = Duration::from_millis(2200);

/// Why a process was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The process could not be looked at.
    #[error(transparent)]
    Process(#[from] super::NotShown),
    /// The group could not be looked at.
    #[error(transparent)]
    Group(#[from] CgroupError),
    /// There is no hierarchy with the cpu controller.
    #[error(
        "no hierarchy with the cpu controller can be seen here, so that a move changes no limit; \
         see `gohang doctor`"
    )]
    NoCpu,
    /// It is there already.
    #[error("process {pid} is in {group} already")]
    AlreadyThere {
        /// The process.
        pid: u32,
        /// The group, escaped.
        group: String,
    },
    /// The kernel refused.
    #[error("cannot move process {pid} to {}: {source}{}", path.display(), advice(source))]
    Refused {
        /// The process.
        pid: u32,
        /// The file that was written to.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// What to do about a refusal.
fn advice(error: &std::io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            "; on version 2 a group whose controllers are enabled for those below it takes no \
             processes: choose one below it"
        }
        Some(libc::EACCES | libc::EPERM) => {
            "; run gohang as root, or as the user that both groups and those between are \
             delegated to"
        }
        Some(libc::EOPNOTSUPP) => "; the group is threaded, or above a threaded one",
        Some(libc::EINVAL) => {
            "; a real-time thread needs a group with cpu.rt_runtime_us, and a cpuset needs CPUs \
             and memory nodes"
        }
        _ => "",
    }
}

/// Moves `pid` to the group `path` of the hierarchy with the cpu controller, if `yes`, and
/// says what that changes; else says what it would change.
///
/// # Errors
/// [`MoveError`].
pub fn migrate(
    collector: &mut Collector,
    pid: u32,
    path: &Path,
    yes: bool,
) -> Result<Move, MoveError> {
    collector.next_round();
    let before = collector.process(pid)?;
    let target = collector.groups().cpu_at(path)?.ok_or(MoveError::NoCpu)?;
    if before
        .groups
        .cpu
        .as_ref()
        .is_some_and(|cpu| cpu.path == target.path)
    {
        return Err(MoveError::AlreadyThere {
            pid,
            group: target.path.to_string(),
        });
    }
    if !yes {
        let mut after = place(&before);
        after.cgroup = Some(target.path.clone());
        after.limit.clone_from(&target.effective);
        after.computed = computed_at(&before, &target);
        return Ok(judged(&before, place(&before), after, false, true));
    }
    let hierarchy = collector.groups().cpu_hierarchy().ok_or(MoveError::NoCpu)?;
    let file = hierarchy.require_dir(path)?.join("cgroup.procs");
    std::fs::write(&file, pid.to_string()).map_err(|source| MoveError::Refused {
        pid,
        path: file,
        source,
    })?;
    watch(collector, &before, true).map_err(Into::into)
}

/// GOMAXPROCS as the runtime would set it if it were started in the group `target`, on the CPUs
/// that it may use now; `None` where that cannot be told.
fn computed_at(process: &Process, target: &Cpu) -> Option<u32> {
    let procs = &process.go.as_ref()?.gomaxprocs;
    let now = procs.computed?;
    if let Some(set) = &procs.set {
        // What the runtime takes for no number above zero, it passes over.
        return (set.to_string() == now.to_string()).then_some(now);
    }
    if !procs.respects_quota {
        return Some(now);
    }
    if procs.finds_quota != Some(true) || process.cpus_allowed_count == 0 {
        return None;
    }
    let own = target.levels.iter().find(|own| own.path == target.path)?;
    let paid = own.cpus().map(|cpus| cpus.ceil().max(2.0) as u32);
    let cpus = process.cpus_allowed_count;
    Some(paid.map_or(cpus, |paid| paid.min(cpus)))
}

/// Watches a process that has just been moved, which was as `before`.
///
/// # Errors
/// When it ends meanwhile.
pub fn watch(
    collector: &mut Collector,
    before: &Process,
    ours: bool,
) -> Result<Move, super::NotShown> {
    let pid = before.pid;
    let begin = Instant::now();
    collector.next_round();
    let start = collector.process(pid)?;
    if start.start_ticks != before.start_ticks {
        let error = ProcError::Gone { pid };
        return Err(super::NotShown { pid, error });
    }
    sleep(WATCH);
    collector.next_round();
    let end = collector.process(pid)?;
    let mut made = judged(&end, place(before), place(&end), true, ours);
    made.watched_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let statistics = |process: &Process| process.groups.cpu.clone()?.statistics;
    if let (Some(first), Some(last)) = (statistics(&start), statistics(&end))
        && first.path == last.path
    {
        let grown = grown(&first, &last);
        made.throttled_ns = grown.throttled_ns;
        made.throttled_periods = grown.throttled_periods;
    }
    Ok(made)
}

/// Whether a process is in another group than before.
#[must_use]
pub fn has_moved(before: &Process, now: &Process) -> bool {
    let group = |process: &Process| process.groups.cpu.as_ref().map(|cpu| cpu.path.clone());
    before.start_ticks == now.start_ticks
        && group(before).is_some()
        && group(now).is_some()
        && group(before) != group(now)
}

fn place(process: &Process) -> Place {
    let cpu = process.groups.cpu.as_ref();
    let go = process.go.as_ref();
    Place {
        cgroup: cpu.map(|cpu| cpu.path.clone()),
        limit: cpu.and_then(|cpu| cpu.effective.clone()),
        cpus_allowed: process.cpus_allowed.clone(),
        gomaxprocs: go.and_then(|go| go.gomaxprocs.seen),
        computed: go.and_then(|go| go.gomaxprocs.computed),
        threads: process.threads.clone(),
    }
}

/// The move with its verdict. `process` is as it is now.
fn judged(process: &Process, before: Place, after: Place, done: bool, ours: bool) -> Move {
    let runtime = match &process.go {
        Some(go) => notices(&go.version, &go.gomaxprocs),
        None => "not known to be Go".to_owned(),
    };
    // A runtime rounds up, and to 2 at least.
    let room = after.limit.as_ref().map(|limit| limit.cpus.ceil().max(2.0));
    let procs = after.gomaxprocs.or(after.computed);
    let at_a_time = match (procs.unwrap_or(1).max(1), process.cpus_allowed_count) {
        (procs, 0) => procs,
        (procs, cpus) => procs.min(cpus),
    };
    let (agree, verdict) = match (procs, room, &after.limit) {
        (Some(procs), Some(room), Some(limit)) if f64::from(procs) > room => (
            false,
            format!(
                "they disagree: GOMAXPROCS {procs} stays above the {} CPUs that {} allows, so that \
                 the group runs out of quota after {} of each period when {at_a_time} of them run \
                 at a time",
                cpus(limit.cpus),
                limit.path,
                crate::units::duration(limit.quota_ns / u64::from(at_a_time))
            ),
        ),
        (Some(procs), Some(_), Some(limit)) => (
            true,
            format!(
                "they agree: GOMAXPROCS {procs} fits into the {} CPUs that {} allows",
                cpus(limit.cpus),
                limit.path
            ),
        ),
        (Some(procs), None, _) => (
            true,
            format!("they agree: GOMAXPROCS is {procs}, and nothing visible limits the group"),
        ),
        _ => (
            true,
            "GOMAXPROCS is not known: nothing speaks against the limit".to_owned(),
        ),
    };
    Move {
        pid: process.pid,
        ours,
        before,
        after,
        done,
        watched_ns: 0,
        throttled_ns: None,
        throttled_periods: None,
        runtime,
        agree,
        verdict: if done {
            verdict
        } else {
            format!("as it is now, {verdict}")
        },
    }
}

/// What the runtime notices of a move, by version and settings.
fn notices(version: &str, procs: &Gomaxprocs) -> String {
    if procs.set.is_some() {
        return "GOMAXPROCS was given in its environment: the runtime looks at nothing".to_owned();
    }
    match (procs.respects_quota, procs.follows_changes) {
        (true, true) => "it keeps the quota file of the group it started in open: changes of that \
             quota and of its CPUs reach it within about a second, the move and the new group's \
             quota do not"
            .to_owned(),
        (true, false) => "it read the quota of its group once, at the start (updatemaxprocs=0): \
             nothing later reaches it"
            .to_owned(),
        (false, true) => "it ignores quotas (containermaxprocs=0); changes of its CPUs reach it \
             within about a second"
            .to_owned(),
        (false, false) => format!(
            "{version} counted its CPUs once, at the start: neither quotas nor later changes of \
             its CPUs reach it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::model::{CpuLevel, EffectiveCpu, Go};

    fn process(procs: Option<u32>, quota: Option<f64>) -> Process {
        let limit = quota.map(|cpus| EffectiveCpu {
            path: "/a".into(),
            quota_ns: (cpus * 100e6) as u64,
            period_ns: 100_000_000,
            burst_ns: 0,
            cpus,
        });
        let mut process = Process {
            pid: 7,
            ..Process::default()
        };
        process.groups.cpu = Some(Cpu {
            path: "/a".into(),
            effective: limit,
            ..Cpu::default()
        });
        process.go = procs.map(|procs| Go {
            version: "go1.24.11".into(),
            gomaxprocs: Gomaxprocs {
                seen: Some(procs),
                ..Gomaxprocs::default()
            },
            ..Go::default()
        });
        process
    }

    #[test]
    fn scheduler_and_limits_agree_or_not() {
        for (procs, quota, agree, part) in [
            (Some(8), Some(2.0), false, "8 stays above the 2.00 CPUs"),
            (Some(3), Some(2.5), true, "fits"),
            (Some(4), Some(2.5), false, "25 ms"),
            // By quota no runtime goes below 2.
            (Some(2), Some(0.5), true, "fits"),
            (Some(8), None, true, "nothing visible"),
            (None, Some(0.5), true, "not known"),
        ] {
            let own = process(procs, quota);
            let made = judged(&own, place(&own), place(&own), true, false);
            assert_eq!(made.agree, agree, "{procs:?} {quota:?}");
            if part != "25 ms" {
                assert!(made.verdict.contains(part), "{}", made.verdict);
            }
        }
    }

    #[test]
    fn what_it_would_be_where_it_is_to_go() {
        let target = |quota: Option<f64>| {
            let level = CpuLevel {
                path: "/b".into(),
                quota_ns: quota.map(|cpus| (cpus * 100e6) as u64),
                period_ns: 100_000_000,
                ..CpuLevel::default()
            };
            Cpu {
                path: "/b".into(),
                levels: vec![level],
                ..Cpu::default()
            }
        };
        let heeds = Gomaxprocs {
            computed: Some(8),
            respects_quota: true,
            finds_quota: Some(true),
            ..Gomaxprocs::default()
        };
        let with = |set: &str, respects_quota, finds_quota| Gomaxprocs {
            set: Some(set).filter(|set| !set.is_empty()).map(Into::into),
            respects_quota,
            finds_quota,
            ..heeds.clone()
        };
        let there = Some(true);
        for (procs, quota, want) in [
            (heeds.clone(), Some(2.5), Some(3)),
            (heeds.clone(), Some(0.5), Some(2)),
            (heeds.clone(), Some(20.0), Some(8)),
            (heeds.clone(), None, Some(8)),
            (with("8", true, there), Some(2.0), Some(8)),
            (with("0", true, there), Some(2.0), None),
            (with("", false, there), Some(2.0), Some(8)),
            (with("", true, Some(false)), Some(2.0), None),
            (with("", true, None), Some(2.0), None),
        ] {
            let mut own = process(Some(8), None);
            own.cpus_allowed_count = 8;
            own.go.as_mut().expect("it is Go").gomaxprocs = procs.clone();
            assert_eq!(
                computed_at(&own, &target(quota)),
                want,
                "{procs:?} {quota:?}"
            );
        }
        assert_eq!(computed_at(&process(None, None), &target(None)), None);
    }

    #[test]
    fn what_a_runtime_notices() {
        let procs = |respects_quota, follows_changes| Gomaxprocs {
            respects_quota,
            follows_changes,
            ..Gomaxprocs::default()
        };
        for (own, part) in [
            (
                procs(true, true),
                "the move and the new group's quota do not",
            ),
            (procs(true, false), "updatemaxprocs=0"),
            (procs(false, true), "ignores quotas"),
            (procs(false, false), "go1.24.11 counted its CPUs once"),
        ] {
            let text = notices("go1.24.11", &own);
            assert!(text.contains(part), "{text}");
            let set = Gomaxprocs {
                set: Some("4".into()),
                ..own
            };
            assert!(notices("go1.24.11", &set).contains("looks at nothing"));
        }
    }

    #[test]
    fn a_move_is_of_the_same_process_to_another_group() {
        let before = process(None, None);
        let mut now = process(None, None);
        assert!(!has_moved(&before, &now));
        now.groups.cpu = Some(Cpu {
            path: "/b".into(),
            ..Cpu::default()
        });
        assert!(has_moved(&before, &now));
        now.start_ticks += 1;
        assert!(!has_moved(&before, &now));
        now = process(None, None);
        now.groups.cpu = None;
        assert!(!has_moved(&before, &now));
    }
}
