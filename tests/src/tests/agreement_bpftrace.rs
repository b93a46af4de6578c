//! gohang's sends and deliveries of each thread against bpftrace's of the same run.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::actor::Actor;
use crate::bpftrace::{Bpftrace, Maps};
use crate::go::Workload;
use crate::group::Group;
use crate::product::Gohang;
use crate::reference::{Episode, Outcome};
use crate::run::{DoesNotCount, Report, Settings, Test, skip};
use crate::stream::{self, Line, Stream};

/// What bpftrace counts.
const SCRIPT: &str = include_str!("../../data/counts.bt");
/// Results of a send (`include/trace/events/signal.h`).
const QUEUED: u32 = 0;
const ALREADY_PENDING: u32 = 2;
/// Fewer sends than this say nothing.
const LEAST: u64 = 40;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "agreement::bpftrace",
        body: per_thread,
    }]
}

/// What a process sent to one of its threads, and what that took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    queued: u64,
    coalesced: u64,
    delivered: u64,
}

/// Counts by thread.
type Threads = BTreeMap<u32, Counts>;

/// Those of a process in bpftrace's maps.
fn theirs(maps: &Maps, pid: u32) -> Threads {
    let mut threads = Threads::new();
    let of = |name: &str| maps.get(name).into_iter().flatten();
    for (key, &count) in of("@sent") {
        match key[..] {
            [sender, tid, QUEUED] if sender == pid => {
                threads.entry(tid).or_default().queued += count;
            }
            [sender, tid, ALREADY_PENDING] if sender == pid => {
                threads.entry(tid).or_default().coalesced += count;
            }
            _ => {}
        }
    }
    for (key, &count) in of("@delivered") {
        if let [taker, tid] = key[..]
            && taker == pid
        {
            threads.entry(tid).or_default().delivered += count;
        }
    }
    threads
}

/// Those of a process in our episodes.
fn ours(episodes: &[Episode], pid: u32) -> Threads {
    let mut threads = Threads::new();
    for episode in episodes.iter().filter(|episode| episode.pid == pid) {
        let sent = u64::from(episode.outcome != Outcome::Ignored);
        let taken = matches!(
            episode.outcome,
            Outcome::Delivered | Outcome::DeliveredNoHandler
        );
        let counts = threads.entry(episode.tid).or_default();
        counts.queued += sent;
        counts.coalesced += episode.coalesced;
        counts.delivered += u64::from(taken);
    }
    // A send that was never queued is none of bpftrace's either.
    threads.retain(|_, counts| *counts != Counts::default());
    threads
}

/// Programs that spin and that collect, of the oldest and the newest version, under a quota of
/// half a CPU: both sides begin before them and end after them, so that no edge differs.
fn per_thread(settings: &Settings, report: &mut Report) -> Result<()> {
    let Some(program) = &settings.bpftrace else {
        return Err(skip("no --bpftrace given"));
    };
    let gohang = settings.gohang()?;
    let workloads = Workload::given(settings)?;
    let seconds = if settings.full { "10" } else { "1" };
    let group = Group::new(&settings.hierarchy()?, Some((50_000, 100_000)))?;
    let reference = Bpftrace::start(program, SCRIPT)?;
    let words = ["trace", "-o", "jsonl", "--events"].map(str::to_owned);
    let mut gohang = Gohang::spawn(gohang, &words)?;
    gohang.wait_ready()?;
    let chosen = [workloads.first(), workloads.last()];
    let mut running: Vec<(String, Actor)> = Vec::new();
    for workload in chosen.into_iter().flatten() {
        for kind in ["spin", "gc"] {
            let actor = workload.start(&[kind, seconds], Some(&group))?;
            running.push((format!("{workload} {kind}"), actor));
        }
    }
    for (_, actor) in &mut running {
        actor.wait()?;
    }
    let finished = gohang.interrupt()?;
    let missed = reference.missed()?;
    let maps = reference.stop()?;
    if missed > 0 {
        return Err(DoesNotCount(format!("bpftrace missed {missed} events")).into());
    }
    let stream = Stream::parse(&finished.stdout)?;
    report.note(stream::check_loss(&stream.end)?);
    let episodes: Vec<Episode> = stream
        .lines
        .iter()
        .map(Line::episode)
        .collect::<Result<_>>()?;
    for (what, actor) in &running {
        let pid = u32::try_from(actor.pid())?;
        let (theirs, ours) = (theirs(&maps, pid), ours(&episodes, pid));
        let sum = |pick: fn(&Counts) -> u64| theirs.values().map(pick).sum::<u64>();
        report.note(format!(
            "{what}: {} threads, {} sends queued, {} coalesced, {} deliveries",
            theirs.len(),
            sum(|counts| counts.queued),
            sum(|counts| counts.coalesced),
            sum(|counts| counts.delivered)
        ));
        ensure!(
            ours == theirs,
            "{what}: gohang counts {ours:?}, bpftrace {theirs:?}"
        );
    }
    let sends: u64 = running
        .iter()
        .filter_map(|(_, actor)| u32::try_from(actor.pid()).ok())
        .flat_map(|pid| theirs(&maps, pid).into_values())
        .map(|counts| counts.queued + counts.coalesced)
        .sum();
    ensure!(sends >= LEAST, "only {sends} sends");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpftrace::parse;
    use crate::reference::Directed;

    #[test]
    fn both_sides_count_alike() {
        let episode = |tid, coalesced, outcome| Episode {
            pid: 7,
            tid,
            directed: Directed::Thread,
            sender_pid: Some(7),
            sent_ns: 1,
            end_ns: 2,
            coalesced,
            outcome,
        };
        let ours = ours(
            &[
                episode(8, 2, Outcome::Delivered),
                episode(8, 0, Outcome::Exited),
                episode(9, 0, Outcome::Ignored),
                Episode {
                    pid: 6,
                    ..episode(8, 0, Outcome::Delivered)
                },
            ],
            7,
        );
        let maps = parse(
            "{\"type\":\"map\",\"data\":{\"@sent\":{\"7,8,0\":2,\"7,8,2\":2,\"7,9,1\":1,\
             \"6,8,0\":5}}}\n{\"type\":\"map\",\"data\":{\"@delivered\":{\"7,8\":1,\"6,8\":9}}}",
        )
        .expect("valid");
        let expected = Counts {
            queued: 2,
            coalesced: 2,
            delivered: 1,
        };
        assert_eq!(ours, Threads::from([(8, expected)]));
        assert_eq!(theirs(&maps, 7), ours);
    }
}
