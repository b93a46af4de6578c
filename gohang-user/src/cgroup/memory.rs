//! Memory of a group: what it uses, its limit, and whom the kernel killed for it.

use std::path::Path;

use super::error::{CgroupError, read_optional};

/// Numbers from here on are version 1's way to say that there is no limit.
const V1_UNLIMITED: u64 = 1 << 62;

/// Memory of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryStat {
    /// Bytes in use, file cache included.
    pub usage: u64,
    /// Bytes allowed; `None`: no limit of its own.
    pub limit: Option<u64>,
    /// How often its processes had to wait because the limit was reached.
    pub hits: u64,
    /// Processes that the kernel killed because the limit was reached.
    pub oom_kills: u64,
}

impl MemoryStat {
    /// Reads either version's files of the group in `dir`; `None` when the controller does
    /// not look after it.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed.
    pub fn read(dir: &Path) -> Result<Option<Self>, CgroupError> {
        let (usage, limit, events) = match read_optional(dir, "memory.current")? {
            Some(usage) => (usage, "memory.max", "memory.events"),
            None => match read_optional(dir, "memory.usage_in_bytes")? {
                Some(usage) => (usage, "memory.limit_in_bytes", "memory.oom_control"),
                None => return Ok(None),
            },
        };
        let limit = read_optional(dir, limit)?;
        let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
        let events = read_optional(dir, events)?.unwrap_or_default();
        let hits = match value(&events, "max") {
            Some(hits) => Some(hits),
            None => read_optional(dir, "memory.failcnt")?.and_then(|text| text.trim().parse().ok()),
        };
        Ok(Some(Self {
            hits: hits.unwrap_or(0),
            usage: number(dir, "its use of memory", usage.trim())?,
            limit: limit.filter(|&limit| limit < V1_UNLIMITED),
            oom_kills: value(&events, "oom_kill").unwrap_or(0),
        }))
    }

    /// Bytes of the group's file cache that the kernel can take back at any time, which
    /// fill whatever is allowed; 0 when it cannot be told.
    #[must_use]
    pub fn reclaimable(dir: &Path) -> u64 {
        let text = read_optional(dir, "memory.stat").ok().flatten();
        let text = text.unwrap_or_default();
        // Version 1 counts a group without those below it under the same name.
        value(&text, "total_inactive_file")
            .or_else(|| value(&text, "inactive_file"))
            .unwrap_or(0)
    }
}

/// Tasks of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PidsStat {
    /// Tasks now.
    pub current: u64,
    /// Tasks allowed; `None`: no limit of its own.
    pub limit: Option<u64>,
    /// How often a fork was refused because of the limit.
    pub refused: u64,
}

impl PidsStat {
    /// Reads the files of the group in `dir`; `None` when the controller does not look after
    /// it, or it is a root group.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed.
    pub fn read(dir: &Path) -> Result<Option<Self>, CgroupError> {
        let Some(current) = read_optional(dir, "pids.current")? else {
            return Ok(None);
        };
        let limit = read_optional(dir, "pids.max")?;
        let events = read_optional(dir, "pids.events")?.unwrap_or_default();
        Ok(Some(Self {
            current: number(dir, "its number of tasks", current.trim())?,
            limit: limit.and_then(|text| text.trim().parse().ok()),
            refused: value(&events, "max").unwrap_or(0),
        }))
    }
}

/// CPU time that the group in `dir` has used, in nanoseconds, from version 1's
/// `cpuacct.usage`; `None` without that controller.
///
/// # Errors
/// [`CgroupError::Gone`] when the group was removed.
pub fn cpuacct_usage_ns(dir: &Path) -> Result<Option<u64>, CgroupError> {
    let text = read_optional(dir, "cpuacct.usage")?;
    text.map(|text| number(dir, "its CPU time", text.trim()))
        .transpose()
}

fn number(dir: &Path, what: &str, text: &str) -> Result<u64, CgroupError> {
    text.parse().map_err(|_| CgroupError::Malformed {
        path: dir.into(),
        what: format!("{what} is {text:?}"),
    })
}

/// The number behind `name` in lines of a name and a number.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn both_versions() {
        let v2 = group(&[
            ("memory.current", "5000\n"),
            ("memory.max", "8000\n"),
            ("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\n"),
            ("memory.stat", "anon 100\ninactive_file 700\n"),
        ]);
        let want = MemoryStat {
            usage: 5000,
            limit: Some(8000),
            hits: 9,
            oom_kills: 2,
        };
        assert_eq!(MemoryStat::read(v2.path()).unwrap(), Some(want));
        assert_eq!(MemoryStat::reclaimable(v2.path()), 700);
        let v1 = group(&[
            ("memory.usage_in_bytes", "5000\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            (
                "memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
            ),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 50\n"),
            ("memory.failcnt", "6\n"),
        ]);
        let want = MemoryStat {
            usage: 5000,
            limit: None,
            hits: 6,
            oom_kills: 3,
        };
        assert_eq!(MemoryStat::read(v1.path()).unwrap(), Some(want));
        assert_eq!(MemoryStat::reclaimable(v1.path()), 50);
        let pids = group(&[
            ("pids.current", "7\n"),
            ("pids.max", "max\n"),
            ("pids.events", "max 4\n"),
        ]);
        let want = PidsStat {
            current: 7,
            limit: None,
            refused: 4,
        };
        assert_eq!(PidsStat::read(pids.path()).unwrap(), Some(want));
        let cpu = group(&[("cpuacct.usage", "123\n")]);
        assert_eq!(cpuacct_usage_ns(cpu.path()).unwrap(), Some(123));
    }

    #[test]
    fn absent_damaged_and_gone() {
        let none = group(&[]);
        assert_eq!(MemoryStat::read(none.path()).unwrap(), None);
        assert_eq!(PidsStat::read(none.path()).unwrap(), None);
        assert_eq!(cpuacct_usage_ns(none.path()).unwrap(), None);
        let odd = group(&[("memory.current", "lots\n"), ("pids.current", "\n")]);
        assert!(MemoryStat::read(odd.path()).is_err());
        assert!(PidsStat::read(odd.path()).is_err());
        let gone = none.path().join("gone");
        assert!(MemoryStat::read(&gone).unwrap_err().is_gone());
    }
}
