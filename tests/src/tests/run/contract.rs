//! Exit codes, streams and everything else a command inherits: as without gohang.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::product::Gohang;
use crate::run::{Report, Settings, Test};
use crate::wrapped::{self, LIMIT, bare, command, words, wrapped};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "run::exit_codes",
            body: exit_codes,
        },
        Test {
            name: "run::streams",
            body: streams,
        },
        Test {
            name: "run::files_and_sockets",
            body: files_and_sockets,
        },
        Test {
            name: "run::reader_gone",
            body: reader_gone,
        },
        Test {
            name: "run::inherited",
            body: inherited,
        },
        Test {
            name: "run::wrong_usage",
            body: wrong_usage,
        },
        Test {
            name: "run::overhead",
            body: overhead,
        },
    ]
}

/// What a shell's `$?` would be.
fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn exit_codes(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut same = 0;
    let mut scripts: Vec<String> = (0..=255).step_by(15).map(|n| format!("exit {n}")).collect();
    // Without a core dump's delay: SIGQUIT and the like are among them.
    scripts.extend(
        [1, 2, 3, 6, 9, 10, 13, 14, 15, 24, 31, 40].map(|n| format!("ulimit -c 0; kill -{n} $$")),
    );
    for script in scripts {
        let command = words(&["sh", "-c", &script]);
        let want = code(bare(&command)?.stdin(Stdio::null()).status()?);
        let end = wrapped::run(settings, &[], &command)?;
        ensure!(
            end.status.code() == Some(want),
            "{script}: {} instead of {want}: {}",
            end.status,
            end.stderr_line()
        );
        ensure!(end.stderr.is_empty(), "{script}: {}", end.stderr_line());
        same += 1;
    }
    report.note(format!("{same} ends as bare"));
    for (command, want) in [
        (words(&["/nonexistent/program"]), 127),
        (words(&["gohang-no-such-program"]), 127),
        (words(&["/proc/self/status"]), 126),
        (words(&["/"]), 126),
    ] {
        let end = wrapped::run(settings, &[], &command)?;
        ensure!(
            end.status.code() == Some(want),
            "{command:?}: {}",
            end.status
        );
        ensure!(
            end.stderr.starts_with("gohang: error: cannot run "),
            "{}",
            end.stderr_line()
        );
    }
    Ok(())
}

/// Both streams, and input, byte for byte.
fn streams(settings: &Settings, report: &mut Report) -> Result<()> {
    for (bytes, options) in [
        ("0", &[][..]),
        ("3000000", &[]),
        ("100000", &["--cpu-quota", "20%"]),
    ] {
        let command = command("stream", &[&format!("bytes={bytes}"), "code=5"])?;
        let want = bare(&command)?.stdin(Stdio::null()).output()?;
        let got = wrapped(settings, options, &command)?
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            want.stdout == got.stdout && want.stderr == got.stderr,
            "{bytes} bytes: out {} and {}, err {} and {}",
            want.stdout.len(),
            got.stdout.len(),
            want.stderr.len(),
            got.stderr.len()
        );
        ensure!(got.status.code() == Some(5), "{}", got.status);
        report.note(format!(
            "{} and {} bytes",
            got.stdout.len(),
            got.stderr.len()
        ));
    }
    let command = command("echo", &[])?;
    let mut child = wrapped::spawn_piped(&mut wrapped(settings, &[], &command)?)?;
    let given: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let mut input = child.stdin.take().context("no pipe")?;
    let sent = given.clone();
    let writer = std::thread::spawn(move || input.write_all(&sent));
    let mut back = Vec::new();
    child
        .stdout
        .take()
        .context("no pipe")?
        .read_to_end(&mut back)?;
    writer
        .join()
        .map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    ensure!(
        child.wait()?.success() && back == given,
        "{} bytes came back",
        back.len()
    );
    wrapped::nothing_left()
}

/// A command writes to what was given to gohang: it can tell a file from a pipe, appends where
/// it is told to, and both streams may be the same one.
fn files_and_sockets(settings: &Settings, _: &mut Report) -> Result<()> {
    let script = words(&["sh", "-c", "echo one; echo two >&2; echo three"]);
    let output = |command: &mut Command| -> Result<String> {
        let mut file = tempfile::tempfile()?;
        file.write_all(b"before\n")?;
        let status = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file.try_clone()?)
            .status()?;
        ensure!(status.success(), "{status}");
        file.write_all(b"after\n")?;
        file.rewind()?;
        Ok(std::io::read_to_string(file)?)
    };
    let want = output(&mut bare(&script)?)?;
    let got = output(&mut wrapped(settings, &[], &script)?)?;
    ensure!(
        want == got && got.ends_with("three\nafter\n"),
        "{want:?} {got:?}"
    );

    let kinds = command("inherited", &[])?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = wrapped(settings, &[], &kinds)?
        .stdin(Stdio::null())
        .stdout(std::os::fd::OwnedFd::from(theirs))
        .spawn()?;
    let text = std::io::read_to_string(ours)?;
    ensure!(child.wait()?.success(), "it failed");
    ensure!(
        text.contains("descriptor 1 fifo false socket true"),
        "a socket is not a socket any more: {text}"
    );
    wrapped::nothing_left()
}

/// A reader that goes away ends the command by SIGPIPE, as it does bare.
fn reader_gone(settings: &Settings, report: &mut Report) -> Result<()> {
    let command = words(&["sh", "-c", "while :; do echo y; done"]);
    let end = |mut command: Command| -> Result<std::process::ExitStatus> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut some = [0u8; 100];
        let mut pipe = child.stdout.take().context("no pipe")?;
        pipe.read_exact(&mut some)?;
        drop(pipe);
        wrapped::until("its end", LIMIT, || Ok(child.try_wait()?.is_some()))?;
        Ok(child.wait()?)
    };
    let want = code(end(bare(&command)?)?);
    let got = code(end(wrapped(settings, &[], &command)?)?);
    report.note(format!("bare {want}, wrapped {got}"));
    ensure!(want == got, "{got} instead of {want}");
    wrapped::nothing_left()
}

/// What a program is given at its start is the same, line by line, in several settings.
fn inherited(settings: &Settings, report: &mut Report) -> Result<()> {
    let command = {
        let mut command = command("inherited", &[])?;
        command.extend(words(&["a b=", "--help=", "\u{e4}=\n"]));
        command
    };
    type Prepare = fn(&mut Command) -> Result<()>;
    let prepare: [(&str, Prepare); 5] = [
        ("plain", |_| Ok(())),
        ("another folder and environment", |command| {
            command
                .current_dir("/")
                .env_clear()
                .env("A", "b=c")
                .env("PATH", "/bin:/usr/bin");
            Ok(())
        }),
        ("ignored and blocked signals", |command| {
            // SAFETY: system calls only between fork and exec.
            unsafe {
                command.pre_exec(|| {
                    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE, libc::SIGCHLD] {
                        libc::signal(signal, libc::SIG_IGN);
                    }
                    let mut set: libc::sigset_t = std::mem::zeroed();
                    libc::sigaddset(&raw mut set, libc::SIGUSR1);
                    libc::sigaddset(&raw mut set, 40);
                    libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
                    Ok(())
                })
            };
            Ok(())
        }),
        ("limits, umask, nice", |command| {
            // SAFETY: system calls only between fork and exec.
            unsafe {
                command.pre_exec(|| {
                    let limit = libc::rlimit {
                        rlim_cur: 77,
                        rlim_max: 99,
                    };
                    libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
                    libc::umask(0o027);
                    libc::setpriority(libc::PRIO_PROCESS, 0, 5);
                    Ok(())
                })
            };
            Ok(())
        }),
        ("another descriptor", |command| {
            let file = File::open("/etc/passwd")?;
            // SAFETY: one system call between fork and exec; the file is moved in and stays open.
            unsafe {
                command.pre_exec(move || {
                    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
                    if libc::dup2(fd, 9) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                    Ok(())
                })
            };
            Ok(())
        }),
    ];
    for (what, prepare) in prepare {
        let run = |mut command: Command| -> Result<String> {
            prepare(&mut command)?;
            let output = command.stdin(Stdio::null()).output()?;
            ensure!(
                output.status.success(),
                "{what}: {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (want, got) = (
            run(bare(&command)?)?,
            run(wrapped(settings, &[], &command)?)?,
        );
        for (want, got) in want.lines().zip(got.lines()) {
            ensure!(want == got, "{what}: {want:?} became {got:?}");
        }
        ensure!(
            want.lines().count() == got.lines().count(),
            "{what}: {want}\n{got}"
        );
        report.note(format!("{what}: {} lines as bare", got.lines().count()));
    }
    wrapped::nothing_left()
}

fn wrong_usage(settings: &Settings, report: &mut Report) -> Result<()> {
    for (options, word) in [
        (&["--no-such-option"][..], "--no-such-option"),
        (&["--cpu-quota", "banana"], "20%"),
        (&["--cpu-quota", "2000"], "2000%"),
        (&["--cpu-period", "10ms"], "--cpu-quota"),
        (&["--cpu-quota", "10%", "--cpu-period", "2s"], "1ms to 1s"),
        (&["--memory-max", "5X"], "512M"),
        (&["--tasks-max", "0"], "1 to"),
        (&["--allowed-cpus", "x"], "0-3,7"),
        (&["-p", "IOWeight=5"], "IOWeight"),
        (&["-p", "CPUQuota"], "NAME=VALUE"),
        (&["--in-cgroup", "relative"], "absolute"),
        (
            &["--in-cgroup", "/gohang-no-such-group"],
            "gohang-no-such-group",
        ),
        (
            &["--in-cgroup", "/", "--tasks-max", "5"],
            "cannot be used with",
        ),
    ] {
        let mut wrapped = wrapped(settings, options, &words(&["true"]))?;
        let end = Gohang::spawn_command(&mut wrapped)?.wait(LIMIT)?;
        ensure!(
            end.status.code() == Some(125),
            "{options:?}: {}",
            end.status
        );
        ensure!(
            end.stderr.contains(word),
            "{options:?}: {}",
            end.stderr_line()
        );
        ensure!(!end.stderr.contains("panicked"), "{}", end.stderr);
    }
    let end = Gohang::spawn(settings.gohang()?, &words(&["run"]))?.wait(LIMIT)?;
    report.note(format!("without a command: {}", end.stderr_line()));
    ensure!(end.status.code() == Some(125), "{}", end.status);
    let end = Gohang::spawn(settings.gohang()?, &words(&["run", "--help"]))?.wait(LIMIT)?;
    ensure!(end.status.success(), "{}", end.status);
    let help = String::from_utf8_lossy(&end.stdout);
    for word in [
        "Times are written as",
        "[default: 60s]",
        "[default: 64M]",
        "Exit codes:",
    ] {
        ensure!(help.contains(word), "no {word:?}: {help}");
    }
    wrapped::nothing_left()
}

/// What gohang adds to a command that does nothing.
fn overhead(settings: &Settings, report: &mut Report) -> Result<()> {
    const ROUNDS: usize = 11;
    let command = words(&["true"]);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (times, mut command) in times
            .iter_mut()
            .zip([bare(&command)?, wrapped(settings, &[], &command)?])
        {
            let from = crate::sys::mono_ns();
            ensure!(
                command.stdin(Stdio::null()).status()?.success(),
                "it failed"
            );
            times.push(crate::sys::mono_ns() - from);
        }
    }
    let [bare, wrapped] = times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2] / 1000
    });
    report.note(format!(
        "median of {ROUNDS}: bare {bare} us, wrapped {wrapped} us"
    ));
    ensure!(
        wrapped.saturating_sub(bare) < 50_000,
        "gohang adds {} us",
        wrapped.saturating_sub(bare)
    );
    wrapped::nothing_left()
}
