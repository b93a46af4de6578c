//! gohang, bpftrace, perf and runqlat beside each other: what each costs a switch, an episode
//! and a Go service, and what it takes itself, in alternating rounds of one run.

mod counts;
mod figures;
mod page;
mod plot;
mod setting;
mod tool;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::chain_cost::{build_service, work::WORKS};
use super::crowd::Crowd;
use super::paired::GO;
use super::product::Product;
use super::set::Set;
use super::worker::Worker;
use super::{btf, build, results};
use crate::go;
use crate::process::{kernel_release, output};
use crate::toolchain::is_root;
use crate::workspace::Workspace;

use self::counts::Counts;
use self::figures::{Run, Runs};
use self::setting::Stage;

pub use self::figures::Document;
#[cfg(test)]
pub use self::page::tests;
pub use self::page::{costs, ratios};
pub use self::setting::Setting;

/// Where the page, its picture and their figures go, relative to the workspace.
const PAGE: &str = "docs/cost-peers.md";
const PICTURE: &str = "docs/cost-peers.svg";
const FIGURES: &str = "docs/cost-peers.json";

/// Rounds of the quick form.
const QUICK: u16 = 3;

/// Switches a batch, and batches a figure: short ones, so that some have the core for themselves.
const SWITCHES: u64 = 400;
const SWITCH_BATCHES: usize = 250;
/// The same of signals.
const SIGNALS: u64 = 400;
const SIGNAL_BATCHES: u64 = 100;
/// Between two batches of signals: who reads of them in user space shall keep up.
const DRAIN: Duration = Duration::from_millis(10);

/// What to measure, and with what.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Alternating rounds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..=1000))]
    rounds: u16,
    /// Three rounds, and write no file.
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// Measure this gohang instead of a release build, and write no file.
    #[arg(long, value_name = "PATH")]
    gohang: Option<PathBuf>,
    /// A folder of Go tool chains instead of the one in the target folder.
    #[arg(long, value_name = "DIR")]
    go_root: Option<PathBuf>,
    /// The CPU of switches and signals.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// Write the page and its picture from the figures that are there, and measure nothing.
    #[arg(long, conflicts_with_all = ["rounds", "quick", "gohang", "go_root", "cpu"])]
    render: bool,
}

/// Measures, prints, and writes the page.
///
/// # Errors
/// Not root, or something cannot be started, attached or written.
pub fn peers(options: &Options) -> Result<()> {
    let workspace = Workspace::find()?;
    if options.render {
        return write_page(&workspace.root, &read(&workspace.root)?);
    }
    if !is_root()? {
        bail!("measuring attaches kernel programs: run it as root");
    }
    let document = measure(&workspace, options)?;
    print!("{}", page::page(&document)?);
    if options.gohang.is_none() && !options.quick {
        let text = serde_json::to_string_pretty(&document).context("the figures")?;
        write(&workspace.root, FIGURES, &(text + "\n"))?;
        write_page(&workspace.root, &document)?;
    }
    Ok(())
}

/// The figures that are kept.
///
/// # Errors
/// There are none, or they are of another form.
pub fn read(root: &Path) -> Result<Document> {
    let path = root.join(FIGURES);
    let text =
        fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Writes the page, its picture, and the results' page, which has the main figures too.
fn write_page(root: &Path, document: &Document) -> Result<()> {
    write(root, PAGE, &page::page(document)?)?;
    write(root, PICTURE, &plot::costs(document))?;
    results::write_page(root)
}

fn write(root: &Path, file: &str, text: &str) -> Result<()> {
    let path = root.join(file);
    fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    eprintln!("written to {file}");
    Ok(())
}

fn measure(workspace: &Workspace, options: &Options) -> Result<Document> {
    let go_root = match &options.go_root {
        Some(root) => root.clone(),
        None => go::provide(&workspace.target_dir)?,
    };
    let service = build_service(workspace, &go_root)?;
    let product = Product {
        gohang: match &options.gohang {
            Some(path) => path.clone(),
            None => build(workspace)?,
        },
        object: None,
    };
    let (stage, missing) = {
        let hooks = btf::tracepoints()?;
        let crowd = Crowd::start(1)?;
        let pid = crowd.pids().next().unwrap_or_default().to_string();
        let set = Set::of_gohang(product.trace(&["--non-go", "--pid", &pid])?, &hooks)?;
        let empty = Set::empty_like(&set, &hooks)?;
        Stage::set(product, empty, &workspace.target_dir)?
    };
    let rounds = if options.quick { QUICK } else { options.rounds };
    let works = Works {
        traced: Worker::start("ping-pong", options.cpu)?,
        untraced: Worker::start("ping-pong", options.cpu)?,
        signalled: Worker::start("signals", options.cpu)?,
        service: &service,
    };
    Ok(Document {
        date: output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?,
        kernel: kernel_release()?,
        cpus: thread::available_parallelism()?.get(),
        go: GO.to_owned(),
        versions: stage.versions()?,
        missing,
        made: Counts {
            sends: SIGNALS * SIGNAL_BATCHES,
            deliveries: SIGNALS * SIGNAL_BATCHES,
            pairs: SIGNALS * SIGNAL_BATCHES,
        },
        settings: alternate(&stage, works, rounds.into())?,
    })
}

/// What is measured.
struct Works<'a> {
    traced: Worker,
    untraced: Worker,
    signalled: Worker,
    service: &'a Path,
}

/// All settings in each round, each round in another order.
fn alternate(stage: &Stage, mut works: Works<'_>, rounds: usize) -> Result<Vec<Runs>> {
    let settings = stage.settings();
    let mut all: Vec<Runs> = settings.iter().map(|setting| Runs::of(*setting)).collect();
    for round in 0..=rounds {
        if round > 0 {
            eprintln!("round {round} of {rounds}");
        }
        for step in 0..settings.len() {
            // Neither does a setting always follow the same one.
            let turn = (step + round) % settings.len();
            let at = if round % 2 == 0 {
                turn
            } else {
                settings.len() - 1 - turn
            };
            let run = works.run(stage, settings[at])?;
            // The first round warms up.
            if round > 0 {
                all[at].runs.push(run);
            }
        }
    }
    Ok(all)
}

impl Works<'_> {
    fn run(&mut self, stage: &Stage, setting: Setting) -> Result<Run> {
        let service = WORKS[0].start(self.service, &["seconds=1"])?;
        let signalled = self.signalled.pid();
        let pids = [self.traced.pid(), signalled, service.pid()];
        let attached = stage.attach(setting, pids)?;
        let mut episode_ns = f64::INFINITY;
        for _ in 0..SIGNAL_BATCHES {
            episode_ns = episode_ns.min(self.signalled.run(SIGNALS)?);
            thread::sleep(DRAIN);
        }
        let traced_ns = self.traced.cheapest(SWITCH_BATCHES, SWITCHES)?;
        let untraced_ns = self.untraced.cheapest(SWITCH_BATCHES, SWITCHES)?;
        let figures = service.finish()?;
        let [requests, _, p99_us] = figures[..] else {
            bail!("the service has other figures");
        };
        let (takes, told) = stage.detach(setting, attached, signalled)?;
        Ok(Run {
            untraced_ns,
            traced_ns,
            episode_ns,
            requests,
            p99_us,
            takes,
            told,
        })
    }
}

#[cfg(test)]
mod committed {
    use super::*;

    #[test]
    fn the_committed_page_and_picture_are_those_of_the_committed_figures() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let document = read(&root).expect("figures");
        let page = page::page(&document).expect("a page");
        for (file, made) in [(PAGE, page), (PICTURE, plot::costs(&document))] {
            let committed = fs::read_to_string(root.join(file)).expect(file);
            assert!(
                committed == made,
                "{file} is another: write it anew with `cargo xtask bench peers --render`"
            );
        }
    }
}
