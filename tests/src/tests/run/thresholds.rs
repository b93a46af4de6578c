//! Options that move a threshold or leave something out: each of them changes what happens.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::product::Finished;
use crate::run::{Report, Settings, Test, skip};
use crate::wrapped::{self, bare, command, words, wrapped};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "run::throttling_thresholds",
            body: throttling_thresholds,
        },
        Test {
            name: "run::memory_share",
            body: memory_share,
        },
        Test {
            name: "run::not_observed",
            body: not_observed,
        },
        Test {
            name: "run::samples_and_size",
            body: samples_and_size,
        },
    ]
}

fn expect(end: &Finished, code: i32, said: &str, not_said: &str) -> Result<()> {
    let line = end.stderr_line();
    ensure!(end.status.code() == Some(code), "{}: {line}", end.status);
    ensure!(end.stderr.contains(said), "{said:?} is not said: {line}");
    let is_silent = not_said.is_empty() || !end.stderr.contains(not_said);
    ensure!(is_silent, "{not_said:?} is said: {line}");
    Ok(())
}

/// More periods than there are, or a larger share, is not reached; fewer are.
fn throttling_thresholds(settings: &Settings, report: &mut Report) -> Result<()> {
    settings.hierarchy()?;
    let spin = words(&["sh", "-c", "while :; do :; done"]);
    let (share, stalled) = ("it was out of CPU quota", "--stall-window 2 s is exceeded");
    let usual = [
        "--cpu-quota",
        "20%",
        "--lift-quota",
        "never",
        "--stall-window",
        "2s",
        "--throttled-for",
        "1s",
        "--timeout",
        "3s",
    ];
    for (options, said, not_said) in [
        (
            ["--throttled-periods", "1000", "--throttled-share", "100%"],
            "--timeout 3 s is exceeded",
            share,
        ),
        (
            ["--throttled-periods", "5", "--throttled-share", "10%"],
            stalled,
            "",
        ),
    ] {
        let options = [&usual[..], &options].concat();
        let end = wrapped::run(settings, &options, &spin)?;
        report.note(end.stderr_line());
        expect(&end, 124, said, not_said)?;
        ensure!(not_said == share || end.stderr.contains(share), "not said");
    }
    Ok(())
}

/// Where it begins to be near its limit.
fn memory_share(settings: &Settings, report: &mut Report) -> Result<()> {
    let some = command("eat", &["mib=30", "ms=1500"])?;
    for (percent, said, not_said) in [
        ("25%", "of memory are in use", ""),
        ("95%", "", "of memory are in use"),
    ] {
        let options = ["--memory-max", "64M", "--memory-share", percent];
        let end = wrapped::run(settings, &options, &some)?;
        if end.stderr.contains("memory controller is not at hand") {
            return Err(skip("the memory controller is not at hand"));
        }
        report.note(format!("{percent}: {}", end.stderr_line()));
        expect(&end, 0, said, not_said)?;
    }
    Ok(())
}

/// Not looked at, the command has the very pipe that was given to gohang.
fn not_observed(settings: &Settings, report: &mut Report) -> Result<()> {
    let link = words(&["readlink", "/proc/self/fd/1"]);
    let read = |mut command: Command| -> Result<(String, String)> {
        let (mut ours, theirs) = std::io::pipe()?;
        let given = std::fs::read_link(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&theirs)
        ))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(theirs)
            .spawn()
            .context("it does not start")?;
        // Else this end would keep the pipe open.
        drop(command);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut ours, &mut text)?;
        ensure!(child.wait()?.success(), "it failed");
        Ok((given.display().to_string(), text.trim().to_owned()))
    };
    for (command, is_same) in [
        (bare(&link)?, true),
        (wrapped(settings, &["--no-observe"], &link)?, true),
        (wrapped(settings, &[], &link)?, false),
    ] {
        let (given, has) = read(command)?;
        report.note(format!("given {given}, has {has}"));
        ensure!((given == has) == is_same, "given {given}, has {has}");
    }
    wrapped::nothing_left()
}

/// As many samples as asked for, in a bundle no larger than asked for.
fn samples_and_size(settings: &Settings, report: &mut Report) -> Result<()> {
    // Longer than the bundle may be.
    let script = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i of many; done; \
        exec sleep 1000";
    let mut numbers = Vec::new();
    for (every, size) in [("100ms", "64M"), ("1s", "24K")] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().to_str().context("not UTF-8")?;
        let options = [
            "--bundle-dir",
            path,
            "--timeout",
            "1500ms",
            "--sample-every",
            every,
            "--bundle-size",
            size,
        ];
        let end = wrapped::run(settings, &options, &words(&["sh", "-c", script]))?;
        expect(&end, 124, "bundle: ", "")?;
        let bundle = bundle_in(folder.path())?;
        let open = |more: &[&str]| -> Result<Value> {
            let output = Command::new(settings.gohang()?)
                .arg("open")
                .args(more)
                .arg(&bundle)
                .output()?;
            ensure!(output.status.success(), "{more:?}: {}", output.status);
            Ok(serde_json::from_slice(&output.stdout)?)
        };
        let members = open(&["-o", "json"])?;
        let members = members["members"].as_array().context("no members")?;
        let of = |name: &str| members.iter().find(|member| member["name"] == name);
        let output = of("output.txt").context("no output.txt")?;
        let is_cut = output["cut"] == Value::Bool(true);
        // The manifest lists the others, and is not one of them.
        let others = members
            .iter()
            .filter(|member| member["name"] != "manifest.json");
        let bytes: u64 = others.filter_map(|member| member["bytes"].as_u64()).sum();
        let samples = match of("timeline.json") {
            Some(_) => open(&["--member", "timeline.json"])?["samples"]
                .as_array()
                .map_or(0, Vec::len),
            None => 0,
        };
        report.note(format!(
            "{every}, {size}: {samples} samples, {bytes} bytes, output cut: {is_cut}"
        ));
        numbers.push((samples, bytes, is_cut));
    }
    let [(often, _, whole), (rarely, bytes, cut)] = numbers[..] else {
        anyhow::bail!("{numbers:?}");
    };
    ensure!(often >= 10 && rarely <= 4, "{often} and {rarely} samples");
    ensure!(!whole && cut && bytes <= 24 << 10, "{numbers:?}");
    Ok(())
}

fn bundle_in(folder: &std::path::Path) -> Result<PathBuf> {
    let paths = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut bundles =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "zst"));
    bundles.next().context("no bundle")
}
