//! What grows.

use anyhow::{Result, bail};

use super::measure::{Point, watch};
use crate::actor::{Actor, Target};
use crate::group::Group;
use crate::run::Settings;

/// Signals a second in all, where something else than their rate grows.
const RATE: u64 = 2_000;

/// Something that grows.
pub struct Axis {
    /// Its name.
    pub name: &'static str,
    /// What there is of it, for the page.
    pub what: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// From little to much.
    pub sizes: &'static [u64],
    /// The same in the quick form.
    pub quick: &'static [u64],
    start: fn(&Settings, u64) -> Result<Scene>,
}

/// All of them.
pub const AXES: [Axis; 5] = [
    Axis {
        name: "processes",
        what: "traced processes with a thread that sleeps and signals itself; 2,000 signals a \
               second in all",
        unit: "processes",
        sizes: &[1, 20, 200, 2_000],
        quick: &[2, 20],
        start: processes,
    },
    Axis {
        name: "threads",
        what: "threads of one traced process, each of which signals itself; 2,000 signals a \
               second in all",
        unit: "threads",
        sizes: &[1, 10, 100, 1_000, 10_000],
        quick: &[5, 50],
        start: threads,
    },
    Axis {
        name: "groups",
        what: "control groups with a quota of half a CPU each, with a traced process in each; \
               2,000 signals a second in all",
        unit: "groups",
        sizes: &[1, 10, 100, 1_000],
        quick: &[1, 10],
        start: groups,
    },
    Axis {
        name: "timers",
        what: "timers a second, as asked for, that wake threads of a process that is not traced, \
               beside one that is; 1,000 signals a second in all",
        unit: "timers a second",
        sizes: &[500, 5_000, 50_000],
        quick: &[500, 5_000],
        start: timers,
    },
    Axis {
        name: "signals",
        what: "signals a second to one traced thread; the last row is as fast as the machine can",
        unit: "signals a second",
        sizes: &[100, 1_000, 10_000, FASTEST],
        quick: &[1_000, FASTEST],
        start: signals,
    },
];

/// As fast as the machine can: the size becomes what was reached.
const FASTEST: u64 = u64::MAX;

/// Everything that runs.
#[derive(Default)]
struct Scene {
    /// The traced processes.
    pids: Vec<i32>,
    targets: Vec<Target>,
    /// Dropped last.
    groups: Vec<Group>,
}

impl Scene {
    fn add(&mut self, kind: &str, words: &[&str], group: Option<&Group>) -> Result<()> {
        let mut all = vec![kind.to_owned()];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        let actor = Actor::mode("__target", &all, group)?;
        self.pids.push(actor.pid());
        self.targets.push(Target::foreign(actor));
        Ok(())
    }

    /// All are started before the first is waited for.
    fn ready(mut self) -> Result<Self> {
        for target in &mut self.targets {
            target.actor.expect("ready")?;
        }
        Ok(self)
    }

    /// Ends all at once: a worker may sleep for seconds.
    fn end(mut self) {
        for target in &mut self.targets {
            target.actor.kill();
        }
    }
}

/// Measures one size.
///
/// # Errors
/// Something cannot be started, or gohang fails.
pub fn measure(settings: &Settings, axis: &Axis, size: u64, watch_ms: u64) -> Result<Point> {
    let scene = (axis.start)(settings, size)?;
    let mut point = watch(settings, &scene.pids, watch_ms)?;
    scene.end();
    point.size = size;
    if size == FASTEST {
        point.size = point.episodes * 1_000 / watch_ms;
    }
    Ok(point)
}

/// Between two signals of one of so many, us.
fn every(count: u64) -> String {
    format!("every_us={}", count * 1_000_000 / RATE)
}

fn processes(_: &Settings, count: u64) -> Result<Scene> {
    let mut scene = Scene::default();
    for _ in 0..count {
        scene.add("beat", &[&every(count)], None)?;
    }
    scene.ready()
}

fn threads(_: &Settings, count: u64) -> Result<Scene> {
    let mut scene = Scene::default();
    scene.add("beat", &[&format!("threads={count}"), &every(count)], None)?;
    scene.ready()
}

fn groups(settings: &Settings, count: u64) -> Result<Scene> {
    let hierarchy = settings.hierarchy()?;
    let mut scene = Scene::default();
    for _ in 0..count {
        let group = Group::new(&hierarchy, Some((50_000, 100_000)))?;
        scene.add("beat", &[&every(count)], Some(&group))?;
        scene.groups.push(group);
    }
    scene.ready()
}

fn timers(_: &Settings, rate: u64) -> Result<Scene> {
    let mut scene = Scene::default();
    scene.add("beat", &["every_us=1000"], None)?;
    let traced = scene.pids.clone();
    // A thread's timer goes off every 2 ms.
    let threads = rate / 500;
    if threads == 0 {
        bail!("fewer timers than a thread has");
    }
    let words = [&format!("threads={threads}"), "every_us=2000", "send=0"];
    scene.add("beat", &words, None)?;
    scene.pids = traced;
    scene.ready()
}

fn signals(_: &Settings, rate: u64) -> Result<Scene> {
    let mut scene = Scene::default();
    if rate == FASTEST {
        scene.add("raise", &[], None)?;
    } else {
        let every = format!("every_us={}", 1_000_000 / rate);
        scene.add("beat", &[&every], None)?;
    }
    scene.ready()
}
