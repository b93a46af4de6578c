//! Which CPUs and memory nodes a group may use.

use std::path::Path;

use super::error::{CgroupError, read_optional};

/// CPUs and memory nodes of a group, each as the kernel's list (`0-3,8`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cpuset {
    /// CPUs it asks for; `None` or empty on version 2: those of the group above it.
    pub cpus: Option<String>,
    /// CPUs its tasks get.
    pub effective: Option<String>,
    /// Memory nodes it asks for.
    pub mems: Option<String>,
}

impl Cpuset {
    /// Reads either version's files of the group in `dir`; `None` when the controller does
    /// not look after it.
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed.
    pub fn read(dir: &Path) -> Result<Option<Self>, CgroupError> {
        let text = |name: &str| {
            let text = read_optional(dir, name)?;
            Ok::<_, CgroupError>(text.map(|text| text.trim().to_owned()))
        };
        let cpus = text("cpuset.cpus")?;
        let effective = match text("cpuset.cpus.effective")? {
            Some(list) => Some(list),
            None => text("cpuset.effective_cpus")?,
        };
        if cpus.is_none() && effective.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            cpus,
            effective,
            mems: text("cpuset.mems")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn both_versions_and_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Cpuset::read(dir.path()).unwrap(), None);
        // The root of version 2 has only the effective list.
        fs::write(dir.path().join("cpuset.cpus.effective"), "0-7\n").unwrap();
        let root = Cpuset::read(dir.path()).unwrap().unwrap();
        assert_eq!((root.cpus, root.effective.as_deref()), (None, Some("0-7")));
        let v1 = tempfile::tempdir().unwrap();
        for (name, list) in [
            ("cpuset.cpus", "0-1\n"),
            ("cpuset.effective_cpus", "1\n"),
            ("cpuset.mems", "0\n"),
        ] {
            fs::write(v1.path().join(name), list).unwrap();
        }
        let own = Cpuset::read(v1.path()).unwrap().unwrap();
        assert_eq!(own.cpus.as_deref(), Some("0-1"));
        assert_eq!(own.effective.as_deref(), Some("1"));
        assert_eq!(own.mems.as_deref(), Some("0"));
        assert!(Cpuset::read(&v1.path().join("x")).unwrap_err().is_gone());
    }
}
