use super::*;
use crate::report::{SpanOwner, Spans, Waits};
use crate::sink::sample;

fn plain(by: By, width: usize) -> TextOptions {
    TextOptions {
        by,
        width,
        ..TextOptions::default()
    }
}

const EXPECTED: &str = "\
gohang 0.1.0, kernel 6.18.5: traced 8.20 s (attached in 210 ms); time out of quota is exact
  (thread-exact)

server (pid 1234) in /team/a
  go1.27.3, quota 0.20 CPU: threads out of quota 78 % of the time (longest 96 ms); 12 preemption
  signals/s; 1 of 93 waited for quota (88 ms), not for a CPU (run queue 2 %)
  delivery of 93 signals: median 6.9 us, p90 21 us, p99 88 ms, p99.9 88 ms, longest 88 ms
    2.0 us -  4.1 us  10  ######
    4.1 us -  8.2 us  70  ########################################
    8.2 us -   16 us   0
     16 us -   33 us  12  #######
                 ...
     67 ms -  134 ms   1  #
  cause                         signals  share  time in all  share  longest
  throttled (out of quota)            1    1 %        86 ms   98 %    88 ms
  runqueue (waiting for a CPU)       12   13 %       1.2 ms    1 %    20 us
  running (on a CPU)                 80   86 %       900 us    1 %   6.4 us
  interrupted most often: main.(*server).run, 62 of 93 signals (67 %), 2 of them where none can
    preempt it (a sequence that the compiler marked as not to be cut)
  asked to yield 97 times (sysmon 95, GC scans a stack 2): 94 signals sent, 93 reached the runtime,
    90 made a goroutine yield
  step                              times  median     p99  longest
  slice over -> request (at least)     95  3.2 ms   67 ms    67 ms
  request -> sent                      94  412 ns  412 ns   412 ns
  sent -> delivered                    93  6.9 us   88 ms    88 ms
  delivered -> yielded                 90  3.0 us  3.0 us   3.0 us
  yielded -> running again             90  9.0 us  9.0 us   9.0 us
  first request -> yielded             90   11 us   88 ms    88 ms
  slice over -> request (at least): throttled 80 %, runqueue 10 %, sysmon asleep 10 %
  sent -> delivered: throttled 98 %, runqueue 1 %, running 1 %
  what came of them: yielded async 90, unsafe point 3, already pending 2, not sent 1, superseded 1
    (unsafe points: assembly 3); unexplained: 1 requests without a signal (1 %), 0 deliveries
    without a yield (0 %); open at the end: 2 (1 sent, 1 reached the runtime, 0 yielded)
  world stopped 2 times; until all had stopped: median 21 us, p99 71 ms, longest 71 ms; until they
    ran again: median 51 us, p99 71 ms, longest 71 ms; last to stop in the longest: thread 1241
    (goroutine 18): throttled (out of quota) 70 ms, running (on a CPU) 1.0 ms
  out of quota: 81 stalls, 6.34 s in all, p99 96 ms, longest 96 ms
    524 us -  1.0 ms   2  ##
                 ...
     67 ms -  134 ms  79  ########################################
  run queue: 180 waits for a CPU, 161 ms in all, p99 2.0 ms, longest 2.0 ms
  outcomes: delivered 93, further sends absorbed 3

idle (pid 99) in /
  go1.24.11, no quota: no preemption signals

warning: slow-delivery (pid 1234 tid 1240 goroutine 17): a preemption signal took 88 ms, 86 ms of it
  out of quota, since 2026-09-21T14:13:23.200Z
  evidence: cause throttled, coalesced 3, latency 88 ms
  advice: raise the quota of /team/a, or lower GOMAXPROCS

machine: of all CPU time 3 % taken by the hypervisor (steal); such time counts as running where a
  traced thread was on that CPU

\"of the time\": of the time that threads wanted to run, that is ran, waited for a CPU, or were out of
quota.
loss: seen 95 = submitted 95 + ring full 0 + map full 0; received 95 = decoded 95 + rejected 0; \
emitted 95 + dropped 0
";

#[test]
fn the_report_reads_like_this() {
    let text = report(&sample::report(), &plain(By::Process, 100));
    assert_eq!(text, EXPECTED);
}

#[test]
fn every_line_fits_and_nothing_harmful_passes() {
    let mut hostile = sample::report();
    hostile.processes[0].comm = "evil\x1b[2J\u{202e}".to_owned();
    hostile.processes[0].cgroup = Some("/a/\u{9b}31m".to_owned());
    hostile.processes[0].unit = Some("x\n.service".to_owned());
    hostile.processes[0].container = Some("\x07bc".to_owned());
    hostile.processes[0].limit.as_mut().expect("there").owner = "/\r".to_owned();
    hostile.processes[0].threads[0].comm = "t\x08".to_owned();
    hostile.processes[0].interrupted[0].function = Some("f\x1b[2J".to_owned());
    hostile.processes[0]
        .outcomes
        .insert("odd\x1b".to_owned(), 1);
    hostile.cgroups[0].path = Some("/\x1b]0;x\x07".to_owned());
    hostile.cgroups[0].limit_owner = Some("/\x7f".to_owned());
    hostile.cgroups[0].spans = Some(Spans {
        all: Waits {
            count: 2,
            total_ns: 5,
            ..Waits::default()
        },
        owners: vec![SpanOwner {
            path: Some("/\x1bo".to_owned()),
            count: 2,
            ..SpanOwner::default()
        }],
    });
    hostile.alerts[0].headline = "x\x1by".to_owned();
    hostile.alerts[0].rule = "r\x1b".to_owned();
    hostile.alerts[0].wall = "w\x1b".to_owned();
    hostile.alerts[0].advice = "a\x1b".to_owned();
    hostile.precision = "p\x1b".to_owned();
    hostile.kernel = "k\x1b".to_owned();
    hostile.impossible.insert("i\x1b".to_owned(), 1);
    hostile.folded.processes = 3;
    for by in [By::Process, By::Thread, By::Cgroup] {
        for width in [40, 60, 100] {
            let text = report(&hostile, &plain(by, width));
            let lines: Vec<&str> = text.lines().collect();
            assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{text}");
            assert!(!text.contains('\u{202e}'), "{text}");
            assert!(lines.iter().all(|line| line.trim_end() == *line), "{text}");
            if width >= 60 {
                let loss = lines.iter().position(|line| line.starts_with("loss: "));
                let wrapped = &lines[..loss.expect("the loss line")];
                let wide = wrapped.iter().find(|line| layout::columns(line) > width);
                assert_eq!(wide, None, "{width}");
            }
        }
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    for by in [By::Process, By::Thread, By::Cgroup] {
        let options = plain(by, 80);
        let mut coloured = report(
            &sample::report(),
            &TextOptions {
                colour: true,
                ..options
            },
        );
        assert!(coloured.contains("\x1b[1m"));
        for code in ["\x1b[1m", "\x1b[2m", "\x1b[33m", "\x1b[31;1m", "\x1b[0m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, report(&sample::report(), &options));
    }
}

#[test]
fn threads_have_a_line_each() {
    let text = report(&sample::report(), &plain(By::Thread, 100));
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("1240"));
    assert_eq!(
        line,
        Some("  1240  server       93  6.9 us  88 ms    88 ms  throttled 86 ms"),
        "{text}"
    );
}

#[test]
fn control_groups_have_a_block_each() {
    let mut sample = sample::report();
    let text = report(&sample, &plain(By::Cgroup, 100));
    assert!(text.contains("\n/team/a\n  quota 0.20 CPU (20 ms every 100 ms): its threads were out of quota for 6.34 s"), "{text}");
    assert!(!text.contains("server (pid 1234)"), "{text}");
    sample.cgroups[0].path = None;
    sample.cgroups[0].quota_ns = None;
    let text = report(&sample, &plain(By::Cgroup, 100));
    assert!(
        text.contains("control group 42 (gone)\n  quota unknown, set by /team/a: "),
        "{text}"
    );
    sample.cgroups.clear();
    assert!(report(&sample, &plain(By::Cgroup, 100)).contains("no control group was seen"));
}

#[test]
fn an_empty_report_is_still_one() {
    let mut empty = sample::report();
    empty.processes.clear();
    empty.alerts.clear();
    empty.machine = None;
    let text = report(&empty, &plain(By::Process, 100));
    assert_eq!(
        text,
        "gohang 0.1.0, kernel 6.18.5: traced 8.20 s (attached in 210 ms); time out of quota is exact\n  (thread-exact)\n\
         \n\
         no process was traced\n\
         \n\
         loss: seen 95 = submitted 95 + ring full 0 + map full 0; received 95 = decoded 95 + rejected 0; \
         emitted 95 + dropped 0\n"
    );
}

#[test]
fn costs_of_programs_are_a_table() {
    let mut sample = sample::report();
    sample.bpf_cost = vec![
        crate::probe::ProgramCost {
            program: "sched_switch".to_owned(),
            runs: 1000,
            ns: 82_000_000,
        },
        crate::probe::ProgramCost {
            program: "unused".to_owned(),
            runs: 0,
            ns: 0,
        },
    ];
    let text = report(&sample, &plain(By::Process, 100));
    assert!(
        text.contains("sched_switch    1000  82 us         1 %\n"),
        "{text}"
    );
    assert!(
        text.contains("unused             0      -         0 %\n"),
        "{text}"
    );
}
