//! A distribution as rows of powers of two with bars.

use super::layout::{Style, columns};
use crate::buckets::{Octave, octaves};
use crate::report::Bucket;
use crate::units::duration;

/// Empty rows in a run that are shown one by one.
const EMPTY_ROWS: usize = 2;
/// Widest bar.
const BAR: usize = 40;

/// The rows of a histogram, indented, at most `width` columns wide.
#[must_use]
pub fn histogram(buckets: &[Bucket], indent: usize, width: usize, style: Style) -> Vec<String> {
    let rows = octaves(buckets);
    let most = rows.iter().map(|row| row.count).max().unwrap_or(0);
    let digits = most.to_string().len();
    // Label, two spaces, count, two spaces, bar.
    let bar = width
        .saturating_sub(indent + LABEL + 4 + digits)
        .clamp(5, BAR);
    let mut lines = Vec::new();
    for run in rows.chunk_by(|a, b| (a.count == 0) == (b.count == 0)) {
        if run[0].count == 0 && run.len() > EMPTY_ROWS {
            lines.push(style.faint(&format!("{:indent$}{:>LABEL$}", "", "...")));
            continue;
        }
        for row in run {
            let filled = (u128::from(row.count) * bar as u128).div_ceil(u128::from(most)) as usize;
            let line = format!(
                "{:indent$}{}  {:>digits$}  {}",
                "",
                label(row),
                row.count,
                "#".repeat(filled)
            );
            lines.push(line.trim_end().to_owned());
        }
    }
    lines
}

/// Columns of a label.
const LABEL: usize = 18;

/// `  4.1 us - 8.2 us`: above the first, up to and including the second.
fn label(row: &Octave) -> String {
    let text = match (row.above_ns, row.up_to_ns) {
        (None, _) => "0 ns".to_owned(),
        (Some(above), None) => format!("over {}", duration(above)),
        (Some(above), Some(up_to)) => {
            format!("{:>7} - {:>7}", duration(above), duration(up_to))
        }
    };
    let space = LABEL.saturating_sub(columns(&text));
    format!("{:space$}{text}", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample::waits;

    const PLAIN: Style = Style { colour: false };

    #[test]
    fn rows_are_powers_of_two_and_long_gaps_are_one_line() {
        let buckets = waits(&[(3_000, 10), (6_400, 70), (20_000, 12), (88_000_000, 1)]).buckets;
        assert_eq!(
            histogram(&buckets, 2, 60, PLAIN),
            [
                "    2.0 us -  4.1 us  10  #####",
                "    4.1 us -  8.2 us  70  ##################################",
                "    8.2 us -   16 us   0",
                "     16 us -   33 us  12  ######",
                "                 ...",
                "     67 ms -  134 ms   1  #",
            ]
        );
    }

    #[test]
    fn ends_and_nothing() {
        assert!(histogram(&[], 2, 60, PLAIN).is_empty());
        let over = Bucket {
            lo_ns: (1 << 44) + 1,
            hi_ns: u64::MAX,
            count: u64::MAX / 2,
        };
        let zero = Bucket {
            lo_ns: 0,
            hi_ns: 1,
            count: 1,
        };
        let lines = histogram(&[zero, over], 0, 50, PLAIN);
        assert!(lines[0].trim_start().starts_with("0 ns"), "{lines:?}");
        assert!(lines[2].trim_start().starts_with("over 4.9 h"), "{lines:?}");
        assert!(lines.iter().all(|line| line.len() <= 50), "{lines:?}");
    }
}
