//! The part of the page on reported stalls.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::document::duration;
use super::page::{plain, table};

/// Reported stalls, made here.
#[derive(Debug, Deserialize)]
pub struct Scenarios {
    go: Option<String>,
    scenarios: Vec<Told>,
}

/// One of them.
#[derive(Debug, Deserialize)]
struct Told {
    id: String,
    title: String,
    source: String,
    reported: String,
    scale: Option<String>,
    state: String,
    reason: Option<String>,
    rows: Vec<Figure>,
    said: Vec<Said>,
    causes: Vec<Causes>,
    checks: Vec<Check>,
    verdict: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Figure {
    setting: String,
    figure: String,
    published: Option<f64>,
    ours: Option<f64>,
    unit: String,
}

#[derive(Debug, Deserialize)]
struct Said {
    setting: String,
    rule: String,
    headline: String,
}

#[derive(Debug, Deserialize)]
struct Causes {
    setting: String,
    episodes: u64,
    shares: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
struct Check {
    what: String,
    found: Option<f64>,
    relation: String,
    bound: f64,
    unit: String,
    holds: bool,
}

/// The section, from the document's part; of none, how to get it.
pub fn section(out: &mut String, part: Option<&Scenarios>) {
    out.push_str(
        "\n## Scenarios\n\n\
         Stalls that were reported elsewhere, made here, with what gohang says of each. A number \
         alone is an issue of\ngolang/go. `gohang bench scenarios` runs them again, `gohang bench \
         B1` one of them.\n",
    );
    let Some(part) = part else {
        out.push_str("\nThis measurement is without them.\n");
        return;
    };
    let number = |wanted: &dyn Fn(&Told) -> bool| {
        let told = part.scenarios.iter();
        told.filter(|told| wanted(told)).count()
    };
    let go = part.go.as_deref().map_or_else(String::new, |go| {
        format!(" Programs were built by {}.", plain(go))
    });
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        out,
        "\n{} of {} are built; gohang is right on {} of those and wrong on {}. A verdict is right \
         if every check of it\nholds, and computed.{go}",
        number(&|told| told.state == "built"),
        part.scenarios.len(),
        number(&|told| told.verdict.as_deref() == Some("right")),
        number(&|told| told.verdict.as_deref() == Some("wrong")),
    );
    let rows: Vec<Vec<String>> = part.scenarios.iter().map(overview).collect();
    let head = ["", "what", "reported in", "reported", "state", "gohang is"];
    table(out, head.len(), &head, &rows);
    for told in part.scenarios.iter().filter(|told| told.state == "built") {
        details(out, told);
    }
    let others = part.scenarios.iter().filter(|told| told.state != "built");
    let rows: Vec<Vec<String>> = others
        .map(|told| {
            let reason = told.reason.as_deref().unwrap_or("-");
            vec![plain(&told.id), state(told), plain(reason)]
        })
        .collect();
    if !rows.is_empty() {
        out.push_str("\n### Scenarios that are missing\n");
        table(
            out,
            3,
            &["", "state", "what is there, what is missing"],
            &rows,
        );
    }
}

fn state(told: &Told) -> String {
    plain(&told.state.replace('_', " "))
}

fn overview(told: &Told) -> Vec<String> {
    vec![
        plain(&told.id),
        plain(&told.title),
        plain(&told.source),
        plain(&told.reported),
        state(told),
        plain(told.verdict.as_deref().unwrap_or("-")),
    ]
}

fn details(out: &mut String, told: &Told) {
    let _ = writeln!(out, "\n### {}: {}", plain(&told.id), plain(&told.title));
    if let Some(scale) = &told.scale {
        let _ = writeln!(out, "\nScale: {}.", plain(scale));
    }
    let rows: Vec<Vec<String>> = told
        .rows
        .iter()
        .map(|row| {
            vec![
                plain(&row.setting),
                plain(&row.figure),
                cell(row.published, &row.unit),
                cell(row.ours, &row.unit),
            ]
        })
        .collect();
    table(out, 2, &["setting", "figure", "published", "here"], &rows);
    for causes in &told.causes {
        let mut shares: Vec<(&String, &f64)> = causes.shares.iter().collect();
        shares.sort_by(|one, other| other.1.total_cmp(one.1));
        let shares: Vec<String> = shares
            .into_iter()
            .filter(|(_, share)| **share >= 0.0005)
            .map(|(name, share)| format!("{} {:.1} %", plain(name), share * 100.0))
            .collect();
        let _ = writeln!(
            out,
            "\nSignals, {}: {} delivered, their time {}.",
            plain(&causes.setting),
            causes.episodes,
            shares.join(", ")
        );
    }
    if !told.said.is_empty() {
        out.push_str("\ngohang says:\n\n");
    }
    for (index, said) in told.said.iter().enumerate() {
        // One of a rule in a setting is enough: they differ by their thread.
        let same = |other: &Said| other.rule == said.rule && other.setting == said.setting;
        if !told.said[..index].iter().any(same) {
            let _ = writeln!(
                out,
                "- {}: {}: {}",
                plain(&said.setting),
                plain(&said.rule),
                plain(&said.headline)
            );
        }
    }
    let rows: Vec<Vec<String>> = told.checks.iter().map(check).collect();
    table(out, 1, &["check", "found", "bound", "holds"], &rows);
}

fn check(check: &Check) -> Vec<String> {
    let sign = match check.relation.as_str() {
        "at_least" => "at least",
        "at_most" => "at most",
        _ => "exactly",
    };
    vec![
        plain(&check.what),
        cell(check.found, &check.unit),
        format!("{sign} {}", cell(Some(check.bound), &check.unit)),
        if check.holds { "yes" } else { "no" }.to_owned(),
    ]
}

fn cell(value: Option<f64>, unit: &str) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let number = if value.abs() >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    };
    match unit {
        "ns" => duration(value.max(0.0) as u64),
        "share" => format!("{:.1} %", value * 100.0),
        "per_second" => format!("{number}/s"),
        _ => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_shown() {
        let part = r##"{"go": "go1.27.3", "cgroup_version": 1, "scenarios": [
            {"id": "B1", "title": "A stall", "source": "#1", "reported": "80 ms", "scale": "two",
             "state": "built", "reason": null, "verdict": "right",
             "rows": [{"setting": "a|b", "figure": "stop", "published": 8e7, "ours": null,
                       "unit": "ns"}],
             "said": [{"setting": "a", "rule": "r", "severity": "info", "headline": "h"}],
             "causes": [{"setting": "a", "episodes": 7, "shares": {"throttled": 0.99}}],
             "checks": [{"what": "w", "found": 0.5, "relation": "at_least", "bound": 0.25,
                         "unit": "share", "holds": true}]},
            {"id": "B2", "title": "Another", "source": "#2", "reported": "-", "scale": null,
             "state": "not_built", "reason": "why", "verdict": null, "rows": [], "said": [],
             "causes": [], "checks": []}]}"##;
        let part: Scenarios = serde_json::from_str(part).expect("a part");
        let mut out = String::new();
        section(&mut out, Some(&part));
        for line in [
            "1 of 2 are built; gohang is right on 1 of those and wrong on 0.",
            "| B1 | A stall | #1 | 80 ms | built | right |",
            "| ab | stop | 80.0 ms | - |",
            "Signals, a: 7 delivered, their time throttled 99.0 %.",
            "- a: r: h",
            "| w | 50.0 % | at least 25.0 % | yes |",
            "| B2 | not built | why |",
        ] {
            assert!(out.contains(line), "{line}\n{out}");
        }
        let mut out = String::new();
        section(&mut out, None);
        assert!(out.contains("without them"), "{out}");
    }
}
