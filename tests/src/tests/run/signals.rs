//! Signals and terminals: as without gohang.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::actor::pause_ms;
use crate::run::{Report, Settings, Test};
use crate::sys;
use crate::terminal::Terminal;
use crate::wrapped::{self, LIMIT, bare, command, words, wrapped};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "run::signals_forwarded",
            body: signals_forwarded,
        },
        Test {
            name: "run::signals_to_the_group",
            body: signals_to_the_group,
        },
        Test {
            name: "run::ended_by_signals",
            body: ended_by_signals,
        },
        Test {
            name: "run::terminal_stays_one",
            body: terminal_stays_one,
        },
        Test {
            name: "run::terminal_keys",
            body: terminal_keys,
        },
        Test {
            name: "run::job_control",
            body: job_control,
        },
    ]
}

/// Has the command in a session of its own, so without a terminal.
fn in_new_session(command: &mut Command) {
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        })
    };
}

/// Starts a command that counts signals, sends it some by `send`, and returns its counts.
fn counted(mut command: Command, send: impl Fn(i32) -> Result<()>) -> Result<String> {
    in_new_session(&mut command);
    let mut child = wrapped::spawn_piped(&mut command)?;
    let mut out = BufReader::new(child.stdout.take().context("no pipe")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    ensure!(line == "ready\n", "{line:?}");
    send(i32::try_from(child.id())?)?;
    // What was sent last has to arrive.
    pause_ms(100);
    drop(child.stdin.take());
    let mut counts = String::new();
    out.read_to_string(&mut counts)?;
    let status = child.wait()?;
    ensure!(
        status.success() && counts.ends_with("end\n"),
        "{status}: {counts}"
    );
    Ok(counts)
}

/// Every signal, sent once to gohang, reaches the command once.
fn signals_forwarded(settings: &Settings, report: &mut Report) -> Result<()> {
    // SIGCHLD and SIGPIPE are of gohang's own doing; the others cannot be caught, or end the
    // program that they are sent to as if by its own fault.
    let own = [4, 5, 6, 7, 8, 9, 11, 13, 17, 19, 31, 32, 33];
    let all: Vec<i32> = (1..=64).filter(|signal| !own.contains(signal)).collect();
    let command = command("signals", &[])?;
    let send = |pid: i32| -> Result<()> {
        for &signal in &all {
            sys::kill(pid, signal)?;
            pause_ms(3);
        }
        Ok(())
    };
    let want = counted(bare(&command)?, send)?;
    let got = counted(wrapped(settings, &[], &command)?, send)?;
    report.note(format!(
        "{} of {} signals",
        got.lines().count() - 1,
        all.len()
    ));
    ensure!(want == got, "bare\n{want}wrapped\n{got}");
    ensure!(got.lines().count() == all.len() + 1, "{got}");
    wrapped::nothing_left()
}

/// What is sent to the whole process group, as CI runners do, reaches the command once as well.
fn signals_to_the_group(settings: &Settings, _: &mut Report) -> Result<()> {
    let command = command("signals", &[])?;
    let send = |pid: i32| -> Result<()> {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1] {
            sys::kill(-pid, signal)?;
            pause_ms(10);
        }
        Ok(())
    };
    let want = counted(bare(&command)?, send)?;
    let got = counted(wrapped(settings, &[], &command)?, send)?;
    ensure!(want == got, "bare\n{want}wrapped\n{got}");
    wrapped::nothing_left()
}

/// A command that a forwarded signal ends gives that signal's exit code.
fn ended_by_signals(settings: &Settings, report: &mut Report) -> Result<()> {
    let command = command("sleep", &["ms=30000"])?;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR2, 40] {
        let mut child = wrapped::spawn_piped(&mut wrapped(settings, &[], &command)?)?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("no pipe")?).read_line(&mut line)?;
        sys::kill(i32::try_from(child.id())?, signal)?;
        let status = child.wait()?;
        report.note(format!("signal {signal}: {status}"));
        ensure!(
            status.code() == Some(128 + signal),
            "signal {signal}: {status}"
        );
        wrapped::nothing_left()?;
    }
    Ok(())
}

/// Words of a program that runs `command` as a job of a shell on a terminal.
fn job(command: &Command) -> Result<Command> {
    let mut shell = Command::new(std::env::current_exe()?);
    shell
        .arg("__jobshell")
        .arg(command.get_program())
        .args(command.get_args());
    Ok(shell)
}

fn terminal_stays_one(settings: &Settings, report: &mut Report) -> Result<()> {
    let command = command("terminal", &[])?;
    let shown = |command: Command| -> Result<String> {
        let terminal = Terminal::start(&mut job(&command)?)?;
        let (status, shown) = terminal.end(LIMIT)?;
        ensure!(status.success(), "{status}: {shown}");
        Ok(shown)
    };
    let want = shown(bare(&command)?)?;
    let got = shown(wrapped(settings, &[], &command)?)?;
    report.note(got.trim().replace('\n', " | "));
    ensure!(want == got, "bare\n{want}wrapped\n{got}");
    ensure!(
        got.contains("descriptor 1 terminal 1 foreground true"),
        "{got}"
    );
    wrapped::nothing_left()
}

/// Ctrl-C and Ctrl-\ reach the command once, and gohang lives on.
fn terminal_keys(settings: &Settings, report: &mut Report) -> Result<()> {
    let command = command("signals", &["ms=800"])?;
    let shown = |command: Command| -> Result<String> {
        let mut terminal = Terminal::start(&mut job(&command)?)?;
        terminal.expect("ready\r\n", LIMIT)?;
        for keys in [b"\x03", b"\x1c", b"\x03"] {
            terminal.press(keys)?;
            pause_ms(50);
        }
        Ok(terminal.end(LIMIT)?.1)
    };
    let want = shown(bare(&command)?)?;
    let got = shown(wrapped(settings, &[], &command)?)?;
    report.note(got.trim().replace('\n', " | "));
    ensure!(got.contains("signal 2 2\nsignal 3 1\n"), "{got}");
    ensure!(want == got, "bare\n{want}wrapped\n{got}");
    wrapped::nothing_left()
}

/// Ctrl-Z stops the job for the shell, which continues it; the command goes on reading keys.
fn job_control(settings: &Settings, report: &mut Report) -> Result<()> {
    let command = command("line", &[])?;
    let shown = |command: Command| -> Result<String> {
        let mut terminal = Terminal::start(&mut job(&command)?)?;
        terminal.expect("ready\r\n", LIMIT)?;
        for _ in 0..2 {
            terminal.press(b"\x1a")?;
            terminal.expect("job stopped", LIMIT)?;
            pause_ms(200);
        }
        terminal.press(b"hello\n")?;
        Ok(terminal.end(LIMIT)?.1)
    };
    let want = shown(bare(&command)?)?;
    let got = shown(wrapped(settings, &[], &command)?)?;
    report.note(got.trim().replace('\n', " | "));
    ensure!(got.contains("got hello\njob exited 0"), "{got}");
    ensure!(want == got, "bare\n{want}wrapped\n{got}");
    // A pipeline of two, whose second reads what the first writes, on the same terminal.
    let gohang = settings.gohang()?.display().to_string();
    let pipeline = words(&["sh", "-c", &format!("'{gohang}' run -- echo through | cat")]);
    let mut terminal = Terminal::start(&mut job(&bare(&pipeline)?)?)?;
    terminal.expect("through", Duration::from_secs(10))?;
    let (_, shown) = terminal.end(LIMIT)?;
    ensure!(shown.contains("job exited 0"), "{shown}");
    wrapped::nothing_left()
}
