//! What gohang printed of a round as a table, and back.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::column::{fold, unfold};
use super::table::Table;
use crate::stream::{Line, Stream};

/// What gohang said of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// What is said of it once.
    pub about: About,
    /// Its `episode` lines of the round's processes.
    pub lines: Vec<Line>,
}

/// A round, in gohang's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The round's name.
    pub round: String,
    /// Clock (`CLOCK_MONOTONIC`, ns) of `gohang: tracing`.
    pub from_ns: u64,
    /// When the last signal could have been delivered, before gohang was told to end.
    pub to_ns: u64,
    /// How precise `throttled` was.
    pub precision: Value,
    /// The member `loss` of the last line.
    pub loss: Value,
}

const DIRECTED: [&str; 2] = ["thread", "process"];
const OUTCOMES: [&str; 6] = [
    "delivered",
    "delivered_no_handler",
    "ignored",
    "exited",
    "consumed_unseen",
    "pending_at_end",
];
/// None, for what was not delivered, and the causes.
const CAUSES: [&str; 6] = ["", "throttled", "masked", "blocked", "runqueue", "running"];
/// The columns. A sender is one more than its pid, and 0 if there is none.
pub const COLUMNS: [&str; 14] = [
    "gap_ns",
    "latency_ns",
    "pid",
    "tid",
    "directed",
    "sender_pid",
    "coalesced",
    "outcome",
    "throttled_ns",
    "runqueue_ns",
    "blocked_ns",
    "masked_ns",
    "running_difference_ns",
    "cause",
];

impl Said {
    /// Of a whole output.
    pub fn of(stream: Stream, about: About, pids: &[u32]) -> Self {
        let mut lines = stream.lines;
        lines.retain(|line| pids.contains(&line.pid));
        Self { about, lines }
    }

    /// As a table: times as differences from what came before, and `running` from what the
    /// other parts leave of the latency, which is always nothing where gohang is right.
    ///
    /// # Errors
    /// A line does not add up, or has a word that the contract does not have.
    pub fn table(&self) -> Result<Table> {
        let mut columns: [Vec<u64>; COLUMNS.len()] = Default::default();
        let mut before = self.about.from_ns;
        for line in &self.lines {
            line.check().map_err(anyhow::Error::msg)?;
            let latency = line.latency_ns.unwrap_or(0);
            let others = [
                line.throttled_ns,
                line.runqueue_ns,
                line.blocked_ns,
                line.masked_ns,
            ];
            let left = others.into_iter().fold(latency, u64::wrapping_sub);
            let row = [
                fold(line.sent_ns.wrapping_sub(before).cast_signed()),
                latency,
                line.pid.into(),
                line.tid.into(),
                number(&DIRECTED, &line.directed)?,
                line.sender_pid.map_or(0, |pid| u64::from(pid) + 1),
                line.coalesced,
                number(&OUTCOMES, &line.outcome)?,
                line.throttled_ns,
                line.runqueue_ns,
                line.blocked_ns,
                line.masked_ns,
                fold(line.running_ns.wrapping_sub(left).cast_signed()),
                number(&CAUSES, line.cause.as_deref().unwrap_or(""))?,
            ];
            before = line.sent_ns.wrapping_add(latency);
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let mut table = Table::new(serde_json::to_value(&self.about)?);
        for (name, column) in COLUMNS.iter().zip(columns) {
            table.add(name, column);
        }
        Ok(table)
    }

    /// From a table.
    ///
    /// # Errors
    /// It is not one of these, or a line does not add up.
    pub fn from_table(table: &Table) -> Result<Self> {
        let about = About::deserialize(&table.about).context("what is said of a round")?;
        let columns = COLUMNS
            .iter()
            .map(|name| table.column(name))
            .collect::<Result<Vec<_>>>()?;
        let count = columns[0].len();
        ensure!(
            columns.iter().all(|column| column.len() == count),
            "columns of different lengths"
        );
        let mut before = about.from_ns;
        let mut lines = Vec::with_capacity(count);
        for at in 0..count {
            let mut row = [0; COLUMNS.len()];
            for (value, column) in row.iter_mut().zip(&columns) {
                *value = column[at];
            }
            let (line, end_ns) = line(row, before)?;
            before = end_ns;
            line.check()
                .map_err(|why| anyhow::anyhow!("episode {at} does not add up: {why}"))?;
            lines.push(line);
        }
        Ok(Self { about, lines })
    }
}

/// A line, and the time from which the next one's is told.
fn line(row: [u64; COLUMNS.len()], before: u64) -> Result<(Line, u64)> {
    let narrow = |value: u64| u32::try_from(value).context("a field is too large");
    let [
        gap,
        latency,
        pid,
        tid,
        directed,
        sender,
        coalesced,
        outcome,
        throttled_ns,
        runqueue_ns,
        blocked_ns,
        masked_ns,
        running,
        cause,
    ] = row;
    let sent_ns = before.wrapping_add(unfold(gap).cast_unsigned());
    let end_ns = sent_ns.wrapping_add(latency);
    let cause = word(&CAUSES, cause)?;
    let delivered = !cause.is_empty();
    let left = [throttled_ns, runqueue_ns, blocked_ns, masked_ns]
        .into_iter()
        .fold(latency, u64::wrapping_sub);
    let line = Line {
        pid: narrow(pid)?,
        tid: narrow(tid)?,
        directed: word(&DIRECTED, directed)?.to_owned(),
        sender_pid: sender.checked_sub(1).map(narrow).transpose()?,
        sent_ns,
        delivered_ns: delivered.then_some(end_ns),
        latency_ns: delivered.then_some(latency),
        coalesced,
        outcome: word(&OUTCOMES, outcome)?.to_owned(),
        throttled_ns,
        runqueue_ns,
        blocked_ns,
        running_ns: left.wrapping_add(unfold(running).cast_unsigned()),
        masked_ns,
        cause: delivered.then(|| cause.to_owned()),
    };
    Ok((line, end_ns))
}

fn number(words: &[&str], word: &str) -> Result<u64> {
    let found = words.iter().position(|found| *found == word);
    Ok(found.with_context(|| format!("unknown word {word:?}"))? as u64)
}

fn word<'a>(words: &[&'a str], number: u64) -> Result<&'a str> {
    let at = usize::try_from(number)?;
    words.get(at).copied().context("an unknown word")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_line() -> impl Strategy<Value = Line> {
        let parts = prop::array::uniform5(0u64..1 << 40);
        let ids = (any::<u32>(), any::<u32>(), any::<Option<u32>>());
        (
            parts,
            ids,
            0u64..1 << 50,
            0usize..2,
            0usize..6,
            any::<u64>(),
        )
            .prop_map(
                |(parts, (pid, tid, sender_pid), sent_ns, directed, outcome, coalesced)| {
                    let delivered = outcome < 2;
                    let latency: u64 = parts.iter().sum();
                    let mut line = Line {
                        pid,
                        tid,
                        directed: DIRECTED[directed].to_owned(),
                        sender_pid,
                        sent_ns,
                        delivered_ns: delivered.then_some(sent_ns + latency),
                        latency_ns: delivered.then_some(latency),
                        coalesced,
                        outcome: OUTCOMES[outcome].to_owned(),
                        throttled_ns: parts[0],
                        runqueue_ns: parts[1],
                        blocked_ns: parts[2],
                        running_ns: parts[3],
                        masked_ns: parts[4],
                        cause: None,
                    };
                    let largest = parts.iter().max().copied();
                    let mut components = line.components().into_iter();
                    let cause = components.find(|(_, ns)| Some(*ns) == largest);
                    line.cause = cause.filter(|_| delivered).map(|(name, _)| name.to_owned());
                    line
                },
            )
    }

    proptest! {
        #[test]
        fn lines_come_back(lines in prop::collection::vec(any_line(), 0..60)) {
            let about = About {
                round: "x".to_owned(),
                from_ns: 5,
                to_ns: 6,
                precision: json!("exact"),
                loss: json!({"seen": 1}),
            };
            let said = Said { about, lines };
            prop_assert_eq!(Said::from_table(&said.table().unwrap()).unwrap(), said);
        }
    }

    proptest! {
        #[test]
        fn any_numbers_are_read_without_a_panic(
            small in prop::collection::vec(0u64..8, 14),
            large in prop::collection::vec(any::<u64>(), 14),
            from in prop::collection::vec(any::<bool>(), 14),
        ) {
            let about = json!({"round": "x", "from_ns": 9, "to_ns": 9, "precision": 1, "loss": {}});
            let mut table = Table::new(about);
            for (at, name) in COLUMNS.iter().enumerate() {
                table.add(name, vec![if from[at] { large[at] } else { small[at] }]);
            }
            if let Ok(said) = Said::from_table(&table) {
                prop_assert_eq!(Said::from_table(&said.table().unwrap()).unwrap(), said);
            }
        }
    }

    #[test]
    fn a_line_that_does_not_add_up_is_an_error() {
        let about = json!({"round": "x", "from_ns": 0, "to_ns": 9, "precision": null, "loss": {}});
        let read = |difference: u64, outcome: u64| {
            let row = [2, 10, 1, 1, 0, 0, 0, outcome, 0, 0, 0, 0, difference, 5];
            let mut table = Table::new(about.clone());
            for (name, value) in COLUMNS.iter().zip(row) {
                table.add(name, vec![value]);
            }
            Said::from_table(&table)
        };
        assert_eq!(read(0, 0).unwrap().lines[0].running_ns, 10);
        assert!(read(2, 0).is_err());
        // Not delivered, but with a cause; and no outcome at all.
        assert!(read(0, 3).is_err());
        assert!(read(0, 6).is_err());
    }
}
