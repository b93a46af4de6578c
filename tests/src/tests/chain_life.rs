//! Probes in Go programs: taken off where they cost too much, refused, left out, few for many
//! processes, right for a file that was replaced, and gone in the end.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::chain::uprobes;
use super::life::all_gone;
use crate::actor::{Actor, pause_ms};
use crate::bpf;
use crate::go::Workload;
use crate::product::{Finished, Gohang};
use crate::run::{Report, Settings, Test, skip};
use crate::stream::{Stream, number};
use crate::sys;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let test = |name, body| Test { name, body };
    vec![
        test("chain::gosched_unnoticed", gosched),
        test("chain::detached_where_too_often", detached),
        test("chain::taken_off_unnoticed", unnoticed),
        test("chain::no_uprobes", no_uprobes),
        test("chain::refused", refused),
        test("chain::replaced", replaced),
        test("chain::gone_at_once", gone),
        test("chain::thousands_of_processes", thousands),
    ]
}

/// CAP_SYS_ADMIN (include/uapi/linux/capability.h).
const SYS_ADMIN: u32 = 21;

/// Points that there are.
const POINTS: usize = 14;

/// Those of the newest Go version: it says itself when a stop of the world is complete, and
/// has no `gopreempt_m`.
const OF_NEWEST: usize = POINTS - 2;

/// What a program gets to that reads its memory's statistics all the time.
const STOPS: [&str; 2] = [
    "runtime.startTheWorldWithSema",
    "runtime.stopTheWorldWithSema",
];

/// Processes of one program.
const PROCESSES: usize = 2_000;

/// Memory that so many take: about 2 MiB each, and a margin.
const THEIR_MIB: u64 = 6_000;

/// Tracing so many must begin later than tracing one by at most so many times what it takes to
/// read the status of all their threads: gohang reads that (of up to 4,096) and six small files
/// of each process, and the kernel writes twelve breakpoints into each, all of it at the
/// machine's speed, which a number of seconds would not know.
const LOOKS: u64 = 6;

fn newest(settings: &Settings) -> Result<Workload> {
    let all = Workload::all(settings)?;
    let newest = all.into_iter().rfind(|w| !w.stripped);
    newest.context("no workload")
}

fn start(workload: &Workload, kind: &str) -> Result<Actor> {
    let mut actor = workload.start(&[kind, "120"], None)?;
    actor.expect("ready")?;
    Ok(actor)
}

/// Starts a trace of requests and stops, and waits until it traces.
pub(super) fn spawn(settings: &Settings, words: &[&str]) -> Result<Gohang> {
    let args: Vec<String> = ["trace", "-o", "jsonl", "--events"]
        .iter()
        .chain(words)
        .map(|word| (*word).to_owned())
        .collect();
    let mut gohang = Gohang::spawn(settings.gohang()?, &args)?;
    gohang.wait_ready()?;
    Ok(gohang)
}

/// The reason that the probe set gives for a hook.
fn reason<'a>(end: &'a Value, hook: &str) -> Option<&'a str> {
    let hooks = end["probe_set"].as_array()?;
    let found = hooks.iter().find(|entry| entry["hook"] == hook)?;
    found["reason"].as_str()
}

/// The mean of the next numbers of turns.
fn turns(actor: &mut Actor, lines: u64) -> Result<u64> {
    let mut sum = 0;
    for _ in 0..lines {
        sum += actor.expect_number("turns")?;
    }
    Ok(sum / lines)
}

/// A trace of a program that says how many turns it does.
struct Turns {
    pid: String,
    /// Turns in half a second before the trace, and when it has gone on for some seconds.
    before: u64,
    behind: u64,
    finished: Finished,
    stream: Stream,
}

impl Turns {
    /// Traces one for some seconds.
    fn trace(settings: &Settings, kind: &str, report: &mut Report) -> Result<Self> {
        let mut actor = start(&newest(settings)?, kind)?;
        let pid = actor.pid().to_string();
        turns(&mut actor, 1)?;
        let before = turns(&mut actor, 4)?;
        let known_ns = sys::mono_ns();
        let gohang = spawn(settings, &["-p", &pid])?;
        pause_ms(4_000);
        // Those that it has printed since then.
        let lines = (sys::mono_ns() - known_ns) / 500_000_000;
        let during = (0..lines).map(|_| turns(&mut actor, 1));
        let during = during.collect::<Result<Vec<u64>>>()?;
        let behind = turns(&mut actor, 4)?;
        let finished = gohang.interrupt()?;
        let stream = Stream::parse(&finished.stdout)?;
        report.note(format!(
            "turns in half a second: {before} before, {during:?} and then {behind} while traced"
        ));
        Ok(Self {
            pid,
            before,
            behind,
            finished,
            stream,
        })
    }
}

/// A program that yields all the time of its own accord gets to no probe by that: it keeps all
/// of them, and is as fast as before.
fn gosched(settings: &Settings, report: &mut Report) -> Result<()> {
    let found = Turns::trace(settings, "gosched", report)?;
    let detached = uprobes(&found.stream.end, "detached");
    ensure!(detached.is_empty(), "detached: {detached:?}");
    let (before, behind) = (found.before, found.behind);
    ensure!(
        behind >= before / 2,
        "{behind} turns after {before}: slowed"
    );
    ensure!(uprobes(&found.stream.end, "attached").len() == OF_NEWEST);
    Ok(())
}

/// A program that gets to probes all the time loses them at once, and the report says so. (How
/// many turns it does varies tenfold by itself.)
fn detached(settings: &Settings, report: &mut Report) -> Result<()> {
    let found = Turns::trace(settings, "memstats", report)?;
    let Turns {
        pid,
        finished,
        stream,
        ..
    } = &found;
    let mut detached = uprobes(&stream.end, "detached");
    detached.sort_unstable();
    for function in STOPS {
        let hook = format!("uprobe:{function}");
        let why = reason(&stream.end, &hook).unwrap_or("");
        report.note(format!("{function}: {why}"));
        ensure!(
            detached.iter().any(|own| own == function) && why.contains(&format!("process {pid}")),
            "detached: {detached:?}, {why:?}"
        );
        ensure!(
            finished.stderr.contains(&hook),
            "no warning: {}",
            finished.stderr_line()
        );
    }
    ensure!(uprobes(&stream.end, "attached").len() == OF_NEWEST - detached.len());
    Ok(())
}

/// How often a thread of the process was seen waiting in the kernel for a probe that is being
/// taken off, looked at every half millisecond until told to end, and how often it was looked.
fn waits_for_probes(pid: i32, end: &AtomicBool) -> (u64, u64) {
    let tasks = format!("/proc/{pid}/task");
    let (mut waits, mut looks) = (0, 0);
    while !end.load(Ordering::Relaxed) {
        for task in std::fs::read_dir(&tasks).into_iter().flatten().flatten() {
            let read = |name: &str| std::fs::read_to_string(task.path().join(name));
            let (Ok(stat), Ok(stack)) = (read("stat"), read("stack")) else {
                continue;
            };
            let is_blocked = stat.rsplit(')').next().is_some_and(|s| s.starts_with(" D"));
            waits += u64::from(is_blocked && stack.contains("handler_chain"));
            looks += 1;
        }
        sys::sleep_ns(500_000);
    }
    (waits, looks)
}

/// Probes are taken off a program that gets there all the time, and those that are left in the
/// end: no thread of it waits for that.
fn unnoticed(settings: &Settings, report: &mut Report) -> Result<()> {
    let symbols = std::fs::read_to_string("/proc/kallsyms")?;
    if !symbols.contains("bpf_uprobe_multi_link_attach") {
        return Err(skip("this kernel has no uprobe-multi links"));
    }
    let actor = start(&newest(settings)?, "memstats")?;
    let pid = actor.pid();
    let end = AtomicBool::new(false);
    let (finished, (waits, looks)) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| waits_for_probes(pid, &end));
        let finished = trace_for(settings, pid, 2_000);
        end.store(true, Ordering::Relaxed);
        (finished, watch.join().expect("no panic"))
    });
    let stream = Stream::parse(&finished?.stdout)?;
    let (attached, detached) = (
        uprobes(&stream.end, "attached"),
        uprobes(&stream.end, "detached"),
    );
    report.note(format!(
        "{} points attached in the end, detached {detached:?}; {waits} of {looks} looks at a \
         thread found it waiting for a probe",
        attached.len()
    ));
    ensure!(!detached.is_empty(), "nothing was taken off while it ran");
    ensure!(waits == 0, "threads waited for a probe");
    Ok(())
}

/// Traces a process for so long.
fn trace_for(settings: &Settings, pid: i32, ms: u64) -> Result<Finished> {
    let gohang = spawn(settings, &["-p", &pid.to_string()])?;
    pause_ms(ms);
    gohang.interrupt()
}

/// Without probes in programs the report says so, and has the kernel's side.
fn no_uprobes(settings: &Settings, _: &mut Report) -> Result<()> {
    let actor = start(&newest(settings)?, "spin")?;
    let gohang = spawn(settings, &["--no-uprobes", "-p", &actor.pid().to_string()])?;
    pause_ms(2_000);
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    without(&stream, u32::try_from(actor.pid())?, "not_needed")?;
    ensure!(reason(&stream.end, "uprobe:runtime.preemptone") == Some("--no-uprobes"));
    Ok(())
}

/// No chain, but episodes.
fn without(stream: &Stream, pid: u32, state: &str) -> Result<()> {
    ensure!(
        uprobes(&stream.end, state).len() == POINTS,
        "probe set {}",
        stream.end["probe_set"]
    );
    let process = stream.process(pid)?;
    ensure!(process["chain"].is_null() && stream.requests.is_empty());
    let episodes = number(process, "/episodes")?;
    ensure!(episodes >= 10, "only {episodes} episodes");
    Ok(())
}

/// A user who may trace the kernel but not probe programs gets the kernel's side, and is told.
fn refused(settings: &Settings, report: &mut Report) -> Result<()> {
    let actor = start(&newest(settings)?, "spin")?;
    let mut command = Command::new(settings.gohang()?);
    let pid = actor.pid().to_string();
    command.args(["trace", "-o", "jsonl", "--events", "-p", &pid]);
    // SAFETY: one system call between fork and exec, which allocates nothing.
    unsafe { command.pre_exec(|| sys::drop_capability(SYS_ADMIN)) };
    let mut gohang = Gohang::spawn_command(&mut command)?;
    gohang.wait_ready()?;
    pause_ms(2_000);
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    let why = reason(&stream.end, "uprobe:runtime.preemptone");
    if uprobes(&stream.end, "attached").len() == OF_NEWEST {
        report.note("this kernel lets such a user probe programs");
        return Ok(());
    }
    report.note(format!("{why:?}"));
    ensure!(why.is_some_and(|why| !why.is_empty()), "no reason is given");
    without(&stream, u32::try_from(actor.pid())?, "refused")
}

/// Requests of a process with every step.
fn whole(stream: &Stream, pid: u32) -> usize {
    let lines = stream.requests.iter();
    lines
        .filter(|line| line["pid"] == pid && line["resumed_ns"].is_u64())
        .count()
}

/// A file that another one takes the place of, before the trace and while it runs: each
/// process is probed by the file that it runs.
fn replaced(settings: &Settings, report: &mut Report) -> Result<()> {
    let all = Workload::all_pie(settings)?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("program");
    let put = |workload: &Workload| -> Result<()> {
        let new = folder.path().join("new");
        std::fs::copy(workload.path(), &new)?;
        Ok(std::fs::rename(new, &program)?)
    };
    let run = || -> Result<Actor> {
        let mut actor = Actor::spawn(Command::new(&program).args(["spin", "120"]), None)?;
        actor.expect("ready")?;
        Ok(actor)
    };
    let mut actors = Vec::new();
    for workload in &all[..2] {
        put(workload)?;
        actors.push(run()?);
    }
    let gohang = spawn(settings, &[])?;
    put(&all[2])?;
    actors.push(run()?);
    pause_ms(4_000);
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    for (workload, actor) in all.iter().zip(&actors) {
        let pid = u32::try_from(actor.pid())?;
        let found = whole(&stream, pid);
        report.note(format!("{workload}: {found} requests with every step"));
        ensure!(
            found >= 3,
            "{workload}: only {found} requests with every step"
        );
    }
    Ok(())
}

/// Processes that end before they can be probed do no harm.
fn gone(settings: &Settings, report: &mut Report) -> Result<()> {
    let workload = newest(settings)?;
    let gohang = spawn(settings, &[])?;
    for _ in 0..100 {
        // It ends at once: there is no such kind.
        let mut command = Command::new(workload.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.arg("nothing").arg("0").status()?;
    }
    let actor = start(&workload, "spin")?;
    pause_ms(3_000);
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    let found = whole(&stream, u32::try_from(actor.pid())?);
    report.note(format!(
        "{found} requests with every step after 100 processes"
    ));
    ensure!(
        uprobes(&stream.end, "attached").len() == OF_NEWEST,
        "probe set {}",
        stream.end["probe_set"]
    );
    ensure!(found >= 3, "only {found} requests with every step");
    Ok(())
}

/// Many processes, killed in the end.
struct Crowd(Vec<Child>);

impl Crowd {
    fn start(program: &Path, count: usize) -> Result<Self> {
        let mut crowd = Self(Vec::new());
        for _ in 0..count {
            let mut command = Command::new(program);
            command.args(["sleep", "600"]).env("GOMAXPROCS", "1");
            command.stdin(Stdio::null()).stdout(Stdio::null());
            // SAFETY: one system call between fork and exec, which allocates nothing.
            unsafe {
                command.pre_exec(|| {
                    sys::die_with_parent();
                    Ok(())
                })
            };
            crowd.0.push(command.spawn()?);
        }
        Ok(crowd)
    }
}

impl Crowd {
    /// Reads the status of every thread, as any tool does that shows them; their number.
    fn look(&self) -> Result<usize> {
        let mut threads = 0;
        let mut text = Vec::with_capacity(4096);
        for child in &self.0 {
            for task in std::fs::read_dir(format!("/proc/{}/task", child.id()))? {
                text.clear();
                File::open(task?.path().join("status"))?.read_to_end(&mut text)?;
                threads += 1;
            }
        }
        Ok(threads)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended.
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

fn available_mib() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kib: u64 = line
        .and_then(|l| l.trim().strip_suffix(" kB")?.parse().ok())
        .context("no MemAvailable")?;
    Ok(kib / 1024)
}

/// What a process holds that is attached: links, and perf events.
fn attachments(pid: u32) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = std::fs::read_link(entry?.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        count += usize::from(target.contains("bpf_link") || target.contains("[perf_event]"));
    }
    Ok(count)
}

/// Thousands of processes of one program cost what one costs: the same attachments, and a
/// start that is later by some looks at them; and nothing is left behind.
fn thousands(settings: &Settings, report: &mut Report) -> Result<()> {
    let workload = newest(settings)?;
    let many = if available_mib()? >= THEIR_MIB {
        PROCESSES
    } else {
        PROCESSES / 10
    };
    let mut one = None;
    for count in [1, many] {
        let crowd = Crowd::start(workload.path(), count)?;
        pause_ms(2_000);
        let looking = Instant::now();
        let threads = crowd.look()?;
        let look_ns = looking.elapsed().as_nanos() as u64;
        let gohang = spawn(settings, &[])?;
        let start_up_ns = gohang.start_up_ns;
        let ms = start_up_ns / 1_000_000;
        let attached = attachments(gohang.pid())?;
        let held = bpf::held_by(gohang.pid())?;
        pause_ms(1_500);
        let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
        let wanted: Vec<u32> = crowd.0.iter().map(Child::id).collect();
        let processes = stream.end["processes"].as_array().into_iter().flatten();
        let found = processes
            .filter(|p| wanted.iter().any(|pid| p["pid"] == *pid))
            .count();
        report.note(format!(
            "{count} processes: {attached} attachments, {found} in the report, tracing after {ms} \
             ms; to read the status of their {threads} threads takes {:.1} ms",
            look_ns as f64 / 1e6
        ));
        ensure!(uprobes(&stream.end, "attached").len() == OF_NEWEST);
        let (first_attached, first_ns) = *one.get_or_insert((attached, start_up_ns));
        ensure!(first_attached == attached, "more for more processes");
        let more_ns = start_up_ns.saturating_sub(first_ns);
        // Of one process, nothing is more.
        ensure!(
            more_ns <= LOOKS * look_ns,
            "{count} processes cost {more_ns} ns more"
        );
        all_gone(&held)?;
        drop(crowd);
    }
    Ok(())
}
