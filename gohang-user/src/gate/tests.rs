use proptest::prelude::*;

use super::*;
use crate::report::Report;
use crate::sink::sample;

fn gate(expr: &str) -> Gate {
    expr.parse()
        .unwrap_or_else(|error| panic!("{expr}: {error}"))
}

/// The sample's gate, evaluated alone.
fn held(expr: &str, report: &Report) -> report::Gate {
    evaluate(&[gate(expr)], report).remove(0)
}

fn refusal(expr: &str) -> String {
    expr.parse::<Gate>().expect_err(expr).to_string()
}

#[test]
fn every_metric_is_read_and_named_in_errors() {
    let report = sample::report();
    let process = &report.processes[0];
    let allowed = refusal("nonsense>1");
    for metric in metrics() {
        let name = metric.name();
        assert_eq!(Metric::named(&name), Some(metric));
        let (part, field) = name.rsplit_once('.').expect("a field");
        for word in part.split('.').chain([field]) {
            assert!(allowed.contains(word), "{word}: {allowed}");
        }
        let value = match metric.kind() {
            metric::Kind::Time => "0s",
            metric::Kind::Count => "0",
            metric::Kind::Share => "0%",
        };
        // Whatever the figure is, it is at least nothing.
        let got = held(&format!("{name}>={value}"), &report);
        let has = metric.of(process).is_some();
        assert_eq!(
            got.violations.iter().any(|v| v.pid == process.pid),
            has,
            "{name}"
        );
    }
    // The same figures as the document's.
    let document = serde_json::to_value(process).expect("JSON");
    for name in [
        "delivery.p99",
        "delivery.max",
        "stall.total",
        "runqueue.max",
    ] {
        let (part, field) = name.split_once('.').expect("a field");
        let want = document[part][format!("{field}_ns")].as_u64();
        let got = match Metric::named(name).and_then(|metric| metric.of(process)) {
            Some(Figure::Ns(ns)) => Some(ns),
            _ => None,
        };
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn comparisons_on_either_side_of_the_limit() {
    let mut report = sample::report();
    report.processes.truncate(1);
    report.processes[0].delivery.p99_ns = Some(50_000_000);
    report.processes[0].delivery.count = 3;
    for (expr, fails) in [
        ("delivery.p99>50ms", false),
        ("delivery.p99>=50ms", true),
        ("delivery.p99 > 49999us", true),
        ("delivery.p99<50ms", false),
        (" delivery.p99<=50ms ", true),
        ("delivery.p99<50001us", true),
        ("delivery.p99>0s", true),
        ("delivery.count<3", false),
        ("delivery.count<4", true),
        ("delivery.count>=3", true),
    ] {
        let got = held(expr, &report);
        assert_eq!((got.failed, got.checked), (fails, 1), "{expr}");
        assert_eq!(got.violations.len(), usize::from(fails), "{expr}");
        assert_eq!(got.expr, expr.trim());
    }
}

#[test]
fn shares_are_those_of_the_report() {
    let mut report = sample::report();
    report.processes.truncate(1);
    let process = &mut report.processes[0];
    process.stall.total_ns = 600;
    process.runqueue.total_ns = 100;
    process.running_ns = 300;
    for (cause, share) in &mut process.causes {
        share.total_ns = if cause == "throttled" { 75 } else { 0 };
    }
    process.causes.get_mut("running").expect("a cause").total_ns = 25;
    for (expr, fails) in [
        ("stall.share>59.9%", true),
        ("stall.share>60.1%", false),
        ("runqueue.share<10.1%", true),
        ("causes.throttled.share>=75%", true),
        ("causes.throttled.share>75%", false),
        ("causes.running.share>24%", true),
        ("causes.masked.share>0%", false),
    ] {
        assert_eq!(held(expr, &report).failed, fails, "{expr}");
    }
    let failed = held("stall.share>50%", &report);
    assert_eq!(failed.violations[0].value_share, Some(0.6));
}

#[test]
fn any_process_fails_it_and_the_worst_is_told() {
    let mut report = sample::report();
    report.processes.truncate(1);
    let with = |pid: u32, p99_ns: Option<u64>| {
        let mut process = report.processes[0].clone();
        process.pid = pid;
        process.delivery.p99_ns = p99_ns;
        process
    };
    let processes = vec![
        with(1, Some(60_000_000)),
        with(2, None),
        with(3, Some(90_000_000)),
        with(4, Some(1_000)),
        with(5, Some(70_000_000)),
    ];
    report.processes = processes;
    let got = held("delivery.p99>50ms", &report);
    let of = |gate: &report::Gate| gate.violations.iter().map(|v| v.pid).collect::<Vec<_>>();
    assert_eq!((of(&got), got.checked), (vec![3, 5, 1], 4));
    let comm = &report.processes[0].comm;
    assert_eq!(
        failure(&got),
        Some(format!(
            "gate failed: delivery.p99>50ms: process 3 ({comm}) has 90 ms, and 2 other processes fail it"
        ))
    );
    assert_eq!(unchecked(&got), None);
    let low = held("delivery.p99<65ms", &report);
    assert_eq!(of(&low), [4, 1]);
    assert!(
        failure(&low)
            .expect("failed")
            .ends_with(", and another process fails it")
    );
    let fine = held("delivery.p99>1s", &report);
    assert_eq!((failure(&fine), unchecked(&fine)), (None, None));
    report.processes.clear();
    let nobody = held("delivery.p99>1s", &report);
    assert!(
        unchecked(&nobody)
            .expect("unchecked")
            .contains("not checked: delivery.p99>1s")
    );
}

#[test]
fn a_rule_fails_it_from_the_severity_on() {
    let mut report = sample::report();
    let mut again = report.alerts[0].clone();
    again.tid = Some(9);
    again.count = 4;
    report.alerts.push(again);
    for (expr, fails) in [
        ("slow-delivery", true),
        (" slow-delivery ", true),
        ("slow-delivery:info", true),
        ("slow-delivery:warning", true),
        ("slow-delivery: critical", false),
        ("masked", false),
    ] {
        let got = held(expr, &report);
        assert_eq!(got.failed, fails, "{expr}");
        assert_eq!(got.checked, report.processes.len() as u64);
    }
    let got = held("slow-delivery", &report);
    assert_eq!(got.violations.len(), 1);
    assert_eq!(got.violations[0].value_count, Some(5));
    let line = failure(&got).expect("failed");
    assert!(line.ends_with("raised it 5 times"), "{line}");
}

#[test]
fn what_is_no_gate_is_refused_with_what_is_allowed() {
    for rule in crate::alert::names() {
        assert!(refusal("nonsense").contains(rule), "{rule}");
        gate(rule);
    }
    for (expr, words) in [
        ("", "there is no rule ;"),
        ("slow", "METRIC>VALUE"),
        ("slow-delivery:bad", "info, warning or critical"),
        (
            "delivery.p98>1ms",
            "no metric delivery.p98; give one of delivery.{count,",
        ),
        ("causes.none.count>1", "no metric causes.none.count"),
        (">5", "no metric ;"),
        (
            "delivery.p99>50",
            "cannot be compared with 50: give a time with its unit",
        ),
        ("delivery.p99>", "cannot be compared with : give a time"),
        ("delivery.p99=>1ms", "no metric delivery.p99="),
        ("delivery.p99>-1ms", "give a time"),
        ("delivery.p99>99999999999y", "give a time"),
        ("delivery.count>1ms", "give a whole number"),
        ("delivery.count>-1", "give a whole number"),
        ("stall.share>0.5", "give a share"),
        ("stall.share>101%", "give a share"),
        ("stall.share>NaN%", "give a share"),
        ("slow\u{1b}[2J", r"no rule slow\x1b[2J"),
    ] {
        let error = refusal(expr);
        assert!(error.contains(words), "{expr}: {error}");
    }
    assert!(refusal(&"x".repeat(MAX_EXPR + 1)).contains("longer than"));
}

proptest! {
    #[test]
    fn any_text_is_a_gate_or_refused_in_harmless_words(text in "(\\PC|.){0,60}|[a-z.]{0,20}[<>=]{0,2}[0-9a-z%.]{0,12}") {
        match text.parse::<Gate>() {
            Ok(gate) => {
                let report = sample::report();
                let held = evaluate(&[gate], &report).remove(0);
                prop_assert_eq!(held.failed, failure(&held).is_some());
            }
            Err(error) => {
                prop_assert!(!error.to_string().contains(|c: char| c.is_control()));
            }
        }
    }
}
