//! `unsafe-loop`, from deliveries alone.

use std::sync::Arc;

use super::*;
use crate::golang::{Place, SafePoint};
use crate::report::Alert;

/// A signal delivered at `ms` to the goroutine, in code of the class.
fn signal(ms: u64, goid: Option<u64>, class: SafePoint) -> Episode {
    let parts = Sums {
        running: 1000,
        ..Sums::default()
    };
    let mut episode = episode(Outcome::Delivered, parts);
    episode.goid = goid;
    episode.sent_ns = ms * MS;
    episode.end_ns = ms * MS + 1000;
    episode.place = Some(Arc::new(Place {
        function: Some(format!("pkg.{}", class.name())),
        safe_point: Some(class),
    }));
    episode
}

fn alerts(signals: impl IntoIterator<Item = Episode>) -> Vec<Alert> {
    let wall = |_| String::new();
    let mut book = Book::new(Thresholds::default());
    for signal in signals {
        book.look(&signal, &wall);
    }
    book.end(None, 9_000 * MS, &wall);
    book.alerts(&wall)
}

/// As [`signal`], every 10 ms.
fn every_10_ms(count: u64, class: impl Fn(u64) -> (Option<u64>, SafePoint)) -> Vec<Episode> {
    (0..count)
        .map(|number| {
            let (goid, class) = class(number);
            signal(10 * number, goid, class)
        })
        .collect()
}

#[test]
fn a_row_of_unsafe_ones_is_one_and_what_breaks_it_is_none() {
    use SafePoint::{Assembly, Marked, NotGo, Runtime, Safe};
    type Of = fn(u64) -> (Option<u64>, SafePoint);
    let table: [(&str, u64, Of, usize); 9] = [
        ("a single one", 1, |_| (Some(3), Assembly), 0),
        ("up to the limit", 10, |_| (Some(3), Assembly), 0),
        ("beyond it", 11, |_| (Some(3), Assembly), 1),
        (
            "of mixed classes",
            30,
            |n| (Some(3), if n % 3 == 0 { Marked } else { Assembly }),
            1,
        ),
        (
            "now and then safe",
            60,
            |n| (Some(3), if n % 10 == 9 { Safe } else { Assembly }),
            0,
        ),
        (
            "now and then in the runtime",
            60,
            |n| (Some(3), if n % 10 == 9 { Runtime } else { Assembly }),
            0,
        ),
        ("of other goroutines", 60, |n| (Some(n / 8), Assembly), 0),
        (
            "goroutine now and then unknown",
            30,
            |n| ((n % 4 == 0).then_some(3), Assembly),
            1,
        ),
        (
            "in C, or on the scheduler's stack",
            60,
            |n| {
                if n % 2 == 0 {
                    (Some(3), NotGo)
                } else {
                    (Some(0), Assembly)
                }
            },
            0,
        ),
    ];
    for (name, count, class, want) in table {
        let alerts = alerts(every_10_ms(count, class));
        let rules: Vec<&str> = alerts.iter().map(|alert| alert.rule.as_str()).collect();
        assert_eq!(rules, vec!["unsafe-loop"; want], "{name}");
    }
}

#[test]
fn it_needs_signals_and_no_pause_between_them() {
    let at = |times: &[u64]| {
        let signals = times
            .iter()
            .map(|ms| signal(*ms, Some(3), SafePoint::Assembly));
        alerts(signals).len()
    };
    assert_eq!(at(&[0, 90, 180, 270]), 0, "too few");
    assert_eq!(at(&[0, 90, 180, 270, 360]), 1);
    assert_eq!(at(&[0, 10, 20, 130, 140, 150, 260, 270, 280]), 0, "pauses");
}

#[test]
fn it_says_where_and_for_how_long() {
    let class = |number| {
        let class = if number % 4 == 0 {
            SafePoint::Marked
        } else {
            SafePoint::Assembly
        };
        (Some(3), class)
    };
    let found = alerts(every_10_ms(40, class));
    let [alert] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((alert.tid, alert.goid, alert.count), (Some(8), Some(3), 1));
    assert_eq!(alert.severity, Severity::Warning);
    assert_eq!(alert.since_ns, 0);
    let evidence = &alert.evidence;
    assert_eq!(evidence["length_ns"], 390 * MS + 1000);
    assert_eq!(evidence["signals"], 40);
    assert_eq!(evidence["function"], "pkg.assembly");
    assert_eq!(evidence["share"], 0.75);
    assert!(
        alert.headline.contains("75 % of them in pkg.assembly"),
        "{}",
        alert.headline
    );
    assert!(alert.advice.contains("megabyte"), "{}", alert.advice);
    let long = alerts(every_10_ms(200, class));
    assert_eq!(long[0].severity, Severity::Critical);
}

#[test]
fn a_process_that_is_not_traced_after_all_leaves_nothing() {
    let wall = |_| String::new();
    let mut book = Book::new(Thresholds::default());
    for signal in every_10_ms(11, |_| (Some(3), SafePoint::Assembly)) {
        book.look(&signal, &wall);
    }
    book.forget(ProcessId {
        pid: 7,
        start_ns: 1,
    });
    let next = signal(110, Some(3), SafePoint::Assembly);
    assert_eq!(book.look(&next, &wall), []);
}
