//! A mark on the groups of a run that somebody else has made and named, for runs within it.

use std::path::Path;

use rustix::fs::{XattrFlags, getxattr_query, setxattr};
use rustix::io::Errno;

/// Names of the mark: cgroup v2 takes the first from Linux 5.7 on, from whoever owns the group
/// (kernfs, `CGRP_ROOT_XATTR`); before, and on version 1, root can give the second.
const NAMES: [&str; 2] = ["user.gohang.run", "trusted.gohang.run"];
const VALUE: &[u8] = b"1";

/// Marks the group in `dir` as that of a run: what is started within stays within.
///
/// # Errors
/// The kernel's refusal.
pub fn mark(dir: &Path) -> std::io::Result<()> {
    let mut outcome = Err(Errno::NOTSUP);
    for name in NAMES {
        outcome = setxattr(dir, name, VALUE, XattrFlags::empty());
        if outcome.is_ok() {
            break;
        }
    }
    Ok(outcome?)
}

/// Whether the group in `dir` has the mark.
pub(super) fn is_marked(dir: &Path) -> bool {
    let has = |name: &str| getxattr_query(dir, name).is_ok();
    NAMES.into_iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_mark_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_marked(dir.path()));
        // Not every file system takes it from everybody.
        let taken = mark(dir.path()).is_ok();
        assert_eq!(is_marked(dir.path()), taken);
        assert!(mark(&dir.path().join("none")).is_err());
    }
}
