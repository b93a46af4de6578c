//! Groups that come and go while gohang traces. What it keeps of each run queue is kept by
//! address: of removed groups it goes, and another group at the same address is another one.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::actor::{Target, pause_ms};
use crate::bpf;
use crate::group::{Group, Hierarchy};
use crate::product::Gohang;
use crate::run::{DoesNotCount, Report, Settings, Test, skip};
use crate::scene::{LIFT_MS, PARK_NS};
use crate::stream;

/// The map of run queues.
const MAP: &str = "CFS_RQS";

/// Quota and period of the groups that are measured, us.
const QUOTA: (u64, u64) = (10_000, 50_000);

/// Longer than gohang takes to end.
const LIMIT: Duration = Duration::from_secs(60);

/// Long enough for the memory of a removed group to be free, ms.
const GRACE_MS: u64 = 100;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "churn::run_queues",
            body: run_queues,
        },
        Test {
            name: "churn::same_memory",
            body: same_memory,
        },
    ]
}

/// A trace of processes of one thread each, which wait for their turns.
struct Traced {
    gohang: Gohang,
    targets: Vec<Target>,
}

impl Traced {
    /// Traces `count` processes that work for `work_ms` when told to.
    fn start(settings: &Settings, count: usize, work_ms: u64, more: &[&str]) -> Result<Self> {
        if !super::ladder::has_queue_hooks()? {
            return Err(skip("this kernel refuses programs on functions"));
        }
        let work = format!("work_ms={work_ms}");
        let start = |_| Target::start("spin", &["wait=1", "cpu=0", &work], None);
        let targets = (0..count).map(start).collect::<Result<Vec<Target>>>()?;
        let pids: Vec<String> = targets.iter().map(|t| t.pid.to_string()).collect();
        let pids = pids.join(",");
        let args = [&["trace", "-o", "json", "--non-go", "-p", &pids], more].concat();
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let mut gohang = Gohang::spawn(settings.gohang()?, &args)?;
        gohang.wait_ready()?;
        Ok(Self { gohang, targets })
    }

    /// How many run queues are kept.
    fn kept(&self) -> Result<usize> {
        Ok(bpf::entries_of(self.gohang.pid(), MAP)?)
    }

    /// Lets each process work in a group of its own, one after the other; the kernel's counts.
    fn work(&mut self, groups: &[Group], work_ms: u64) -> Result<Vec<u64>> {
        let mut truths = Vec::new();
        for (target, group) in self.targets.iter_mut().zip(groups) {
            group.add(target.pid)?;
            let before = group.throttled_ns()?;
            target.actor.go()?;
            target.actor.expect("ready")?;
            pause_ms(work_ms - LIFT_MS);
            group.set_quota(None, QUOTA.1)?;
            pause_ms(LIFT_MS + 200);
            truths.push(group.throttled_ns()? - before);
        }
        Ok(truths)
    }

    /// Ends the trace, and holds the stalls of each process and the spans of its group against
    /// the kernel's count.
    fn finish(self, truths: &[u64], report: &mut Report) -> Result<()> {
        let Self { gohang, targets } = self;
        gohang.signal(libc::SIGINT)?;
        let end = gohang.wait(LIMIT)?;
        end.expect_success()?;
        let document: Value = serde_json::from_slice(&end.stdout).context("not one document")?;
        let (mut stalls, mut spans) = (0, 0);
        for (target, truth) in targets.iter().zip(truths) {
            let group = group_of(&document, target.pid)?;
            let stall = stream::number(group, "/stall/total_ns")?;
            let span = stream::number(group, "/spans/total_ns")?;
            // Where threads are parked one by one, the kernel counts from the first park on: to
            // get there the thread may have had to wait for the CPU, and runs in the kernel.
            let parks = document["precision"] == "thread-exact";
            let waits = stream::number(group, "/runqueue/total_ns")?;
            let parking = waits + stream::number(group, "/spans/count")? * PARK_NS;
            let most = truth + truth / 100 + if parks { parking } else { 0 };
            ensure!(
                (truth - truth / 100..=most).contains(&span),
                "spans of {span} ns, cpu.stat {truth} ns: {group}"
            );
            ensure!(
                (truth - truth / 100..=truth + truth / 100).contains(&stall),
                "stalls of {stall} ns, cpu.stat {truth} ns: {group}"
            );
            let owners = &group["spans"]["owners"];
            ensure!(
                owners[0]["path"] == group["path"] && owners[1].is_null(),
                "the spans of {} are told to be of {owners}",
                group["path"]
            );
            stalls += stall;
            spans += span;
        }
        let truth: u64 = truths.iter().sum();
        report.note(format!(
            "stalls {stalls} ns, spans {spans} ns, cpu.stat {truth} ns"
        ));
        ensure!(
            document["loss"]["run_queues_full"] == 0,
            "{} edges of run queues that found no place",
            document["loss"]["run_queues_full"]
        );
        stream::check_impossible(&document)?;
        for target in targets {
            target.finish()?;
        }
        Ok(())
    }
}

/// The group in which this process worked: it waited for its turn in another.
fn group_of(document: &Value, pid: i32) -> Result<&Value> {
    let groups = document["cgroups"].as_array().into_iter().flatten();
    let of_pid = |group: &&Value| {
        let pids = group["pids"].as_array().into_iter().flatten();
        pids.into_iter().any(|own| *own == pid) && group["stall"]["count"] != 0
    };
    let found: Vec<&Value> = groups.filter(of_pid).collect();
    match found[..] {
        [group] => Ok(group),
        _ => Err(anyhow!("{} groups of {pid}", found.len())),
    }
}

/// Groups with this quota that `spinner` has run out of, one after the other; it leaves the last
/// one for `rest`.
fn exhausted(
    h: &Hierarchy,
    count: usize,
    quota: (u64, u64),
    spinner: &Target,
    rest: &Group,
) -> Result<Vec<Group>> {
    let groups = (0..count).map(|_| Group::new(h, Some(quota)));
    let groups = groups.collect::<Result<Vec<Group>>>()?;
    for group in &groups {
        group.add(spinner.pid)?;
        while group.throttled_periods()? == 0 {
            pause_ms(1);
        }
    }
    rest.add(spinner.pid)?;
    Ok(groups)
}

/// More groups run out of quota than run queues can be kept; all are removed, and others, which
/// never run out, take their memory, so that each round's lie elsewhere. The last one is measured
/// all the same.
fn run_queues(settings: &Settings, report: &mut Report) -> Result<()> {
    const KEPT: usize = 128;
    const GROUPS: usize = 40;
    const ROUNDS: usize = 8;
    const WORK_MS: u64 = 2_000;
    let h = settings.hierarchy()?;
    let kept = KEPT.to_string();
    let mut traced = Traced::start(settings, 1, WORK_MS, &["--max-run-queues", &kept])?;
    let spinner = Target::start("spin", &["cpu=0"], None)?;
    let rest = Group::new(&h, None)?;
    let (mut idle, mut most) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let groups = exhausted(&h, GROUPS, (1_000, 4_000), &spinner, &rest)?;
        most = most.max(traced.kept()?);
        drop(groups);
        pause_ms(GRACE_MS);
        for _ in 0..GROUPS {
            idle.push(Group::new(&h, None)?);
        }
        // At the most often that dead ones are looked for.
        pause_ms(1_000);
    }
    spinner.finish()?;
    let group = [Group::new(&h, Some(QUOTA))?];
    let truths = traced.work(&group, WORK_MS)?;
    report.note(format!(
        "{} groups ran out of quota and were removed; {most} run queues kept at most of {KEPT}, \
         {} at the end",
        GROUPS * ROUNDS,
        traced.kept()?
    ));
    traced.finish(&truths, report)
}

/// Groups are removed while they are out of quota, which nobody tells, and those that are
/// measured get their memory. Others want the CPU too, so that not every wait is for quota.
fn same_memory(settings: &Settings, report: &mut Report) -> Result<()> {
    const GROUPS: usize = 10;
    const WORK_MS: u64 = 600;
    let h = settings.hierarchy()?;
    let mut traced = Traced::start(settings, GROUPS, WORK_MS, &[])?;
    let rest = Group::new(&h, None)?;
    let rival = Target::start("spin", &["cpu=0"], Some(&rest))?;
    // One period of these is longer than all that is done to them.
    for _ in 0..2 * GROUPS {
        drop(exhausted(&h, 1, (1_000, 1_000_000), &rival, &rest)?);
    }
    pause_ms(GRACE_MS);
    let groups = (0..GROUPS).map(|_| Group::new(&h, Some(QUOTA)));
    let groups = groups.collect::<Result<Vec<Group>>>()?;
    let before = traced.kept()?;
    let truths = traced.work(&groups, WORK_MS)?;
    let added = traced.kept()?.saturating_sub(before);
    drop(rival);
    traced.finish(&truths, report)?;
    report.note(format!(
        "{before} run queues kept of removed groups, {} of {GROUPS} groups at their addresses",
        GROUPS.saturating_sub(added)
    ));
    if added >= GROUPS {
        let why = "no group was made where a removed one had been";
        return Err(DoesNotCount(why.to_owned()).into());
    }
    Ok(())
}
