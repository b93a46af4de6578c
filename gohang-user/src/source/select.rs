//! What to trace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cgroup::Membership;
use crate::process::ProcRoot;

/// What the user asked for; empty means every Go process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Process ids.
    pub pids: BTreeSet<u32>,
    /// Exact names.
    pub comms: BTreeSet<String>,
    /// Groups in the cpu hierarchy, each with all below it.
    pub cgroups: BTreeSet<PathBuf>,
    /// Container ids or their beginnings.
    pub containers: BTreeSet<String>,
    /// systemd units.
    pub units: BTreeSet<String>,
    /// Follow selected processes that are not Go as well.
    pub non_go: bool,
    /// Nothing but what [`follow`](super::Live::follow) names.
    pub by_hand: bool,
}

impl Selection {
    /// Whether processes are selected by something other than their id, so that
    /// new ones may match.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.by_hand && (self.pids.is_empty() || self.by_group() || !self.comms.is_empty())
    }

    /// Whether a group decides, which a process can change without an exec.
    #[must_use]
    pub fn by_group(&self) -> bool {
        !(self.cgroups.is_empty() && self.containers.is_empty() && self.units.is_empty())
    }

    /// Whether nothing was named.
    pub(crate) fn is_everything(&self) -> bool {
        !self.by_hand && self.pids.is_empty() && self.comms.is_empty() && !self.by_group()
    }

    /// Whether the process matches, whatever it runs. One that has just ended
    /// matches nothing but its id.
    #[must_use]
    pub fn matches(&self, proc: &ProcRoot, pid: u32) -> bool {
        if self.is_everything() || self.pids.contains(&pid) {
            return true;
        }
        if !self.comms.is_empty()
            && let Ok(comm) = proc.comm(pid)
            && self.comms.iter().any(|wanted| wanted.as_bytes() == comm)
        {
            return true;
        }
        self.by_group()
            && Membership::read(proc, pid).is_ok_and(|membership| self.matches_group(&membership))
    }

    /// Whether a process of this name that has ended before it could be looked
    /// at may be meant. Its groups cannot be known any more.
    #[must_use]
    pub fn may_match_gone(&self, comm: &[u8]) -> bool {
        self.is_everything() || self.comms.iter().any(|wanted| wanted.as_bytes() == comm)
    }

    fn matches_group(&self, membership: &Membership) -> bool {
        if membership.members().iter().any(|member| {
            self.cgroups
                .iter()
                .any(|wanted| is_below(&member.path, wanted))
        }) {
            return true;
        }
        let identity = membership.identity();
        let container = identity.container.as_ref();
        self.containers
            .iter()
            .any(|text| container.is_some_and(|found| found.matches(text)))
            || [&identity.unit, &identity.user_unit]
                .into_iter()
                .flatten()
                .any(|unit| self.units.contains(unit))
    }
}

fn is_below(path: &Path, group: &Path) -> bool {
    path.starts_with(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_all_below_it_but_no_namesake() {
        assert!(is_below(Path::new("/a/b/c"), Path::new("/a/b")));
        assert!(is_below(Path::new("/a/b"), Path::new("/a/b")));
        assert!(!is_below(Path::new("/a/bc"), Path::new("/a/b")));
    }

    #[test]
    fn one_that_is_gone_is_known_by_its_name_only() {
        let mut selection = Selection::default();
        assert!(selection.may_match_gone(b"any"));
        selection.cgroups.insert("/a".into());
        assert!(!selection.may_match_gone(b"any"));
        selection.comms.insert("any".into());
        assert!(selection.may_match_gone(b"any"));
        assert!(!selection.may_match_gone(b"any2"));
    }

    #[test]
    fn only_ids_close_a_selection() {
        let mut selection = Selection::default();
        assert!(selection.is_open());
        selection.pids.insert(7);
        assert!(!selection.is_open());
        let by_hand = Selection {
            by_hand: true,
            ..Selection::default()
        };
        assert!(!by_hand.is_open() && !by_hand.may_match_gone(b"any"));
        assert!(!by_hand.matches(&ProcRoot::default(), std::process::id()));
        selection.comms.insert("x".into());
        assert!(selection.is_open());
    }
}
