//! Evidence made by hand, and what it has to mean.

use std::path::Path;

use super::*;
use crate::run::evidence::{
    BlockedOn, Counts, DumpText, Exceeded, GoFacts, Level, LiftOutcome, MemoryUse, OpenFile,
    Process, RunningTest, Sample, Socket, Syscall, Thread, ThrottledBy,
};

fn dump(name: &str) -> DumpText {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dumps");
    DumpText {
        text: std::fs::read_to_string(folder.join(name)).unwrap(),
        ..DumpText::default()
    }
}

pub(super) fn text(text: &str) -> DumpText {
    DumpText {
        text: text.to_owned(),
        ..DumpText::default()
    }
}

/// A `go test` of which nothing is known but that it does not get on.
pub(super) fn evidence() -> Evidence {
    let mut evidence = Evidence {
        cpus: 2,
        pid: 10,
        command: ["go", "test", "./..."].map(str::to_owned).to_vec(),
        exceeded: Some(Exceeded {
            option: "--idle-timeout".into(),
            limit_ns: 30_000_000_000,
            condition: None,
        }),
        ..Evidence::default()
    };
    evidence.progress.cpus = Some(0.0);
    evidence.progress.idle_ns = 30_000_000_000;
    evidence.processes = vec![process(10, 1, "go", false), process(11, 10, "p.test", true)];
    evidence
}

fn process(pid: u32, ppid: u32, comm: &str, leaf: bool) -> Process {
    Process {
        pid,
        ppid,
        comm: comm.into(),
        args: vec![comm.into()],
        state: "S".into(),
        go: Some(GoFacts {
            version: "go1.24.11".into(),
            answers_quit: true,
            is_test: leaf,
            ..GoFacts::default()
        }),
        leaf,
        ..Process::default()
    }
}

fn shell(pid: u32, ppid: u32, comm: &str) -> Process {
    Process {
        go: None,
        ..process(pid, ppid, comm, false)
    }
}

fn in_call(name: &str, on: Option<(u32, &str)>) -> Thread {
    Thread {
        syscall: Some(Syscall {
            name: Some(name.into()),
            ..Syscall::default()
        }),
        blocked_on: on.map(|(fd, target)| BlockedOn {
            fd,
            target: target.into(),
        }),
        ..Thread::default()
    }
}

fn file(fd: u32, target: &str, access: &str) -> OpenFile {
    OpenFile {
        fd,
        target: target.into(),
        access: Some(access.into()),
    }
}

fn socket(state: &str, local: &str, remote: &str, pid: u32) -> Socket {
    Socket {
        protocol: "tcp".into(),
        state: state.into(),
        local: local.into(),
        remote: remote.into(),
        inode: 77,
        holders: vec![(pid, 5)],
        ..Socket::default()
    }
}

fn throttled(share: f64) -> ThrottledBy {
    ThrottledBy {
        path: "/gohang-run-1".into(),
        own: true,
        quota_cpus: Some(0.05),
        within_ns: 30_000_000_000,
        periods: 290,
        of: 300,
        share,
    }
}

pub(super) fn judged(evidence: &Evidence) -> Verdict {
    let verdict = explain(evidence);
    assert!(!verdict.next.is_empty() && !verdict.fingerprint.is_empty());
    verdict
}

pub(super) fn cause(evidence: &Evidence) -> (Cause, Confidence) {
    let verdict = judged(evidence);
    (verdict.cause, verdict.confidence)
}

#[test]
fn nothing_known_is_none_of_them() {
    assert_eq!(
        cause(&Evidence::default()),
        (Cause::None, Confidence::Possible)
    );
    assert_eq!(cause(&evidence()).0, Cause::None);
}

#[test]
fn the_lifted_limit_decides() {
    let mut evidence = evidence();
    evidence.throttled = vec![throttled(0.95)];
    evidence.progress.cpus = Some(0.05);
    assert_eq!(cause(&evidence), (Cause::Throttled, Confidence::Likely));
    evidence.lift.outcome = LiftOutcome::Resumed;
    evidence.lift.after.cpus = Some(1.1);
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.confidence, verdict.kind.as_deref()),
        (
            Cause::Throttled,
            Confidence::Certain,
            Some("quota_too_small")
        )
    );
    assert!(verdict.next[0].contains("--cpu-quota 110%"), "{verdict:?}");
    // It still spins: it was not the quota.
    evidence.lift.outcome = LiftOutcome::NoProgress;
    assert_eq!(cause(&evidence).0, Cause::BusyLoop);
    // It waits as before.
    evidence.lift.after.cpus = Some(0.0);
    evidence.dumps = vec![dump("go1.27.3-timeout.txt")];
    assert_eq!(cause(&evidence), (Cause::Deadlock, Confidence::Certain));
    // A group above was in the way.
    evidence.dumps.clear();
    evidence.lift.still_limited_by = vec![("/a".into(), 0.05)];
    assert_eq!(cause(&evidence), (Cause::Throttled, Confidence::Likely));
}

#[test]
fn more_threads_than_the_quota_has_room_for() {
    let mut evidence = evidence();
    evidence.throttled = vec![throttled(0.95)];
    evidence.processes[1].go.as_mut().unwrap().gomaxprocs = Some(8);
    let kind = |evidence: &Evidence| judged(evidence).kind;
    assert_eq!(kind(&evidence).as_deref(), Some("gomaxprocs_above_quota"));
    // From 1.25 on the runtime knows better, unless it is told otherwise.
    evidence.cpus = 64;
    let go = evidence.processes[1].go.as_mut().unwrap();
    go.gomaxprocs = None;
    assert_eq!(kind(&evidence).as_deref(), Some("gomaxprocs_above_quota"));
    evidence.processes[1].go.as_mut().unwrap().version = "go1.25.5".into();
    assert_eq!(kind(&evidence).as_deref(), Some("quota_too_small"));
}

#[test]
fn what_the_kernel_counts_comes_first() {
    let mut evidence = evidence();
    evidence.throttled = vec![throttled(0.95)];
    evidence.dumps = vec![dump("go1.27.3-timeout.txt")];
    evidence.place.levels = vec![Level {
        own: true,
        memory_max_bytes: Some(64 << 20),
        tasks_max: Some(30),
        ..Level::default()
    }];
    evidence.counts = Counts {
        oom_kills: 1,
        oom_kills_lately: 1,
        ..Counts::default()
    };
    let verdict = judged(&evidence);
    assert_eq!(verdict.cause, Cause::OomKilled);
    assert!(verdict.next[0].contains("--memory-max 128M"), "{verdict:?}");
    evidence.counts = Counts {
        refused: 5,
        refused_lately: 5,
        ..Counts::default()
    };
    let verdict = judged(&evidence);
    assert_eq!(verdict.cause, Cause::OutOfTasks);
    assert!(verdict.evidence[0].contains("30 tasks"), "{verdict:?}");
}

#[test]
fn tests_that_wait_for_others() {
    let mut evidence = evidence();
    evidence.dumps = vec![dump("go1.27.3-timeout.txt")];
    evidence.tests.running = vec![RunningTest {
        package: "example.com/hang".into(),
        test: "TestHang/inner".into(),
        ..RunningTest::default()
    }];
    let verdict = judged(&evidence);
    assert_eq!(verdict.cause, Cause::Deadlock);
    assert_eq!(verdict.kind.as_deref(), Some("channel"));
    let want = "gohang run --idle-timeout 30s -- go test -count=1 -v -run '^TestHang$/^inner$' \
                example.com/hang";
    assert_eq!(verdict.next[0], want);
    assert!(!verdict.provisional);
    evidence.dumps.clear();
    assert!(judged(&evidence).provisional);
}

#[test]
fn who_holds_the_lock() {
    let mut evidence = evidence();
    evidence.dumps = vec![text(
        "SIGQUIT: quit\n\n\
        goroutine 7 gp=0xc0 m=nil [sync.Mutex.Lock]:\n\
        internal/sync.(*Mutex).lockSlow(0xc000012088)\n\t/go/mutex.go:149 +0x1\n\
        sync.(*Mutex).Lock(...)\n\t/go/mutex.go:46\n\
        main.(*Cache).Get(0xc000012080, 0x1)\n\t/a/cache.go:12 +0x2\n\
        created by main.main in goroutine 1\n\t/a/main.go:9 +0x3\n\n\
        goroutine 8 gp=0xc1 m=nil [chan send]:\n\
        main.(*Cache).Fill(0xc000012080)\n\t/a/cache.go:30 +0x4\n\
        created by main.main in goroutine 1\n\t/a/main.go:10 +0x5\n",
    )];
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.kind.as_deref()),
        (Cause::Deadlock, Some("lock"))
    );
    let held = verdict
        .evidence
        .iter()
        .find(|line| line.contains("likely held"));
    assert!(
        held.is_some_and(|line| line.contains("goroutine 8")),
        "{verdict:?}"
    );
}

#[test]
fn a_test_that_waits_for_a_deadlock_names_its_locks() {
    let mut evidence = evidence();
    evidence.dumps = vec![text(
        "SIGQUIT: quit\n\n\
        goroutine 7 gp=0xc0 m=nil [sync.WaitGroup.Wait]:\n\
        sync.(*WaitGroup).Wait(0xc000010368)\n\t/go/waitgroup.go:118 +0x1\n\
        example.com/p.TestX(0xc000003a40)\n\t/a/p_test.go:118 +0x2\n\
        testing.tRunner(0xc000003a40, 0x1)\n\t/go/testing.go:9 +0x3\n\n\
        goroutine 8 gp=0xc1 m=nil [sync.Mutex.Lock]:\n\
        internal/sync.(*Mutex).lockSlow(0xc000010340)\n\t/go/mutex.go:149 +0x1\n\
        example.com/p.transfer(0x1)\n\t/a/p_test.go:75 +0x2\n\
        created by example.com/p.TestX in goroutine 7\n\t/a/p_test.go:116 +0x3\n\n\
        goroutine 9 gp=0xc2 m=nil [sync.Mutex.Lock]:\n\
        internal/sync.(*Mutex).lockSlow(0xc000010330)\n\t/go/mutex.go:149 +0x1\n\
        example.com/p.transfer(0x2)\n\t/a/p_test.go:75 +0x2\n\
        created by example.com/p.TestX in goroutine 7\n\t/a/p_test.go:117 +0x3\n",
    )];
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.kind.as_deref(), verdict.confidence),
        (Cause::Deadlock, Some("lock"), Confidence::Certain)
    );
    assert!(
        verdict.summary.contains("TestX waits for others")
            && verdict.summary.contains("p_test.go:75"),
        "{}",
        verdict.summary
    );
    for words in [
        "goroutine 8: sync.Mutex.Lock",
        "goroutine 9",
        "2 locks are waited for",
    ] {
        let is_said = verdict.evidence.iter().any(|line| line.contains(words));
        assert!(is_said, "{words}: {:?}", verdict.evidence);
    }
}

#[test]
fn a_verdict_of_an_earlier_build_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/verdict.json");
    let verdict: Verdict = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(verdict.cause, Cause::Deadlock);
    assert_eq!(verdict.running[0].test, "TestCause");
}

#[test]
fn loops_have_a_name() {
    let mut evidence = evidence();
    evidence.progress.cpus = Some(1.0);
    evidence.dumps = vec![text(
        "SIGQUIT: quit\n\ngoroutine 7 gp=0xc0 m=nil [runnable]:\n\
        runtime.asyncPreempt2()\n\t/go/preempt.go:9 +0x1\n\
        example.com/p.spin(...)\n\t/a/p_test.go:5\n\
        example.com/p.TestX(0xc0)\n\t/a/p_test.go:12 +0x2\n\
        testing.tRunner(0xc0, 0x1)\n\t/go/testing.go:9 +0x3\n",
    )];
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.confidence),
        (Cause::BusyLoop, Confidence::Certain)
    );
    assert!(
        verdict.summary.contains("example.com/p.spin (p_test.go:5)"),
        "{verdict:?}"
    );
    // Without goroutines the process is named.
    evidence.dumps.clear();
    evidence.processes[1].cpus = Some(1.0);
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.confidence),
        (Cause::BusyLoop, Confidence::Likely)
    );
    assert!(verdict.summary.contains("p.test (pid 11)"), "{verdict:?}");
}

#[test]
fn a_loop_that_others_wait_for_to_stop() {
    let mut evidence = evidence();
    evidence.progress.cpus = Some(1.0);
    evidence.processes[1].go.as_mut().unwrap().preemption_off = Some("asyncpreemptoff=1".into());
    let loops = "SIGQUIT: quit\n\ngoroutine 7 gp=0xc0 m=3 [running]:\n\
        \tgoroutine running on other thread; stack unavailable\n\
        created by main.main in goroutine 1\n\t/a/main.go:10 +0x5\n";
    evidence.dumps = vec![text(loops)];
    assert_eq!(cause(&evidence).0, Cause::BusyLoop);
    let waits = "\ngoroutine 1 gp=0xc1 m=0 [stopping the world]:\n\
        runtime.gcStart({0x0, 0x1})\n\t/go/mgc.go:9 +0x1\n\
        runtime.GC()\n\t/go/mgc.go:7 +0x1\nmain.main()\n\t/a/main.go:12 +0x2\n";
    evidence.dumps = vec![text(&format!("{loops}{waits}"))];
    assert_eq!(
        cause(&evidence),
        (Cause::PreemptionFailure, Confidence::Certain)
    );
}

#[test]
fn input_that_does_not_come() {
    let mut evidence = evidence();
    evidence.command = vec!["cat".into()];
    evidence.processes = vec![shell(10, 1, "cat")];
    evidence.processes[0].threads = vec![in_call("read", Some((0, "pipe:[5]")))];
    evidence.processes[0].files = vec![file(0, "pipe:[5]", "r")];
    assert_eq!(cause(&evidence), (Cause::Input, Confidence::Certain));
    // Its writer is one of the command's own.
    let mut writer = shell(11, 10, "sleep");
    writer.files = vec![file(1, "pipe:[5]", "w")];
    writer.threads = vec![in_call("clock_nanosleep", None)];
    evidence.processes.push(writer);
    assert_ne!(cause(&evidence).0, Cause::Input);
}

#[test]
fn a_pipe_that_somebody_left_behind_holds() {
    let mut evidence = evidence();
    let mut left = shell(12, 1, "sleep");
    left.files = vec![file(1, "pipe:[9]", "w"), file(2, "pipe:[9]", "w")];
    evidence.processes[1].files = vec![file(6, "pipe:[9]", "r")];
    evidence.processes.push(left);
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.confidence),
        (Cause::PipeHeld, Confidence::Certain)
    );
    assert!(verdict.summary.contains("sleep (pid 12)"), "{verdict:?}");
    // `go test` reads what its test prints, which still runs.
    evidence.processes[1].files.clear();
    evidence.processes[0].files = vec![file(6, "pipe:[9]", "r")];
    assert_ne!(cause(&evidence).0, Cause::PipeHeld);
}

#[test]
fn answers_that_do_not_come() {
    let mut evidence = evidence();
    // The module proxy, before any test is built.
    evidence.processes = vec![process(10, 1, "go", true)];
    let go = &mut evidence.processes[0];
    go.go.as_mut().unwrap().is_test = false;
    go.environment
        .insert("GOPROXY".into(), "http://127.0.0.1:4000".into());
    evidence.sockets = vec![socket("ESTAB", "127.0.0.1:3999", "127.0.0.1:4000", 10)];
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.kind.as_deref()),
        (Cause::Network, Some("modules"))
    );
    assert_eq!(verdict.next[0], "curl -m 5 -v http://127.0.0.1:4000");
    // A test's connection.
    let mut evidence = self::evidence();
    evidence.sockets = vec![socket("SYN-SENT", "10.0.0.1:3999", "192.0.2.1:80", 11)];
    evidence.dumps = vec![text(
        "SIGQUIT: quit\n\ngoroutine 7 gp=0xc0 m=nil [IO wait]:\n\
        internal/poll.(*FD).WaitWrite(...)\n\t/go/fd.go:5\n\
        net.(*netFD).connect(0xc1, {0x1, 0x2})\n\t/go/fd_unix.go:5 +0x1\n\
        net.(*Dialer).DialContext(0xc2, {0x1, 0x2})\n\t/go/dial.go:5 +0x1\n\
        example.com/p.TestX(0xc0)\n\t/a/p_test.go:12 +0x2\n\
        testing.tRunner(0xc0, 0x1)\n\t/go/testing.go:9 +0x3\n",
    )];
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.confidence),
        (Cause::Network, Confidence::Certain)
    );
    assert!(verdict.summary.contains("192.0.2.1:80"), "{verdict:?}");
    // Without goroutines.
    evidence.dumps.clear();
    assert_eq!(cause(&evidence), (Cause::Network, Confidence::Certain));
}

#[test]
fn servers_and_addresses() {
    let mut evidence = evidence();
    evidence.sockets = vec![socket("LISTEN", "127.0.0.1:8080", "0.0.0.0:*", 11)];
    let test = "goroutine 7 gp=0xc0 m=nil [chan receive]:\n\
        example.com/p.TestServe(0xc0)\n\t/a/p_test.go:12 +0x2\n\
        testing.tRunner(0xc0, 0x1)\n\t/go/testing.go:9 +0x3\n\n";
    evidence.dumps = vec![text(&format!(
        "SIGQUIT: quit\n\n{test}goroutine 8 gp=0xc1 m=nil [IO wait]:\n\
        net.(*TCPListener).Accept(0xc2)\n\t/go/tcpsock.go:5 +0x1\n\
        net/http.(*Server).Serve(0xc3)\n\t/go/server.go:5 +0x1\n\
        created by example.com/p.TestServe in goroutine 7\n\t/a/p_test.go:10 +0x5\n"
    ))];
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.kind.as_deref()),
        (Cause::Port, Some("left_listening"))
    );
    assert!(
        verdict
            .summary
            .contains("TestServe left a server listening on 127.0.0.1:8080")
    );
    evidence.dumps = vec![text(&format!("SIGQUIT: quit\n\n{test}"))];
    evidence.tail.text = "p_test.go:9: listen tcp :8080: bind: address already in use\n".into();
    let verdict = judged(&evidence);
    assert_eq!(
        (verdict.cause, verdict.kind.as_deref()),
        (Cause::Port, Some("taken"))
    );
    assert!(verdict.next[0].contains("sport = :8080"));
    // It said so long ago, and waits for something else now.
    let test = test.replace("chan receive", "sync.Mutex.Lock");
    evidence.dumps = vec![text(&format!("SIGQUIT: quit\n\n{test}"))];
    assert_eq!(cause(&evidence), (Cause::Deadlock, Confidence::Certain));
}

#[test]
fn little_memory_and_stopped_and_slow() {
    let mut evidence = evidence();
    evidence.samples = vec![Sample {
        memory: Some(MemoryUse {
            path: "/g".into(),
            used_bytes: 95,
            limit_bytes: 100,
        }),
        ..Sample::default()
    }];
    evidence.counts.memory_hits_lately = 9;
    assert_eq!(cause(&evidence).0, Cause::MemoryPressure);
    let mut evidence = self::evidence();
    evidence.processes[1].state = "T".into();
    assert_eq!(cause(&evidence).0, Cause::Stopped);
    let mut evidence = self::evidence();
    evidence.progress.getting_on = true;
    evidence.dumps = vec![dump("go1.27.3-timeout.txt")];
    assert_eq!(cause(&evidence).0, Cause::Slow);
}

#[test]
fn the_same_hang_has_the_same_fingerprint() {
    let mut a = evidence();
    a.dumps = vec![dump("go1.27.3-timeout.txt")];
    let mut b = a.clone();
    b.processes[1].pid = 999;
    b.dumps[0].text = b.dumps[0].text.replace("goroutine 7 ", "goroutine 17 ");
    b.progress.idle_ns *= 2;
    assert_eq!(judged(&a).fingerprint, judged(&b).fingerprint);
    b.dumps[0].text = b.dumps[0]
        .text
        .replace("example.com/hang.wait", "example.com/hang.other");
    assert_ne!(judged(&a).fingerprint, judged(&b).fingerprint);
}

#[test]
fn the_verdict_begins_with_three_lines() {
    let mut evidence = evidence();
    evidence.command.push("\u{1b}[31m<script>`".into());
    evidence.dumps = vec![dump("go1.21.13-timeout.txt")];
    let verdict = judged(&evidence);
    let text = markdown(&verdict);
    let lines: Vec<&str> = text.lines().collect();
    for (line, begin) in lines.iter().zip(["verdict: ", "evidence: ", "next: "]) {
        assert!(line.starts_with(begin), "{line}");
    }
    assert_eq!(lines[3], "");
    assert!(!text.contains('\u{1b}'));
    let read: Verdict = serde_json::from_str(&serde_json::to_string(&verdict).unwrap()).unwrap();
    assert_eq!(read, verdict);
}
