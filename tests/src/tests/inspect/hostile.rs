//! Hostile names, processes that end meanwhile, little privilege, and many processes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
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

/// Variables that fill an environment up, 120 KiB each.
const FILLERS: usize = 14;
/// Most looks at a group whose processes come and go, and how many are to end while they are
/// looked at.
const LOOKS: usize = 200;
const ENDED: usize = 3;
/// Who has no privileges.
const NOBODY: u32 = 65534;
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
            name: "inspect::coming_and_going",
            body: coming_and_going,
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

/// Names with line breaks, control bytes and bytes that are not UTF-8, and an environment
/// almost as large as the kernel allows, each of its variables and all of them.
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
    // The kernel takes 128 KiB of one variable and 2 MiB of all.
    for filler in 0..FILLERS {
        command.env(format!("A{filler}"), "\u{9b}\n".repeat(40_000));
    }
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

/// A group in which processes start and end all the time: what ended meanwhile is left out, and
/// what is told is whole.
fn coming_and_going(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, None)?;
    let mut shells = Vec::new();
    for _ in 0..2 {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; while :; do /bin/true; done"]);
        let mut shell = Actor::spawn(&mut command, Some(&group))?;
        shell.expect("ready")?;
        shells.push(shell);
    }
    let path = group.path().to_string_lossy().into_owned();
    let (mut looks, mut ended) = (0, 0);
    while ended < ENDED && looks < LOOKS {
        looks += 1;
        let args = ["inspect", "--non-go", "--cgroup", &path, "-o", "json"];
        let end = run(settings.gohang()?, &args, Duration::from_secs(20))?;
        ensure!(!end.stderr.contains("panicked"), "{}", end.stderr_line());
        end.expect_success()?;
        let found: Value = serde_json::from_slice(&end.stdout).context("not JSON")?;
        for process in found["processes"].as_array().context("a list")? {
            ensure!(
                process["threads"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty()),
                "{process}"
            );
        }
        for failed in found["failed"].as_array().context("a list")? {
            ensure!(failed["gone"] == true, "{failed}");
            ended += 1;
        }
    }
    for shell in &mut shells {
        shell.kill();
    }
    // Their last children.
    crate::actor::pause_ms(100);
    report.note(format!("{ended} ended in {looks} looks"));
    ensure!(ended >= ENDED, "only {ended} ended in {looks} looks");
    Ok(())
}

/// Without privileges it shows what it may, and names what it may not.
fn ordinary_user(settings: &Settings, report: &mut Report) -> Result<()> {
    let program = Program::of(settings, NEWEST, "1.25")?;
    let (actor, _) = program.start(None, &[("GOMAXPROCS", "2")])?;
    let (_folder, copy) = copy_for_others(settings)?;
    let output = Command::new(&copy)
        .args(["inspect", "-o", "json", &actor.pid().to_string()])
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
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

/// A copy of gohang that others may execute, wherever the build is, in a folder that goes with
/// what is returned.
fn copy_for_others(settings: &Settings) -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::Builder::new()
        .prefix("gohang-test-")
        .tempdir_in("/tmp")?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let copy = folder.path().join("gohang");
    std::fs::copy(settings.gohang()?, &copy)?;
    Ok((folder, copy))
}

/// Five hundred Go processes in less than a second and 50 MiB, with privileges and without.
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
    let (_folder, copy) = copy_for_others(settings)?;
    for user in [0, NOBODY] {
        let mut best = (Duration::MAX, u64::MAX);
        // The machine may be busy with something else once.
        for _ in 0..3 {
            let begin = Instant::now();
            let child = Command::new(&copy)
                .args(["inspect", "--cgroup", &path, "-o", "json"])
                .current_dir("/")
                .uid(user)
                .gid(user)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?;
            let (output, rss) = sys::wait_with_memory(child)?;
            let took = begin.elapsed();
            let found: Value = serde_json::from_slice(&output)?;
            let processes = found["processes"].as_array().context("a list")?;
            ensure!(processes.len() == MANY, "{} processes", processes.len());
            let told = |own: &Value| match user {
                0 => own["go"]["gomaxprocs"]["seen"] == 1,
                _ => own["sigurg"]["caught"] == true && own["withheld"][0]["reason"].is_string(),
            };
            ensure!(processes.iter().all(told), "user {user}: one is not told");
            best = best.min((took, rss));
        }
        let (took, rss) = best;
        report.note(format!(
            "user {user}: {MANY} processes in {took:?} with {} MiB",
            rss >> 20
        ));
        ensure!(took < LIMIT, "user {user}: {took:?}");
        ensure!(rss < MEMORY, "user {user}: {rss} bytes");
    }
    Ok(())
}
