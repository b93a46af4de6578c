//! Counts of the preemption chain: sends and deliveries of each thread against the
//! reference's of the same run.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::actor::pause_ms;
use crate::diagnosis::{Program, Programs, Setting, Table};
use crate::group::Group;
use crate::reference::{Episode, Outcome};
use crate::run::{Report, Settings, Test, skip};
use crate::stage::Stage;
use crate::sys;

/// Length of the counted window.
const WINDOW_MS: u64 = 2_000;
/// A first send nearer than this to an edge of the window moves the edge: the two recorders'
/// clocks of one send differ by microseconds.
const CLEAR_NS: u64 = 100_000;
/// Edges are looked for no further away than this.
const EDGE_NS: u64 = 200_000_000;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "counts::per_thread",
        body: per_thread,
    }]
}

/// Sends and deliveries of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    sends: u64,
    deliveries: u64,
}

/// What was sent in a window, by thread.
fn count(episodes: &[Episode], window: (u64, u64)) -> BTreeMap<u32, Counts> {
    let mut threads: BTreeMap<u32, Counts> = BTreeMap::new();
    for episode in episodes {
        if !(window.0..window.1).contains(&episode.sent_ns) {
            continue;
        }
        let counts = threads.entry(episode.tid).or_default();
        counts.sends += 1 + episode.coalesced;
        counts.deliveries += u64::from(episode.outcome == Outcome::Delivered);
    }
    threads
}

/// The first time from `at` on that no first send is near.
fn clear_edge(episodes: &[Episode], at: u64) -> Result<u64> {
    let step = usize::try_from(CLEAR_NS)?;
    (at..at + EDGE_NS)
        .step_by(step)
        .find(|edge| {
            episodes
                .iter()
                .all(|e| e.sent_ns.abs_diff(*edge) > CLEAR_NS)
        })
        .context("signals come without a pause: the window has no edge")
}

/// A spinning program and one that collects, of every version.
fn per_thread(settings: &Settings, report: &mut Report) -> Result<()> {
    let table = Table::read()?;
    let root = settings.go_root.clone();
    let mut programs = Programs::new(root.ok_or_else(|| skip("no --go-root given"))?);
    let versions = if settings.full {
        &table.versions
    } else {
        &table.short_versions
    };
    let group = Group::new(&settings.hierarchy()?, None)?;
    for version in versions {
        let built = programs.get(Program::Failures, version, None)?;
        for way in ["spin", "gc"] {
            let mut actor = built.start(&[way.to_owned()], &Setting::default(), &group)?;
            let pid = actor.pid();
            let mut stage = Stage::set(settings)?;
            stage.count(pid);
            stage.trace_with(&["-p", &pid.to_string()])?;
            let begin = sys::mono_ns();
            pause_ms(WINDOW_MS);
            let end = sys::mono_ns();
            // Where an edge may still move to is recorded too.
            pause_ms(EDGE_NS / 1_000_000);
            let mut notes = Report::default();
            let scene = stage.end(0, &mut notes)?;
            actor.kill();
            let window = (
                clear_edge(&scene.reference, begin)?,
                clear_edge(&scene.reference, end)?,
            );
            let theirs = count(&scene.reference, window);
            let Some(stream) = &scene.stream else {
                report.note("control only: no gohang given");
                continue;
            };
            let ours: Vec<Episode> = stream
                .lines
                .iter()
                .map(crate::stream::Line::episode)
                .collect::<Result<_>>()?;
            let ours = count(&ours, window);
            let line = theirs
                .iter()
                .map(|(tid, n)| format!("{tid}: {}/{}", n.sends, n.deliveries))
                .collect::<Vec<_>>();
            report.note(format!(
                "go{version} {way}: sends/deliveries by thread: {}",
                line.join(", ")
            ));
            ensure!(
                ours == theirs,
                "go{version} {way}: gohang counts {ours:?}, the reference {theirs:?}"
            );
            let sends: u64 = theirs.values().map(|counts| counts.sends).sum();
            ensure!(sends >= 50, "go{version} {way}: only {sends} sends");
            let process = stream.process(u32::try_from(pid)?)?;
            chain(&process["chain"], &scene.reference, report)
                .with_context(|| format!("go{version} {way}"))?;
        }
    }
    Ok(())
}

/// The chain of requests: what it says of sends and deliveries in the whole trace, and how
/// much of the rest has a reason.
fn chain(chain: &Value, reference: &[Episode], report: &mut Report) -> Result<()> {
    let of = |key: &str| chain[key].as_u64().unwrap_or(0);
    if of("requests") == 0 {
        report.note("  no chain of requests");
        return Ok(());
    }
    let unexplained = [of("unexplained_sends"), of("unexplained_yields")];
    report.note(format!(
        "  {} requests, {} sent, {} delivered, {} yielded; without a reason {unexplained:?}; {}",
        of("requests"),
        of("sent"),
        of("delivered"),
        of("yielded"),
        chain["ends"]
    ));
    let known: u64 = reference.iter().map(|e| 1 + e.coalesced).sum();
    // The reference has recorded for longer.
    ensure!(
        of("sent") <= known,
        "{} sent, the reference has {known}",
        of("sent")
    );
    ensure!(
        unexplained[0] * 100 <= of("requests") && unexplained[1] * 100 <= of("delivered"),
        "a hundredth or more is without a reason"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Directed;

    fn episode(tid: u32, sent_ns: u64, coalesced: u64, outcome: Outcome) -> Episode {
        Episode {
            pid: 1,
            tid,
            directed: Directed::Thread,
            sender_pid: Some(1),
            sent_ns,
            end_ns: sent_ns + 5,
            coalesced,
            outcome,
        }
    }

    #[test]
    fn sends_count_with_those_coalesced_and_deliveries_alone() {
        let episodes = [
            episode(2, 5, 0, Outcome::Delivered),
            episode(2, 10, 3, Outcome::Delivered),
            episode(2, 11, 0, Outcome::PendingAtEnd),
            episode(3, 19, 0, Outcome::Delivered),
            episode(3, 20, 0, Outcome::Delivered),
        ];
        let counts = count(&episodes, (10, 20));
        let of = |sends, deliveries| Counts { sends, deliveries };
        assert_eq!(counts, BTreeMap::from([(2, of(5, 1)), (3, of(1, 1))]));
    }

    #[test]
    fn an_edge_lies_where_nothing_is_sent() {
        let episodes = [episode(2, 1_000_000, 0, Outcome::Delivered)];
        assert_eq!(clear_edge(&episodes, 500_000).ok(), Some(500_000));
        let edge = clear_edge(&episodes, 950_000).expect("there is one");
        assert_eq!(edge, 1_150_000);
    }
}
