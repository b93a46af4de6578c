//! The reference against itself and against the targets' own counts.

use anyhow::{Result, ensure};

use crate::actor::{Sends, Target};
use crate::reference::Outcome;
use crate::run::{Report, Settings, Test};
use crate::stage::{Stage, wait_senders};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "reference::control",
        body: control,
    }]
}

/// The least number of episodes for the control.
const EPISODES: u64 = 20_000;

/// Two copies on at least 20,000 episodes: the same episodes, and as many as the handler says.
fn control(_: &Settings, report: &mut Report) -> Result<()> {
    let alone = Settings::default();
    let mut stage = Stage::set(&alone)?;
    let target = Target::start("spin", &[], None)?;
    stage.trace(&[&target])?;
    stage.watch(target.pid);
    let mut sent = 0;
    // A busy machine delivers fewer: as many rounds as it takes, but not for ever.
    for _ in 0..10 {
        sent += wait_senders(vec![Sends::to_workers(100, 2_000).start(&target, None)?])?;
        if stage.deliveries() > EPISODES {
            break;
        }
    }
    let scene = stage.end(50, report)?;
    let handled = target.finish()?;
    let delivered = scene
        .reference
        .iter()
        .filter(|e| e.outcome == Outcome::Delivered);
    let (delivered, coalesced) = delivered.fold((0, 0), |(n, c), e| (n + 1, c + e.coalesced));
    report.note(format!(
        "sent {sent}, delivered {delivered}, coalesced {coalesced}, handler ran {handled} times"
    ));
    ensure!(
        delivered == handled,
        "{delivered} deliveries recorded, {handled} handled"
    );
    ensure!(
        delivered + coalesced == sent,
        "{sent} sent, {delivered} and {coalesced} recorded"
    );
    ensure!(delivered >= EPISODES, "only {delivered} episodes");
    Ok(())
}
