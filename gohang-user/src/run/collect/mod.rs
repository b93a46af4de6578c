//! Looking at the command's processes when it hangs. Everything here is read, nothing is
//! changed; what may not be read is left out, and said.

mod environment;
mod fds;
mod socket;
mod thread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::golang::{GoProgram, Inspector, preemption_off};
use crate::process::{Activity, ProcRoot, Status};
use crate::run::evidence::{GoFacts, Process, Socket};
use crate::run::leaves;

/// Most processes that are looked at.
const MAX_PROCESSES: usize = 500;
/// Most arguments of one, and most bytes of each.
const MAX_ARGS: usize = 64;
const MAX_ARG: usize = 4096;

/// What was found so far; its threads may still be adding to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The processes.
    pub processes: Vec<Process>,
    /// Sockets that they hold.
    pub sockets: Vec<Socket>,
    /// What kinds could not be had.
    pub lacking: BTreeSet<String>,
    /// Everything was looked at.
    pub complete: bool,
}

/// Looks at `pids` in a thread of its own (a read of `/proc` may wait for a lock that a
/// process which hangs in the kernel holds), for at most `limit`. `meanwhile` is called
/// often until it is done.
pub(super) fn look(
    proc: &ProcRoot,
    pids: Vec<u32>,
    limit: Duration,
    mut meanwhile: impl FnMut() -> std::io::Result<()>,
) -> std::io::Result<Found> {
    let end = Instant::now() + limit;
    let found = Arc::new(Mutex::new(Found::default()));
    let lock = |found: &Mutex<Found>| {
        let found = found.lock().unwrap_or_else(PoisonError::into_inner);
        Found::clone(&found)
    };
    let (theirs, proc) = (Arc::clone(&found), proc.clone());
    let thread = std::thread::Builder::new().name("look".into());
    let thread = thread.spawn(move || look_at_all(&proc, &pids, &theirs))?;
    while !thread.is_finished() && Instant::now() < end {
        meanwhile()?;
    }
    Ok(lock(&found))
}

fn look_at_all(proc: &ProcRoot, pids: &[u32], found: &Mutex<Found>) {
    let add = |change: &mut dyn FnMut(&mut Found)| {
        change(&mut found.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let inspector = Inspector::new(proc.clone());
    let leaves = leaves::find(proc, &inspector, pids);
    if pids.len() > MAX_PROCESSES {
        let line = format!(
            "{} of {} processes were not looked at",
            pids.len() - MAX_PROCESSES,
            pids.len()
        );
        add(&mut |found| found.lacking.extend([line.clone()]));
    }
    for &pid in pids.iter().take(MAX_PROCESSES) {
        let mut lacking = BTreeSet::new();
        if let Some(mut process) = look_at(proc, &inspector, pid, &mut lacking) {
            process.leaf = leaves.contains(&pid);
            add(&mut |found| found.processes.push(process.clone()));
        }
        add(&mut |found| found.lacking.append(&mut lacking));
    }
    let held: BTreeMap<u32, Vec<(u32, u64)>> = {
        let found = found.lock().unwrap_or_else(PoisonError::into_inner);
        let sockets = |process: &Process| {
            let files = process.files.iter();
            let numbers = files.filter_map(|file| Some((file.fd, fds::socket_of(&file.target)?)));
            (process.pid, numbers.collect())
        };
        found.processes.iter().map(sockets).collect()
    };
    let sockets = socket::all(proc, &held);
    add(&mut |found| {
        found.sockets.clone_from(&sockets);
        order(&mut found.processes);
        found.complete = true;
    });
}

/// Parents before children, otherwise by number.
fn order(processes: &mut Vec<Process>) {
    processes.sort_by_key(|process| process.pid);
    let mut left = std::mem::take(processes);
    while !left.is_empty() {
        let pids: BTreeSet<u32> = left.iter().map(|process| process.pid).collect();
        let (next, later): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|process| !pids.contains(&process.ppid) || process.ppid == process.pid);
        // Numbers that were given anew meanwhile may run in a circle.
        if next.is_empty() {
            processes.extend(later);
            return;
        }
        processes.extend(next);
        left = later;
    }
}

fn look_at(
    proc: &ProcRoot,
    inspector: &Inspector,
    pid: u32,
    lacking: &mut BTreeSet<String>,
) -> Option<Process> {
    let stat = proc.stat(pid).ok()?;
    let mut process = Process {
        pid,
        ppid: stat.ppid,
        comm: text(&stat.comm),
        state: stat.state.to_string(),
        cpu_ns: Activity::read(proc, pid).map_or(0, |activity| activity.cpu_ns),
        ..Process::default()
    };
    if stat.is_zombie() {
        return Some(process);
    }
    let status = proc.status(pid).ok();
    if let Some(status) = &status {
        process.signals = [
            status.sig_blocked.0,
            status.sig_ignored.0,
            status.sig_caught.0,
        ];
        process.threads_total = status.threads.into();
    }
    (process.files, process.threads) = match fds::open_files(proc, pid) {
        Ok(files) => {
            let threads = thread::all(proc, pid, &files, lacking);
            (files, threads)
        }
        Err(error) => {
            lacking.insert(format!("open files: {error}"));
            (Vec::new(), thread::all(proc, pid, &[], lacking))
        }
    };
    process.rss_bytes = rss(proc, pid);
    process.exe = fds::link(proc, pid, "exe").unwrap_or_default();
    process.args = words(&proc.read_pid_file(pid, "cmdline").unwrap_or_default());
    let environ = proc.read_pid_file(pid, "environ").unwrap_or_else(|error| {
        if !error.is_gone() {
            lacking.insert(format!("environments: {error}"));
        }
        Vec::new()
    });
    process.environment = environment::of_interest(&environ);
    if let Ok(Some(program)) = inspector.inspect_exe(pid) {
        process.go = Some(go_facts(&program, &environ, status.as_ref(), &process));
    }
    Some(process)
}

fn go_facts(
    program: &GoProgram,
    environ: &[u8],
    status: Option<&Status>,
    process: &Process,
) -> GoFacts {
    let build = &program.build;
    let gomaxprocs = process.environment.get("GOMAXPROCS");
    let off = preemption_off(&build.version, &build.info, environ);
    GoFacts {
        version: build.version.to_string(),
        package: build.info.path.clone().unwrap_or_default(),
        gomaxprocs: gomaxprocs.and_then(|text| text.parse().ok()),
        preemption_off: off.map(|off| off.setting),
        answers_quit: status.is_some_and(leaves::would_answer),
        // `go test` names them so (`cmd/go/internal/test`), and gives them flags of theirs.
        is_test: process
            .exe
            .trim_end_matches(" (deleted)")
            .ends_with(".test")
            || process.args.iter().any(|arg| arg.starts_with("-test.")),
    }
}

/// Resident memory.
fn rss(proc: &ProcRoot, pid: u32) -> Option<u64> {
    let raw = text(&proc.read_pid_file(pid, "status").ok()?);
    let line = raw.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The words of a `cmdline`.
fn words(raw: &[u8]) -> Vec<String> {
    let raw = raw.strip_suffix(b"\0").unwrap_or(raw);
    if raw.is_empty() {
        return Vec::new();
    }
    let words = raw.split(|&byte| byte == 0).take(MAX_ARGS);
    words
        .map(|word| text(&word[..word.len().min(MAX_ARG)]))
        .collect()
}

/// Text as far as it is UTF-8.
fn text(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn parents_come_first() {
        let process = |pid, ppid| Process {
            pid,
            ppid,
            ..Process::default()
        };
        let mut all = vec![process(3, 9), process(9, 1), process(4, 3), process(20, 9)];
        order(&mut all);
        let pids: Vec<u32> = all.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [9, 3, 20, 4]);
        let mut circle = vec![process(1, 2), process(2, 1)];
        order(&mut circle);
        assert_eq!(circle.len(), 2);
    }

    #[test]
    fn what_a_process_waits_for_shows() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut child = Command::new("sh")
            .args(["-c", "read line; exit 3", "a name"])
            .env("GOPROXY", "http://127.0.0.1:1")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let me = std::process::id();
        let pids = vec![me, child.id(), u32::MAX];
        let waits = || std::thread::sleep(Duration::from_millis(5));
        // It has to get as far as to read.
        std::thread::sleep(Duration::from_millis(100));
        let found = look(&ProcRoot::default(), pids, Duration::from_secs(20), || {
            waits();
            Ok(())
        });
        let found = found.unwrap();
        assert!(found.complete);
        assert_eq!(found.processes.len(), 2, "{found:?}");
        let [us, it] = &found.processes[..] else {
            panic!("{found:?}");
        };
        assert_eq!((us.pid, it.pid, it.ppid), (me, child.id(), me));
        assert_eq!(it.args[1..], ["-c", "read line; exit 3", "a name"]);
        assert_eq!(it.environment["GOPROXY"], "http://127.0.0.1:1");
        assert!(it.go.is_none() && !it.leaf && it.rss_bytes > Some(0));
        let blocked = it.threads[0].blocked_on.as_ref();
        // Only root or the same user without restrictions may see the call.
        if it.threads[0].syscall.is_some() {
            let blocked = blocked.expect("it reads");
            assert_eq!(blocked.fd, 0);
            assert!(blocked.target.starts_with("pipe:["), "{blocked:?}");
        }
        let ours = found
            .sockets
            .iter()
            .find(|socket| socket.local == format!("127.0.0.1:{port}"));
        let ours = ours.expect("the listener");
        assert_eq!(
            (ours.state.as_str(), ours.protocol.as_str()),
            ("LISTEN", "tcp")
        );
        assert_eq!(ours.holders.first().map(|holder| holder.0), Some(me));
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn words_of_a_command() {
        assert_eq!(words(b"a\0b c\0\0"), ["a", "b c", ""]);
        assert!(words(b"").is_empty());
        assert_eq!(words(b"title only"), ["title only"]);
    }
}
