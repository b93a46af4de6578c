//! The scenarios for people.

use super::check::Check;
use super::report::{Answer, Row, Scenarios, State, Told, Unit};
use crate::bench::table::{paragraph, row};
use crate::process::escape;
use crate::units::{duration, percent};

/// Widths of the columns of figures: setting, figure, published, here.
const COLUMNS: [usize; 4] = [28, 40, 14, 14];

/// Each scenario, and how many gohang was right on.
#[must_use]
pub(in crate::bench) fn text(scenarios: &Scenarios) -> String {
    let mut out = String::new();
    let count = |wanted: &dyn Fn(&Told) -> bool| {
        let told = scenarios.scenarios.iter();
        told.filter(|told| wanted(told)).count()
    };
    let states = [State::Skipped, State::Failed, State::NotBuilt].map(|state| {
        let number = count(&|told| told.state == state);
        format!("{number} {}", state.name())
    });
    paragraph(
        &mut out,
        &format!(
            "Scenarios: {} right, {} wrong, {}. Programs of {}, cgroup v{}.",
            count(&|told| told.verdict == Some(Answer::Right)),
            count(&|told| told.verdict == Some(Answer::Wrong)),
            states.join(", "),
            scenarios
                .go
                .as_deref()
                .map_or_else(|| "no Go".to_owned(), escape),
            scenarios.cgroup_version,
        ),
    );
    for told in &scenarios.scenarios {
        out.push('\n');
        one(&mut out, told);
    }
    out
}

fn one(out: &mut String, told: &Told) {
    let verdict = match told.verdict {
        Some(Answer::Right) => "right",
        Some(Answer::Wrong) => "WRONG",
        None => told.state.name(),
    };
    paragraph(
        out,
        &format!("{} {} ({}): {verdict}", told.id, told.title, told.source),
    );
    paragraph(out, &format!("reported: {}", told.reported));
    if let Some(reason) = &told.reason {
        paragraph(out, &format!("why: {}", escape(reason)));
        return;
    }
    if let Some(scale) = &told.scale {
        paragraph(out, &format!("scale: {scale}"));
    }
    if !told.rows.is_empty() {
        let head = ["setting", "figure", "published", "here"].map(str::to_owned);
        row(out, &COLUMNS, 2, &head);
    }
    for figure in &told.rows {
        row(out, &COLUMNS, 2, &cells(figure));
    }
    for causes in &told.causes {
        let mut shares: Vec<(&String, &f64)> = causes.shares.iter().collect();
        shares.sort_by(|one, other| other.1.total_cmp(one.1));
        let shares: Vec<String> = shares
            .into_iter()
            .filter(|(_, share)| **share > 0.0)
            .map(|(name, share)| format!("{} {}", escape(name), percent(*share)))
            .collect();
        paragraph(
            out,
            &format!(
                "{}: {} signals delivered, their time: {}",
                escape(&causes.setting),
                causes.episodes,
                shares.join(", ")
            ),
        );
    }
    for said in &told.said {
        paragraph(
            out,
            &format!(
                "{}: gohang says {}: {}",
                escape(&said.setting),
                escape(&said.rule),
                escape(&said.headline)
            ),
        );
    }
    for one in &told.checks {
        let mark = if one.holds { "holds" } else { "FAILS" };
        paragraph(out, &format!("{mark}: {}", escape(check(one))));
    }
    if told.lost > 0 {
        paragraph(out, &format!("{} records were lost", told.lost));
    }
}

fn cells(figure: &Row) -> [String; 4] {
    let cell = |value: Option<f64>| {
        value.map_or_else(|| "-".to_owned(), |value| self::figure(value, figure.unit))
    };
    [
        escape(&figure.setting),
        escape(&figure.figure),
        cell(figure.published),
        cell(figure.ours),
    ]
}

/// A check in words.
pub(super) fn check(check: &Check) -> String {
    let found = check
        .found
        .map_or_else(|| "nothing".to_owned(), |found| figure(found, check.unit));
    format!(
        "{}: {found} {} {}",
        check.what,
        check.relation.sign(),
        figure(check.bound, check.unit)
    )
}

/// A figure with its unit.
fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ns => duration(value.max(0.0) as u64),
        Unit::Count => rounded(value),
        Unit::PerSecond => format!("{}/s", rounded(value)),
        Unit::Share => percent(value),
    }
}

/// Whole from a hundred on, else with two digits where there are any.
fn rounded(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    #[test]
    fn every_scenario_is_told() {
        let text = text(&sample());
        let flat: Vec<&str> = text.split_whitespace().collect();
        let flat = flat.join(" ");
        for part in [
            "1 right, 0 wrong, 1 skipped, 0 failed, 1 not built. Programs of go1.27.3, cgroup v1.",
            "B1 A stall (#1): right",
            "scale: two CPUs",
            "quota 10 % longest stop 80 ms 88 ms",
            "7 signals delivered, their time: throttled 99 %",
            "gohang says stop-the-world-held: stopping the world took long",
            "holds: share throttled: 99 % >= 95 %",
            "B2 A stall (#1): skipped",
            "why: no Go here",
            "B3 A stall (#1): not built",
        ] {
            assert!(flat.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn figures_have_their_units() {
        for (value, unit, want) in [
            (1_500_000.0, Unit::Ns, "1.5 ms"),
            (44_715.0, Unit::PerSecond, "44715/s"),
            (1.254, Unit::Count, "1.25"),
            (0.5, Unit::Share, "50 %"),
        ] {
            assert_eq!(figure(value, unit), want);
        }
    }
}
