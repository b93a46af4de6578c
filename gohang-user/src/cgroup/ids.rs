//! From the kernel's number of a group to its path.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::CgroupError;
use super::layout::Hierarchy;

/// Most groups that are remembered, and most that one scan visits.
const MAX_GROUPS: usize = 1 << 18;
/// How long after a scan an unknown number leads to another.
const RESCAN_AFTER: Duration = Duration::from_secs(1);

/// The kernel's number of the group whose directory is `dir`.
///
/// It is the inode number (`kernfs_node.id`), different in every hierarchy, and never
/// given twice while the machine runs.
///
/// # Errors
/// [`CgroupError::Gone`] when there is no such group.
pub fn id_of(dir: &Path) -> Result<u64, CgroupError> {
    let meta = fs::metadata(dir).map_err(|source| CgroupError::from_io(dir, dir, source))?;
    Ok(meta.ino())
}

/// Paths of the groups of one hierarchy by number.
///
/// An unknown number leads to a scan of all directories, but not more often than once
/// a second. Groups stay known after their removal, for records that arrive late.
#[derive(Debug)]
pub struct CgroupIds {
    hierarchy: Hierarchy,
    paths: HashMap<u64, PathBuf>,
    scanned: Option<Instant>,
}

impl CgroupIds {
    /// For `hierarchy`, with nothing read yet.
    #[must_use]
    pub fn new(hierarchy: Hierarchy) -> Self {
        Self {
            hierarchy,
            paths: HashMap::new(),
            scanned: None,
        }
    }

    /// The path of group `id`; `None` when the hierarchy has, or shows, no such group.
    ///
    /// # Errors
    /// When the hierarchy's mount point cannot be read.
    pub fn path_of(&mut self, id: u64) -> Result<Option<&Path>, CgroupError> {
        self.path_at(id, Instant::now())
    }

    /// Remembers a group, for instance one that was just made.
    pub fn insert(&mut self, id: u64, path: PathBuf) {
        self.paths.insert(id, path);
    }

    fn path_at(&mut self, id: u64, now: Instant) -> Result<Option<&Path>, CgroupError> {
        let due = self
            .scanned
            .is_none_or(|last| now.duration_since(last) >= RESCAN_AFTER);
        if !self.paths.contains_key(&id) && due {
            self.scan()?;
            self.scanned = Some(now);
        }
        Ok(self.paths.get(&id).map(PathBuf::as_path))
    }

    fn scan(&mut self) -> Result<(), CgroupError> {
        let mut fresh = HashMap::new();
        let top = self.hierarchy.mount_point.clone();
        fresh.insert(id_of(&top)?, self.hierarchy.root.clone());
        let mut open = vec![(top, self.hierarchy.root.clone())];
        while let Some((dir, path)) = open.pop() {
            // A group that goes while it is read has no children worth knowing.
            let Ok(entries) = fs::read_dir(&dir) else {
                continue;
            };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                if fresh.len() >= MAX_GROUPS {
                    open.clear();
                    break;
                }
                let child = path.join(entry.file_name());
                fresh.insert(entry.ino(), child.clone());
                open.push((entry.path(), child));
            }
        }
        if self.paths.len() + fresh.len() > MAX_GROUPS {
            self.paths.clear();
        }
        self.paths.extend(fresh);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Version;
    use super::*;

    fn hierarchy(mount_point: &Path, root: &str) -> Hierarchy {
        Hierarchy {
            version: Version::V2,
            controllers: Vec::new(),
            name: None,
            mount_point: mount_point.into(),
            root: root.into(),
        }
    }

    #[test]
    fn numbers_lead_to_paths() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::write(dir.path().join("a/cpu.stat"), "").unwrap();
        let mut ids = CgroupIds::new(hierarchy(dir.path(), "/pod"));
        let id = id_of(&deep).unwrap();
        assert_eq!(ids.path_of(id).unwrap(), Some(Path::new("/pod/a/b/c")));
        let top = id_of(dir.path()).unwrap();
        assert_eq!(ids.path_of(top).unwrap(), Some(Path::new("/pod")));
        let file = fs::metadata(dir.path().join("a/cpu.stat")).unwrap().ino();
        assert_eq!(ids.path_of(file).unwrap(), None);
    }

    #[test]
    fn a_new_group_is_found_and_a_removed_one_stays_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut ids = CgroupIds::new(hierarchy(dir.path(), "/"));
        let start = Instant::now();
        assert_eq!(ids.path_at(u64::MAX, start).unwrap(), None);
        let late = dir.path().join("late");
        fs::create_dir(&late).unwrap();
        let id = id_of(&late).unwrap();
        // Not scanned again at once ...
        assert_eq!(ids.path_at(id, start + RESCAN_AFTER / 2).unwrap(), None);
        // ... but later.
        let later = start + RESCAN_AFTER;
        assert_eq!(ids.path_at(id, later).unwrap(), Some(Path::new("/late")));
        fs::remove_dir(&late).unwrap();
        assert_eq!(ids.path_at(u64::MAX, later + RESCAN_AFTER).unwrap(), None);
        assert_eq!(ids.path_at(id, later).unwrap(), Some(Path::new("/late")));
        assert!(id_of(&late).unwrap_err().is_gone());
        ids.insert(7, "/made".into());
        assert_eq!(ids.path_at(7, later).unwrap(), Some(Path::new("/made")));
    }

    #[test]
    fn without_the_mount_it_is_an_error() {
        let mut ids = CgroupIds::new(hierarchy(Path::new("/nonexistent/gohang"), "/"));
        assert!(ids.path_of(1).unwrap_err().is_gone());
    }
}
