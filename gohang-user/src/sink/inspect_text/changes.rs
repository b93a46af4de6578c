//! What changed between two looks.

use std::collections::BTreeMap;

use super::{Page, failed, moves, title};
use crate::inspect::model::{Inspection, Process};
use crate::units::cpus;

/// What changed since the processes were as `known`; empty if nothing did.
#[must_use]
pub fn changes_text(known: &BTreeMap<u32, Process>, found: &Inspection, width: usize) -> String {
    let mut page = Page::new(width);
    for now in &found.processes {
        match known.get(&now.pid) {
            Some(before) if before.start_ticks == now.start_ticks => {
                for change in changes(before, now) {
                    page.line(&format!("process {} ({}): {change}", now.pid, now.comm));
                }
            }
            _ => page.line(&format!("new: {}", title(now))),
        }
    }
    for before in known.values() {
        if found.processes.iter().all(|now| now.pid != before.pid) {
            page.line(&format!("ended: {}", title(before)));
        }
    }
    for one in &found.moves {
        moves::add(&mut page, one);
    }
    // What could not be looked at the first time has been told.
    let gone: Vec<_> = found
        .failed
        .iter()
        .filter(|one| known.contains_key(&one.pid) && !one.gone)
        .cloned()
        .collect();
    failed(&mut page, &gone);
    page.text
}

fn changes(before: &Process, now: &Process) -> Vec<String> {
    let limit = |own: &Process| {
        let limit = own
            .groups
            .cpu
            .as_ref()
            .and_then(|cpu| cpu.effective.as_ref());
        limit.map_or("none".to_owned(), |limit| {
            format!("{} CPUs by {}", cpus(limit.cpus), limit.path)
        })
    };
    let procs = |own: &Process| {
        let procs = own.go.as_ref().and_then(|go| go.gomaxprocs.seen);
        procs.map_or("unknown".to_owned(), |procs| procs.to_string())
    };
    let masked = |own: &Process| {
        let masked = own.threads.iter().filter(|thread| thread.sigurg_blocked);
        masked.count().to_string()
    };
    let memory = |own: &Process| {
        let memory = own.groups.memory.as_ref();
        let limit = memory.and_then(|memory| memory.effective.as_ref());
        limit.map_or("none".to_owned(), |limit| {
            format!("{} MiB", limit.limit >> 20)
        })
    };
    let pairs = [
        ("GOMAXPROCS", procs(before), procs(now)),
        ("CPU limit", limit(before), limit(now)),
        (
            "CPUs allowed",
            before.cpus_allowed.clone(),
            now.cpus_allowed.clone(),
        ),
        ("memory limit", memory(before), memory(now)),
        ("threads that block SIGURG", masked(before), masked(now)),
    ];
    pairs
        .into_iter()
        .filter(|(_, before, now)| before != now)
        .map(|(what, before, now)| format!("{what} {before} -> {now}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::model::Machine;

    fn inspection(processes: Vec<Process>) -> Inspection {
        Inspection {
            schema_version: 1,
            gohang_version: String::new(),
            taken: crate::report::Moment::default(),
            sample_ns: None,
            machine: Machine::default(),
            processes,
            failed: Vec::new(),
            moves: Vec::new(),
        }
    }

    #[test]
    fn only_what_changed_is_told() {
        let process = |pid, cpus: &str| Process {
            pid,
            cpus_allowed: cpus.into(),
            ..Process::default()
        };
        let known: BTreeMap<u32, Process> = [(7, process(7, "0-1")), (8, process(8, "0"))].into();
        let same = inspection(vec![process(7, "0-1"), process(8, "0")]);
        assert_eq!(changes_text(&known, &same, 100), "");
        let other = inspection(vec![process(7, "1"), process(9, "0")]);
        let text = changes_text(&known, &other, 100);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].ends_with("CPUs allowed 0-1 -> 1"), "{text}");
        assert!(lines[1].starts_with("new: process 9"), "{text}");
        assert!(lines[2].starts_with("ended: process 8"), "{text}");
    }
}
