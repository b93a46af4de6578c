//! The components of episodes whose delay was made in a known way.

use anyhow::{Result, ensure};

use crate::actor::{Actor, Sends, Target, pause_ms};
use crate::group::Group;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test, skip};
use crate::stage::wait_senders;
use crate::stream::{Line, Stream};
use crate::sys;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "components::running",
            body: running,
        },
        Test {
            name: "components::runqueue",
            body: runqueue,
        },
        Test {
            name: "components::masked",
            body: masked,
        },
        Test {
            name: "components::own_handler",
            body: own_handler,
        },
        Test {
            name: "components::blocked_by_vfork",
            body: blocked_by_vfork,
        },
        Test {
            name: "components::blocked_by_stop",
            body: blocked_by_stop,
        },
        Test {
            name: "components::throttled",
            body: throttled,
        },
        Test {
            name: "components::mutant_is_caught",
            body: mutant_is_caught,
        },
    ]
}

fn trace(program: &std::path::Path, targets: &[&Target]) -> Result<Gohang> {
    let pids: Vec<String> = targets.iter().map(|t| t.pid.to_string()).collect();
    let pids = pids.join(",");
    let args = ["trace", "-o", "jsonl", "--events", "--non-go", "-p", &pids];
    let mut gohang = Gohang::spawn(program, &args.map(str::to_owned))?;
    gohang.wait_ready()?;
    Ok(gohang)
}

/// Traces one target while `act` signals it.
fn lines_of(
    settings: &Settings,
    target: &Target,
    act: impl Fn() -> Result<()>,
) -> Result<Vec<Line>> {
    let gohang = trace(settings.gohang()?, &[target])?;
    act()?;
    pause_ms(300);
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    for line in &stream.lines {
        line.check().map_err(anyhow::Error::msg)?;
    }
    Ok(stream.lines)
}

fn send(sends: Sends, target: &Target) -> Result<()> {
    wait_senders(vec![sends.start(target, None)?]).map(|_| ())
}

/// At least `count` delivered episodes of at least `floor_ns`, and of those that there are, all
/// but one in twenty have `cause`, and `cause` makes up `share` percent of their time.
fn explained(
    lines: &[Line],
    (cause, share): (&str, u64),
    (count, floor_ns): (usize, u64),
    report: &mut Report,
) -> Result<()> {
    let long = lines.iter().filter(|l| l.latency_ns >= Some(floor_ns));
    let (mut n, mut right, mut part, mut whole) = (0usize, 0usize, 0u64, 0u64);
    let mut odd = None;
    for line in long {
        n += 1;
        whole += line.latency_ns.unwrap_or(0);
        part += line
            .components()
            .iter()
            .find(|(name, _)| *name == cause)
            .map_or(0, |(_, ns)| *ns);
        if line.cause.as_deref() == Some(cause) {
            right += 1;
        } else {
            odd.get_or_insert(line);
        }
    }
    let percent = part as f64 / whole.max(1) as f64 * 100.0;
    report.note(format!(
        "{n} episodes of at least {floor_ns} ns, {right} with cause {cause}, {percent:.2} % of \
         their time"
    ));
    ensure!(
        n >= count,
        "the scene made {n} such episodes, wanted {count}"
    );
    ensure!(
        right * 20 >= n * 19,
        "only {right} of {n} have cause {cause}, e.g. {odd:?}"
    );
    ensure!(
        percent >= share as f64,
        "{cause} explains {percent:.2} %, wanted {share} %"
    );
    Ok(())
}

/// On a CPU all the time: microseconds, all of them running.
fn running(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start("spin", &["cpu=1", "first=1"], None)?;
    let sends = Sends::to_workers(1_000, 1_500).first();
    let lines = lines_of(settings, &target, || send(sends, &target))?;
    explained(&lines, ("running", 0), (300, 0), report)
}

/// Three spinners on one CPU.
fn runqueue(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start("spin", &["threads=3", "cpu=1"], None)?;
    let lines = lines_of(settings, &target, || {
        send(Sends::to_workers(500, 2_000), &target)
    })?;
    explained(&lines, ("runqueue", 95), (50, 2_000_000), report)
}

/// Blocked by its mask for 50 ms at a time, asleep and spinning.
fn masked(settings: &Settings, report: &mut Report) -> Result<()> {
    for how in ["how=sleep", "how=spin"] {
        // Asleep for more than 5 % of the time: a real-time thread that spins longer has to wait
        // for the others (real-time throttling, the fair server), unmasked.
        let target = Target::start("mask", &[how, "first=1", "open_us=10000"], None)?;
        let lines = lines_of(settings, &target, || {
            send(Sends::to_workers(1_000, 2_000), &target)
        })?;
        explained(&lines, ("masked", 95), (10, 40_000_000), report)?;
    }
    Ok(())
}

/// Blocked by nothing but their own handlers, on either stack, preempted and out of quota
/// wherever it hits them: what waits for the handler is not masked.
fn own_handler(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 50_000)))?;
    for stack in ["altstack=0", "altstack=1"] {
        let args = ["threads=3", "cpu=1", "handler_us=300", stack];
        let target = Target::start("spin", &args, Some(&group))?;
        let lines = lines_of(settings, &target, || {
            send(Sends::to_workers(20, 4_000), &target)
        })?;
        let waits = lines.iter().filter(|l| l.latency_ns >= Some(200_000));
        let masked: Vec<&Line> = lines.iter().filter(|l| l.masked_ns > 0).collect();
        let (waits, all) = (waits.count(), lines.len());
        report.note(format!(
            "{stack}: {} of {all} episodes masked, {waits} waited",
            masked.len()
        ));
        ensure!(
            waits >= 150,
            "the scene made {waits} waits of {all} episodes"
        );
        ensure!(masked.is_empty(), "e.g. {:?}", masked.first());
    }
    Ok(())
}

/// A vfork whose child sleeps 2 ms.
fn blocked_by_vfork(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start("vfork", &["first=1"], None)?;
    let lines = lines_of(settings, &target, || {
        send(Sends::to_workers(3_300, 2_000).first(), &target)
    })?;
    explained(&lines, ("blocked", 80), (50, 1_000_000), report)
}

/// Stopped for 30 ms at a time.
fn blocked_by_stop(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start("spin", &["cpu=1", "first=1"], None)?;
    let lines = lines_of(settings, &target, || {
        let sender: Actor = Sends::to_workers(1_000, 1_500)
            .first()
            .start(&target, None)?;
        for _ in 0..30 {
            sys::kill(target.pid, libc::SIGSTOP)?;
            pause_ms(30);
            sys::kill(target.pid, libc::SIGCONT)?;
            pause_ms(15);
        }
        wait_senders(vec![sender]).map(|_| ())
    })?;
    explained(&lines, ("blocked", 95), (10, 20_000_000), report)
}

/// Out of quota for 90 ms of 100 (where others wait for the CPU too, some of it is that), and four spinners on 3 ms of their parent's.
fn throttled(settings: &Settings, report: &mut Report) -> Result<()> {
    let h = settings.hierarchy()?;
    let group = Group::new(&h, Some((10_000, 100_000)))?;
    let target = Target::start("spin", &["cpu=1"], Some(&group))?;
    let lines = lines_of(settings, &target, || {
        send(Sends::to_workers(500, 3_000), &target)
    })?;
    drop(target);
    explained(&lines, ("throttled", 90), (10, 20_000_000), report)?;
    let parent = Group::new(&h, Some((3_000, 100_000)))?;
    let child = parent.child("child", None)?;
    let four = Target::start("spin", &["threads=4"], Some(&child))?;
    let lines = lines_of(settings, &four, || {
        send(Sends::to_workers(500, 4_000), &four)
    })?;
    drop(four);
    // Several periods may pass until a refill reaches a thread: all of that is throttling.
    explained(&lines, ("throttled", 90), (25, 50_000_000), report)
}

/// A build that leaves out one transition must be found out by the sums.
fn mutant_is_caught(settings: &Settings, report: &mut Report) -> Result<()> {
    let mutant = settings
        .mutant
        .as_ref()
        .ok_or_else(|| skip("no --mutant given"))?;
    let group = Group::new(&settings.hierarchy()?, Some((10_000, 100_000)))?;
    let quota = Target::start("spin", &[], Some(&group))?;
    let crowd = Target::start("spin", &["threads=3", "cpu=0"], None)?;
    let vfork = Target::start("vfork", &[], None)?;
    let gohang = trace(mutant, &[&quota, &crowd, &vfork])?;
    wait_senders(vec![
        Sends::to_workers(1_000, 2_000).start(&quota, None)?,
        Sends::to_workers(1_000, 2_000).start(&crowd, None)?,
        Sends::to_workers(3_300, 2_000).start(&vfork, None)?,
    ])?;
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    drop((quota, crowd, vfork));
    let wrong: Vec<String> = stream
        .lines
        .iter()
        .filter_map(|l| l.check().err())
        .collect();
    report.note(format!(
        "{} of {} episodes do not add up",
        wrong.len(),
        stream.lines.len()
    ));
    ensure!(!wrong.is_empty(), "a dropped transition went unnoticed");
    Ok(())
}
