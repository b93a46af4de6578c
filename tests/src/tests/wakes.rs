//! Threads that are woken just as they go to sleep.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::actor::{self, Target};
use crate::product::Gohang;
use crate::run::{Report, Settings, Test, skip};
use crate::stream::{check_impossible, check_loss};
use crate::sys;

use super::life::eventually;

/// So many sleeps are looked at: where clocks were read too early, some 10 of them showed it.
const SLEEPS: u64 = 50_000;
/// How long they may take, ms: some 3 s on an idle machine.
const LIMIT_MS: u64 = 60_000;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "wakes::as_it_goes_to_sleep",
        body: as_it_goes_to_sleep,
    }]
}

/// How often the threads have gone to sleep, by `/proc`.
fn sleeps(target: &Target) -> Result<u64> {
    let one = |tid: &i32| {
        let path = format!("/proc/{}/task/{tid}/status", target.pid);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .with_context(|| format!("{path} counts no switches"))?;
        Ok(count.trim().parse::<u64>()?)
    };
    target.workers.iter().map(one).sum()
}

/// A thread that another CPU wakes just as it leaves its own: nobody is woken before it sleeps.
fn as_it_goes_to_sleep(settings: &Settings, report: &mut Report) -> Result<()> {
    let cpus = sys::online_cpus()?;
    if cpus.len() < 2 {
        return Err(skip("one CPU: nobody is woken from another"));
    }
    let mut target = Target::start("rouse", &["threads=2"], None)?;
    target.workers = actor::workers(target.pid)?;
    ensure!(target.workers.len() == 2, "{:?}", target.workers);
    for (tid, cpu) in target.workers.iter().zip(&cpus) {
        sys::pin_to(*tid, &[*cpu]);
    }
    let pid = target.pid.to_string();
    let args = ["trace", "-o", "json", "--non-go", "-p", &pid].map(str::to_owned);
    let mut gohang = Gohang::spawn(settings.gohang()?, &args)?;
    gohang.wait_ready()?;
    let before = sleeps(&target)?;
    let wanted = if settings.full { 5 * SLEEPS } else { SLEEPS };
    let enough = eventually(LIMIT_MS, || Ok(sleeps(&target)? - before >= wanted))?;
    let slept = sleeps(&target)? - before;
    let end = gohang.interrupt()?;
    let document: Value = serde_json::from_slice(&end.stdout).context("not one document")?;
    report.note(format!(
        "{slept} sleeps; impossible: {}",
        document["impossible"]
    ));
    ensure!(enough, "fewer than {wanted} sleeps in {LIMIT_MS} ms");
    check_loss(&document)?;
    check_impossible(&document)?;
    target.finish()?;
    Ok(())
}
