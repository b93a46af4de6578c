//! When the verdict is there: soon after the decision, and before anything is ended.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::go_test::{Package, SOURCES};
use crate::go::VERSIONS;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test};
use crate::wrapped::{self, LIMIT, command, words};

/// The most that may pass between decision and verdict.
const IN_TIME: u64 = 10_000_000_000;
/// Times of files are those of the last tick (10 ms at most).
const TICK: u64 = 10_000_000;
/// How often it is looked whether the verdict has changed.
const LOOK: Duration = Duration::from_millis(2);

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "run::verdict_in_time",
        body: verdict_in_time,
    }]
}

/// The verdict's file, as it was at some time.
struct Written {
    /// When it was written, nanoseconds since 1970.
    at_ns: u64,
    text: String,
}

/// Every state in which the verdict is seen in `folder` until `done`.
fn watch(folder: &Path, done: &AtomicBool) -> Vec<Written> {
    let mut all = Vec::new();
    let mut last = 0;
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths = files.map(|file| file.path());
        let path = paths.find(|path| path.to_string_lossy().ends_with("-VERDICT.md"));
        // Whole or not at all: another state is another file, in place of the last.
        let Some(found) = path.and_then(|path| std::fs::File::open(path).ok()) else {
            continue;
        };
        if let Ok(about) = found.metadata()
            && about.ino() != last
            && let Ok(text) = std::io::read_to_string(found)
        {
            last = about.ino();
            let seconds = u64::try_from(about.mtime()).unwrap_or(0);
            let at_ns = seconds * 1_000_000_000 + u64::try_from(about.mtime_nsec()).unwrap_or(0);
            all.push(Written { at_ns, text });
        }
    }
    all
}

/// A member of the bundle in `folder`.
fn member(settings: &Settings, folder: &Path, name: &str) -> Result<Value> {
    let files = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let bundle = files.into_iter().find(|path| {
        let path = path.to_string_lossy();
        path.ends_with(".tar.zst")
    });
    let opened = Command::new(settings.gohang()?)
        .args(["open", "--member", name])
        .arg(bundle.context("no bundle")?)
        .output()?;
    ensure!(opened.status.success(), "{}", opened.status);
    Ok(serde_json::from_slice(&opened.stdout)?)
}

/// Runs a command that hangs and does not care for SIGTERM and SIGQUIT, and compares the times
/// of its verdict with those of the steps.
fn check(
    settings: &Settings,
    what: &str,
    lift: &str,
    run: impl FnOnce(&str) -> Result<Command>,
    report: &mut Report,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut run = run(folder.path().to_str().context("not UTF-8")?)?;
    let done = AtomicBool::new(false);
    let (end, written) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(folder.path(), &done));
        let end = Gohang::spawn_command(&mut run).and_then(|child| child.wait(LIMIT));
        done.store(true, Ordering::Relaxed);
        (end, watcher.join())
    });
    let end = end?;
    let written = written.map_err(|_| anyhow::anyhow!("the watcher panicked"))?;
    wrapped::nothing_left()?;
    ensure!(
        end.status.code() == Some(137),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    let evidence = member(settings, folder.path(), "evidence.json")?;
    let number = |value: &Value| value.as_u64().context("no number");
    let decided_ns = number(&evidence["started"]["wall_ns"])? + number(&evidence["decided_ns"])?;
    // The timeline counts from the start.
    let timeline = member(settings, folder.path(), "timeline.json")?;
    let events = timeline["events"].as_array().context("no events")?;
    let at = |what: &str, detail: &str| -> Result<u64> {
        let mut events = events.iter();
        let event = events.find(|event| {
            let detailed = event["detail"].as_str().unwrap_or_default();
            event["what"] == what && detailed.starts_with(detail)
        });
        number(&event.with_context(|| format!("no {what} {detail}: {timeline}"))?["at_ns"])
    };
    let started_ns = decided_ns - at("decided", "")?;
    let term_ns = started_ns + at("step", "terminate ")?;
    let lift_ns = started_ns + at("step", "lift done")?;
    let after = |ns: u64| ns.saturating_sub(decided_ns) / 1_000_000;
    let times: Vec<u64> = written.iter().map(|one| after(one.at_ns)).collect();
    report.note(format!(
        "{what}: decided, lifting after {} ms, SIGTERM after {} ms, the verdict was written after \
         {times:?} ms",
        after(lift_ns),
        after(term_ns)
    ));
    let first = written.first().context("no verdict was seen")?;
    let is_late = |one: &Written| one.at_ns > decided_ns + IN_TIME || one.at_ns > term_ns;
    ensure!(!is_late(first), "{what}: the first one is late: {times:?}");
    ensure!(first.at_ns + TICK >= decided_ns, "{what}: {times:?}");
    // What is there when SIGTERM is sent has what the lifting showed.
    let before = written.iter().rfind(|one| one.at_ns <= term_ns);
    let text = &before.context("none before SIGTERM")?.text;
    ensure!(text.starts_with("verdict: "), "{text}");
    ensure!(text.contains(lift), "no {lift:?}: {text}");
    let with_lift = written.iter().find(|one| one.text.contains(lift));
    ensure!(
        !with_lift.is_none_or(is_late),
        "{what}: with the lifting it is late: {times:?}"
    );
    Ok(())
}

/// What is wanted of a run, with the least of time for each step.
const OPTIONS: [&str; 6] = ["--timeout", "2s", "--lift-quota", "2s", "--grace", "1s"];
const QUOTA: [&str; 2] = ["--cpu-quota", "10%"];

fn verdict_in_time(settings: &Settings, report: &mut Report) -> Result<()> {
    settings.hierarchy()?;
    let run = |folder: &str, more: &[&str], command: &[String]| {
        let all = ["--bundle-dir", folder];
        let options = [&all[..], &OPTIONS, more].concat();
        wrapped::wrapped(settings, &options, command)
    };
    let stubborn = command("stubborn", &[])?;
    let no = "it did not get on";
    let sleeps = |folder: &str| run(folder, &QUOTA, &stubborn);
    check(settings, "it sleeps", no, sleeps, report)?;
    if !settings.full {
        return Ok(());
    }
    // With more than a tenth of a CPU it would get on.
    let counts = "trap '' TERM QUIT; i=0; \
                  while :; do i=$((i+1)); [ $((i % 300000)) = 0 ] && echo step; done";
    let counts = words(&["sh", "-c", counts]);
    let counts = |folder: &str| run(folder, &["--cpu-quota", "2%"], &counts);
    check(settings, "it counts", "it got on after", counts, report)?;
    // A Go program that takes SIGQUIT for something else is waited for in vain.
    let package = Package::of(settings, VERSIONS[2], &SOURCES)?;
    let mut build = Command::new(package.root.join("bin/go"));
    let binary = package.folder().join("hang.test");
    build.args(["test", "-c", "-o"]).arg(&binary).arg(".");
    let built = package.go(&mut build).status()?;
    ensure!(built.success(), "it does not build: {built}");
    let waits = words(&[binary.to_str().context("not UTF-8")?, "-test.v"]);
    let waits = |folder: &str| {
        let mut run = run(
            folder,
            &[&QUOTA[..], &["--dump-time", "3s"]].concat(),
            &waits,
        )?;
        run.env("HANG", "stubborn");
        Ok(run)
    };
    check(settings, "it takes signals", no, waits, report)
}
