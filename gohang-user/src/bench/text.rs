//! The suite for people.

use std::fmt::Write as _;

use super::report::{Bench, Measured};
use super::table::paragraph;
use super::{Extent, PARTS, Part, delivery};
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
        }
    }
    out
}

/// The parts, and about how long they take.
#[must_use]
pub fn list() -> String {
    let mut out = String::new();
    let time = |part: &Part, extent| span(part.estimate(extent));
    for part in &PARTS {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{:12}{} (about {}, quick {})",
            part.name,
            part.about,
            time(part, Extent::Full),
            time(part, Extent::Quick)
        );
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
    }

    #[test]
    fn the_list_names_every_part() {
        let list = list();
        assert_eq!(list.lines().count(), PARTS.len());
        assert!(
            list.lines().all(|line| line.chars().count() <= 100),
            "{list}"
        );
    }
}
