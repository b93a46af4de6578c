//! Making room: a version 2 group with processes of its own cannot share its controllers
//! out. Where this process is the only one, it steps into a group below.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::own::OwnError;
use super::super::own_group::{members, write};
use super::super::owner::Owner;
use crate::process::ProcRoot;

/// Label of that group; what is left of it is found with the groups of runs.
const LABEL: &str = "run-self";

/// A group below, in which this process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aside {
    /// Its directory.
    pub dir: PathBuf,
}

impl Aside {
    /// Steps aside from `place`; `None` where that is not needed, or would not help.
    ///
    /// # Errors
    /// When `/proc` cannot be read, or the kernel lets this process in and not back.
    pub fn step(place: &Path) -> Result<Option<Self>, OwnError> {
        let me = std::process::id();
        let alone = members(place).is_ok_and(|members| members == [me]);
        if !alone || !place.join("cgroup.type").exists() {
            return Ok(None);
        }
        let dir = place.join(Owner::this(&ProcRoot::default())?.name(LABEL));
        if fs::create_dir(&dir).is_err() {
            // The group of the run cannot be made here either, and says why.
            return Ok(None);
        }
        let aside = Self { dir };
        match write(&aside.dir.join("cgroup.procs"), &me.to_string()) {
            Ok(()) => Ok(Some(aside)),
            Err(_) => aside.remove().map(|()| None),
        }
    }

    /// Goes back to `place`, which shares nothing out any more.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn back(&self, place: &Path) -> Result<(), OwnError> {
        let me = std::process::id().to_string();
        write(&place.join("cgroup.procs"), &me)?;
        self.remove()
    }

    fn remove(&self) -> Result<(), OwnError> {
        fs::remove_dir(&self.dir).map_err(|source| OwnError::Remove {
            path: self.dir.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_process_of_a_group_steps_aside() {
        let me = std::process::id();
        let made = |procs: &str, kind: &str| {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("cgroup.procs"), procs).unwrap();
            if !kind.is_empty() {
                fs::write(dir.path().join("cgroup.type"), kind).unwrap();
            }
            let aside = Aside::step(dir.path()).unwrap();
            let left = fs::read_dir(dir.path()).unwrap().flatten();
            let left = left.filter(|entry| entry.path().is_dir()).count();
            (aside, left)
        };
        // A directory made here has no cgroup.procs, so that it is made and given up; nothing
        // is left of it.
        assert_eq!(made(&format!("{me}\n"), "domain\n"), (None, 0));
        assert_eq!(made(&format!("{me}\n1\n"), "domain\n"), (None, 0));
        assert_eq!(made(&format!("{me}\n"), ""), (None, 0));
        assert_eq!(made("", "domain\n"), (None, 0));
    }
}
