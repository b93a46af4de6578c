//! Hostile names, processes that end meanwhile, little privilege, and many processes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::program::{NEWEST, Program, one, text};
use crate::actor::Actor;
use crate::group::Group;
use crate::product::run;
use crate::run::{Report, Settings, Test, skip};
use crate::sys;

/// Processes that are looked at at once, and what that may take.
const MANY: usize = 500;
const LIMIT: Duration = Duration::from_secs(1);
const MEMORY: u64 = 50 << 20;
/// Memory that a machine needs to run them: a bit less than 4 GiB is left of that many.
const NEEDED: u64 = 3900 << 20;

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "inspect::hostile_names",
            body: hostile_names,
        },
        Test {
            name: "inspect::bad_input",
            body: bad_input,
        },
        Test {
            name: "inspect::ordinary_user",
            body: ordinary_user,
        },
        Test {
            name: "inspect::many_processes",
            body: many_processes,
        },
    ]
}

/// Names with line breaks, control bytes and bytes that are not UTF-8, and an environment as
/// large as the kernel allows for one variable.
fn hostile_names(settings: &Settings, _report: &mut Report) -> Result<()> {
    let outer = Group::new(&settings.hierarchy()?, None)?;
    let raw = b"a\x1b[31mb\x07\xff\xc2\x9bc\x7f";
    let path = outer.path().join(OsStr::from_bytes(raw));
    std::fs::create_dir(&path).context("cannot make the group")?;
    let program = Program::of(settings, NEWEST, "1.25")?;
    let folder = tempfile::tempdir()?;
    let named = folder
        .path()
        .join(OsStr::from_bytes(b"x\n\x1b]0;t\x07\xff"));
    std::fs::copy(program.path(), &named)?;
    let huge = format!("gctrace=0,{}", "x=\u{9b}\n,".repeat(15_000));
    let mut command = Command::new(&named);
    command.env("GODEBUG", &huge).env("GOMAXPROCS", "\u{9b}2\n");
    let mut actor = Actor::spawn(&mut command, None)?;
    actor.expect_number("procs ")?;
    std::fs::write(path.join("cgroup.procs"), actor.pid().to_string())?;
    let pid = actor.pid().to_string();
    let check = || -> Result<()> {
        for args in [
            &["inspect", pid.as_str()][..],
            &["advise", &pid, "--sample", "50ms"],
            &["inspect", "-o", "json", &pid],
        ] {
            let text = text(settings, args)?;
            let harmless = |byte: &u8| !matches!(byte, 0..0x20 | 0x7f) || *byte == b'\n';
            ensure!(text.iter().all(harmless), "{args:?}: a control byte passes");
            let text = String::from_utf8(text).context("not UTF-8")?;
            ensure!(
                !text.chars().any(|c| c.is_control() && c != '\n'),
                "{args:?}"
            );
        }
        let process = one(settings, actor.pid(), &[])?;
        let hex = |value: &Value| value["bytes_hex"].as_str().map(str::to_owned);
        let group = hex(&process["groups"]["cpu"]["path"]).context("the group is text")?;
        let want: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(group.ends_with(&want), "{group} does not end with {want}");
        let comm = hex(&process["comm"]).context("the name is text")?;
        let comm_of = std::fs::read(format!("/proc/{pid}/comm"))?;
        let comm_of = comm_of.strip_suffix(b"\n").unwrap_or(&comm_of);
        let want: String = comm_of.iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(comm == want, "{comm} instead of {want}");
        ensure!(
            process["go"]["gomaxprocs"]["set"] == "\u{9b}2\n",
            "{}",
            process["go"]["gomaxprocs"]
        );
        Ok(())
    };
    let checked = check();
    actor.kill();
    crate::actor::pause_ms(50);
    std::fs::remove_dir(&path).context("cannot remove the group")?;
    checked
}

/// Ids that are none, and processes that end while they are looked at.
fn bad_input(settings: &Settings, _report: &mut Report) -> Result<()> {
    let mut child = Command::new("/bin/true").spawn()?;
    child.wait()?;
    let dead = child.id().to_string();
    for (args, word) in [
        (&["inspect", dead.as_str()][..], dead.as_str()),
        (&["inspect", "0"], "0"),
        (&["inspect", "x"], "x"),
        (&["inspect", "--cgroup", "relative"], "absolute"),
        (&["inspect", "--migrate-to", "/x"], "one process"),
        (&["inspect", "1", "--yes"], "--migrate-to"),
    ] {
        let end = run(settings.gohang()?, args, Duration::from_secs(20))?;
        ensure!(end.status.code() == Some(2), "{args:?}: {}", end.status);
        ensure!(end.stderr.contains(word), "{args:?}: {}", end.stderr_line());
        ensure!(!end.stderr.contains("panicked"), "{}", end.stderr_line());
    }
    // It ends in the middle of the sample.
    let program = Program::of(settings, NEWEST, "1.25")?;
    let (mut actor, _) = program.start(None, &[])?;
    let pid = actor.pid().to_string();
    let waiting = std::thread::spawn(move || {
        crate::actor::pause_ms(500);
        actor.kill();
    });
    let args = ["inspect", &pid, "--sample", "3s"];
    let end = run(settings.gohang()?, &args, Duration::from_secs(60))?;
    let _ = waiting.join();
    ensure!(end.status.code() == Some(2), "{}", end.status);
    ensure!(end.stderr.contains(&pid), "{}", end.stderr_line());
    Ok(())
}

/// Without privileges it shows what it may, and names what it may not.
fn ordinary_user(settings: &Settings, report: &mut Report) -> Result<()> {
    let program = Program::of(settings, NEWEST, "1.25")?;
    let (actor, _) = program.start(None, &[("GOMAXPROCS", "2")])?;
    // A copy that others may execute, wherever the build is.
    let folder = tempfile::Builder::new()
        .prefix("gohang-test-")
        .tempdir_in("/tmp")?;
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let copy = folder.path().join("gohang");
    std::fs::copy(settings.gohang()?, &copy)?;
    let output = Command::new(&copy)
        .args(["inspect", "-o", "json", &actor.pid().to_string()])
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let process = &found["processes"][0];
    ensure!(process["sigurg"]["caught"] == true, "{process}");
    ensure!(!process["groups"]["cpu"].is_null(), "no groups");
    ensure!(process["go"].is_null(), "it may not read the program");
    let withheld = process["withheld"].as_array().context("a list")?;
    let named = withheld.iter().any(|one| {
        let reason = one["reason"].as_str().unwrap_or("");
        one["what"] == "whether it is a Go program" && reason.contains("CAP_SYS_PTRACE")
    });
    ensure!(named, "{withheld:?}");
    report.note(format!("withheld: {}", withheld.len()));
    Ok(())
}

/// The machine's memory, bytes.
fn memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = kib.and_then(|kib| kib.trim().strip_suffix(" kB"));
    Ok(kib.context("no MemTotal")?.trim().parse::<u64>()? << 10)
}

/// Five hundred Go processes in less than a second and 50 MiB.
fn many_processes(settings: &Settings, report: &mut Report) -> Result<()> {
    if memory()? < NEEDED {
        return Err(skip("needs 4 GiB of memory for the processes"));
    }
    let program = Program::of(settings, NEWEST, "1.25")?;
    let group = Group::new(&settings.hierarchy()?, None)?;
    let mut actors = Vec::new();
    for _ in 0..MANY {
        actors.push(program.start(Some(&group), &[("GOMAXPROCS", "1")])?.0);
    }
    let path = group.path().to_string_lossy().into_owned();
    let mut best = (Duration::MAX, u64::MAX);
    // The machine may be busy with something else once.
    for _ in 0..3 {
        let begin = Instant::now();
        let child = Command::new(settings.gohang()?)
            .args(["inspect", "--cgroup", &path, "-o", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let (output, rss) = sys::wait_with_memory(child)?;
        let took = begin.elapsed();
        let found: Value = serde_json::from_slice(&output)?;
        let processes = found["processes"].as_array().context("a list")?;
        ensure!(processes.len() == MANY, "{} processes", processes.len());
        let all = processes
            .iter()
            .all(|own| own["go"]["gomaxprocs"]["seen"] == 1);
        ensure!(all, "a value was not read");
        best = best.min((took, rss));
    }
    let (took, rss) = best;
    report.note(format!(
        "{MANY} processes in {took:?} with {} MiB",
        rss >> 20
    ));
    ensure!(took < LIMIT, "{took:?}");
    ensure!(rss < MEMORY, "{rss} bytes");
    Ok(())
}
