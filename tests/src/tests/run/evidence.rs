//! What is learned of a command that hangs, before it is ended.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

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
            name: "run::traced_once_in_doubt",
            body: traced_once_in_doubt,
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

/// The verdict that was written to `folder`, and whether there is a bundle.
pub(super) fn verdict_in(folder: &Path) -> Result<(String, bool)> {
    let mut verdict = None;
    let mut bundle = false;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.display().to_string();
        if name.ends_with("-VERDICT.md") {
            verdict = Some(std::fs::read_to_string(&path)?);
        }
        bundle |= name.ends_with(".tar.zst");
    }
    Ok((verdict.context("no verdict was written")?, bundle))
}

/// Without its quota a command gets on, or it does not.
fn quota_lifted(settings: &Settings, report: &mut Report) -> Result<()> {
    settings.hierarchy()?;
    // With 2 % of a CPU nothing comes of it for long.
    let slow = "i=0; while :; do i=$((i+1)); [ $((i % 300000)) = 0 ] && echo step; done";
    let limits = ["--cpu-quota", "2%", "--timeout", "3s"];
    let more = |more: &[&'static str]| [&limits[..], more].concat();
    for (script, options, said) in [
        (slow, more(&[]), Some("lifted, it got on after")),
        (
            "exec sleep 1000",
            more(&["--lift-quota", "2s"]),
            Some("it did not get on"),
        ),
        ("exec sleep 1000", more(&["--lift-quota", "never"]), None),
        ("exec sleep 1000", vec!["--timeout", "3s"], None),
    ] {
        let folder = tempfile::tempdir()?;
        let mut all = vec!["--bundle-dir", folder.path().to_str().context("not UTF-8")?];
        all.extend(&options);
        let begin = crate::sys::mono_ns();
        let end = wrapped::run(settings, &all, &words(&["sh", "-c", script]))?;
        let took = (crate::sys::mono_ns() - begin) / 1_000_000;
        report.note(format!("{options:?}: {took} ms: {}", end.stderr_line()));
        ended(&end, 124)?;
        let (verdict, bundle) = verdict_in(folder.path())?;
        ensure!(bundle, "no bundle: {}", end.stderr_line());
        match said {
            Some(said) => ensure!(verdict.contains(said), "{verdict}"),
            None => ensure!(!verdict.contains("lifted"), "{verdict}"),
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

/// For a command that gets on nothing is loaded; once it does not, the trace begins, and the
/// evidence says from when on.
fn traced_once_in_doubt(settings: &Settings, report: &mut Report) -> Result<()> {
    settings.hierarchy()?;
    let folder = tempfile::tempdir()?;
    let kept = folder.path().to_str().context("not UTF-8")?;
    // A tenth of the idle limit without progress is a sign.
    let options = ["--bundle-dir", kept, "--idle-timeout", "10s"];
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i; sleep 0.25; done; echo end; \
                  exec sleep 1000";
    let mut command = wrapped(settings, &options, &words(&["sh", "-c", script]))?;
    let begin = crate::sys::mono_ns();
    let mut child = wrapped::spawn_piped(&mut command)?;
    let mut out = BufReader::new(child.stdout.take().context("no pipe")?);
    let mut line = String::new();
    while line != "end\n" {
        line.clear();
        ensure!(out.read_line(&mut line)? > 0, "it ended early");
    }
    let silent_ns = crate::sys::mono_ns() - begin;
    let held = bpf::held_by(child.id())?;
    ensure!(held.is_empty(), "while it got on: {held:?}");
    wrapped::until("what is loaded in doubt", Duration::from_secs(8), || {
        Ok(bpf::held_by(child.id())?.len() > 5)
    })?;
    let loaded_ns = crate::sys::mono_ns() - begin;
    let status = child.wait()?;
    ensure!(status.code() == Some(124), "{status}");
    wrapped::nothing_left()?;
    let files = std::fs::read_dir(folder.path())?.filter_map(|entry| Some(entry.ok()?.path()));
    let bundle = files
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(".tar.zst"));
    let opened = Command::new(settings.gohang()?)
        .args(["open", "--member", "evidence.json"])
        .arg(bundle.context("no bundle")?)
        .output()?;
    ensure!(opened.status.success(), "{}", opened.status);
    let evidence: Value = serde_json::from_slice(&opened.stdout)?;
    let state = &evidence["trace"]["state"];
    report.note(format!(
        "silent after {silent_ns} ns, loaded after {loaded_ns} ns, {state}"
    ));
    let since_ns = state["since_ns"].as_u64().context("not traced")?;
    ensure!(
        since_ns > silent_ns,
        "traced since {since_ns} ns, silent since {silent_ns} ns"
    );
    Ok(())
}

/// A line says what there is not; the command runs all the same, unless it was not to.
fn not_traced_without_rights(settings: &Settings, report: &mut Report) -> Result<()> {
    let (_folder, gohang) = wrapped::copy_for_all(settings.gohang()?)?;
    let run = |options: &[&str]| -> Result<Finished> {
        let mut command = Command::new(&gohang);
        command
            .args(["run", "--no-bundle"])
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
    let touch = format!(
        "test -s \"$GOHANG_BUNDLE\" && test -s \"$GOHANG_VERDICT\" && echo $$ > {}; exec sleep ",
        mark.display()
    );
    let kept = folder.path().join("kept");
    std::fs::create_dir(&kept)?;
    let kept = kept.to_str().context("not UTF-8")?;
    let run = |hook: &str, time: &str, script: &str| -> Result<(Finished, u64)> {
        let options = [
            "--bundle-dir",
            kept,
            "--timeout",
            "1s",
            "--on-hang",
            hook,
            "--on-hang-time",
            time,
        ];
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
