//! What a test leaves behind: control groups of runs, processes, units, kernel programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bpf::{self, Kind};
use crate::systemd::Manager;
use crate::wrapped::{groups, is_alive, until};

/// Tests after which nothing may be left: those of `gohang run`. Those of systemd's, which make
/// services of their own, look for themselves.
const LOOKED_AT: &str = "run::";
/// What the names of runs' scopes begin with; a desktop's come and go.
const SCOPES: &str = "gohang-";
/// How a process shows that a test has started it, or something that a test has: programs hand
/// their environment on.
const MARK: &str = "GOHANG_SUITE";
/// How long what has ended may take to go.
const LIMIT: Duration = Duration::from_secs(5);
/// Where systemd runs the machine (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Marks what this process starts from now on.
///
/// # Safety
/// It must be the only thread.
pub unsafe fn mark() {
    // SAFETY: the caller says that nobody else reads or changes the environment.
    unsafe { std::env::set_var(MARK, std::process::id().to_string()) };
}

/// What there is of such things.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remains {
    groups: BTreeSet<PathBuf>,
    processes: BTreeSet<i32>,
    units: BTreeSet<String>,
    programs: BTreeSet<u32>,
}

impl Remains {
    /// Before the test of this name; `None` where it is not looked at.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn before(test: &str) -> Result<Option<Self>> {
        test.starts_with(LOOKED_AT).then(Self::now).transpose()
    }

    /// Fails when there is more than before.
    ///
    /// # Errors
    /// What is left.
    pub fn compare(&self) -> Result<()> {
        let mut left = Self::default();
        let gone = until("the end of all", LIMIT, || {
            left = Self::now()?.without(self)?;
            Ok(left == Self::default())
        });
        // Why it could not be told, or that it took too long.
        gone.with_context(|| format!("the test left behind: {left:?}"))
    }

    fn now() -> Result<Self> {
        Ok(Self {
            groups: groups("gohang-run-")?.into_iter().collect(),
            processes: marked()?,
            units: units()?,
            programs: bpf::tracing_programs().context("cannot list kernel programs")?,
        })
    }

    /// What was not there before, and is not somebody else's.
    fn without(self, before: &Self) -> Result<Self> {
        let mut new = Self {
            groups: &self.groups - &before.groups,
            processes: &self.processes - &before.processes,
            units: &self.units - &before.units,
            programs: &self.programs - &before.programs,
        };
        // Others on this machine may be running gohang.
        new.groups.retain(|group| !is_of_living(group));
        if !new.programs.is_empty() {
            for pid in pids()? {
                // One that has just ended holds none.
                let held = u32::try_from(pid).map(bpf::held_by);
                for (kind, id) in held.into_iter().flatten().flatten() {
                    if kind == Kind::Program {
                        new.programs.remove(&id);
                    }
                }
            }
        }
        Ok(new)
    }
}

/// Whether the gohang lives whose group it is.
fn is_of_living(group: &Path) -> bool {
    let owner = || {
        let name = group.file_name()?.to_str()?;
        name.rsplit('-').nth(1)?.parse::<i32>().ok()
    };
    owner().is_some_and(is_alive)
}

fn pids() -> Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc").context("cannot read /proc")?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

/// The processes that tests have started and that have not ended.
fn marked() -> Result<BTreeSet<i32>> {
    let me = std::process::id();
    let mark = format!("{MARK}={me}");
    let is_marked = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|&byte| byte == 0)
            .any(|entry| entry == mark.as_bytes())
    };
    let others = pids()?
        .into_iter()
        .filter(|pid| u32::try_from(*pid) != Ok(me));
    Ok(others
        .filter(is_marked)
        .filter(|pid| is_alive(*pid))
        .collect())
}

/// The scopes of runs that systemd keeps, and their units that have failed.
fn units() -> Result<BTreeSet<String>> {
    if !Path::new(BOOTED).is_dir() {
        return Ok(BTreeSet::new());
    }
    let all = Manager::Machine.scopes_and_failures()?.into_iter();
    Ok(all.filter(|name| name.starts_with(SCOPES)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_and_nobodys_is_left() {
        let set = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        let before = Remains {
            groups: set(&["/g/gohang-run-1-2-3"]),
            units: BTreeSet::from(["init.scope".to_owned()]),
            ..Remains::default()
        };
        let me = std::process::id();
        let now = Remains {
            groups: set(&[
                "/g/gohang-run-1-2-3",
                "/g/gohang-run-1-0-3",
                &format!("/g/gohang-run-1-{me}-3"),
            ]),
            units: BTreeSet::from(["init.scope".to_owned(), "x.scope".to_owned()]),
            ..Remains::default()
        };
        let left = now.without(&before).expect("/proc");
        assert_eq!(left.groups, set(&["/g/gohang-run-1-0-3"]));
        assert_eq!(left.units, BTreeSet::from(["x.scope".to_owned()]));
        assert!(left.processes.is_empty() && left.programs.is_empty());
        assert!(Remains::before("chain::counts").expect("no look").is_none());
    }
}
