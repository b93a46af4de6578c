//! What is learned of a command that hangs, before it is ended.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::bpf;
use crate::product::{Finished, Gohang};
use crate::run::{Report, Settings, Test};
use crate::wrapped::{self, LIMIT, command, is_alive, words, wrapped};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "run::quota_lifted",
            body: quota_lifted,
        },
        Test {
            name: "run::traced_from_the_start",
            body: traced_from_the_start,
        },
        Test {
            name: "run::not_traced_without_rights",
            body: not_traced_without_rights,
        },
        Test {
            name: "run::on_hang",
            body: on_hang,
        },
    ]
}

fn ended(end: &Finished, code: i32) -> Result<()> {
    ensure!(
        end.status.code() == Some(code),
        "{} instead of {code}: {}",
        end.status,
        end.stderr_line()
    );
    Ok(())
}

/// Without its quota a command gets on, or it does not.
fn quota_lifted(settings: &Settings, report: &mut Report) -> Result<()> {
    settings.hierarchy()?;
    // With 2 % of a CPU nothing comes of it for long.
    let slow = "i=0; while :; do i=$((i+1)); [ $((i % 300000)) = 0 ] && echo step; done";
    let limits = ["--cpu-quota", "2%", "--timeout", "3s"];
    let more = |more: &[&'static str]| [&limits[..], more].concat();
    for (script, options, said) in [
        (
            slow,
            more(&[]),
            Some("with the CPU limit lifted it got on after"),
        ),
        (
            "exec sleep 1000",
            more(&["--lift-quota", "2s"]),
            Some("with the CPU limit lifted it did not get on within 2"),
        ),
        ("exec sleep 1000", more(&["--lift-quota", "never"]), None),
        ("exec sleep 1000", vec!["--timeout", "3s"], None),
    ] {
        let begin = crate::sys::mono_ns();
        let end = wrapped::run(settings, &options, &words(&["sh", "-c", script]))?;
        let took = (crate::sys::mono_ns() - begin) / 1_000_000;
        report.note(format!("{options:?}: {took} ms: {}", end.stderr_line()));
        ended(&end, 124)?;
        match said {
            Some(said) => ensure!(end.stderr.contains(said), "{}", end.stderr_line()),
            None => ensure!(!end.stderr.contains("lifted"), "{}", end.stderr_line()),
        }
    }
    Ok(())
}

/// Before the command does anything, the kernel programs are there; when it has ended, they
/// are not.
fn traced_from_the_start(settings: &Settings, report: &mut Report) -> Result<()> {
    settings.hierarchy()?;
    let sleep = command("sleep", &["ms=3000"])?;
    let mut command = wrapped(settings, &["--trace", "always"], &sleep)?;
    let mut child = wrapped::spawn_piped(&mut command)?;
    let mut out = child.stdout.take().context("no pipe")?;
    let mut ready = [0; 6];
    std::io::Read::read_exact(&mut out, &mut ready)?;
    let held = bpf::held_by(child.id())?;
    let status = child.wait()?;
    report.note(format!("{} objects while it ran, {status}", held.len()));
    ensure!(status.success(), "{status}");
    ensure!(held.len() > 5, "when the command began: {held:?}");
    wrapped::until("the end of what was loaded", Duration::from_secs(5), || {
        Ok(!held.iter().any(|&(kind, id)| bpf::exists(kind, id)))
    })?;
    // Killed, it leaves none either.
    let mut command = wrapped(settings, &["--trace", "always"], &sleep)?;
    let mut child = wrapped::spawn_piped(&mut command)?;
    let mut out = child.stdout.take().context("no pipe")?;
    std::io::Read::read_exact(&mut out, &mut ready)?;
    let held = bpf::held_by(child.id())?;
    child.kill()?;
    child.wait()?;
    wrapped::until("the end of what was loaded", Duration::from_secs(5), || {
        Ok(!held.iter().any(|&(kind, id)| bpf::exists(kind, id)))
    })?;
    let end = wrapped::run(settings, &[], &words(&["true"]))?;
    ended(&end, 0)
}

/// A line says what there is not; the command runs all the same, unless it was not to.
fn not_traced_without_rights(settings: &Settings, report: &mut Report) -> Result<()> {
    let (_folder, gohang) = wrapped::copy_for_all(settings.gohang()?)?;
    let run = |options: &[&str]| -> Result<Finished> {
        let mut command = Command::new(&gohang);
        command
            .arg("run")
            .args(options)
            .args(["--", "sleep", "1000"])
            .current_dir("/")
            .uid(65_534)
            .gid(65_534);
        Gohang::spawn_command(&mut command)?.wait(LIMIT)
    };
    let end = run(&["--timeout", "1s"])?;
    report.note(end.stderr_line());
    ended(&end, 124)?;
    let lacking = end.stderr.matches("evidence is lacking").count();
    ensure!(lacking == 1, "{lacking} lines: {}", end.stderr_line());
    let end = run(&["--timeout", "1s", "--trace", "always"])?;
    report.note(end.stderr_line());
    ended(&end, 125)?;
    ensure!(end.stderr.contains("cannot trace"), "{}", end.stderr_line());
    wrapped::nothing_left()
}

/// The command for that is run when one hung, and only then; it cannot keep gohang for ever,
/// and its failure changes nothing.
fn on_hang(settings: &Settings, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mark = folder.path().join("mark");
    let touch = format!("echo $$ > {}; exec sleep ", mark.display());
    let run = |hook: &str, time: &str, script: &str| -> Result<(Finished, u64)> {
        let options = ["--timeout", "1s", "--on-hang", hook, "--on-hang-time", time];
        let mut command = wrapped(settings, &options, &words(&["sh", "-c", script]))?;
        let begin = crate::sys::mono_ns();
        let end = Gohang::spawn_command(command.stdin(Stdio::null()))?.wait(LIMIT)?;
        wrapped::nothing_left()?;
        Ok((end, (crate::sys::mono_ns() - begin) / 1_000_000))
    };
    let hook = format!("{touch} 0.1");
    let (end, _) = run(&hook, "10s", "exit 5")?;
    ended(&end, 5)?;
    ensure!(!mark.exists(), "it ran though nothing hung");
    let (end, took) = run(&hook, "10s", "sleep 1000")?;
    report.note(format!("{took} ms: {}", end.stderr_line()));
    ended(&end, 124)?;
    ensure!(mark.exists(), "it did not run");
    ensure!(!end.stderr.contains("warning"), "{}", end.stderr_line());
    let (end, took) = run(&format!("{touch} 1000"), "1s", "sleep 1000")?;
    report.note(format!("{took} ms: {}", end.stderr_line()));
    ended(&end, 124)?;
    ensure!(
        end.stderr.contains("did not end within 1"),
        "{}",
        end.stderr_line()
    );
    let pid = std::fs::read_to_string(&mark)?.trim().parse()?;
    ensure!(!is_alive(pid), "it lives on");
    let (end, _) = run("exit 9", "1s", "sleep 1000")?;
    ended(&end, 124)?;
    ensure!(
        end.stderr.contains("exit status: 9"),
        "{}",
        end.stderr_line()
    );
    Ok(())
}
