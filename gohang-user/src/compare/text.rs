//! A comparison for people.

use super::{Change, Comparison, Figures, Pair, Run, Shares, Who};
use crate::process::escape;
use crate::sink::text::by_cause;
use crate::sink::text::layout::{Align, Style, Table, wrap};
use crate::units::{change, cpus, duration, duration_or_dash, percent};

/// The comparison as text: all processes together, then each.
#[must_use]
pub fn text(comparison: &Comparison, width: usize, colour: bool) -> String {
    let style = Style { colour };
    let mut lines = Vec::new();
    lines.extend(wrap(&run("A", &comparison.a), "", 3, width));
    lines.extend(wrap(&run("B", &comparison.b), "", 3, width));
    if comparison.a.precision != comparison.b.precision {
        lines.extend(wrap(
            "time out of quota was measured with another precision in each: compare it with care",
            "",
            3,
            width,
        ));
    }
    lines.push(String::new());
    // Of one pair alone, the totals would say the same again.
    let alone = comparison.processes.len() == 1
        && comparison.only_a.is_empty()
        && comparison.only_b.is_empty();
    if !alone {
        lines.push(style.title("all processes"));
        lines.extend(figures(&comparison.totals, width, style));
        lines.push(String::new());
    }
    for pair in &comparison.processes {
        lines.extend(
            wrap(&title(pair), "", 2, width)
                .iter()
                .map(|line| style.title(line)),
        );
        lines.extend(figures(&pair.figures, width, style));
        lines.push(String::new());
    }
    for (name, only) in [("A", &comparison.only_a), ("B", &comparison.only_b)] {
        if !only.is_empty() {
            let names: Vec<String> = only.iter().map(who).collect();
            lines.extend(wrap(
                &format!("only in {name}: {}", names.join(", ")),
                "",
                2,
                width,
            ));
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

fn run(name: &str, run: &Run) -> String {
    let mut text = format!(
        "{name}: gohang {}, kernel {}, {}",
        escape(&run.gohang_version),
        escape(&run.kernel),
        duration(run.duration_ns)
    );
    if run.lost > 0 {
        text.push_str(&format!(", {} records lost", run.lost));
    }
    text
}

fn who(who: &Who) -> String {
    format!("{} ({})", escape(&who.comm), who.pid)
}

/// `server (1234 -> 99), go1.26 -> go1.27.3, quota 0.20 -> 2.00 CPU`.
fn title(pair: &Pair) -> String {
    let Pair { a, b, .. } = pair;
    let program = |who: &Who| {
        who.go
            .as_deref()
            .map_or_else(|| "not Go".to_owned(), escape)
    };
    let quota = |who: &Who| {
        who.cpus
            .map_or_else(|| "no quota".to_owned(), |c| format!("{} CPU", cpus(c)))
    };
    let cgroup = |who: &Who| who.cgroup.as_deref().map_or_else(|| "-".to_owned(), escape);
    let mut parts = vec![
        turned(&who(a), &who(b)),
        turned(&program(a), &program(b)),
        turned(&quota(a), &quota(b)),
    ];
    if a.cgroup.is_some() || b.cgroup.is_some() {
        parts.push(format!("in {}", turned(&cgroup(a), &cgroup(b))));
    }
    parts.extend(pair.matched_by.words().map(|words| format!("({words})")));
    parts.join(", ")
}

/// One value if it stayed, else both.
fn turned(a: &str, b: &str) -> String {
    if a == b {
        a.to_owned()
    } else {
        format!("{a} -> {b}")
    }
}

fn figures(figures: &Figures, width: usize, style: Style) -> Vec<String> {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("A", Align::Right),
        ("B", Align::Right),
        ("change", Align::Right),
    ]);
    let count = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut counts = |name: &str, of: &Change| {
        table.row([
            name.to_owned(),
            count(of.a),
            count(of.b),
            change(of.a, of.b),
        ]);
    };
    counts("signals delivered", &figures.delivery.count);
    for (name, of) in figures
        .outcomes
        .iter()
        .filter(|(name, _)| *name != "delivered")
    {
        counts(&format!("  {}", escape(name)), of);
    }
    counts("sends absorbed", &figures.coalesced);
    let mut times = |name: &str, of: &Change| {
        if of.a.or(of.b).is_some() {
            table.row([
                name.to_owned(),
                duration_or_dash(of.a),
                duration_or_dash(of.b),
                change(of.a, of.b),
            ]);
        }
    };
    let delivery = &figures.delivery;
    times("delivery mean", &delivery.mean_ns);
    times("  median", &delivery.p50_ns);
    times("  p90", &delivery.p90_ns);
    times("  p99", &delivery.p99_ns);
    times("  p99.9", &delivery.p999_ns);
    times("  longest", &delivery.max_ns);
    for (name, cause) in by_cause(&figures.causes) {
        let (a, b) = (&cause.count, &cause.total_ns);
        if [a.a, a.b, b.a, b.b]
            .into_iter()
            .flatten()
            .all(|figure| figure == 0)
        {
            continue;
        }
        let name = escape(name);
        table.row([
            format!("{name}: signals"),
            count(a.a),
            count(a.b),
            change(a.a, a.b),
        ]);
        for (what, of) in [
            ("delay in all", &cause.total_ns),
            ("longest", &cause.max_ns),
        ] {
            if of.a.or(of.b).is_some() {
                table.row([
                    format!("  {what}"),
                    duration_or_dash(of.a),
                    duration_or_dash(of.b),
                    change(of.a, of.b),
                ]);
            }
        }
    }
    for (name, waits, share) in [
        ("out of quota", &figures.stall, figures.stall_share),
        ("run queue", &figures.runqueue, figures.runqueue_share),
    ] {
        if waits.count.a == Some(0) && waits.count.b == Some(0) {
            continue;
        }
        table.row(shares(&format!("{name}, of the time"), share));
        for (what, of) in [
            ("in all", &waits.total_ns),
            ("p99", &waits.p99_ns),
            ("longest", &waits.max_ns),
        ] {
            table.row([
                format!("  {what}"),
                duration_or_dash(of.a),
                duration_or_dash(of.b),
                change(of.a, of.b),
            ]);
        }
    }
    table.lines(2, width, style)
}

/// Shares, with the difference in percentage points.
fn shares(name: &str, shares: Shares) -> [String; 4] {
    let words = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
    let points = match (shares.a, shares.b) {
        (Some(a), Some(b)) => format!("{:+.1} points", (b - a) * 100.0),
        _ => "-".to_owned(),
    };
    [name.to_owned(), words(shares.a), words(shares.b), points]
}
