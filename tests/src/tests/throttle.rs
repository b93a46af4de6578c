//! Throttled time against the kernel's own count for a group of one busy thread.

use anyhow::{Result, ensure};

use crate::actor::{Sends, Target, pause_ms};
use crate::group::Group;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test};
use crate::stage::wait_senders;
use crate::stream::{self, Stream};

/// At least so many throttled periods.
const PERIODS: u64 = 50;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "throttle::stall",
            body: stall,
        },
        Test {
            name: "throttle::episodes",
            body: episodes,
        },
    ]
}

/// One busy thread under 20/100 ms for six seconds, its start and end inside the trace, so that
/// both counts are of the same interval; what the caller does meanwhile, then the trace and the
/// growth of the group's throttled time in nanoseconds.
fn busy_thread(
    settings: &Settings,
    report: &mut Report,
    meanwhile: impl Fn(&Target) -> Result<()>,
) -> Result<(Stream, u32, u64)> {
    let gohang = settings.gohang()?;
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 100_000)))?;
    // On one CPU, so that the group has one run queue; the main thread stays asleep.
    let options = ["wait=1", "work_ms=6000", "cpu=1"];
    let mut target = Target::start("spin", &options, Some(&group))?;
    let pid = target.pid.to_string();
    let args = ["trace", "-o", "jsonl", "--events", "--non-go", "-p", &pid];
    let mut gohang = Gohang::spawn(gohang, &args.map(str::to_owned))?;
    gohang.wait_ready()?;
    let before = (group.throttled_ns()?, group.throttled_periods()?);
    target.actor.go()?;
    target.actor.expect("ready")?;
    target.workers = crate::actor::workers(target.pid)?;
    meanwhile(&target)?;
    let grown = (
        group.throttled_ns()? - before.0,
        group.throttled_periods()? - before.1,
    );
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    let pid = u32::try_from(target.pid)?;
    drop(target);
    report.note(format!(
        "cpu.stat: throttled {} ns in {} periods",
        grown.0, grown.1
    ));
    ensure!(grown.1 >= PERIODS, "only {} periods", grown.1);
    Ok((stream, pid, grown.0))
}

fn within_one_percent(what: &str, ours: u64, truth: u64, report: &mut Report) -> Result<()> {
    let off = (ours as f64 - truth as f64) / truth as f64 * 100.0;
    report.note(format!("{what}: {ours} ns, {off:+.3} %"));
    ensure!(off.abs() <= 1.0, "{what} is off by {off:.3} %");
    Ok(())
}

/// The process's stall time.
fn stall(settings: &Settings, report: &mut Report) -> Result<()> {
    let (stream, pid, truth) = busy_thread(settings, report, |_| {
        pause_ms(6_400);
        Ok(())
    })?;
    let ours = stream::number(stream.process(pid)?, "/stall/total_ns")?;
    within_one_percent("stall", ours, truth, report)
}

/// The sum of the episodes' throttled components, with a signal pending all but always: one is
/// sent every 50 us, so that of each park of 80 ms at most that is not covered.
fn episodes(settings: &Settings, report: &mut Report) -> Result<()> {
    let (stream, pid, truth) = busy_thread(settings, report, |target| {
        wait_senders(vec![Sends::to_workers(50, 6_300).start(target, None)?])?;
        pause_ms(100);
        Ok(())
    })?;
    let lines = stream.lines.iter().filter(|l| l.pid == pid);
    let sum: u64 = lines.clone().map(|l| l.throttled_ns).sum();
    let told = stream::number(stream.process(pid)?, "/causes/throttled/total_ns")?;
    ensure!(
        told == sum,
        "causes.throttled.total_ns is {told}, the episodes add up to {sum}"
    );
    report.note(format!("{} episodes", lines.count()));
    within_one_percent("episodes", sum, truth, report)
}
