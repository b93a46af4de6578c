//! What is kept of a hang: read back, compared, without secrets, where CI looks for it, and
//! what happens where there is no room for it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::product::{Finished, Gohang};
use crate::run::{Report, Settings, Test};
use crate::wrapped::{self, LIMIT, words};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "run::no_room_for_it",
            body: no_room_for_it,
        },
        Test {
            name: "run::cut_in_half",
            body: cut_in_half,
        },
        Test {
            name: "run::same_hang_again",
            body: same_hang_again,
        },
        Test {
            name: "run::redacted",
            body: redacted,
        },
        Test {
            name: "run::github",
            body: github,
        },
    ]
}

/// What hangs, soon and with the least of time for each step.
const SOON: [&str; 6] = [
    "--timeout",
    "300ms",
    "--lift-quota",
    "never",
    "--grace",
    "1s",
];
/// Largest step summary that GitHub takes, bytes.
const SUMMARY: usize = 1 << 20;

/// A script that hangs under gohang, with its bundle in `folder`.
fn hangs(settings: &Settings, folder: &Path, more: &[&str], script: &str) -> Result<Command> {
    let folder = folder.to_str().context("not UTF-8")?;
    let options = [&["--bundle-dir", folder][..], &SOON, more].concat();
    wrapped::wrapped(settings, &options, &words(&["sh", "-c", script]))
}

fn ended(mut command: Command, code: i32) -> Result<Finished> {
    let end = Gohang::spawn_command(&mut command)?.wait(LIMIT)?;
    wrapped::nothing_left()?;
    ensure!(
        end.status.code() == Some(code),
        "{} instead of {code}: {}",
        end.status,
        end.stderr_line()
    );
    Ok(end)
}

/// The one file of `folder` with this end.
fn file_in(folder: &Path, end: &str) -> Result<PathBuf> {
    let paths = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = paths.filter(|path| path.to_string_lossy().ends_with(end));
    let first = found.next().with_context(|| format!("no {end}"))?;
    ensure!(found.next().is_none(), "more than one {end}");
    Ok(first)
}

/// `gohang` with these words, and its exit code.
fn gohang(settings: &Settings, arguments: &[&Path], code: i32) -> Result<Finished> {
    let mut command = Command::new(settings.gohang()?);
    command.args(arguments);
    ended(command, code)
}

/// Has the command, in a mount namespace of its own, a file system of one page on `folder`.
fn with_one_page(command: &mut Command, folder: &Path) -> Result<()> {
    let folder = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: system calls only between fork and exec, with texts that live until then.
    unsafe {
        command.pre_exec(move || {
            let (none, private) = (c"none".as_ptr(), libc::MS_REC | libc::MS_PRIVATE);
            let (kind, size) = (c"tmpfs".as_ptr(), c"size=4k".as_ptr());
            let null = std::ptr::null();
            if libc::unshare(libc::CLONE_NEWNS) != 0
                || libc::mount(none, c"/".as_ptr(), null, private, null.cast()) != 0
                || libc::mount(none, folder.as_ptr(), kind, 0, size.cast()) != 0
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        })
    };
    Ok(())
}

/// A disk that is full, and a folder that is none: it is said what to do, the verdict too, no
/// half of a file stays, and the exit code is as ever.
fn no_room_for_it(settings: &Settings, report: &mut Report) -> Result<()> {
    let (folder, outside) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let junit = folder.path().join("junit.xml");
    let junit = junit.to_str().context("not UTF-8")?;
    let listed = outside.path().join("listed");
    let list = format!(
        "ls -A '{}' > '{}'",
        folder.path().display(),
        listed.display()
    );
    // More than a page of output that does not get smaller, so that a page is no room for it.
    let script = "head -c 20000 /dev/urandom | od -An -tx1; exec sleep 1000";
    let with_junit = ["--junit", junit, "--on-hang", &list];
    for (more, code) in [
        (&with_junit[..], 124),
        (&["--preserve-status"], 128 + libc::SIGTERM),
    ] {
        let mut command = hangs(settings, folder.path(), more, script)?;
        with_one_page(&mut command, folder.path())?;
        let end = ended(command, code)?;
        report.note(end.stderr_line());
        for said in [
            "verdict: ",
            "cannot write",
            "No space left",
            "--bundle-size",
        ] {
            ensure!(end.stderr.contains(said), "{said:?} is not said");
        }
    }
    let names = fs::read_to_string(&listed)?;
    ensure!(
        names.lines().all(|name| name.ends_with("-VERDICT.md")),
        "{names}"
    );
    // A file is no folder.
    let end = ended(hangs(settings, &listed, &[], "exec sleep 1000")?, 124)?;
    report.note(end.stderr_line());
    for said in ["verdict: ", "cannot write", "--bundle-dir"] {
        ensure!(end.stderr.contains(said), "{said:?} is not said");
    }
    // What ends by itself keeps its own code where its results cannot be written.
    let options = ["--junit", "/dev/full"];
    let exits = words(&["sh", "-c", "exit 7"]);
    let end = ended(wrapped::wrapped(settings, &options, &exits)?, 7)?;
    report.note(end.stderr_line());
    ensure!(
        end.stderr.contains("cannot write /dev/full"),
        "{}",
        end.stderr_line()
    );
    Ok(())
}

/// Half a bundle is told as far as it goes, and what is none is refused.
fn cut_in_half(settings: &Settings, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    ended(hangs(settings, folder.path(), &[], "exec sleep 1000")?, 124)?;
    let whole = file_in(folder.path(), ".tar.zst")?;
    let bytes = fs::read(&whole)?;
    let (half, other) = (folder.path().join("half"), folder.path().join("other"));
    fs::write(&half, &bytes[..bytes.len() / 2])?;
    fs::write(&other, "no bundle")?;
    let (open, diff) = (Path::new("open"), Path::new("diff"));
    let told = gohang(settings, &[open, &whole], 0)?;
    ensure!(told.stderr.is_empty(), "{}", told.stderr_line());
    let end = gohang(settings, &[open, &half], 1)?;
    report.note(end.stderr_line());
    ensure!(end.stderr.contains("is not whole"), "{}", end.stderr_line());
    // What it lacks is counted, not listed.
    ensure!(end.stderr.lines().count() == 2, "{}", end.stderr_line());
    let text = String::from_utf8_lossy(&end.stdout);
    // The verdict stands first.
    ensure!(text.contains("verdict: "), "{text}");
    let end = gohang(settings, &[diff, &whole, &half], 1)?;
    ensure!(end.stderr.contains("is not whole"), "{}", end.stderr_line());
    let text = String::from_utf8_lossy(&end.stdout);
    ensure!(text.starts_with("the same hang ("), "{text}");
    for none in [&other, &folder.path().join("nowhere")] {
        let end = gohang(settings, &[open, none], 2)?;
        report.note(end.stderr_line());
        ensure!(
            end.stderr.starts_with("gohang: error: "),
            "{}",
            end.stderr_line()
        );
    }
    Ok(())
}

/// The same hang is recognised, another one is told apart.
fn same_hang_again(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut bundles = Vec::new();
    for script in ["exec sleep 1000", "exec sleep 1000", "read x"] {
        let folder = tempfile::tempdir()?;
        // Before its time it would only be slow.
        let options = ["--idle-timeout", "600ms", "--sample-every", "100ms"];
        let options = [&options[..], &SOON[2..]].concat();
        let path = folder.path().to_str().context("not UTF-8")?;
        let options = [&["--bundle-dir", path][..], &options].concat();
        let mut command = wrapped::wrapped(settings, &options, &words(&["sh", "-c", script]))?;
        // Nobody writes to it.
        let (input, nobody) = std::io::pipe()?;
        let end = Gohang::spawn_with(&mut command, input.into())?.wait(LIMIT)?;
        drop(nobody);
        ensure!(
            end.status.code() == Some(124),
            "{}: {}",
            end.status,
            end.stderr_line()
        );
        bundles.push((file_in(folder.path(), ".tar.zst")?, folder));
    }
    wrapped::nothing_left()?;
    let diff = |a: usize, b: usize| -> Result<String> {
        let end = gohang(
            settings,
            &[Path::new("diff"), &bundles[a].0, &bundles[b].0],
            0,
        )?;
        Ok(String::from_utf8_lossy(&end.stdout).into_owned())
    };
    let (same, other) = (diff(0, 1)?, diff(0, 2)?);
    report.note(other.trim().replace('\n', " | "));
    ensure!(same.starts_with("the same hang ("), "{same}");
    ensure!(other.starts_with("not the same hang ("), "{other}");
    ensure!(other.contains("\ncause\n"), "{other}");
    Ok(())
}

/// Every file of the bundle in `folder`, and the verdict beside it.
fn kept(settings: &Settings, folder: &Path) -> Result<BTreeMap<String, String>> {
    let bundle = file_in(folder, ".tar.zst")?;
    let open = |more: &[&Path]| -> Result<String> {
        let end = gohang(
            settings,
            &[&[Path::new("open")], more, &[&bundle]].concat(),
            0,
        )?;
        Ok(String::from_utf8_lossy(&end.stdout).into_owned())
    };
    let mut all = BTreeMap::new();
    for line in open(&[Path::new("--list")])?.lines() {
        let name = line.split_whitespace().nth(1).context("no name")?;
        let content = open(&[Path::new("--member"), Path::new(name)])?;
        all.insert(name.to_owned(), content);
    }
    let alone = fs::read_to_string(file_in(folder, "-VERDICT.md")?)?;
    all.insert("the verdict alone".to_owned(), alone);
    Ok(all)
}

/// A machine's name that is nowhere by chance.
const MACHINE: &str = "krt5-machine-9s";

/// Has the command see a machine of that name.
fn on_machine(command: &mut Command) {
    // SAFETY: system calls only between fork and exec; the name is a constant.
    unsafe {
        command.pre_exec(|| {
            if libc::unshare(libc::CLONE_NEWUTS) != 0
                || libc::sethostname(MACHINE.as_ptr().cast(), MACHINE.len()) != 0
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        })
    };
}

/// Values of the environment, secrets among arguments and in the output, and the machine's name
/// are in what is kept, unless they are not to be.
fn redacted(settings: &Settings, report: &mut Report) -> Result<()> {
    let secrets = [
        ("a variable", "kRt5-variable-9s"),
        ("an argument", "kRt5-argument-9s"),
        ("a variable's value in the output", "kRt5-printed-9s"),
        ("the machine", MACHINE),
    ];
    let script = "echo \"it is $DEPLOY_TOKEN on $(cat /proc/sys/kernel/hostname)\"; sleep 1000";
    for (more, is_kept) in [(&["--no-fetch"][..], true), (&["--redact"], false)] {
        let folder = tempfile::tempdir()?;
        let mut command = hangs(settings, folder.path(), more, script)?;
        command
            .arg(format!("--password={}", secrets[1].1))
            .env("HTTPS_PROXY", secrets[0].1)
            .env("DEPLOY_TOKEN", secrets[2].1);
        on_machine(&mut command);
        ended(command, 124)?;
        let kept = kept(settings, folder.path())?;
        for (what, secret) in secrets {
            let mut holders = kept.iter().filter(|(_, content)| content.contains(secret));
            let holders: Vec<&String> = holders.by_ref().map(|(name, _)| name).collect();
            report.note(format!("{more:?}: {what} is in {holders:?}"));
            ensure!(
                holders.is_empty() != is_kept,
                "{more:?}: {what} is in {holders:?}"
            );
        }
    }
    Ok(())
}

/// Where GitHub runs it, the verdict is an error of the step, and in its summary as far as there
/// is room; elsewhere neither.
fn github(settings: &Settings, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let summary = folder.path().join("summary");
    for (runs_there, used) in [("true", 10), ("true", SUMMARY - 100), ("false", 10)] {
        let before = "x".repeat(used);
        fs::write(&summary, &before)?;
        let kept = tempfile::tempdir()?;
        let mut command = hangs(settings, kept.path(), &[], "exec sleep 1000")?;
        command
            .env("GITHUB_ACTIONS", runs_there)
            .env("GITHUB_STEP_SUMMARY", &summary);
        let end = ended(command, 124)?;
        let text = fs::read_to_string(&summary)?;
        let errors = end.stderr.lines().filter(|line| line.starts_with("::"));
        let errors: Vec<&str> = errors.collect();
        report.note(format!(
            "{runs_there}, {used} bytes before: {} now; {errors:?}",
            text.len()
        ));
        let added = text.strip_prefix(&before).context("it was written over")?;
        if runs_there == "false" {
            ensure!(errors.is_empty() && added.is_empty(), "{errors:?}, {added}");
            continue;
        }
        // One line, with the three of the verdict.
        let [error] = errors[..] else {
            anyhow::bail!("{errors:?}");
        };
        let lines = error
            .strip_prefix("::error title=hung::verdict: ")
            .with_context(|| error.to_owned())?;
        ensure!(
            lines.contains("%0Aevidence: ") && lines.contains("%0Anext: "),
            "{error}"
        );
        ensure!(text.len() <= SUMMARY, "{} bytes", text.len());
        let is_whole = added.contains("### gohang") && added.contains("- fingerprint: ");
        ensure!(is_whole == (used == 10), "{added}");
    }
    Ok(())
}
