//! Field positions of a tracepoint's record, from tracefs: they differ between kernels.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// Where one field of a tracepoint record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start of the raw data.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
}

impl Field {
    /// The field's value as an unsigned number, `None` when the data are too short.
    pub fn read(self, raw: &[u8]) -> Option<u64> {
        let bytes = raw.get(self.offset..self.offset.checked_add(self.size)?)?;
        let mut word = [0u8; 8];
        word.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u64::from_ne_bytes(word))
    }

    /// The low 32 bits of the field, as C's `int` holds them.
    pub fn read_i32(self, raw: &[u8]) -> Option<i32> {
        self.read(raw).map(|v| v as u32 as i32)
    }
}

/// A tracepoint's number and the text that describes its record.
#[derive(Clone, Debug)]
pub struct Format {
    /// What `perf_event_open` wants as `config`, and what a record carries as `common_type`.
    pub id: u64,
    fields: Vec<(String, Field)>,
}

impl Format {
    /// Reads `events/GROUP/NAME/format`.
    ///
    /// # Errors
    /// When the file is missing or not of the usual form.
    pub fn load(tracefs: &Path, event: &str) -> Result<Self> {
        let path = tracefs.join("events").join(event).join("format");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Parses a format file's text.
    ///
    /// # Errors
    /// When there is no ID line or no field.
    pub fn parse(text: &str) -> Result<Self> {
        let mut id = None;
        let mut fields = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(n) = line.strip_prefix("ID:") {
                id = n.trim().parse().ok();
            } else if let Some(rest) = line.strip_prefix("field:") {
                fields.extend(field(rest));
            }
        }
        match id {
            Some(id) if !fields.is_empty() => Ok(Self { id, fields }),
            _ => bail!("no ID or no field in a tracepoint format"),
        }
    }

    /// The field called `name`.
    ///
    /// # Errors
    /// When this kernel's record has no such field.
    pub fn field(&self, name: &str) -> Result<Field> {
        self.fields
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, f)| *f)
            .with_context(|| format!("the tracepoint's record has no field {name:?}"))
    }
}

fn field(rest: &str) -> Option<(String, Field)> {
    let mut parts = rest.split(';').map(str::trim);
    let declaration = parts.next()?;
    let word = declaration.split_whitespace().last()?;
    let name = word.split('[').next()?.to_owned();
    let (mut offset, mut size) = (None, None);
    for part in parts {
        if let Some(n) = part.strip_prefix("offset:") {
            offset = n.parse().ok();
        } else if let Some(n) = part.strip_prefix("size:") {
            size = n.parse().ok();
        }
    }
    Some((
        name,
        Field {
            offset: offset?,
            size: size?,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name: signal_generate\nID: 261\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:char comm[16];\toffset:20;\tsize:16;\tsigned:0;\n\
        \tfield:pid_t pid;\toffset:36;\tsize:4;\tsigned:1;\n\nprint fmt: \"x\"\n";

    #[test]
    fn finds_fields_by_name() {
        let f = Format::parse(TEXT).unwrap();
        assert_eq!(f.id, 261);
        assert_eq!(
            f.field("pid").unwrap(),
            Field {
                offset: 36,
                size: 4
            }
        );
        assert_eq!(
            f.field("comm").unwrap(),
            Field {
                offset: 20,
                size: 16
            }
        );
        assert!(f.field("group").is_err());
    }

    #[test]
    fn reads_within_bounds_only() {
        let f = Field { offset: 2, size: 4 };
        assert_eq!(f.read_i32(&[0, 0, 0xff, 0xff, 0xff, 0xff]), Some(-1));
        assert_eq!(f.read(&[0, 0, 1]), None);
        assert_eq!(
            Field {
                offset: usize::MAX,
                size: 4
            }
            .read(&[0; 8]),
            None
        );
    }

    #[test]
    fn refuses_what_is_no_format() {
        assert!(Format::parse("").is_err());
        assert!(Format::parse("ID: x\nfield:int a; offset:0; size:4;").is_err());
    }
}
