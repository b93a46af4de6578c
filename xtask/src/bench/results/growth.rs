//! The section on growth.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::document::day;
use super::page::{plain, table};
use crate::bench::growth::FILE;

#[derive(Debug, Deserialize)]
struct Document {
    gohang: String,
    kernel: String,
    cpus: u64,
    /// Files of before do not say.
    at_unix_s: Option<u64>,
    watch_ms: u64,
    axes: Vec<Axis>,
}

#[derive(Debug, Deserialize)]
struct Axis {
    name: String,
    what: String,
    unit: String,
    points: Vec<Point>,
    growth: Vec<Growth>,
}

#[derive(Debug, Deserialize)]
struct Point {
    size: u64,
    start_ms: f64,
    cpu_ms: f64,
    episodes: u64,
    cpu_ns_per_episode: Option<f64>,
    rss_kib: u64,
    end_ms: f64,
    report_bytes: u64,
    lost: u64,
}

#[derive(Debug, Deserialize)]
struct Growth {
    figure: String,
    from: u64,
    to: u64,
    exponent: f64,
    faster_than_linear: bool,
}

/// The section.
///
/// # Errors
/// The text is not that of the figures.
pub fn section(text: &str) -> Result<String> {
    let document: Document = serde_json::from_str(text).context(FILE)?;
    let mut out = "\n## Growth\n".to_owned();
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        out,
        "\n`cargo xtask bench growth` measures it again (as root). Each row is a `gohang trace -o \
         json` of its own that\nwas watched for {:.1} s: from its start to `gohang: tracing`, the \
         CPU time of all its threads while it was\nwatched, its memory at the end, from the \
         interrupt to its end, the length of its report, and the records that\nwere lost on any \
         way. {}{}, kernel {}, {} CPUs, which the traced processes have to themselves but for it.",
        document.watch_ms as f64 / 1e3,
        match document.at_unix_s {
            Some(at) => format!("On {}: ", day(at)?),
            None => "On a day that was not kept: ".to_owned(),
        },
        plain(&document.gohang),
        plain(&document.kernel),
        document.cpus,
    );
    for axis in &document.axes {
        self::axis(&mut out, axis, document.watch_ms);
    }
    Ok(out)
}

fn axis(out: &mut String, axis: &Axis, watch_ms: u64) {
    let mut title = axis.name.clone();
    title[..1].make_ascii_uppercase();
    let _ = writeln!(out, "\n### {}\n\n{}.", plain(&title), sentence(&axis.what));
    let head = [
        axis.unit.as_str(),
        "start",
        "CPU",
        "records",
        "CPU a record",
        "memory",
        "end",
        "report",
        "lost",
    ];
    let rows: Vec<Vec<String>> = axis.points.iter().map(|p| row(p, watch_ms)).collect();
    table(out, 0, &head, &rows);
    let grows: Vec<String> = axis
        .growth
        .iter()
        .map(|growth| {
            let mark = if growth.faster_than_linear {
                " (**faster than linearly**)"
            } else {
                ""
            };
            format!("{} {:.2}{mark}", plain(&growth.figure), growth.exponent)
        })
        .collect();
    if let Some(first) = axis.growth.first() {
        let _ = writeln!(
            out,
            "\nFrom {} to {} {}, as a power of their number: {}.",
            first.from,
            first.to,
            plain(&axis.unit),
            grows.join(", ")
        );
    }
}

fn sentence(text: &str) -> String {
    let text = plain(text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn row(point: &Point, watch_ms: u64) -> Vec<String> {
    let each = point.cpu_ns_per_episode;
    vec![
        point.size.to_string(),
        format!("{:.0} ms", point.start_ms),
        format!("{:.1} %", 100.0 * point.cpu_ms / watch_ms as f64),
        point.episodes.to_string(),
        each.map_or_else(|| "-".to_owned(), |ns| format!("{:.1} us", ns / 1e3)),
        format!("{:.1} MiB", point.rss_kib as f64 / 1024.0),
        format!("{:.0} ms", point.end_ms),
        format!("{:.1} KiB", point.report_bytes as f64 / 1024.0),
        point.lost.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_too_fast_is_said() {
        let text = r#"{"gohang": "gohang 1", "kernel": "6", "cpus": 2, "at_unix_s": 86400, "watch_ms": 1000, "axes": [
            {"name": "things", "what": "some things", "unit": "things", "points": [
              {"size": 1, "start_ms": 1.0, "cpu_ms": 10.0, "episodes": 5,
               "cpu_ns_per_episode": 2000000.0, "rss_kib": 1024, "end_ms": 3.0,
               "report_bytes": 2048, "lost": 0}],
             "growth": [{"figure": "start", "from": 1, "to": 10, "exponent": 1.5,
               "faster_than_linear": true},
              {"figure": "CPU", "from": 1, "to": 10, "exponent": 1.0,
               "faster_than_linear": false}]}]}"#;
        let section = section(text).unwrap();
        let row = "| 1 | 1 ms | 1.0 % | 5 | 2000.0 us | 1.0 MiB | 3 ms | 2.0 KiB | 0 |";
        assert!(section.contains(row), "{section}");
        assert!(section.contains("start 1.50 (**faster than linearly**), CPU 1.00."));
        assert!(
            section.contains("On 1970-01-02: gohang 1, kernel 6"),
            "{section}"
        );
        assert!(section.contains("### Things\n\nSome things."));
    }
}
