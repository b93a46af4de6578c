//! What counts as hung, what is said before, and how it is ended.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::group::Group;
use crate::product::Finished;
use crate::run::{Report, Settings, Test, skip};
use crate::terminal::Terminal;
use crate::wrapped::{self, LIMIT, command, is_alive, words, wrapped};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "run::timeout",
            body: timeout,
        },
        Test {
            name: "run::kill_needed",
            body: kill_needed,
        },
        Test {
            name: "run::idle_timeout",
            body: idle_timeout,
        },
        Test {
            name: "run::own_lines_are_no_progress",
            body: own_lines_are_no_progress,
        },
        Test {
            name: "run::idle_on_a_terminal",
            body: idle_on_a_terminal,
        },
        Test {
            name: "run::stalled_by_throttling",
            body: stalled_by_throttling,
        },
        Test {
            name: "run::throttled_by_a_group_above",
            body: throttled_by_a_group_above,
        },
        Test {
            name: "run::slow_and_healthy",
            body: slow_and_healthy,
        },
        Test {
            name: "run::out_of_memory",
            body: out_of_memory,
        },
        Test {
            name: "run::out_of_tasks",
            body: out_of_tasks,
        },
        Test {
            name: "run::stopped_command",
            body: stopped_command,
        },
        Test {
            name: "run::pipe_held_by_a_grandchild",
            body: pipe_held_by_a_grandchild,
        },
        Test {
            name: "run::unread_output",
            body: unread_output,
        },
        Test {
            name: "run::hung_without_rights",
            body: hung_without_rights,
        },
    ]
}

/// Runs it under these options and checks its exit code and the words that are said.
fn hung(
    settings: &Settings,
    options: &[&str],
    command: &[String],
    (code, said): (i32, &[&str]),
    report: &mut Report,
) -> Result<Finished> {
    let begin = crate::sys::mono_ns();
    let end = wrapped::run(settings, options, command)?;
    let took = (crate::sys::mono_ns() - begin) / 1_000_000;
    report.note(format!(
        "{options:?}: {took} ms: {}: {}",
        end.status,
        end.stderr_line()
    ));
    ensure!(
        end.status.code() == Some(code),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    for word in said {
        ensure!(
            end.stderr.contains(word),
            "{word:?} is not said: {}",
            end.stderr_line()
        );
    }
    Ok(end)
}

fn timeout(settings: &Settings, report: &mut Report) -> Result<()> {
    let sleep = command("sleep", &["ms=30000"])?;
    let said = [
        "hung: --timeout 1 s is exceeded",
        "verdict: waiting for something",
    ];
    hung(settings, &["--timeout", "1s"], &sleep, (124, &said), report)?;
    // Its own status, if that is asked for.
    let options = ["--timeout", "1s", "--preserve-status"];
    hung(settings, &options, &sleep, (143, &["verdict"]), report)?;
    let tidy = words(&[
        "sh",
        "-c",
        "trap 'exit 9' TERM; while :; do sleep 0.1; done",
    ]);
    hung(settings, &options, &tidy, (9, &["verdict"]), report)?;
    hung(settings, &options[..2], &tidy, (124, &["verdict"]), report)?;
    // One that ends in time is not touched.
    let end = wrapped::run(
        settings,
        &["--timeout", "20s"],
        &words(&["sh", "-c", "exit 6"]),
    )?;
    ensure!(
        end.status.code() == Some(6) && end.stderr.is_empty(),
        "{}",
        end.stderr_line()
    );
    Ok(())
}

/// One that ignores SIGTERM and SIGQUIT, itself or behind a shell that does not.
fn kill_needed(settings: &Settings, report: &mut Report) -> Result<()> {
    let stubborn = command("stubborn", &[])?;
    let options = ["--timeout", "1s", "--grace", "1s"];
    let said = ["killing it", "hung and killed: verdict"];
    hung(settings, &options, &stubborn, (137, &said), report)?;
    let mut behind = words(&["sh", "-c", "\"$@\" & wait", "sh"]);
    behind.extend(stubborn);
    hung(settings, &options, &behind, (137, &said), report)?;
    Ok(())
}

/// Neither output nor work: ended. Output, or work, or little of both: not.
fn idle_timeout(settings: &Settings, report: &mut Report) -> Result<()> {
    let options = ["--idle-timeout", "3s"];
    let spin = words(&["sh", "-c", "while :; do :; done"]);
    let said = ["slow: no output", "verdict: busy without progress"];
    hung(settings, &options, &spin, (124, &said), report)?;
    let sleep = command("sleep", &["ms=30000"])?;
    hung(
        settings,
        &options,
        &sleep,
        (124, &["verdict: waiting for something"]),
        report,
    )?;
    for (what, command) in [
        ("output", command("print", &["n=12", "ms=500"])?),
        (
            "spinning, with output",
            command("print", &["n=4", "ms=1500", "spin=1"])?,
        ),
        (
            "work without output",
            words(&[
                "sh",
                "-c",
                "for i in $(seq 60); do dd if=/dev/zero of=/dev/null bs=1k \
                count=200 2>/dev/null; sleep 0.1; done",
            ]),
        ),
    ] {
        let end = wrapped::run(settings, &options, &command)?;
        report.note(format!("{what}: {}: {}", end.status, end.stderr_line()));
        ensure!(
            end.status.success(),
            "{what}: {}: {}",
            end.status,
            end.stderr_line()
        );
    }
    Ok(())
}

/// What gohang itself writes to the command's file is not the command's.
fn own_lines_are_no_progress(settings: &Settings, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    for append in [false, true] {
        let file = File::options()
            .create(true)
            .write(true)
            .append(append)
            .open(&path)?;
        let sleep = command("sleep", &["ms=30000"])?;
        let status = wrapped(
            settings,
            &["--idle-timeout", "3s", "--slow-after", "1s"],
            &sleep,
        )?
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()?;
        let text = std::fs::read_to_string(&path)?;
        report.note(text.trim().replace('\n', " | "));
        ensure!(status.code() == Some(124), "{status}: {text}");
        ensure!(
            text.contains("ready") && text.contains("slow: no output"),
            "{text}"
        );
        wrapped::nothing_left()?;
    }
    Ok(())
}

/// On a terminal, which is the command's own, output shows by its being written.
fn idle_on_a_terminal(settings: &Settings, report: &mut Report) -> Result<()> {
    for (kind, options, code) in [
        ("print", &["n=12", "ms=500"][..], 0),
        ("sleep", &["ms=30000"], 124),
    ] {
        let command = command(kind, options)?;
        let mut wrapped = wrapped(settings, &["--idle-timeout", "3s"], &command)?;
        let (status, shown) = Terminal::start(&mut wrapped)?.end(LIMIT)?;
        report.note(format!(
            "{kind}: {status}: {}",
            shown.trim().replace('\n', " | ")
        ));
        ensure!(status.code() == Some(code), "{kind}: {status}: {shown}");
        wrapped::nothing_left()?;
    }
    Ok(())
}

/// Out of quota, and nothing comes of it.
fn stalled_by_throttling(settings: &Settings, report: &mut Report) -> Result<()> {
    settings.hierarchy()?;
    let spin = words(&["sh", "-c", "while :; do :; done"]);
    let options = [
        "--cpu-quota",
        "5%",
        "--stall-window",
        "5s",
        "--throttled-for",
        "2s",
    ];
    let said = [
        "slow: in the last 2 s it was out of CPU quota",
        "hung: --stall-window 5 s is exceeded: throttled",
        // It was the quota's doing as long as that held; without, it spins on.
        "verdict: busy without progress",
        "with the CPU limit of 5 % of a CPU lifted",
    ];
    hung(settings, &options, &spin, (124, &said), report)?;
    Ok(())
}

/// A quota above the command's own group does not show there, and counts all the same.
fn throttled_by_a_group_above(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((5_000, 100_000)))?;
    let path = group.path().display().to_string();
    let name = group.path().file_name().and_then(|name| name.to_str());
    let name = name.context("no name")?;
    let spin = words(&["sh", "-c", "while :; do :; done"]);
    let options = ["--in-cgroup", &path, "--stall-window", "5s"];
    let said = [
        "verdict: throttled, out of CPU quota",
        "which allows 5 % of a CPU",
        name,
    ];
    hung(settings, &options, &spin, (124, &said), report)?;
    Ok(())
}

/// At a twentieth of a CPU it prints something every now and then: it is told that it is slow,
/// and left alone.
fn slow_and_healthy(settings: &Settings, report: &mut Report) -> Result<()> {
    settings.hierarchy()?;
    let command = command("print", &["n=5", "ms=2500", "spin=1"])?;
    let options = [
        "--cpu-quota",
        "5%",
        "--stall-window",
        "6s",
        "--throttled-for",
        "3s",
    ];
    let end = wrapped::run(settings, &options, &command)?;
    report.note(end.stderr_line());
    end.expect_success()?;
    ensure!(
        end.stderr
            .contains("slow: in the last 3 s it was out of CPU quota"),
        "not said"
    );
    ensure!(end.stdout.ends_with(b"line 4\n"), "not all of its output");
    Ok(())
}

fn out_of_memory(settings: &Settings, report: &mut Report) -> Result<()> {
    // Killed: its own exit code, and the reason.
    let too_much = command("eat", &["mib=200", "ms=3000"])?;
    let end = wrapped::run(settings, &["--memory-max", "64M"], &too_much)?;
    report.note(end.stderr_line());
    if end.stderr.contains("memory controller is not at hand") {
        return Err(skip("the memory controller is not at hand"));
    }
    let said =
        "out of memory: the kernel killed 1 of the command's processes (the limit is 64 MiB)";
    ensure!(
        end.status.code() == Some(137) && end.stderr.contains(said),
        "{}",
        end.stderr_line()
    );
    // A part of it is killed, and the rest waits for ever.
    let mut waits = words(&["sh", "-c", "\"$@\"; while :; do sleep 1000; done", "sh"]);
    waits.extend(too_much);
    let options = ["--memory-max", "64M", "--stall-window", "4s"];
    let said = [said, "verdict: out of memory"];
    hung(settings, &options, &waits, (124, &said), report)?;
    // Much memory alone is said, and nothing else.
    let much = command("eat", &["mib=58", "ms=3000"])?;
    let end = wrapped::run(
        settings,
        &["--memory-max", "64M", "--stall-window", "2s"],
        &much,
    )?;
    report.note(end.stderr_line());
    end.expect_success()?;
    ensure!(
        end.stderr.contains("of memory are in use"),
        "{}",
        end.stderr_line()
    );
    Ok(())
}

fn out_of_tasks(settings: &Settings, report: &mut Report) -> Result<()> {
    let bomb = command("bomb", &[])?;
    let options = ["--tasks-max", "30", "--stall-window", "4s"];
    let said = [
        "out of tasks: ",
        "the limit is 30 tasks",
        "verdict: out of tasks",
    ];
    hung(settings, &options, &bomb, (124, &said), report)?;
    let options = ["--tasks-max", "30", "--timeout", "2s"];
    hung(settings, &options, &bomb, (124, &said), report)?;
    Ok(())
}

/// A command that was stopped and that nobody continues hangs like any other.
fn stopped_command(settings: &Settings, report: &mut Report) -> Result<()> {
    let stops = words(&["sh", "-c", "kill -STOP $$; exit 3"]);
    let mut wrapped_command = wrapped(settings, &["--idle-timeout", "2s"], &stops)?;
    // SAFETY: one system call between fork and exec: no terminal, so no job control.
    unsafe {
        wrapped_command.pre_exec(|| {
            libc::setsid();
            Ok(())
        })
    };
    let output = wrapped_command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    report.note(format!(
        "{}: {}",
        output.status,
        text.trim().replace('\n', " | ")
    ));
    ensure!(
        output.status.code() == Some(124),
        "{}: {text}",
        output.status
    );
    wrapped::nothing_left()
}

/// A process that outlives the command and has its output open keeps nobody waiting.
fn pipe_held_by_a_grandchild(settings: &Settings, report: &mut Report) -> Result<()> {
    let command = words(&["sh", "-c", "sleep 1000 & echo $!; exit 5"]);
    let begin = crate::sys::mono_ns();
    let end = wrapped::run(settings, &[], &command)?;
    let took = (crate::sys::mono_ns() - begin) / 1_000_000;
    report.note(format!("{took} ms: {}", end.stderr_line()));
    ensure!(end.status.code() == Some(5), "{}", end.status);
    ensure!(took < 5_000, "{took} ms");
    let pid: i32 = String::from_utf8_lossy(&end.stdout).trim().parse()?;
    ensure!(!is_alive(pid), "it lives on");
    ensure!(
        end.stderr.contains("left running: sleep"),
        "{}",
        end.stderr_line()
    );
    Ok(())
}

/// A reader that does not read what is printed holds up the command, and gohang's own lines,
/// but not its end.
fn unread_output(settings: &Settings, report: &mut Report) -> Result<()> {
    let prints = words(&["sh", "-c", "while :; do echo y; done"]);
    let options = ["--timeout", "1s", "--grace", "1s", "--lift-quota", "never"];
    let (unread, end) = std::io::pipe()?;
    let mut wrapped_command = wrapped(settings, &options, &prints)?;
    let begin = crate::sys::mono_ns();
    let mut child = wrapped_command
        .stdin(Stdio::null())
        .stdout(end.try_clone()?)
        .stderr(end)
        .spawn()?;
    let ended = wrapped::until("its end", LIMIT, || Ok(child.try_wait()?.is_some()));
    if ended.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    ended?;
    let took = (crate::sys::mono_ns() - begin) / 1_000_000;
    report.note(format!("{took} ms: {status}"));
    ensure!(status.code() == Some(124), "{status}");
    drop(unread);
    wrapped::nothing_left()
}

/// As nobody, without any group: it is ended whole as well.
fn hung_without_rights(settings: &Settings, report: &mut Report) -> Result<()> {
    let (_folder, gohang) = wrapped::copy_for_all(settings.gohang()?)?;
    let (_folder2, me) = wrapped::copy_for_all(&std::env::current_exe()?)?;
    let me = me.to_str().context("not UTF-8")?;
    let script = "\"$1\" __command daemon n=2 | cat; \"$1\" __command stubborn";
    let mut command = std::process::Command::new(&gohang);
    command
        .args([
            "run",
            "--timeout",
            "2s",
            "--grace",
            "1s",
            "--",
            "sh",
            "-c",
            script,
            "sh",
            me,
        ])
        .current_dir("/")
        .uid(65_534)
        .gid(65_534);
    let end = crate::product::Gohang::spawn_command(&mut command)?.wait(LIMIT)?;
    report.note(format!("{}: {}", end.status, end.stderr_line()));
    ensure!(
        end.status.code() == Some(137),
        "{}: {}",
        end.status,
        end.stderr_line()
    );
    let text = String::from_utf8_lossy(&end.stdout).into_owned();
    let daemons: Vec<i32> = text
        .lines()
        .filter_map(|line| line.strip_prefix("daemon ")?.parse().ok())
        .collect();
    ensure!(daemons.len() == 2, "{text}");
    wrapped::until("the daemons' end", Duration::from_secs(2), || {
        Ok(!daemons.iter().any(|&pid| is_alive(pid)))
    })?;
    wrapped::nothing_left()
}
