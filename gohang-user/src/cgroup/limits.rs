//! CPU quotas of a group and of those above it.

use std::path::{Path, PathBuf};

use super::ROOT_ID;
use super::error::{CgroupError, read_optional};
use super::ids::id_of;
use super::layout::{Hierarchy, Version};

const NSEC_PER_USEC: u64 = 1000;

/// A group's CPU quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuLimit {
    /// CPU time the group may use in each period, in nanoseconds; `None`: no limit.
    pub quota_ns: Option<u64>,
    /// The period, in nanoseconds.
    pub period_ns: u64,
    /// Unused quota that may be saved up, in nanoseconds.
    pub burst_ns: u64,
}

impl CpuLimit {
    /// From `cpu.cfs_quota_us`, `cpu.cfs_period_us` and, where there is one,
    /// `cpu.cfs_burst_us`.
    ///
    /// # Errors
    /// What is not in the documented form.
    pub fn parse_v1(quota: &str, period: &str, burst: Option<&str>) -> Result<Self, String> {
        let quota = match quota.trim() {
            "-1" => None,
            text => Some(microseconds(text)?),
        };
        Self::checked(quota, microseconds(period)?, burst)
    }

    /// From `cpu.max` and, where there is one, `cpu.max.burst`.
    ///
    /// # Errors
    /// What is not in the documented form.
    pub fn parse_v2(max: &str, burst: Option<&str>) -> Result<Self, String> {
        let (quota, period) = max
            .trim()
            .split_once(' ')
            .ok_or_else(|| format!("{:?} is not a quota and a period", max.trim()))?;
        let quota = match quota {
            "max" => None,
            text => Some(microseconds(text)?),
        };
        Self::checked(quota, microseconds(period)?, burst)
    }

    /// The quota in CPUs: 0.5 is half of one. `None`: no limit.
    #[must_use]
    pub fn cpus(&self) -> Option<f64> {
        self.quota_ns
            .map(|quota| quota as f64 / self.period_ns as f64)
    }

    /// Whether it allows less CPU time than `other`. Exact, unlike [`Self::cpus`].
    #[must_use]
    pub fn is_tighter_than(&self, other: &Self) -> bool {
        match (self.quota_ns, other.quota_ns) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(own), Some(their)) => {
                u128::from(own) * u128::from(other.period_ns)
                    < u128::from(their) * u128::from(self.period_ns)
            }
        }
    }

    fn checked(quota_ns: Option<u64>, period_ns: u64, burst: Option<&str>) -> Result<Self, String> {
        if period_ns == 0 {
            return Err("the period is 0".into());
        }
        Ok(Self {
            quota_ns,
            period_ns,
            burst_ns: burst.map_or(Ok(0), microseconds)?,
        })
    }
}

/// A decimal number of microseconds, in nanoseconds.
fn microseconds(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let number: u64 = text
        .parse()
        .map_err(|_| format!("{text:?} is not a number"))?;
    number
        .checked_mul(NSEC_PER_USEC)
        .ok_or_else(|| format!("{text} microseconds are too many"))
}

/// A group that the cpu controller looks after, and its quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLimit {
    /// The group.
    pub path: PathBuf,
    /// Its quota.
    pub limit: CpuLimit,
}

/// The quotas that apply to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The group itself, if the controller looks after it, and those above it that are
    /// visible, nearest first.
    pub groups: Vec<GroupLimit>,
    /// Whether they reach up to the hierarchy's root. Otherwise there may be tighter
    /// limits that cannot be seen from here (from within a container).
    pub complete: bool,
}

impl Limits {
    /// Reads the quotas of the group `path` and all above it.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed, [`CgroupError::OutsideMount`]
    /// when it cannot be seen from here.
    pub fn read(hierarchy: &Hierarchy, path: &Path) -> Result<Self, CgroupError> {
        let dir = hierarchy.require_dir(path)?;
        let mut groups = Vec::new();
        for dir in dir.ancestors() {
            let Some(path) = hierarchy.path_of(dir) else {
                break;
            };
            if let Some(limit) = read_limit(hierarchy.version, dir)? {
                groups.push(GroupLimit { path, limit });
            }
        }
        Ok(Self {
            groups,
            complete: id_of(&hierarchy.mount_point)? == ROOT_ID,
        })
    }

    /// The nearest group that the cpu controller looks after: the one whose quota and
    /// statistics the scheduler keeps for these processes.
    #[must_use]
    pub fn controlled_group(&self) -> Option<&Path> {
        self.groups.first().map(|group| group.path.as_path())
    }

    /// The tightest quota and the group that has it, the nearest of several; `None`
    /// when nothing visible limits the group.
    #[must_use]
    pub fn effective(&self) -> Option<&GroupLimit> {
        self.groups
            .iter()
            .filter(|group| group.limit.quota_ns.is_some())
            .reduce(|best, next| {
                if next.limit.is_tighter_than(&best.limit) {
                    next
                } else {
                    best
                }
            })
    }
}

/// The quota in `dir`; `None` when the controller does not look after that group.
pub(super) fn read_limit(version: Version, dir: &Path) -> Result<Option<CpuLimit>, CgroupError> {
    let (file, parsed) = match version {
        Version::V1 => {
            let quota = read_optional(dir, "cpu.cfs_quota_us")?;
            let period = read_optional(dir, "cpu.cfs_period_us")?;
            let (Some(quota), Some(period)) = (quota, period) else {
                return Ok(None);
            };
            let burst = read_optional(dir, "cpu.cfs_burst_us")?;
            (
                "cpu.cfs_quota_us",
                CpuLimit::parse_v1(&quota, &period, burst.as_deref()),
            )
        }
        Version::V2 => {
            let Some(max) = read_optional(dir, "cpu.max")? else {
                return Ok(None);
            };
            let burst = read_optional(dir, "cpu.max.burst")?;
            ("cpu.max", CpuLimit::parse_v2(&max, burst.as_deref()))
        }
    };
    parsed.map(Some).map_err(|what| CgroupError::Malformed {
        path: dir.join(file),
        what,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const MS: u64 = 1_000_000;

    fn limit(quota_ns: Option<u64>, period_ns: u64) -> CpuLimit {
        CpuLimit {
            quota_ns,
            period_ns,
            burst_ns: 0,
        }
    }

    #[test]
    fn both_versions_are_read() {
        assert_eq!(
            CpuLimit::parse_v1("20000\n", "100000\n", Some("5000\n")),
            Ok(CpuLimit {
                quota_ns: Some(20 * MS),
                period_ns: 100 * MS,
                burst_ns: 5 * MS
            })
        );
        assert_eq!(
            CpuLimit::parse_v1("-1\n", "100000\n", None),
            Ok(limit(None, 100 * MS))
        );
        assert_eq!(
            CpuLimit::parse_v2("50000 100000\n", None),
            Ok(limit(Some(50 * MS), 100 * MS))
        );
        assert_eq!(
            CpuLimit::parse_v2("max 100000\n", Some("0\n")),
            Ok(limit(None, 100 * MS))
        );
        assert_eq!(limit(Some(50 * MS), 100 * MS).cpus(), Some(0.5));
    }

    #[test]
    fn impossible_values_are_refused() {
        assert!(CpuLimit::parse_v1("-2", "100000", None).is_err());
        assert!(CpuLimit::parse_v1("1000", "0", None).is_err());
        assert!(CpuLimit::parse_v1("", "100000", None).is_err());
        assert!(CpuLimit::parse_v2("max", None).is_err());
        assert!(CpuLimit::parse_v2("99999999999999999999 1", None).is_err());
        assert!(CpuLimit::parse_v2("18446744073709551 1", Some("x")).is_err());
        assert!(
            CpuLimit::parse_v2("18446744073709552 1", None)
                .unwrap_err()
                .contains("too many")
        );
    }

    /// Makes the files of a group of either version.
    fn group(top: &Path, path: &str, version: Version, quota: &str, period: &str) {
        let dir = top.join(path);
        fs::create_dir_all(&dir).unwrap();
        match version {
            Version::V1 => {
                let quota = if quota == "max" { "-1" } else { quota };
                fs::write(dir.join("cpu.cfs_quota_us"), format!("{quota}\n")).unwrap();
                fs::write(dir.join("cpu.cfs_period_us"), format!("{period}\n")).unwrap();
            }
            Version::V2 => {
                fs::write(dir.join("cpu.max"), format!("{quota} {period}\n")).unwrap();
            }
        }
    }

    #[test]
    fn the_tightest_ancestor_wins() {
        for version in [Version::V1, Version::V2] {
            let dir = tempfile::tempdir().unwrap();
            let top = dir.path();
            let hierarchy = Hierarchy {
                version,
                controllers: Vec::new(),
                name: None,
                mount_point: top.into(),
                root: "/".into(),
            };
            group(top, "a", version, "100000", "50000");
            group(top, "a/b", version, "50000", "100000");
            group(top, "a/b/c", version, "25000", "50000");
            group(top, "a/b/c/d", version, "max", "100000");
            group(top, "free", version, "max", "100000");
            // On version 2, a group without the controller has no such files.
            fs::create_dir(top.join("a/b/c/d/e")).unwrap();
            let read = |path: &str| Limits::read(&hierarchy, Path::new(path)).unwrap();

            let deep = read("/a/b/c/d/e");
            assert_eq!(deep.controlled_group(), Some(Path::new("/a/b/c/d")));
            assert_eq!(deep.groups.len(), 4);
            // b and c allow the same; c is nearer.
            assert_eq!(deep.effective().unwrap().path, Path::new("/a/b/c"));
            assert_eq!(read("/a/b").effective().unwrap().path, Path::new("/a/b"));
            let a = read("/a");
            assert_eq!(a.effective().unwrap().limit.cpus(), Some(2.0));
            assert_eq!(read("/free").effective(), None);
            assert_eq!(read("/").groups, []);
            // A directory that is not the hierarchy's root.
            assert!(!a.complete);
            assert!(
                Limits::read(&hierarchy, Path::new("/none"))
                    .unwrap_err()
                    .is_gone()
            );
        }
    }

    #[test]
    fn a_file_of_another_form_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cpu.max"), "soon\n").unwrap();
        let error = read_limit(Version::V2, dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("cpu.max") && error.contains("soon"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn parsing_never_panics(a in ".{0,30}", b in ".{0,30}", c in ".{0,30}") {
            let _ = CpuLimit::parse_v1(&a, &b, Some(&c));
            let _ = CpuLimit::parse_v2(&a, Some(&c));
        }

        #[test]
        fn tighter_is_a_strict_order(a: (Option<u64>, u64), b: (Option<u64>, u64)) {
            let (a, b) = (limit(a.0, a.1.max(1)), limit(b.0, b.1.max(1)));
            prop_assert!(!a.is_tighter_than(&a));
            prop_assert!(!(a.is_tighter_than(&b) && b.is_tighter_than(&a)));
        }
    }
}
