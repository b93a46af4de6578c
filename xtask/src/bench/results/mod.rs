//! `docs/results.md`: what `gohang bench` measured, kept and written as a page.

mod agreement;
mod cost;
mod document;
mod growth;
mod missing;
#[path = "../../../../gohang-user/src/bench/scenarios/not_built.rs"]
mod not_built;
mod page;
mod plot;
mod scenarios;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use self::document::Document;
use self::missing::Known;
use self::page::Sections;
use super::peers;
use crate::go;
use crate::process::without_suffix;
use crate::toolchain::is_root;
use crate::workspace::Workspace;

/// What was measured, relative to the workspace.
const DATA: &str = "docs/results.json";
/// The page.
const PAGE: &str = "docs/results.md";
/// Its picture.
const PICTURE: &str = "docs/results-delivery.svg";

/// What gohang exits with when something that it measured is wrong.
const WRONG: i32 = 1;

/// `cargo xtask bench results`.
#[derive(Debug, Args)]
pub struct Options {
    /// Let this gohang measure instead of a release build.
    #[arg(long, value_name = "PATH")]
    gohang: Option<PathBuf>,
    /// Measure nothing; write the page from docs/results.json as it is.
    #[arg(long, conflicts_with = "gohang")]
    render: bool,
}

/// Measures, and writes the page.
///
/// # Errors
/// Not root, gohang fails, or a file cannot be read or written.
pub fn results(options: &Options) -> Result<()> {
    let workspace = Workspace::find()?;
    if !options.render {
        if !is_root()? {
            bail!("measuring attaches kernel programs: run it as root, or with --render");
        }
        let gohang = match &options.gohang {
            Some(path) => path.clone(),
            None => super::build(&workspace)?,
        };
        let go_root = go::provide(&workspace.target_dir)?;
        let text = measure(&gohang, &go_root)?;
        write(&workspace.root, DATA, &text)?;
    }
    write_page(&workspace.root)
}

/// Writes the page from what is kept of the measurements.
///
/// # Errors
/// A file cannot be read or written.
pub fn write_page(root: &Path) -> Result<()> {
    let (page, picture) = render(root)?;
    write(root, PAGE, &page)?;
    write(root, PICTURE, &picture)
}

fn read(root: &Path, file: &str) -> Result<String> {
    let path = root.join(file);
    fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
}

/// What the suite prints, in one line a run.
fn measure(gohang: &Path, go_root: &Path) -> Result<String> {
    let output = Command::new(gohang)
        .args(["bench", "-o", "json"])
        .env("GOHANG_GO_ROOT", go_root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start {}", gohang.display()))?;
    match output.status.code() {
        Some(0) => {}
        // The page says which.
        Some(WRONG) if !output.stdout.is_empty() => eprintln!("a figure or a verdict is wrong"),
        _ => bail!("`gohang bench` failed: {}", output.status),
    }
    let mut value: Value = serde_json::from_slice(&output.stdout).context("it printed no JSON")?;
    if let Some(kernel) = value.pointer_mut("/machine/kernel")
        && let Some(release) = kernel.as_str()
    {
        *kernel = without_suffix(release).into();
    }
    Ok(compact(&value))
}

/// A document small enough to be kept: arrays of plain values and of small objects in a line.
fn compact(value: &Value) -> String {
    let mut out = String::new();
    lines(&mut out, value, 0);
    out.push('\n');
    out
}

/// Levels of a document that get lines of their own: its members, the parts, theirs, the runs
/// and theirs.
const LEVELS: usize = 5;

fn lines(out: &mut String, value: &Value, level: usize) {
    let indent = |level| " ".repeat(level);
    let mut between = "\n";
    match value {
        Value::Object(members) if level < LEVELS && !members.is_empty() => {
            out.push('{');
            for (name, member) in members {
                out.push_str(between);
                out.push_str(&indent(level + 1));
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(": ");
                lines(out, member, level + 1);
                between = ",\n";
            }
            out.push('\n');
            out.push_str(&indent(level));
            out.push('}');
        }
        Value::Array(items) if level < LEVELS && !items.is_empty() => {
            out.push('[');
            for item in items {
                out.push_str(between);
                out.push_str(&indent(level + 1));
                lines(out, item, level + 1);
                between = ",\n";
            }
            out.push('\n');
            out.push_str(&indent(level));
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// The page and its picture.
fn render(root: &Path) -> Result<(String, String)> {
    let document = Document::read(&read(root, DATA)?)?;
    let picture = plot::delivery(document.delivery()?);
    let agreement = agreement::section(&read(root, agreement::DATA)?)?;
    let growth = if root.join(super::growth::FILE).exists() {
        Some(growth::section(&read(root, super::growth::FILE)?)?)
    } else {
        None
    };
    let peers = peers::read(root)?;
    let cost_page = read(root, super::FILE)?;
    let known = Known {
        document: &document,
        has_growth: growth.is_some(),
        peers: &peers,
        cost_page: &cost_page,
    };
    let sections = Sections {
        agreement,
        growth,
        cost: cost::section(&peers)?,
    };
    let page = page::page(&document, &sections, &known)?;
    Ok((page, picture))
}

fn write(root: &Path, file: &str, text: &str) -> Result<()> {
    let path = root.join(file);
    fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    eprintln!("written to {file}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn committed(file: &str) -> String {
        read(&root(), file).unwrap_or_else(|error| panic!("{error:#}"))
    }

    #[test]
    fn the_committed_page_is_that_of_the_committed_measurement() {
        let (page, picture) = render(&root()).expect("a page");
        let again = "write it anew with `cargo xtask bench results --render`";
        assert!(committed(PAGE) == page, "{PAGE} is another: {again}");
        assert!(
            committed(PICTURE) == picture,
            "{PICTURE} is another: {again}"
        );
    }

    #[test]
    fn a_compact_document_is_the_same_document() {
        let text = committed(DATA);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(compact(&value), text);
        let odd = serde_json::json!({"a": [], "b": {"c\n": [[[[[[1, {}]]]]]]}, "d": null});
        let back: Value = serde_json::from_str(&compact(&odd)).expect("JSON");
        assert_eq!(back, odd);
    }
}
