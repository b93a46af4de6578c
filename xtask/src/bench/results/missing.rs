//! What the page does not have: why, and what there is instead.

use std::fmt::Write as _;

use super::document::Document;
use super::not_built::NOT_BUILT;
use super::page::{plain, table};
use crate::bench::peers::{self, Setting};
use crate::bench::{chain_cost, parts, programs, run_cost};

/// What no command measures.
const NEVER: [&str; 5] = [
    "Other machines and architectures: x86_64 only. Two CPUs that share their host with others \
     stretch the largest values, which are single events; medians and shares are steadier.",
    "Time on other kernels: those of [kernels.md](kernels.md) are emulated, which shows whether \
     figures are right, not how long anything takes on hardware; an edge of throttling is \
     counted in instructions there.",
    "Threads of a BPF scheduler (sched_ext).",
    "The delivery that `bpftrace`, `perf` and `runqlat` would show, beside gohang's; and the cost \
     of other tracers, Go's own execution tracer among them.",
    "Growth beyond the sizes above, and traces that last for hours.",
];

/// What the list depends on.
#[derive(Debug)]
pub struct Known<'a> {
    pub document: &'a Document,
    pub has_growth: bool,
    pub peers: &'a peers::Document,
    /// `docs/cost.md`.
    pub cost_page: &'a str,
}

/// The section.
pub fn section(out: &mut String, known: &Known<'_>) {
    out.push_str("\n## Not measured\n\n");
    let mut all = of_this_page(known);
    all.extend(of_cost(known));
    all.extend(NEVER.map(str::to_owned));
    for what in all {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, "- {what}");
    }
    if known.document.scenarios().is_some() {
        // Its section has them, with those that failed here.
        return;
    }
    let _ = writeln!(
        out,
        "\nAnd these scenarios cannot be made yet. A number alone is an issue of golang/go."
    );
    let rows: Vec<Vec<String>> = NOT_BUILT
        .iter()
        .map(|own| [own.id, own.title, own.source, own.reported, own.why].map(plain))
        .map(Vec::from)
        .collect();
    let head = [
        "",
        "what",
        "reported in",
        "reported",
        "what is there, what is missing",
    ];
    table(out, head.len(), &head, &rows);
}

fn of_this_page(known: &Known<'_>) -> Vec<String> {
    let mut all = Vec::new();
    if known.document.quick {
        all.push(
            "Delivery in the long form, with more limits and longer runs: what is above is the \
             quick one. `cargo xtask bench results` measures the long one."
                .to_owned(),
        );
    }
    if known.document.scenarios().is_none() {
        all.push(
            "The scenarios that are built: this measurement is without them. `cargo xtask bench \
             results` makes them."
                .to_owned(),
        );
    }
    if !known.has_growth {
        all.push("Growth with processes, threads, groups and signal rate.".to_owned());
    }
    match known.document.delivery().map(|own| own.cgroup_version) {
        Ok(1) => all.push(
            "Delivery with control groups of version 2: this machine has version 1. What \
             [kernels.md](kernels.md) has was measured with version 2."
                .to_owned(),
        ),
        Ok(2) => all.push("Delivery with control groups of version 1.".to_owned()),
        _ => {}
    }
    all
}

fn of_cost(known: &Known<'_>) -> Vec<String> {
    let Known {
        peers, cost_page, ..
    } = known;
    let has = |title: &str| cost_page.contains(&format!("\n## {title}\n"));
    let mut all = Vec::new();
    if !has(run_cost::TITLE) {
        all.push(
            "What `gohang run` costs a command: [cost.md](cost.md) is without it. `cargo xtask \
             bench run-cost` measures it."
                .to_owned(),
        );
    }
    if !has(programs::TITLE) {
        all.push(
            "Nanoseconds a run of kernel programs other than those on `sched_switch` and \
             `sched_waking`. `cargo xtask bench programs` measures them."
                .to_owned(),
        );
    }
    let (not_shown, rows) = not_shown(cost_page);
    if not_shown > 0 {
        all.push(format!(
            "Whether tracing costs Go programs less than 1 %: {not_shown} of {rows} figures in \
             [cost.md](cost.md) have an interval that holds 1 %, so that neither that nor the \
             contrary is shown.{}",
            if has(parts::TITLE) {
                " What it takes from a Go service part by part is there too."
            } else {
                ""
            }
        ));
    }
    let gohang = peers.of(Setting::Gohang);
    if let Some(lost) = gohang.and_then(|runs| peers.lost_requests(runs))
        && lost.low < 0.0
        && lost.high > 0.0
    {
        all.push(format!(
            "What gohang takes from a Go service, beside its peers: the quartiles of the rounds \
             ({:.1} to {:.1} % of the requests) hold zero.",
            lost.low, lost.high
        ));
    }
    for runs in &peers.settings {
        let told = runs.runs.iter().filter_map(|run| run.told);
        let lost: u64 = told.map(|told| told.lost).sum();
        if lost > 0 {
            all.push(format!(
                "What {} would cost without a loss: it says that it lost {lost} events in {} \
                 rounds.",
                runs.setting.title(),
                runs.runs.len()
            ));
        }
    }
    if !peers.missing.is_empty() {
        let missing: Vec<String> = peers.missing.iter().map(|text| plain(text)).collect();
        all.push(format!(
            "The cost of {}, which could not be had there.",
            missing.join(", ")
        ));
    }
    all
}

/// Of the figures of Go programs on the page, how many say nothing of the aim, and how many
/// there are.
fn not_shown(cost_page: &str) -> (usize, usize) {
    let head = format!("\n## {}\n", chain_cost::TITLE);
    let section = cost_page.split_once(&head).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    let ends = |word: &str| {
        let end = format!("| {word} |");
        section.lines().filter(|line| line.ends_with(&end)).count()
    };
    let open = ends("not shown");
    (open, open + ends("yes") + ends("no"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers::tests::{document as peers, run};

    fn list(quick: bool, parts: &str, growth: bool, cost_page: &str) -> String {
        let text = format!(
            r#"{{"schema_version": 1, "gohang_version": "1", "started": "", "quick": {quick},
            "machine": {{"kernel": "", "architecture": "", "cpus": 1}}, "measured": [{parts}]}}"#
        );
        let document = Document::read(&text).expect("a document");
        let mut out = String::new();
        section(
            &mut out,
            &Known {
                document: &document,
                has_growth: growth,
                peers: &peers(vec![run(1.0, 10)]),
                cost_page,
            },
        );
        out
    }

    #[test]
    fn what_was_left_out_is_listed() {
        let out = list(true, "", false, "");
        for part in [
            "- Delivery in the long form",
            "- The scenarios that are built",
            "- Growth with processes",
            "- What `gohang run` costs",
            "- Nanoseconds a run of kernel programs",
            "- The cost of perf, which could not be had there",
            "- What bpftrace, `delivery.bt` would cost without a loss: it says that it lost 2 events",
            "| B3 | GOMAXPROCS below the quota | #76835",
        ] {
            assert!(out.contains(part), "{part}\n{out}");
        }
    }

    #[test]
    fn what_was_measured_is_not() {
        let scenarios = r#"{"part": "scenarios", "go": null, "scenarios": []}"#;
        let page = "# P\n\n## `gohang run`\n\n| a | not shown |\n\n## Each kernel program at work\n\n\
                    ## Go programs\n\n\
                    | a | yes |\n| b | not shown |\n| c | no |\n\n## Z\n\n| d | not shown |\n";
        let out = list(false, scenarios, true, page);
        for part in [
            "long form",
            "scenarios",
            "Growth with processes",
            "`gohang run`",
            "Nanoseconds a run",
        ] {
            assert!(!out.contains(part), "{part}\n{out}");
        }
        assert!(out.contains("1 of 3 figures"), "{out}");
    }
}
