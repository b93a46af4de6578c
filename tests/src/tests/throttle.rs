//! Throttled time against the kernel's own count for a group of one run queue.

use anyhow::{Result, bail, ensure};

use crate::estimate::Differences;
use crate::group::Hierarchy;
use crate::run::{Report, Settings, Test, skip};
use crate::scene::{
    self, Heard, LONG_PERIOD_US, Nested, PERIOD_US, Plan, RealTime, Scene, Sleeper, Steady, work_ms,
};
use crate::stream::{self, Line, Stream};
use crate::sys;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let test = |name, body| Test { name, body };
    vec![
        test("throttle::scenes", scenes),
        test("throttle::burst", burst),
        test("throttle::without_queue_hooks", without_queue_hooks),
    ]
}

/// A share of the period, us.
const fn percent(percent: u64) -> u64 {
    PERIOD_US * percent / 100
}

/// The quota of a group and of its thread are as simple as can be.
const ALONE: [Plan; 4] = [
    Plan::new("10-percent", percent(10)),
    Plan::new("50-percent", percent(50)),
    Plan {
        // Others have little of the CPU left to them, and must not take more.
        send_every_us: 5_000,
        period_us: LONG_PERIOD_US,
        work_ms: work_ms(LONG_PERIOD_US) * 3 / 2,
        ..Plan::new("90-percent", LONG_PERIOD_US * 9 / 10)
    },
    // One signal is sent every 200 us, so that of each spell without quota of 16 ms at most
    // that is not covered.
    Plan {
        send_every_us: 200,
        all_pending: true,
        ..Plan::new("all-pending", percent(20))
    },
];

/// One of two threads is on the run queue when the quota runs out.
const WAITING: [Plan; 2] = [
    Plan {
        threads: 2,
        ..Plan::new("two-threads", percent(20))
    },
    Plan {
        children: 2,
        ..Plan::new("two-groups", percent(20))
    },
];

/// The quota is another one than it was.
const CHANGED: Plan = Plan {
    changes: &[
        Some(percent(30)),
        Some(percent(5)),
        None,
        Some(percent(20)),
        Some(percent(8)),
    ],
    periods: 40,
    ..Plan::new("changed-quota", percent(10))
};

const OTHERS: [Plan; 2] = [
    // The child's own cpu.stat says nothing of it.
    Plan {
        children: 1,
        ..Plan::new("parents-quota", percent(30))
    },
    // What was measured stays, under its path.
    Plan {
        removed: true,
        ..Plan::new("removed-group", percent(20))
    },
];

/// Some of the quota is saved up.
const BURST: Plan = Plan {
    burst_us: Some(percent(20)),
    ..Plan::new("burst", percent(30))
};

/// From here on groups can save up (kernel/sched/core.c, `cpu.max.burst`).
const BURST_SINCE: (u32, u32) = (5, 14);

fn set(h: &Hierarchy, plans: impl IntoIterator<Item = Plan>) -> Result<Vec<Box<dyn Scene>>> {
    let set = |plan| Ok(Box::new(Steady::set(h, plan)?) as Box<dyn Scene>);
    plans.into_iter().map(set).collect()
}

/// All scenes, with the most exact step and the estimate side by side: in the long form alone
/// where threads are parked one by one, as such a kernel never needs the estimate.
fn scenes(settings: &Settings, report: &mut Report) -> Result<()> {
    let h = settings.hierarchy()?;
    let plans = ALONE.into_iter().chain(WAITING).chain([CHANGED]);
    let mut scenes = set(&h, plans.chain(OTHERS))?;
    scenes.push(Box::new(Sleeper::set(&h)?));
    scenes.push(Box::new(Nested::set(&h)?));
    scenes.push(Box::new(RealTime::set(&h)?));
    let estimate = ["--throttle-source", "switch-point-estimate"];
    let tracers: &[&[&str]] = if settings.full || !sys::parks_threads()? {
        &[&[], &estimate]
    } else {
        &[&[]]
    };
    let streams = scene::play(settings, &mut scenes, tracers)?;
    let Some((exact, others)) = streams.split_first() else {
        bail!("no output");
    };
    report.note(format!(
        "throttle run kernel={} precision={}",
        exact.end["kernel"].as_str().unwrap_or("-"),
        exact.end["precision"].as_str().unwrap_or("-")
    ));
    let judged = scene::judge(&scenes, with_hooks(exact)?, report);
    let compared = others
        .iter()
        .try_for_each(|estimate| compare(&scenes, exact, estimate, report));
    judged.and(compared)
}

/// What a tracer said that hooks run queues where the kernel lets it.
fn with_hooks(stream: &Stream) -> Result<Heard<'_>> {
    Ok(Heard {
        stream,
        spans: super::ladder::has_queue_hooks()?,
    })
}

/// A group that has saved up some of its quota and spends that.
fn burst(settings: &Settings, report: &mut Report) -> Result<()> {
    if sys::kernel_version()? < BURST_SINCE {
        return Err(skip("groups of this kernel cannot save up quota"));
    }
    let mut scenes = set(&settings.hierarchy()?, [BURST])?;
    let streams = scene::play(settings, &mut scenes, &[&[]])?;
    scene::judge(&scenes, with_hooks(&streams[0])?, report)
}

/// Notes of each scene what the estimate is off by, and holds what gohang states against it.
fn compare(
    scenes: &[Box<dyn Scene>],
    exact: &Stream,
    estimate: &Stream,
    report: &mut Report,
) -> Result<()> {
    let stated = |name: &str| estimate.number(&format!("/estimate_error/{name}"));
    let alone_ns = stated(match exact.end["precision"].as_str() {
        Some("thread-exact") => "alone_parked_p99_ns",
        _ => "alone_p99_ns",
    })?;
    let waiting_ns = stated("waiting_p99_period_percent")? * PERIOD_US * 10;
    report.note(format!(
        "throttle estimates alone_p99_ns={alone_ns} waiting_p99_ns={waiting_ns}"
    ));
    let mut wrong = Vec::new();
    for scene in scenes {
        let pids = scene.pids().iter().map(|pid| u32::try_from(*pid));
        let pids = pids.collect::<Result<Vec<u32>, _>>()?;
        let own = |line: &&Line| pids.contains(&line.pid);
        let found = Differences::of(
            exact.lines.iter().filter(own),
            estimate.lines.iter().filter(own),
        );
        let mut stalls = [0, 0];
        for (stall, stream) in stalls.iter_mut().zip([exact, estimate]) {
            for pid in &pids {
                *stall += stream::number(stream.process(*pid)?, "/stall/total_ns")?;
            }
        }
        let name = scene.name();
        report.note(format!(
            "throttle estimate scene={name} p99_ns={} pairs={} single={} stall_ns={} \
             exact_stall_ns={}",
            found.p99_ns().map_or("-".to_owned(), |ns| ns.to_string()),
            found.pairs,
            found.single,
            stalls[1],
            stalls[0]
        ));
        let waits = WAITING.iter().any(|plan| plan.what == name);
        let limit_ns = if waits { waiting_ns } else { alone_ns };
        if found.single != 0 {
            wrong.push(format!("{name}: {} episodes of one tracer", found.single));
        }
        if found.p99_ns().is_some_and(|ns| ns > limit_ns) {
            wrong.push(format!("{name}: more than {limit_ns} ns off"));
        }
    }
    ensure!(wrong.is_empty(), "the estimate: {}", wrong.join("; "));
    Ok(())
}

/// Those in which a thread is put back among others, with its park's end taken from the task
/// alone: at its next switch, unless a run queue tells it earlier.
fn without_queue_hooks(settings: &Settings, report: &mut Report) -> Result<()> {
    if !sys::parks_threads()? {
        return Err(skip("this kernel does not park threads one by one"));
    }
    let h = settings.hierarchy()?;
    let mut scenes = set(&h, WAITING.into_iter().chain([CHANGED]))?;
    scenes.push(Box::new(Sleeper::set(&h)?));
    let streams = scene::play(settings, &mut scenes, &[&["--no-queue-hooks"]])?;
    let heard = Heard {
        stream: &streams[0],
        spans: false,
    };
    scene::judge(&scenes, heard, report)
}
