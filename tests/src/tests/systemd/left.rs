//! What a gohang that was killed leaves in scopes, and who ends it.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::scope::{as_before, expect_code};
use crate::product;
use crate::run::{Report, Settings, Test};
use crate::sys;
use crate::systemd::{Manager, machine};
use crate::wrapped::{self, LIMIT, command, is_alive, words, wrapped};

/// The tests of this file.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "systemd::killed_then_clean",
            body: killed_then_clean,
        },
        Test {
            name: "systemd::killed_then_run",
            body: killed_then_run,
        },
    ]
}

/// Starts a run of something that heeds no SIGTERM, and kills gohang `after_us`.
fn killed(command: &mut std::process::Command, after_us: u64) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    sys::sleep_ns(after_us * 1_000);
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// The scopes of runs that are left, and their processes.
fn left(manager: Manager, before: &[String]) -> Result<(Vec<String>, Vec<i32>)> {
    let mut scopes = manager.scopes_and_failures()?;
    scopes.retain(|name| !before.contains(name));
    let mut pids = Vec::new();
    for scope in &scopes {
        // One that is ending has no group any more.
        let Ok(group) = manager.group(scope) else {
            continue;
        };
        let inside = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        pids.extend(inside.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    Ok((scopes, pids))
}

/// `gohang clean` ends the scope, whatever its name, at once, though nothing in it heeds SIGTERM.
fn killed_then_clean(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let before = manager.scopes_and_failures()?;
    for named in [&[][..], &["--unit", "gohang-test-left"]] {
        killed(
            &mut wrapped(settings, named, &command("stubborn", &[])?)?,
            800_000,
        )?;
        let (scopes, pids) = left(manager, &before)?;
        ensure!(
            scopes.len() == 1 && pids.len() == 1,
            "left are {scopes:?} with {pids:?}"
        );
        let begin = sys::mono_ns();
        let end = product::run(settings.gohang()?, &["clean"], LIMIT)?;
        let took = (sys::mono_ns() - begin) / 1_000_000;
        let text = String::from_utf8_lossy(&end.stdout).trim().to_owned();
        report.note(format!("{took} ms: {text}"));
        end.expect_success()?;
        ensure!(
            text.contains(&scopes[0]) && text.contains("gone now"),
            "{text}"
        );
        // What it says has happened by then.
        let (scopes, _) = left(manager, &before)?;
        ensure!(scopes.is_empty(), "{scopes:?} are left");
        ensure!(!pids.iter().any(|&pid| is_alive(pid)), "{pids:?} live on");
        let end = product::run(settings.gohang()?, &["clean"], LIMIT)?;
        ensure!(
            end.status.success() && end.stdout == b"nothing was left behind\n",
            "{}",
            String::from_utf8_lossy(&end.stdout)
        );
        as_before(manager, &before)?;
    }
    Ok(())
}

/// Killed at random moments, the next run of the same name ends what is left and has its scope.
fn killed_then_run(settings: &Settings, report: &mut Report) -> Result<()> {
    let manager = machine()?;
    let before = manager.scopes_and_failures()?;
    let named = ["--unit", "gohang-test-again", "--tasks-max", "50"];
    let rounds = if settings.full { 20 } else { 6 };
    let mut state = sys::mono_ns() | 1;
    let (mut all, mut busy) = (0, 0);
    for round in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Half of them while it starts.
        let most = if round % 2 == 0 { 60_000 } else { 400_000 };
        let after_us = state % most;
        killed(
            &mut wrapped(settings, &named, &command("stubborn", &[])?)?,
            after_us,
        )?;
        let (scopes, pids) = left(manager, &before)?;
        all += scopes.len();
        busy += pids.len();
        let script = words(&["sh", "-c", "cat /proc/self/cgroup; exit 4"]);
        let end = wrapped::run(settings, &named, &script)
            .with_context(|| format!("after a kill at {after_us} us"))?;
        expect_code(&end, 4)?;
        let place = String::from_utf8_lossy(&end.stdout);
        ensure!(
            place.trim().ends_with("/gohang-test-again.scope"),
            "after a kill at {after_us} us it runs in {place}: {}",
            end.stderr_line()
        );
        ensure!(
            !pids.iter().any(|&pid| is_alive(pid)),
            "killed at {after_us} us, {pids:?} live on"
        );
        as_before(manager, &before)?;
    }
    report.note(format!(
        "{rounds} kills left {all} scopes and {busy} processes; all gone"
    ));
    ensure!(busy >= 2, "the kills came too early to prove anything");
    Ok(())
}
