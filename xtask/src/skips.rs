//! The skips that are expected: a table that must match what happened, both ways.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// A test that did not run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skip {
    /// The test.
    pub name: String,
    /// Why it did not run.
    pub reason: String,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// Reads a table of lines `NAME<TAB>reason`; `#` begins a comment line.
///
/// # Errors
/// When the file cannot be read or a line is neither.
pub fn read(path: &Path) -> Result<Vec<Skip>> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("could not read the expected skips {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Skip>> {
    let mut skips = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('\t') {
            Some((name, reason)) if !name.is_empty() && !reason.is_empty() => {
                skips.push(Skip {
                    name: name.to_owned(),
                    reason: reason.to_owned(),
                });
            }
            _ => bail!("line {} is not NAME<TAB>reason: {line:?}", at + 1),
        }
    }
    Ok(skips)
}

/// What differs between the expected skips and those that happened, a line each. A
/// skip for another reason than the expected one is two differences.
pub fn differences(expected: &[Skip], happened: &[Skip]) -> Vec<String> {
    let expected: BTreeSet<&Skip> = expected.iter().collect();
    let happened: BTreeSet<&Skip> = happened.iter().collect();
    let mut lines: Vec<String> = happened
        .difference(&expected)
        .map(|skip| format!("unexpected skip: {skip}"))
        .collect();
    lines.extend(
        expected
            .difference(&happened)
            .map(|skip| format!("expected skip did not happen: {skip}")),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(name: &str, reason: &str) -> Skip {
        Skip {
            name: name.into(),
            reason: reason.into(),
        }
    }

    #[test]
    fn a_table_has_comments_and_reasons() {
        let table = parse("# why\n\na::b\tno fprobe here\n").expect("valid");
        assert_eq!(table, [skip("a::b", "no fprobe here")]);
    }

    #[test]
    fn a_line_without_reason_is_refused() {
        for text in ["a::b", "a::b\t", "\treason", "a::b reason"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn equality_is_asked_both_ways() {
        let (a, b) = (skip("a", "x"), skip("b", "y"));
        assert!(differences(&[a.clone(), b.clone()], &[b.clone(), a.clone()]).is_empty());
        assert_eq!(
            differences(&[], std::slice::from_ref(&a)),
            ["unexpected skip: a: x"]
        );
        assert_eq!(
            differences(std::slice::from_ref(&b), &[]),
            ["expected skip did not happen: b: y"]
        );
        assert_eq!(differences(&[a], &[skip("a", "other")]).len(), 2);
    }
}
