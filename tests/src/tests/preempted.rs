//! Programs of uprobes on a kernel that preempts itself: one that is preempted half way may meet
//! another thread in the same program on the same CPU.

use std::path::Path;

use anyhow::{Result, ensure};

use super::chain_life::spawn;
use crate::actor::{Actor, pause_ms};
use crate::bpf;
use crate::go::Workload;
use crate::group::Group;
use crate::run::{Report, Settings, Test, skip};
use crate::stream::{Stream, check_impossible, check_loss, number};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "preempted::stacks",
            body: stacks,
        },
        Test {
            name: "preempted::uprobes",
            body: uprobes,
        },
    ]
}

/// No program of a uprobe runs on a stack that it shares with whoever runs it on the same CPU:
/// the kernel lets those be preempted.
fn stacks(settings: &Settings, report: &mut Report) -> Result<()> {
    if !bpf::gives_private_stacks()? {
        return Err(skip("this kernel gives programs no stacks of their own"));
    }
    let all = Workload::given(settings)?;
    let mut actor = all[0].start(&["spin", "60"], None)?;
    actor.expect("ready")?;
    let gohang = spawn(settings, &["-p", &actor.pid().to_string()])?;
    let (mut probes, mut shared, mut others) = (0, Vec::new(), 0);
    for (kind, id) in bpf::held_by(gohang.pid())? {
        if kind != bpf::Kind::Program {
            continue;
        }
        match bpf::stack_of(id)? {
            (bpf::KPROBE, true) => shared.push(id),
            (bpf::KPROBE, false) => probes += 1,
            (_, own) => others += u32::from(own),
        }
    }
    gohang.interrupt()?.expect_success()?;
    report.note(format!(
        "{probes} programs of uprobes on the kernel's stack; {others} of hooks, which the kernel \
         does not run within themselves, on one of their own"
    ));
    ensure!(shared.is_empty(), "programs on a shared stack: {shared:?}");
    ensure!(probes > 0, "no program of a uprobe");
    Ok(())
}

/// Whether the kernel preempts itself wherever it may (`preempt=full`), as it says.
fn is_preempted() -> bool {
    let path = Path::new("/sys/kernel/debug/sched/preempt");
    std::fs::read_to_string(path).is_ok_and(|modes| modes.contains("(full)"))
}

/// A stop of the world asks each of so many to yield, whatever the machine has.
const GOMAXPROCS: &str = "8";

/// Processes, and how long they are traced.
const PROCESSES: usize = 6;
const TRACED_MS: u64 = 15_000;

/// Entries of `preemptone` in that time; with fewer, little was tried. (On a shared stack
/// the machine died within that time.)
const FEWEST: u64 = 20_000;

/// Many threads that ask each other to yield, on few CPUs: the machine lives, nothing impossible
/// is found, and every record is accounted for.
fn uprobes(settings: &Settings, report: &mut Report) -> Result<()> {
    if !is_preempted() {
        return Err(skip("needs a kernel booted with preempt=full"));
    }
    let all = Workload::given(settings)?;
    // One group, so that gohang has as much of the processor as all of them.
    let group = Group::new(&settings.hierarchy()?, None)?;
    let of_each = all.iter().cycle().take(PROCESSES);
    let mut actors = Vec::new();
    for workload in of_each {
        let mut actor =
            workload.start_with(&["short", "600"], ("GOMAXPROCS", GOMAXPROCS), Some(&group))?;
        actor.expect("ready")?;
        actors.push(actor);
    }
    let pids: Vec<String> = actors.iter().map(|actor| actor.pid().to_string()).collect();
    let gohang = spawn(settings, &["-p", &pids.join(",")])?;
    pause_ms(TRACED_MS);
    let finished = gohang.interrupt()?;
    actors.iter_mut().for_each(Actor::kill);
    finished.expect_success()?;
    let stream = Stream::parse(&finished.stdout)?;
    check_impossible(&stream.end)?;
    report.note(check_loss(&stream.end)?);
    let (mut requests, mut asked) = (0, 0);
    for actor in &actors {
        let process = stream.process(u32::try_from(actor.pid())?)?;
        requests += number(process, "/chain/requests")?;
        asked += number(process, "/chain/counts/preemptone")?;
    }
    report.note(format!(
        "{PROCESSES} processes asked {asked} times, which were {requests} requests"
    ));
    ensure!(asked >= FEWEST, "only asked {asked} times");
    Ok(())
}
