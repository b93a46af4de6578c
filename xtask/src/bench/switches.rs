//! What a context switch costs with nothing, with empty programs and with
//! gohang's attached.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};

use super::bpf::{self, Info};
use super::crowd::Crowd;
use super::floor::Floor;
use super::product::Product;
use super::set::Set;
use super::worker::Worker;
use super::{Fact, btf};

/// Switches a batch, and batches a figure: short ones, as the host leaves few long spells alone.
const SWITCHES: u64 = 400;
const BATCHES: usize = 25;

/// Batches while the kernel's statistics are on.
const COUNTED: usize = 500;

/// Runs from which on their mean says something.
const ENOUGH: u64 = 10_000;

/// The hook of the switch itself.
const SWITCH: &str = "sched_switch";

/// Cost a switch, ns, by setting.
#[derive(Debug)]
pub struct Switches {
    /// With nothing attached.
    pub nothing: Floor,
    /// On top of it: setting and figures.
    pub extra: Vec<(&'static str, Floor)>,
    /// Cost with gohang's whole set over cost with the whole empty set, both
    /// less that of nothing: of the deciles.
    pub whole_ratio: f64,
    /// The same for the switch's program alone.
    pub switch_ratio: f64,
    /// A program: hook, what the kernel says of it, and ns a run for switches
    /// of a process that is not traced and of one that is.
    pub programs: Vec<Fact>,
    /// ns a run of the empty programs, by hook.
    pub empty_ns: BTreeMap<String, f64>,
}

/// The settings in the order of a round.
const SETTINGS: [&str; 6] = [
    "empty `sched_switch`",
    "gohang's `sched_switch`",
    "the whole set, empty",
    "the whole set of gohang, the process not traced",
    "gohang's `sched_switch`, the process traced",
    "the whole set of gohang, the process traced",
];

/// Measures in `rounds` alternating rounds on `cpu`.
///
/// # Errors
/// Something cannot be started, loaded or attached.
pub fn measure(product: &Product, cpu: usize, rounds: usize) -> Result<Switches> {
    let hooks = btf::tracepoints()?;
    let mut ping_pong = Worker::start("ping-pong", cpu)?;
    let foreign = Crowd::start(1)?;
    let other = foreign.pids().next().unwrap_or_default();
    let trace = |pid: u32| {
        let tracing = product.trace(&["--non-go", "--pid", &pid.to_string()])?;
        Set::of_gohang(tracing, &hooks)
    };
    let untraced = trace(other)?;
    let traced = trace(ping_pong.pid())?;
    let empty = Set::empty_like(&untraced, &hooks)?;
    let attach = |setting: usize| -> Result<Vec<OwnedFd>> {
        match setting {
            0 => empty.attach(Some(SWITCH)),
            1 => untraced.attach(Some(SWITCH)),
            2 => empty.attach(None),
            3 => untraced.attach(None),
            4 => traced.attach(Some(SWITCH)),
            _ => traced.attach(None),
        }
    };

    let mut nothing = Vec::new();
    let mut all = [const { Vec::new() }; SETTINGS.len()];
    for round in 0..=rounds {
        let base = figure(&mut ping_pong)?;
        let mut figures = [0.0; SETTINGS.len()];
        for step in 0..SETTINGS.len() {
            // Another order every round: no setting always follows the same one.
            let setting = (step + round) % SETTINGS.len();
            let links = attach(setting)?;
            figures[setting] = figure(&mut ping_pong)?;
            drop(links);
        }
        // The first round warms up.
        if round > 0 {
            nothing.push(base);
            for (all, figure) in all.iter_mut().zip(figures) {
                all.push(figure);
            }
        }
    }
    let floor = |figures: &[f64]| Floor::of(figures).context("too few rounds");
    let nothing = floor(&nothing)?;
    let mut extra = Vec::new();
    for (title, figures) in SETTINGS.into_iter().zip(&all) {
        extra.push((title, floor(figures)?.above(&nothing)));
    }
    let ratio = |ours: usize, empty: usize| extra[ours].1.decile / extra[empty].1.decile;

    let statistics = bpf::enable_statistics()?;
    let empty_ns = runs(&empty, &mut ping_pong)?;
    let untraced_ns = runs(&untraced, &mut ping_pong)?;
    let traced_ns = runs(&traced, &mut ping_pong)?;
    drop(statistics);
    let mut programs = Vec::new();
    for program in &untraced.0 {
        let hook = &program.hook;
        programs.push(Fact {
            hook: hook.clone(),
            info: bpf::info(&program.fd)?,
            untraced_ns: untraced_ns.get(hook).copied(),
            traced_ns: traced_ns.get(hook).copied(),
        });
    }
    Ok(Switches {
        nothing,
        whole_ratio: ratio(3, 2),
        switch_ratio: ratio(1, 0),
        extra,
        programs,
        empty_ns,
    })
}

fn figure(ping_pong: &mut Worker) -> Result<f64> {
    ping_pong.cheapest(BATCHES, SWITCHES)
}

/// ns a run, by hook, while the ping-pong switches; hooks that it reached often
/// enough to tell.
fn runs(set: &Set, ping_pong: &mut Worker) -> Result<BTreeMap<String, f64>> {
    let links = set.attach(None)?;
    let before = set.spent()?;
    for _ in 0..COUNTED {
        ping_pong.run(SWITCHES)?;
    }
    let after = set.spent()?;
    drop(links);
    let grown = after.into_iter().filter_map(|(hook, (runs, ns))| {
        let (runs_before, ns_before) = before.get(hook)?;
        let (runs, ns) = (runs - runs_before, ns - ns_before);
        (runs >= ENOUGH).then(|| (hook.to_owned(), ns as f64 / runs as f64))
    });
    Ok(grown.collect())
}

/// Of all programs together.
pub fn total(programs: &[Fact], figure: fn(&Info) -> u64) -> u64 {
    programs.iter().map(|program| figure(&program.info)).sum()
}
