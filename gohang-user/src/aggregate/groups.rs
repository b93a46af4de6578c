//! What the report tells of control groups and of processes that are not traced.

use std::io::Read;

use crate::report::Limit;
use crate::source::recording::Answers;
use crate::source::{Enricher, GroupFacts, Recorded};

/// The groups and senders that the report tells of, looked up by the caller.
pub trait Groups {
    /// The process's groups as of now; none if it has ended.
    fn of_process(&mut self, pid: u32) -> Option<GroupFacts>;
    /// Path and tightest limit of a group by its kernel id.
    fn by_id(&mut self, id: u64) -> (Option<String>, Option<Limit>);
    /// Path of a group by its kernel id.
    fn path(&mut self, id: u64) -> Option<String>;
    /// Name of a process that has sent signals, escaped; none if it is not known.
    fn sender(&mut self, pid: u32) -> Option<String>;
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

    fn sender(&mut self, pid: u32) -> Option<String> {
        Enricher::sender(self, pid)
    }
}

/// A recording answers as was answered then.
impl<R: Read> Groups for Recorded<R> {
    fn of_process(&mut self, pid: u32) -> Option<GroupFacts> {
        self.answers()?.processes.get(&pid)?.clone()
    }

    fn by_id(&mut self, id: u64) -> (Option<String>, Option<Limit>) {
        self.answers()
            .and_then(|answers| answers.groups.get(&id).cloned())
            .unwrap_or_else(|| (Groups::path(self, id), None))
    }

    fn path(&mut self, id: u64) -> Option<String> {
        Recorded::path(self, id).map(str::to_owned)
    }

    fn sender(&mut self, pid: u32) -> Option<String> {
        self.answers()?.senders.get(&pid)?.clone()
    }
}

/// Asks others and remembers the answers, for a recording.
pub struct Remembering<'a> {
    of: &'a mut dyn Groups,
    /// What was asked and answered.
    pub answers: Answers,
}

impl<'a> Remembering<'a> {
    /// Nothing asked yet.
    pub fn new(of: &'a mut dyn Groups) -> Self {
        Self {
            of,
            answers: Answers::default(),
        }
    }
}

impl Groups for Remembering<'_> {
    fn of_process(&mut self, pid: u32) -> Option<GroupFacts> {
        let facts = self.of.of_process(pid);
        self.answers.processes.insert(pid, facts.clone());
        facts
    }

    fn by_id(&mut self, id: u64) -> (Option<String>, Option<Limit>) {
        let found = self.of.by_id(id);
        self.answers.groups.insert(id, found.clone());
        found
    }

    fn path(&mut self, id: u64) -> Option<String> {
        self.of.path(id)
    }

    fn sender(&mut self, pid: u32) -> Option<String> {
        let name = self.of.sender(pid);
        self.answers.senders.insert(pid, name.clone());
        name
    }
}
