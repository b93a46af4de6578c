//! The reference's raw events of a round as a table, and back.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::reference::record::{Event, What};
use crate::reference::{Pairing, pair};

/// What the reference saw of a round's processes.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// What is said of it once.
    pub about: About,
    /// Their events, in the order of the clock.
    pub events: Vec<Event>,
}

/// A round, in the reference's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The round's name.
    pub round: String,
    /// What happens in it.
    pub what: String,
    /// How many signals the processes' own handlers counted.
    pub handled: u64,
    /// The traced processes.
    pub pids: Vec<u32>,
    /// Their threads that were alive at the begin, as (process, thread).
    pub threads: Vec<(u32, u32)>,
    /// Clock (`CLOCK_MONOTONIC`, ns) when recording began.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
}

/// The kinds of events, in the order of their numbers in the column `kind`.
pub const KINDS: [&str; 5] = ["generate", "deliver", "fork", "exit", "exec"];

impl Seen {
    /// Its episodes.
    pub fn pair(&self) -> Pairing {
        pair::pair(&self.events, &self.about.threads, self.about.to_ns)
    }

    /// As a table: which kind each event is of, and for each kind the time since the event
    /// before, of whichever kind, and the fields.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn table(&self) -> Result<Table> {
        let mut table = Table::new(serde_json::to_value(&self.about)?);
        let kinds = self.events.iter().map(|e| kind(&e.what) as u64);
        table.add("kind", kinds.collect());
        let mut fields: [Vec<[u64; FIELDS.len()]>; KINDS.len()] = Default::default();
        let mut before = self.about.from_ns;
        for event in &self.events {
            let gap = event.time_ns.wrapping_sub(before);
            before = event.time_ns;
            fields[kind(&event.what)].push(split(event, gap));
        }
        for (kind, rows) in KINDS.iter().zip(&fields) {
            for (at, field) in FIELDS.iter().enumerate() {
                let values = rows.iter().map(|row| row[at]).collect();
                table.add(&format!("{kind}.{field}"), values);
            }
        }
        Ok(table)
    }

    /// From a table.
    ///
    /// # Errors
    /// It is not one of these, or its columns do not fit together.
    pub fn from_table(table: &Table) -> Result<Self> {
        let about = About::deserialize(&table.about).context("what is said of a round")?;
        let columns = KINDS
            .iter()
            .map(|kind| {
                FIELDS
                    .iter()
                    .map(|field| table.column(&format!("{kind}.{field}")))
                    .collect::<Result<Vec<_>>>()
            })
            .collect::<Result<Vec<_>>>()?;
        let mut next = [0usize; KINDS.len()];
        let mut before = about.from_ns;
        let mut events = Vec::new();
        for &number in table.column("kind")? {
            let kind = usize::try_from(number)?;
            let at = next.get_mut(kind).context("an unknown kind of event")?;
            let row = columns[kind]
                .iter()
                .map(|column| column.get(*at).copied())
                .collect::<Option<Vec<u64>>>()
                .context("fewer events of a kind than the column of kinds has")?;
            *at += 1;
            before = before.wrapping_add(row[0]);
            events.push(join(kind, before, &row)?);
        }
        for (columns, used) in columns.iter().zip(next) {
            ensure!(
                columns.iter().all(|column| column.len() == used),
                "more events of a kind than the column of kinds has"
            );
        }
        let ordered = events.is_sorted_by_key(|e| e.time_ns);
        ensure!(ordered, "events out of the clock's order");
        Ok(Self { about, events })
    }
}

/// An event's numbers; the last four are of sends, but `other` also of an execution and
/// `flag` also of a delivery.
pub const FIELDS: [&str; 7] = ["gap_ns", "pid", "tid", "other", "flag", "result", "code"];

fn kind(what: &What) -> usize {
    match what {
        What::Generate { .. } => 0,
        What::Deliver { .. } => 1,
        What::Fork => 2,
        What::Exit => 3,
        What::Exec { .. } => 4,
    }
}

fn split(event: &Event, gap: u64) -> [u64; FIELDS.len()] {
    let (other, flag, result, code) = match event.what {
        What::Generate {
            target,
            group,
            result,
            code,
        } => (target, group, result, code),
        What::Deliver { handled } => (0, handled, 0, 0),
        What::Fork | What::Exit => (0, false, 0, 0),
        What::Exec { old_tid } => (old_tid, false, 0, 0),
    };
    let code = u64::from(code.cast_unsigned());
    let [pid, tid, other] = [event.pid, event.tid, other].map(u64::from);
    [gap, pid, tid, other, flag.into(), result.into(), code]
}

fn join(kind: usize, time_ns: u64, row: &[u64]) -> Result<Event> {
    let wide = "a field is too large";
    let &[_, pid, tid, other, flag, result, code] = row else {
        anyhow::bail!("an event without a field");
    };
    let narrow = |value: u64| u32::try_from(value).context(wide);
    let flag = flag != 0;
    let what = match kind {
        0 => What::Generate {
            target: narrow(other)?,
            group: flag,
            result: u8::try_from(result).context(wide)?,
            code: narrow(code)?.cast_signed(),
        },
        1 => What::Deliver { handled: flag },
        2 => What::Fork,
        3 => What::Exit,
        _ => What::Exec {
            old_tid: narrow(other)?,
        },
    };
    Ok(Event {
        time_ns,
        pid: narrow(pid)?,
        tid: narrow(tid)?,
        what,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn what() -> impl Strategy<Value = What> {
        let generate = (any::<u32>(), any::<bool>(), any::<u8>(), any::<i32>());
        prop_oneof![
            generate.prop_map(|(target, group, result, code)| What::Generate {
                target,
                group,
                result,
                code
            }),
            any::<bool>().prop_map(|handled| What::Deliver { handled }),
            Just(What::Fork),
            Just(What::Exit),
            any::<u32>().prop_map(|old_tid| What::Exec { old_tid }),
        ]
    }

    fn seen(parts: Vec<(u64, u32, u32, What)>) -> Seen {
        let mut time_ns = 1_000;
        let event = |(gap, pid, tid, what)| {
            time_ns += gap;
            Event {
                time_ns,
                pid,
                tid,
                what,
            }
        };
        Seen {
            events: parts.into_iter().map(event).collect(),
            about: About {
                round: "x".to_owned(),
                what: "y".to_owned(),
                handled: 0,
                pids: vec![1],
                threads: vec![(1, 1)],
                from_ns: 1_000,
                to_ns: u64::MAX,
            },
        }
    }

    proptest! {
        #[test]
        fn events_come_back(
            parts in prop::collection::vec((0u64..1 << 40, any::<u32>(), any::<u32>(), what()), 0..80),
        ) {
            let seen = seen(parts);
            prop_assert_eq!(Seen::from_table(&seen.table().unwrap()).unwrap(), seen);
        }
    }

    proptest! {
        #[test]
        fn any_numbers_are_read_without_a_panic(
            kinds in prop::collection::vec(0u64..6, 0..20),
            values in prop::collection::vec(any::<u64>(), 1..60),
            longer in any::<bool>(),
        ) {
            let mut next = values.iter().copied().cycle();
            let mut table = Table::new(seen(Vec::new()).table().unwrap().about);
            for (number, kind) in KINDS.iter().enumerate() {
                let own = kinds.iter().filter(|kind| **kind == number as u64).count();
                for field in FIELDS {
                    let values = next.by_ref().take(own + usize::from(longer)).collect();
                    table.add(&format!("{kind}.{field}"), values);
                }
            }
            table.add("kind", kinds);
            if let Ok(seen) = Seen::from_table(&table) {
                prop_assert_eq!(Seen::from_table(&seen.table().unwrap()).unwrap(), seen.clone());
                for episode in seen.pair().episodes {
                    prop_assert!(!episode.is_delivered() || episode.end_ns >= episode.sent_ns);
                }
            }
        }
    }

    #[test]
    fn columns_that_do_not_fit_are_an_error() {
        let seen = seen(vec![(5, 1, 1, What::Fork), (5, 1, 1, What::Exit)]);
        let table = seen.table().unwrap();
        for kinds in [vec![2, 3, 3], vec![2], vec![2, 9], vec![2, 2]] {
            let mut wrong = Table::new(table.about.clone());
            wrong.add("kind", kinds);
            for kind in KINDS {
                for field in FIELDS {
                    let name = format!("{kind}.{field}");
                    wrong.add(&name, table.column(&name).unwrap().to_vec());
                }
            }
            assert!(Seen::from_table(&wrong).is_err());
        }
        assert!(Seen::from_table(&Table::new(table.about.clone())).is_err());
    }
}
