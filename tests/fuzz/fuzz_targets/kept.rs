//! Kept recordings of the agreement with the reference: whatever comes is read within bounds or is
//! an error, and what was read is the same once it is written and read again. The first byte
//! chooses what the rest is, since neither lengths nor checksums are found by chance: a file; the
//! head and the columns' bytes of one, to be put behind a magic and a length; or the numbers of a
//! table.
#![no_main]

// The privileged suite is a program and no library: what reads these files is compiled in.
#[expect(dead_code, reason = "of the suite only what a recording needs is here")]
#[path = "../../src/kept"]
mod kept {
    pub mod column;
    pub mod events;
    pub mod lines;
    pub mod table;
}
#[expect(dead_code, reason = "as above")]
#[path = "../../src/reference"]
mod reference {
    pub mod format;
    pub mod pair;
    pub mod record;

    pub use pair::{Directed, Episode, Outcome, Pairing};
}
#[expect(dead_code, reason = "as above")]
#[path = "../../src/stream.rs"]
mod stream;

use kept::events::{self, Seen};
use kept::lines::{self, Said};
use kept::table::{self, MAGIC, Table};
use serde_json::json;

/// More numbers than this are not written again: packing them takes long.
const WRITTEN: usize = 4096;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((form, rest)) = data.split_first() else {
        return;
    };
    match form {
        0 => file(rest),
        1 => {
            let Some((length, rest)) = rest.split_first_chunk() else {
                return;
            };
            let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
            let head = u32::try_from(length).expect("it was 16 bits").to_le_bytes();
            file(&[&MAGIC[..], &head, rest].concat());
        }
        2 => look(&[of_events(rest)]),
        _ => look(&[of_lines(rest)]),
    }
});

fn file(bytes: &[u8]) {
    if let Ok(tables) = table::read(bytes) {
        look(&tables);
    }
}

fn look(tables: &[Table]) {
    let columns = tables.iter().flat_map(|table| &table.columns);
    if columns.map(|(_, numbers)| numbers.len()).sum::<usize>() <= WRITTEN {
        let written = table::write(tables).expect("few numbers");
        assert_eq!(table::read(&written).expect("as written"), tables);
        // Neither without its end nor with more.
        assert!(table::read(&written[..written.len() - 1]).is_err());
        assert!(table::read(&[&written[..], &[0]].concat()).is_err());
    }
    for table in tables {
        if let Ok(seen) = Seen::from_table(table) {
            let again = seen.table().expect("it was one");
            assert_eq!(Seen::from_table(&again).expect("it was one"), seen);
            for episode in seen.pair().episodes {
                let _ = episode.latency_ns();
            }
        }
        if let Ok(said) = Said::from_table(table) {
            let again = said.table().expect("its lines add up");
            assert_eq!(Said::from_table(&again).expect("it was one"), said);
            assert!(said.lines.iter().all(|line| line.episode().is_ok()));
        }
    }
}

/// Small numbers are a byte, larger ones its low bits as a length and the bytes.
fn numbers(mut data: &[u8]) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let (&first, rest) = data.split_first()?;
        data = rest;
        let length = usize::from(first & 7) + 1;
        if first < 0xf0 || rest.len() < length {
            return Some(first.into());
        }
        let (bytes, rest) = rest.split_at(length);
        data = rest;
        Some(
            bytes
                .iter()
                .fold(0, |value, &byte| value << 8 | u64::from(byte)),
        )
    })
}

/// A kind and the fields, event by event. What is left at the end is a kind without fields.
fn of_events(data: &[u8]) -> Table {
    let mut table = Table::new(
        json!({"round": "r", "what": "w", "handled": 0, "pids": [1, 7],
        "threads": [[1, 1], [7, 7]], "from_ns": 100, "to_ns": 1_000}),
    );
    let all: Vec<u64> = numbers(data).collect();
    let events = all.chunks(1 + events::FIELDS.len());
    table.add("kind", events.clone().map(|event| event[0]).collect());
    for (number, kind) in events::KINDS.iter().enumerate() {
        for (at, field) in events::FIELDS.iter().enumerate() {
            let own = events.clone().filter(|event| event[0] == number as u64);
            let values = own.filter_map(|event| event.get(1 + at).copied());
            table.add(&format!("{kind}.{field}"), values.collect());
        }
    }
    table
}

/// A row a line. What is left at the end makes columns of different lengths.
fn of_lines(data: &[u8]) -> Table {
    let mut table = Table::new(json!({"round": "r", "from_ns": 100, "to_ns": 1_000,
        "precision": "exact", "loss": {"seen": 1}}));
    let all: Vec<u64> = numbers(data).collect();
    let rows = all.chunks(lines::COLUMNS.len());
    for (at, name) in lines::COLUMNS.iter().enumerate() {
        let values = rows.clone().filter_map(|row| row.get(at).copied());
        table.add(name, values.collect());
    }
    table
}
