//! gohang's episodes against the reference's, for plain and throttled targets.

use anyhow::{Result, ensure};

use crate::actor::{Actor, Sends, Target};
use crate::compare::Quantiles;
use crate::group::Group;
use crate::run::{Report, Settings, Test, skip};
use crate::stage::{Stage, wait_senders};

/// The least number of episodes over all scenes.
const EPISODES: u64 = 20_000;

/// The least number of them above 20 ms.
const LONG_EPISODES: u64 = 200;

/// The tests of this file that stand before those of the other scenes.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "agreement::plain",
            body: plain,
        },
        Test {
            name: "agreement::crowd",
            body: crowd,
        },
        Test {
            name: "agreement::asleep",
            body: asleep,
        },
        Test {
            name: "agreement::quota_sender_outside",
            body: quota_sender_outside,
        },
        Test {
            name: "agreement::quota_sender_inside",
            body: quota_sender_inside,
        },
        Test {
            name: "agreement::quota_woken_sleepers",
            body: quota_woken_sleepers,
        },
    ]
}

/// The sum over all scenes; stands behind them.
pub fn total() -> Vec<Test> {
    vec![Test {
        name: "agreement::total",
        body: total_body,
    }]
}

/// One spinning thread that has a CPU to itself.
fn plain(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut stage = Stage::set(settings)?;
    let target = Target::start("spin", &[], None)?;
    stage.trace(&[&target])?;
    wait_senders(vec![Sends::to_workers(100, 4_000).start(&target, None)?])?;
    stage.end(50, report)?;
    target.finish()?;
    Ok(())
}

/// More spinning threads than CPUs, with and without an alternate stack, signalled from
/// outside and from inside, as threads and as processes.
fn crowd(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut stage = Stage::set(settings)?;
    let several = Target::start("spin", &["threads=3", "altstack=1"], None)?;
    let shared = Target::start("spin", &["threads=2"], None)?;
    let own = Target::start("spin", &["self_us=700"], None)?;
    let own_shared = Target::start("spin", &["self_us=900", "self_dir=process"], None)?;
    let targets = [&several, &shared, &own, &own_shared];
    stage.trace(&targets)?;
    wait_senders(vec![
        Sends::to_workers(500, 4_000).start(&several, None)?,
        Sends::to_process(500, 4_000).start(&several, None)?,
        Sends::to_process(500, 4_000).start(&shared, None)?,
    ])?;
    stage.end(300, report)?;
    Ok(())
}

/// Threads that sleep, and threads that work and sleep in turn.
fn asleep(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut stage = Stage::set(settings)?;
    let sleep = Target::start("sleep", &["threads=4"], None)?;
    let in_turn = Target::start("onoff", &["threads=2"], None)?;
    stage.trace(&[&sleep, &in_turn])?;
    wait_senders(vec![
        Sends::to_workers(300, 3_000).start(&sleep, None)?,
        Sends::to_process(700, 3_000).start(&sleep, None)?,
        Sends::to_workers(500, 3_000).start(&in_turn, None)?,
    ])?;
    stage.end(100, report)?;
    Ok(())
}

/// Quotas of 10 %, of 50 %, and of 3/100 ms on the parent of a group with four spinners.
struct Quotas {
    tenth: Group,
    half: Group,
    child: Group,
    // Behind its child: fields are dropped in order.
    _parent: Group,
}

impl Quotas {
    fn make(settings: &Settings) -> Result<Self> {
        let h = settings.hierarchy()?;
        let parent = Group::new(&h, Some((3_000, 100_000)))?;
        Ok(Self {
            tenth: Group::new(&h, Some((10_000, 100_000)))?,
            half: Group::new(&h, Some((50_000, 100_000)))?,
            child: parent.child("child", None)?,
            _parent: parent,
        })
    }
}

/// Throttled spinners, signalled by processes that are not throttled.
fn quota_sender_outside(settings: &Settings, report: &mut Report) -> Result<()> {
    let quotas = Quotas::make(settings)?;
    let mut stage = Stage::set(settings)?;
    let tenth = Target::start("spin", &[], Some(&quotas.tenth))?;
    let half = Target::start("spin", &["threads=2"], Some(&quotas.half))?;
    let four = Target::start("spin", &["threads=4"], Some(&quotas.child))?;
    stage.trace(&[&tenth, &half, &four])?;
    wait_senders(vec![
        Sends::to_workers(1_000, 6_000).start(&tenth, None)?,
        Sends::to_process(1_000, 6_000).start(&tenth, None)?,
        Sends::to_workers(1_000, 6_000).start(&half, None)?,
        Sends::to_workers(1_000, 6_000).start(&four, None)?,
        Sends::to_process(5_000, 6_000).start(&four, None)?,
    ])?;
    stage.end(800, report)?;
    drop((tenth, half, four));
    Ok(())
}

/// The same, signalled by a thread of their own and by a process in their group: the senders
/// are throttled with them.
fn quota_sender_inside(settings: &Settings, report: &mut Report) -> Result<()> {
    let quotas = Quotas::make(settings)?;
    let mut stage = Stage::set(settings)?;
    let tenth = Target::start("spin", &["self_us=1000"], Some(&quotas.tenth))?;
    let process = ["threads=2", "self_us=1000", "self_dir=process"];
    let half = Target::start("spin", &process, Some(&quotas.half))?;
    let four = Target::start("spin", &["threads=4"], Some(&quotas.child))?;
    stage.trace(&[&tenth, &half, &four])?;
    let senders: Vec<Actor> = vec![
        Sends::to_workers(1_000, 5_000).start(&tenth, Some(&quotas.tenth))?,
        Sends::to_workers(1_000, 5_000).start(&four, Some(&quotas.child))?,
    ];
    wait_senders(senders)?;
    stage.end(300, report)?;
    drop((tenth, half, four));
    Ok(())
}

/// Sleepers in a group whose quota a spinner uses up: a signal wakes them, and they are
/// throttled in the kernel on their way to it.
fn quota_woken_sleepers(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 100_000)))?;
    let mut stage = Stage::set(settings)?;
    let mixed = Target::start("spin", &["threads=4", "sleepers=3"], Some(&group))?;
    let in_turn = Target::start("onoff", &["threads=2"], Some(&group))?;
    stage.trace(&[&mixed, &in_turn])?;
    wait_senders(vec![
        Sends::to_workers(700, 4_000).start(&mixed, None)?,
        Sends::to_process(3_000, 4_000).start(&mixed, None)?,
        Sends::to_workers(1_100, 4_000).start(&in_turn, None)?,
    ])?;
    stage.end(500, report)?;
    drop((mixed, in_turn));
    Ok(())
}

/// At least 20,000 episodes, 200 of them above 20 ms, none missing or extra (each scene has
/// said so), and the latencies within a microsecond of what two copies differ.
///
/// Whatever stands on a hook runs one after the other. The copies are neighbours there, and
/// ours is the neighbour of one of them and two steps from the other: it is held against its
/// neighbour, as the copies are against each other. Both distances are printed.
fn total_body(settings: &Settings, report: &mut Report) -> Result<()> {
    settings.gohang()?;
    let totals = settings.totals.borrow();
    if totals.scenes == 0 {
        return Err(skip("no agreement test has run"));
    }
    let [to_a, to_b, control] = [0, 1, 2].map(|i| Quantiles::of(&totals.differences[i]));
    report.note(format!(
        "{} scenes, matched {}, above 20 ms {}, missing 0, extra 0",
        totals.scenes, totals.episodes, totals.long
    ));
    report.note(format!("latency, ours to A: {to_a}"));
    report.note(format!("latency, ours to B: {to_b}"));
    report.note(format!("latency, A to B (control): {control}"));
    ensure!(
        totals.episodes >= EPISODES,
        "fewer than {EPISODES} episodes"
    );
    ensure!(
        totals.long >= LONG_EPISODES,
        "fewer than {LONG_EPISODES} above 20 ms"
    );
    ensure!(
        to_a.within(&control) || to_b.within(&control),
        "ours differ from both copies by over a microsecond more than those from each other"
    );
    Ok(())
}
