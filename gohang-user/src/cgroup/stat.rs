//! `cpu.stat` and `cpu.stat.local`.

use std::path::Path;

use super::error::{CgroupError, read_optional};
use crate::process::{WentBack, growth};

/// A group's CPU statistics since it was made. What its version or kernel does not
/// count is `None`.
///
/// `throttled_ns` is summed over the group's run queues, one for each CPU: it can exceed
/// wall-clock time and is not what a thread waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuStat {
    /// CPU time used, in nanoseconds (version 2).
    pub usage_ns: Option<u64>,
    /// Periods in which the group ran.
    pub nr_periods: Option<u64>,
    /// Periods in which it ran out of quota.
    pub nr_throttled: Option<u64>,
    /// Time its run queues were throttled, in nanoseconds.
    pub throttled_ns: Option<u64>,
    /// Periods in which it used saved-up quota.
    pub nr_bursts: Option<u64>,
    /// Time run on saved-up quota, in nanoseconds.
    pub burst_ns: Option<u64>,
}

impl CpuStat {
    /// Parses either version's text: version 1 counts in nanoseconds (`throttled_time`),
    /// version 2 in microseconds (`throttled_usec`). Unknown lines are passed over.
    ///
    /// # Errors
    /// The line whose number is missing or too large.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut stat = Self::default();
        for line in text.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let (field, unit) = match key {
                "usage_usec" => (&mut stat.usage_ns, 1000),
                "nr_periods" => (&mut stat.nr_periods, 1),
                "nr_throttled" => (&mut stat.nr_throttled, 1),
                "throttled_time" => (&mut stat.throttled_ns, 1),
                "throttled_usec" => (&mut stat.throttled_ns, 1000),
                "nr_bursts" => (&mut stat.nr_bursts, 1),
                "burst_time" => (&mut stat.burst_ns, 1),
                "burst_usec" => (&mut stat.burst_ns, 1000),
                _ => continue,
            };
            let number = value
                .trim()
                .parse::<u64>()
                .ok()
                .and_then(|n| n.checked_mul(unit));
            *field = Some(number.ok_or_else(|| format!("the line {line:?} has no usable number"))?);
        }
        Ok(stat)
    }

    /// Reads `cpu.stat` of the group in `dir`; `None` when it has no such file.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed.
    pub fn read(dir: &Path) -> Result<Option<Self>, CgroupError> {
        Self::read_named(dir, "cpu.stat")
    }

    /// Time the group itself was throttled, without that of groups above it, in
    /// nanoseconds; `None` when this kernel has no `cpu.stat.local` (before 6.6).
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed.
    pub fn read_local_throttled_ns(dir: &Path) -> Result<Option<u64>, CgroupError> {
        Ok(Self::read_named(dir, "cpu.stat.local")?.and_then(|stat| stat.throttled_ns))
    }

    /// What was added since `earlier`, a reading of the same group.
    ///
    /// # Errors
    /// [`WentBack`] when a count is smaller now: it is another group of that name.
    pub fn since(&self, earlier: &Self) -> Result<Self, WentBack> {
        let grown = |name, before: Option<u64>, after: Option<u64>| {
            before
                .zip(after)
                .map(|(before, after)| growth(name, before, after))
                .transpose()
        };
        Ok(Self {
            usage_ns: grown("usage", earlier.usage_ns, self.usage_ns)?,
            nr_periods: grown("nr_periods", earlier.nr_periods, self.nr_periods)?,
            nr_throttled: grown("nr_throttled", earlier.nr_throttled, self.nr_throttled)?,
            throttled_ns: grown("throttled time", earlier.throttled_ns, self.throttled_ns)?,
            nr_bursts: grown("nr_bursts", earlier.nr_bursts, self.nr_bursts)?,
            burst_ns: grown("burst time", earlier.burst_ns, self.burst_ns)?,
        })
    }

    fn read_named(dir: &Path, name: &str) -> Result<Option<Self>, CgroupError> {
        let Some(text) = read_optional(dir, name)? else {
            return Ok(None);
        };
        Self::parse(&text)
            .map(Some)
            .map_err(|what| CgroupError::Malformed {
                path: dir.join(name),
                what,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const V1: &str = "nr_periods 120\nnr_throttled 60\nthrottled_time 4800123456\n\
        wait_sum 99\nnr_bursts 2\nburst_time 3000\n";
    const V2: &str = "usage_usec 7000001\nuser_usec 7000000\nsystem_usec 1\nnr_periods 120\n\
        nr_throttled 60\nthrottled_usec 4800123\nnr_bursts 2\nburst_usec 3\n";

    #[test]
    fn both_versions_in_nanoseconds() {
        let stat = CpuStat::parse(V1).unwrap();
        assert_eq!(stat.throttled_ns, Some(4_800_123_456));
        assert_eq!((stat.nr_periods, stat.nr_throttled), (Some(120), Some(60)));
        assert_eq!(
            (stat.nr_bursts, stat.burst_ns, stat.usage_ns),
            (Some(2), Some(3000), None)
        );
        let stat = CpuStat::parse(V2).unwrap();
        assert_eq!(stat.throttled_ns, Some(4_800_123_000));
        assert_eq!(
            (stat.usage_ns, stat.burst_ns),
            (Some(7_000_001_000), Some(3000))
        );
        // Without the controller, version 2 counts only usage.
        let stat = CpuStat::parse("usage_usec 5\nuser_usec 5\nsystem_usec 0\n").unwrap();
        assert_eq!((stat.usage_ns, stat.throttled_ns), (Some(5000), None));
    }

    #[test]
    fn growth_and_going_back() {
        let early = CpuStat::parse(V1).unwrap();
        let late = CpuStat::parse(&V1.replace("4800123456", "4800123500")).unwrap();
        let grown = late.since(&early).unwrap();
        assert_eq!((grown.throttled_ns, grown.nr_periods), (Some(44), Some(0)));
        assert_eq!(grown.usage_ns, None);
        let back = early.since(&late).unwrap_err();
        assert_eq!((back.name, back.before), ("throttled time", 4_800_123_500));
    }

    #[test]
    fn files_of_a_group() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(CpuStat::read(dir.path()).unwrap(), None);
        assert_eq!(CpuStat::read_local_throttled_ns(dir.path()).unwrap(), None);
        fs::write(dir.path().join("cpu.stat"), V2).unwrap();
        fs::write(dir.path().join("cpu.stat.local"), "throttled_usec 12\n").unwrap();
        assert_eq!(CpuStat::read(dir.path()).unwrap(), CpuStat::parse(V2).ok());
        assert_eq!(
            CpuStat::read_local_throttled_ns(dir.path()).unwrap(),
            Some(12_000)
        );
        fs::write(dir.path().join("cpu.stat"), "nr_periods -1\n").unwrap();
        let error = CpuStat::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("nr_periods -1"), "{error}");
        assert!(
            CpuStat::read(&dir.path().join("none"))
                .unwrap_err()
                .is_gone()
        );
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        assert!(CpuStat::parse("throttled_usec 18446744073709551615\n").is_err());
        assert!(CpuStat::parse("throttled_time 18446744073709551615\n").is_ok());
        assert!(CpuStat::parse("nr_periods\n").is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "((nr_periods|throttled_usec|x) ?.{0,25}\n){0,4}") {
            let _ = CpuStat::parse(&text);
        }
    }
}
