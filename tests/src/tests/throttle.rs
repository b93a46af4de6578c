//! Throttled time against the kernel's own count for a group of one run queue.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::actor::{Sends, Target, pause_ms};
use crate::group::Group;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test, skip};
use crate::stage::wait_senders;
use crate::stream::{self, Stream};
use crate::sys;

/// At least so many throttled periods.
const PERIODS: u64 = 50;

/// For how long the threads work, ms: enough for so many periods of 100 ms.
const WORK_MS: u64 = 6_000;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let test = |name, body| Test { name, body };
    vec![
        test("throttle::stall", stall),
        test("throttle::episodes", episodes),
        test("throttle::two_threads", two_threads),
        test("throttle::woken_sleeper", woken_sleeper),
        test("throttle::parent", parent),
        test("throttle::changed", changed),
        test("throttle::burst", burst),
        test("throttle::group_removed", group_removed),
        test("throttle::real_time", real_time),
    ]
}

/// A target whose threads work on one CPU, so that their group has one run queue, from the
/// moment they are told to until they have worked long enough; its main thread stays asleep.
struct Busy<'a> {
    /// Whose `cpu.stat` counts.
    group: &'a Group,
    target: Target,
    before: (u64, u64),
}

/// What both sides counted of the same interval.
#[derive(Debug)]
struct Counted {
    pid: u32,
    /// The product's stall time, all threads, ns.
    stall_ns: u64,
    /// Throttled time of the group's run queue, ns.
    truth_ns: u64,
    /// In how many periods it ran out.
    periods: u64,
    /// What else the product says of the process.
    details: String,
}

impl<'a> Busy<'a> {
    /// In `inside`, or in the group that counts.
    fn start(group: &'a Group, inside: Option<&Group>, options: &[&str]) -> Result<Self> {
        let work = format!("work_ms={WORK_MS}");
        let mut all = vec!["wait=1", &work];
        all.extend(options);
        Ok(Self {
            group,
            target: Target::start("spin", &all, Some(inside.unwrap_or(group)))?,
            before: (0, 0),
        })
    }

    fn count(&self) -> Result<(u64, u64)> {
        Ok((self.group.throttled_ns()?, self.group.throttled_periods()?))
    }
}

/// Traces the targets from before their work begins until it is over, so that both counts are
/// of the same interval; `meanwhile` runs once they work.
fn trace(
    settings: &Settings,
    busy: &mut [Busy<'_>],
    meanwhile: impl FnOnce(&[Busy<'_>]) -> Result<()>,
) -> Result<(Stream, Vec<Counted>)> {
    let pids: Vec<String> = busy.iter().map(|b| b.target.pid.to_string()).collect();
    let pids = pids.join(",");
    let args = ["trace", "-o", "jsonl", "--events", "--non-go", "-p", &pids];
    let mut gohang = Gohang::spawn(settings.gohang()?, &args.map(str::to_owned))?;
    gohang.wait_ready()?;
    for one in busy.iter_mut() {
        one.before = one.count()?;
    }
    for one in busy.iter_mut() {
        one.target.actor.go()?;
        one.target.actor.expect("ready")?;
        one.target.workers = crate::actor::workers(one.target.pid)?;
    }
    let end_ns = sys::mono_ns() + (WORK_MS + 400) * 1_000_000;
    meanwhile(busy)?;
    sys::sleep_until_ns(end_ns);
    let after: Vec<(u64, u64)> = busy.iter().map(Busy::count).collect::<Result<_>>()?;
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    let counted = busy
        .iter()
        .zip(after)
        .map(|(one, after)| {
            let pid = u32::try_from(one.target.pid)?;
            Ok(Counted {
                pid,
                stall_ns: stream::number(stream.process(pid)?, "/stall/total_ns")?,
                truth_ns: after.0 - one.before.0,
                periods: after.1 - one.before.1,
                details: details(&stream, pid)?,
            })
        })
        .collect::<Result<_>>()?;
    Ok((stream, counted))
}

/// Stalls, run-queue waits and the group's spans in numbers.
fn details(stream: &Stream, pid: u32) -> Result<String> {
    let process = stream.process(pid)?;
    let groups = stream.end["cgroups"].as_array();
    let own = groups.and_then(|all| all.iter().find(|g| g["pids"][0] == pid));
    let spans = own.map(|g| &g["spans"]);
    Ok(format!(
        "{} stalls; {} waits for a CPU, {} ns; spans {} of {} ns",
        process["stall"]["count"],
        process["runqueue"]["count"],
        process["runqueue"]["total_ns"],
        spans.map_or("none".to_owned(), |s| s["count"].to_string()),
        spans.map_or("none".to_owned(), |s| s["total_ns"].to_string()),
    ))
}

/// Within 1 % of `threads` times what the kernel counted for their run queue, over enough
/// periods.
fn agrees(what: &str, counted: &Counted, threads: u64, report: &mut Report) -> Result<()> {
    let Counted {
        stall_ns,
        truth_ns,
        periods,
        ..
    } = counted;
    report.note(format!(
        "{what}: cpu.stat throttled {truth_ns} ns in {periods} periods; {}",
        counted.details
    ));
    ensure!(*periods >= PERIODS, "{what}: only {periods} periods");
    within_one_percent(what, *stall_ns, truth_ns * threads, report)
}

fn within_one_percent(what: &str, ours: u64, truth: u64, report: &mut Report) -> Result<()> {
    let off = (ours as f64 - truth as f64) / truth as f64 * 100.0;
    report.note(format!("{what}: {ours} ns, {off:+.3} %"));
    ensure!(off.abs() <= 1.0, "{what} is off by {off:.3} %");
    Ok(())
}

/// One busy thread alone in its group, at three quotas side by side.
fn stall(settings: &Settings, report: &mut Report) -> Result<()> {
    let h = settings.hierarchy()?;
    let quotas = [("10 %", 10_000, "cpu=1"), ("50 %", 50_000, "cpu=1")];
    let groups = quotas.map(|(_, quota, _)| Group::new(&h, Some((quota, 100_000))));
    let groups = groups.into_iter().collect::<Result<Vec<Group>>>()?;
    let mut busy = groups
        .iter()
        .zip(quotas)
        .map(|(group, (_, _, cpu))| Busy::start(group, None, &[cpu]))
        .collect::<Result<Vec<Busy<'_>>>>()?;
    let (_, counted) = trace(settings, &mut busy, |_| Ok(()))?;
    drop(busy);
    for (counted, (what, ..)) in counted.iter().zip(quotas) {
        agrees(what, counted, 1, report)?;
    }
    // By itself: what is left of a period is short, and others would take it.
    let group = Group::new(&h, Some((90_000, 100_000)))?;
    let mut busy = [Busy::start(&group, None, &["cpu=1"])?];
    let (_, counted) = trace(settings, &mut busy, |_| Ok(()))?;
    drop(busy);
    agrees("90 %", &counted[0], 1, report)
}

/// The sum of the episodes' throttled components, with a signal pending all but always: one is
/// sent every 50 us, so that of each park of 80 ms at most that is not covered.
fn episodes(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 100_000)))?;
    let mut busy = [Busy::start(&group, None, &["cpu=1"])?];
    let (stream, counted) = trace(settings, &mut busy, |busy| {
        let sends = Sends::to_workers(50, WORK_MS + 300);
        wait_senders(vec![sends.start(&busy[0].target, None)?]).map(drop)
    })?;
    drop(busy);
    let counted = &counted[0];
    agrees("stall", counted, 1, report)?;
    let lines = stream.lines.iter().filter(|l| l.pid == counted.pid);
    let sum: u64 = lines.clone().map(|l| l.throttled_ns).sum();
    let told = stream::number(stream.process(counted.pid)?, "/causes/throttled/total_ns")?;
    ensure!(
        told == sum,
        "causes.throttled.total_ns is {told}, the episodes add up to {sum}"
    );
    report.note(format!("{} episodes", lines.count()));
    within_one_percent("episodes", sum, counted.truth_ns, report)
}

/// Two threads on one CPU in one group: when it runs out of quota, one of them is waiting on
/// the run queue. Both are out of quota for as long as the queue is.
fn two_threads(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 100_000)))?;
    let mut busy = [Busy::start(&group, None, &["cpu=1", "threads=2"])?];
    let (_, counted) = trace(settings, &mut busy, |_| Ok(()))?;
    drop(busy);
    agrees("two threads", &counted[0], 2, report)
}

/// A thread that sleeps for most of the time, woken again and again while another one of its
/// group has used up the quota: each wait ends with the quota's return. The time that it was
/// neither asleep nor running, by its own clocks, is what gohang says that it waited.
fn woken_sleeper(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 100_000)))?;
    let mut spinner = Busy::start(&group, None, &["cpu=1"])?;
    let sleeper = Target::start("late", &["cpu=1"], Some(&group))?;
    let pids = sleeper.pid.to_string();
    let args = ["trace", "-o", "json", "--non-go", "-p", &pids];
    let mut gohang = Gohang::spawn(settings.gohang()?, &args.map(str::to_owned))?;
    gohang.wait_ready()?;
    spinner.target.actor.go()?;
    spinner.target.actor.expect("ready")?;
    let mut sleeper = sleeper;
    sleeper.actor.go()?;
    pause_ms(WORK_MS);
    sleeper.actor.close_input();
    let naps = sleeper.actor.expect_number("naps")?;
    let late_ns = sleeper.actor.expect_number("waited")?;
    let out = gohang.interrupt()?;
    let end: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    let stall = stream::number(&end, "/processes/0/stall/total_ns")?;
    let wait = stream::number(&end, "/processes/0/runqueue/total_ns")?;
    let count = stream::number(&end, "/processes/0/stall/count")?;
    drop((spinner, sleeper));
    report.note(format!(
        "{naps} naps, waited {late_ns} ns; {count} stalls of {stall} ns, run queue {wait} ns"
    ));
    ensure!(count >= PERIODS, "only {count} stalls");
    // In quota it waits for the spinner, a few milliseconds at a time: at most the 20 ms of each
    // period. Out of quota it is woken within 7 ms of 80.
    ensure!(
        stall / count >= 40_000_000 && wait <= 20_000_000 * count,
        "woken into a group out of quota, it waited for a CPU"
    );
    within_one_percent("stall and run queue", stall + wait, late_ns, report)
}

/// The quota is the parent's; the child's own `cpu.stat` says nothing of it.
fn parent(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((30_000, 100_000)))?;
    let child = group.child(None)?;
    let mut busy = [Busy::start(&group, Some(&child), &["cpu=1"])?];
    let (stream, counted) = trace(settings, &mut busy, |_| Ok(()))?;
    drop(busy);
    agrees("quota of the parent", &counted[0], 1, report)?;
    let of_child = group
        .path()
        .file_name()
        .context("a name")?
        .to_string_lossy();
    let found = stream.end["cgroups"]
        .as_array()
        .and_then(|all| {
            all.iter()
                .find(|g| g["path"].as_str().is_some_and(|p| p.ends_with("/child")))
        })
        .with_context(|| format!("no group below {of_child}: {}", stream.end["cgroups"]))?;
    ensure!(
        found["limit_owner"]
            .as_str()
            .is_some_and(|owner| owner.ends_with(&*of_child))
            && found["quota_ns"] == 30_000_000
            && found["period_ns"] == 100_000_000,
        "limit: {found}"
    );
    let spans = &found["spans"];
    if spans.is_null() {
        report.note("spans: not measured on this step");
        return Ok(());
    }
    report.note(format!("spans: {} by {}", spans["count"], spans["owners"]));
    ensure!(
        spans["owners"][0]["path"] == found["limit_owner"],
        "spans: {spans}"
    );
    within_one_percent(
        "spans",
        stream::number(spans, "/total_ns")?,
        counted[0].truth_ns,
        report,
    )
}

/// The quota is changed, removed and set again while the thread runs.
fn changed(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((10_000, 100_000)))?;
    let mut busy = [Busy::start(&group, None, &["cpu=1"])?];
    let (_, counted) = trace(settings, &mut busy, |_| {
        for quota in [Some(30_000), Some(5_000), None, Some(20_000), Some(8_000)] {
            pause_ms(950);
            group.set_quota(quota, 100_000)?;
        }
        Ok(())
    })?;
    drop(busy);
    let counted = &counted[0];
    report.note(format!(
        "cpu.stat throttled {} ns in {} periods",
        counted.truth_ns, counted.periods
    ));
    within_one_percent("changed quota", counted.stall_ns, counted.truth_ns, report)
}

/// A burst lets a group save up.
fn burst(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((30_000, 100_000)))?;
    if !group.set_burst(20_000)? {
        return Err(skip("this kernel has no burst"));
    }
    let mut busy = [Busy::start(&group, None, &["cpu=1"])?];
    let (_, counted) = trace(settings, &mut busy, |_| Ok(()))?;
    drop(busy);
    agrees("with a burst", &counted[0], 1, report)
}

/// The group is removed while it is traced: what was measured stays, under its path.
fn group_removed(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 100_000)))?;
    let name = group.path().to_string_lossy().into_owned();
    let mut target = Target::start("spin", &["cpu=1"], Some(&group))?;
    let pid = target.pid.to_string();
    let args = ["trace", "-o", "json", "--non-go", "-d", "4s", "-p", &pid];
    let mut gohang = Gohang::spawn(settings.gohang()?, &args.map(str::to_owned))?;
    gohang.wait_ready()?;
    pause_ms(1_000);
    target.actor.close_input();
    target.actor.wait()?;
    drop(target);
    drop(group);
    ensure!(
        !std::path::Path::new(&name).exists(),
        "{name} is still there"
    );
    let out = gohang.wait(Duration::from_secs(10))?;
    ensure!(
        out.status.success(),
        "{}: {}",
        out.status,
        out.stderr_line()
    );
    let end: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    let stall = stream::number(&end, "/processes/0/stall/total_ns")?;
    let path = end["cgroups"][0]["path"]
        .as_str()
        .unwrap_or("none")
        .to_owned();
    report.note(format!("stall {stall} ns in {path}, which is gone"));
    ensure!(
        stall > 500_000_000,
        "it was out of quota for {stall} ns only"
    );
    ensure!(name.ends_with(&path), "the group is told as {path}");
    Ok(())
}

/// A real-time thread is not under CFS quota: what it waits for, or is held back by the
/// real-time limit, is no time out of quota, whatever its group is.
fn real_time(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((10_000, 100_000)))?;
    group.allow_real_time()?;
    // The other one keeps the group out of quota.
    let crowd = Target::start("spin", &["cpu=1"], Some(&group))?;
    let options = ["cpu=1", "first=1", "on_us=2000", "off_us=3000"];
    let target = Target::start("onoff", &options, Some(&group))?;
    if !sys::is_real_time(target.pid) {
        anyhow::bail!("the kernel makes no real-time thread of it");
    }
    let pids = target.pid.to_string();
    let args = ["trace", "-o", "json", "--non-go", "-d", "3s", "-p", &pids];
    let mut gohang = Gohang::spawn(settings.gohang()?, &args.map(str::to_owned))?;
    gohang.wait_ready()?;
    let out = gohang.wait(Duration::from_secs(15))?;
    drop((target, crowd));
    let end: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    let running = stream::number(&end, "/processes/0/running_ns")?;
    let stall = stream::number(&end, "/processes/0/stall/total_ns")?;
    report.note(format!("ran {running} ns, out of quota {stall} ns"));
    ensure!(running > 600_000_000, "it ran for {running} ns only");
    ensure!(
        stall == 0,
        "a real-time thread is out of quota for {stall} ns"
    );
    Ok(())
}
