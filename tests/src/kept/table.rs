//! A file of tables: a round each, with words about it and columns of numbers.
//!
//! The magic, the length of the head (`u32`, little endian), the head as JSON, and the columns'
//! bytes in the head's order.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::column::{self, How};

/// Begin of every file; the last byte is the version.
pub const MAGIC: &[u8; 8] = b"ghkept\0\x01";

/// A round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What is said of it once.
    pub about: Value,
    /// Name and numbers of each, in the file's order.
    pub columns: Vec<(String, Vec<u64>)>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    about: Value,
    columns: Vec<Place>,
}

#[derive(Serialize, Deserialize)]
struct Place {
    name: String,
    how: How,
    count: usize,
    bytes: usize,
}

impl Table {
    /// A table without columns.
    pub fn new(about: Value) -> Self {
        Self {
            about,
            columns: Vec::new(),
        }
    }

    /// Adds a column.
    pub fn add(&mut self, name: &str, values: Vec<u64>) {
        self.columns.push((name.to_owned(), values));
    }

    /// A column.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn column(&self, name: &str) -> Result<&[u64]> {
        let found = self.columns.iter().find(|(found, _)| found == name);
        found
            .map(|(_, values)| values.as_slice())
            .with_context(|| format!("there is no column {name:?}"))
    }
}

/// All of them as a file.
///
/// # Errors
/// A column is too long.
pub fn write(tables: &[Table]) -> Result<Vec<u8>> {
    let (mut heads, mut blobs) = (Vec::new(), Vec::new());
    for table in tables {
        let mut columns = Vec::new();
        for (name, values) in &table.columns {
            let (how, bytes) = column::pack(values)?;
            columns.push(Place {
                name: name.clone(),
                how,
                count: values.len(),
                bytes: bytes.len(),
            });
            blobs.extend(bytes);
        }
        heads.push(Head {
            about: table.about.clone(),
            columns,
        });
    }
    let head = serde_json::to_vec(&heads)?;
    let length = u32::try_from(head.len()).context("a head above 4 GiB")?;
    Ok([MAGIC, &length.to_le_bytes()[..], &head, &blobs].concat())
}

/// The tables of a file.
///
/// # Errors
/// It is none, or is cut short or longer than its head says.
pub fn read(bytes: &[u8]) -> Result<Vec<Table>> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .context("no kept recording of this version")?;
    let cut = "it is cut short";
    let (length, rest) = rest.split_first_chunk::<4>().context(cut)?;
    let length = usize::try_from(u32::from_le_bytes(*length))?;
    let (head, mut rest) = rest.split_at_checked(length).context(cut)?;
    let heads: Vec<Head> = serde_json::from_slice(head).context("its head")?;
    let mut tables = Vec::new();
    for head in heads {
        let mut table = Table::new(head.about);
        for place in head.columns {
            let (bytes, tail) = rest.split_at_checked(place.bytes).context(cut)?;
            rest = tail;
            let values = column::unpack(place.how, bytes, place.count)
                .with_context(|| format!("column {:?}", place.name))?;
            table.columns.push((place.name, values));
        }
        tables.push(table);
    }
    ensure!(rest.is_empty(), "{} bytes too many", rest.len());
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tables() -> impl Strategy<Value = Vec<Table>> {
        let column = (any::<String>(), prop::collection::vec(any::<u64>(), 0..50));
        let table = (any::<String>(), prop::collection::vec(column, 0..4));
        let table = table.prop_map(|(name, columns)| Table {
            about: json!({"name": name}),
            columns,
        });
        prop::collection::vec(table, 0..4)
    }

    proptest! {
        #[test]
        fn what_was_written_comes_back(tables in tables()) {
            prop_assert_eq!(read(&write(&tables).unwrap()).unwrap(), tables);
        }

        #[test]
        fn a_cut_or_longer_file_is_an_error(tables in tables(), at in any::<prop::sample::Index>()) {
            let mut bytes = write(&tables).unwrap();
            prop_assert!(read(&bytes[..at.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert!(read(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            head in ".{0,80}",
        ) {
            let length = u32::try_from(head.len()).unwrap().to_le_bytes();
            let _ = read(&bytes);
            let _ = read(&[MAGIC, &length[..], head.as_bytes(), &bytes].concat());
        }
    }

    proptest! {
        #[test]
        fn a_changed_file_is_read_without_a_panic(
            tables in tables(),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut bytes = write(&tables).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = read(&bytes);
        }
    }

    #[test]
    fn a_wrong_length_is_one_clear_error() {
        let mut table = Table::new(json!({}));
        table.add("a", (0..500).map(|n| n * n * 7919 % 1_000_003).collect());
        table.add("b", vec![3; 40]);
        let bytes = write(&[table]).unwrap();
        let error = |bytes: &[u8]| format!("{:#}", read(bytes).unwrap_err());
        assert_eq!(error(&bytes[..bytes.len() - 1]), "it is cut short");
        assert_eq!(error(&bytes[..10]), "it is cut short");
        assert_eq!(error(&bytes[..7]), "no kept recording of this version");
        assert_eq!(error(&[&bytes[..], &[0, 0]].concat()), "2 bytes too many");
        // The head's length; then a column's, and how many numbers it has.
        let mut longer = bytes.clone();
        longer[11] = 0xff;
        assert_eq!(error(&longer), "it is cut short");
        let with = |from: &str, to: &str| {
            let end = 12 + usize::from(bytes[8]) + 256 * usize::from(bytes[9]);
            let head = std::str::from_utf8(&bytes[12..end]).unwrap();
            assert!(head.contains(from), "{head}");
            let head = head.replacen(from, to, 1);
            let length = u32::try_from(head.len()).unwrap().to_le_bytes();
            error(&[&MAGIC[..], &length, head.as_bytes(), &bytes[end..]].concat())
        };
        assert_eq!(with("\"bytes\":", "\"bytes\":9"), "it is cut short");
        let fewer = with("\"count\":500", "\"count\":499");
        assert!(fewer.starts_with("column \"a\": a column "), "{fewer}");
        let more = with("\"count\":40", "\"count\":41");
        assert!(more.starts_with("column \"b\": a column "), "{more}");
    }

    #[test]
    fn a_head_cannot_ask_for_memory() {
        let head = r#"[{"about":null,"columns":[{"name":"x","how":"pco","count":99999999999,"bytes":0}]}]"#;
        let length = u32::try_from(head.len()).unwrap().to_le_bytes();
        let bytes = [MAGIC, &length[..], head.as_bytes()].concat();
        assert!(read(&bytes).is_err());
    }
}
