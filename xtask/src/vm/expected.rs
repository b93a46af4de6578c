//! The skips that are expected on each kernel.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::kernels::KERNELS;
use crate::skips::Skip;

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The kernel's name in the matrix.
    pub kernel: String,
    /// What is skipped there and why.
    pub skip: Skip,
}

/// Reads a table of lines `KERNEL<TAB>NAME<TAB>reason`; `#` begins a comment line.
///
/// # Errors
/// When the file cannot be read, a line is neither, or a kernel is not in the matrix.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("could not read the expected skips {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let columns: Vec<&str> = line.split('\t').collect();
        let [kernel, name, reason] = columns[..] else {
            bail!(
                "line {} is not KERNEL<TAB>NAME<TAB>reason: {line:?}",
                at + 1
            );
        };
        if name.is_empty() || reason.is_empty() {
            bail!("line {} lacks a name or a reason: {line:?}", at + 1);
        }
        if !KERNELS.iter().any(|known| known.name == kernel) {
            bail!("line {}: no kernel {kernel:?} in the matrix", at + 1);
        }
        rows.push(Row {
            kernel: kernel.to_owned(),
            skip: Skip {
                name: name.to_owned(),
                reason: reason.to_owned(),
            },
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_three_columns() {
        let rows = parse("# why\n\n5.10\ta::b\tno task_pt_regs\n").expect("valid");
        let [Row { kernel, skip }] = &rows[..] else {
            panic!("one row");
        };
        assert_eq!(kernel, "5.10");
        assert_eq!(skip.to_string(), "a::b: no task_pt_regs");
    }

    #[test]
    fn other_rows_are_refused() {
        for text in [
            "5.10\ta::b",
            "5.10\ta::b\t",
            "5.10\t\tx",
            "4.19\ta\tx",
            "a\tb\tc\td",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
