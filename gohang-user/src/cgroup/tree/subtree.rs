//! A group together with all below it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::error::CgroupError;
use super::super::own::OwnError;
use super::super::own_group::{members, until};

/// A group and all groups below it, the deepest first.
pub(super) fn dirs(top: &Path) -> Vec<PathBuf> {
    let mut open = vec![top.to_path_buf()];
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        // A group that goes while it is looked at has nothing below it.
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(below.map(|entry| entry.path()));
        found.push(dir);
    }
    found.reverse();
    found
}

/// The processes in a group and below, ascending; 0 stands for those of other PID
/// namespaces.
pub(super) fn processes(top: &Path) -> Result<Vec<u32>, CgroupError> {
    let mut all = Vec::new();
    for dir in dirs(top) {
        match members(&dir) {
            Ok(members) => all.extend(members),
            // The processes of threaded groups are listed in the one they belong to.
            Err(CgroupError::Read { source, .. })
                if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Removes a group and all below it once they are empty.
///
/// # Errors
/// [`OwnError::StillBusy`] when there are processes inside after `timeout`.
pub(super) fn remove(top: &Path, timeout: Duration) -> Result<(), OwnError> {
    let gone = until(timeout, || {
        let mut all = true;
        for dir in dirs(top) {
            match fs::remove_dir(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Not empty: one inside was busy, or was made just now.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY)) =>
                {
                    all = false;
                }
                Err(source) => return Err(OwnError::Remove { path: dir, source }),
            }
        }
        Ok(all)
    })?;
    if gone {
        return Ok(());
    }
    Err(OwnError::StillBusy {
        path: top.into(),
        after: timeout,
        processes: processes(top)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_first_and_the_processes_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        for (path, procs) in [("", "3\n1\n"), ("a", "2\n"), ("a/b", "3\n4\n"), ("c", "")] {
            fs::create_dir_all(top.join(path)).unwrap();
            fs::write(top.join(path).join("cgroup.procs"), procs).unwrap();
        }
        assert_eq!(processes(&top).unwrap(), [1, 2, 3, 4]);
        let order = dirs(&top);
        let at = |path: &str| order.iter().position(|dir| *dir == top.join(path)).unwrap();
        assert_eq!(order.len(), 4);
        assert!(at("a/b") < at("a") && at("a") < at("") && at("c") < at(""));
        assert!(processes(&dir.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn an_empty_tree_is_removed_and_a_busy_one_named() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        remove(&top, Duration::ZERO).unwrap();
        assert!(!top.exists());
        remove(&top, Duration::ZERO).unwrap();
        // A file keeps an ordinary directory from going, as a process does a group.
        fs::create_dir_all(&top).unwrap();
        fs::write(top.join("cgroup.procs"), "17\n").unwrap();
        let error = remove(&top, Duration::from_millis(5))
            .unwrap_err()
            .to_string();
        assert!(error.contains("17"), "{error}");
    }
}
