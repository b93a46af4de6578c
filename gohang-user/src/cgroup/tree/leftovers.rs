//! What runs left behind whose gohang was killed: processes and groups.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::layout::CgroupLayout;
use super::super::membership::Membership;
use super::super::own::OwnError;
use super::super::owner::{Owner, PREFIX};
use super::{branch, kill_all, own_path, processes_in, subtree};
use crate::process::ProcRoot;

/// Deepest group that is looked at.
const MAX_DEPTH: usize = 16;

/// What one ended process left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// The process that made the groups.
    pub owner: Owner,
    /// The groups that are gone now.
    pub groups: Vec<PathBuf>,
    /// How many processes were inside and were killed.
    pub killed: usize,
    /// Why some of it is still there.
    pub kept: Option<String>,
}

/// Ends and removes what ended processes have left in the groups where this process
/// would make its own, and whose names begin with `gohang-LABEL-`.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn clear(
    layout: &CgroupLayout,
    proc: &ProcRoot,
    label: &str,
    timeout: Duration,
) -> Result<Vec<LeftBehind>, OwnError> {
    let own = Membership::read_own(proc)?;
    let prefix = format!("{PREFIX}{label}-");
    let mut found = Vec::new();
    for hierarchy in layout.v1().iter().chain(layout.v2()) {
        for place in branch::places(hierarchy, own_path(&own, hierarchy)) {
            found.extend(children(&place));
        }
    }
    found.retain(|dir| name_of(dir).starts_with(&prefix));
    end(found, proc, timeout)
}

/// As [`clear`], of every label and wherever in the mounted hierarchies it lies.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn clear_everywhere(
    layout: &CgroupLayout,
    proc: &ProcRoot,
    timeout: Duration,
) -> Result<Vec<LeftBehind>, OwnError> {
    let mut found = Vec::new();
    for hierarchy in layout.v1().iter().chain(layout.v2()) {
        let mut open = vec![(hierarchy.mount_point.clone(), 0)];
        while let Some((dir, depth)) = open.pop() {
            if Owner::of_name(name_of(&dir)).is_some() {
                found.push(dir);
            } else if depth < MAX_DEPTH {
                open.extend(children(&dir).map(|child| (child, depth + 1)));
            }
        }
    }
    end(found, proc, timeout)
}

fn children(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    // What cannot be read has nothing of ours that could be removed.
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

fn name_of(dir: &Path) -> &str {
    let name = dir.file_name().and_then(|name| name.to_str());
    name.unwrap_or_default()
}

/// Ends what is in those groups whose owner has ended, and removes them.
fn end(
    dirs: Vec<PathBuf>,
    proc: &ProcRoot,
    timeout: Duration,
) -> Result<Vec<LeftBehind>, OwnError> {
    let me = Owner::this(proc)?;
    let mut of_owner: BTreeMap<(u32, u64), (Owner, Vec<PathBuf>)> = BTreeMap::new();
    for dir in dirs {
        if let Some(owner) = Owner::of_name(name_of(&dir))
            && owner.lives(me, proc) == Some(false)
        {
            let entry = of_owner.entry((owner.pid, owner.start_ticks));
            entry.or_insert_with(|| (owner, Vec::new())).1.push(dir);
        }
    }
    Ok(of_owner
        .into_values()
        .map(|(owner, dirs)| end_one(owner, &dirs, timeout))
        .collect())
}

fn end_one(owner: Owner, dirs: &[PathBuf], timeout: Duration) -> LeftBehind {
    let views: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
    let mut left = LeftBehind {
        owner,
        groups: Vec::new(),
        killed: 0,
        kept: None,
    };
    let before = processes_in(views.iter().copied()).map_or(0, |inside| inside.len());
    match kill_all(&views, timeout) {
        Ok(()) => left.killed = before,
        Err(error) => left.kept = Some(error.to_string()),
    }
    for dir in dirs {
        match subtree::remove(
            dir,
            if left.kept.is_none() {
                timeout
            } else {
                Duration::ZERO
            },
        ) {
            Ok(()) => left.groups.push(dir.clone()),
            Err(error) => {
                left.kept.get_or_insert_with(|| error.to_string());
            }
        }
    }
    left
}
