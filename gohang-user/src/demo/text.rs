//! The two runs for people.

use std::fmt::Write as _;

use indicatif::HumanCount;

use super::report::{Demo, Phase};
use crate::report::{CauseShare, Distribution};
use crate::units::duration;

/// Width of the names, and of a phase's column.
const NAME: usize = 26;
const COLUMN: usize = 38;

/// Name of a phase.
pub(super) fn phase_name(phase: &Phase) -> String {
    match (phase.quota_ns, phase.period_ns) {
        (Some(quota), Some(period)) => format!("{} CPU", cpus(quota, period)),
        _ => "without a quota".to_owned(),
    }
}

/// A quota in CPUs.
fn cpus(quota_ns: u64, period_ns: u64) -> String {
    format!("{:.2}", quota_ns as f64 / period_ns as f64)
}

/// A quota as it is set.
pub(super) fn quota(quota_ns: u64, period_ns: u64) -> String {
    let ms = |ns: u64| ns as f64 / 1e6;
    format!("{} ms in {} ms", ms(quota_ns), ms(period_ns))
}

/// Both distributions side by side, and what they say.
#[must_use]
pub fn text(demo: &Demo) -> String {
    let mut out = String::new();
    headline(&mut out, demo);
    let row = |out: &mut String, name: &str, cell: &dyn Fn(&Phase) -> String| {
        let mut line = format!("{name:NAME$}");
        for phase in &demo.phases {
            let _ = write!(line, "{:>COLUMN$}", cell(phase));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    };
    out.push('\n');
    row(
        &mut out,
        "",
        &|phase| match (phase.quota_ns, phase.period_ns) {
            (Some(quota_ns), Some(period_ns)) => quota(quota_ns, period_ns),
            _ => "without a quota".to_owned(),
        },
    );
    let count = |value: u64| HumanCount(value).to_string();
    row(&mut out, "signals sent", &|phase| {
        count(phase.sends.outside + phase.sends.inside)
    });
    row(&mut out, "  from outside the group", &|phase| {
        count(phase.sends.outside)
    });
    row(&mut out, "  from inside the group", &|phase| {
        count(phase.sends.inside)
    });
    row(&mut out, "coalesced while pending", &|phase| {
        count(phase.coalesced)
    });
    row(&mut out, "delivered (episodes)", &|phase| {
        count(phase.episodes)
    });
    if demo
        .phases
        .iter()
        .any(|phase| !phase.undelivered.is_empty())
    {
        row(&mut out, "not delivered", &|phase| {
            count(phase.undelivered.values().sum())
        });
    }
    out.push('\n');
    out.push_str("first send to delivery\n");
    latency(&mut out, &row, &|phase| &phase.latency);
    out.push('\n');
    row(&mut out, "why it took so long", &|_| {
        format!(
            "{:>8}{:>8}{:>10}{:>10}",
            "episodes", "share", "total", "longest"
        )
    });
    for name in ["throttled", "masked", "blocked", "runqueue", "running"] {
        row(&mut out, &format!("  {name}"), &|phase| cause(phase, name));
    }
    out.push('\n');
    out.push_str("what a script that restarts its clock at every send would have reported\n");
    latency(&mut out, &row, &|phase| &phase.restarted_clock);
    out.push('\n');
    let notes = format!(
        "An episode counts for its largest component; share and total are of the component \
         itself, over all episodes. Restarted clock: {}.",
        demo.restarted_clock_method
    );
    wrap(&mut out, &notes);
    if let Some(stat) = demo.phases.iter().find_map(|phase| {
        let stat = phase.cpu_stat.filter(|_| phase.quota_ns.is_some())?;
        Some(format!(
            "The group's own cpu.stat: out of quota in {} of {} periods, {} summed over CPUs.",
            stat.nr_throttled?,
            stat.nr_periods?,
            duration(stat.throttled_ns?)
        ))
    }) {
        wrap(&mut out, &stat);
    }
    out
}

/// Writes a paragraph as wide as the table.
fn wrap(out: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split(' ') {
        if width > 0 && width + 1 + word.len() > NAME + 2 * COLUMN {
            out.push('\n');
            width = 0;
        }
        if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.len();
    }
    out.push('\n');
}

/// Writes a row of the table.
type Row<'a> = dyn Fn(&mut String, &str, &dyn Fn(&Phase) -> String) + 'a;

fn latency(out: &mut String, row: &Row<'_>, of: &dyn Fn(&Phase) -> &Distribution) {
    let value = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
    row(out, "  p50", &|phase| value(of(phase).p50_ns));
    row(out, "  p99", &|phase| value(of(phase).p99_ns));
    row(out, "  p99.9", &|phase| value(of(phase).p999_ns));
    row(out, "  max", &|phase| value(of(phase).max_ns));
    row(out, "  mean", &|phase| value(of(phase).mean_ns));
}

fn share_of(phase: &Phase, part_ns: u64) -> Option<f64> {
    let all: u64 = phase.causes.values().map(|share| share.total_ns).sum();
    (all > 0).then(|| part_ns as f64 * 100.0 / all as f64)
}

fn cause(phase: &Phase, name: &str) -> String {
    let Some(CauseShare {
        count,
        total_ns,
        max_ns,
    }) = phase.causes.get(name).copied()
    else {
        return "-".to_owned();
    };
    let share = share_of(phase, total_ns).map_or_else(|| "-".to_owned(), |it| format!("{it:.1} %"));
    let longest = max_ns.map_or_else(|| "-".to_owned(), duration);
    format!(
        "{:>8}{share:>8}{:>10}{longest:>10}",
        HumanCount(count),
        duration(total_ns)
    )
}

fn headline(out: &mut String, demo: &Demo) {
    for phase in &demo.phases {
        let (Some(p50), Some(max)) = (phase.latency.p50_ns, phase.latency.max_ns) else {
            let _ = writeln!(out, "{}: no signal was delivered.", phase_name(phase));
            continue;
        };
        let (Some(quota_ns), Some(period_ns)) = (phase.quota_ns, phase.period_ns) else {
            let _ = writeln!(
                out,
                "Without a quota, half of {} signals were delivered within {}; the slowest took {}.",
                HumanCount(phase.episodes),
                duration(p50),
                duration(max)
            );
            continue;
        };
        let throttled = phase.causes.get("throttled").copied().unwrap_or_default();
        let share = share_of(phase, throttled.total_ns).unwrap_or_default();
        let mut text = format!(
            "With a quota of {} CPU ({}), {} of {} waited for quota, {} at most: {share:.0} % of \
             all the waiting, though the median was {}.",
            cpus(quota_ns, period_ns),
            quota(quota_ns, period_ns),
            HumanCount(throttled.count),
            HumanCount(phase.episodes),
            throttled.max_ns.map_or_else(|| "-".to_owned(), duration),
            duration(p50),
        );
        if let (Some(mean), Some(restarted)) =
            (phase.latency.mean_ns, phase.restarted_clock.mean_ns)
        {
            let _ = write!(
                text,
                " The mean was {}; a script that restarts its clock at every send would have \
                 reported {}.",
                duration(mean),
                duration(restarted)
            );
        }
        wrap(out, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn says_what_was_measured() {
        let text = text(&sample());
        assert!(
            text.replace('\n', " ").contains(
                "With a quota of 0.10 CPU (10 ms in 100 ms), 10 of 100 waited for quota, 91 ms \
                 at most: 100 % of all the waiting, though the median was 5.0 us."
            ),
            "{text}"
        );
        let row = text
            .lines()
            .find(|line| line.starts_with("  p99.9"))
            .expect("a row");
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells, ["p99.9", "90", "us", "91", "ms"]);
        assert!(
            text.lines().all(|line| line.len() <= NAME + 2 * COLUMN),
            "{text}"
        );
    }

    #[test]
    fn nothing_measured_is_said() {
        let mut demo = sample();
        for phase in &mut demo.phases {
            phase.latency = Distribution::default();
            phase.restarted_clock = Distribution::default();
            phase.causes.clear();
        }
        let text = text(&demo);
        assert!(text.contains("no signal was delivered"), "{text}");
        assert!(
            text.lines()
                .any(|line| line.split_whitespace().eq(["p50", "-", "-"])),
            "{text}"
        );
    }
}
