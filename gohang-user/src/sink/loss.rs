//! The loss line: where every record went. With every report, on stdout or
//! stderr.

use std::collections::BTreeMap;

use crate::process::escape;
use crate::report::{Loss, Report};

/// The loss identity in one line; a side that does not add up shows `!=`.
#[must_use]
pub fn loss_line(loss: &Loss) -> String {
    let sign = |left: u64, right: u64| if left == right { "=" } else { "!=" };
    format!(
        "loss: seen {} {} submitted {} + ring full {} + map full {}; received {} {} decoded {} + \
         rejected {}; emitted {} + dropped {}",
        loss.seen,
        sign(loss.seen, loss.submitted + loss.ring_full + loss.map_full),
        loss.submitted,
        loss.ring_full,
        loss.map_full,
        loss.received,
        sign(loss.received, loss.decoded + loss.rejected),
        loss.decoded,
        loss.rejected,
        loss.emitted,
        loss.output_dropped,
    )
}

/// Impossible things that were counted, in one line; none if there were none.
#[must_use]
pub fn impossible_line(impossible: &BTreeMap<String, u64>) -> Option<String> {
    let kinds: Vec<String> = impossible
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(kind, count)| format!("{} {count}", escape(kind)))
        .collect();
    (!kinds.is_empty()).then(|| format!("impossible: {}, please report", kinds.join(", ")))
}

/// The loss line and whatever else must be known about the data's completeness.
#[must_use]
pub fn loss_lines(report: &Report) -> Vec<String> {
    let loss = &report.loss;
    let mut lines = vec![loss_line(loss)];
    let imbalances = loss.imbalances();
    if !imbalances.is_empty() {
        lines.push(format!(
            "loss identity broken: {}, please report",
            imbalances.join("; ")
        ));
    }
    if loss.chain_lost > 0 {
        lines.push(format!(
            "{} requests to yield, or stops of the world, are missing from the chain's counts \
             and distributions, which come from the records: trace fewer processes, or give a \
             larger --ring-bytes",
            loss.chain_lost
        ));
    }
    // Those of the chain are among both.
    let episodes = loss.ring_full.saturating_sub(loss.chain_lost) + loss.output_dropped;
    if episodes > 0 {
        lines.push(format!(
            "{episodes} episodes are missing from the lines and the figures by thread; the \
             distributions have them, from the kernel's histograms, and are complete"
        ));
    }
    if loss.map_full > 0 {
        lines.push(format!(
            "{} episodes were not followed because a table of the kernel side was full: trace \
             fewer processes",
            loss.map_full
        ));
    }
    if loss.histogram_full > 0 {
        lines.push(format!(
            "{} values are missing from the distributions because their table was full: trace \
             fewer processes",
            loss.histogram_full
        ));
    }
    if loss.switch_in_unreported + loss.wake_unreported > 0 {
        lines.push(format!(
            "{} switch-ins and {} wake-ups were not reported by this kernel and rebuilt from the scheduler's accounts",
            loss.switch_in_unreported, loss.wake_unreported
        ));
    }
    if loss.park_list_full > 0 {
        lines.push(format!(
            "the end of {} waits for quota is an estimate: too many threads waited at once",
            loss.park_list_full
        ));
    }
    if loss.run_queues_full > 0 {
        lines.push(format!(
            "time out of quota is missing, and counted as time on the run queue: {} times a \
             group ran out of quota on a CPU, or got it back, and the table of run queues was \
             full",
            loss.run_queues_full
        ));
    }
    lines.extend(impossible_line(&report.impossible));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;

    #[test]
    fn a_balanced_identity_is_one_line() {
        let report = sample::report();
        assert_eq!(
            loss_lines(&report),
            [
                "loss: seen 95 = submitted 95 + ring full 0 + map full 0; received 95 = decoded 95 + \
              rejected 0; emitted 95 + dropped 0"
            ]
        );
    }

    #[test]
    fn what_does_not_add_up_is_said() {
        let mut report = sample::report();
        report.loss.submitted = 90;
        report.loss.ring_full = 4;
        report.impossible.insert("sum_mismatch".to_owned(), 2);
        report.impossible.insert("in_while_on".to_owned(), 0);
        let lines = loss_lines(&report);
        assert!(
            lines[0].starts_with("loss: seen 95 != submitted 90 + ring full 4"),
            "{lines:?}"
        );
        assert!(
            lines[1].contains("95 != 94") && lines[1].contains("submitted = received: 90 != 95")
        );
        assert!(lines[2].starts_with("4 episodes are missing"));
        assert_eq!(lines[3], "impossible: sum_mismatch 2, please report");
        assert_eq!(lines.len(), 4);
    }
}
