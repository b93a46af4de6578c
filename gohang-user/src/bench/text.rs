//! The suite for people.

use std::fmt::Write as _;

use super::report::{Bench, Measured};
use super::table::paragraph;
use super::{Choice, Extent, PARTS, delivery, scenarios};
use crate::process::escape;
use crate::units::span;

/// Everything that was measured.
#[must_use]
pub fn text(bench: &Bench) -> String {
    let mut out = String::new();
    let machine = &bench.machine;
    let cpu = machine
        .cpu_model
        .as_deref()
        .unwrap_or(&machine.architecture);
    let load = machine.load_before.map_or_else(String::new, |load| {
        format!(", load {load:.2} in the minute before")
    });
    paragraph(
        &mut out,
        &format!(
            "gohang {}, kernel {}, {} x {}{load}; started {}{}.",
            escape(&bench.gohang_version),
            escape(&machine.kernel),
            machine.cpus,
            escape(cpu),
            escape(&bench.started),
            if bench.quick {
                " (quick: short runs, rough figures)"
            } else {
                ""
            },
        ),
    );
    for measured in &bench.measured {
        out.push('\n');
        match measured {
            Measured::Delivery(delivery) => out.push_str(&delivery::text(delivery)),
            Measured::Scenarios(told) => out.push_str(&scenarios::text(told)),
        }
    }
    out
}

/// The parts and the scenarios, and about how long they take.
#[must_use]
pub fn list() -> String {
    let mut out = String::new();
    let [full, quick] = [Extent::Full, Extent::Quick].map(Choice::all);
    for part in &PARTS {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{:12}{} (about {}, quick {})",
            part.name,
            part.about,
            span(part.estimate(&full)),
            span(part.estimate(&quick))
        );
    }
    let times = scenarios::list(&full)
        .into_iter()
        .zip(scenarios::list(&quick));
    for ((id, title, full), (_, _, quick)) in times {
        let _ = match full.zip(quick) {
            Some((full, quick)) => writeln!(
                out,
                "  {id:10}{title} (about {}, quick {})",
                span(full),
                span(quick)
            ),
            None => writeln!(out, "  {id:10}{title} (not built)"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    #[test]
    fn the_machine_and_every_part_are_told() {
        let text = text(&sample());
        assert!(
            text.starts_with("gohang 0, kernel 6.18.1, 2 x A "),
            "{text}"
        );
        assert!(text.contains("quick: short runs"), "{text}");
        assert!(text.bytes().all(|byte| byte == b'\n' || byte >= 0x20));
        assert!(text.contains("SIGURG delivery"), "{text}");
        assert!(text.contains("Scenarios: 1 right"), "{text}");
    }

    #[test]
    fn the_list_names_every_part() {
        let list = list();
        assert_eq!(list.lines().count(), PARTS.len() + 20);
        assert!(
            list.lines().all(|line| line.chars().count() <= 100),
            "{list}"
        );
    }
}
