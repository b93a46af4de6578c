//! Writing a group's CPU quota.

use std::path::Path;

use super::layout::Version;
use super::limits::read_limit;
use super::own::OwnError;
use super::own_group::write;

/// The file that says how much unspent quota may be saved up (Linux 5.14 and later).
pub(super) const fn burst_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "cpu.cfs_burst_us",
        Version::V2 => "cpu.max.burst",
    }
}

/// What the kernel accepts (`min_cfs_quota_period`, `max_cfs_quota_period`): 1 ms to 1 s.
pub const MIN_NS: u64 = 1_000_000;
/// Longest period, in nanoseconds.
pub const MAX_PERIOD_NS: u64 = 1_000_000_000;

/// Allows the group in `dir` `quota_ns` of CPU time in every `period_ns`; `None` takes the
/// limit away. The kernel counts both in whole microseconds.
///
/// On version 1, a change of the period takes the limit away for an instant, because the
/// two numbers lie in two files that must agree at every moment.
///
/// # Errors
/// [`OwnError::BadLimit`] for what no kernel takes; [`OwnError::Write`] when a group above
/// is limited more tightly (version 1) or the group is gone.
pub(super) fn set_quota(
    version: Version,
    dir: &Path,
    quota_ns: Option<u64>,
    period_ns: u64,
) -> Result<(), OwnError> {
    let bad = |what: &str| {
        Err(OwnError::BadLimit {
            quota_ns,
            period_ns,
            what: what.into(),
        })
    };
    if !(MIN_NS..=MAX_PERIOD_NS).contains(&period_ns) {
        return bad("a period must be between 1 ms and 1 s");
    }
    if quota_ns.is_some_and(|quota| quota < MIN_NS) {
        return bad("a quota must be at least 1 ms");
    }
    if !quota_ns.unwrap_or(0).is_multiple_of(1000) || !period_ns.is_multiple_of(1000) {
        return bad("both must be whole microseconds");
    }
    let quota = quota_ns.map(|quota| (quota / 1000).to_string());
    let period = (period_ns / 1000).to_string();
    match version {
        Version::V2 => {
            let quota = quota.as_deref().unwrap_or("max");
            write(&dir.join("cpu.max"), &format!("{quota} {period}"))
        }
        Version::V1 => {
            let quota = quota.as_deref().unwrap_or("-1");
            let now = read_limit(version, dir)?;
            if now.is_none_or(|limit| limit.period_ns != period_ns) {
                write(&dir.join("cpu.cfs_quota_us"), "-1")?;
                write(&dir.join("cpu.cfs_period_us"), &period)?;
            }
            write(&dir.join("cpu.cfs_quota_us"), quota)
        }
    }
}
