//! One look at all selected processes.

use std::time::Duration;

use super::collect::Collector;
use super::model::{Failed, Inspection, Process, SCHEMA_VERSION};
use super::sample::Sampler;
use crate::advice::{Subject, advise};
use crate::golang::InspectError;
use crate::source::{Selection, now};

/// Looks at the selected processes, their statistics watched for `sample` first, and gives
/// advice.
///
/// Processes that are given by id are shown whatever they run; of the others, those that
/// run Go, unless the selection says otherwise. Where that cannot be told, for want of
/// privileges, those that the selection names are shown. What could not be looked at is
/// listed.
pub fn look(
    collector: &mut Collector,
    selection: &Selection,
    sample: Option<Duration>,
) -> Inspection {
    let mut failed = Vec::new();
    let pids = select(collector, selection, &mut failed);
    collector.next_round();
    let sampler = sample.map(|sample| {
        let mut ignored = Vec::new();
        let before = read(collector, &pids, &mut ignored);
        let sampler = Sampler::run(collector, &before, sample);
        collector.next_round();
        sampler
    });
    let mut processes = read(collector, &pids, &mut failed);
    let sample_ns = sampler.as_ref().map(Sampler::length_ns);
    for process in &mut processes {
        if let Some(sampler) = &sampler {
            sampler.fill(process);
        }
        process.advice = advise(&Subject { process, sample_ns });
    }
    failed.sort_by_key(|failed| failed.pid);
    failed.dedup_by_key(|failed| failed.pid);
    Inspection {
        schema_version: SCHEMA_VERSION,
        gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
        taken: now(),
        sample_ns,
        machine: collector.machine(),
        processes,
        failed,
        moves: Vec::new(),
    }
}

fn select(collector: &mut Collector, selection: &Selection, failed: &mut Vec<Failed>) -> Vec<u32> {
    let mut chosen: Vec<u32> = selection.pids.iter().copied().collect();
    if !selection.is_open() {
        return chosen;
    }
    let all = collector.proc().pids().unwrap_or_default();
    for pid in all {
        if selection.pids.contains(&pid)
            || !(selection.matches(collector.proc(), pid)
                || collector.is_in_container(pid, &selection.containers))
        {
            continue;
        }
        if selection.non_go {
            chosen.push(pid);
            continue;
        }
        match collector.go(pid) {
            Ok(Some(_)) => chosen.push(pid),
            Ok(None) => {}
            // One that is not asked for by id and has ended is nobody's loss.
            Err(error) if error.is_gone() => {}
            // Of those that were named, what may be read is shown all the same.
            Err(_) if !selection.is_everything() => chosen.push(pid),
            Err(error) => failed.push(Failed {
                pid,
                gone: false,
                reason: reason(&error),
            }),
        }
    }
    chosen.sort_unstable();
    chosen
}

fn reason(error: &InspectError) -> String {
    error.to_string()
}

fn read(collector: &mut Collector, pids: &[u32], failed: &mut Vec<Failed>) -> Vec<Process> {
    let mut processes = Vec::with_capacity(pids.len());
    for &pid in pids {
        match collector.process(pid) {
            Ok(process) => processes.push(process),
            Err(error) => failed.push(error.failed()),
        }
    }
    processes
}
