//! `GOMAXPROCS` as the runtime of a version computes it.
//!
//! At start (`schedinit`, runtime/proc.go): a number above zero in the environment
//! counts (1.21.13 line 760, 1.25.5 line 921, 1.27.3 line 935); else the CPUs in the
//! first thread's affinity mask (`getproccount`, from 1.25 on `getCPUCount`,
//! runtime/os_linux.go), lowered from 1.25 on to the quota of the process's own group,
//! rounded up to whole CPUs and to at least 2 (`adjustCgroupGOMAXPROCS`,
//! runtime/cgroup_linux.go of 1.25.5, 1.26.6 and 1.27.3). `GODEBUG=containermaxprocs=0`
//! turns the latter off, and is built into programs whose `go.mod` asks for less than
//! 1.25 (internal/godebugs/table.go).
//!
//! Later: from 1.25 on `sysmon` computes it again up to once a second, when `GOMAXPROCS`
//! was not given, by neither the environment nor the program, and `updatemaxprocs` is
//! not 0 (`sysmonUpdateGOMAXPROCS`, runtime/proc.go).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::godebug::{Origin, godebug, variable};
use super::leaf::READS_QUOTA;
use super::modinfo::ModInfo;
use super::number::runtime_int;
use super::version::GoVersion;
use crate::cgroup::CpuLimit;

/// The quota counts for at least so many.
const AT_LEAST: f64 = 2.0;

/// `GOMAXPROCS` and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gomaxprocs {
    /// The value, as `runtime.GOMAXPROCS(0)` returns it unless the program sets another.
    pub value: u32,
    /// What it follows from.
    pub because: Because,
    /// Whether the runtime heeds the quota of its group.
    pub quota: QuotaUse,
    /// Whether the runtime looks again, up to once a second, at its affinity mask and,
    /// where it heeds it, the quota. Not after the program itself has set a value.
    pub updates: bool,
}

/// What a value of `GOMAXPROCS` follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The environment variable.
    Environment,
    /// The CPUs that the process may run on.
    Affinity,
    /// The quota of its group.
    Quota,
}

/// Whether a runtime heeds the quota of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuotaUse {
    /// It does.
    Heeded,
    /// Before 1.25 none does.
    TooOld,
    /// Turned off with `containermaxprocs` in the environment's `GODEBUG`.
    OffInEnvironment,
    /// Turned off with `containermaxprocs` in the program's `DefaultGODEBUG`, as a
    /// `go.mod` that asks for less than 1.25 does.
    OffBuiltIn,
}

impl Gomaxprocs {
    /// As a process of this program computes it: `environ` is its `/proc/PID/environ`,
    /// `cpus` the number of CPUs that its first thread may run on, `leaf` the quota
    /// of the group that its runtime reads (see [`super::LeafQuota`]).
    #[must_use]
    pub fn compute(
        version: &GoVersion,
        info: &ModInfo,
        environ: &[u8],
        cpus: u32,
        leaf: Option<CpuLimit>,
    ) -> Self {
        let quota = quota_use(version, info, environ);
        let given = runtime_int(version, variable(environ, b"GOMAXPROCS"));
        if let Some(value) = given.filter(|value| *value > 0) {
            return Self {
                value: value.unsigned_abs(),
                because: Because::Environment,
                quota,
                updates: false,
            };
        }
        // Nobody is told of an empty mask.
        let cpus = cpus.max(1);
        let lowered = leaf
            .filter(|_| quota == QuotaUse::Heeded)
            .and_then(|limit| limit.cpus())
            .map(|limit| limit.ceil().max(AT_LEAST))
            .filter(|limit| *limit < f64::from(cpus));
        let update = |(_, value): (Origin, i32)| value != 0;
        Self {
            value: lowered.map_or(cpus, |limit| limit as u32),
            because: match lowered {
                Some(_) => Because::Quota,
                None => Because::Affinity,
            },
            quota,
            updates: version.at_least(READS_QUOTA)
                && godebug(version, info, environ, "updatemaxprocs").is_none_or(update),
        }
    }
}

fn quota_use(version: &GoVersion, info: &ModInfo, environ: &[u8]) -> QuotaUse {
    if !version.at_least(READS_QUOTA) {
        return QuotaUse::TooOld;
    }
    match godebug(version, info, environ, "containermaxprocs") {
        Some((origin, value)) if value <= 0 => match origin {
            Origin::Environment => QuotaUse::OffInEnvironment,
            Origin::BuiltIn => QuotaUse::OffBuiltIn,
        },
        _ => QuotaUse::Heeded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD_MODULE: &str = "containermaxprocs=0,updatemaxprocs=0";

    fn compute(
        version: &str,
        built_in: &str,
        environ: &str,
        cpus: u32,
        quota: Option<u64>,
    ) -> Gomaxprocs {
        let info = ModInfo {
            settings: vec![("DefaultGODEBUG".to_owned(), built_in.to_owned())],
            ..ModInfo::default()
        };
        let limit = CpuLimit {
            quota_ns: quota.map(|hundredths| hundredths * 1_000_000),
            period_ns: 100_000_000,
            burst_ns: 0,
        };
        let version = GoVersion::parse(version).expect("a version");
        Gomaxprocs::compute(&version, &info, environ.as_bytes(), cpus, Some(limit))
    }

    #[test]
    fn the_rule_of_each_version() {
        use Because::{Affinity, Environment, Quota};
        use QuotaUse::{Heeded, OffBuiltIn, OffInEnvironment, TooOld};
        let new = "go1.27.3";
        for (version, built_in, environ, quota, value, because, used, updates) in [
            ("go1.24.11", "", "", Some(150), 8, Affinity, TooOld, false),
            (new, "", "", None, 8, Affinity, Heeded, true),
            // Rounded up, and to two at least.
            (new, "", "", Some(10), 2, Quota, Heeded, true),
            (new, "", "", Some(200), 2, Quota, Heeded, true),
            (new, "", "", Some(201), 3, Quota, Heeded, true),
            (new, "", "", Some(700), 7, Quota, Heeded, true),
            (new, "", "", Some(701), 8, Affinity, Heeded, true),
            ("go1.25.0", "", "", Some(150), 2, Quota, Heeded, true),
            ("devel +abc", "", "", Some(150), 2, Quota, Heeded, true),
            // By go.mod, and back by the environment.
            (
                new,
                OLD_MODULE,
                "",
                Some(150),
                8,
                Affinity,
                OffBuiltIn,
                false,
            ),
            (
                new,
                OLD_MODULE,
                "GODEBUG=containermaxprocs=1",
                Some(150),
                2,
                Quota,
                Heeded,
                false,
            ),
            (
                new,
                "",
                "GODEBUG=containermaxprocs=0",
                Some(150),
                8,
                Affinity,
                OffInEnvironment,
                true,
            ),
            (
                new,
                "",
                "GODEBUG=updatemaxprocs=0",
                Some(150),
                2,
                Quota,
                Heeded,
                false,
            ),
            // Above zero turns it on, other than zero has it updated.
            (
                new,
                "",
                "GODEBUG=containermaxprocs=-1,updatemaxprocs=-1",
                Some(150),
                8,
                Affinity,
                OffInEnvironment,
                true,
            ),
            // The environment wins, if it is a number above zero.
            (
                new,
                "",
                "GOMAXPROCS=16",
                Some(150),
                16,
                Environment,
                Heeded,
                false,
            ),
            (
                "go1.21.13",
                "",
                "A=\0GOMAXPROCS=3\0",
                None,
                3,
                Environment,
                TooOld,
                false,
            ),
            (new, "", "GOMAXPROCS=0", Some(150), 2, Quota, Heeded, true),
            (new, "", "GOMAXPROCS=-1", Some(150), 2, Quota, Heeded, true),
            (new, "", "GOMAXPROCS=two", Some(150), 2, Quota, Heeded, true),
            (
                new,
                "",
                "GOMAXPROCS=+5",
                Some(150),
                5,
                Environment,
                Heeded,
                false,
            ),
            (
                "go1.25.5",
                "",
                "GOMAXPROCS=+5",
                Some(150),
                2,
                Quota,
                Heeded,
                true,
            ),
        ] {
            let found = compute(version, built_in, environ, 8, quota);
            let wanted = Gomaxprocs {
                value,
                because,
                quota: used,
                updates,
            };
            assert_eq!(found, wanted, "{version} {built_in} {environ} {quota:?}");
        }
    }

    #[test]
    fn the_mask_is_the_most_without_a_value_given() {
        let one = compute("go1.27.3", "", "", 1, Some(50));
        assert_eq!((one.value, one.because), (1, Because::Affinity));
        assert_eq!(compute("go1.27.3", "", "", 0, None).value, 1);
        assert_eq!(compute("go1.27.3", "", "GOMAXPROCS=9", 1, None).value, 9);
    }

    proptest! {
        #[test]
        fn a_quota_only_lowers(cpus in 1_u32..4096, quota: u32, environ in ".{0,40}") {
            let quota = u64::from(quota);
            let with = compute("go1.27.3", "", &environ, cpus, Some(quota));
            let without = compute("go1.27.3", "", &environ, cpus, None);
            prop_assert!(with.value >= 1 && with.value <= without.value);
            prop_assert_eq!(compute("go1.24.0", "", &environ, cpus, Some(quota)).value,
                compute("go1.24.0", "", &environ, cpus, None).value);
        }
    }
}
