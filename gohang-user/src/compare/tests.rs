use super::*;
use crate::sink::sample::{self, causes, distribution};
use gohang_common::cause::Cause;

/// The sample's server with ten times the quota.
fn faster() -> Report {
    let mut report = sample::report();
    report.processes.truncate(1);
    let process = &mut report.processes[0];
    process.pid = 4321;
    process.limit.as_mut().expect("there").cpus = 2.0;
    process.delivery = distribution(&[(3_000, 100), (6_400, 86)]);
    process.outcomes.insert("delivered".to_owned(), 186);
    process.causes = causes(&[(Cause::Running, 186, 850_000, 6_400)]);
    process.stall = Waits::default();
    process.coalesced = 0;
    report
}

#[test]
fn every_quantile_and_cause_has_its_change() {
    let (a, b) = (sample::report(), faster());
    let compared = compare(&a, &b);
    assert_eq!(compared.processes.len(), 1);
    assert_eq!(compared.processes[0].matched_by, MatchedBy::NameGoCgroup);
    assert_eq!(
        compared
            .only_a
            .iter()
            .map(|who| who.pid)
            .collect::<Vec<_>>(),
        [99]
    );
    let figures = &compared.processes[0].figures;
    assert_eq!(
        figures.delivery.count,
        Change {
            a: Some(93),
            b: Some(186),
            relative: Some(1.0)
        }
    );
    assert_eq!(figures.delivery.max_ns.b, Some(6_400));
    let throttled = &figures.causes["throttled"];
    assert_eq!(
        throttled.count,
        Change {
            a: Some(1),
            b: Some(0),
            relative: Some(-1.0)
        }
    );
    assert_eq!(
        throttled.max_ns,
        Change {
            a: Some(88_000_000),
            b: None,
            relative: None
        }
    );
    assert_eq!(figures.coalesced.relative, Some(-1.0));
    assert_eq!(figures.stall_share.b, Some(0.0));
    assert_eq!(
        figures.stall.max_ns,
        Change {
            a: Some(96_000_000),
            b: None,
            relative: None
        }
    );
}

#[test]
fn totals_are_those_of_all_processes() {
    let mut a = sample::report();
    let mut second = a.processes[0].clone();
    second.comm = "second".to_owned();
    second.delivery = distribution(&[(90_000_000, 107)]);
    a.processes.push(second);
    let totals = compare(&a, &a).totals;
    assert_eq!(totals.delivery.count.a, Some(200));
    assert_eq!(totals.delivery.max_ns, Change::of(90_000_000, 90_000_000));
    assert_eq!(totals.delivery.p50_ns.a, Some(90_000_000));
    assert_eq!(totals.causes["throttled"].count, Change::of(2, 2));
    assert_eq!(totals.stall.count.a, Some(2 * a.processes[0].stall.count));
}

#[test]
fn text_reads_like_this() {
    let mut a = sample::report();
    a.processes.truncate(1);
    let text = text(&compare(&a, &faster()), 100, false);
    assert_eq!(
        text,
        "\
A: gohang 0.1.0, kernel 6.18.5, 8.20 s
B: gohang 0.1.0, kernel 6.18.5, 8.20 s

server (1234) -> server (4321), go1.27.3, 0.20 CPU -> 2.00 CPU, in /team/a
                                  A       B        change
  signals delivered              93     186        +100 %
  sends absorbed                  3       0        -100 %
  delivery mean              954 us  4.6 us        x1/209
    median                   6.9 us  3.2 us         -54 %
    p90                       21 us  6.4 us         -70 %
    p99                       88 ms  6.4 us      x1/13750
    p99.9                     88 ms  6.4 us      x1/13750
    longest                   88 ms  6.4 us      x1/13750
  throttled: signals              1       0        -100 %
    delay in all              86 ms    0 ns        -100 %
    longest                   88 ms       -             -
  runqueue: signals              12       0        -100 %
    delay in all             1.2 ms    0 ns        -100 %
    longest                   20 us       -             -
  running: signals               80     186        +133 %
    delay in all             900 us  850 us          -6 %
    longest                  6.4 us  6.4 us           0 %
  out of quota, of the time    78 %     0 %  -77.9 points
    in all                   6.34 s    0 ns        -100 %
    p99                       96 ms       -             -
    longest                   96 ms       -             -
  run queue, of the time        2 %     9 %   +7.0 points
    in all                   161 ms  161 ms           0 %
    p99                      2.0 ms  2.0 ms           0 %
    longest                  2.0 ms  2.0 ms           0 %
"
    );
}

#[test]
fn totals_and_the_unmatched_are_shown() {
    let text = text(&compare(&sample::report(), &faster()), 100, false);
    assert!(text.contains("\nall processes\n"), "{text}");
    assert!(text.ends_with("\nonly in A: idle (99)\n"), "{text}");
}

#[test]
fn hostile_names_are_harmless_and_colour_is_only_colour() {
    let mut hostile = sample::report();
    hostile.kernel = "\x1b[2J".to_owned();
    hostile.precision = "other".to_owned();
    hostile.loss.ring_full = 3;
    let process = &mut hostile.processes[0];
    process.comm = "\x07x".to_owned();
    process.cgroup = Some("/\u{9b}".to_owned());
    process.go = Some("go\x1b".to_owned());
    process.outcomes.insert("odd\x1b".to_owned(), 1);
    process.causes.insert(
        "odd\x1b".to_owned(),
        CauseShare {
            count: 1,
            ..CauseShare::default()
        },
    );
    let compared = compare(&hostile, &faster());
    let plain = text(&compared, 80, false);
    assert!(
        plain.chars().all(|c| !c.is_control() || c == '\n'),
        "{plain}"
    );
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("3 records lost") && words.contains("with care"),
        "{plain}"
    );
    assert!(
        words.contains("(matched by importance alone, they may have nothing"),
        "{plain}"
    );
    let coloured = text(&compared, 80, true);
    let stripped = coloured
        .replace("\x1b[1m", "")
        .replace("\x1b[2m", "")
        .replace("\x1b[0m", "");
    assert_eq!(stripped, plain);
}
