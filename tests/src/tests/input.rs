//! Bad input and bad circumstances: the message, the exit code, and never a backtrace.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::actor::{Actor, Target, pause_ms};
use crate::go::Workload;
use crate::product::{self, Finished, Gohang};
use crate::run::{Report, Settings, Test};
use crate::stream::Stream;
use crate::sys;

const LIMIT: Duration = Duration::from_secs(20);

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "input::unknown_pid",
            body: unknown_pid,
        },
        Test {
            name: "input::not_go",
            body: not_go,
        },
        Test {
            name: "input::nonsense",
            body: nonsense,
        },
        Test {
            name: "input::no_privilege",
            body: no_privilege,
        },
        Test {
            name: "input::unreadable_process",
            body: unreadable_process,
        },
        Test {
            name: "input::damaged_program",
            body: damaged_program,
        },
        Test {
            name: "input::no_btf",
            body: no_btf,
        },
        Test {
            name: "input::unwritable_output",
            body: unwritable_output,
        },
        Test {
            name: "input::closed_pipe",
            body: closed_pipe,
        },
        Test {
            name: "input::hostile_names",
            body: hostile_names,
        },
        Test {
            name: "input::duration_and_end",
            body: duration_and_end,
        },
        Test {
            name: "input::target_ends",
            body: target_ends,
        },
    ]
}

/// Checks the exit code, that one of the words stands in the message (any case), and that there
/// is neither a panic nor a backtrace.
fn fails(end: &Finished, code: i32, words: &[&str], report: &mut Report) -> Result<()> {
    report.note(format!("{}: {}", end.status, end.stderr_line()));
    let text = end.stderr.to_lowercase();
    ensure!(
        end.status.code() == Some(code),
        "{} instead of the code {code}",
        end.status
    );
    ensure!(
        words.iter().any(|w| text.contains(&w.to_lowercase())),
        "the message has none of {words:?}"
    );
    ensure!(
        !text.contains("panicked") && !text.contains("backtrace"),
        "a panic or backtrace"
    );
    Ok(())
}

fn succeeds_with_non_go(end: &Finished) -> Result<()> {
    ensure!(
        end.status.success(),
        "with --non-go: {}: {}",
        end.status,
        end.stderr_line()
    );
    Ok(())
}

/// The id of a process that has just ended.
fn dead_pid() -> Result<String> {
    let mut child = Command::new("/bin/true").spawn()?;
    child.wait()?;
    Ok(child.id().to_string())
}

fn unknown_pid(settings: &Settings, report: &mut Report) -> Result<()> {
    let pid = dead_pid()?;
    let end = product::run(
        settings.gohang()?,
        &["trace", "-d", "1s", "-p", &pid],
        LIMIT,
    )?;
    fails(&end, 2, &[&pid], report)?;
    for bad in ["0", "-1", "x", "99999999999", ""] {
        let arg = format!("--pid={bad}");
        let end = product::run(settings.gohang()?, &["trace", "-d", "1s", &arg], LIMIT)?;
        fails(&end, 2, &["pid"], report)?;
    }
    Ok(())
}

/// Neither a program in another language nor a kernel thread is traced without `--non-go`.
fn not_go(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start("sleep", &[], None)?;
    for pid in [target.pid.to_string(), "2".to_owned()] {
        let end = product::run(
            settings.gohang()?,
            &["trace", "-d", "1s", "-p", &pid],
            LIMIT,
        )?;
        fails(
            &end,
            2,
            &["not a Go", "no Go", "--non-go", "kernel thread"],
            report,
        )?;
    }
    let pid = target.pid.to_string();
    let args = ["trace", "-d", "200ms", "--non-go", "-p", &pid];
    let end = product::run(settings.gohang()?, &args, LIMIT)?;
    succeeds_with_non_go(&end)
}

fn nonsense(settings: &Settings, report: &mut Report) -> Result<()> {
    let gohang = settings.gohang()?;
    for bad in [
        "banana",
        "",
        "5 parsecs",
        "-1s",
        "1e400s",
        "99999999999999999999s",
    ] {
        let arg = format!("--duration={bad}");
        let end = product::run(gohang, &["trace", &arg], LIMIT)?;
        fails(&end, 2, &["duration"], report)?;
    }
    for args in [
        &["trace", "--no-such-option"][..],
        &["trace", "-o", "xml"],
        &["trace", "-o", "json", "-i", "1s", "-d", "1s"],
        &["no-such-command"],
    ] {
        let end = product::run(gohang, args, LIMIT)?;
        fails(
            &end,
            2,
            &["error", "usage", "unrecognized", "invalid", "interval"],
            report,
        )?;
    }
    Ok(())
}

/// A copy of gohang that everybody may execute.
fn copy_for_all(settings: &Settings) -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
    let copy = folder.path().join("gohang");
    std::fs::copy(settings.gohang()?, &copy)?;
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755))?;
    Ok((folder, copy))
}

/// As nobody, from a copy that nobody may execute.
fn no_privilege(settings: &Settings, report: &mut Report) -> Result<()> {
    let (_folder, copy) = copy_for_all(settings)?;
    let mut command = Command::new(&copy);
    command
        .args(["trace", "-d", "1s"])
        .current_dir("/")
        .uid(65_534)
        .gid(65_534);
    let end = Gohang::spawn_command(&mut command)?.wait(LIMIT)?;
    fails(&end, 3, &["CAP_BPF"], report)
}

/// Another's process, by its id: without the capability to read its program, by nobody and by a
/// root that has all others, the answer is the capability, not that the process is no Go program.
fn unreadable_process(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start("sleep", &[], None)?;
    let pid = target.pid.to_string();
    let (_folder, copy) = copy_for_all(settings)?;
    let command = || {
        let mut command = Command::new(&copy);
        command
            .args(["trace", "-d", "1s", "-p", &pid])
            .current_dir("/");
        command
    };
    let end = Gohang::spawn_command(command().uid(65_534).gid(65_534))?.wait(LIMIT)?;
    fails(&end, 3, &["CAP_SYS_PTRACE"], report)?;
    ensure!(end.stderr.contains("CAP_BPF"), "not all that is missing");

    // linux/capability.h.
    const DAC_OVERRIDE: u32 = 1;
    const DAC_READ_SEARCH: u32 = 2;
    const SYS_PTRACE: u32 = 19;
    let mut limited = command();
    let drop = || {
        [DAC_OVERRIDE, DAC_READ_SEARCH, SYS_PTRACE]
            .into_iter()
            .try_for_each(sys::drop_capability)
    };
    // SAFETY: system calls only between fork and exec.
    unsafe { limited.pre_exec(drop) };
    let end = Gohang::spawn_command(&mut limited)?.wait(LIMIT)?;
    fails(&end, 3, &["CAP_SYS_PTRACE"], report)?;
    ensure!(
        end.stderr.contains("CAP_DAC_READ_SEARCH") && !end.stderr.contains("CAP_BPF"),
        "what is missing is not what is named"
    );
    target.finish()?;
    Ok(())
}

/// A Go program whose build information is damaged runs all the same; gohang says what it cannot
/// tell and how to trace it.
fn damaged_program(settings: &Settings, report: &mut Report) -> Result<()> {
    const MAGIC: &[u8] = b"\xff Go buildinf:";
    /// Where the version's length stands.
    const LENGTH: usize = 32;
    let workloads = Workload::all(settings)?;
    let mut program = std::fs::read(workloads[0].path())?;
    let at = program
        .windows(MAGIC.len())
        .position(|bytes| bytes == MAGIC)
        .context("no build information")?;
    program[at + LENGTH..][..8].fill(0xff);
    let (folder, _copy) = copy_for_all(settings)?;
    let path = folder.path().join("damaged");
    std::fs::write(&path, program)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
    let mut actor = Actor::spawn(Command::new(&path).args(["spin", "30"]), None)?;
    actor.expect("ready")?;
    let pid = actor.pid().to_string();
    let args = ["trace", "-d", "300ms", "-p", &pid];
    let end = product::run(settings.gohang()?, &args, LIMIT)?;
    fails(&end, 2, &["--non-go"], report)?;
    let said = end.stderr.matches("cannot tell").count();
    ensure!(said == 1, "it says {said} times what it cannot tell");
    let args = [&args[..], &["--non-go"]].concat();
    let end = product::run(settings.gohang()?, &args, LIMIT)?;
    actor.kill();
    succeeds_with_non_go(&end)
}

fn no_btf(settings: &Settings, report: &mut Report) -> Result<()> {
    let path = "/nonexistent/vmlinux";
    let args = ["trace", "-d", "1s", "--btf", path];
    let end = product::run(settings.gohang()?, &args, LIMIT)?;
    fails(&end, 3, &["BTF"], report)
}

fn traced_target(settings: &Settings, more: &[&str]) -> Result<(Target, Command)> {
    let target = Target::start("sleep", &["self_us=1000"], None)?;
    let mut command = Command::new(settings.gohang()?);
    command
        .args(["trace", "--non-go", "-p", &target.pid.to_string()])
        .args(more);
    Ok((target, command))
}

fn unwritable_output(settings: &Settings, report: &mut Report) -> Result<()> {
    for format in ["json", "jsonl", "text"] {
        let (_target, mut command) = traced_target(settings, &["-d", "300ms", "-o", format])?;
        let full = File::options().write(true).open("/dev/full")?;
        let mut child = command.stdout(full).stderr(Stdio::piped()).spawn()?;
        let mut text = String::new();
        let mut pipe = child.stderr.take().context("no pipe")?;
        std::io::Read::read_to_string(&mut pipe, &mut text)?;
        let status = child.wait()?;
        report.note(format!(
            "{format}: {status}: {}",
            text.trim().replace('\n', " | ")
        ));
        ensure!(
            !status.success(),
            "nothing was written, and it ended as if it had been"
        );
        ensure!(status.code().is_some(), "it was killed: {status}");
        ensure!(!text.contains("panicked"), "a panic");
        ensure!(
            text.contains("No space left") || text.contains("write"),
            "no reason given"
        );
    }
    Ok(())
}

/// A reader that goes away is no error.
fn closed_pipe(settings: &Settings, report: &mut Report) -> Result<()> {
    for more in [
        &["-d", "500ms"][..],
        &["-d", "1s", "-o", "jsonl", "--events"],
    ] {
        let (_target, mut command) = traced_target(settings, more)?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        drop(child.stdout.take());
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        report.note(format!(
            "{}: {}",
            output.status,
            text.trim().replace('\n', " | ")
        ));
        ensure!(output.status.success(), "a closed pipe made it fail");
        ensure!(!text.contains("panicked"), "a panic");
    }
    Ok(())
}

/// Control characters: C0 but for the line break and the tab, DEL, and C1.
fn has_control(text: &str) -> bool {
    text.chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
}

/// No control byte of a process's name reaches the terminal, and JSON carries it unharmed.
fn hostile_names(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start("name", &["self_us=1000"], None)?;
    let pid = target.pid.to_string();
    for more in [
        &["-o", "text"][..],
        &["-o", "jsonl", "--events"],
        &["-o", "text", "--by", "thread"],
    ] {
        let args = [&["trace", "--non-go", "-d", "400ms", "-p", &pid], more].concat();
        let end = product::run(settings.gohang()?, &args, LIMIT)?;
        ensure!(
            end.status.success(),
            "{more:?}: {}: {}",
            end.status,
            end.stderr_line()
        );
        let text = String::from_utf8(end.stdout.clone()).context("the output is not UTF-8")?;
        ensure!(
            !has_control(&text),
            "a control character in the output: {text:?}"
        );
        ensure!(
            !has_control(&end.stderr),
            "a control character in {:?}",
            end.stderr
        );
        if more.contains(&"jsonl") {
            let stream = Stream::parse(&end.stdout)?;
            let comm = stream.process(u32::try_from(target.pid)?)?["comm"].clone();
            report.note(format!("comm {comm}"));
            ensure!(comm.is_string(), "no comm");
        }
    }
    target.finish()?;
    Ok(())
}

/// `-d` ends by itself, SIGTERM as SIGINT does, and both print.
fn duration_and_end(settings: &Settings, report: &mut Report) -> Result<()> {
    let (_target, mut command) = traced_target(settings, &["-o", "json", "-d", "700ms"])?;
    let mut gohang = Gohang::spawn_command(&mut command)?;
    gohang.wait_ready()?;
    let from = gohang.tracing_ns;
    let end = gohang.wait(LIMIT)?;
    let took_ms = (crate::sys::mono_ns() - from) / 1_000_000;
    report.note(format!("-d 700ms took {took_ms} ms from the line on"));
    end.expect_success()?;
    ensure!((690..2_000).contains(&took_ms), "700 ms took {took_ms} ms");
    let document: serde_json::Value = serde_json::from_slice(&end.stdout)?;
    ensure!(document["schema_version"].is_u64(), "no schema_version");
    let duration = crate::stream::number(&document, "/duration_ns")?;
    ensure!(
        (690_000_000..1_000_000_000).contains(&duration),
        "duration_ns {duration}"
    );

    let (_target, mut command) = traced_target(settings, &["-o", "json"])?;
    let mut gohang = Gohang::spawn_command(&mut command)?;
    gohang.wait_ready()?;
    pause_ms(200);
    gohang.signal(libc::SIGTERM)?;
    let end = gohang.wait(LIMIT)?;
    ensure!(
        end.status.success(),
        "SIGTERM: {}: {}",
        end.status,
        end.stderr_line()
    );
    serde_json::from_slice::<serde_json::Value>(&end.stdout).context("after SIGTERM")?;
    Ok(())
}

/// Targets that end during the trace are no error.
fn target_ends(settings: &Settings, report: &mut Report) -> Result<()> {
    let (target, mut command) = traced_target(settings, &["-o", "jsonl", "-d", "1s", "--events"])?;
    let mut gohang = Gohang::spawn_command(&mut command)?;
    gohang.wait_ready()?;
    pause_ms(200);
    target.finish()?;
    let end = gohang.wait(LIMIT)?;
    end.expect_success()?;
    let stream = Stream::parse(&end.stdout)?;
    report.note(format!("{} episodes", stream.lines.len()));
    ensure!(
        stream.lines.len() > 50,
        "only {} episodes",
        stream.lines.len()
    );
    Ok(())
}
