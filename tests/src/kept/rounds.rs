//! The rounds that are recorded: the same kinds of processes as the agreement tests have.

use std::collections::HashSet;

use anyhow::{Context as _, Result, bail};

use super::events::{self, Seen};
use super::lines::{About, Said};
use crate::actor::{Actor, Sends, Target, pause_ms};
use crate::group::Group;
use crate::product::Gohang;
use crate::reference::record::What;
use crate::reference::{Recorder, Recording};
use crate::run::{DoesNotCount, Settings};
use crate::stage::wait_senders;
use crate::stream::Stream;
use crate::sys;

/// So large a ring holds all records of a round: none is lost while others have the CPUs.
const RING_BYTES: u32 = 1 << 29;

/// How often a round in which the reference lost something is made again.
const RUNS: u32 = 5;

/// A round.
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// What happens, for the page.
    pub what: &'static str,
    /// Quota and period of the processes' group, us; a group of nobody's without.
    quota: Option<(u64, u64)>,
    /// Kinds and options of the processes.
    targets: &'static [(&'static str, &'static [&'static str])],
    /// What is sent to which of them from outside.
    sends: fn(&[Target]) -> Vec<(Sends, &Target)>,
    /// How long the processes run that send by themselves, ms.
    own_ms: u64,
    /// How long it may take until nothing is pending any more, ms.
    settle_ms: u64,
}

impl Plan {
    /// No longer than it takes for the episodes that are left, at the rate of the round before.
    pub fn last_ms(&mut self, left: u64, before: u64) {
        // A little more: a round is not like the other.
        let wanted = (left + left / 50) * self.own_ms / before.max(1) + 1;
        self.own_ms = self.own_ms.min(wanted);
    }
}

/// Most of the episodes: they pack best, as nothing else has a part in their times.
pub const MANY: Plan = Plan {
    name: "itself",
    what: "a busy thread that signals itself by `tgkill`, again and again",
    quota: None,
    targets: &[("raise", &["wait=1"])],
    sends: |_| Vec::new(),
    own_ms: 400,
    settle_ms: 100,
};

/// The others: one of each.
pub const OTHERS: [Plan; 5] = [
    Plan {
        name: "steady",
        what: "a busy thread; another of its process sends by `tgkill` as soon as the handler has \
               taken the signal before",
        quota: None,
        targets: &[("spin", &["wait=1", "self_next=handled"])],
        sends: |_| Vec::new(),
        own_ms: 800,
        settle_ms: 100,
    },
    Plan {
        name: "outside",
        what: "a busy thread; another process sends by `tgkill` every 100 us",
        quota: None,
        targets: &[("spin", &[])],
        sends: |t| vec![(Sends::to_workers(100, 2_000), &t[0])],
        own_ms: 0,
        settle_ms: 100,
    },
    Plan {
        name: "crowd",
        what: "five busy threads in two processes, more than there are CPUs; sent to threads \
               and to processes, from outside and from inside",
        quota: None,
        targets: &[
            ("spin", &["threads=3", "altstack=1"]),
            ("spin", &["threads=2", "wait=1", "self_us=700"]),
        ],
        sends: |t| {
            vec![
                (Sends::to_workers(500, 2_500), &t[0]),
                (Sends::to_process(500, 2_500), &t[0]),
            ]
        },
        own_ms: 2_500,
        settle_ms: 300,
    },
    Plan {
        name: "asleep",
        what: "threads that sleep, or work for 3 ms and sleep for 7 in turn",
        quota: None,
        targets: &[("sleep", &["threads=4"]), ("onoff", &["threads=2"])],
        sends: |t| {
            vec![
                (Sends::to_workers(300, 2_500), &t[0]),
                (Sends::to_process(700, 2_500), &t[0]),
                (Sends::to_workers(500, 2_500), &t[1]),
            ]
        },
        own_ms: 0,
        settle_ms: 200,
    },
    Plan {
        name: "quota",
        what: "busy and sleeping threads in a group with 20 % of a CPU (20 ms in 100 ms); sent \
               from outside it",
        quota: Some((20_000, 100_000)),
        targets: &[
            ("spin", &["threads=2"]),
            ("spin", &["threads=3", "sleepers=2"]),
        ],
        sends: |t| {
            vec![
                (Sends::to_workers(1_000, 8_000), &t[0]),
                (Sends::to_process(5_000, 8_000), &t[0]),
                (Sends::to_workers(1_000, 8_000), &t[1]),
            ]
        },
        own_ms: 0,
        settle_ms: 800,
    },
];

/// Makes it, and again where the reference lost something.
///
/// # Errors
/// Something cannot be started or recorded, or the reference loses something each time.
pub fn record(settings: &Settings, plan: &Plan, name: &str) -> Result<(Seen, Said)> {
    for _ in 0..RUNS {
        match record_once(settings, plan, name) {
            Err(e) if e.downcast_ref::<DoesNotCount>().is_some() => eprintln!("{name}: {e:#}"),
            other => return other,
        }
    }
    bail!("{name}: the reference lost something each of {RUNS} times")
}

fn record_once(settings: &Settings, plan: &Plan, name: &str) -> Result<(Seen, Said)> {
    let recorder = Recorder::start()?;
    let group = match plan.quota {
        Some(quota) => Some(Group::new(&settings.hierarchy()?, Some(quota))?),
        None => None,
    };
    let start = |(kind, options): &(&str, &[&str])| Target::start(kind, options, group.as_ref());
    let mut targets = plan.targets.iter().map(start).collect::<Result<Vec<_>>>()?;
    let pids: Vec<String> = targets.iter().map(|t| t.pid.to_string()).collect();
    let ring = RING_BYTES.to_string();
    let args = ["trace", "-o", "jsonl", "--events", "--non-go"];
    let args = args.into_iter().chain(["--ring-bytes", &ring, "-p"]);
    let mut args: Vec<String> = args.map(str::to_owned).collect();
    args.push(pids.join(","));
    let mut gohang = Gohang::spawn(settings.gohang()?, &args)?;
    gohang.wait_ready()?;
    let from_ns = gohang.tracing_ns;
    let senders = (plan.sends)(&targets)
        .into_iter()
        .map(|(sends, target)| sends.start(target, None))
        .collect::<Result<Vec<Actor>>>()?;
    drive(plan, &mut targets)?;
    wait_senders(senders)?;
    pause_ms(plan.settle_ms);
    let to_ns = sys::mono_ns();
    let finished = gohang.interrupt()?;
    let pids = targets
        .iter()
        .map(|t| u32::try_from(t.pid))
        .collect::<Result<Vec<u32>, _>>()?;
    let mut handled = 0;
    for target in targets {
        handled += target.finish()?;
    }
    let recording = recorder.stop()?;
    recording.check_whole()?;
    let stream = Stream::parse(&finished.stdout).with_context(|| name.to_owned())?;
    let about = About {
        round: name.to_owned(),
        from_ns,
        to_ns,
        precision: stream.end["precision"].clone(),
        loss: stream.end["loss"].clone(),
    };
    let seen = of_processes((name, plan.what), &recording, &pids, handled);
    Ok((seen, Said::of(stream, about, &pids)))
}

/// Of a recording of the whole machine what is of these processes.
fn of_processes(
    (round, what): (&str, &str),
    recording: &Recording,
    pids: &[u32],
    handled: u64,
) -> Seen {
    let pids: HashSet<u32> = pids.iter().copied().collect();
    let threads: Vec<(u32, u32)> = recording
        .threads
        .iter()
        .filter(|(pid, _)| pids.contains(pid))
        .copied()
        .collect();
    let mut tids: HashSet<u32> = threads.iter().map(|(_, tid)| *tid).collect();
    let mut events = Vec::new();
    for event in &recording.events {
        let mine = match event.what {
            What::Generate { target, .. } => tids.contains(&target),
            _ => pids.contains(&event.pid),
        };
        if mine {
            if event.what == What::Fork {
                tids.insert(event.tid);
            }
            events.push(*event);
        }
    }
    let mut pids: Vec<u32> = pids.into_iter().collect();
    pids.sort_unstable();
    Seen {
        about: events::About {
            round: round.to_owned(),
            what: what.to_owned(),
            handled,
            pids,
            threads,
            from_ns: recording.from_ns,
            to_ns: recording.to_ns,
        },
        events,
    }
}

/// Lets those run that send by themselves, which wait until they are told to begin.
fn drive(plan: &Plan, targets: &mut [Target]) -> Result<()> {
    let waits = |(_, options): &&(&str, &[&str])| options.contains(&"wait=1");
    let own: Vec<usize> = (0..plan.targets.len())
        .filter(|at| waits(&&plan.targets[*at]))
        .collect();
    for at in &own {
        targets[*at].actor.go()?;
        targets[*at].actor.expect("ready")?;
    }
    if !own.is_empty() {
        pause_ms(plan.own_ms);
    }
    for at in own {
        targets[at].actor.go()?;
        targets[at].actor.expect("ready")?;
    }
    Ok(())
}
