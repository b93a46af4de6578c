//! CPU time that the machine lost, which inflates `running`.

use super::TextOptions;
use super::layout::wrap;
use crate::report::Report;
use crate::units::percent;

/// Share of all CPU time below which it is not worth a line.
const NOTABLE: f64 = 0.01;

/// Steal and interrupt time, if one of them is more than a hundredth.
pub(super) fn lines(report: &Report, options: &TextOptions) -> Vec<String> {
    let Some(machine) = report.machine else {
        return Vec::new();
    };
    let all = report.duration_ns as f64 * f64::from(machine.cpus);
    let kinds = [
        (machine.steal_ns, "taken by the hypervisor (steal)"),
        (machine.irq_ns, "in interrupts"),
        (machine.softirq_ns, "in soft interrupts"),
    ];
    let parts: Vec<String> = kinds
        .iter()
        .map(|(ns, what)| (*ns as f64 / all, what))
        .filter(|(share, _)| *share > NOTABLE)
        .map(|(share, what)| format!("{} {what}", percent(share)))
        .collect();
    if all <= 0.0 || parts.is_empty() {
        return Vec::new();
    }
    let text = format!(
        "machine: of all CPU time {}; such time counts as running where a traced thread was on \
         that CPU",
        parts.join(", ")
    );
    let mut lines = wrap(&text, "", 2, options.width);
    lines.push(String::new());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Machine;
    use crate::sink::sample;

    #[test]
    fn only_what_is_notable_is_said() {
        let options = TextOptions::default();
        let mut report = sample::report();
        let text = lines(&report, &options).join(" ");
        assert!(
            text.starts_with("machine: of all CPU time 3 % taken by the hypervisor (steal); such")
        );
        // Just below and just above a hundredth of 16.4 s.
        for (softirq_ns, said) in [(164_000_000, false), (165_000_000, true)] {
            report.machine = Some(Machine {
                softirq_ns,
                cpus: 2,
                ..Machine::default()
            });
            assert_eq!(!lines(&report, &options).is_empty(), said);
        }
        report.duration_ns = 0;
        assert!(lines(&report, &options).is_empty());
        report.machine = None;
        assert!(lines(&report, &options).is_empty());
    }
}
