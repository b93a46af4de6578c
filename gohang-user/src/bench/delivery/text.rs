//! The experiment for people.

use indicatif::HumanCount;

use super::report::{Cell, Claim, Delivery, Verdict};
use crate::bench::table::{paragraph, row};
use crate::experiment::Origin;
use crate::units::{duration, duration_or_dash, percent};

/// The order of the causes.
const CAUSES: [&str; 5] = ["throttled", "runqueue", "running", "blocked", "masked"];

/// A limit as people say it: `no limit`, `10 % of a CPU`.
pub(super) fn limit_of(quota: Option<(u64, u64)>) -> String {
    match quota {
        Some((quota_ns, period_ns)) if period_ns > 0 => {
            format!("{} of a CPU", percent(quota_ns as f64 / period_ns as f64))
        }
        _ => "no limit".to_owned(),
    }
}

fn limit(cell: &Cell) -> String {
    limit_of(cell.quota_ns.zip(cell.period_ns))
}

/// A run's name.
pub(super) fn cell_name(cell: &Cell) -> String {
    format!(
        "{}, {} from {}",
        limit(cell),
        cell.method.name(),
        cell.from.name()
    )
}

/// What was measured, and what that says.
#[must_use]
pub(in crate::bench) fn text(delivery: &Delivery) -> String {
    let mut out = String::new();
    paragraph(
        &mut out,
        &format!(
            "SIGURG delivery: a busy thread gets a signal every {}, in {} runs of {}; from the \
             first send that finds none pending to the delivery.",
            duration(delivery.send_every_ns),
            delivery.cells.len(),
            duration(delivery.run_ns)
        ),
    );
    for (index, cell) in delivery.cells.iter().enumerate() {
        // A sentence a limit.
        if index == 0 || delivery.cells[index - 1].quota_ns != cell.quota_ns {
            let same: Vec<&Cell> = delivery
                .cells
                .iter()
                .filter(|other| other.quota_ns == cell.quota_ns)
                .collect();
            paragraph(&mut out, &sentence(&same, delivery));
        }
    }
    out.push('\n');
    latencies(&mut out, delivery);
    out.push('\n');
    causes(&mut out, delivery);
    out.push('\n');
    restarted(&mut out, delivery);
    out.push('\n');
    published(&mut out, delivery);
    out
}

/// `8.1 ms`, or `8.1 ms to 8.4 ms`.
fn range(values: impl Iterator<Item = u64> + Clone) -> String {
    match (values.clone().min(), values.max()) {
        (Some(low), Some(high)) if duration(low) != duration(high) => {
            format!("{} to {}", duration(low), duration(high))
        }
        (Some(low), _) => duration(low),
        _ => "-".to_owned(),
    }
}

fn cause_share(cell: &Cell, name: &str) -> Option<f64> {
    let all: u64 = cell.causes.values().map(|cause| cause.total_ns).sum();
    let own = cell.causes.get(name)?.total_ns;
    (all > 0).then(|| own as f64 / all as f64)
}

/// The runs of one limit in a sentence or two.
fn sentence(cells: &[&Cell], delivery: &Delivery) -> String {
    let from = |origin| cells.iter().filter(move |cell| cell.from == origin);
    let means = |origin| range(from(origin).filter_map(|cell| cell.latency.mean_ns));
    let Some(quota) = cells
        .first()
        .and_then(|cell| cell.quota_ns.zip(cell.period_ns))
    else {
        return format!(
            "Without a limit the mean is {} and the slowest took {}.",
            range(cells.iter().filter_map(|cell| cell.latency.mean_ns)),
            range(cells.iter().filter_map(|cell| cell.latency.max_ns))
        );
    };
    let share = from(Origin::Outside)
        .filter_map(|cell| cause_share(cell, "throttled"))
        .fold(f64::NAN, f64::min);
    let mut text = format!(
        "With {}, sent from outside the group, the mean is {} and the slowest took {}",
        limit_of(Some(quota)),
        means(Origin::Outside),
        range(from(Origin::Outside).filter_map(|cell| cell.latency.max_ns)),
    );
    if share.is_nan() {
        text.push('.');
    } else {
        text.push_str(&format!(
            "; {} of the waiting at least was for quota.",
            percent(share)
        ));
    }
    let free = delivery
        .cells
        .iter()
        .filter(|cell| cell.quota_ns.is_none() && cell.from == Origin::Inside);
    let fewest = from(Origin::Inside).map(|cell| cell.sends).min();
    if let (Some(sends), Some(expected)) = (fewest, free.map(|cell| cell.sends).max()) {
        text.push_str(&format!(
            " From inside, the mean is {}, but the sender is out of quota too: it sent {} signals \
             instead of {}, and what it could not send is in no delivery figure.",
            means(Origin::Inside),
            HumanCount(sends),
            HumanCount(expected)
        ));
    }
    text
}

/// Widths of what names a run.
const NAME: [usize; 3] = [14, 8, 8];

fn names(cell: &Cell) -> Vec<String> {
    vec![
        limit(cell),
        cell.method.name().to_owned(),
        cell.from.name().to_owned(),
    ]
}

fn table(
    out: &mut String,
    delivery: &Delivery,
    columns: &[(&str, usize)],
    cells: &dyn Fn(&Cell) -> Vec<String>,
) {
    let mut widths = NAME.to_vec();
    widths.extend(columns.iter().map(|(_, width)| width));
    let mut head: Vec<String> = ["limit", "sent by", "from"].map(str::to_owned).to_vec();
    head.extend(columns.iter().map(|(name, _)| (*name).to_owned()));
    row(out, &widths, NAME.len(), &head);
    for cell in &delivery.cells {
        let mut all = names(cell);
        all.extend(cells(cell));
        row(out, &widths, NAME.len(), &all);
    }
}

fn latencies(out: &mut String, delivery: &Delivery) {
    let columns = [
        ("sends", 8),
        ("pending", 9),
        ("delivered", 11),
        ("mean", 9),
        ("deviation", 10),
        ("p50", 8),
        ("p99", 8),
        ("max", 8),
    ];
    let count = |value: u64| HumanCount(value).to_string();
    table(out, delivery, &columns, &|cell| {
        let latency = &cell.latency;
        vec![
            count(cell.sends),
            count(cell.coalesced),
            count(cell.episodes),
            duration_or_dash(latency.mean_ns),
            duration_or_dash(latency.deviation_ns),
            duration_or_dash(latency.p50_ns),
            duration_or_dash(latency.p99_ns),
            duration_or_dash(latency.max_ns),
        ]
    });
    paragraph(
        out,
        "pending: sends that found one pending already, and were coalesced with it.",
    );
    let undelivered = |cell: &Cell| cell.undelivered.values().sum::<u64>();
    for cell in delivery.cells.iter().filter(|cell| undelivered(cell) > 0) {
        paragraph(
            out,
            &format!("{}: {} not delivered.", cell_name(cell), undelivered(cell)),
        );
    }
}

fn causes(out: &mut String, delivery: &Delivery) {
    paragraph(out, "where the time between went");
    let columns = CAUSES.map(|name| (name, 12));
    table(out, delivery, &columns, &|cell| {
        let share = |name| cause_share(cell, name).map_or_else(|| "-".to_owned(), percent);
        CAUSES.into_iter().map(share).collect()
    });
}

fn restarted(out: &mut String, delivery: &Delivery) {
    paragraph(
        out,
        "what a script that restarts its clock at every send shows of the same signals",
    );
    let columns = [
        ("mean", 10),
        ("instead of", 11),
        ("p99", 10),
        ("max", 10),
        ("wrong", 9),
        ("largest error", 15),
    ];
    table(out, delivery, &columns, &|cell| {
        let shown = &cell.restarted;
        vec![
            duration_or_dash(shown.latency.mean_ns),
            duration_or_dash(cell.latency.mean_ns),
            duration_or_dash(shown.latency.p99_ns),
            duration_or_dash(shown.latency.max_ns),
            HumanCount(shown.wrong).to_string(),
            duration_or_dash(shown.max_error_ns),
        ]
    });
    paragraph(
        out,
        &format!("Restarted clock: {}.", delivery.restarted_clock_method),
    );
}

fn published(out: &mut String, delivery: &Delivery) {
    paragraph(out, "published figures of this experiment");
    for claim in &delivery.published {
        paragraph(out, &told(claim));
    }
    paragraph(
        out,
        "A figure holds here if it is within a factor of two of what was measured; without a \
         limit, that says as much of the machine as of the figure.",
    );
}

/// A published figure and what became of it.
fn told(claim: &Claim) -> String {
    let mut text = format!(
        "{} {}, {}: {}",
        duration(claim.published_ns),
        claim.statistic.name(),
        limit_of(claim.quota_ns.zip(claim.period_ns)),
        claim.verdict.name()
    );
    if claim.verdict == Verdict::NotMeasured {
        text.push('.');
        return text;
    }
    let ways: Vec<String> = claim
        .ways
        .iter()
        .map(|way| {
            let mark = if way.holds { " (holds)" } else { "" };
            format!(
                "{} from {} {}{mark}",
                way.method.name(),
                way.from.name(),
                duration(way.measured_ns)
            )
        })
        .collect();
    text.push_str(&format!(". Measured: {}.", ways.join(", ")));
    let alike: Vec<u64> = claim
        .ways
        .iter()
        .filter(|way| way.like_restarted)
        .map(|way| way.restarted_ns)
        .collect();
    if !alike.is_empty() {
        text.push_str(&format!(
            " It is nearer to what a restarted clock shows: {}.",
            range(alike.iter().copied())
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    #[test]
    fn says_what_was_measured() {
        let text = text(&sample());
        assert!(
            text.lines().all(|line| line.chars().count() <= 102),
            "{text}"
        );
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "Without a limit the mean is 80 us",
            "With 10 % of a CPU, sent from outside the group, the mean is 8.2 ms and the slowest \
             took 12 ms; 100 % of the waiting at least was for quota.",
            "it sent 9 signals instead of 9",
            "10 % of a CPU tgkill outside 9 7 2 8.2 ms 4.1 ms 4.1 ms 12 ms 12 ms",
            "10 % of a CPU tgkill outside 100 % 0 % 0 % 0 % 0 %",
            "10 % of a CPU tgkill outside 500 us 8.2 ms 750 us 750 us 2 12 ms",
            "82 us mean, no limit: confirmed.",
            "412 us mean, 10 % of a CPU: refuted. Measured: tgkill from outside 8.2 ms, tgkill \
             from inside 8.2 ms. It is nearer to what a restarted clock shows: 500 us.",
        ] {
            assert!(flat.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn nothing_measured_is_said() {
        let mut delivery = sample();
        for cell in &mut delivery.cells {
            cell.latency = crate::bench::Figures::default();
            cell.restarted = super::super::Restarted::default();
            cell.causes.clear();
        }
        delivery.published = super::super::published::judge(&delivery.cells);
        let text = text(&delivery);
        assert!(
            text.contains("82 us mean, no limit: not measured."),
            "{text}"
        );
        assert!(!text.contains("NaN"), "{text}");
    }
}
