//! The table of workloads and of what is to be said of them: `tests/data/diagnosis.json`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The table's text.
const TEXT: &str = include_str!("../../data/diagnosis.json");

/// The table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The Go versions of the long form.
    pub versions: Vec<String>,
    /// Those of the short one.
    pub short_versions: Vec<String>,
    /// The workloads.
    pub rows: Vec<Row>,
}

/// A workload, its twin, and what is said of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What it is called in the matrix.
    pub name: String,
    /// The Go program.
    pub program: Program,
    /// Its arguments with and without the failure.
    pub way: Vec<String>,
    /// What makes it fail.
    pub sick: Setting,
    /// What makes its twin healthy.
    pub healthy: Setting,
    /// When it begins to fail.
    #[serde(default)]
    pub onset: Onset,
    /// The rule that must come first.
    pub first: String,
    /// Rules that may follow.
    pub also: BTreeSet<String>,
    /// Further forms in which it is built for the long form of the matrix.
    #[serde(default)]
    pub forms: Vec<FormName>,
    /// Length of the traces, milliseconds.
    #[serde(default = "trace_ms")]
    pub trace_ms: u64,
    /// Why `first` is not expected yet, if it is not: there may be no alert at all then.
    pub pending: Option<String>,
}

fn trace_ms() -> u64 {
    800
}

/// A Go program below `tests/workloads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// Pure Go.
    Failures,
    /// With C code.
    Foreign,
    /// Healthy and busy.
    Service,
}

/// The one setting in which a workload and its twin differ.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Further arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// CPU quota, percent of one CPU.
    pub quota_percent: Option<u64>,
}

/// When a failure begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Onset {
    /// Before gohang is started.
    #[default]
    Before,
    /// Once it traces.
    During,
}

/// A form of a build beside the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormName {
    /// Without symbols.
    Stripped,
    /// Position-independent.
    Pie,
    /// With the standard library's C code.
    Cgo,
}

impl Table {
    /// Reads and checks it.
    ///
    /// # Errors
    /// When a row makes no sense.
    pub fn read() -> Result<Self> {
        Self::parse(TEXT).context("tests/data/diagnosis.json")
    }

    fn parse(text: &str) -> Result<Self> {
        let table: Self = serde_json::from_str(text)?;
        let mut names = BTreeSet::new();
        for row in &table.rows {
            let name = &row.name;
            ensure!(names.insert(name), "{name} is there twice");
            ensure!(
                row.sick != row.healthy,
                "{name} does not differ from its twin"
            );
            ensure!(
                !row.also.contains(&row.first),
                "{name}: {} is first and may not be among the others",
                row.first
            );
        }
        let known = |version| table.versions.contains(version);
        ensure!(
            table.short_versions.iter().all(known),
            "the short form has a version of its own"
        );
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let table = Table::read().expect("it is read");
        assert!(table.rows.len() >= 9 && table.versions.len() == 7);
        let with_forms = table.rows.iter().filter(|row| row.forms.len() == 3);
        assert!(with_forms.count() >= 2, "two workloads in every form");
    }

    #[test]
    fn rows_that_make_no_sense_are_refused() {
        let row = |name: &str, sick: &str, first: &str| {
            format!(
                r#"{{"name":"{name}","program":"failures","way":["spin"],"sick":{sick},
                    "healthy":{{}},"first":"{first}","also":["masked"]}}"#
            )
        };
        let table = |rows: &[String]| {
            let rows = rows.join(",");
            Table::parse(&format!(
                r#"{{"versions":[],"short_versions":[],"rows":[{rows}]}}"#
            ))
        };
        let args = r#"{"args":["x=1"]}"#;
        let good = row("a", args, "ignored");
        assert!(table(std::slice::from_ref(&good)).is_ok());
        assert!(table(&[good.clone(), good]).is_err(), "one name twice");
        assert!(table(&[row("a", "{}", "ignored")]).is_err(), "no failure");
        assert!(
            table(&[row("a", args, "masked")]).is_err(),
            "first and others"
        );
    }
}
