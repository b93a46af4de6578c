//! A group's share of CPU time where there is not enough for all.

use std::path::Path;

use super::error::{CgroupError, read_optional};

/// Share of CPU time among the groups of one parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuWeight {
    /// Version 1's `cpu.shares`; 1024 is the default.
    Shares(u64),
    /// Version 2's `cpu.weight`; 100 is the default.
    Weight(u64),
    /// Version 2's `cpu.idle`: only what nobody else wants.
    Idle,
}

impl CpuWeight {
    /// Reads either version's files of the group in `dir`; `None` when it has none of them.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed.
    pub fn read(dir: &Path) -> Result<Option<Self>, CgroupError> {
        let number = |name: &str| {
            let text = read_optional(dir, name)?;
            Ok::<_, CgroupError>(text.and_then(|text| text.trim().parse::<u64>().ok()))
        };
        if number("cpu.idle")? == Some(1) {
            return Ok(Some(Self::Idle));
        }
        Ok(match number("cpu.weight")? {
            Some(weight) => Some(Self::Weight(weight)),
            None => number("cpu.shares")?.map(Self::Shares),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_form() {
        let dir = tempfile::tempdir().unwrap();
        let read = || CpuWeight::read(dir.path()).unwrap();
        assert_eq!(read(), None);
        fs::write(dir.path().join("cpu.shares"), "2048\n").unwrap();
        assert_eq!(read(), Some(CpuWeight::Shares(2048)));
        fs::write(dir.path().join("cpu.weight"), "50\n").unwrap();
        fs::write(dir.path().join("cpu.idle"), "0\n").unwrap();
        assert_eq!(read(), Some(CpuWeight::Weight(50)));
        fs::write(dir.path().join("cpu.idle"), "1\n").unwrap();
        assert_eq!(read(), Some(CpuWeight::Idle));
    }
}
