//! What a gohang that was killed leaves behind, and who removes it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::actor::pause_ms;
use crate::product;
use crate::run::{Report, Settings, Test};
use crate::sys;
use crate::wrapped::{self, LIMIT, command, groups, is_alive, words, wrapped};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "run::killed_then_run",
            body: killed_then_run,
        },
        Test {
            name: "run::killed_while_it_ends_a_hang",
            body: killed_while_it_ends_a_hang,
        },
        Test {
            name: "run::killed_then_clean",
            body: killed_then_clean,
        },
        Test {
            name: "run::clean_leaves_the_living",
            body: clean_leaves_the_living,
        },
    ]
}

/// What a run is started with.
const FEW_TASKS: [&str; 2] = ["--tasks-max", "50"];

/// Starts a run with daemons, kills gohang after `after_us`; the daemons that were there.
fn killed(settings: &Settings, options: &[&str], after_us: u64) -> Result<Vec<i32>> {
    let mut command = command("daemon", &["n=2"])?;
    // The command itself goes on as well.
    command.splice(0..0, words(&["sh", "-c", "\"$@\"; sleep 1000", "sh"]));
    let mut child = wrapped(settings, options, &command)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    sys::sleep_ns(after_us * 1000);
    child.kill()?;
    child.wait()?;
    let mut out = child.stdout.take().context("no pipe")?;
    // Its daemons have no streams, but `sleep` does: what is there is all that is read.
    let mut text = vec![0u8; 4096];
    // SAFETY: the descriptor is open and its flags are numbers.
    unsafe {
        libc::fcntl(
            std::os::fd::AsRawFd::as_raw_fd(&out),
            libc::F_SETFL,
            libc::O_NONBLOCK,
        );
    }
    let n = std::io::Read::read(&mut out, &mut text).unwrap_or(0);
    Ok(String::from_utf8_lossy(&text[..n])
        .lines()
        .filter_map(|line| line.strip_prefix("daemon ")?.parse().ok())
        .collect())
}

/// At random moments, each followed by another run, which clears up before it begins, or by
/// `gohang clean`.
fn killed_then_run(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut state = sys::mono_ns() | 1;
    let (mut left_groups, mut all) = (0, 0);
    for round in 0..20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The first half while it starts, the others when it runs.
        let after_us = state % if round < 10 { 30_000 } else { 300_000 };
        let daemons = killed(settings, &FEW_TASKS, after_us)?;
        all += daemons.len();
        left_groups += groups("gohang-run-")?.len();
        if round % 2 == 0 {
            gone_with_the_next(settings, &daemons, after_us)?;
        } else {
            gone_when_cleaned(settings, &daemons, after_us)?;
        }
    }
    report.note(format!(
        "20 kills left {left_groups} groups and {all} daemons; all gone"
    ));
    ensure!(
        left_groups >= 10 && all > 4,
        "the kills came too early to prove anything"
    );
    Ok(())
}

/// Runs another command after a kill at `after_us`: it ends what the killed one left.
fn gone_with_the_next(settings: &Settings, daemons: &[i32], after_us: u64) -> Result<()> {
    let end = wrapped::run(settings, &[], &words(&["sh", "-c", "exit 4"]))
        .with_context(|| format!("after a kill at {after_us} us"))?;
    ensure!(
        end.status.code() == Some(4),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    ensure!(
        !daemons.iter().any(|&pid| is_alive(pid)),
        "killed at {after_us} us, a daemon lives on"
    );
    Ok(())
}

/// `gohang clean` after a kill at `after_us`.
fn gone_when_cleaned(settings: &Settings, daemons: &[i32], after_us: u64) -> Result<()> {
    let end = product::run(settings.gohang()?, &["clean"], LIMIT)?;
    ensure!(
        end.status.success(),
        "killed at {after_us} us: {}: {}",
        end.status,
        end.stderr_line()
    );
    ensure!(
        !daemons.iter().any(|&pid| is_alive(pid)),
        "killed at {after_us} us, a daemon lives on"
    );
    wrapped::nothing_left().with_context(|| format!("killed at {after_us} us"))
}

/// At random moments of its steps against a hang: with the quota lifted, programs asked for
/// their goroutines and to end.
fn killed_while_it_ends_a_hang(settings: &Settings, report: &mut Report) -> Result<()> {
    let options = [
        "--timeout",
        "300ms",
        "--cpu-quota",
        "50%",
        "--lift-quota",
        "1s",
        "--grace",
        "1s",
    ];
    let mut state = sys::mono_ns() | 1;
    let mut all = 0;
    for _ in 0..10 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let after_us = 300_000 + state % 1_500_000;
        let daemons = killed(settings, &options, after_us)?;
        all += daemons.len();
        gone_with_the_next(settings, &daemons, after_us)?;
    }
    report.note(format!("10 kills left {all} daemons; all gone"));
    ensure!(all > 4, "the kills came too early to prove anything");
    Ok(())
}

fn killed_then_clean(settings: &Settings, report: &mut Report) -> Result<()> {
    let gohang = settings.gohang()?;
    // Long enough on a busy machine.
    let daemons = killed(settings, &FEW_TASKS, 400_000)?;
    ensure!(
        daemons.len() == 2,
        "only {} daemons were there",
        daemons.len()
    );
    ensure!(!groups("gohang-run-")?.is_empty(), "nothing was left");
    let end = product::run(gohang, &["clean"], LIMIT)?;
    let text = String::from_utf8_lossy(&end.stdout).into_owned();
    report.note(text.trim().replace('\n', " | "));
    end.expect_success()?;
    ensure!(text.contains("gone now"), "{text}");
    ensure!(
        !daemons.iter().any(|&pid| is_alive(pid)),
        "a daemon lives on"
    );
    wrapped::nothing_left()?;
    let end = product::run(gohang, &["clean"], LIMIT)?;
    ensure!(
        end.status.success() && end.stdout == b"nothing was left behind\n",
        "{}",
        String::from_utf8_lossy(&end.stdout)
    );
    Ok(())
}

/// A run that goes on is nothing that was left behind.
fn clean_leaves_the_living(settings: &Settings, _: &mut Report) -> Result<()> {
    let command = command("sleep", &["ms=800"])?;
    let mut child = wrapped(settings, &[], &command)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = std::io::BufReader::new(child.stdout.take().context("no pipe")?);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line)?;
    let end = product::run(settings.gohang()?, &["clean"], LIMIT)?;
    ensure!(end.status.success(), "{}", end.status);
    pause_ms(50);
    ensure!(child.try_wait()?.is_none(), "it was ended");
    let status = child.wait()?;
    ensure!(status.success(), "{status}");
    wrapped::until("no groups", Duration::from_secs(2), || {
        Ok(groups("gohang-run-")?.is_empty())
    })
}
