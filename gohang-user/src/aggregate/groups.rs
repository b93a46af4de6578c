//! What the report tells of control groups.

use crate::report::Limit;
use crate::source::{Enricher, GroupFacts};

/// The groups that the report tells of, looked up by the caller.
pub trait Groups {
    /// The process's groups as of now; none if it has ended.
    fn of_process(&mut self, pid: u32) -> Option<GroupFacts>;
    /// Path and tightest limit of a group by its kernel id.
    fn by_id(&mut self, id: u64) -> (Option<String>, Option<Limit>);
    /// Path of a group by its kernel id.
    fn path(&mut self, id: u64) -> Option<String>;
}

impl Groups for Enricher {
    fn of_process(&mut self, pid: u32) -> Option<GroupFacts> {
        let facts = self.group(pid);
        facts.cgroup.is_some().then_some(facts)
    }

    fn by_id(&mut self, id: u64) -> (Option<String>, Option<Limit>) {
        self.group_by_id(id)
    }

    fn path(&mut self, id: u64) -> Option<String> {
        self.path_by_id(id)
    }
}
